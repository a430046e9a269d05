//! Promote: a person ends the present soak or approval, lets the phase go on at the step that is in force already, or, of a completed phase,
//! retires legacy. No gate is opened by it, and no check passed: whatever else holds the step holds it still.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, PhaseState, Requests, Stage, Step},
};

use super::{
    super::{
        machine::Machine,
        observed::ActionView,
        requests::{with_flags, with_traffic},
    },
    Outcome,
};
use crate::Severity;

impl Machine<'_> {
    pub(super) fn promote(&mut self, action: &ActionView) -> Outcome {
        let state = self.state();
        match state {
            PhaseState::Running => {}
            PhaseState::Waiting => {
                return Outcome::not_applicable("the phase waits for its gates, and Promote opens none: see blockedBy");
            }
            PhaseState::Paused | PhaseState::Frozen => {
                return Outcome::not_applicable(format!("the phase is {state:?}: Resume it first"));
            }
            PhaseState::Completed if self.finishes() => return self.retire(action),
            PhaseState::RollingBack | PhaseState::RolledBack | PhaseState::Completed | PhaseState::Aborted => {
                return Outcome::not_applicable(format!("the phase is {state:?}: no soak or approval is under way"));
            }
        }
        let Some(present) = self.status.step.as_ref().map(|step| step.name.clone()) else {
            return Outcome::not_applicable("no step is under way: promote when one soaks or awaits approval");
        };
        if let Some(asked) = action.spec.step.as_ref().filter(|asked| **asked != present) {
            return Outcome::not_applicable(format!("step {asked} is not the present one, which is {present}"));
        }
        let (stage, holds) = match self.stage() {
            Some(stage @ Stage::Preparing) => (stage, self.preparing_for()),
            Some(stage @ (Stage::Soaking | Stage::AwaitingApproval)) => (stage, self.settled_for()),
            Some(Stage::Shifting | Stage::Hooks) | None => {
                let message = format!("step {present} is on its way: promote when it soaks or awaits approval");
                return Outcome::not_applicable(message);
            }
        };
        if holds.iter().any(|hold| hold.reason == reasons::STEP_WOULD_LOWER) {
            return self.adopt(&present);
        }
        if stage == Stage::Preparing || !holds.is_empty() {
            return Outcome::not_applicable(held(&present, &holds));
        }
        let Some((index, step)) = self.step() else {
            return Outcome::not_applicable(format!("step {present} is not in the spec, or the spec is not valid"));
        };
        let ended = if stage == Stage::Soaking { "soak" } else { "approval" };
        let message = format!("the {ended} of step {present} is ended by {}", action.spec.requested_by);
        self.tell(Severity::Normal, "Promoted", "Promote", message.clone());
        if stage == Stage::Soaking {
            self.end_soak(index, step);
        } else {
            self.finish_step(index, step);
        }
        Outcome::Done(message)
    }

    /// Goes on at the first step that asks for what is. It is prepared like any other, and moves nothing.
    fn adopt(&mut self, present: &str) -> Outcome {
        let Some((index, step)) = self.step_in_force() else {
            return Outcome::not_applicable(format!(
                "step {present} would lower what is, and no later step asks for just that: Rollback first, or change the steps"
            ));
        };
        self.enter_step(index, &step.name);
        let message = format!("step {} asks for what is in force already: the phase goes on there", step.name);
        self.tell(Severity::Normal, "Promoted", "Promote", message.clone());
        Outcome::Done(message)
    }

    /// The first later step whose targets are what is, if what the steps before it ask for is reached too.
    fn step_in_force(&self) -> Option<(usize, Step)> {
        let (present, _) = self.step()?;
        let mut asked = Requests::default();
        for (index, step) in self.spec.ok()?.spec().steps.iter().enumerate() {
            asked = with_flags(with_traffic(asked, step), step);
            let own = with_flags(with_traffic(Requests::default(), step), step);
            let there =
                own.splits.iter().all(|goal| self.split_at(goal)) && own.flags.iter().all(|goal| self.flag_at(goal));
            if index > present && there && self.reached(&asked) {
                return Some((index, step.clone()));
            }
        }
        None
    }

    fn reached(&self, asked: &Requests) -> bool {
        let splits = asked.splits.iter().all(|goal| {
            let view = self.split_view(&goal.split);
            view.is_some_and(|v| v.applied >= goal.new_weight && goal.exposure.is_none_or(|e| v.exposure == Some(e)))
        });
        splits
            && asked
                .flags
                .iter()
                .all(|goal| self.flag_view(&goal.flag).is_some_and(|view| view.percent >= goal.percent))
    }
}

fn held(step: &str, holds: &[Blocker]) -> String {
    let why: Vec<_> = holds.iter().map(|hold| format!("{}: {}", hold.reason, hold.message)).collect();
    if why.is_empty() {
        return format!("step {step} is being prepared: promote when it soaks or awaits approval");
    }
    format!("Promote ends the soak or the approval of step {step}, not this: {}", why.join("; "))
}
