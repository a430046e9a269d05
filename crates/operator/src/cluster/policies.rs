//! Proves that the admission policies are enforced, on which the worth of every PhaseAction rests: a forged action is
//! tried as a dry run and must be refused. One request at start, tried again until the API server gives an answer.

use std::time::Duration;

use cutover_api::v1alpha1::{PhaseAction, PhaseActionSpec, phase_action::ActionKind};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;

use super::backoff;

/// Somebody whom no cluster knows: the forged action claims to come from them.
const FORGED_USER: &str = "cutover:forged-by-self-test";

/// What the proof has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Not asked yet, or no answer yet.
    Unknown,
    /// The forged action was refused by a policy.
    Enforced,
    /// The forged action would have been accepted: anybody could write an action in another's name.
    Absent,
}

/// Tries a forged action in `namespace` and publishes the outcome. The task ends with the answer or with the receiver.
#[must_use]
pub fn prove(client: Client, namespace: String) -> watch::Receiver<Enforcement> {
    let (sender, receiver) = watch::channel(Enforcement::Unknown);
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            outcome = ask_until_answered(client, &namespace) => drop(sender.send(outcome)),
        }
        // Later subscribers still read the last value; the channel stays open while the sender lives.
        sender.closed().await;
    });
    receiver
}

/// What is known before [`prove`] was asked.
#[must_use]
pub fn unproven() -> watch::Receiver<Enforcement> {
    watch::channel(Enforcement::Unknown).1
}

async fn ask_until_answered(client: Client, namespace: &str) -> Enforcement {
    let actions: Api<PhaseAction> = Api::namespaced(client, namespace);
    let mut failures = 0;
    loop {
        match judge(actions.create(&PostParams { dry_run: true, field_manager: None }, &forged()).await) {
            Ok(Enforcement::Absent) => {
                tracing::error!(
                    namespace,
                    "a forged PhaseAction was not refused: install the chart's ValidatingAdmissionPolicies; \
                     until then no approvals are accepted"
                );
                return Enforcement::Absent;
            }
            Ok(outcome) => return outcome,
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, namespace, "whether policies are enforced cannot be told yet");
            }
        }
        let wait = backoff::delay(failures, fastrand::f64()).min(Duration::from_secs(60));
        tokio::time::sleep(wait).await;
    }
}

/// What an answer to the forged action proves; an answer that proves nothing is handed back.
fn judge(answer: kube::Result<PhaseAction>) -> kube::Result<Enforcement> {
    match answer {
        Ok(_) => Ok(Enforcement::Absent),
        // RBAC's own refusal reads "User ... cannot create resource": it says nothing about policies.
        Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
            Ok(Enforcement::Enforced)
        }
        Err(error) => Err(error),
    }
}

fn forged() -> PhaseAction {
    let spec = PhaseActionSpec {
        phase: "policy-self-test".to_owned(),
        phase_uid: "00000000-0000-0000-0000-000000000000".to_owned(),
        attempt: 1,
        action: ActionKind::Pause,
        step: None,
        to: None,
        force: None,
        until: None,
        requested_by: FORGED_USER.to_owned(),
        groups: Vec::new(),
        reason: "self-test of the operator: this must be refused".to_owned(),
        expires_at: None,
    };
    let mut action = PhaseAction::new("", spec);
    action.metadata.name = None;
    action.metadata.generate_name = Some("policy-self-test-".to_owned());
    action
}
