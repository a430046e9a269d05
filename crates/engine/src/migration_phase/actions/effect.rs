//! What each action does in each state, and what to do instead where it does nothing.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{ApprovalRecord, PhaseState, Stage},
        phase_action::{ActionKind, RollbackTo},
    },
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    super::{
        clock::after,
        machine::Machine,
        observed::ActionView,
        stages::{Target, speaks_for},
    },
    Outcome,
};
use crate::{Severity, conditions::whole_seconds};

/// How long a pause lasts that does not say so.
const DEFAULT_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// Approvals that the status holds.
const MOST_APPROVALS: usize = 64;

impl Machine<'_> {
    pub(super) fn effect(&mut self, action: &ActionView) -> Outcome {
        match action.spec.action {
            ActionKind::Approve => self.approve(action),
            ActionKind::Promote => self.promote(action),
            ActionKind::Pause => self.pause_by(action),
            ActionKind::Resume => self.resume_by(),
            ActionKind::Abort => self.abort(),
            ActionKind::Rollback => self.roll_back(action),
            ActionKind::Retry => self.retry(),
        }
    }

    fn approve(&mut self, action: &ActionView) -> Outcome {
        let spec = &action.spec;
        if let Some((reason, message)) = spec.subject_hash.as_deref().and_then(|asked| self.another_subject(asked)) {
            return Outcome::Refused(reason, message);
        }
        if spec.step.is_none() {
            return self.approve_start(action);
        }
        let Some(present) = self.status.step.as_ref().map(|step| step.name.clone()) else {
            return Outcome::not_applicable("no step is under way: approve when the step has soaked");
        };
        let asked = spec.step.as_deref().unwrap_or_default();
        if asked != present {
            return Outcome::not_applicable(format!("step {asked} is not the present one, which is {present}"));
        }
        let under_way = matches!(self.state(), PhaseState::Running | PhaseState::Paused);
        if !under_way || self.stage() != Some(Stage::AwaitingApproval) {
            return Outcome::not_applicable(format!(
                "step {present} does not await approval: approve when it has soaked"
            ));
        }
        let Some(approval) = self.step().and_then(|(_, step)| step.approval.as_ref()) else {
            return Outcome::not_applicable(format!(
                "the spec asks for no approval of step {present}, or is not valid"
            ));
        };
        if !speaks_for(approval, &spec.groups) {
            let groups = approval.groups.join(", ");
            return Outcome::not_applicable(format!(
                "only members of {groups} can approve: name the group in spec.groups"
            ));
        }
        if self.step().is_some_and(|(_, step)| self.approvers(step, approval).contains(spec.requested_by.as_str())) {
            return Outcome::not_applicable(format!(
                "{} has approved already: each person counts once",
                spec.requested_by
            ));
        }
        self.record_approval(action, Some(present.clone()));
        let message = format!("step {present} is approved by {}", spec.requested_by);
        self.tell(Severity::Normal, "Approved", "Approve", message.clone());
        Outcome::Done(message)
    }

    /// An approval of the start, or, under way, of steps that have changed since.
    fn approve_start(&mut self, action: &ActionView) -> Outcome {
        let spec = &action.spec;
        let state = self.state();
        if !matches!(state, PhaseState::Waiting | PhaseState::Running | PhaseState::Paused) {
            return Outcome::not_applicable(format!("the phase is {state:?}: there is no start to approve"));
        }
        let gates = self.spec.ok().and_then(|valid| valid.spec().gates.as_ref());
        let Some(approval) = gates.and_then(|gates| gates.approvals.as_ref()) else {
            return Outcome::not_applicable("the spec asks for no approval of the start; give step to approve a step");
        };
        if spec.subject_hash.is_none() {
            return Outcome::not_applicable("give subjectHash, the phase's status.approvalSubject: what is approved");
        }
        if !speaks_for(approval, &spec.groups) {
            let groups = approval.groups.join(", ");
            return Outcome::not_applicable(format!(
                "only members of {groups} can approve: name the group in spec.groups"
            ));
        }
        if self.start_approvers(approval).contains(spec.requested_by.as_str()) {
            return Outcome::not_applicable(format!(
                "{} has approved already: each person counts once",
                spec.requested_by
            ));
        }
        self.record_approval(action, None);
        let message = format!("the start is approved by {}", spec.requested_by);
        self.tell(Severity::Normal, "Approved", "Approve", message.clone());
        Outcome::Done(message)
    }

    /// Keeps an approval in the place of a former one by the same person for the same.
    fn record_approval(&mut self, action: &ActionView, step: Option<String>) {
        let spec = &action.spec;
        let now = self.clock.now;
        let subject = self.subject();
        let approvals = &mut self.status.approvals;
        approvals.retain(|record| record.step != step || record.by != spec.requested_by);
        if approvals.len() >= MOST_APPROVALS {
            // Those of former steps have done what they were for.
            approvals.retain(|record| record.step.is_none() || record.step == step);
            approvals.retain(|record| record.expires_at.as_ref().is_none_or(|until| now < until.0));
            approvals.truncate(MOST_APPROVALS - 1);
        }
        approvals.push(ApprovalRecord {
            step,
            subject,
            by: spec.requested_by.clone(),
            groups: spec.groups.clone(),
            at: self.clock.record(),
            action: action.uid.clone(),
            expires_at: spec.expires_at.clone(),
        });
    }

    fn pause_by(&mut self, action: &ActionView) -> Outcome {
        let state = self.state();
        match state {
            PhaseState::Waiting | PhaseState::Running | PhaseState::Paused => {}
            PhaseState::RollingBack => {
                return Outcome::not_applicable("the phase is going back: Abort stops it where it is");
            }
            PhaseState::Frozen => return Outcome::not_applicable("the phase is frozen: its weights are held already"),
            PhaseState::RolledBack | PhaseState::Completed | PhaseState::Aborted => {
                return Outcome::not_applicable(format!("the phase is {state:?} and moves nothing"));
            }
        }
        let until =
            action.spec.until.as_ref().map_or_else(|| after(self.clock.stamp().0, DEFAULT_PAUSE), |until| until.0);
        if until <= self.clock.now {
            return Outcome::not_applicable(format!("until, {until}, is over: give an instant to come"));
        }
        let until = whole_seconds(until);
        self.pause(Time(until));
        let message = format!("paused until {until}; harm is not acted on");
        self.tell(Severity::Warning, reasons::PAUSED, "Pause", message.clone());
        Outcome::Done(message)
    }

    fn resume_by(&mut self) -> Outcome {
        let state = self.state();
        if state == PhaseState::Running && self.hook_unknown() {
            self.waive_hooks();
            let message = "goes on as if the hook had succeeded".to_owned();
            self.tell(Severity::Warning, "Resumed", "Resume", message.clone());
            return Outcome::Done(message);
        }
        if !matches!(state, PhaseState::Paused | PhaseState::Frozen) {
            return Outcome::not_applicable(format!("the phase is {state:?}: only a paused or frozen one can resume"));
        }
        self.resume();
        let message = format!("resumed from {state:?}");
        self.tell(Severity::Normal, "Resumed", "Resume", message.clone());
        Outcome::Done(message)
    }

    fn abort(&mut self) -> Outcome {
        let state = self.state();
        if matches!(state, PhaseState::Completed | PhaseState::RolledBack | PhaseState::Aborted) {
            return Outcome::not_applicable(format!("the phase is {state:?}: there is nothing to give up"));
        }
        self.rest(PhaseState::Aborted);
        let message = "given up; the weights are held as they are".to_owned();
        self.tell(Severity::Warning, reasons::ABORTED, "Abort", message.clone());
        Outcome::Done(message)
    }

    fn roll_back(&mut self, action: &ActionView) -> Outcome {
        let default = || self.guards().map_or(RollbackTo::Baseline, |guards| guards.rollback.to.into());
        let to = action.spec.to.unwrap_or_else(default);
        let force = action.spec.force.unwrap_or_default();
        let target = match self.target(to) {
            Target::To(target) => target,
            Target::Retired(split) => {
                let message = format!("the legacy side of TrafficSplit {split} is retired: there is no way back to it");
                return Outcome::Refused(reasons::WAY_BACK_CLOSED, message);
            }
            Target::Lost => {
                let message =
                    "nothing is known to go back to: nothing was moved, or the status was lost; give to: Legacy";
                return Outcome::Refused(reasons::BASELINE_LOST, message.to_owned());
            }
        };
        if let Some(way) = self.status.way_back.as_ref().filter(|way| way.target == target && (way.force || !force)) {
            let there = target.splits.iter().all(|r| self.split_at(r)) && target.flags.iter().all(|r| self.flag_at(r));
            match self.state() {
                PhaseState::RollingBack => {
                    return Outcome::not_applicable(format!("the phase is going back to {:?} already", way.to));
                }
                PhaseState::RolledBack if there => {
                    return Outcome::not_applicable(format!("the phase is at {:?} already", way.to));
                }
                _ => {}
            }
        }
        self.start_way_back(to, force, target);
        Outcome::Done(format!("going back to {to:?}"))
    }

    fn retry(&mut self) -> Outcome {
        let state = self.state();
        if !matches!(state, PhaseState::RolledBack | PhaseState::Frozen | PhaseState::Aborted) {
            let message =
                format!("the phase is {state:?}: only one that is rolled back, frozen or aborted can be retried");
            return Outcome::not_applicable(message);
        }
        // Back where it came from, the next attempt starts from what is then; stopped halfway, the way back still leads to the old start.
        let back = self.status.way_back.as_ref().is_some_and(|way| way.to != RollbackTo::PreviousStep);
        if state == PhaseState::RolledBack && back {
            self.status.baseline = None;
        }
        let attempt = self.attempt().saturating_add(1);
        self.rest(PhaseState::Waiting);
        let status = &mut self.status;
        status.attempt = Some(attempt);
        status.step = None;
        status.previous = None;
        status.way_back = None;
        status.failure = None;
        status.started_at = None;
        status.finished_at = None;
        status.checks.clear();
        status.hooks.clear();
        status.approvals.clear();
        let message = format!("attempt {attempt} begins");
        self.tell(Severity::Normal, "Retried", "Retry", message.clone());
        Outcome::Done(message)
    }
}
