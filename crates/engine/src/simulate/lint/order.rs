//! Phases among each other: cycles, two that move the same thing in no order, the same object twice, and steps that are never reached.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::v1alpha1::{MigrationPhase, migration_phase::PhaseState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    super::{
        Forecast, Manifests, PhaseForecast, Sourced,
        meta::{name_of, namespace_of},
    },
    About, Findings, Level,
};

pub(super) fn judge(manifests: &Manifests, forecasts: &[Forecast], found: &mut Findings) {
    twice("MigrationPhase", &manifests.phases, |phase| &phase.metadata, found);
    twice("TrafficSplit", &manifests.splits, |split| &split.metadata, found);
    twice("FeatureFlag", &manifests.flags, |flag| &flag.metadata, found);
    twice("Environment", &manifests.environments, |environment| &environment.metadata, found);
    for namespace in manifests.namespaces() {
        let phases: Vec<_> =
            manifests.phases.iter().filter(|phase| namespace_of(&phase.object.metadata) == namespace).collect();
        let before = ancestors(&phases);
        cycles(&phases, &before, found);
        unordered(&phases, &before, found);
        if let Some(forecast) = forecasts.iter().find(|forecast| forecast.namespace == namespace) {
            unreached(&phases, &before, forecast, found);
        }
    }
}

fn about(source: &Sourced<MigrationPhase>) -> About<'_, MigrationPhase> {
    About { kind: "MigrationPhase", source, meta: &source.object.metadata }
}

fn twice<T>(kind: &'static str, objects: &[Sourced<T>], meta: impl Fn(&T) -> &ObjectMeta, found: &mut Findings) {
    let mut first: BTreeMap<(String, String), &str> = BTreeMap::new();
    for source in objects {
        let meta = meta(&source.object);
        let key = (namespace_of(meta), name_of(meta));
        if let Some(origin) = first.get(&key) {
            let message = format!("it is in {origin} already: the one that is applied last wins; keep one");
            found.add(Level::Error, "Duplicate", &About { kind, source, meta }, "metadata.name", message);
        } else {
            first.insert(key, &source.origin);
        }
    }
}

/// Per phase, everything that has to be completed before it.
fn ancestors(phases: &[&Sourced<MigrationPhase>]) -> BTreeMap<String, BTreeSet<String>> {
    let direct: BTreeMap<_, _> =
        phases.iter().map(|phase| (name_of(&phase.object.metadata), &phase.object.spec.after)).collect();
    let all = direct.iter().map(|(name, after)| {
        let mut open: Vec<&String> = after.iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            if seen.insert(next.clone()) {
                open.extend(direct.get(next).into_iter().flat_map(|after| after.iter()));
            }
        }
        (name.clone(), seen)
    });
    all.collect()
}

fn cycles(phases: &[&Sourced<MigrationPhase>], before: &BTreeMap<String, BTreeSet<String>>, found: &mut Findings) {
    for phase in phases {
        let name = name_of(&phase.object.metadata);
        let Some(circle) = before.get(&name).filter(|before| before.contains(&name)) else { continue };
        let others: Vec<_> = circle.iter().filter(|other| **other != name).map(String::as_str).collect();
        let through = if others.is_empty() { String::new() } else { format!(" through {}", others.join(", ")) };
        let message = format!("it leads back to {name}{through}: none of them can start; take one of them out");
        found.add(Level::Error, "DependencyCycle", &about(phase), "spec.after", message);
    }
}

fn unordered(phases: &[&Sourced<MigrationPhase>], before: &BTreeMap<String, BTreeSet<String>>, found: &mut Findings) {
    let moved = |phase: &Sourced<MigrationPhase>| {
        let steps = &phase.object.spec.steps;
        let splits = steps.iter().flat_map(|step| &step.traffic).map(|target| format!("TrafficSplit {}", target.split));
        let flags = steps.iter().flat_map(|step| &step.flags).map(|target| format!("FeatureFlag {}", target.flag));
        splits.chain(flags).collect::<BTreeSet<_>>()
    };
    let precedes = |a: &String, b: &String| before.get(b).is_some_and(|before| before.contains(a));
    for (i, phase) in phases.iter().enumerate() {
        let name = name_of(&phase.object.metadata);
        for other in phases.iter().take(i) {
            let other_name = name_of(&other.object.metadata);
            if other_name == name || precedes(&name, &other_name) || precedes(&other_name, &name) {
                continue;
            }
            let (mine, theirs) = (moved(phase), moved(other));
            let shared: Vec<_> = mine.intersection(&theirs).map(String::as_str).collect();
            if !shared.is_empty() {
                let message = format!(
                    "{} is moved by {other_name} too, and neither comes after the other: whichever starts first makes the other wait; name {other_name} here, or the other way round",
                    shared.join(", ")
                );
                found.add(Level::Warning, "NoOrder", &about(phase), "spec.after", message);
            }
        }
    }
}

/// Steps that the forecast does not get to. A phase that only waits for one that is stuck itself is not named again.
fn unreached(
    phases: &[&Sourced<MigrationPhase>],
    before: &BTreeMap<String, BTreeSet<String>>,
    forecast: &Forecast,
    found: &mut Findings,
) {
    let stuck = |name: &String| {
        let phase = forecast.phases.iter().find(|phase| phase.name == *name);
        phase.is_some_and(|phase| phase.state != PhaseState::Completed)
    };
    for source in phases {
        let name = name_of(&source.object.metadata);
        let Some(phase) = forecast.phases.iter().find(|phase| phase.name == name) else { continue };
        if !stuck(&name) || before.get(&name).is_some_and(|before| before.iter().any(stuck)) {
            continue;
        }
        let at = phase.steps.iter().position(|step| step.done.is_none()).unwrap_or_default();
        let field = format!("spec.steps[{at}]");
        found.add(Level::Error, "UnreachableStep", &about(source), &field, explain(phase, at));
    }
}

fn explain(phase: &PhaseForecast, at: usize) -> String {
    let step = phase.steps.get(at).map(|step| step.name.as_str()).unwrap_or_default();
    let never = if phase.steps.get(at).is_some_and(|step| step.asked.is_some()) { "done" } else { "reached" };
    let why: Vec<_> = phase.blocked_by.iter().map(|hold| hold.message.as_str()).collect();
    let why =
        if why.is_empty() { "nothing that would let it go on happens in time".to_owned() } else { why.join("; ") };
    format!("step {step} is never {never}: {why}")
}
