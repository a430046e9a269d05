//! What gates look at outside of their own phase: the environment with its schema, and phases that others are promoted from.
//!
//! What the manifests say is taken from them: images, visibility, whether there is a schema at all, and the course of a phase of the
//! same namespace. The rest is assumed to be as the gate wants it, and [`assumptions`] says so.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::{
    Environment, MigrationPhase, MigrationPhaseSpec,
    environment::ChecklistItem,
    migration_phase::{PhaseState, Promotion, SchemaRange},
};
use jiff::Timestamp;

use super::{
    Manifests,
    meta::{name_of, namespace_of},
    world::SimPhase,
};
use crate::migration_phase::{EnvironmentView, PromotionView, versions};

/// What the manifests say that gates look at, seen from one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    namespace: String,
    environments: BTreeMap<String, Environment>,
    /// Namespaces that see the phases of other namespaces, by namespace and name.
    visible_to: BTreeMap<(String, String), Vec<String>>,
}

impl Surroundings {
    pub fn new(namespace: &str, manifests: &Manifests) -> Self {
        let here = manifests.environments.iter().map(|environment| &environment.object);
        let here = here.filter(|environment| namespace_of(&environment.metadata) == namespace);
        let elsewhere = manifests.phases.iter().map(|phase| &phase.object);
        let elsewhere = elsewhere.filter(|phase| namespace_of(&phase.metadata) != namespace);
        let visible_to = |phase: &MigrationPhase| {
            let key = (namespace_of(&phase.metadata), name_of(&phase.metadata));
            (key, phase.spec.visible_to.clone())
        };
        Self {
            namespace: namespace.to_owned(),
            environments: here.map(|environment| (name_of(&environment.metadata), environment.clone())).collect(),
            visible_to: elsewhere.map(visible_to).collect(),
        }
    }

    /// The environment of a phase: ready, and with the schema that the phase works with, if it says where its version is.
    pub fn environment(&self, spec: &MigrationPhaseSpec) -> EnvironmentView {
        let declared = spec.environment.as_ref().and_then(|name| self.environments.get(name));
        let images = declared.map_or_else(
            || [("assumed".to_owned(), "assumed".to_owned())].into(),
            |environment| EnvironmentView::of(environment).images,
        );
        let has_schema = declared.is_none_or(|environment| environment.spec.shared.is_some());
        let schema = schema_range(spec).filter(|_| has_schema);
        EnvironmentView {
            current: true,
            images,
            attested: ChecklistItem::ALL.into(),
            monitored: declared.is_some_and(|environment| environment.spec.monitoring.is_some()),
            schema: schema.map(|range| Ok(range.min.or(range.max).unwrap_or_default())),
            ..EnvironmentView::default()
        }
    }

    /// The phase that this one is promoted from.
    pub fn promotion(&self, spec: &MigrationPhaseSpec, phases: &[SimPhase], now: Timestamp) -> Option<PromotionView> {
        let from = promoted_from(spec)?;
        let images = self.environment(spec).images;
        let simulated = phases.iter().find(|phase| self.is_here(from) && phase.identity.name == from.phase);
        Some(match simulated {
            Some(phase) => PromotionView {
                state: Some(phase.state()),
                finished_at: phase.status.finished_at.as_ref().map(|at| at.0),
                images,
                visible: true,
            },
            None => PromotionView {
                state: Some(PhaseState::Completed),
                finished_at: Some(now),
                images,
                visible: self.sees(from),
            },
        })
    }

    /// What is assumed so that the gates of a phase open, in words.
    pub fn assumptions(&self, phase: &str, spec: &MigrationPhaseSpec, phases: &[SimPhase]) -> Vec<String> {
        let mut assumed = Vec::new();
        if let Some(from) = promoted_from(spec) {
            let known = self.is_here(from) && phases.iter().any(|other| other.identity.name == from.phase);
            let namespace = from.namespace.as_deref().unwrap_or(&self.namespace);
            if !known && self.sees(from) {
                assumed.push(format!("{namespace}/{} completed in time, with the images of {phase}", from.phase));
            }
        }
        if let Some(range) = schema_range(spec).filter(|_| self.environment(spec).schema.is_some()) {
            let environment = spec.environment.as_deref().unwrap_or_default();
            assumed.push(format!(
                "the schema of {environment} has a version that {phase} works with ({})",
                versions(range)
            ));
        }
        let asked = spec.gates.as_ref().map(|gates| gates.checklist.as_slice()).unwrap_or_default();
        let declared = spec.environment.as_ref().and_then(|name| self.environments.get(name));
        let given = |item: &&ChecklistItem| {
            declared.is_some_and(|environment| environment.spec.attestations.iter().any(|given| given.item == **item))
        };
        let open: Vec<_> = asked.iter().filter(|item| !given(item)).map(|item| format!("{item:?}")).collect();
        if !open.is_empty() {
            let environment = spec.environment.as_deref().unwrap_or_default();
            assumed.push(format!("somebody attests {} of {environment} for {phase}", open.join(", ")));
        }
        assumed
    }

    fn is_here(&self, from: &Promotion) -> bool {
        from.namespace.as_ref().is_none_or(|namespace| *namespace == self.namespace)
    }

    /// Whether the manifests do not say that the phase is hidden from here.
    fn sees(&self, from: &Promotion) -> bool {
        let Some(namespace) = from.namespace.clone() else { return true };
        let visible_to = self.visible_to.get(&(namespace, from.phase.clone()));
        visible_to.is_none_or(|namespaces| namespaces.contains(&self.namespace))
    }
}

fn promoted_from(spec: &MigrationPhaseSpec) -> Option<&Promotion> {
    spec.gates.as_ref()?.promoted_from.as_ref()
}

fn schema_range(spec: &MigrationPhaseSpec) -> Option<SchemaRange> {
    spec.gates.as_ref()?.schema
}
