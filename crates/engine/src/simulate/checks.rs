//! What checks come to in the simulated world.

use cutover_api::{
    Decimal, HumanDuration,
    v1alpha1::{MigrationPhaseSpec, migration_phase::Check},
};

use crate::migration_phase::{Measured, look_back};

/// A result inside the check's bounds, or outside of them.
pub(super) fn sample(check: &Check, fails: bool) -> Measured {
    let bound = |bound: &Option<Decimal>| bound.as_ref().map(Decimal::value);
    let (min, max) = (bound(&check.min), bound(&check.max));
    let inside = min.or(max).unwrap_or_default();
    let outside = max.map(|max| max + max.abs() + 1.0).or(min.map(|min| min - min.abs() - 1.0));
    Measured::Value(if fails { outside.unwrap_or(inside) } else { inside })
}

/// Whether a check of the phase notices harm.
pub(super) fn notice(spec: &MigrationPhaseSpec) -> bool {
    !spec.checks.is_empty()
}

/// For how long after a shift a check still sees what was before it.
pub(super) fn sees_back(check: &Check) -> HumanDuration {
    check.warmup.unwrap_or_else(|| HumanDuration::from_secs(look_back(&check.prometheus.query).as_secs()))
}
