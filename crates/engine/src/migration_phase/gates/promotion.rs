//! Promotion: another phase has completed a short time ago, with the same images.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, PhaseState},
};

use super::super::{
    clock::after,
    machine::{Machine, blocker, unknown},
};
use crate::Known;

impl Machine<'_> {
    /// The gate: the phase that this one is promoted from.
    pub(super) fn unpromoted(&self) -> Option<Blocker> {
        let spec = self.spec.ok()?.spec();
        let from = spec.gates.as_ref()?.promoted_from.as_ref()?;
        let own = &self.observed.phase.namespace;
        let name = format!("{}/{}", from.namespace.as_ref().unwrap_or(own), from.phase);
        let closed = |why: String| Some(blocker(reasons::NOT_PROMOTED, why));
        let Known::Known(view) = &self.observed.promotion else {
            return Some(unknown(&format!("MigrationPhase {name}")));
        };
        // Whether it is not there or not to be seen is not told.
        let Some(view) = view.as_ref().filter(|view| view.visible) else {
            let message = format!(
                "spec.gates.promotedFrom: namespace {own} can see no MigrationPhase {name}: create it, and list {own} in its spec.visibleTo"
            );
            return Some(blocker(reasons::REFERENCE_NOT_FOUND, message));
        };
        let completed = view.finished_at.filter(|_| view.state == Some(PhaseState::Completed));
        let Some(completed) = completed else {
            let state = view.state.unwrap_or_default();
            return closed(format!("phase {name} is {state:?}: it has to be Completed first"));
        };
        if after(completed, from.within.signed()) <= self.clock.now {
            let within = from.within;
            return closed(format!("phase {name} completed at {completed}, more than {within} ago: complete it again"));
        }
        let environment = spec.environment.as_deref().unwrap_or_default();
        let Some(images) = self.images() else { return Some(unknown(&format!("Environment {environment}"))) };
        if images.is_empty() {
            return closed(format!(
                "no new component of Environment {environment} has an image of its own: nothing shows that it is what completed {name}"
            ));
        }
        let (component, image) =
            images.iter().find(|(component, image)| view.images.get(*component) != Some(*image))?;
        let there = view.images.get(component).map_or("no image that is known", String::as_str);
        closed(format!("component {component} has {image} here and had {there} when {name} completed: deploy the same"))
    }
}
