//! Jobs that are one pod, started once: what of a spec fits one, and what is made of it. Pure.

use cutover_api::{HumanDuration, labels};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::hash::short_hash;

/// How long a Job stays that has ended and is followed by others like it.
pub(crate) const REPEATED_KEPT_SECONDS: i64 = 600;
/// The longest beginning of a Job's name; with the hash it also has to fit into a label of its pods.
const READABLE: usize = 40;

/// A name that tells people what it is, made unique by `identity`.
pub(crate) fn name(owner: &str, identity: &impl Serialize) -> String {
    let readable: String = owner.chars().filter(|c| *c != '.').take(READABLE).collect();
    format!("{}-{}", readable.trim_end_matches('-'), short_hash(identity))
}

/// What of a Job does not fit: it is one pod that is started once.
pub(crate) fn unfit(job: &Value) -> Vec<(&'static str, &'static str)> {
    let mut unfit = Vec::new();
    let at = |path: &str| job.pointer(path);
    if at("/template/spec/containers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        unfit.push(("template.spec.containers", "it needs a container to run"));
    }
    if at("/template/spec/restartPolicy").is_some_and(|policy| policy != "Never") {
        unfit.push(("template.spec.restartPolicy", "it is started once: write Never or leave it out"));
    }
    if at("/backoffLimit").is_some_and(|limit| limit != 0) {
        unfit.push(("backoffLimit", "it is started once: leave it out"));
    }
    if at("/parallelism").is_some_and(|pods| pods != 1) || at("/completions").is_some_and(|pods| pods != 1) {
        unfit.push(("parallelism", "it is one pod: leave parallelism and completions out"));
    }
    if at("/suspend").is_some_and(|suspend| suspend != false) {
        unfit.push(("suspend", "it runs at once: leave it out"));
    }
    if at("/selector").is_some() || at("/manualSelector").is_some() {
        unfit.push(("selector", "it is made by Kubernetes: leave it out"));
    }
    if at("/podFailurePolicy").is_some() {
        unfit.push(("podFailurePolicy", "it is not started again: leave it out"));
    }
    if at("/ttlSecondsAfterFinished").is_some_and(|ttl| ttl.as_i64().is_none_or(|ttl| ttl < 600)) {
        unfit.push(("ttlSecondsAfterFinished", "its end has to be seen: write 600 or more, or leave it out"));
    }
    unfit
}

/// What the author wrote, as one pod that is started once, ends in time, and goes after so many seconds.
pub(crate) fn started_once(
    job: &Value,
    timeout: HumanDuration,
    kept: Option<i64>,
    owner_uid: &str,
) -> Map<String, Value> {
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
        fill_in_label(template, owner_uid);
    }
    spec
}

fn fill_in(object: &mut Value, inside: &str, field: &str, value: &str) {
    if let Some(fields) = object.get_mut(inside).and_then(Value::as_object_mut) {
        fields.entry(field).or_insert_with(|| value.into());
    }
}

/// Pods are found by what they belong to.
fn fill_in_label(template: &mut Value, owner_uid: &str) {
    let Some(template) = template.as_object_mut() else { return };
    let metadata = template.entry("metadata").or_insert_with(|| Map::new().into());
    let Some(metadata) = metadata.as_object_mut() else { return };
    let own = metadata.entry("labels").or_insert_with(|| Map::new().into());
    if let Some(own) = own.as_object_mut() {
        own.insert(labels::OWNER_UID.to_owned(), owner_uid.into());
    }
}
