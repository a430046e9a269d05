//! The checklist of the environment.

use cutover_api::{conditions::reasons, v1alpha1::migration_phase::Blocker};

use super::super::{
    following::missing,
    machine::{Machine, blocker, unknown},
};
use crate::Known;

impl Machine<'_> {
    /// The gate: somebody has attested every item that the phase asks for.
    pub fn unattested(&self) -> Option<Blocker> {
        let spec = self.spec.ok()?.spec();
        let asked = &spec.gates.as_ref()?.checklist;
        if asked.is_empty() {
            return None;
        }
        let name = spec.environment.as_deref().unwrap_or_default();
        let environment = format!("Environment {name}");
        let view = match &self.observed.environment {
            Known::Unknown => return Some(unknown(&environment)),
            Known::Known(None) => return Some(missing("spec.environment", &environment)),
            Known::Known(Some(view)) => view,
        };
        if !view.current {
            let message = format!("{environment}: its status is not about its present spec yet");
            return Some(blocker(reasons::CHECKLIST_INCOMPLETE, message));
        }
        let open: Vec<_> =
            asked.iter().filter(|item| !view.attested.contains(item)).map(|item| format!("{item:?}")).collect();
        (!open.is_empty()).then(|| {
            let message = format!(
                "{environment}: nobody has attested {}: add it to spec.attestations there, which takes the verb attest on it",
                open.join(", ")
            );
            blocker(reasons::CHECKLIST_INCOMPLETE, message)
        })
    }
}
