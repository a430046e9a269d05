//! What a failed write means for the router whose object it was. No I/O.

use cutover_engine::{conditions::Health, router::Problem};

use crate::controllers::Error;

/// The problem of the router at this path in the spec.
pub(super) fn of(error: &Error, router: &str) -> Problem {
    let subject = match error {
        Error::Route { kind, name, .. } => format!("{kind} {name} could not be written"),
        other => other.to_string(),
    };
    let message = match error.api() {
        Some(kube::Error::Api(status)) if error.is_forbidden() => format!(
            "{router}: {subject}: {}: grant it to the operator (its chart does), or take this router out; it is tried again seldom",
            status.message
        ),
        Some(kube::Error::Api(status)) => format!("{subject}: {}", status.message),
        _ => format!("{error}; it is tried again"),
    };
    let health = if error.is_retryable() { Health::Reconciling } else { Health::Stalled };
    Problem { reason: error.reason(), message, health }
}
