//! The version of the shared database's schema, as whoever migrates it has written it down, as a server tells it, or as a Job prints it.

mod job;

use std::{ops::RangeInclusive, time::Duration};

use cutover_api::{
    labels::SCHEMA_VERSION,
    v1alpha1::environment::{ConfigMapKey, HttpVersion, JobVersion, SchemaSource, SchemaStatus},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

pub use self::job::{failed, printed};
use super::{names::Identity, observed::Observed, validate::Problem};
use crate::{
    conditions::{bounded, whole_seconds},
    job::unfit,
    migration_phase::Answer,
};

/// How long an answer may be waited for, in seconds.
const TIMEOUTS: RangeInclusive<i64> = 1..=30;
/// How long a Job may take, in seconds.
const JOB_TIMEOUTS: RangeInclusive<i64> = 1..=600;
/// The highest version.
const HIGHEST: f64 = 9_007_199_254_740_992.0;

/// What is told of the version: as read, or why it cannot be.
pub(super) fn schema(
    source: &SchemaSource,
    observed: &Observed,
    previous: Option<&SchemaStatus>,
    now: Timestamp,
) -> SchemaStatus {
    let told = |nobody: &str| observed.schema_told.clone().unwrap_or_else(|| Err(nobody.to_owned()));
    let read = match (&source.config_map, &source.http, &source.job) {
        (Some(key), _, _) => written(key, observed),
        (None, Some(_), _) => told("nobody has been asked for it yet"),
        (None, None, Some(_)) => told("no Job has printed it yet"),
        (None, None, None) => Err("nothing says where it is".to_owned()),
    };
    let (version, message) = match read {
        Ok(version) => (Some(version), None),
        Err(message) => (None, Some(bounded(message))),
    };
    let since = previous.filter(|last| last.version == version && last.message == message).map(|last| last.at.clone());
    SchemaStatus { version, at: since.unwrap_or_else(|| Time(whole_seconds(now))), message }
}

/// What is wrong with the source.
pub(super) fn usable(source: &SchemaSource, problems: &mut Vec<Problem>) {
    let field = "spec.shared.database.schema.from";
    let mut problem = |field: String, message: &str| problems.push(Problem { field, message: message.to_owned() });
    let given = [source.config_map.is_some(), source.http.is_some(), source.job.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        problem(field.to_owned(), "the version is read from exactly one of configMap, http and job");
    }
    if source.http.as_ref().is_some_and(|http| !TIMEOUTS.contains(&http.timeout.as_secs())) {
        problem(format!("{field}.http.timeout"), "write 1s to 30s");
    }
    if let Some(job) = &source.job {
        if !JOB_TIMEOUTS.contains(&job.timeout.as_secs()) {
            problem(format!("{field}.job.timeout"), "write 1s to 10m");
        }
        for (place, why) in unfit(&job.spec) {
            problem(format!("{field}.job.spec.{place}"), why);
        }
    }
}

/// Who is asked for the version, again and again.
#[derive(Clone, Debug, PartialEq)]
pub enum VersionSource {
    /// A server.
    Http(HttpVersion),
    /// A Job.
    Job {
        /// The Job, without a name of its own.
        body: Value,
        /// Time between the starts of two.
        interval: Duration,
        /// How long it may take.
        timeout: Duration,
    },
}

impl VersionSource {
    /// Who is asked for an environment's version; `None` where nobody is, or where what the spec says cannot be used.
    #[must_use]
    pub fn of(identity: &Identity, source: &SchemaSource) -> Option<Self> {
        let mut problems = Vec::new();
        usable(source, &mut problems);
        if !problems.is_empty() {
            return None;
        }
        let job = |asked: &JobVersion| Self::Job {
            body: job::build(identity, asked),
            interval: asked.interval.get(),
            timeout: asked.timeout.get(),
        };
        source.http.clone().map(Self::Http).or_else(|| source.job.as_ref().map(job))
    }

    /// Time between two questions.
    #[must_use]
    pub fn interval(&self) -> Duration {
        match self {
            Self::Http(http) => http.interval.get(),
            Self::Job { interval, .. } => *interval,
        }
    }
}

/// What is in the ConfigMap.
fn written(source: &ConfigMapKey, observed: &Observed) -> Result<i64, String> {
    let ConfigMapKey { name, key } = source;
    match observed.schema.as_ref().map(|data| data.get(key)) {
        None => Err(format!("there is no ConfigMap {name} with the label {SCHEMA_VERSION}=true in this namespace")),
        Some(None) => Err(format!("ConfigMap {name} has no key {key}")),
        Some(Some(text)) => version(text).ok_or_else(|| {
            format!("ConfigMap {name}: what is in {key} is no whole number of at most 15 digits, such as 43")
        }),
    }
}

/// The version in an answer.
///
/// # Errors
/// There is none, and why.
pub fn told(source: &HttpVersion, answer: Result<Answer, String>) -> Result<i64, String> {
    let (status, value) = match answer {
        Ok(Answer::Given { status, value, .. }) => (status, value),
        Ok(Answer::Silence(why)) | Err(why) => return Err(format!("{}: {why}", source.url)),
    };
    if !(200..=299).contains(&status) {
        return Err(format!("{} answers {status}", source.url));
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within what both types hold exactly")]
    let whole = |value: f64| (value.fract() == 0.0 && (0.0..=HIGHEST).contains(&value)).then_some(value as i64);
    value.and_then(whole).ok_or_else(|| format!("{}: there is no whole number at {}", source.url, source.pointer))
}

fn version(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use cutover_api::HumanDuration;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn source() -> HttpVersion {
        HttpVersion {
            url: "http://api/schema".into(),
            pointer: "/version".into(),
            interval: HumanDuration::from_secs(60),
            timeout: HumanDuration::from_secs(5),
            ca_bundle: None,
        }
    }

    fn nowhere() -> SchemaSource {
        SchemaSource { config_map: None, http: None, job: None }
    }

    fn of_job(spec: Value, timeout: u64) -> SchemaSource {
        let seconds = HumanDuration::from_secs;
        SchemaSource { job: Some(JobVersion { spec, interval: seconds(600), timeout: seconds(timeout) }), ..nowhere() }
    }

    fn pod() -> Value {
        json!({"template": {"spec": {"containers": [{"name": "ask", "image": "psql:17"}]}}})
    }

    fn given(status: u16, value: Option<f64>) -> Answer {
        Answer::Given { status, seconds: 0.1, value }
    }

    #[rstest]
    #[case(Ok(given(200, Some(43.0))), Ok(43))]
    #[case(Ok(given(204, Some(0.0))), Ok(0))]
    #[case(Ok(given(200, Some(43.5))), Err("there is no whole number at /version"))]
    #[case(Ok(given(200, Some(-1.0))), Err("there is no whole number"))]
    #[case(Ok(given(200, Some(1e17))), Err("there is no whole number"))]
    #[case(Ok(given(200, None)), Err("there is no whole number"))]
    #[case(Ok(given(503, None)), Err("http://api/schema answers 503"))]
    #[case(Ok(Answer::Silence("refused".into())), Err("http://api/schema: refused"))]
    #[case(Err("out of reach".into()), Err("http://api/schema: out of reach"))]
    fn a_version_is_a_whole_number_of_a_good_answer(
        #[case] answer: Result<Answer, String>,
        #[case] expected: Result<i64, &str>,
    ) {
        match (told(&source(), answer), expected) {
            (Ok(version), Ok(expected)) => assert_eq!(version, expected),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case(None, None, "nobody has been asked for it yet")]
    #[case(Some(Err("it is down".to_owned())), None, "it is down")]
    #[case(Some(Ok(43)), Some(43), "")]
    fn what_a_server_tells_is_shown(
        #[case] told: Option<Result<i64, String>>,
        #[case] version: Option<i64>,
        #[case] message: &str,
    ) {
        let from = SchemaSource { http: Some(source()), ..nowhere() };
        let observed = Observed { schema_told: told, ..Observed::default() };
        let status = schema(&from, &observed, None, Timestamp::UNIX_EPOCH);
        assert_eq!((status.version, status.message.unwrap_or_default().as_str()), (version, message));
        let later = Timestamp::from_second(60).unwrap();
        let again = schema(&from, &observed, Some(&schema(&from, &observed, None, Timestamp::UNIX_EPOCH)), later);
        assert_eq!(again.at.0, Timestamp::UNIX_EPOCH, "it is since then what it is");
    }

    #[test]
    fn a_source_is_one_of_three_and_waits_for_a_while() {
        let problems = |from: &SchemaSource| {
            let mut problems = Vec::new();
            usable(from, &mut problems);
            problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        let late = HttpVersion { timeout: HumanDuration::from_secs(31), ..source() };
        let key = ConfigMapKey { name: "a".into(), key: "b".into() };
        let field = "spec.shared.database.schema.from";
        assert_eq!(problems(&SchemaSource { http: Some(source()), ..nowhere() }), [""; 0]);
        assert_eq!(problems(&nowhere()), [field]);
        assert_eq!(problems(&SchemaSource { config_map: Some(key), http: Some(source()), job: None }), [field]);
        assert_eq!(problems(&SchemaSource { http: Some(late), ..nowhere() }), [format!("{field}.http.timeout")]);
        assert_eq!(problems(&of_job(pod(), 600)), [""; 0]);
        assert_eq!(problems(&SchemaSource { http: Some(source()), ..of_job(pod(), 60) }), [field]);
        assert_eq!(problems(&of_job(pod(), 601)), [format!("{field}.job.timeout")]);
        let mut often = pod();
        often["backoffLimit"] = 3.into();
        assert_eq!(problems(&of_job(often, 60)), [format!("{field}.job.spec.backoffLimit")]);
    }

    #[test]
    fn nobody_is_asked_where_it_is_written_down_or_the_spec_is_wrong() {
        let identity = Identity { namespace: "shop".into(), name: "production".into(), uid: "uid-1".into() };
        let of = |from: &SchemaSource| VersionSource::of(&identity, from);
        let key = ConfigMapKey { name: "a".into(), key: "b".into() };
        assert_eq!(of(&SchemaSource { config_map: Some(key), ..nowhere() }), None);
        assert_eq!(of(&nowhere()), None);
        assert_eq!(of(&of_job(json!({}), 60)), None);
        assert_eq!(of(&SchemaSource { http: Some(source()), ..nowhere() }), Some(VersionSource::Http(source())));
        let Some(VersionSource::Job { body, interval, timeout }) = of(&of_job(pod(), 60)) else { panic!("no Job") };
        assert_eq!((interval.as_secs(), timeout.as_secs()), (600, 60));
        assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        assert_eq!(body["metadata"]["labels"]["cutover.dev/owner-kind"], "Environment");
        assert!(body["metadata"]["generateName"].as_str().is_some_and(|name| name.starts_with("production-")));
        let spec = &body["spec"];
        assert_eq!((&spec["backoffLimit"], &spec["activeDeadlineSeconds"]), (&json!(0), &json!(60)));
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
    }
}
