//! When to try an object again that failed: per object, exponential with jitter, from 1 s to 5 min; forgotten on
//! success and on deletion. The delay is a pure function; only [`Backoffs::failed`] draws the jitter.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Delays double up to here; jitter adds at most a quarter, so that five minutes are never exceeded.
const LONGEST_BASE: u64 = 240;

/// How long to wait after `failures` in a row (the first is 1). `jitter` is in `0.0..=1.0`.
#[must_use]
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let base = Duration::from_secs((1_u64 << doublings).min(LONGEST_BASE));
    base.mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.25, 1.0))
}

/// The failures in a row of each object, by key.
#[derive(Debug)]
pub struct Backoffs<K> {
    failures: Mutex<HashMap<K, u32>>,
}

impl<K> Default for Backoffs<K> {
    fn default() -> Self {
        Self { failures: Mutex::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash> Backoffs<K> {
    /// Records a failure and says how long to wait.
    pub fn failed(&self, key: K) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_default();
        *count = count.saturating_add(1);
        delay(*count, fastrand::f64())
    }

    /// Forgets an object: it succeeded, or it was deleted.
    pub fn forget(&self, key: &K) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// How many objects are failing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is failing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1, 0.0, 1_000)]
    #[case(1, 1.0, 1_250)]
    #[case(2, 0.0, 2_000)]
    #[case(3, 0.5, 4_500)]
    #[case(8, 0.0, 128_000)]
    #[case(9, 0.0, 240_000)]
    #[case(9, 1.0, 300_000)]
    #[case(u32::MAX, 1.0, 300_000)]
    #[case(0, 0.0, 1_000)]
    fn delays_double_from_one_second_to_five_minutes(#[case] failures: u32, #[case] jitter: f64, #[case] millis: u64) {
        assert_eq!(delay(failures, jitter), Duration::from_millis(millis));
    }

    #[test]
    fn each_object_counts_its_own_failures_and_success_forgets_them() {
        let backoffs = Backoffs::default();
        for expected in [1, 2, 4] {
            let wait = backoffs.failed("shop/storefront").as_secs_f64();
            assert!((f64::from(expected)..=f64::from(expected) * 1.25).contains(&wait), "{wait}");
        }
        assert!(backoffs.failed("shop/checkout") < Duration::from_millis(1_251));
        backoffs.forget(&"shop/storefront");
        assert_eq!(backoffs.len(), 1);
        assert!(backoffs.failed("shop/storefront") < Duration::from_millis(1_251));
        backoffs.forget(&"shop/storefront");
        backoffs.forget(&"shop/checkout");
        assert!(backoffs.is_empty());
    }
}
