//! Paused and Frozen: weights are held, the first because a person said so, the second because harm was seen and there is no way back, or
//! none that may be taken without a person.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, CheckState, PhaseState, Requests, Stage},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::machine::{Machine, blocker, blocker_until};
use crate::Severity;

impl Machine<'_> {
    pub fn paused_for(&self) -> Vec<Blocker> {
        let until = self.status.paused_until.as_ref().map(|until| until.0);
        vec![blocker_until(reasons::PAUSED, "paused by a person: Resume, Rollback or Abort", until)]
    }

    pub fn frozen_for(&self) -> Vec<Blocker> {
        let (why, message) = match &self.status.failure {
            Some(failure) => (failure.reason.as_str(), failure.message.as_str()),
            None => (reasons::FROZEN, "harm was seen"),
        };
        let message = format!("{why}: {message}. The weights are held: Rollback, Resume, Retry or Abort");
        let reason = if why == reasons::STATUS_LOST { reasons::STATUS_LOST } else { reasons::FROZEN };
        let mut holds = vec![blocker(reason, message)];
        holds.extend(self.baseline_lost());
        holds
    }

    pub fn pause(&mut self, until: Time) {
        if self.state() == PhaseState::Running {
            if self.stage() == Some(Stage::Shifting) {
                self.stop_moving();
            }
            self.hold_stage(true);
        }
        self.status.state = Some(PhaseState::Paused);
        self.status.paused_until = Some(until);
    }

    pub(super) fn end_pause(&mut self) -> bool {
        let over = self.status.paused_until.as_ref().is_none_or(|until| self.clock.now >= until.0);
        if over {
            self.resume();
            self.tell(Severity::Normal, "Resumed", "Resume", "the pause is over".to_owned());
        }
        over
    }

    /// Goes on after a pause or a freeze. What was stopped on its way is prepared again.
    pub fn resume(&mut self) {
        let frozen = self.state() == PhaseState::Frozen;
        self.status.paused_until = None;
        self.hold_stage(false);
        // What was only shown meanwhile is no evidence: harm is armed again, and counts from now on.
        self.status.dead_sides.clear();
        self.observe_dead_sides();
        for check in &mut self.status.checks {
            check.consecutive_failures = 0;
            check.no_data_since = None;
        }
        if self.status.step.is_none() {
            self.status.state = Some(PhaseState::Waiting);
            self.status.failure = None;
            self.publish(Requests::default());
            return;
        }
        self.status.state = Some(PhaseState::Running);
        if frozen {
            // Whoever resumes has looked at what failed.
            self.waive_hooks();
            self.watch_anew();
        }
        let all_there = self.requests().splits.iter().all(|request| request.new_weight.is_some());
        let stage = match self.stage() {
            Some(Stage::Hooks) if frozen && all_there => Stage::Hooks,
            Some(Stage::Soaking | Stage::AwaitingApproval) if frozen && all_there => Stage::Soaking,
            Some(Stage::Hooks | Stage::Soaking | Stage::AwaitingApproval | Stage::Preparing) if !frozen => return,
            _ => Stage::Preparing,
        };
        self.enter(stage);
    }

    /// After harm that a person has looked at, everything is watched from now on: old evidence does not count again.
    fn watch_anew(&mut self) {
        let now = self.clock.stamp();
        self.status.failure = None;
        self.status.way_back = None;
        for check in &mut self.status.checks {
            check.state = CheckState::Pending;
            check.last_data = None;
        }
        if let Some(step) = &mut self.status.step {
            step.shifted_at = step.shifted_at.as_ref().map(|_| now);
        }
    }

    /// Holds everything where it is until a person decides.
    pub fn freeze(&mut self, reason: &'static str, message: &str) {
        if self.state() == PhaseState::RollingBack || self.stage() == Some(Stage::Shifting) {
            self.stop_moving();
        }
        self.status.state = Some(PhaseState::Frozen);
        self.set_failure(reason, message);
        self.tell(Severity::Warning, reasons::FROZEN, "Freeze", format!("{reason}: {message}. The weights are held"));
    }
}
