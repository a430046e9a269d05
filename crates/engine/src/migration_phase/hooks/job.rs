//! The Job of a hook: what its author wrote, and what makes it ours and keeps it from being started twice.

use cutover_api::{
    labels,
    v1alpha1::migration_phase::{Hook, HookStatus},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::observed::PhaseIdentity;
use crate::hash::short_hash;

/// How long a Job stays that has ended.
const KEPT_SECONDS: i64 = 86_400;
/// The longest beginning of a Job's name; with the hash it also has to fit into a label of its pods.
const READABLE: usize = 40;

/// A name that tells people what it is, made unique by `identity`.
pub(super) fn name(phase: &str, identity: &impl Serialize) -> String {
    let readable: String = phase.chars().filter(|c| *c != '.').take(READABLE).collect();
    format!("{}-{}", readable.trim_end_matches('-'), short_hash(identity))
}

/// The whole Job.
pub(super) fn build(phase: &PhaseIdentity, attempt: i32, status: &HookStatus, hook: &Hook) -> Value {
    let mut spec = hook.job.as_object().cloned().unwrap_or_default();
    let timeout = hook.timeout.as_secs();
    let deadline = spec.get("activeDeadlineSeconds").and_then(Value::as_i64).map_or(timeout, |own| own.min(timeout));
    spec.insert("backoffLimit".into(), 0.into());
    spec.insert("activeDeadlineSeconds".into(), deadline.into());
    spec.entry("ttlSecondsAfterFinished").or_insert_with(|| KEPT_SECONDS.into());
    if let Some(template) = spec.get_mut("template") {
        fill_in(template, "spec", "restartPolicy", "Never");
        fill_in_label(template, phase);
    }
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
            "annotations": {
                (labels::OWNER_NAME): phase.name,
                (labels::ATTEMPT): attempt.to_string(),
            },
            // A hook carries no traffic: it may go with its phase, whichever way that is deleted.
            "ownerReferences": [{
                "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase", "name": phase.name, "uid": phase.uid,
                "controller": true,
            }],
        },
        "spec": spec,
    })
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
