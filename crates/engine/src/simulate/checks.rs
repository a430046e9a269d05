//! What checks come to in the simulated world.

use cutover_api::{HumanDuration, v1alpha1::migration_phase::Check};

use crate::migration_phase::{self, Measured, look_back};

/// A result inside the check's bounds, or outside of them.
pub(super) fn sample(check: &Check, fails: bool) -> Measured {
    migration_phase::sample(check, !fails)
}

/// Whether one of the checks notices harm.
pub(super) fn notice(checks: &[Check]) -> bool {
    checks.iter().any(|check| !check.dry_run)
}

/// For how long after a shift a check still sees what was before it.
pub(super) fn sees_back(check: &Check) -> HumanDuration {
    let of_query = || check.prometheus.as_ref().map(|asked| look_back(&asked.query)).unwrap_or_default();
    check.warmup.unwrap_or_else(|| HumanDuration::from_secs(of_query().as_secs()))
}
