//! Hooks: the step is in force, and its Jobs run one after the other. The checks go on.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, HookPoint, Stage, Step},
};

use super::super::{harm::Harm, hooks::Hooks, machine::Machine};
use crate::Severity;

impl Machine<'_> {
    /// What keeps the next hook from being started.
    pub fn hooks_held_by(&self) -> Vec<Blocker> {
        let mut holds = self.forward_holds();
        holds.extend(self.step_removed());
        holds.extend(self.step().and_then(|(_, step)| self.would_lower(step)));
        holds.extend(self.unfollowed());
        holds.extend(self.dead_holds());
        holds
    }

    pub(super) fn hook(&mut self) -> bool {
        let Some((_, step)) = self.step() else { return false };
        if let Some(prepared) = self.follow_edit(step) {
            return prepared;
        }
        if !self.hooks_held_by().is_empty() {
            return false;
        }
        match self.run_hooks(HookPoint::Step) {
            Hooks::Done => self.begin_soak(step),
            Hooks::Pending => false,
            Hooks::Failed(message) => self.fail(&Harm::new(reasons::HOOK_FAILED, message)),
        }
    }

    pub(super) fn begin_soak(&mut self, step: &Step) -> bool {
        self.enter(Stage::Soaking);
        let message = format!("step {} is in force; it soaks for {}", step.name, step.soak);
        self.tell(Severity::Normal, reasons::SOAKING, "Shift", message);
        true
    }
}
