//! How the weight in force moves: how fast, and whether it moves by itself when a side dies.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::schema::Instant, Side};
use crate::duration::HumanDuration;

/// A bound on how fast the weight in force moves, in both directions, so that the side that receives can warm up.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ramp {
    /// Greatest change at once, in parts of `weightTotal`, such as `20`. 1 to `weightTotal`.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_step: i32,
    /// Time from one weight in force to the next, such as `10s`. At least 1s.
    #[x_kube(validation = Rule::new("self != '0s'").message("interval must be at least 1s"))]
    pub interval: HumanDuration,
}

/// What happens, while no phase holds the split, when a side with weight has no ready endpoint any more.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failover {
    /// The weight is held.
    #[default]
    Off,
    /// The other side gets all of it.
    Automatic,
}

impl Failover {
    /// Whether nothing is done.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// A side that had ready endpoints and has none.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DiedSide {
    /// The side.
    pub side: Side,
    /// Since when.
    pub since: Instant,
}

/// A share that went to the other side because its own had died.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailedOver {
    /// The side that had died.
    pub from: Side,
    /// Weight of the new side before.
    pub new_weight: i32,
    /// When.
    pub at: Instant,
}
