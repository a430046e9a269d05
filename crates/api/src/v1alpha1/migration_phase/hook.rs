//! Hooks: Jobs that a phase runs at certain points, and what became of them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{forms::LABEL_PATTERN, job::job, schema::Instant};
use crate::HumanDuration;

/// A Job that the phase runs, and waits for, before it goes on. Hooks of one point run one at a time, in order.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// Name of the hook, unique in its list.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Spec of a Job. It gets `backoffLimit: 0`, one pod that is not restarted, `activeDeadlineSeconds` from `timeout`, and a day of
    /// `ttlSecondsAfterFinished` if it says nothing else. Kubernetes may still run a pod twice: what must not happen twice has to
    /// lock. On failure the last lines of its output are shown in the phase's status: it must not print secrets.
    #[schemars(schema_with = "job")]
    pub job: Value,
    /// How long the Job may take; longer is a failure. Default `10m`, at least `1s`.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = Rule::new("self != '0s'").message("timeout must be at least 1s"))]
    pub timeout: HumanDuration,
    /// Makes the hook a migration of the environment's shared database, which is carried out once: see `spec.hooks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

/// A migration of the environment's shared database. The Environment records in its status which versions are applied; a version that
/// is applied is not migrated to again, by whichever phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migration {
    /// Version of the schema that the hook's Job leads to, such as `44`. Unique in the environment. 1 to 999999999999999.
    #[schemars(range(min = 1, max = 999_999_999_999_999_i64))]
    pub version: i64,
    /// Spec of the Job that undoes it, with the hook's `timeout`. It runs when a way back to the baseline or to legacy has brought the
    /// traffic back, before the hooks of `onRollback`; later versions first. Without it the schema stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "job")]
    pub down: Option<Value>,
}

const fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(600)
}

/// Hooks of the whole phase.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PhaseHooks {
    /// Before the first step moves anything, when its gates are open and its splits are held. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub before: Vec<Hook>,
    /// After the last step, before the phase is `Completed`. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]), validation = Rule::new("self.all(h, !has(h.migration))").message("a migration belongs before the first step or into a step"))]
    pub after: Vec<Hook>,
    /// Once the traffic is back, before the phase is `RolledBack`. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]), validation = Rule::new("self.all(h, !has(h.migration))").message("a migration belongs before the first step or into a step; its down runs on the way back"))]
    pub on_rollback: Vec<Hook>,
}

/// When a hook runs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookPoint {
    /// Before the first step.
    Before,
    /// When a step is in force, before it soaks.
    Step,
    /// After the last step.
    After,
    /// When the way back has been gone.
    OnRollback,
}

/// What became of a hook.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookState {
    /// Its Job is made, or about to be.
    Started,
    /// It ended well.
    Succeeded,
    /// It did not end well, or not in time, or could not be started.
    Failed,
    /// It was to be started and there is no such Job: whether it ran is not known. A person decides.
    Unknown,
    /// A person goes on without its success.
    Waived,
    /// There is nothing to do: the environment has recorded that this version is applied.
    Skipped,
}

/// Which way a migration leads.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigrationDirection {
    /// To its version.
    Up,
    /// Back from it.
    Down,
}

/// Which migration a hook carried out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRun {
    /// Version of the schema.
    pub version: i64,
    /// Whether it leads there or back.
    pub direction: MigrationDirection,
    /// The how manieth run of this version in the environment, ups and downs counted together.
    pub round: i32,
}

/// One start of a hook.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// Name of the hook.
    #[schemars(length(max = 64))]
    pub name: String,
    /// When it runs.
    pub point: HookPoint,
    /// The step that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub step: Option<String>,
    /// Which migration it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationRun>,
    /// Name of its Job.
    #[schemars(length(max = 63))]
    pub job: String,
    /// What became of it.
    pub state: HookState,
    /// When it was decided to start it.
    pub started_at: Instant,
    /// Until when it has to end.
    pub deadline: Instant,
    /// When it was known how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Instant>,
    /// Exit code of the container that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The last lines of its output, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub log: Option<String>,
}
