//! The version of the shared database's schema, as whoever migrates it has written it down, or as a server tells it.

use cutover_api::{
    labels::SCHEMA_VERSION,
    v1alpha1::environment::{ConfigMapKey, HttpVersion, SchemaSource, SchemaStatus},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{observed::Observed, validate::Problem};
use crate::{
    conditions::{bounded, whole_seconds},
    migration_phase::Answer,
};

/// How long an answer may be waited for, in seconds.
const TIMEOUTS: std::ops::RangeInclusive<i64> = 1..=30;
/// The highest version.
const HIGHEST: f64 = 9_007_199_254_740_992.0;

/// What is told of the version: as read, or why it cannot be.
pub(super) fn schema(
    source: &SchemaSource,
    observed: &Observed,
    previous: Option<&SchemaStatus>,
    now: Timestamp,
) -> SchemaStatus {
    let read = match (&source.config_map, &source.http) {
        (Some(key), _) => written(key, observed),
        (None, Some(_)) => {
            observed.schema_told.clone().unwrap_or_else(|| Err("nobody has been asked for it yet".to_owned()))
        }
        (None, None) => Err("nothing says where it is".to_owned()),
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
    if source.config_map.is_some() == source.http.is_some() {
        problem(field.to_owned(), "the version is read from exactly one of configMap and http");
    }
    if source.http.as_ref().is_some_and(|http| !TIMEOUTS.contains(&http.timeout.as_secs())) {
        problem(format!("{field}.http.timeout"), "write 1s to 30s");
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
        let from = SchemaSource { config_map: None, http: Some(source()) };
        let observed = Observed { schema_told: told, ..Observed::default() };
        let status = schema(&from, &observed, None, Timestamp::UNIX_EPOCH);
        assert_eq!((status.version, status.message.unwrap_or_default().as_str()), (version, message));
        let later = Timestamp::from_second(60).unwrap();
        let again = schema(&from, &observed, Some(&schema(&from, &observed, None, Timestamp::UNIX_EPOCH)), later);
        assert_eq!(again.at.0, Timestamp::UNIX_EPOCH, "it is since then what it is");
    }

    #[test]
    fn a_source_is_one_of_two_and_waits_for_a_while() {
        let problems = |from: &SchemaSource| {
            let mut problems = Vec::new();
            usable(from, &mut problems);
            problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        let late = HttpVersion { timeout: HumanDuration::from_secs(31), ..source() };
        let key = ConfigMapKey { name: "a".into(), key: "b".into() };
        let field = "spec.shared.database.schema.from";
        assert_eq!(problems(&SchemaSource { config_map: None, http: Some(source()) }), [""; 0]);
        assert_eq!(problems(&SchemaSource { config_map: None, http: None }), [field]);
        assert_eq!(problems(&SchemaSource { config_map: Some(key), http: Some(source()) }), [field]);
        assert_eq!(problems(&SchemaSource { config_map: None, http: Some(late) }), [format!("{field}.http.timeout")]);
    }
}
