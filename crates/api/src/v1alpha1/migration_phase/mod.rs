//! MigrationPhase: gates, steps and checks of one phase, and what to do on failure.

mod check;
mod finish;
mod gates;
mod hook;
mod http_check;
mod job_check;
mod notify;
mod record;
mod request;
mod state;
mod status;
mod step;
mod webhook_check;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    check::{Check, CompareCheck, NoDataPolicy, PrometheusCheck},
    finish::{Finish, FinishStatus, RetireLegacy, Retired},
    gates::{Day, Freeze, Gates, Promotion, SchemaRange, Window},
    hook::{Hook, HookPoint, HookState, HookStatus, Migration, MigrationDirection, MigrationRun, PhaseHooks},
    http_check::{HttpCheck, HttpHeader, HttpMethod, StatusRange},
    job_check::JobCheck,
    notify::{Notify, NotifyOn},
    record::{
        ApprovalRecord, AuditChain, AuditRecord, Blocker, CheckStatus, DeadSide, Failure, HistoryEntry, LastValid,
    },
    request::{FlagRequest, Requests, SplitRequest, WayBack},
    state::{CheckState, PhaseState, Stage},
    status::{MigrationPhaseStatus, StepStatus},
    step::{FlagTarget, Step, StepApproval, TrafficTarget},
    webhook_check::WebhookCheck,
};
use super::{
    forms::{LABEL_PATTERN, NAME_PATTERN},
    phase_action::RollbackTo,
};
use crate::HumanDuration;

/// One phase of a migration: a series of steps over splits and flags, guarded by gates and checks.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "cutover.dev",
    version = "v1alpha1",
    kind = "MigrationPhase",
    plural = "migrationphases",
    shortname = "mphase",
    category = "cutover",
    namespaced,
    status = "MigrationPhaseStatus",
    derive = "PartialEq",
    doc = "One phase of a migration: a series of steps over splits and flags, guarded by gates and checks, with a way back.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step.name"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.step.stage"),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(
        name = "Blocked By",
        type_ = "string",
        json_path = ".status.blockedBy[0].message",
        description = "First of what it waits for"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.steps.all(s, self.steps.filter(t, t.name == s.name).size() == 1)").message("step names must be unique").field_path(".steps"),
    validation = Rule::new("self.steps.all(s, (has(s.traffic) && s.traffic.size() > 0) || (has(s.flags) && s.flags.size() > 0))").message("each step moves at least one split or flag").field_path(".steps"),
    validation = Rule::new("!has(self.finish) || has(self.environment)").message("finish asks the Prometheus of an environment: set environment").field_path(".environment"),
    validation = Rule::new("!has(self.checks) || has(self.environment) || self.checks.all(c, !has(c.prometheus) && !has(c.compare))").message("checks ask the Prometheus of an environment: set environment").field_path(".environment"),
    validation = Rule::new("has(self.environment) || ((!has(self.hooks) || !has(self.hooks.before) || !self.hooks.before.exists(h, has(h.migration))) && !self.steps.exists(s, has(s.hooks) && s.hooks.exists(h, has(h.migration))))").message("a migration is about the database of an environment: set environment").field_path(".environment")
)]
pub struct MigrationPhaseSpec {
    /// Environment of the same namespace: `componentsReady` looks at its components, and checks ask its Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    pub environment: Option<String>,

    /// Phases of the same namespace that must be completed first. At most 16; a cycle is shown in status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = NAME_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub after: Vec<String>,

    /// What must hold before the phase starts and before each step that moves traffic forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<Gates>,

    /// Namespaces whose phases may name this one in `gates.promotedFrom`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub visible_to: Vec<String>,

    /// The steps, in order. 1 to 32. Per split and per flag, the new side's share does not fall from step to step.
    #[schemars(length(min = 1, max = 32))]
    // Each step becomes a map once, so that the comparison of every pair of steps stays within the cost that the API server allows.
    #[x_kube(
        validation = Rule::new("[self.map(s, has(s.traffic) ? s.traffic.transformMapEntry(i, t, {t.split: t.newWeight}) : {})].all(m, m.all(i, a, m.all(j, b, j <= i || a.all(k, v, !(k in b) || b[k] >= v))))").message("newWeight of a split must not fall from step to step: a phase moves forward only"),
        validation = Rule::new("[self.map(s, has(s.flags) ? s.flags.transformMapEntry(i, t, {t.flag: t.percent}) : {})].all(m, m.all(i, a, m.all(j, b, j <= i || a.all(k, v, !(k in b) || b[k] >= v))))").message("percent of a flag must not fall from step to step: a phase moves forward only")
    )]
    pub steps: Vec<Step>,

    /// Checks that run while the new side has traffic. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub checks: Vec<Check>,

    /// Whether a phase without `checks` gets the default ones when its environment says where it is measured (`spec.monitoring`): at most
    /// 5 % of the new side's requests fail, on average they take at most 200 ms, and 95 of 100 at most 2 s. Default `true`.
    #[serde(default = "default_true")]
    pub default_checks: bool,

    /// Jobs that run before the first step, after the last one, and on the way back. A hook that fails is handled like a check that
    /// fails; one that fails on the way back freezes the phase when the traffic is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<PhaseHooks>,

    /// How long splits and flags may take to follow a step before that counts as failure. Default `10m`, at least `1s`.
    #[serde(default = "default_shift_timeout")]
    pub shift_timeout: HumanDuration,

    /// How long a step may prepare (splits held, valid, capacity there) before the phase reports `PrepareTimedOut`. It goes on waiting:
    /// nothing has moved. Default `10m`.
    #[serde(default = "default_shift_timeout")]
    pub prepare_timeout: HumanDuration,

    /// How long a side with traffic may have no ready endpoint before that counts as harm. Default `10s`.
    #[serde(default = "default_dead_after")]
    pub dead_after: HumanDuration,

    /// What harm leads to. `Rollback` (default): back to `rollback.to`. `Freeze`: weights are held and a person decides.
    #[serde(default)]
    pub on_failure: OnFailure,

    /// The way back.
    #[serde(default)]
    pub rollback: RollbackSpec,

    /// `false`: the phase never goes back by itself, from no step: it freezes, and a person decides. Steps that may go back by themselves are a
    /// phase of their own before it. Default `true`.
    #[serde(default = "default_true")]
    pub reversible: bool,

    /// What follows when the phase is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,

    /// `true`: a rolled back phase is not `Ready`, so that GitOps tools report it as failed. Default `false`.
    #[serde(default)]
    pub fail_health_on_rollback: bool,

    /// Who is told of what. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["sink".into()]))]
    pub notify: Vec<Notify>,
}

const fn default_shift_timeout() -> HumanDuration {
    HumanDuration::from_secs(600)
}

const fn default_dead_after() -> HumanDuration {
    HumanDuration::from_secs(10)
}

const fn default_true() -> bool {
    true
}

/// What harm leads to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Traffic goes back.
    #[default]
    Rollback,
    /// Weights are held and a person decides.
    Freeze,
}

/// The way back.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackSpec {
    /// Where a failure leads back to. `Baseline` (default): the weights from before the phase. `PreviousStep`: those of the step before.
    #[serde(default)]
    pub to: AutomaticRollbackTo,
    /// How long the way back may take before the phase freezes with `WayBackClosed`. Default `10m`.
    #[serde(default = "default_shift_timeout")]
    pub timeout: HumanDuration,
}

impl Default for RollbackSpec {
    fn default() -> Self {
        Self { to: AutomaticRollbackTo::default(), timeout: default_shift_timeout() }
    }
}

/// Where a failure leads back to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutomaticRollbackTo {
    /// The weights from before the phase's first step.
    #[default]
    Baseline,
    /// The weights of the step before the present one.
    PreviousStep,
}

impl From<AutomaticRollbackTo> for RollbackTo {
    fn from(to: AutomaticRollbackTo) -> Self {
        match to {
            AutomaticRollbackTo::Baseline => Self::Baseline,
            AutomaticRollbackTo::PreviousStep => Self::PreviousStep,
        }
    }
}
