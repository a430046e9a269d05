//! What a check asks, from its spec. Pure.

use std::collections::BTreeSet;

use cutover_api::v1alpha1::migration_phase::{Check, CompareCheck, HttpCheck, JobCheck, PrometheusCheck, WebhookCheck};
use jiff::Timestamp;

use super::{
    super::{
        hooks::job,
        observed::PhaseIdentity,
        plan::{CountQueries, Probe, Queries},
    },
    condition, http,
    query::{self, InvalidQuery, Variables},
    webhook::{self, Question},
};

/// What queries are made from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    pub phase: &'a PhaseIdentity,
    pub environment: Option<&'a str>,
    pub splits: &'a BTreeSet<&'a str>,
    /// When the weights that are watched were in force.
    pub since: Timestamp,
    pub attempt: i32,
    pub step: &'a str,
}

/// A check that cannot be run.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Path of the field below the check.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Sources<'_> {
    /// What the check asks.
    pub fn probe(&self, check: &Check) -> Result<Probe, Unusable> {
        match (&check.prometheus, &check.compare, &check.http, &check.webhook, &check.job) {
            (Some(prometheus), None, None, None, None) => self.prometheus(check, prometheus),
            (None, Some(compare), None, None, None) => self.compare(compare),
            (None, None, Some(asked), None, None) => Self::http(check, asked),
            (None, None, None, Some(asked), None) => self.webhook(check, asked),
            (None, None, None, None, Some(asked)) => self.job(check, asked),
            _ => {
                let why = "a check has exactly one of prometheus, compare, http, webhook and job".to_owned();
                Err(Unusable { field: "", why })
            }
        }
    }

    fn webhook(&self, check: &Check, asked: &WebhookCheck) -> Result<Probe, Unusable> {
        webhook::usable(asked)?;
        let question = Question::of(self.phase, self.environment, (self.attempt, self.step), check);
        Ok(Probe::Webhook { asked: asked.clone(), question })
    }

    fn http(check: &Check, asked: &HttpCheck) -> Result<Probe, Unusable> {
        http::usable(check, asked)?;
        Ok(Probe::Http { asked: asked.clone() })
    }

    fn job(&self, check: &Check, asked: &JobCheck) -> Result<Probe, Unusable> {
        if asked.timeout.as_secs() == 0 || asked.timeout.get() > check.interval.get() {
            let why = "a Job is made once per interval: write at least 1s, and an interval that is no shorter";
            return Err(Unusable { field: "job.timeout", why: why.to_owned() });
        }
        let body = job::for_check(self.phase, &check.name, asked);
        Ok(Probe::Job { body, timeout: asked.timeout.get() })
    }

    fn prometheus(&self, check: &Check, asked: &PrometheusCheck) -> Result<Probe, Unusable> {
        let field = "prometheus.query";
        let both = check.condition.as_deref().is_some_and(|condition| condition::mentions(condition, "legacy"));
        if both && !query::uses(&asked.query, "system") {
            let why = "the check's condition uses legacy: the query must tell the sides apart by $system";
            return Err(unusable(field, &InvalidQuery::Missing { name: "system", why }));
        }
        let of = |system| self.replaced(&asked.query, system, false).map_err(|error| unusable(field, &error));
        let legacy = if both { Some(of("legacy")?) } else { None };
        let environment = self.environment()?;
        Ok(Probe::Prometheus { environment, queries: Queries::Value { query: of("new")?, legacy } })
    }

    fn compare(&self, asked: &CompareCheck) -> Result<Probe, Unusable> {
        let side = |system| {
            let query = |field, text: &str| {
                let missing = |name, why| Err(unusable(field, &InvalidQuery::Missing { name, why }));
                if !query::uses(text, "system") {
                    return missing("system", "it is asked for each side");
                }
                if !query::uses(text, "window") {
                    return missing("window", "it counts since the step began, as in increase(x[$window])");
                }
                self.replaced(text, system, true).map_err(|error| unusable(field, &error))
            };
            let errors = query("compare.errors", &asked.errors)?;
            Ok(CountQueries { errors, requests: query("compare.requests", &asked.requests)? })
        };
        let (legacy, new) = (side("legacy")?, side("new")?);
        let environment = self.environment()?;
        Ok(Probe::Prometheus { environment, queries: Queries::Counts { legacy, new, since: self.since } })
    }

    /// A query that counts what legacy served, over `$window`.
    pub fn counted(&self, text: &str) -> Result<String, Unusable> {
        let field = "requests";
        if !query::uses(text, "window") {
            let why = "it counts what legacy served, as in increase(x[$window])";
            return Err(unusable(field, &InvalidQuery::Missing { name: "window", why }));
        }
        self.replaced(text, "legacy", true).map_err(|error| unusable(field, &error))
    }

    fn environment(&self) -> Result<String, Unusable> {
        let none = || Unusable { field: "", why: "checks ask the Prometheus of an environment: set it".to_owned() };
        self.environment.map(str::to_owned).ok_or_else(none)
    }

    fn replaced(&self, text: &str, system: &'static str, window: bool) -> Result<String, InvalidQuery> {
        let Self { phase, splits, .. } = *self;
        query::substitute(
            text,
            &Variables { phase, environment: self.environment.unwrap_or("none"), splits, system, window },
        )
    }
}

fn unusable(field: &'static str, error: &InvalidQuery) -> Unusable {
    Unusable { field, why: error.to_string() }
}
