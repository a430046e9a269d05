//! Single phases: their spec, what it refers to, and whether their checks can do what they are for.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::{MigrationPhase, TrafficSplit, migration_phase::Step};
use jiff::SignedDuration;

use super::{
    super::{
        Assumptions, Manifests, Sourced,
        checks::{notice, sees_back},
        meta::{name_of, namespace_of},
    },
    About, Findings, Level,
    splits::not_here,
    there,
};
use crate::{
    migration_phase::{PhaseIdentity, by_default, defaults, validate},
    traffic_split::ramp::time_for,
};

type Phase<'a> = About<'a, MigrationPhase>;

pub(super) fn judge(manifests: &Manifests, assumptions: &Assumptions, found: &mut Findings) {
    for source in &manifests.phases {
        let about = About { kind: "MigrationPhase", source, meta: &source.object.metadata };
        if let Err(invalid) = validate(&PhaseIdentity::of(&source.object), &source.object.spec) {
            for problem in invalid.problems {
                found.add(Level::Error, "InvalidSpec", &about, &problem.field, problem.message);
            }
        }
        references(&about, source, manifests, found);
        targets(&about, source, manifests, found);
        idle_steps(&about, source, manifests, found);
        checks(&about, source, manifests, found);
        let (limit, takes) = (source.object.spec.shift_timeout, assumptions.propagation);
        if limit.signed() <= takes {
            let message = format!(
                "routes take {}s to follow, and {limit} is all they get: every shift would fail; write more",
                takes.as_secs()
            );
            found.add(Level::Error, "TimeoutTooShort", &about, "spec.shiftTimeout", message);
        }
    }
}

fn references(about: &Phase, source: &Sourced<MigrationPhase>, manifests: &Manifests, found: &mut Findings) {
    let spec = &source.object.spec;
    if let Some(name) = &spec.environment
        && !there(manifests.environments.iter().map(|e| &e.object.metadata), about.meta, name)
    {
        found.add(Level::Warning, "ReferenceNotFound", about, "spec.environment", not_here("Environment", name));
    }
    for (i, name) in spec.after.iter().enumerate() {
        if !there(manifests.phases.iter().map(|phase| &phase.object.metadata), about.meta, name) {
            let message = format!("{}; it is taken as completed", not_here("MigrationPhase", name));
            found.add(Level::Warning, "ReferenceNotFound", about, &format!("spec.after[{i}]"), message);
        }
    }
}

/// Whether splits and flags of the steps are there, and can be what the steps ask for.
fn targets(about: &Phase, source: &Sourced<MigrationPhase>, manifests: &Manifests, found: &mut Findings) {
    for (i, step) in source.object.spec.steps.iter().enumerate() {
        for (j, target) in step.traffic.iter().enumerate() {
            let field = format!("spec.steps[{i}].traffic[{j}]");
            let split = manifests.splits.iter().find(|split| same(about, &split.object.metadata, &target.split));
            let Some(split) = split else {
                let message = not_here("TrafficSplit", &target.split);
                found.add(Level::Warning, "ReferenceNotFound", about, &format!("{field}.split"), message);
                continue;
            };
            let (to, total) = (target.new_weight, split.object.spec.weight_total);
            let field = format!("{field}.newWeight");
            ramped(about, source, &split.object, (i, to), found);
            if to > total {
                let message =
                    format!("{to} is more than the weightTotal of TrafficSplit {}, {total}: write less", target.split);
                found.add(Level::Error, "WeightTooHigh", about, &field, message);
            } else if split.object.spec.legacy.is_none() && to != 0 && to != total {
                let message =
                    format!("TrafficSplit {} has no legacy side to share with: write 0 or {total}", target.split);
                found.add(Level::Error, "NobodyToShareWith", about, &field, message);
            }
        }
        for (j, target) in step.flags.iter().enumerate() {
            let field = format!("spec.steps[{i}].flags[{j}].flag");
            match manifests.flags.iter().find(|flag| same(about, &flag.object.metadata, &target.flag)) {
                None => {
                    let message = not_here("FeatureFlag", &target.flag);
                    found.add(Level::Warning, "ReferenceNotFound", about, &field, message);
                }
                Some(flag) if flag.object.spec.rules.iter().all(|rule| rule.percentage.is_none()) => {
                    let message =
                        format!("FeatureFlag {} has no percentage rule that a phase could move: add one", target.flag);
                    found.add(Level::Error, "NothingToMove", about, &field, message);
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether a split's ramp leaves time for the step, and for the way back from it.
fn ramped(
    about: &Phase,
    source: &Sourced<MigrationPhase>,
    split: &TrafficSplit,
    (step, to): (usize, i32),
    found: &mut Findings,
) {
    let Some(ramp) = split.spec.ramp.filter(|_| split.spec.legacy.is_some()) else { return };
    let (spec, name) = (&source.object.spec, name_of(&split.metadata));
    let mut before = spec.steps.iter().take(step).flat_map(|step| &step.traffic).rev();
    let before = before.find(|target| target.split == name).map_or(split.spec.new_weight, |target| target.new_weight);
    let ways = [
        ("spec.shiftTimeout", spec.shift_timeout, before),
        ("spec.rollback.timeout", spec.rollback.timeout, split.spec.new_weight),
    ];
    for (field, limit, other) in ways {
        let takes = time_for(ramp, other, to);
        if takes >= limit.signed() {
            let message = format!(
                "between {other} and {to} the ramp of TrafficSplit {name} takes {}s, and {limit} is all it gets: write more here, or a \
                 greater spec.ramp.maxStep there",
                takes.as_secs()
            );
            found.add(Level::Error, "TimeoutTooShort", about, field, message);
        }
    }
}

fn same(about: &Phase, meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, name: &str) -> bool {
    name_of(meta) == name && namespace_of(meta) == namespace_of(about.meta)
}

/// Steps that leave everything as the steps before have made it.
fn idle_steps(about: &Phase, source: &Sourced<MigrationPhase>, manifests: &Manifests, found: &mut Findings) {
    let splits =
        manifests.splits.iter().filter(|split| namespace_of(&split.object.metadata) == namespace_of(about.meta));
    let mut shares: BTreeMap<(&str, String), i32> =
        splits.map(|split| (("split", name_of(&split.object.metadata)), split.object.spec.new_weight)).collect();
    for (i, step) in source.object.spec.steps.iter().enumerate() {
        let exposes = step.traffic.iter().any(|target| target.exposure.is_some());
        let traffic = step.traffic.iter().map(|target| (("split", target.split.clone()), target.new_weight));
        let flags = step.flags.iter().map(|target| (("flag", target.flag.clone()), target.percent));
        let mut changes = exposes;
        for (what, share) in traffic.chain(flags) {
            changes |= shares.insert(what, share) != Some(share);
        }
        // The first step of a phase may well confirm what a phase before it has reached.
        if !changes && i > 0 {
            let message =
                "it asks for what the steps before it have reached already: take it out, or ask for more".to_owned();
            found.add(Level::Warning, "StepChangesNothing", about, &format!("spec.steps[{i}]"), message);
        }
    }
}

/// Whether the phase has the default checks: its environment is there, and measured.
fn watched_by_default(about: &Phase, source: &Sourced<MigrationPhase>, manifests: &Manifests) -> bool {
    let named = source.object.spec.environment.as_deref().unwrap_or_default();
    let mut environments = manifests.environments.iter().map(|environment| &environment.object);
    by_default(&source.object.spec)
        && environments
            .any(|environment| same(about, &environment.metadata, named) && environment.spec.monitoring.is_some())
}

fn checks(about: &Phase, source: &Sourced<MigrationPhase>, manifests: &Manifests, found: &mut Findings) {
    let spec = &source.object.spec;
    let by_default = watched_by_default(about, source, manifests);
    let checks = if by_default { defaults() } else { spec.checks.clone() };
    if !notice(&checks) {
        let message = "no check: harm shows only when a side has no ready endpoint at all; add one, such as an error rate, or let the \
                       environment say where it is measured (spec.monitoring) for the default ones"
            .to_owned();
        found.add(Level::Warning, "NoChecks", about, "spec.checks", message);
        return;
    }
    for (i, check) in checks.iter().enumerate() {
        let back = sees_back(check);
        let short: Vec<_> =
            spec.steps.iter().filter(|step| watched(step) < back.signed()).map(|step| step.name.as_str()).collect();
        if !short.is_empty() {
            let message = format!(
                "it looks back {back}, and these steps soak for less, so that they may end on what was measured before them: {}; soak longer, or look back less",
                short.join(", ")
            );
            let field = if by_default { "spec.defaultChecks".to_owned() } else { format!("spec.checks[{i}]") };
            found.add(Level::Warning, "SoakTooShort", about, &field, message);
            if by_default {
                return;
            }
        }
    }
}

/// How long a step is watched: as long as it takes people to approve, if they are asked.
fn watched(step: &Step) -> SignedDuration {
    if step.approval.is_some() { SignedDuration::MAX } else { step.soak.signed() }
}
