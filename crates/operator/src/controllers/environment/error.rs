//! What can fail while an environment is carried out. What the API server judged invalid or forbidden is no failure of a reconcile: it is
//! told in status and waits for a change.

use cutover_api::conditions::reasons;

use crate::cluster::{self, ssa};

/// Why a reconcile of an environment stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be looked for.
    #[error("{object} could not be looked for: {source}")]
    Look {
        /// Kind and name.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// An object could not be applied.
    #[error("{object} could not be applied: {source}")]
    Apply {
        /// Kind and name.
        object: String,
        /// Why.
        source: ssa::Error,
    },
    /// An object could not be deleted.
    #[error("{object} could not be deleted: {source}")]
    Delete {
        /// Kind and name.
        object: String,
        /// Why.
        source: kube::Error,
    },
    /// The finalizer could not be put on or taken off.
    #[error("the finalizer could not be changed: {source}")]
    Finalizer {
        /// Why.
        source: kube::Error,
    },
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] ssa::Error),
}

impl Error {
    /// The API's own error, if it came so far.
    #[must_use]
    pub fn api(&self) -> Option<&kube::Error> {
        match self {
            Self::Look { source, .. } | Self::Delete { source, .. } | Self::Finalizer { source } => Some(source),
            Self::Apply { source, .. } | Self::Status(source) => source.api(),
        }
    }

    /// A constant, for conditions, Events and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            _ if self.is_conflict() => "Outdated",
            _ if self.code() == Some(403) => reasons::FORBIDDEN,
            Self::Look { .. } => "LookFailed",
            Self::Apply { .. } => "ApplyFailed",
            Self::Delete { .. } => "DeleteFailed",
            Self::Finalizer { .. } => "FinalizerFailed",
            Self::Status(_) => "StatusFailed",
        }
    }

    /// Whether trying again may help without a change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.api().is_some_and(cluster::is_retryable)
    }

    /// Whether it was decided on an outdated copy: the newer one triggers the next reconcile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.api().is_some_and(cluster::is_conflict)
    }

    /// The answer's HTTP status.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self.api() {
            Some(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}
