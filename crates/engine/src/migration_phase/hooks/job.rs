//! The Job of a hook: what its author wrote, and what makes it ours and keeps it from being started twice.

use cutover_api::{
    HumanDuration, labels,
    v1alpha1::migration_phase::{Hook, HookStatus, JobCheck, MigrationDirection},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::observed::PhaseIdentity;
use crate::hash::short_hash;

/// How long a Job stays that has ended.
const KEPT_SECONDS: i64 = 86_400;
/// The same of a check, which has many.
const CHECK_KEPT_SECONDS: i64 = 600;
/// The longest beginning of a Job's name; with the hash it also has to fit into a label of its pods.
const READABLE: usize = 40;

/// A name that tells people what it is, made unique by `identity`.
pub(super) fn name(phase: &str, identity: &impl Serialize) -> String {
    let readable: String = phase.chars().filter(|c| *c != '.').take(READABLE).collect();
    format!("{}-{}", readable.trim_end_matches('-'), short_hash(identity))
}

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
    let spec = started_once(undo.unwrap_or(&hook.job), hook.timeout, kept, phase);
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
        "spec": started_once(&asked.spec, asked.timeout, Some(CHECK_KEPT_SECONDS), phase),
    })
}

/// What the author wrote, as one pod that is started once, ends in time, and goes after so many seconds.
fn started_once(job: &Value, timeout: HumanDuration, kept: Option<i64>, phase: &PhaseIdentity) -> Map<String, Value> {
    let mut spec = job.as_object().cloned().unwrap_or_default();
    let timeout = timeout.as_secs();
    let deadline = spec.get("activeDeadlineSeconds").and_then(Value::as_i64).map_or(timeout, |own| own.min(timeout));
    spec.insert("backoffLimit".into(), 0.into());
    spec.insert("activeDeadlineSeconds".into(), deadline.into());
    match kept {
        Some(seconds) => _ = spec.entry("ttlSecondsAfterFinished").or_insert_with(|| seconds.into()),
        None => _ = spec.remove("ttlSecondsAfterFinished"),
    }
    if let Some(template) = spec.get_mut("template") {
        fill_in(template, "spec", "restartPolicy", "Never");
        fill_in_label(template, phase);
    }
    spec
}

fn fill_in(object: &mut Value, inside: &str, field: &str, value: &str) {
    if let Some(fields) = object.get_mut(inside).and_then(Value::as_object_mut) {
        fields.entry(field).or_insert_with(|| value.into());
    }
}

/// Pods are found by the phase they belong to.
fn fill_in_label(template: &mut Value, phase: &PhaseIdentity) {
    let Some(template) = template.as_object_mut() else { return };
    let metadata = template.entry("metadata").or_insert_with(|| Map::new().into());
    let Some(metadata) = metadata.as_object_mut() else { return };
    let own = metadata.entry("labels").or_insert_with(|| Map::new().into());
    if let Some(own) = own.as_object_mut() {
        own.insert(labels::OWNER_UID.to_owned(), phase.uid.clone().into());
    }
}
