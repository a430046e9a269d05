//! Shifting: traffic first, then flags, until everything that was asked for is seen to be in force.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, Stage, Step},
};

use super::super::{
    harm::Harm,
    machine::{Machine, blocker},
    requests::{asks_flags, asks_traffic, flag, split, with_flags},
};
use crate::Severity;

impl Machine<'_> {
    /// What has not followed, and what holds back the flags.
    pub fn shifting_for(&self) -> Vec<Blocker> {
        let mut holds: Vec<_> = self.step_removed().into_iter().collect();
        if self.flags_are_next() || self.spec.is_err() || self.skewed() {
            holds.extend(self.forward_holds());
        }
        holds.extend(if self.flags_are_next() { Vec::new() } else { self.unfollowed() });
        holds.extend(self.dead_holds());
        holds
    }

    /// The traffic is in force, and the flags have not been asked for.
    fn flags_are_next(&self) -> bool {
        let asked = self.step().is_none_or(|(_, step)| asks_flags(self.requests(), step));
        !asked && self.traffic_unfollowed().is_empty()
    }

    pub(super) fn shift(&mut self) -> bool {
        let Some((_, step)) = self.step() else {
            self.hold_stage(true);
            return false;
        };
        if !asks_traffic(self.requests(), step) {
            return self.prepare_again("its weights");
        }
        if self.flags_are_next() {
            let held_back = !self.forward_holds().is_empty();
            self.hold_stage(held_back);
            if !held_back {
                self.publish(with_flags(self.requests().clone(), step));
            }
            return !held_back;
        }
        let pending = self.unfollowed();
        if pending.is_empty() {
            return self.shifted(step);
        }
        let blind = pending.iter().any(|pending| pending.reason == reasons::UNKNOWN_INPUT);
        let still = blind || self.skewed() || self.observed.phase.deleting;
        self.hold_stage(still);
        !still && self.fail_when_overdue(&pending)
    }

    fn shifted(&mut self, step: &Step) -> bool {
        self.enter(Stage::Hooks);
        if let Some(present) = &mut self.status.step {
            present.shifted_at = Some(present.started_at.clone());
        }
        if step.hooks.is_empty() {
            return self.begin_soak(step);
        }
        let message = format!("step {} is in force; its hooks run", step.name);
        self.tell(Severity::Normal, reasons::HOOK_RUNNING, "Shift", message);
        true
    }

    fn fail_when_overdue(&mut self, pending: &[Blocker]) -> bool {
        let Some(limit) = self.spec.ok().map(|valid| valid.spec().shift_timeout) else { return false };
        let overdue = self.stage_timer().is_some_and(|timer| timer.watched(self.clock) >= limit.signed());
        if !overdue {
            return false;
        }
        let why: Vec<_> = pending.iter().map(|pending| pending.message.as_str()).collect();
        let message = format!("not in force after {limit}: {}", why.join("; "));
        self.fail(&Harm::overdue(message))
    }

    /// The spec now asks something else of the present step: it is looked at again before anything moves.
    pub(super) fn prepare_again(&mut self, what: &str) -> bool {
        self.enter(Stage::Preparing);
        let name = self.status.step.as_ref().map(|step| step.name.clone()).unwrap_or_default();
        // Who approved has seen other weights.
        self.status.approvals.retain(|record| record.step.as_ref() != Some(&name));
        self.tell(Severity::Normal, reasons::PREPARING, "Prepare", format!("step {name} is prepared again for {what}"));
        true
    }

    /// What a step of the spec asks less of than it was given.
    pub fn would_lower(&self, step: &Step) -> Option<Blocker> {
        let requests = self.requests();
        let lower = |name: &str| {
            let message = format!(
                "step {} now asks for less of {name} than it was given: a step never lowers; Rollback, or change the step",
                step.name
            );
            blocker(reasons::STEP_WOULD_LOWER, message)
        };
        let splits = step.traffic.iter().find(|target| {
            split(requests, &target.split).and_then(|r| r.new_weight).is_some_and(|asked| target.new_weight < asked)
        });
        let flags = step.flags.iter().find(|target| {
            flag(requests, &target.flag).and_then(|r| r.percent).is_some_and(|asked| target.percent < asked)
        });
        splits.map(|target| lower(&target.split)).or_else(|| flags.map(|target| lower(&target.flag)))
    }

    /// Whether the spec asks something else of the present step than what was asked for it.
    pub fn edited(&self, step: &Step) -> bool {
        let requests = self.requests();
        !asks_traffic(requests, step) || !asks_flags(requests, step)
    }

    /// Splits and flags stop where they are: what has not been done of the requests is not asked for any more.
    pub fn stop_moving(&mut self) {
        let mut requests = self.requests().clone();
        for request in &mut requests.splits {
            if !self.split_at(request) {
                request.new_weight = None;
                request.exposure = None;
            }
        }
        for request in &mut requests.flags {
            if !self.flag_at(request) {
                request.percent = None;
            }
        }
        self.publish(requests);
    }
}
