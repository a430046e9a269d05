//! The checks of a phase that names none, in an environment that is measured. Pure.
//!
//! They ask for the series that Cutover's rules and dashboards expect, `http_requests_total` and `http_request_duration_seconds`, with
//! the labels `system` and `namespace`. Those of a proxy serve best: what counts requests to a dead server is not the server.

use cutover_api::{
    HumanDuration,
    v1alpha1::{
        MigrationPhaseSpec,
        migration_phase::{Check, NoDataPolicy, PrometheusCheck},
    },
};

use super::super::machine::Machine;
use crate::Known;

/// What all three ask about.
const OF: &str = r#"namespace="$namespace",system="$system""#;

/// At most 5 % of the requests fail, on average they take at most 200 ms, and 95 of 100 at most 2 s.
#[must_use]
pub fn defaults() -> Vec<Check> {
    let requests = format!("sum(rate(http_requests_total{{{OF}}}[5m]))");
    // No series of errors is no error, but only while there are requests.
    let errors = format!(r#"(sum(rate(http_requests_total{{{OF},status=~"5.."}}[5m])) or vector(0))"#);
    let seconds = |part: &str| format!("sum(rate(http_request_duration_seconds_{part}{{{OF}}}[5m]))");
    let buckets = format!("sum by (le) (rate(http_request_duration_seconds_bucket{{{OF}}}[5m]))");
    vec![
        check("default-error-rate", format!("{errors} / {requests} and {requests} > 0"), "0.05", NoDataPolicy::Wait),
        // Not everybody measures how long requests take.
        check("default-average", format!("{} / {}", seconds("sum"), seconds("count")), "0.2", NoDataPolicy::Pass),
        check("default-p95", format!("histogram_quantile(0.95, {buckets})"), "2", NoDataPolicy::Pass),
    ]
}

/// Whether the spec leaves the checks to the defaults, if the environment is measured.
#[must_use]
pub fn by_default(spec: &MigrationPhaseSpec) -> bool {
    spec.checks.is_empty() && spec.default_checks && spec.environment.is_some()
}

fn check(name: &str, query: String, max: &str, no_data: NoDataPolicy) -> Check {
    Check {
        name: name.to_owned(),
        prometheus: Some(PrometheusCheck { query }),
        compare: None,
        http: None,
        webhook: None,
        job: None,
        min: None,
        max: max.parse().ok(),
        condition: None,
        dry_run: false,
        significance: None,
        min_samples: None,
        interval: HumanDuration::from_secs(30),
        fail_after: 3,
        no_data,
        // A quiet night is no harm, and a side without endpoints is seen without metrics.
        no_data_timeout: HumanDuration::from_secs(24 * 3_600),
        warmup: None,
    }
}

impl Machine<'_> {
    /// The checks of a valid spec. While the environment cannot be read they stay what they were.
    pub fn checks_of(&self, spec: &MigrationPhaseSpec) -> Vec<Check> {
        if !by_default(spec) {
            return spec.checks.clone();
        }
        let defaults = defaults();
        match &self.observed.environment {
            Known::Known(Some(view)) if view.monitored => defaults,
            Known::Known(Some(_)) => Vec::new(),
            Known::Known(None) | Known::Unknown => {
                let before = self.status.last_valid.iter().flat_map(|guards| &guards.checks);
                before.filter(|check| defaults.contains(check)).cloned().collect()
            }
        }
    }
}
