//! When to try again what failed. An object: exponential with jitter, from 1 s to 5 min, forgotten on success and on deletion. A
//! watch: see [`WatchBackoff`]. The delays are pure functions; only [`Backoffs::failed`] and [`WatchBackoff`] draw the jitter.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

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

/// The longest pause of a watch that fails.
///
/// kube's own default grows to 30 s and adds up to as much again, which suits thousands of clients of one API server. This is one
/// process with a few dozen watches, and everything waits for the slowest of them: no controller starts before each has listed, so
/// after an outage of 30 s a standby would sit idle for most of a minute. At 5 s it is back within 5 s of the API server, and a watch
/// costs it at most one refused request each 2.5 s until then.
pub const LONGEST_WATCH_PAUSE: Duration = Duration::from_secs(5);

const FIRST_WATCH_PAUSE: Duration = Duration::from_millis(800);

/// A watch that failed again within this time has not recovered, whatever it delivered in between.
const WATCH_RECOVERED: Duration = Duration::from_secs(60);

/// How long a watch pauses after `failures` in a row (the first is 1). `jitter` is in `0.0..=1.0` and moves the pause through the upper
/// half of what the failures allow: the watches all fail at the same instant, and must not all come back at the same one.
#[must_use]
pub fn watch_delay(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = FIRST_WATCH_PAUSE.saturating_mul(1 << doublings).min(LONGEST_WATCH_PAUSE);
    longest.mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.5, 0.5))
}

/// The pauses of one watch, by [`watch_delay`].
#[derive(Debug, Default)]
pub struct WatchBackoff {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > WATCH_RECOVERED) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Instant::now());
        Some(watch_delay(self.failures, fastrand::f64()))
    }
}

impl Backoff for WatchBackoff {
    /// Nothing: a watch says `Ok` before its list has been answered, so that an outage would keep the pauses at their shortest.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 0.0, 400)]
    #[case(1, 0.0, 400)]
    #[case(1, 1.0, 800)]
    #[case(2, 0.5, 1_200)]
    #[case(3, 1.0, 3_200)]
    #[case(4, 0.0, 2_500)]
    #[case(4, 1.0, 5_000)]
    #[case(u32::MAX, 0.0, 2_500)]
    #[case(u32::MAX, 7.0, 5_000)]
    fn a_watch_pauses_from_under_a_second_to_five(#[case] failures: u32, #[case] jitter: f64, #[case] millis: u64) {
        assert_eq!(watch_delay(failures, jitter), Duration::from_millis(millis));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_has_recovered_when_it_has_not_failed_for_a_while() {
        let mut backoff = WatchBackoff::default();
        for _ in 0..4 {
            let pause = backoff.next().unwrap();
            // What it delivers in between says nothing.
            backoff.reset();
            tokio::time::sleep(pause).await;
        }
        assert!(backoff.next().unwrap() >= Duration::from_millis(2_500));
        tokio::time::sleep(WATCH_RECOVERED + Duration::from_secs(1)).await;
        assert!(backoff.next().unwrap() <= FIRST_WATCH_PAUSE);
    }

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
