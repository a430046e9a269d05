//! Awaiting conditions that nobody announces.
//!
//! Where an API object carries the condition, a watch (`kube::runtime::wait::await_condition`) is better.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::time::Timeout;

/// How often [`eventually`] looks again.
const INTERVAL: Duration = Duration::from_millis(25);

/// Bounds are chosen for an idle machine; one that does much else at the same time takes longer, and is not what a test is about.
const STRETCH: u32 = 5;

/// What `future` gives, if it ends within this on an idle machine, and five times as long on a busy one.
pub fn in_time<F: Future>(within: Duration, future: F) -> Timeout<F> {
    tokio::time::timeout(within * STRETCH, future)
}

/// Repeats `attempt` until it gives `Ok`, for at most `within` on an idle machine, and five times as long on a busy one.
///
/// # Errors
/// With `what` and the last attempt's error, when the time is over. An attempt that hangs counts as one that fails.
pub async fn eventually<T, F, Fut>(what: &str, within: Duration, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let within = within * STRETCH;
    let deadline = Instant::now() + within;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left.max(INTERVAL), attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(last.unwrap_or_else(|| anyhow::anyhow!("no answer"))),
        }
        if Instant::now() + INTERVAL > deadline {
            let last = last.unwrap_or_else(|| anyhow::anyhow!("never tried"));
            return Err(last).with_context(|| format!("not within {within:?}: {what}"));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
