//! A check: what is measured, its bounds, and what missing data means.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::LABEL_PATTERN;
use crate::{Decimal, HumanDuration};

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
