//! PhaseAction: one decision by a person, and the durable record of who, when and why.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    forms::{LABEL_PATTERN, NAME_PATTERN, SUBJECT_PATTERN, UID_PATTERN},
    schema::Instant,
};

/// One decision by a person about one attempt of one phase. Immutable.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "cutover.dev",
    version = "v1alpha1",
    kind = "PhaseAction",
    plural = "phaseactions",
    shortname = "paction",
    category = "cutover",
    namespaced,
    status = "PhaseActionStatus",
    derive = "PartialEq",
    doc = "One decision by a person about one attempt of one phase: the record of who, when and why. It cannot be changed once made.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".spec.phase"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an action cannot be changed: create another one"),
    validation = Rule::new("self.action != 'Approve' || has(self.step) || has(self.subjectHash)").message("Approve needs step: the step whose approval is given; or, for the phase's start, subjectHash: what is approved").field_path(".step"),
    validation = Rule::new("self.action in ['Approve', 'Promote'] || !has(self.step)").message("step belongs to Approve and Promote only").field_path(".step"),
    validation = Rule::new("self.action == 'Approve' || !has(self.subjectHash)").message("subjectHash belongs to Approve only").field_path(".subjectHash"),
    validation = Rule::new("self.action == 'Rollback' || (!has(self.to) && !has(self.force))").message("to and force belong to Rollback only").field_path(".to"),
    validation = Rule::new("self.action == 'Pause' || !has(self.until)").message("until belongs to Pause only").field_path(".until")
)]
pub struct PhaseActionSpec {
    /// Name of the MigrationPhase, in the same namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub phase: String,
    /// UID of the phase: an action for a phase that was deleted and made again is rejected.
    #[serde(rename = "phaseUID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = UID_PATTERN))]
    pub phase_uid: String,
    /// Attempt of the phase (`status.attempt`) that the action is about; for another one it is rejected. At least 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: i32,
    /// What is to be done.
    pub action: ActionKind,
    /// For Approve: the step whose approval is given; without it, the phase's start is approved. For Promote: the step that is meant, so
    /// that no other is promoted; by default the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub step: Option<String>,
    /// For Approve: what was looked at, `status.approvalSubject` of the phase. If that is another by now, the approval is rejected.
    /// Needed for the phase's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = SUBJECT_PATTERN))]
    pub subject_hash: Option<String>,
    /// For Rollback: where to. Default: the phase's `rollback.to`. `Legacy` gives everything back to the legacy side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RollbackTo>,
    /// For Rollback: go back at once, even if the legacy side has too few ready endpoints. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
    /// For Pause: when the phase resumes by itself. Default: one hour after the pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
    /// Who asks: must be the caller's own user name.
    #[schemars(length(min = 1, max = 253))]
    pub requested_by: String,
    /// Groups of the caller that count for an approval; each must be one of the caller's. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// Why, for the record, such as `smoke test looked at, ticket 4711`.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// After this instant the action is not carried out any more. Default: 15 minutes after it was made; at most 24 hours, except
    /// for Approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
}

/// What a person can ask of a phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// Give the approval that a step, or the phase's start, waits for.
    Approve,
    /// End the present soak or approval, or adopt the step that is in force already. No gate is opened and no failing check passed. Of a
    /// completed phase, without `step`: retire legacy when it has been quiet for as long as `spec.finish` says.
    Promote,
    /// Hold the weights and disarm the checks, until a person resumes or the pause ends.
    Pause,
    /// End a pause, or go on after a freeze.
    Resume,
    /// Give the phase up where it stands; weights are held.
    Abort,
    /// Go back.
    Rollback,
    /// Begin a new attempt after a rollback, a freeze or an abort.
    Retry,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Approve, Self::Promote, Self::Pause, Self::Resume, Self::Abort, Self::Rollback, Self::Retry];

    /// The verb on `migrationphases` that the caller needs.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
            Self::Retry => "retry",
        }
    }
}

/// Where a rollback leads.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RollbackTo {
    /// The weights from before the phase's first step.
    #[default]
    Baseline,
    /// The weights of the step before the present one.
    PreviousStep,
    /// Everything to the legacy side.
    Legacy,
}

/// What became of the action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PhaseActionStatus {
    /// What became of it; absent while it is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ActionState>,
    /// PascalCase reason, such as `Applied`, `Superseded`, `NotApplicable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// The same for people, with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// When it took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Instant>,
    /// Attempt of the phase that it took effect on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
}

/// What became of an action.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionState {
    /// It took effect.
    Accepted,
    /// It cannot take effect; the reason says why.
    Rejected,
    /// It came too late.
    Expired,
}
