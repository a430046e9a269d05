//! Waiting: until every gate is open.

use cutover_api::v1alpha1::migration_phase::{Blocker, PhaseState};

use super::super::machine::{Machine, unknown};
use crate::Severity;

impl Machine<'_> {
    pub fn waiting_for(&self) -> Vec<Blocker> {
        let skew = self.skew();
        if self.status.attempt.is_none() {
            return vec![unknown("what a split or flag knows of an earlier attempt of this phase")];
        }
        // Nothing moves when a phase starts: the clock is looked at when something does.
        self.forward_holds().into_iter().filter(|hold| Some(hold) != skew.as_ref()).collect()
    }

    pub(super) fn wait(&mut self) -> bool {
        self.waiting_for().is_empty() && self.begin()
    }

    /// Starts at the first step.
    pub(super) fn begin(&mut self) -> bool {
        let Some(first) = self.spec.ok().and_then(|valid| valid.step(0)) else { return false };
        self.status.state = Some(PhaseState::Running);
        self.status.started_at = Some(self.clock.record());
        self.status.finished_at = None;
        self.enter_step(0, &first.name);
        let attempt = self.attempt();
        self.tell(Severity::Normal, "Started", "Start", format!("attempt {attempt} begins with step {}", first.name));
        true
    }
}
