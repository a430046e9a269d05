//! What a phase asks of splits and flags, forward and on the way back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{phase_action::RollbackTo, schema::Instant, traffic_split::Exposure};

/// What a phase asks of splits and flags.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Per split, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub splits: Vec<SplitRequest>,
    /// Per flag, ordered by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub flags: Vec<FlagRequest>,
}

/// What a phase asks of one split.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SplitRequest {
    /// Name of the TrafficSplit.
    #[schemars(length(max = 253))]
    pub split: String,
    /// Weight of the new side. Absent: hold what is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_weight: Option<i32>,
    /// Exposure. Absent: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// Go back even if the legacy side has too few ready endpoints.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// What a phase asks of one flag.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FlagRequest {
    /// Name of the FeatureFlag.
    #[schemars(length(max = 253))]
    pub flag: String,
    /// Percentage of the growing variant. Absent: hold what is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
}

/// The way back that is being taken or was taken.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WayBack {
    /// Where it leads.
    pub to: RollbackTo,
    /// Whether a person asked for it despite missing capacity.
    #[serde(default)]
    pub force: bool,
    /// The weights and percentages it leads to.
    pub target: Requests,
    /// When it began.
    pub started_at: Instant,
    /// When the flags were back, or their time was over: the traffic follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags_done_at: Option<Instant>,
    /// Seconds during which its timer stood still, because its inputs could not be read.
    #[serde(default)]
    pub held_seconds: i64,
    /// Since when its timer stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Instant>,
}
