//! Soaking: the checks watch the step's weights for as long as the step says.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, HookPoint, PhaseState, Stage, Step},
};

use super::super::{
    harm::Harm,
    hooks::Hooks,
    machine::{Machine, blocker_until},
};
use crate::Severity;

impl Machine<'_> {
    /// What keeps the soak from ending, its time first.
    pub fn soaking_for(&self) -> Vec<Blocker> {
        let mut holds = Vec::new();
        if let Some((_, step)) = self.step()
            && let Some(timer) = self.stage_timer()
            && timer.elapsed(self.clock) < step.soak.signed()
        {
            let message = format!("step {} soaks for {}", step.name, step.soak);
            holds.push(blocker_until(reasons::SOAKING, message, timer.end(step.soak.signed())));
        }
        holds.extend(self.skew());
        holds.extend(self.settled_for());
        holds
    }

    /// What keeps a step whose weights are in force from being done, apart from time.
    pub fn settled_for(&self) -> Vec<Blocker> {
        let mut holds = Vec::new();
        if self.spec.is_err() || self.observed.phase.deleting {
            holds.extend(self.forward_holds());
        } else {
            holds.extend(self.standing_gates());
        }
        holds.extend(self.step_removed());
        holds.extend(self.step().and_then(|(_, step)| self.would_lower(step)));
        holds.extend(self.unfollowed());
        holds.extend(self.dead_holds());
        holds.extend(self.check_holds());
        holds
    }

    pub(super) fn soak(&mut self) -> bool {
        let Some((index, step)) = self.step() else { return false };
        if let Some(prepared) = self.follow_edit(step) {
            return prepared;
        }
        self.soaking_for().is_empty() && self.end_soak(index, step)
    }

    /// On to the approval, or to the next step.
    pub fn end_soak(&mut self, index: usize, step: &Step) -> bool {
        let Some(approval) = &step.approval else { return self.finish_step(index, step) };
        self.enter(Stage::AwaitingApproval);
        let required = approval.required;
        let message = format!("step {} has soaked: {required} approval(s) are awaited", step.name);
        self.tell(Severity::Normal, reasons::AWAITING_APPROVAL, "Soak", message);
        true
    }

    /// Goes back to Preparing when the present step asks for more than it did; holds when it asks for less.
    pub(super) fn follow_edit(&mut self, step: &Step) -> Option<bool> {
        if !self.edited(step) {
            return None;
        }
        Some(self.would_lower(step).is_none() && self.prepare_again("what its spec asks now"))
    }

    pub fn finish_step(&mut self, index: usize, step: &Step) -> bool {
        let Some(valid) = self.spec.ok() else { return false };
        if let Some(next) = valid.step(index + 1) {
            let message = format!("step {} is done; {} is next", step.name, next.name);
            self.enter_step(index + 1, &next.name);
            self.tell(Severity::Normal, "StepDone", "Finish", message);
        } else {
            match self.run_hooks(HookPoint::After) {
                Hooks::Done => {}
                Hooks::Pending => {
                    // The soak is over, whoever ended it: what is left are the hooks.
                    if self.stage() == Some(Stage::Soaking) {
                        self.enter(Stage::AwaitingApproval);
                    }
                    return false;
                }
                Hooks::Failed(message) => return self.fail(&Harm::new(reasons::HOOK_FAILED, message)),
            }
            self.status.images = self.images().cloned().unwrap_or_default();
            self.rest(PhaseState::Completed);
            let message = format!("step {} was the last; its weights are held from now on", step.name);
            self.tell(Severity::Normal, reasons::COMPLETED, "Complete", message);
        }
        true
    }
}
