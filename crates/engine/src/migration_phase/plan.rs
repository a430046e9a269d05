//! What the phase engine wants done. The status is the only thing that moves traffic: the split and flag controllers carry out the
//! requests that are published there. Everything else here tells people, or says when to look again.

use std::time::Duration;

use cutover_api::v1alpha1::{
    MigrationPhaseStatus, PhaseActionStatus,
    migration_phase::{HttpCheck, WebhookCheck},
};
use jiff::Timestamp;

use super::{
    checks::{query, webhook::Question},
    notify::Notification,
};
use crate::Note;

/// What is to be done about one phase, in this order: write the status (under its resource version) if it differs from what was
/// observed; if that was refused or failed, stop: nothing else of the plan holds. Then log the audit records of the stored status, make
/// the hooks' Jobs, write the actions' statuses, publish notes, tell the sinks, and see to the checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The complete status to be. The audit records of this decision are in it.
    pub status: MigrationPhaseStatus,
    /// Transitions, and actions that were turned down, for Events and the log.
    pub notes: Vec<Note>,
    /// Jobs to be made once the status, which records their intent, is written. Each is asked for by one plan only: whoever carries it
    /// out tries once, and looks for the Job where the answer is not clear.
    pub hook_jobs: Vec<HookJob>,
    /// What sinks are told.
    pub notifications: Vec<Notification>,
    /// Statuses of actions, each to be written once. An action whose effect was written but whose own status was not is found here
    /// again the next time.
    pub settle: Vec<Settlement>,
    /// The checks that run from now on, each at its interval; all others stop. See [`checks_due`](super::checks_due).
    pub checks: Vec<ActiveCheck>,
    /// When the next timer of the status ends, if nothing happens before.
    pub requeue_at: Option<Timestamp>,
}

impl Plan {
    /// How long from `now` until the next timer ends.
    #[must_use]
    pub fn requeue_after(&self, now: Timestamp) -> Option<Duration> {
        self.requeue_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }
}

/// What is to be written into one action's status.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// UID of the action; the write is for this object and no other of its name.
    pub uid: String,
    /// Name of the action.
    pub name: String,
    /// Its status to be.
    pub status: PhaseActionStatus,
}

/// The Job of a hook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookJob {
    /// Its name, as the status has it.
    pub name: String,
    /// The whole Job.
    pub body: serde_json::Value,
}

/// One check that is to be run again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveCheck {
    /// Name of the check.
    pub name: String,
    /// What is asked, of whom.
    pub probe: Probe,
    /// Time between two runs, by the monotonic clock.
    pub interval: Duration,
    /// What is being watched: attempt and number of the requests. The result carries it back; one of another round is not taken.
    pub round: String,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// Instant queries of a Prometheus.
    Prometheus {
        /// Environment whose Prometheus is asked.
        environment: String,
        /// What.
        queries: Queries,
    },
    /// A question to somebody else.
    Webhook {
        /// Who is asked.
        asked: WebhookCheck,
        /// What.
        question: Question,
    },
    /// Requests to an HTTP server, and to that of legacy if there is one in it.
    Http {
        /// What is asked.
        asked: HttpCheck,
    },
    /// A Job that is made anew, and how it ends.
    Job {
        /// The whole Job, but for its name, which the API server gives it.
        body: serde_json::Value,
        /// How long it may take.
        timeout: Duration,
    },
}

/// What a Prometheus is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queries {
    /// One number, or one of each side.
    Value {
        /// The query, with its variables replaced.
        query: String,
        /// The same for the legacy side, if the check's condition asks for it.
        legacy: Option<String>,
    },
    /// Counts of both sides since the step began.
    Counts {
        /// What is asked about legacy.
        legacy: CountQueries,
        /// What is asked about the new side.
        new: CountQueries,
        /// When the weights that are compared were in force.
        since: Timestamp,
    },
}

/// Queries for what one side did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountQueries {
    pub(super) errors: String,
    pub(super) requests: String,
}

impl CountQueries {
    /// The queries for errors and for requests, over that window.
    #[must_use]
    pub fn over(&self, window: Duration) -> [String; 2] {
        [&self.errors, &self.requests].map(|query| query::over(query, window))
    }
}
