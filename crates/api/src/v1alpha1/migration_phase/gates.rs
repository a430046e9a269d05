//! Gates: what must hold before a phase starts, and before each of its moves forward.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::environment::ChecklistItem,
    super::forms::{CLOCK_PATTERN, DATE_PATTERN, LABEL_PATTERN, NAME_PATTERN, ZONE_PATTERN},
    StepApproval,
};
use crate::HumanDuration;

/// What must hold before the phase starts and before each forward move. A closed gate never bars the way back.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gates {
    /// Every legacy, new and shared component of the environment is ready. Default `false`.
    #[serde(default)]
    pub components_ready: bool,
    /// People who must approve the start: PhaseActions with action Approve, without `step`, with the `subjectHash` that the phase shows
    /// as `status.approvalSubject`. They approve the steps, checks, failure policy and images of the new components as they are then:
    /// when the phase has started with them, a change of the steps, checks or failure policy needs new ones before anything moves on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<StepApproval>,
    /// Versions of the shared database's schema with which the steps of this phase work: looked at before every forward move, and a step
    /// does not end with another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaRange>,
    /// A phase that must have completed, and with the images that the new components have now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_from: Option<Promotion>,
    /// Items of the environment's checklist that somebody must have attested there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub checklist: Vec<ChecklistItem>,
    /// When traffic may move forward: in any of these. Without windows, at all times. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// Days on which nothing moves forward, windows or not. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub freezes: Vec<Freeze>,
}

/// Versions of a schema.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.min) || has(self.max)").message("a schema range needs min, max or both"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min is more than max: no version fits").field_path(".min")
)]
pub struct SchemaRange {
    /// The lowest version. Range 0 to 2^53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_i64))]
    pub min: Option<i64>,
    /// The highest version. Range 0 to 2^53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_992_i64))]
    pub max: Option<i64>,
}

/// A phase that must have completed before this one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promotion {
    /// Namespace of the phase, which must allow it in `spec.visibleTo`. Default: the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub namespace: Option<String>,
    /// Name of the phase. The new components of its environment have the same names as those here, and had the same images when it
    /// completed.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub phase: String,
    /// How long ago it may have completed. Default `14d`.
    #[serde(default = "two_weeks")]
    pub within: HumanDuration,
}

const fn two_weeks() -> HumanDuration {
    HumanDuration::from_secs(14 * 24 * 3_600)
}

/// A time of the day, on days of the week, by the clocks of a time zone: open while they show `from` or later, and not yet `to`. Where
/// clocks are set forward the times left out do not occur; where they are set back those that occur twice count twice.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.from != self.to").message("from and to are the same: for whole days write from 00:00 to 24:00").field_path(".to"),
    validation = Rule::new("self.from != '24:00'").message("a day ends with 24:00: write from 00:00").field_path(".from")
)]
pub struct Window {
    /// Days on which the window begins: `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat`, `Sun`. Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Day>,
    /// When it opens, such as `09:00`.
    #[schemars(length(min = 5, max = 5), regex(pattern = CLOCK_PATTERN))]
    pub from: String,
    /// When it closes, such as `16:00`. Earlier than `from`: on the next day. `24:00`: at the end of the day.
    #[schemars(length(min = 5, max = 5), regex(pattern = CLOCK_PATTERN))]
    pub to: String,
    /// Time zone of the IANA database, such as `America/Sao_Paulo`.
    #[schemars(length(min = 1, max = 64), regex(pattern = ZONE_PATTERN))]
    pub time_zone: String,
}

/// Days on which nothing moves forward.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.from <= self.to").message("to is a day before from").field_path(".to"))]
pub struct Freeze {
    /// First day, such as `2026-12-20`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE_PATTERN))]
    pub from: String,
    /// Last day, such as `2027-01-04`.
    #[schemars(length(min = 10, max = 10), regex(pattern = DATE_PATTERN))]
    pub to: String,
    /// Time zone of the IANA database in which the days begin and end. Default `UTC`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = ZONE_PATTERN))]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".into()
}

/// Days of the week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}
