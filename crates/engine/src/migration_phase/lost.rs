//! A phase without a status: it is new, or its status was lost. Whoever has been under way does not move forward again by itself.

use cutover_api::{conditions::reasons, v1alpha1::migration_phase::PhaseState};

use super::{
    machine::Machine,
    observed::ActionView,
    requests::{hold_flag, hold_split, put_flag, put_split},
};
use crate::Known;

impl Machine<'_> {
    /// Whether it is not known yet if there was an earlier attempt: what could tell has not been read.
    pub fn unread_past(&self) -> bool {
        let observed = self.observed;
        let splits = observed.splits.values().any(|known| matches!(known, Known::Unknown));
        splits || observed.flags.values().any(|known| matches!(known, Known::Unknown))
    }

    /// Numbers the attempt past all that an action, a split or a flag knows of, so that nothing that was asked of an old one counts
    /// again. If one of them shows that there was an attempt, or a route remembers its baseline, a person decides how it goes on.
    pub fn begin_anew(&mut self) {
        self.status.state = Some(PhaseState::Waiting);
        if self.unread_past() {
            return;
        }
        let held = self.attempts_of_holders();
        let uid = &self.observed.phase.uid;
        let actions: Vec<&ActionView> = self.observed.actions.iter().filter(|a| a.spec.phase_uid == *uid).collect();
        let last = actions.iter().map(|action| action.spec.attempt).chain(held).max().unwrap_or(0);
        self.status.attempt = Some(last.saturating_add(1));
        self.find_baseline();
        // Somebody may have asked something of a new phase before it was ever looked at.
        let decided = actions.iter().any(|action| action.settled || action.spec.attempt > 1);
        let seen = [
            (held.is_some(), "a split or flag is held by it"),
            (self.remembered(), "a route remembers what was before it"),
            (decided, "actions have been taken on it"),
        ];
        let seen: Vec<_> = seen.into_iter().filter_map(|(seen, what)| seen.then_some(what)).collect();
        if !seen.is_empty() {
            let message = format!(
                "the whole status is lost, and the phase was under way before: {}. Retry begins at the first step",
                seen.join(", ")
            );
            self.claim_again();
            self.freeze(reasons::STATUS_LOST, &message);
        }
    }

    /// What this phase still holds after its status was lost goes on being held, so that nobody else moves it before a person has decided.
    fn claim_again(&mut self) {
        let (observed, mut requests) = (self.observed, self.requests().clone());
        let uid = &observed.phase.uid;
        for (name, known) in &observed.splits {
            let view = known.as_ref().ok().and_then(Option::as_ref);
            if view.and_then(|view| view.holder.as_ref()).is_some_and(|holder| holder.uid == *uid) {
                put_split(&mut requests, hold_split(name));
            }
        }
        for (name, known) in &observed.flags {
            let view = known.as_ref().ok().and_then(Option::as_ref);
            if view.and_then(|view| view.holder.as_ref()).is_some_and(|holder| holder.uid == *uid) {
                put_flag(&mut requests, hold_flag(name));
            }
        }
        self.publish(requests);
    }

    fn attempts_of_holders(&self) -> Option<i32> {
        let uid = &self.observed.phase.uid;
        let splits = self.observed.splits.values().filter_map(|known| known.as_ref().ok()?.as_ref()?.holder.as_ref());
        let splits = splits.filter(|holder| holder.uid == *uid).map(|holder| holder.attempt);
        let flags = self.observed.flags.values().filter_map(|known| known.as_ref().ok()?.as_ref()?.holder.as_ref());
        let flags = flags.filter(|holder| holder.uid == *uid).map(|holder| holder.attempt);
        splits.chain(flags).max()
    }

    fn remembered(&self) -> bool {
        let mut views = self.observed.splits.values().filter_map(|known| known.as_ref().ok()?.as_ref());
        views.any(|view| view.route_baseline.is_some())
    }
}
