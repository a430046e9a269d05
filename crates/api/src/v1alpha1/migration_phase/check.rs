//! A check: what is measured, its bounds, and what missing data means.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::forms::LABEL_PATTERN, HttpCheck, JobCheck, WebhookCheck};
use crate::{Decimal, HumanDuration};

/// A check: a measurement and its bounds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.prometheus), has(self.compare), has(self.http), has(self.webhook), has(self.job)].filter(given, given).size() == 1").message("a check has exactly one of prometheus, compare, http, webhook and job"),
    validation = Rule::new("!has(self.prometheus) || has(self.min) || has(self.max) || has(self.condition)").message("a check needs min, max or both, or a condition: without a bound it cannot fail"),
    validation = Rule::new("!has(self.condition) || !(has(self.min) || has(self.max))").message("give either a condition, or min and max"),
    validation = Rule::new("!has(self.http) || !has(self.http.pointer) || has(self.min) || has(self.max) || has(self.condition)").message("a number is looked up by http.pointer, and nothing says what it may be: give min, max or both, or a condition"),
    validation = Rule::new("!has(self.compare) || !(has(self.min) || has(self.max) || has(self.condition))").message("compare takes no min, max or condition: its bound is margin"),
    validation = Rule::new("!has(self.webhook) || !(has(self.min) || has(self.max) || has(self.condition))").message("webhook takes no min, max or condition: who is asked judges"),
    validation = Rule::new("!has(self.job) || !(has(self.min) || has(self.max) || has(self.condition))").message("job takes no min, max or condition: it passes when it ends well"),
    validation = Rule::new("!has(self.job) || self.interval.contains('d') || (!self.job.timeout.contains('d') && duration(self.job.timeout) <= duration(self.interval))").message("a Job is made once per interval: write an interval that is no shorter than job.timeout"),
    validation = Rule::new("has(self.compare) || !(has(self.significance) || has(self.minSamples))").message("significance and minSamples belong to compare")
)]
pub struct Check {
    /// Name of the check, unique in the phase.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Asks the environment's Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// Compares the new side's errors with legacy's, by a test that holds however often one looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareCheck>,
    /// Asks an HTTP server, such as the new side's own health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Asks somebody else for a judgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookCheck>,
    /// Runs a Job, again and again: it passes when it ends well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
    /// The check fails below this value. A decimal in quotes, such as `"0.95"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// The check fails above this value. A decimal in quotes, such as `"0.05"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// The check fails when this is false: a CEL expression over `value`, `legacy` and `new`, such as
    /// `value < 0.05 && new <= legacy * 1.2`. `value` and `new` are the query's values with `$system` as `new`, `legacy` is that with
    /// `$system` as `legacy`; of `http`, those of `url` and of `legacyUrl`. Only numbers, comparisons, arithmetic and logic; in arithmetic numbers are written with a point: `2.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub condition: Option<String>,
    /// `true`: the check only reports. It fails nothing and holds nothing up. Default `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Of `compare`: the share of healthy steps that it may fail, over the whole step and however often it looks. Default `"0.01"`,
    /// more than 0 and at most `"0.5"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^0([.][0-9]+)?$') && self.matches('[1-9]') && double(self) <= 0.5").message("significance must be more than 0 and at most 0.5"))]
    pub significance: Option<Decimal>,
    /// Of `compare`: requests that each side must have had in the step before anything is said. Default 200, range 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_samples: Option<i32>,
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
    /// PromQL that yields one number. `$system` (`new`), `$namespace`, `$environment`, `$phase` and `$split` are replaced inside it.
    /// Where the phase moves several splits, `$split` is `a|b`, for `split=~"$split"`.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}

/// The new side against legacy: fails on evidence that the new side's share of errors is more than `margin` above legacy's.
///
/// Both are counted from the moment the present step's weights were in force. Each query is asked for each side, and yields one
/// number: how much a counter grew in `[$window]`, the time since then. `increase()` sees to counters that begin anew. No series of
/// errors means no errors; no series of requests means no data.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompareCheck {
    /// PromQL for a side's errors, such as `sum(increase(http_requests_total{system="$system",status=~"5.."}[$window]))`.
    #[schemars(length(min = 1, max = 4096))]
    pub errors: String,
    /// PromQL for a side's requests, such as `sum(increase(http_requests_total{system="$system"}[$window]))`.
    #[schemars(length(min = 1, max = 4096))]
    pub requests: String,
    /// By how much the new side's share of errors may be above legacy's. Default `"0"`; `"0.002"` is 0.2 percent points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Decimal>,
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
