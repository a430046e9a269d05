//! The Job of a hook: what its author wrote, and what makes it ours and keeps it from being started twice.

use cutover_api::{
    labels,
    v1alpha1::migration_phase::{Hook, HookStatus, JobCheck, MigrationDirection},
};
use serde_json::{Value, json};

use super::super::observed::PhaseIdentity;
use crate::job::{REPEATED_KEPT_SECONDS, name, started_once};

/// How long a Job stays that has ended.
const KEPT_SECONDS: i64 = 86_400;

/// The whole Job. That of a migration belongs to the `database`'s Environment, by name and UID: it says that the version was migrated to
/// until that is recorded, and so does not go by itself.
pub(super) fn build(
    phase: &PhaseIdentity,
    attempt: i32,
    status: &HookStatus,
    hook: &Hook,
    database: Option<(String, String)>,
) -> Value {
    let migration = status.migration.zip(database);
    let down = status.migration.is_some_and(|run| run.direction == MigrationDirection::Down);
    let undo = hook.migration.as_ref().and_then(|migration| migration.down.as_ref()).filter(|_| down);
    let kept = migration.is_none().then_some(KEPT_SECONDS);
    let spec = started_once(undo.unwrap_or(&hook.job), hook.timeout, kept, &phase.uid);
    let (name, attempt) = (&phase.name, attempt.to_string());
    let (owner, annotations) = match migration {
        // A hook carries no traffic: it may go with its phase, whichever way that is deleted.
        None => (
            json!({"kind": "MigrationPhase", "name": name, "uid": phase.uid}),
            json!({ (labels::OWNER_NAME): name, (labels::ATTEMPT): attempt }),
        ),
        Some((run, (environment, uid))) => (
            json!({"kind": "Environment", "name": environment, "uid": uid}),
            json!({
                (labels::OWNER_NAME): name,
                (labels::ATTEMPT): attempt,
                (labels::MIGRATES): uid,
                (labels::MIGRATION): format!("{}.{:?}.{}", run.version, run.direction, run.round),
            }),
        ),
    };
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": status.job,
            "namespace": phase.namespace,
            "labels": {
                (labels::MANAGED_BY): labels::MANAGED_BY_VALUE,
                (labels::OWNER_UID): phase.uid,
                (labels::OWNER_KIND): "MigrationPhase",
                (labels::HOOK): hook.name,
            },
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "cutover.dev/v1alpha1", "controller": true,
                "kind": owner.get("kind"), "name": owner.get("name"), "uid": owner.get("uid"),
            }],
        },
        "spec": spec,
    })
}

/// The Job of a check: made anew for each run, under a name that the API server gives it.
pub(in super::super) fn for_check(phase: &PhaseIdentity, check: &str, asked: &JobCheck) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": format!("{}-", name(&phase.name, &(&phase.uid, "check", check))),
            "namespace": phase.namespace,
            "labels": {
                (labels::MANAGED_BY): labels::MANAGED_BY_VALUE,
                (labels::OWNER_UID): phase.uid,
                (labels::OWNER_KIND): "MigrationPhase",
                (labels::CHECK): check,
            },
            "annotations": { (labels::OWNER_NAME): phase.name },
            "ownerReferences": [{
                "apiVersion": "cutover.dev/v1alpha1", "controller": true,
                "kind": "MigrationPhase", "name": phase.name, "uid": phase.uid,
            }],
        },
        "spec": started_once(&asked.spec, asked.timeout, Some(REPEATED_KEPT_SECONDS), &phase.uid),
    })
}
