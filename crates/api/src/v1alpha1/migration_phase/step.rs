//! A step: the splits and flags that move as one.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        forms::{LABEL_PATTERN, NAME_PATTERN},
        traffic_split::Exposure,
    },
    Hook,
};
use crate::HumanDuration;

/// One step: splits and flags that move as one, a soak, and an approval if asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Name of the step, unique in the phase, such as `five-percent`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Splits that move in this step. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["split".into()]))]
    pub traffic: Vec<TrafficTarget>,
    /// Flags that move in this step: after the traffic on the way forward, before it on the way back. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["flag".into()]))]
    pub flags: Vec<FlagTarget>,
    /// Whether the step counts as in force only once `status.verifiedWeight` of each of its splits confirms the weight: requests were made,
    /// and each side served its share. The splits must have `verify`. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// How long the checks watch the step before the next one, counted from the instant all splits carry the step's weight.
    /// Default `0s`.
    #[serde(default = "default_soak")]
    pub soak: HumanDuration,
    /// Jobs that run once the step is in force, before it soaks, such as smoke tests. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hooks: Vec<Hook>,
    /// Approval that is awaited after the soak, before the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StepApproval>,
}

const fn default_soak() -> HumanDuration {
    HumanDuration::from_secs(0)
}

/// The weight that a step asks of one split.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficTarget {
    /// Name of the TrafficSplit.
    #[schemars(length(min = 1, max = 48), regex(pattern = NAME_PATTERN))]
    pub split: String,
    /// Weight of the new side, in parts of the split's `weightTotal`. Range 0 to 10000.
    #[schemars(range(min = 0, max = 10_000))]
    pub new_weight: i32,
    /// `Exposed`: the split gets its routes with this step. Default: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// The percentage that a step asks of one flag.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlagTarget {
    /// Name of the FeatureFlag. It must have a percentage rule.
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    pub flag: String,
    /// Percentage of the growing variant, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
}

/// Approval by people.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepApproval {
    /// How many different people must approve. Default 1, range 1 to 16.
    #[serde(default = "default_required")]
    #[schemars(range(min = 1, max = 16))]
    pub required: i32,
    /// If given, only people who act for one of these groups count. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
}

const fn default_required() -> i32 {
    1
}
