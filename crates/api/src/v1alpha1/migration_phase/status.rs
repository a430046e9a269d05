//! Where a phase is.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::schema::{Instant, conditions, texts},
    ApprovalRecord, AuditChain, Blocker, CheckStatus, DeadSide, Failure, FinishStatus, HistoryEntry, HookStatus,
    LastValid, PhaseState, Requests, Stage, WayBack,
};

/// Where a phase is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationPhaseStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Degraded` and `Completed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// State of the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PhaseState>,
    /// The present step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// Attempt, from 1. A Retry begins the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// What the splits and flags were when the phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Requests>,
    /// What the splits and flags were asked for before the last step forward: where a rollback to `PreviousStep` leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Requests>,
    /// What the phase asks of its splits and flags now. A split is held by the phase while it is listed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// Number of the present requests. It only grows: a split never carries out an older number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_revision: Option<i64>,
    /// The way back that is being taken or was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
    /// What the phase waits for, all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub blocked_by: Vec<Blocker>,
    /// Checks of the present step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub checks: Vec<CheckStatus>,
    /// What an approval is about now: a hash over steps, checks and failure policy, a hyphen, and a hash over the images of the
    /// environment's new components. A PhaseAction gives it as `subjectHash`. Absent while the environment cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub approval_subject: Option<String>,
    /// Hooks of this attempt, in the order in which they were started. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub hooks: Vec<HookStatus>,
    /// Approvals given in this attempt. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub approvals: Vec<ApprovalRecord>,
    /// UIDs of actions that took effect, newest last. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub applied_actions: Vec<String>,
    /// Since when a side with traffic has had no ready endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub dead_sides: Vec<DeadSide>,
    /// When a person's pause ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Instant>,
    /// The failure that led to the present state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The checks and failure policy last found valid: what the phase goes on guarding by when its spec is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_valid: Option<LastValid>,
    /// When this attempt left Waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Instant>,
    /// When this attempt came to rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Instant>,
    /// How far the retirement of legacy is. Absent until the phase is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishStatus>,
    /// Images that the environment's new components had when the phase completed, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts", extend("maxProperties" = 64))]
    pub images: BTreeMap<String, String>,
    /// What happened, newest last. At most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<HistoryEntry>,
    /// Sinks of `spec.notify` that the operator's configuration does not have for this namespace: they are told nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 63)))]
    pub unknown_sinks: Vec<String>,
    /// The end of the chain of audit records: what the log target `audit` has of this phase is complete and unchanged if it ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditChain>,
}

/// The present step.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Index in `spec.steps`, from 0.
    pub index: i32,
    /// Name of the step.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Stage of the step.
    pub stage: Stage,
    /// Whether the step has asked for its weights: before that, those of the step before are in force.
    #[serde(default)]
    pub moved: bool,
    /// When the stage began.
    pub started_at: Instant,
    /// When every split and flag had followed, in the next step's Preparing still that of the step before: the soak and the checks'
    /// warm-up count from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shifted_at: Option<Instant>,
    /// Seconds of the present stage during which its timer stood still: its inputs could not be read, or a person paused.
    #[serde(default)]
    pub held_seconds: i64,
    /// Since when the stage's timer stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Instant>,
}
