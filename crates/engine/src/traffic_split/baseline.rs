//! The second copy of a phase's baseline: an annotation on the routes of the split, for when the phase's status is lost.

use serde::{Deserialize, Serialize};

/// Value of the annotation [`cutover_api::labels::BASELINE`], as JSON.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RouteBaseline {
    /// UID of the phase whose rollback leads there. It outlives the phase's hold, and says nothing to any other phase.
    pub phase_uid: String,
    /// Weight of the new side before that phase.
    pub new_weight: i32,
}

impl RouteBaseline {
    /// The annotation's value.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// The weight that a route's annotation keeps for this phase, if it does.
    #[must_use]
    pub fn read(annotation: &str, phase_uid: &str) -> Option<i32> {
        let kept: Self = serde_json::from_str(annotation).ok()?;
        (kept.phase_uid == phase_uid).then_some(kept.new_weight)
    }
}
