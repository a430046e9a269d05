//! Proves that the admission policies are enforced, on which the worth of every PhaseAction rests: a forged action is
//! tried as a dry run and must be refused. One request at start where all is well, repeated with backoff where it is not.

use std::time::Duration;

use cutover_api::v1alpha1::{PhaseAction, PhaseActionSpec, phase_action::ActionKind};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;

use super::backoff;

/// Somebody whom no cluster knows: the forged action claims to come from them.
const FORGED_USER: &str = "cutover:forged-by-self-test";

/// Between two attempts, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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

/// Tries a forged action in `namespace` and publishes the outcome, again and again until it is refused as it should be. The task ends
/// then, or with the last receiver.
#[must_use]
pub fn prove(client: Client, namespace: String) -> watch::Receiver<Enforcement> {
    let (sender, receiver) = watch::channel(Enforcement::Unknown);
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = ask_until_enforced(&sender, client, &namespace) => {}
        }
        // The channel stays open while somebody follows it.
        sender.closed().await;
    });
    receiver
}

/// Policies take seconds to come into force after they are installed, and may be installed later than the operator.
async fn ask_until_enforced(outcome: &watch::Sender<Enforcement>, client: Client, namespace: &str) {
    let actions: Api<PhaseAction> = Api::namespaced(client, namespace);
    let dry_run = PostParams { dry_run: true, field_manager: None };
    let mut attempts = 0;
    loop {
        match judge(actions.create(&dry_run, &forged()).await) {
            Ok(Enforcement::Enforced) => {
                tracing::info!(namespace, "a forged PhaseAction was refused: the policies are enforced");
                outcome.send_replace(Enforcement::Enforced);
                return;
            }
            Ok(answer) => {
                tracing::warn!(
                    namespace,
                    "a forged PhaseAction was not refused: install the chart's ValidatingAdmissionPolicies; until they \
                     are in force no action that leads a phase forward is accepted"
                );
                outcome.send_replace(answer);
            }
            Err(error) => tracing::warn!(%error, namespace, "whether policies are enforced cannot be told yet"),
        }
        attempts += 1;
        tokio::time::sleep(backoff::delay(attempts, fastrand::f64()).min(LONGEST_WAIT)).await;
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
        subject_hash: None,
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

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(message: &str) -> kube::Result<PhaseAction> {
        Err(kube::Error::Api(Box::new(Status { code: 422, message: message.to_owned(), ..Status::default() })))
    }

    #[test]
    fn only_a_policys_refusal_proves_that_policies_are_enforced() {
        let by_policy =
            "phaseactions.cutover.dev is forbidden: ValidatingAdmissionPolicy 'x' denied request: spec.requestedBy";
        assert_eq!(judge(refused(by_policy)).unwrap(), Enforcement::Enforced);
        assert_eq!(judge(Ok(forged())).unwrap(), Enforcement::Absent);
        assert!(judge(refused("User \"x\" cannot create resource \"phaseactions\"")).is_err());
    }
}
