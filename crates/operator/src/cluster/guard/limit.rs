//! A token bucket: `rate` requests per second, and `burst` at once after a rest.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Spaces requests out. First come, first served.
#[derive(Debug)]
pub struct Limiter {
    start: Instant,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    /// `rate` per second with bursts of `burst`; `None` for a rate of 0, which means without limit.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Option<Self> {
        (rate > 0).then(|| Self {
            start: Instant::now(),
            bucket: Mutex::new(Bucket::new(f64::from(rate), f64::from(burst.max(1)))),
        })
    }

    /// Waits for the next free place.
    pub async fn acquire(&self) {
        let wait = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).reserve(self.start.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, tokens: burst, at: Duration::ZERO }
    }

    /// Takes a token, of the future if need be, and says how long until it exists.
    fn reserve(&mut self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (passed.mul_add(self.rate, self.tokens)).min(self.burst) - 1.0;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Bucket::new(10.0, 3.0);
        let waits: Vec<_> = (0..6).map(|_| bucket.reserve(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn a_rest_refills_up_to_the_burst_and_no_further() {
        let mut bucket = Bucket::new(10.0, 3.0);
        for _ in 0..3 {
            bucket.reserve(Duration::ZERO);
        }
        assert_eq!(bucket.reserve(Duration::from_millis(200)), Duration::ZERO);
        let hour = Duration::from_secs(3600);
        let waits: Vec<_> = (0..4).map(|_| bucket.reserve(hour).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100]);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        assert!(Limiter::new(0, 10).is_none());
    }
}
