//! The Job that prints the version of the schema: what it is, and what its output says.

use cutover_api::v1alpha1::environment::JobVersion;
use serde_json::{Value, json};

use super::{super::names::KIND, Identity, version};
use crate::job::{REPEATED_KEPT_SECONDS, name, started_once};

/// Characters of an output that are shown.
const SHOWN: usize = 100;
/// What of a word is a secret when one of these is before its `=`.
const SECRETS: [&str; 6] = ["password", "passwd", "pwd", "secret", "token", "key"];

/// The Job: made anew each time, under a name that the API server gives it. It goes with the Environment.
pub(super) fn build(identity: &Identity, asked: &JobVersion) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": format!("{}-", name(&identity.name, &(&identity.uid, "schema"))),
            "namespace": identity.namespace,
            "labels": identity.labels(),
            "annotations": identity.annotations(),
            "ownerReferences": [{
                "apiVersion": "cutover.dev/v1alpha1", "controller": true,
                "kind": KIND, "name": identity.name, "uid": identity.uid,
            }],
        },
        "spec": started_once(&asked.spec, asked.timeout, Some(REPEATED_KEPT_SECONDS), &identity.uid),
    })
}

/// The version that a Job has printed: the last line of its output that is not empty.
///
/// # Errors
/// It is none, and what was printed instead.
pub fn printed(job: &str, output: &str) -> Result<i64, String> {
    let Some(line) = last_line(output) else { return Err(format!("Job {job} has printed nothing")) };
    version(line).ok_or_else(|| {
        let wanted = "no whole number of at most 15 digits, such as 43";
        format!("the last line that Job {job} has printed is {wanted}: {}", shown(line))
    })
}

/// Why there is no version when a Job has failed: `why` is what Kubernetes says, `output` what it had printed.
#[must_use]
pub fn failed(job: &str, exit_code: Option<i32>, why: &str, output: Option<&str>) -> String {
    let code = exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let last = output.and_then(last_line).map(|line| format!("; it said: {}", shown(line)));
    format!("Job {job} failed{code}: {why}{}", last.unwrap_or_default())
}

fn last_line(output: &str) -> Option<&str> {
    output.lines().map(str::trim).rfind(|line| !line.is_empty())
}

/// The beginning of a line, without what disturbs a terminal and without what looks like a secret.
fn shown(line: &str) -> String {
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    let words: Vec<_> = clean.split_whitespace().map(without_secret).collect();
    let mut text = words.join(" ");
    if let Some((at, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// A word without the credentials of an address, and without the value of what is called a secret.
fn without_secret(word: &str) -> String {
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((_, host)) = rest.rsplit_once('@')
    {
        return format!("{scheme}://***@{host}");
    }
    match word.split_once(['=', ':']) {
        Some((field, value)) if !value.is_empty() && is_secret(field) => format!("{field}=***"),
        _ => word.to_owned(),
    }
}

fn is_secret(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    SECRETS.iter().any(|secret| field.contains(secret))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("43", Ok(43))]
    #[case("connecting\n43\n\n  \n", Ok(43))]
    #[case("  43\r\n", Ok(43))]
    #[case("44\n43", Ok(43))]
    #[case("", Err("Job j has printed nothing"))]
    #[case(" \n\n", Err("Job j has printed nothing"))]
    #[case("43\ndone", Err("such as 43: done"))]
    #[case("43 ok", Err("such as 43: 43 ok"))]
    #[case("-1", Err(": -1"))]
    #[case("4.3", Err(": 4.3"))]
    #[case("1234567890123456", Err("at most 15 digits"))]
    #[case("\u{1b}[31mred", Err(": [31mred"))]
    fn the_version_is_the_last_line(#[case] output: &str, #[case] expected: Result<i64, &str>) {
        match (printed("j", output), expected) {
            (Ok(version), Ok(expected)) => assert_eq!(version, expected),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case("cannot reach postgres://app:hunter2@db:5432/shop", "cannot reach postgres://***@db:5432/shop")]
    #[case("url=redis://:hun@ter2@cache", "url=redis://***@cache")]
    #[case("host=db password=hunter2 user=app", "host=db password=*** user=app")]
    #[case("DB_PASSWORD:hunter2", "DB_PASSWORD=***")]
    #[case("api-key=hunter2", "api-key=***")]
    #[case("error: no such table", "error: no such table")]
    fn what_looks_like_a_secret_is_not_shown(#[case] line: &str, #[case] expected: &str) {
        for why in [printed("j", line).unwrap_err(), failed("j", Some(3), "BackoffLimitExceeded", Some(line))] {
            assert!(why.ends_with(expected) && !why.contains("hunter2") && !why.contains("ter2"), "{why}");
        }
    }

    #[test]
    fn what_is_shown_is_short() {
        let why = printed("j", &"ä".repeat(5_000)).unwrap_err();
        assert!(why.chars().count() < 250 && why.ends_with("ä…"), "{why}");
    }

    #[test]
    fn a_job_that_failed_says_how() {
        let why = failed("j", Some(3), "DeadlineExceeded: too long", Some("one\ntwo\n\n"));
        assert_eq!(why, "Job j failed with exit code 3: DeadlineExceeded: too long; it said: two");
        assert_eq!(failed("j", None, "Gone", None), "Job j failed: Gone");
    }
}
