//! What can fail while a phase is carried out. Gates, pauses and missing data are not errors: they are outcomes of the plan.

use cutover_api::conditions::reasons;

use crate::cluster::ssa;

/// Why a reconcile of a phase stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The new status was not written: nothing of the plan holds.
    #[error("status of MigrationPhase {namespace}/{name} was not written: {source}")]
    WriteStatus {
        /// Namespace of the phase.
        namespace: String,
        /// Name of the phase.
        name: String,
        /// Why.
        source: ssa::Error,
    },
    /// The plan's effect is written; only the action does not say so yet.
    #[error("status of PhaseAction {namespace}/{action} was not written: {source}")]
    SettleAction {
        /// Namespace of the action.
        namespace: String,
        /// Name of the action.
        action: String,
        /// Why.
        source: ssa::Error,
    },
}

impl Error {
    /// Reason for metrics and Events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            _ if self.is_forbidden() => reasons::FORBIDDEN,
            Self::WriteStatus { .. } => "StatusNotWritten",
            Self::SettleAction { .. } => "ActionNotSettled",
        }
    }

    /// Whether trying again may help without a change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.source().is_retryable()
    }

    /// Whether it was decided on an outdated copy: the newer one triggers the next reconcile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.source().is_conflict()
    }

    fn is_forbidden(&self) -> bool {
        matches!(self.source().api(), Some(kube::Error::Api(status)) if status.code == 403)
    }

    fn source(&self) -> &ssa::Error {
        match self {
            Self::WriteStatus { source, .. } | Self::SettleAction { source, .. } => source,
        }
    }
}
