//! What the status says at the end of a decision: what is waited for, how the phase is, and when a timer ends.

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::migration_phase::{Blocker, HookState, PhaseState, Stage},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    clock::after,
    machine::{Machine, blocker},
    stages::FLAGS_FIRST,
};
use crate::{
    Severity,
    conditions::{Health, Wanted, merge},
};

/// Blockers that the status holds.
const MOST_BLOCKERS: usize = 64;
/// How soon the clock is looked at again while it cannot be trusted: nobody tells when it can.
const LOOK_AT_CLOCK: SignedDuration = SignedDuration::from_secs(5);
/// Blockers that a person has to clear.
const NEED_A_PERSON: [&str; 7] = [
    reasons::HOOK_UNKNOWN,
    reasons::INVALID_SPEC,
    reasons::DEPENDENCY_CYCLE,
    reasons::CURRENT_STEP_REMOVED,
    reasons::STEP_WOULD_LOWER,
    reasons::BASELINE_LOST,
    reasons::PREPARE_TIMED_OUT,
];

impl Machine<'_> {
    /// Fills in what follows from the rest of the status.
    pub fn report(&mut self) {
        self.status.approval_subject = self.subject();
        let blocked = self.blockers();
        self.tell_of_timeout(&blocked);
        let (health, reason, message) = self.health(&blocked);
        let state = self.state();
        let degraded = matches!(state, PhaseState::RolledBack | PhaseState::Aborted);
        let why = |reason: &'static str, type_, status| Wanted { type_, status, reason, message: message.clone() };
        let wanted = health.conditions(reason, &message).into_iter().chain([
            why(reason, types::DEGRADED, degraded.then_some(true)),
            why(reason, types::COMPLETED, Some(state == PhaseState::Completed)),
        ]);
        let generation = self.observed.phase.generation;
        self.status.conditions = merge(&self.observed.status.conditions, wanted, Some(generation), self.clock.now);
        self.status.observed_generation = Some(generation);
        self.status.unknown_sinks = self.unknown_sinks();
        self.status.blocked_by = blocked;
    }

    fn blockers(&self) -> Vec<Blocker> {
        let mut blocked = match (self.state(), self.stage()) {
            (PhaseState::Waiting, _) => self.waiting_for(),
            (PhaseState::Running, None | Some(Stage::Preparing)) => self.preparing_for(),
            (PhaseState::Running, Some(Stage::Shifting)) => self.shifting_for(),
            (PhaseState::Running, Some(Stage::Hooks)) => self.hooks_held_by(),
            (PhaseState::Running, Some(Stage::Soaking)) => self.soaking_for(),
            (PhaseState::Running, Some(Stage::AwaitingApproval)) => self.approval_for(),
            (PhaseState::RollingBack, _) => self.going_back_for(),
            (PhaseState::Paused, _) => self.paused_for(),
            (PhaseState::Frozen, _) => self.frozen_for(),
            (PhaseState::Completed, _) if self.retired().is_some() => self.retired_but_for(),
            (PhaseState::Completed, _) => self.retiring_for(),
            (PhaseState::RolledBack | PhaseState::Aborted, _) => Vec::new(),
        };
        if matches!(self.state(), PhaseState::Running | PhaseState::Paused | PhaseState::RollingBack) {
            blocked.extend(self.hooks_awaited());
        }
        let timed_out = self.prepare_timed_out(&blocked);
        blocked.splice(0..0, timed_out);
        blocked.dedup();
        blocked.truncate(MOST_BLOCKERS);
        blocked
    }

    fn prepare_timed_out(&self, blocked: &[Blocker]) -> Option<Blocker> {
        let limit = self.prepare_limit()?;
        let overdue = self.stage_timer()?.watched(self.clock) >= limit;
        (overdue && !blocked.is_empty()).then(|| {
            let seconds = limit.as_secs();
            let message = format!("not prepared after {seconds} s; nothing has moved, and it goes on waiting");
            blocker(reasons::PREPARE_TIMED_OUT, message)
        })
    }

    fn prepare_limit(&self) -> Option<jiff::SignedDuration> {
        let preparing = self.state() == PhaseState::Running && self.stage() == Some(Stage::Preparing);
        self.spec.ok().filter(|_| preparing).map(|valid| valid.spec().prepare_timeout.signed())
    }

    fn tell_of_timeout(&mut self, blocked: &[Blocker]) {
        let named = |blockers: &[Blocker]| blockers.iter().any(|b| b.reason == reasons::PREPARE_TIMED_OUT);
        if named(blocked) && !named(&self.observed.status.blocked_by) {
            let why: Vec<_> = blocked.iter().map(|blocker| blocker.message.as_str()).collect();
            self.tell(Severity::Warning, reasons::PREPARE_TIMED_OUT, "Prepare", why.join("; "));
        }
    }

    fn health(&self, blocked: &[Blocker]) -> (Health, &'static str, String) {
        let first = || blocked.first().map(|blocker| blocker.message.clone());
        let step = self.status.step.as_ref().map(|step| step.name.clone()).unwrap_or_default();
        if let Some(stuck) = NEED_A_PERSON.into_iter().find(|reason| blocked.iter().any(|b| b.reason == *reason))
            && self.state() != PhaseState::Frozen
        {
            let message = blocked.iter().find(|b| b.reason == stuck).map(|b| b.message.clone());
            return (Health::Stalled, stuck, message.unwrap_or_default());
        }
        let or = |message: String| first().unwrap_or(message);
        match (self.state(), self.stage()) {
            (PhaseState::Waiting, _) => (Health::Ready, reasons::WAITING, or("about to start".to_owned())),
            (PhaseState::Running, None | Some(Stage::Preparing)) => {
                let resting = !self.closed_gates().is_empty();
                let health = if resting { Health::Ready } else { Health::Reconciling };
                let reason = if resting { reasons::WAITING } else { reasons::PREPARING };
                (health, reason, or(format!("step {step} is being prepared")))
            }
            (PhaseState::Running, Some(Stage::Shifting)) => {
                (Health::Reconciling, reasons::SHIFTING, or(format!("step {step} is being put in force")))
            }
            (PhaseState::Running, Some(Stage::Hooks)) => {
                (Health::Reconciling, reasons::HOOK_RUNNING, or(format!("hooks of step {step} run")))
            }
            (PhaseState::Running, Some(Stage::Soaking)) => {
                (Health::Ready, reasons::SOAKING, or(format!("step {step} soaks")))
            }
            (PhaseState::Running, Some(Stage::AwaitingApproval)) => {
                (Health::Ready, reasons::AWAITING_APPROVAL, or(format!("step {step} awaits approval")))
            }
            (PhaseState::Paused, _) => (Health::Ready, reasons::PAUSED, or(String::new())),
            (PhaseState::RollingBack, _) => (Health::Reconciling, reasons::ROLLING_BACK, or("going back".to_owned())),
            (PhaseState::RolledBack, _) => {
                let fails = self.spec.is_ok_and(|valid| valid.spec().fail_health_on_rollback);
                let health = if fails { Health::Stalled } else { Health::Ready };
                let failure = self.status.failure.as_ref();
                let why = failure.map(|failure| format!(" after {}: {}", failure.reason, failure.message));
                let message =
                    format!("back on the legacy side's share{}; Retry when it is mended", why.unwrap_or_default());
                (health, reasons::ROLLED_BACK, message)
            }
            (PhaseState::Frozen, _) => (Health::Stalled, reasons::FROZEN, or(String::new())),
            (PhaseState::Completed, _) => match self.retired() {
                Some(retired) => (
                    Health::Ready,
                    reasons::COMPLETED,
                    format!("legacy is retired by {}: there is no way back to it", retired.by),
                ),
                None => (Health::Ready, reasons::COMPLETED, or("the last step is reached and soaked".to_owned())),
            },
            (PhaseState::Aborted, _) => {
                (Health::Ready, reasons::ABORTED, "given up; the weights are held as they are".to_owned())
            }
        }
    }

    /// When the next timer of the status ends.
    pub fn next_timer(&self) -> Option<Timestamp> {
        let mut timers = Vec::new();
        let state = self.state();
        if state == PhaseState::Running {
            timers.extend(self.stage_end());
        }
        if matches!(state, PhaseState::Waiting | PhaseState::Running) {
            timers.extend(self.status.approvals.iter().filter_map(|record| record.expires_at.as_ref()).map(|at| at.0));
            timers.extend(self.status.blocked_by.iter().filter_map(|blocked| blocked.until.as_ref()).map(|at| at.0));
        }
        // A frozen phase too may go back when a side has been dead for long enough.
        if matches!(state, PhaseState::Running | PhaseState::Frozen)
            && let Some(after_dead) = self.guards().map(|guards| guards.dead_after.signed())
        {
            timers.extend(self.status.dead_sides.iter().map(|dead| self.clock.watched_end(&dead.since, after_dead)));
        }
        if matches!(state, PhaseState::Running | PhaseState::RollingBack) && self.skewed() {
            timers.push(after(self.clock.now, LOOK_AT_CLOCK));
        }
        if state == PhaseState::RollingBack
            && let Some(way) = &self.status.way_back
        {
            timers.push(after(way.started_at.0, FLAGS_FIRST));
            let limit = self.guards().map(|guards| guards.rollback.timeout.signed()).unwrap_or_default();
            timers.extend(self.way_back_timer().and_then(|timer| timer.watched_end(limit, self.clock)));
        }
        let running = self.status.hooks.iter().filter(|hook| hook.state == HookState::Started);
        timers.extend(running.map(|hook| hook.deadline.0));
        timers.extend(self.jobs_start());
        timers.extend(self.status.paused_until.as_ref().map(|until| until.0));
        timers.into_iter().filter(|at| *at > self.clock.now).min()
    }

    fn stage_end(&self) -> Option<Timestamp> {
        let spec = self.spec.ok()?.spec();
        let timer = self.stage_timer()?;
        match self.stage()? {
            Stage::Preparing => timer.watched_end(spec.prepare_timeout.signed(), self.clock),
            Stage::Shifting => timer.watched_end(spec.shift_timeout.signed(), self.clock),
            // The end of a soak is that of what it waits for.
            Stage::Soaking | Stage::Hooks | Stage::AwaitingApproval => None,
        }
    }
}
