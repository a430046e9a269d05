//! MigrationPhase: gates, steps and checks of one phase, and what to do on failure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    phase_action::RollbackTo,
    schema::{Instant, LABEL_PATTERN, NAME_PATTERN, conditions},
    traffic_split::Exposure,
};
use crate::{Decimal, HumanDuration};

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
    validation = Rule::new("!has(self.checks) || self.checks.size() == 0 || has(self.environment)").message("checks ask the Prometheus of an environment: set environment").field_path(".environment")
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

    /// `false`: past the first step the phase never goes back by itself, it freezes. Default `true`.
    #[serde(default = "default_true")]
    pub reversible: bool,

    /// `true`: a rolled back phase is not `Ready`, so that GitOps tools report it as failed. Default `false`.
    #[serde(default)]
    pub fail_health_on_rollback: bool,
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

/// What must hold before the phase starts and before each forward move.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gates {
    /// Every legacy, new and shared component of the environment is ready. Default `false`.
    #[serde(default)]
    pub components_ready: bool,
}

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
    /// How long the checks watch the step before the next one, counted from the instant all splits carry the step's weight.
    /// Default `0s`.
    #[serde(default = "default_soak")]
    pub soak: HumanDuration,
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

/// Approval of a step by people.
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

/// A check: a measurement and its bounds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)").message("a check needs min, max or both: without a bound it cannot fail"))]
pub struct Check {
    /// Name of the check, unique in the phase.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Asks the environment's Prometheus.
    pub prometheus: PrometheusCheck,
    /// The check fails below this value. A decimal in quotes, such as `"0.95"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// The check fails above this value. A decimal in quotes, such as `"0.05"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// Time between two runs. Default `30s`, at least `1s`.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("self != '0s'").message("interval must be at least 1s"))]
    pub interval: HumanDuration,
    /// Failures in a row that count as harm. Default 3, range 1 to 100.
    #[serde(default = "default_fail_after")]
    #[schemars(range(min = 1, max = 100))]
    pub fail_after: i32,
    /// What a run without data means while the present step has not had any. `Wait` (default): the step does not end. `Pass`. `Fail`.
    #[serde(default)]
    pub no_data: NoDataPolicy,
    /// How long data may be missing after it had been there in the present step before that counts as harm. Default `2m`.
    #[serde(default = "default_no_data_timeout")]
    pub no_data_timeout: HumanDuration,
    /// After a step's shift, failures count only from this time on, so that the look-back of the query lies inside the step.
    /// Default: the longest range in the query (`[5m]` → five minutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<HumanDuration>,
}

const fn default_interval() -> HumanDuration {
    HumanDuration::from_secs(30)
}

const fn default_fail_after() -> i32 {
    3
}

const fn default_no_data_timeout() -> HumanDuration {
    HumanDuration::from_secs(120)
}

/// An instant query.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusCheck {
    /// PromQL that yields one number. `$system` (`new`), `$namespace`, `$environment` and `$phase` are replaced inside it.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}

/// What a run without data means.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoDataPolicy {
    /// Neither passed nor failed: the step does not end.
    #[default]
    Wait,
    /// Passed.
    Pass,
    /// Failed.
    Fail,
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
    /// What happened, newest last. At most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<HistoryEntry>,
}

/// States of a phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseState {
    /// Gates are not all open.
    #[default]
    Waiting,
    /// In a step.
    Running,
    /// Paused by a person.
    Paused,
    /// Going back.
    RollingBack,
    /// At rest where the way back led.
    RolledBack,
    /// Harm was seen; weights are held for a person to decide.
    Frozen,
    /// The last step is reached and soaked.
    Completed,
    /// Given up by a person; weights are held.
    Aborted,
}

impl PhaseState {
    /// The state as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Frozen => "Frozen",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
        }
    }

    /// Whether a phase in this state holds its splits and flags.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::RollingBack | Self::Frozen)
    }
}

/// Stages of a step.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Everything the step needs is checked before anything moves.
    Preparing,
    /// Splits, then flags, follow the step's requests.
    Shifting,
    /// Checks watch.
    Soaking,
    /// People are asked.
    AwaitingApproval,
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

/// Outcomes of a check's run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckState {
    /// Not run yet in this step.
    Pending,
    /// Inside its bounds.
    Passing,
    /// Outside its bounds, and inside its warm-up: not counted.
    WarmingUp,
    /// Outside its bounds.
    Failing,
    /// Nothing was measured.
    NoData,
    /// The source could not be asked.
    Erroring,
}

/// One approval that was given.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRecord {
    /// Step that was approved.
    #[schemars(length(max = 64))]
    pub step: String,
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
    pub side: super::traffic_split::Side,
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
