//! Which percentage is in force.

use cutover_api::v1alpha1::FeatureFlagStatus;

use super::holder::Ruling;

/// The percentage from now on, and the value of the spec that was taken into account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Percentage; `None` for a flag without a percentage rule.
    pub percent: Option<i32>,
    /// `status.heldSpecPercent`.
    pub held_spec: Option<i32>,
}

/// The percentage of a flag whose spec says `declared`. `published`: what the ConfigMap carries, which counts when the
/// status is lost.
///
/// The spec's value counts when the flag is first published, and when it changes while no phase holds the flag. What
/// changes in it while a phase does is noted and passed over, so that nothing jumps when the phase lets go.
#[must_use]
pub fn in_force(declared: Option<i32>, status: &FeatureFlagStatus, published: Option<i32>, ruling: &Ruling) -> InForce {
    let Some(declared) = declared else { return InForce::default() };
    let present = status.percent.or(published);
    let held = status.held_by.is_some() || ruling.holder.is_some();
    if ruling.doubt.is_some() {
        return InForce {
            percent: Some(present.unwrap_or(declared)),
            held_spec: status.held_spec_percent.or(Some(declared)),
        };
    }
    let ordered = ruling.order.and_then(|order| order.percent);
    let changed = status.held_spec_percent.is_some_and(|before| before != declared);
    let percent = match (ordered, present) {
        (Some(ordered), _) => ordered,
        (None, None) => declared,
        (None, Some(_)) if changed && !held => declared,
        (None, Some(present)) => present,
    };
    InForce { percent: Some(percent), held_spec: Some(declared) }
}

/// The percentage of a flag whose spec cannot be read: a phase's request still counts, the spec does not.
#[must_use]
pub fn in_force_unread(status: &FeatureFlagStatus, published: Option<i32>, ruling: &Ruling) -> InForce {
    // A form without a percentage has nothing to move.
    let present = published.map(|published| status.percent.unwrap_or(published));
    let ordered = ruling.order.and_then(|order| order.percent).filter(|_| published.is_some());
    InForce { percent: ordered.or(present), held_spec: status.held_spec_percent }
}
