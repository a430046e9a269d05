//! Actions of people: who may still be heard, and what each does. An action counts once: its UID goes into the phase's status in the
//! same write as its effect, so that a crash between that and the action's own status is mended and nothing is done twice.

mod effect;
mod promote;

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        PhaseActionStatus,
        phase_action::{ActionKind, ActionState},
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    clock::after,
    machine::{Machine, Person},
    observed::ActionView,
    plan::Settlement,
};
use crate::{Known, Note, Severity, conditions::bounded};

/// How long an action counts that does not say so.
const DEFAULT_EXPIRY: SignedDuration = SignedDuration::from_mins(15);
/// How long an action other than an approval can count at most.
const LONGEST_EXPIRY: SignedDuration = SignedDuration::from_hours(24);
/// What is done with an action that is not carried out.
const TURN_DOWN: &str = "TurnDown";
/// UIDs that the status holds.
const APPLIED: usize = 64;

/// What became of an action.
pub(super) enum Outcome {
    /// It took effect; this is what is said of it.
    Done(String),
    /// It cannot take effect.
    Refused(&'static str, String),
}

impl Outcome {
    pub(super) fn not_applicable(message: impl Into<String>) -> Self {
        Self::Refused(reasons::NOT_APPLICABLE, message.into())
    }
}

impl Machine<'_> {
    /// Takes the actions that have not been settled, oldest first.
    pub fn take_actions(&mut self) {
        if self.status.attempt.is_none() {
            return;
        }
        let observed = self.observed;
        let phase = &observed.phase;
        let mut open: Vec<_> = observed.actions.iter().filter(|action| action.is_open(phase)).collect();
        open.sort_by_key(|action| (action.created, &action.uid));
        for action in &open {
            if self.recorded_enough() {
                // The write of this status leads to the next decision.
                return;
            }
            if self.status.applied_actions.contains(&action.uid) {
                let message = format!("carried out by attempt {}", self.attempt());
                self.settle(action, ActionState::Accepted, reasons::APPLIED, message);
                continue;
            }
            if self.observed.policies_enforced == Known::Unknown
                && leads_forward(action.spec.action)
                && !self.too_late(action)
            {
                // It waits for the proof, which every process that begins has to make first.
                continue;
            }
            if let Some((state, reason, message)) = self.inadmissible(action) {
                self.turn_down(action, state, reason, message);
                continue;
            }
            let unsettled = |uid: &String| open.iter().any(|action| action.uid == *uid);
            if !make_room(&mut self.status.applied_actions, unsettled) {
                return;
            }
            self.carry_out(action);
        }
        if self.unheard {
            self.unheard = false;
            self.advance();
        }
    }

    fn carry_out(&mut self, action: &ActionView) {
        self.person = Some(Person { name: action.spec.requested_by.clone(), reason: action.spec.reason.clone() });
        let attempt = self.attempt();
        match self.effect(action) {
            Outcome::Done(message) => {
                self.status.applied_actions.push(action.uid.clone());
                self.settle(action, ActionState::Accepted, reasons::APPLIED, message);
                if let Some(settled) = self.settle.last_mut() {
                    settled.status.attempt = Some(attempt);
                }
            }
            Outcome::Refused(reason, message) => self.turn_down(action, ActionState::Rejected, reason, message),
        }
        self.person = None;
        // What the next action is judged by is where this one has led.
        self.advance();
    }

    /// Why an action is not heard at all, whatever the state.
    fn inadmissible(&self, action: &ActionView) -> Option<(ActionState, &'static str, String)> {
        let spec = &action.spec;
        let phase = &self.observed.phase;
        if spec.phase_uid != phase.uid {
            let message = format!(
                "it is for a phase {} that is no more: give phaseUID {} if this one is meant",
                spec.phase, phase.uid
            );
            return Some((ActionState::Rejected, reasons::SUPERSEDED, message));
        }
        if spec.attempt != self.attempt() {
            let (asked, present) = (spec.attempt, self.attempt());
            let message =
                format!("it is for attempt {asked} and the phase is in attempt {present}: look at it and ask again");
            return Some((ActionState::Rejected, reasons::SUPERSEDED, message));
        }
        if self.too_late(action) {
            let until = expiry(action);
            let message = format!("it counted until {until}: ask again, with expiresAt if it needs longer");
            return Some((ActionState::Expired, reasons::EXPIRED, message));
        }
        if leads_forward(spec.action) && self.observed.policies_enforced != Known::Known(true) {
            let message = "who asked cannot be proved, and this leads forward: install the chart's ValidatingAdmissionPolicies (or see the flag --trust-unenforced-policies)";
            return Some((ActionState::Rejected, reasons::POLICIES_NOT_ENFORCED, message.to_owned()));
        }
        None
    }

    fn too_late(&self, action: &ActionView) -> bool {
        self.server_time() >= expiry(action)
    }

    /// The API server's time, by which actions are dated.
    fn server_time(&self) -> Timestamp {
        let skew = self.observed.clock_skew.ok().unwrap_or_default();
        self.clock.now.checked_sub(skew).unwrap_or(self.clock.now)
    }

    fn turn_down(&mut self, action: &ActionView, state: ActionState, reason: &'static str, message: String) {
        let (kind, by) = (action.spec.action, &action.spec.requested_by);
        let note = format!("{kind:?} by {by} ({}) is turned down: {message}", action.name);
        let as_it_was = self.described();
        let why = format!("{note}. Asked because: {}", action.spec.reason);
        self.record((by, TURN_DOWN, &why), &as_it_was, &as_it_was);
        self.notes.push(Note { severity: Severity::Warning, reason, action: TURN_DOWN, message: bounded(note) });
        self.settle(action, state, reason, message);
    }

    fn settle(&mut self, action: &ActionView, state: ActionState, reason: &'static str, message: String) {
        let took_effect = state == ActionState::Accepted;
        self.settle.push(Settlement {
            uid: action.uid.clone(),
            name: action.name.clone(),
            status: PhaseActionStatus {
                state: Some(state),
                reason: Some(reason.to_owned()),
                message: Some(bounded(message)),
                applied_at: took_effect.then(|| self.clock.record()),
                attempt: took_effect.then(|| self.attempt()),
            },
        });
    }
}

/// Whether weights may rise because of it. Whoever holds or goes back is heard also where nobody proves who it is: what guards the way forward
/// does not bar the way back.
const fn leads_forward(action: ActionKind) -> bool {
    match action {
        ActionKind::Approve | ActionKind::Promote | ActionKind::Resume | ActionKind::Retry => true,
        ActionKind::Pause | ActionKind::Abort | ActionKind::Rollback => false,
    }
}

/// Until when the action counts.
pub(super) fn expiry(action: &ActionView) -> Timestamp {
    let longest = after(action.created, LONGEST_EXPIRY);
    match &action.spec.expires_at {
        None => after(action.created, DEFAULT_EXPIRY),
        Some(Time(until)) if action.spec.action == ActionKind::Approve => *until,
        Some(Time(until)) => (*until).min(longest),
    }
}

/// Makes room for one more UID by dropping the oldest that has been settled. A UID that is dropped before could be applied again.
fn make_room(applied: &mut Vec<String>, unsettled: impl Fn(&String) -> bool) -> bool {
    if applied.len() < APPLIED {
        return true;
    }
    let Some(oldest) = applied.iter().position(|uid| !unsettled(uid)) else { return false };
    applied.remove(oldest);
    true
}
