//! What is told of an environment: components, manifest, conditions, and Events on transitions.

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::environment::{ComponentStatus, EnvironmentStatus, Manifest, ResolvedStatus, ServiceSource},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    build, discovery,
    migrations::recorded,
    names::{CONTAINER, Identity},
    observed::Observed,
    plan::{Applied, Blocked, Plan, Refusal},
    readiness::{Readiness, readiness, refreshed},
    resolve::{self, Resolution},
    validate::{Component, Problem, Source, Validated},
};
use crate::{
    Known,
    conditions::{Health, Wanted, bounded, merge, whole_seconds},
    hash::short_hash,
    note::{Note, Severity},
};

/// What a reconcile came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// The spec cannot be carried out; nothing was written.
    Invalid(&'a [Problem]),
    /// The plan was carried out, but for what was refused.
    Carried {
        /// The spec.
        environment: &'a Validated,
        /// The plan.
        plan: &'a Plan,
        /// What became of it.
        applied: &'a Applied,
    },
    /// The environment is being deleted.
    Deleting {
        /// The plan.
        plan: &'a Plan,
    },
}

/// The status to be. `observed`: what is seen after the plan was carried out. `failure`: what stopped it, to be tried
/// again.
#[must_use]
pub fn status(
    identity: &Identity,
    generation: Option<i64>,
    previous: &EnvironmentStatus,
    verdict: &Verdict<'_>,
    observed: &Observed,
    failure: Option<&str>,
    now: Timestamp,
) -> EnvironmentStatus {
    let mut manifest = previous.manifest.clone();
    let mut schema = previous.schema.clone();
    let mut checklist = previous.checklist.clone();
    let mut blocked: &[Blocked] = &[];
    let mut names = None;
    let (components, health) = match verdict {
        Verdict::Invalid(problems) => {
            // Where it would have to be read may be among what is wrong: a version of long ago proves nothing.
            schema = None;
            checklist = Vec::new();
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let components = previous.components.iter().map(|last| refreshed(identity, last, observed)).collect();
            (components, (Health::Stalled, reasons::INVALID_SPEC, lines.join("; ")))
        }
        Verdict::Deleting { plan } => {
            blocked = &plan.blocked;
            let components = previous.components.iter().map(|last| refreshed(identity, last, observed)).collect();
            let (reason, message) = if blocked.is_empty() {
                (reasons::DELETING, "what was made for it is being removed".to_owned())
            } else {
                (reasons::STILL_IN_USE, told(blocked))
            };
            (components, (Health::Reconciling, reason, message))
        }
        Verdict::Carried { environment, plan, applied } => {
            blocked = &plan.blocked;
            names = of_names(environment, previous, observed);
            let source = environment.schema.as_ref();
            schema = source.map(|source| super::schema::schema(source, observed, previous.schema.as_ref(), now));
            checklist = super::checklist::checklist(&environment.attestations, &previous.checklist, now);
            let refusals: Vec<&Refusal> = plan.conflicts.iter().chain(&applied.refusals).collect();
            let looked: Vec<(&Component, Readiness)> = environment
                .components
                .iter()
                .map(|component| (component, waiting(plan, component, readiness(environment, component, observed))))
                .collect();
            let components: Vec<ComponentStatus> = looked
                .iter()
                .map(|(component, readiness)| {
                    of_component(environment, component, readiness, &refusals, previous, observed)
                })
                .collect();
            if refusals.is_empty() && failure.is_none() {
                manifest = Some(deployed(environment, &components, previous, now));
            }
            (components, health(&refusals, &looked))
        }
    };
    let (mut health, mut reason, mut message) = health;
    if let (Some(failure), true) = (failure, health != Health::Stalled) {
        (health, reason, message) = (Health::Reconciling, reasons::RETRYING, failure.to_owned());
    }
    let prune = Wanted {
        type_: types::PRUNE_BLOCKED,
        status: (!blocked.is_empty()).then_some(true),
        reason: reasons::STILL_IN_USE,
        message: told(blocked),
    };
    let wanted = health.conditions(reason, &message).into_iter().chain([prune]).chain(names);
    EnvironmentStatus {
        observed_generation: generation,
        conditions: merge(&previous.conditions, wanted, generation, now),
        ready_components: Some(format!("{}/{}", components.iter().filter(|c| c.ready).count(), components.len())),
        components,
        manifest,
        schema,
        migrations: recorded(&previous.migrations, &observed.migrations, now),
        checklist,
    }
}

fn waiting(plan: &Plan, component: &Component, readiness: Readiness) -> Readiness {
    match plan.waiting.get(&component.name) {
        Some(why) => Readiness { message: Some(why.clone()), ..readiness },
        None => readiness,
    }
}

fn health(refusals: &[&Refusal], looked: &[(&Component, Readiness)]) -> (Health, &'static str, String) {
    if let Some(first) = refusals.first() {
        let lines: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        return (Health::Stalled, first.reason, lines.join("; "));
    }
    let open: Vec<&(&Component, Readiness)> = looked.iter().filter(|(_, readiness)| !readiness.settled).collect();
    if open.is_empty() {
        let ready = looked.iter().filter(|(_, readiness)| readiness.ready).count();
        let mut message = format!("{ready} of {} components can take traffic", looked.len());
        let external = |component: &Component| matches!(component.source, Source::External { .. });
        let unprobed: Vec<&str> =
            looked.iter().filter(|(it, _)| external(it)).map(|(component, _)| component.name.as_str()).collect();
        if !unprobed.is_empty() {
            message = format!("{message}; outside the cluster and not probed: {}", unprobed.join(", "));
        }
        return (Health::Ready, reasons::AS_DECLARED, message);
    }
    let told = |reason: &str| open.iter().any(|(_, readiness)| readiness.reason == reason);
    let reason = [reasons::REFERENCE_NOT_FOUND, reasons::NAME_NOT_RESOLVED].into_iter().find(|reason| told(reason));
    let reason = reason.unwrap_or(reasons::COMPONENTS_NOT_READY);
    let lines: Vec<String> = open
        .iter()
        .map(|(component, readiness)| {
            format!("{}: {}", component.name, readiness.message.as_deref().unwrap_or_default())
        })
        .collect();
    (Health::Reconciling, reason, lines.join("; "))
}

/// That host names are not resolved as they should be. While some have not been asked for since the process started, what was said
/// before still stands.
fn of_names(environment: &Validated, previous: &EnvironmentStatus, observed: &Observed) -> Option<Wanted> {
    let hosts: Vec<(&str, &str, &Resolution)> = environment
        .components
        .iter()
        .filter_map(|component| {
            let name = component.host()?;
            Some((component.name.as_str(), name, observed.names.get(&component.name)?))
        })
        .collect();
    let type_ = types::RESOLUTION_DEGRADED;
    if hosts.iter().any(|(.., known)| known.pending) {
        let before = previous.conditions.iter().find(|condition| condition.type_ == type_)?;
        let reason = known_reason(&before.reason);
        return Some(Wanted { type_, status: Some(true), reason, message: before.message.clone() });
    }
    let lines: Vec<String> = hosts
        .iter()
        .map(|(component, name, known)| (component, resolve::said(name, known)))
        .filter(|(_, said)| !said.is_empty())
        .map(|(component, said)| format!("{component}: {said}"))
        .collect();
    let stale = hosts.iter().any(|(.., known)| !known.stale.is_empty());
    let reason = if stale { reasons::NAME_NOT_RESOLVED } else { reasons::ADDRESSES_REFUSED };
    (!lines.is_empty()).then(|| Wanted { type_, status: Some(true), reason, message: lines.join("; ") })
}

fn of_component(
    environment: &Validated,
    component: &Component,
    readiness: &Readiness,
    refusals: &[&Refusal],
    previous: &EnvironmentStatus,
    observed: &Observed,
) -> ComponentStatus {
    let identity = &environment.identity;
    let (service, port) = component.address(identity);
    let last = previous.components.iter().find(|last| last.name == component.name);
    let refused = refusals.iter().find(|refusal| refusal.component.as_deref() == Some(&component.name));
    let own =
        observed.deployments.get(&identity.object(&component.name)).filter(|view| view.marks.is_of(&identity.uid));
    let image = build::workload_of(component).and(own).and_then(|view| view.image.clone());
    let commit = match (build::workload_of(component), &image) {
        (Some(workload), Some(running)) if wanted_image(environment, component).as_ref() == Some(running) => {
            workload.commit.clone()
        }
        // Something else runs still: what was known of it stays.
        (Some(_), Some(running)) => {
            last.filter(|last| last.image.as_ref() == Some(running)).and_then(|last| last.commit.clone())
        }
        _ => None,
    };
    // A component that is refused is reached as before, if it was: nothing moves.
    let (service, url) = match (refused, last) {
        (Some(_), last) => (last.and_then(|last| last.service.clone()), last.and_then(|last| last.url.clone())),
        (None, _) => (Some(ServiceSource { name: service, port }), Some(discovery::url(identity, component))),
    };
    let known = observed.names.get(&component.name);
    let said_before = known.filter(|known| known.pending).and(last).and_then(|last| last.message.clone());
    let message = refused.map(|refusal| refusal.message.clone()).or(said_before).or_else(|| readiness.message.clone());
    let resolved = component.host().zip(known.and_then(|known| known.seen));
    ComponentStatus {
        name: component.name.clone(),
        system: component.system,
        ready: readiness.ready && service.is_some(),
        ready_replicas: readiness.have,
        replicas: readiness.want,
        service,
        url,
        image,
        commit,
        message: message.map(bounded),
        resolved: resolved.map(|(host, seen)| ResolvedStatus { host: host.to_owned(), last_seen: Time(seen) }),
        retired: component.retired,
        in_use: in_use(identity, &component.name, last, observed),
    }
}

/// Whether it may not go. While that is not known it stays as it was.
pub(super) fn in_use(
    identity: &Identity,
    component: &str,
    last: Option<&ComponentStatus>,
    observed: &Observed,
) -> bool {
    match &observed.usage {
        Known::Known(usage) => usage.of(identity, component).is_some(),
        Known::Unknown => last.is_some_and(|last| last.in_use),
    }
}

fn wanted_image(environment: &Validated, component: &Component) -> Option<String> {
    let template = build::build_deployment(environment, component)?.spec?.template;
    template.spec?.containers.into_iter().find(|container| container.name == CONTAINER)?.image
}

fn deployed(
    environment: &Validated,
    components: &[ComponentStatus],
    previous: &EnvironmentStatus,
    now: Timestamp,
) -> Manifest {
    let parts: Vec<_> = components.iter().map(|part| (&part.name, &part.service, &part.image, &part.commit)).collect();
    let hash = short_hash(&(&environment.version, parts));
    let same = previous.manifest.as_ref().filter(|manifest| manifest.hash == hash);
    Manifest {
        version: environment.version.clone(),
        last_applied: same.map_or(Time(whole_seconds(now)), |manifest| manifest.last_applied.clone()),
        hash,
    }
}

fn told(blocked: &[Blocked]) -> String {
    let lines: Vec<String> = blocked.iter().map(|blocked| format!("{}: {}", blocked.component, blocked.why)).collect();
    lines.join("; ")
}

/// The transitions between two states that people are told of.
#[must_use]
pub fn notes(previous: &EnvironmentStatus, next: &EnvironmentStatus, applied: &Applied) -> Vec<Note> {
    let mut notes = Vec::new();
    let find = |status: &EnvironmentStatus, type_: &str| status.conditions.iter().find(|c| c.type_ == type_).cloned();
    let stalled = find(next, types::STALLED).is_some();
    if let Some(ready) = find(next, types::READY) {
        let before = find(previous, types::READY).map(|ready| (ready.status, ready.reason));
        if before.as_ref() != Some(&(ready.status, ready.reason.clone())) {
            notes.push(Note {
                severity: if stalled { Severity::Warning } else { Severity::Normal },
                reason: known_reason(&ready.reason),
                action: "Reconcile",
                message: ready.message,
            });
        }
    }
    for (type_, action) in [(types::PRUNE_BLOCKED, "Prune"), (types::RESOLUTION_DEGRADED, "Resolve")] {
        if let (Some(now), None) = (find(next, type_), find(previous, type_)) {
            let (severity, reason) = (Severity::Warning, known_reason(&now.reason));
            notes.push(Note { severity, reason, action, message: now.message });
        }
    }
    let hash = |status: &EnvironmentStatus| status.manifest.as_ref().map(|manifest| manifest.hash.clone());
    if hash(previous) != hash(next) {
        let version = next.manifest.as_ref().and_then(|manifest| manifest.version.clone());
        let version = version.map_or(String::new(), |version| format!(" version {version}"));
        let message = format!("applied{version}: {} components", next.components.len());
        notes.push(Note { severity: Severity::Normal, reason: reasons::APPLIED, action: "Deploy", message });
    }
    if !applied.deleted.is_empty() {
        let names: Vec<String> = applied.deleted.iter().map(ToString::to_string).collect();
        let message = format!("removed {}", names.join(", "));
        notes.push(Note { severity: Severity::Normal, reason: reasons::PRUNED, action: "Prune", message });
    }
    notes
}

/// The constant that a condition's reason is.
fn known_reason(reason: &str) -> &'static str {
    [
        reasons::INVALID_SPEC,
        reasons::CONFLICTED,
        reasons::FORBIDDEN,
        reasons::REFERENCE_NOT_FOUND,
        reasons::COMPONENTS_NOT_READY,
        reasons::NAME_NOT_RESOLVED,
        reasons::ADDRESSES_REFUSED,
        reasons::STILL_IN_USE,
        reasons::DELETING,
        reasons::RETRYING,
    ]
    .into_iter()
    .find(|known| *known == reason)
    .unwrap_or(reasons::AS_DECLARED)
}
