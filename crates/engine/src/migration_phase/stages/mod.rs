//! One file per state or stage: when it is left, and what that asks of splits and flags.

mod awaiting_approval;
mod frozen;
mod hooks;
mod preparing;
mod shifting;
mod soaking;
mod waiting;
mod way_back;

pub(super) use awaiting_approval::speaks_for;
pub(super) use way_back::{FLAGS_FIRST, Target};

use cutover_api::v1alpha1::migration_phase::{PhaseState, Stage};

use super::machine::Machine;

/// More transitions than one decision can need: 32 steps of five stages, and some.
const MOST_TRANSITIONS: usize = 256;

impl Machine<'_> {
    /// Goes on as far as what was observed allows.
    pub fn advance(&mut self) {
        for _ in 0..MOST_TRANSITIONS {
            self.hook_hold = None;
            if !self.transition() {
                return;
            }
        }
    }

    /// One transition, if one is due. Harm comes first, whatever else is due.
    fn transition(&mut self) -> bool {
        if self.yield_to_harm() {
            return true;
        }
        match (self.state(), self.stage()) {
            (PhaseState::Waiting, _) => self.wait(),
            (PhaseState::Running, Some(Stage::Preparing)) => self.prepare(),
            (PhaseState::Running, Some(Stage::Shifting)) => self.shift(),
            (PhaseState::Running, Some(Stage::Hooks)) => self.hook(),
            (PhaseState::Running, Some(Stage::Soaking)) => self.soak(),
            (PhaseState::Running, Some(Stage::AwaitingApproval)) => self.await_approval(),
            // The step was lost with a part of the status: begin at the first, which looks at what is before it moves anything.
            (PhaseState::Running, None) => self.begin(),
            (PhaseState::RollingBack, _) => self.go_back(),
            (PhaseState::Paused, _) => self.end_pause(),
            (PhaseState::RolledBack | PhaseState::Frozen | PhaseState::Completed | PhaseState::Aborted, _) => false,
        }
    }
}
