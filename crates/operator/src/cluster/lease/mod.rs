//! Leader election by a Lease: one active replica, standbys warm.
//!
//! [`evaluate`] and [`tracker`] decide without I/O or clock; [`elector`] carries their steps out. The result is a
//! [`Leadership`] handle with a *deadline* on the monotonic clock, asked before every write (see
//! [`guard`](super::guard)). The deadline of the holder ends before any other replica may take the lease over:
//!
//! - the holder counts from when it *sent* the renewal that was confirmed, for `renew_deadline`;
//! - others count from when they *saw* the record change, for the record's whole duration, which is longer.
//!
//! Nobody compares timestamps written by another machine, so clock skew is harmless; only clocks that run at
//! different speeds by a third would not be. Taking and renewing are replacements that carry the resourceVersion.

mod api;
pub mod elector;
pub mod evaluate;
mod skew;
#[cfg(test)]
mod tests;
pub mod tracker;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

pub use elector::{Elector, End};
pub use skew::Skew;
pub use tracker::{Timing, Why};

/// This replica does not hold the lease (any more): nothing may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the lease: the write was not sent")]
pub struct NotLeader;

/// Where this replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// Another replica leads, or nobody does yet.
    Standby,
    /// This replica leads until the given instant, unless it renews before.
    Leading {
        /// Monotonic deadline; from here on nothing is written.
        until: Instant,
    },
    /// Leader election is switched off: this replica is alone by declaration.
    Always,
    /// Held once and lost, or given back. Final: the process ends.
    Ended,
}

/// Answers, at any moment and without I/O, whether this replica may write.
#[derive(Clone, Debug)]
pub struct Leadership {
    state: watch::Receiver<Tenure>,
    // Keeps the channel open where no elector runs.
    _keeper: Option<Arc<watch::Sender<Tenure>>>,
}

impl Leadership {
    /// A handle and the sender by which the elector moves it.
    pub(crate) fn channel() -> (watch::Sender<Tenure>, Self) {
        let (sender, state) = watch::channel(Tenure::Standby);
        (sender, Self { state, _keeper: None })
    }

    /// A handle for a replica that runs without election (`--leader-elect=false`).
    #[must_use]
    pub fn always() -> Self {
        let (sender, state) = watch::channel(Tenure::Always);
        Self { state, _keeper: Some(Arc::new(sender)) }
    }

    /// Where this replica stands, as last published. Prefer [`Self::check`], which also looks at the clock.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        *self.state.borrow()
    }

    /// Succeeds while this replica may write. Asked by the guard before every mutating request; controllers ask it
    /// before they begin something with effects outside of the API server.
    ///
    /// # Errors
    /// [`NotLeader`] as a standby, past the deadline, and after the lease was lost or given back.
    pub fn check(&self) -> Result<(), NotLeader> {
        match self.tenure() {
            Tenure::Always => Ok(()),
            Tenure::Leading { until } if Instant::now() < until => Ok(()),
            Tenure::Leading { .. } | Tenure::Standby | Tenure::Ended => Err(NotLeader),
        }
    }

    /// How long this replica may go on writing without another renewal; `None` without a limit.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn remaining(&self) -> Result<Option<Duration>, NotLeader> {
        self.check()?;
        match self.tenure() {
            Tenure::Leading { until } => Ok(Some(until.saturating_duration_since(Instant::now()))),
            Tenure::Always | Tenure::Standby | Tenure::Ended => Ok(None),
        }
    }

    /// Waits until this replica leads.
    ///
    /// # Errors
    /// [`NotLeader`] when it never will: the elector has ended.
    pub async fn acquired(&self) -> Result<(), NotLeader> {
        let mut state = self.state.clone();
        let tenure = state
            .wait_for(|tenure| matches!(tenure, Tenure::Leading { .. } | Tenure::Always | Tenure::Ended))
            .await
            .map_err(|_| NotLeader)?;
        if *tenure == Tenure::Ended { Err(NotLeader) } else { Ok(()) }
    }

    /// Waits until leadership, once held, has ended: given up, taken, or run out without a renewal.
    pub async fn ended(&self) {
        let mut state = self.state.clone();
        loop {
            let tenure = *state.borrow_and_update();
            match tenure {
                Tenure::Ended => return,
                Tenure::Leading { until } => tokio::select! {
                    changed = state.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep_until(until) => return,
                },
                Tenure::Standby | Tenure::Always => {
                    if state.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// An identity no other process has: the pod's name and a random part, so that a container restarted in the same pod
/// is another candidate and never mistakes its predecessor's lease for its own.
#[must_use]
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:032x}", fastrand::u128(..))
}
