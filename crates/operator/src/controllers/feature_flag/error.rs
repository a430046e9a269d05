//! What can fail while a flag is carried out.

use cutover_api::conditions::reasons;

use crate::cluster::{self, ssa};

/// Why a reconcile of a flag stopped.
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
    /// It could not be looked whether there is a ConfigMap.
    #[error("ConfigMap {name} could not be looked for: {source}")]
    Look {
        /// Its name.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// The finalizer could not be put on or taken off.
    #[error("the finalizer could not be changed: {source}")]
    Finalizer {
        /// Why.
        source: kube::Error,
    },
    /// The ConfigMap could not be written.
    #[error("the flags were not published: {source}")]
    Publish {
        /// Why.
        source: ssa::Error,
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
            Self::ReadPhase { source, .. } | Self::Look { source, .. } | Self::Finalizer { source } => Some(source),
            Self::Publish { source } | Self::Status(source) => source.api(),
        }
    }

    /// A constant, for conditions, Events and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            _ if self.is_conflict() => "Outdated",
            _ if self.code() == Some(403) => reasons::FORBIDDEN,
            Self::ReadPhase { .. } => "ReadPhaseFailed",
            Self::Look { .. } => "LookFailed",
            Self::Finalizer { .. } => "FinalizerFailed",
            Self::Publish { .. } => "PublishFailed",
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
