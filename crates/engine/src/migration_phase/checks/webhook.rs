//! Checks that somebody else makes: what is told to them, and what their word means. Pure: the controller asks.

use cutover_api::v1alpha1::migration_phase::{Check, WebhookCheck};
use serde::{Deserialize, Serialize};

use super::{
    super::observed::PhaseIdentity,
    http::{TIMEOUTS, is_address},
    judge::Verdict,
    probe::Unusable,
};

/// What is told of a check to who makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Namespace of the phase.
    pub namespace: String,
    /// Name of the phase.
    pub phase: String,
    /// UID of the phase.
    #[serde(rename = "phaseUID")]
    pub phase_uid: String,
    /// Its environment.
    pub environment: Option<String>,
    /// Its attempt.
    pub attempt: i32,
    /// The step that is watched.
    pub step: String,
    /// The check.
    pub check: String,
}

impl Question {
    /// The question of a check.
    pub(super) fn of(
        phase: &PhaseIdentity,
        environment: Option<&str>,
        (attempt, step): (i32, &str),
        check: &Check,
    ) -> Self {
        Self {
            namespace: phase.namespace.clone(),
            phase: phase.name.clone(),
            phase_uid: phase.uid.clone(),
            environment: environment.map(str::to_owned),
            attempt,
            step: step.to_owned(),
            check: check.name.clone(),
        }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Word {
    /// What it comes to.
    pub status: Said,
    /// Why.
    #[serde(default)]
    pub message: Option<String>,
}

/// What a check that somebody else makes comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Said {
    /// All is well.
    Pass,
    /// Something is not.
    Fail,
    /// There is nothing to judge.
    NoData,
}

/// Whether it can be asked.
pub fn usable(asked: &WebhookCheck) -> Result<(), Unusable> {
    let unusable = |field, why: &str| Err(Unusable { field, why: why.to_owned() });
    if !is_address(&asked.url) {
        return unusable(
            "webhook.url",
            "it is not the address of an HTTP server, such as https://judge.shop.svc/phase",
        );
    }
    if !TIMEOUTS.contains(&asked.timeout.as_secs()) {
        return unusable("webhook.timeout", "write 1s to 30s");
    }
    Ok(())
}

/// What the word means.
pub fn judge(word: &Word) -> Verdict {
    let why = || word.message.clone().unwrap_or_else(|| "no reason was given".to_owned());
    match word.status {
        Said::Pass => Verdict::Passes("Pass".to_owned()),
        Said::Fail => Verdict::Fails("Fail".to_owned(), why()),
        Said::NoData => Verdict::NoData(why()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::migration_phase::tests::fixture;

    #[rstest]
    #[case(json!({"status": "Pass"}), Verdict::Passes("Pass".into()))]
    #[case(json!({"status": "Fail", "message": "too many returns"}), Verdict::Fails("Fail".into(), "too many returns".into()))]
    #[case(json!({"status": "Fail", "more": 1}), Verdict::Fails("Fail".into(), "no reason was given".into()))]
    #[case(json!({"status": "NoData", "message": "no orders yet"}), Verdict::NoData("no orders yet".into()))]
    fn a_word_is_taken_for_what_it_says(#[case] answer: serde_json::Value, #[case] expected: Verdict) {
        assert_eq!(judge(&serde_json::from_value(answer).unwrap()), expected);
    }

    #[rstest]
    #[case(json!({"status": "pass"}))]
    #[case(json!({"message": "fine"}))]
    #[case(json!("Pass"))]
    fn anything_else_is_no_word(#[case] answer: serde_json::Value) {
        assert!(serde_json::from_value::<Word>(answer).is_err());
    }

    #[test]
    fn the_question_says_what_it_is_about() {
        let phase =
            PhaseIdentity { namespace: "shop".into(), name: "30-shift".into(), uid: "u".into(), ..Default::default() };
        let question = Question::of(&phase, Some("production"), (2, "half"), &fixture::webhook_check("orders"));
        let expected = json!({
            "namespace": "shop", "phase": "30-shift", "phaseUID": "u", "environment": "production", "attempt": 2,
            "step": "half", "check": "orders",
        });
        assert_eq!(serde_json::to_value(question).unwrap(), expected);
    }
}
