//! What can go wrong while a split is carried out.

use cutover_api::conditions::reasons;
use cutover_engine::{conditions::Health, router::Problem};

use crate::cluster::{self, guard, ssa};

/// Why a reconcile of a split failed.
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
    /// The finalizer could not be added or removed.
    #[error("the finalizer could not be changed: {source}")]
    Finalizer {
        /// Why.
        source: kube::Error,
    },
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] ssa::Error),
    /// A route object could not be written.
    #[error("{kind} {name} could not be written: {source}")]
    Route {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        source: kube::Error,
    },
}

impl Error {
    fn api(&self) -> Option<&kube::Error> {
        match self {
            Self::ReadPhase { source, .. } | Self::Finalizer { source } | Self::Route { source, .. } => Some(source),
            Self::Status(error) => error.api(),
        }
    }

    /// A constant, for conditions, Events and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if self.is_conflict() {
            return "Outdated";
        }
        if self.is_forbidden() {
            return reasons::FORBIDDEN;
        }
        match self {
            Self::ReadPhase { .. } => "ReadPhaseFailed",
            Self::Finalizer { .. } => "FinalizerFailed",
            Self::Status(_) => "StatusFailed",
            Self::Route { .. } => "RouteFailed",
        }
    }

    /// Whether the object was changed in the meantime: observe again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.api().is_some_and(cluster::is_conflict)
    }

    /// Whether this replica may no longer write.
    #[must_use]
    pub fn is_not_leader(&self) -> bool {
        self.api().is_some_and(guard::is_not_leader)
    }

    fn is_forbidden(&self) -> bool {
        matches!(self.api(), Some(kube::Error::Api(status)) if status.code == 403)
    }

    /// Whether trying again later may succeed without anybody changing anything. What is forbidden is tried again too, seldom: a
    /// right that is granted later is not seen by any watch.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.api() {
            Some(error) => self.is_forbidden() || cluster::is_retryable(error),
            None => false,
        }
    }

    /// The same for the router whose object it was, named by its path in the spec.
    #[must_use]
    pub fn problem(&self, router: &str) -> Problem {
        let message = match self.api() {
            Some(kube::Error::Api(status)) if self.is_forbidden() => format!(
                "{router}: {}: {}: grant it to the operator (its chart does), or take this router out; it is tried again seldom",
                self.subject(),
                status.message
            ),
            _ if self.is_conflict() => format!("{self}; it was changed in the meantime and is looked at again"),
            Some(kube::Error::Api(status)) => format!("{}: {}", self.subject(), status.message),
            _ => format!("{self}; it is tried again"),
        };
        let health = if self.is_retryable() && !self.is_forbidden() { Health::Reconciling } else { Health::Stalled };
        Problem { reason: self.reason(), message, health }
    }

    fn subject(&self) -> String {
        match self {
            Self::Route { kind, name, .. } => format!("{kind} {name} could not be written"),
            Self::ReadPhase { phase, .. } => format!("MigrationPhase {phase} could not be read"),
            Self::Finalizer { .. } => "the finalizer could not be changed".to_owned(),
            Self::Status(_) => "the status could not be written".to_owned(),
        }
    }
}
