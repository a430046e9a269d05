//! The machine at work on one decision: the status to be, and what is told about it. The rules are in the modules beside it.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        MigrationPhaseStatus,
        migration_phase::{Blocker, Failure, HistoryEntry, LastValid, PhaseState, Requests, Stage, Step, StepStatus},
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    clock::{Clock, Timer, hold},
    gates::calendar::Shut,
    notify::Notification,
    observed::{FlagView, Observed, SplitView},
    plan::Settlement,
    requests::summary,
    validate::{Invalid, Validated},
};
use crate::{
    Known, Note, Severity,
    conditions::{bounded, cut},
};

/// Entries of history that are kept.
const HISTORY: usize = 50;
/// The longest message of a history entry, in bytes.
const HISTORY_MESSAGE: usize = 508;
/// Who decides when no person does.
pub(super) const OPERATOR: &str = "cutover";

/// A person whose action is being carried out.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub name: String,
    pub reason: String,
}

/// One decision in the making.
pub(super) struct Machine<'a> {
    pub spec: Result<&'a Validated, &'a Invalid>,
    pub observed: &'a Observed,
    pub clock: Clock,
    /// The status to be.
    pub status: MigrationPhaseStatus,
    pub notes: Vec<Note>,
    pub notifications: Vec<Notification>,
    pub settle: Vec<Settlement>,
    pub person: Option<Person>,
    /// Whether there are actions that this decision has not come to yet.
    pub unheard: bool,
    /// Whether the audit records of the status are this decision's.
    pub recorded: bool,
    /// Why the calendar lets nothing move forward now.
    pub shut: Option<Shut>,
    /// What keeps a migration from being started or from counting as done.
    pub hook_hold: Option<Blocker>,
    /// State, step and requests as the last record has them, if this decision has made one.
    summary: Option<String>,
}

impl<'a> Machine<'a> {
    pub fn new(spec: Result<&'a Validated, &'a Invalid>, observed: &'a Observed, now: Timestamp) -> Self {
        let status = observed.status.clone();
        let watched = SignedDuration::try_from(observed.watched_for).unwrap_or(SignedDuration::MAX);
        let clock = Clock { now, watching_since: now.checked_sub(watched).unwrap_or(Timestamp::MIN) };
        let (notes, notifications, settle) = (Vec::new(), Vec::new(), Vec::new());
        let shut = spec.ok().and_then(|valid| valid.calendar().shut(now));
        Self {
            spec,
            observed,
            clock,
            status,
            notes,
            notifications,
            settle,
            person: None,
            unheard: observed.actions.iter().any(|action| action.is_open(&observed.phase)),
            recorded: false,
            shut,
            hook_hold: None,
            summary: None,
        }
    }

    /// The split of that name, as far as it is known.
    pub fn split(&self, name: &str) -> Known<Option<&'a SplitView>> {
        let observed: &'a Observed = self.observed;
        observed.splits.get(name).map_or(Known::Unknown, |known| known.as_ref().map(Option::as_ref))
    }

    /// The split of that name, if it is known and there.
    pub fn split_view(&self, name: &str) -> Option<&'a SplitView> {
        self.split(name).ok().flatten()
    }

    /// The flag of that name, as far as it is known.
    pub fn flag(&self, name: &str) -> Known<Option<&'a FlagView>> {
        let observed: &'a Observed = self.observed;
        observed.flags.get(name).map_or(Known::Unknown, |known| known.as_ref().map(Option::as_ref))
    }

    /// The flag of that name, if it is known and there.
    pub fn flag_view(&self, name: &str) -> Option<&'a FlagView> {
        self.flag(name).ok().flatten()
    }

    pub fn state(&self) -> PhaseState {
        self.status.state.unwrap_or_default()
    }

    pub fn stage(&self) -> Option<Stage> {
        self.status.step.as_ref().map(|step| step.stage)
    }

    pub fn attempt(&self) -> i32 {
        self.status.attempt.unwrap_or(1)
    }

    /// What is asked of splits and flags now.
    pub fn requests(&self) -> &Requests {
        static NOTHING: Requests = Requests { splits: Vec::new(), flags: Vec::new() };
        self.status.requests.as_ref().unwrap_or(&NOTHING)
    }

    /// The checks and failure policy in force: the spec's, or those last found valid.
    pub fn guards(&self) -> Option<&LastValid> {
        self.status.last_valid.as_ref()
    }

    /// The present step as the spec has it now; `None` when it left the spec, or the spec is not valid.
    pub fn step(&self) -> Option<(usize, &'a Step)> {
        let present = self.status.step.as_ref()?;
        self.spec.ok()?.step_named(&present.name)
    }

    /// Whether the phase has moved anything that a way back would have to undo.
    pub fn moved(&self) -> bool {
        self.status.baseline.is_some() || self.has_stepped()
    }

    /// Whether this attempt has moved anything, baseline or not.
    pub fn has_stepped(&self) -> bool {
        self.status.previous.is_some() || self.status.step.as_ref().is_some_and(|step| step.moved || step.index > 0)
    }

    /// Publishes requests. Their number grows with every change, past whatever a split or flag has already seen from this phase.
    pub fn publish(&mut self, requests: Requests) {
        let requests = (requests != Requests::default()).then_some(requests);
        if requests != self.status.requests {
            self.status.requests = requests;
            self.status.request_revision = Some(self.revision().max(self.seen_revision()) + 1);
        }
    }

    /// A split or flag knows a later number of ours than we do: our status was lost, and what we ask needs a new number.
    pub fn catch_up(&mut self) {
        let seen = self.seen_revision();
        if seen > self.revision() {
            self.status.request_revision = Some(seen + 1);
        }
    }

    pub fn revision(&self) -> i64 {
        self.status.request_revision.unwrap_or(0)
    }

    fn seen_revision(&self) -> i64 {
        let uid = &self.observed.phase.uid;
        let splits = self.observed.splits.values().filter_map(|known| known.as_ref().ok()?.as_ref()?.holder.as_ref());
        let flags = self.observed.flags.values().filter_map(|known| known.as_ref().ok()?.as_ref()?.holder.as_ref());
        let splits = splits.filter(|h| h.uid == *uid).map(|h| h.request_revision);
        let flags = flags.filter(|h| h.uid == *uid).map(|h| h.request_revision);
        splits.chain(flags).max().unwrap_or(0)
    }

    /// Goes to a stage of the present step; its timer begins.
    pub fn enter(&mut self, stage: Stage) {
        let started_at = self.clock.stamp();
        if let Some(step) = &mut self.status.step {
            *step = StepStatus { stage, started_at, held_seconds: 0, held_since: None, ..step.clone() };
        }
    }

    /// Goes to the first stage of a step.
    pub fn enter_step(&mut self, index: usize, name: &str) {
        // Until the step asks for its own weights, those of the step before are watched.
        let shifted_at = self.status.step.take().and_then(|step| step.shifted_at);
        self.status.step = Some(StepStatus {
            index: i32::try_from(index).unwrap_or(i32::MAX),
            name: name.to_owned(),
            stage: Stage::Preparing,
            moved: false,
            started_at: self.clock.stamp(),
            shifted_at,
            held_seconds: 0,
            held_since: None,
        });
    }

    /// The timer of the present stage.
    pub fn stage_timer(&self) -> Option<Timer<'_>> {
        self.status.step.as_ref().map(|step| Timer {
            start: &step.started_at,
            held_seconds: step.held_seconds,
            held_since: step.held_since.as_ref(),
        })
    }

    /// Lets the timer of the present stage stand still, or run.
    pub fn hold_stage(&mut self, still: bool) {
        let clock = self.clock;
        if let Some(step) = &mut self.status.step {
            hold(&mut step.held_seconds, &mut step.held_since, still, clock);
        }
    }

    /// Comes to rest: splits and flags are let go, and hold what they are by themselves.
    pub fn rest(&mut self, state: PhaseState) {
        self.status.state = Some(state);
        self.publish(Requests::default());
        self.status.finished_at = Some(self.clock.record());
        self.status.dead_sides.clear();
        self.status.paused_until = None;
        self.hold_stage(false);
    }

    /// State, stage and requests in one line.
    pub fn described(&self) -> String {
        describe(&self.status)
    }

    pub fn set_failure(&mut self, reason: &str, message: &str) {
        let step = self.status.step.as_ref().map(|step| step.name.clone());
        let at = self.clock.record();
        self.status.failure =
            Some(Failure { reason: reason.to_owned(), message: bounded(message.to_owned()), step, at });
    }

    /// Tells of a transition that has just been made: in history, in the audit log, to sinks, and as a note.
    pub fn tell(&mut self, severity: Severity, reason: &'static str, action: &'static str, message: String) {
        self.status.history.push(HistoryEntry {
            at: self.clock.record(),
            attempt: self.attempt(),
            reason: reason.to_owned(),
            step: self.status.step.as_ref().map(|step| step.name.clone()),
            message: cut(&message, HISTORY_MESSAGE),
            by: self.person.as_ref().map(|person| person.name.clone()),
        });
        let surplus = self.status.history.len().saturating_sub(HISTORY);
        self.status.history.drain(..surplus);
        let after = describe(&self.status);
        let before = self.summary.replace(after.clone()).unwrap_or_else(|| describe(&self.observed.status));
        let (who, why) = match self.person.clone() {
            Some(Person { name, reason }) => (name, reason),
            None => (OPERATOR.to_owned(), message.clone()),
        };
        self.record((&who, action, &why), &before, &after);
        self.notify(reason, &message);
        self.notes.push(Note { severity, reason, action, message: bounded(message) });
    }
}

/// One thing that is waited for.
pub(super) fn blocker(reason: &str, message: impl Into<String>) -> Blocker {
    Blocker { reason: reason.to_owned(), message: bounded(message.into()), until: None }
}

/// One thing that is waited for, and that comes by itself.
pub(super) fn blocker_until(reason: &str, message: impl Into<String>, until: Option<Timestamp>) -> Blocker {
    Blocker { until: until.map(|at| Time(crate::conditions::whole_seconds(at))), ..blocker(reason, message) }
}

/// What cannot be judged because it has not been read.
pub(super) fn unknown(what: &str) -> Blocker {
    blocker(reasons::UNKNOWN_INPUT, format!("{what} has not been read, or cannot be read now; it is looked at again"))
}

fn describe(status: &MigrationPhaseStatus) -> String {
    let state = status.state.unwrap_or_default();
    let step = status.step.as_ref().map(|step| format!(" {}/{:?}", step.name, step.stage)).unwrap_or_default();
    format!("{state:?}{step}{}", summary(status.requests.as_ref()))
}
