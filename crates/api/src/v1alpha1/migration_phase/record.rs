//! What a phase keeps of the past and of what it waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{schema::Instant, traffic_split::Side},
    Check, CheckState, Hook, Notify, OnFailure, RollbackSpec,
};
use crate::HumanDuration;

/// One thing that a phase waits for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// PascalCase reason, such as `SplitBusy`.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// What is missing and what would clear it.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it clears by itself, if it is a matter of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

/// The state of one check.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// Name of the check.
    #[schemars(length(max = 64))]
    pub name: String,
    /// Outcome of the last run.
    pub state: CheckState,
    /// Value of the last run that had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value: Option<String>,
    /// Failures in a row that count.
    #[serde(default)]
    pub consecutive_failures: i32,
    /// When it last ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Instant>,
    /// When the present step last had data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_data: Option<Instant>,
    /// Since when every run has been without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_since: Option<Instant>,
    /// Why it failed or could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// One approval that was given.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRecord {
    /// Step that was approved; absent: the phase's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub step: Option<String>,
    /// What was approved: `status.approvalSubject` as it was. For another one the approval does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub subject: Option<String>,
    /// Who approved.
    #[schemars(length(max = 253))]
    pub by: String,
    /// The groups they acted for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub groups: Vec<String>,
    /// When.
    pub at: Instant,
    /// UID of the PhaseAction.
    #[schemars(length(max = 64))]
    pub action: String,
    /// Until when it counts; absent: for the whole attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
}

/// A side with traffic and without a ready endpoint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeadSide {
    /// Name of the split.
    #[schemars(length(max = 253))]
    pub split: String,
    /// Which side.
    pub side: Side,
    /// Since when.
    pub since: Instant,
}

/// A failure.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// PascalCase reason, such as `CheckFailed`.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// What was seen.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Step in which it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub step: Option<String>,
    /// When.
    pub at: Instant,
}

/// What a phase goes on guarding by when its spec is not valid.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastValid {
    /// Generation of the spec it was.
    pub generation: i64,
    /// Environment whose Prometheus the checks ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub environment: Option<String>,
    /// Checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub checks: Vec<Check>,
    /// What harm leads to.
    pub on_failure: OnFailure,
    /// Where back to.
    pub rollback: RollbackSpec,
    /// Whether it may go back by itself.
    pub reversible: bool,
    /// How long a side may be dead.
    pub dead_after: HumanDuration,
    /// What runs when the traffic is back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub on_rollback: Vec<Hook>,
    /// Migrations that can be undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub migrations: Vec<Hook>,
    /// Who is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub notify: Vec<Notify>,
}

/// The end of the chain of audit records.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditChain {
    /// Number of the last record, from 1.
    pub sequence: i64,
    /// Hash of the last record: 64 hexadecimal digits.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// The records that the last decision made, oldest first. Stored with what was decided and logged from here, so that a record is logged
    /// also if the operator ends in between. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub records: Vec<AuditRecord>,
}

/// One audit record of this phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Hash of the record before; empty in the first.
    #[schemars(length(max = 64))]
    pub previous: String,
    /// Generation of the spec that the decision was about.
    pub generation: i64,
    /// Attempt that it was about.
    pub attempt: i32,
    /// Number of the record, from 1, without gaps.
    pub sequence: i64,
    /// When, in whole seconds, such as `2026-11-20T10:15:00Z`.
    #[schemars(length(max = 40))]
    pub at: String,
    /// Who decided: a user name, or `cutover` for the operator itself.
    #[schemars(length(max = 2048))]
    pub who: String,
    /// What was done, such as `Rollback` or `Shift`.
    #[schemars(length(max = 63))]
    pub what: String,
    /// Why: the person's reason, or what was seen.
    #[schemars(length(max = 2048))]
    pub why: String,
    /// State, step and requests before.
    #[schemars(length(max = 2048))]
    pub before: String,
    /// The same after.
    #[schemars(length(max = 2048))]
    pub after: String,
    /// SHA-256 of all of the above, with namespace, name and UID of the phase: 64 hexadecimal digits.
    #[schemars(length(max = 64))]
    pub hash: String,
}

/// Something that happened.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When.
    pub at: Instant,
    /// Attempt.
    pub attempt: i32,
    /// PascalCase reason, such as `StepDone`.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// Step, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub step: Option<String>,
    /// What happened.
    #[schemars(length(max = 512))]
    pub message: String,
    /// Who decided it; absent if the operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub by: Option<String>,
}
