//! Why a reconcile stopped, for all controllers. What is invalid, waiting or not ready is no error: it is an outcome that the status
//! tells. No I/O.

use cutover_api::conditions::reasons;

use crate::cluster::{self, guard, ssa};

/// A request that was needed and failed: what it was for, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A phase in doubt could not be read.
    #[error("MigrationPhase {phase} could not be read: {source}")]
    ReadPhase {
        /// Its name.
        phase: String,
        /// Why.
        source: kube::Error,
    },
    /// An action could not be read past the cache: nothing was done about it.
    #[error("PhaseAction {action} could not be read: {source}")]
    ReadAction {
        /// Its name.
        action: String,
        /// Why.
        source: kube::Error,
    },
    /// It was decided on an older copy of the phase than there is: nothing was done.
    #[error("MigrationPhase {phase} has changed since it was looked at")]
    Outdated {
        /// Its name.
        phase: String,
    },
    /// Whether somebody has the name of an object that is to be made could not be looked up.
    #[error("{object} could not be looked for: {source}")]
    Look {
        /// Kind and name.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// The finalizer could not be put on or taken off.
    #[error("the finalizer could not be changed: {0}")]
    Finalizer(#[source] kube::Error),
    /// An object of an environment could not be applied.
    #[error(transparent)]
    Apply(ssa::Error),
    /// An object of an environment could not be deleted.
    #[error("{object} could not be deleted: {source}")]
    Delete {
        /// Kind and name.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// The flags of an environment could not be written.
    #[error("the flags were not published: {source}")]
    Publish {
        /// Why.
        source: ssa::Error,
    },
    /// A route object of a split could not be written.
    #[error("{kind} {name} could not be written: {source}")]
    Route {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// What an action on a phase came to is in force, and the action does not say so yet.
    #[error("status of PhaseAction {action} was not written: {source}")]
    SettleAction {
        /// Its name.
        action: String,
        /// Why.
        source: kube::Error,
    },
    /// The status of the object itself could not be written.
    #[error(transparent)]
    Status(#[from] ssa::Error),
}

impl Error {
    /// The API's own error, if it came so far.
    #[must_use]
    pub fn api(&self) -> Option<&kube::Error> {
        match self {
            Self::ReadPhase { source, .. }
            | Self::ReadAction { source, .. }
            | Self::Look { source, .. }
            | Self::Finalizer(source)
            | Self::Delete { source, .. }
            | Self::Route { source, .. }
            | Self::SettleAction { source, .. } => Some(source),
            Self::Publish { source } | Self::Apply(source) | Self::Status(source) => source.api(),
            Self::Outdated { .. } => None,
        }
    }

    /// A constant, for conditions, Events and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            _ if self.is_conflict() => "Outdated",
            _ if self.is_forbidden() => reasons::FORBIDDEN,
            Self::Outdated { .. } => "Outdated",
            Self::ReadPhase { .. } => "ReadPhaseFailed",
            Self::ReadAction { .. } => "ReadActionFailed",
            Self::Look { .. } => "LookFailed",
            Self::Finalizer(_) => "FinalizerFailed",
            Self::Apply(_) => "ApplyFailed",
            Self::Delete { .. } => "DeleteFailed",
            Self::Publish { .. } => "PublishFailed",
            Self::Route { .. } => "RouteFailed",
            Self::SettleAction { .. } => "SettleActionFailed",
            Self::Status(_) => "StatusFailed",
        }
    }

    /// The answer's HTTP status.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self.api() {
            Some(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// Whether it was decided on an outdated copy: the newer one triggers the next reconcile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Outdated { .. }) || self.api().is_some_and(cluster::is_conflict)
    }

    /// Whether a right is missing, or a policy forbids it.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Whether this replica may no longer write.
    #[must_use]
    pub fn is_not_leader(&self) -> bool {
        self.api().is_some_and(guard::is_not_leader)
    }

    /// Whether the same may succeed later without anybody changing anything: an outage, say, but nothing that was refused.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_conflict() || self.api().is_some_and(cluster::is_retryable)
    }
}
