//! Splits, flags and environments, and what they refer to.

use cutover_api::v1alpha1::{
    TrafficSplit,
    environment::System,
    traffic_split::{Backend, Side},
};

use super::{
    super::{
        Manifests, Sourced,
        meta::{name_of, namespace_of},
    },
    About, Findings, Level, there,
};
use crate::{
    environment, feature_flag,
    traffic_split::{Claimant, conflict::conflict, said_otherwise},
};

pub(super) fn judge(manifests: &Manifests, found: &mut Findings) {
    for split in &manifests.splits {
        overlap(split, manifests, found);
        backends(split, manifests, found);
    }
    for flag in &manifests.flags {
        let meta = &flag.object.metadata;
        let about = About { kind: "FeatureFlag", source: flag, meta };
        if let Err(problems) = feature_flag::validate(&name_of(meta), &flag.object.spec) {
            for problem in problems {
                found.add(Level::Error, "InvalidSpec", &about, &problem.field, problem.message);
            }
        }
        let name = &flag.object.spec.environment;
        if !there(manifests.environments.iter().map(|e| &e.object.metadata), meta, name) {
            found.add(Level::Warning, "ReferenceNotFound", &about, "spec.environment", not_here("Environment", name));
        }
    }
    for source in &manifests.environments {
        let meta = &source.object.metadata;
        let about = About { kind: "Environment", source, meta };
        let identity =
            environment::Identity { namespace: namespace_of(meta), name: name_of(meta), uid: "none".to_owned() };
        if let Err(problems) = environment::validate(identity, &source.object.spec, &[]) {
            for problem in problems {
                found.add(Level::Error, "InvalidSpec", &about, &problem.field, problem.message);
            }
        }
    }
}

/// What is said of an object that is not among the manifests.
pub(super) fn not_here(kind: &str, name: &str) -> String {
    format!("there is no {kind} {name} in these files: add it, correct the name, or be sure that it is in the cluster")
}

fn overlap(split: &Sourced<TrafficSplit>, manifests: &Manifests, found: &mut Findings) {
    let meta = &split.object.metadata;
    let name = name_of(meta);
    let here = manifests.splits.iter().filter(|other| namespace_of(&other.object.metadata) == namespace_of(meta));
    let named: Vec<_> = here.map(|other| (name_of(&other.object.metadata), &other.object.spec)).collect();
    let others: Vec<_> = named.iter().map(|(name, spec)| Claimant { name, created: None, spec }).collect();
    let mine = Claimant { name: &name, created: None, spec: &split.object.spec };
    if let Some(problem) = conflict(&mine, &others) {
        let about = About { kind: "TrafficSplit", source: split, meta };
        found.add(Level::Error, "OverlappingPaths", &about, "spec.routers", problem.message);
    }
    if let Some(problem) = said_otherwise(&mine, &others) {
        let about = About { kind: "TrafficSplit", source: split, meta };
        found.add(Level::Error, "SidesAskedOtherwise", &about, "spec.edge", problem.message);
    }
}

fn backends(split: &Sourced<TrafficSplit>, manifests: &Manifests, found: &mut Findings) {
    let meta = &split.object.metadata;
    let about = About { kind: "TrafficSplit", source: split, meta };
    let spec = &split.object.spec;
    let Some(name) = &spec.environment else { return };
    let environment = manifests.environments.iter().find(|environment| {
        name_of(&environment.object.metadata) == *name
            && namespace_of(&environment.object.metadata) == namespace_of(meta)
    });
    let Some(environment) = environment else {
        found.add(Level::Warning, "ReferenceNotFound", &about, "spec.environment", not_here("Environment", name));
        return;
    };
    let sides: [(Side, &str, Option<&Backend>); 2] =
        [(Side::Legacy, "spec.legacy", spec.legacy.as_ref()), (Side::New, "spec.new", Some(&spec.new))];
    for (side, field, backend) in sides {
        let Some(component) = backend.and_then(|backend| backend.component.as_ref()) else { continue };
        let field = format!("{field}.component");
        match environment.object.spec.components.iter().find(|other| other.name == *component) {
            None => {
                let message = format!("Environment {name} has no component {component}: correct the name, or add it");
                found.add(Level::Error, "ReferenceNotFound", &about, &field, message);
            }
            Some(other) if swapped(side, other.system) => {
                let (is, side) = (other.system, if side == Side::New { "new" } else { "legacy" });
                let message = format!(
                    "component {component} is of the system {is:?} and serves the {side} side: are the sides swapped?"
                );
                found.add(Level::Warning, "SidesSwapped", &about, &field, message);
            }
            Some(_) => {}
        }
    }
}

fn swapped(side: Side, system: System) -> bool {
    matches!((side, system), (Side::Legacy, System::New) | (Side::New, System::Legacy))
}
