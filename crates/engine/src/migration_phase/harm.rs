//! Harm: what is evidence of it, and what it leads to.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Blocker, DeadSide, OnFailure, PhaseState},
        phase_action::RollbackTo,
        traffic_split::{Exposure, Side},
    },
};

use super::{
    capacity::some_way_back,
    machine::{Machine, blocker},
    stages::Target,
};

/// Entries that the status holds.
const MOST_DEAD: usize = 32;

/// Evidence of harm.
pub(super) struct Harm {
    reason: &'static str,
    message: String,
    /// Where it leads back to; `None`: where the spec says.
    to: Option<RollbackTo>,
    /// Only legacy sides are dead: going back would lead to them.
    legacy_only: bool,
}

impl Harm {
    pub const fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message, to: None, legacy_only: false }
    }

    /// Splits or flags that did not follow in time: only the present step is taken back.
    pub const fn overdue(message: String) -> Self {
        let to = Some(RollbackTo::PreviousStep);
        Self { reason: reasons::SHIFT_TIMED_OUT, message, to, legacy_only: false }
    }
}

impl Machine<'_> {
    /// Notes which sides with traffic have no ready endpoint, and since when. What cannot be read is not dead.
    pub fn observe_dead_sides(&mut self) {
        let mut dead = Vec::new();
        if self.state().holds() {
            for request in self.status.requests.iter().flat_map(|requests| &requests.splits) {
                let Some(view) = self.split_view(&request.split) else { continue };
                let Some(weight) = view.applied.filter(|_| view.exposure != Some(Exposure::Hidden)) else { continue };
                if view.has_legacy && weight < view.weight_total && view.legacy_ready == Some(0) {
                    dead.push((request.split.clone(), Side::Legacy));
                }
                if weight > 0 && view.new_ready == Some(0) {
                    dead.push((request.split.clone(), Side::New));
                }
            }
        }
        dead.truncate(MOST_DEAD);
        let known = std::mem::take(&mut self.status.dead_sides);
        let since = |split: &str, side| {
            let before = known.iter().find(|entry| entry.split == split && entry.side == side);
            before.map_or_else(|| self.clock.stamp(), |entry| self.clock.not_ahead(&entry.since))
        };
        let sides = dead.into_iter().map(|(split, side)| DeadSide { since: since(&split, side), split, side });
        self.status.dead_sides = sides.collect();
    }

    /// Dead sides hold every forward move at once, long before they count as harm.
    pub fn dead_holds(&self) -> Vec<Blocker> {
        self.status.dead_sides.iter().map(|dead| blocker(reasons::SIDE_DEAD, describe(dead))).collect()
    }

    /// Gives way to harm, if there is any and a way back may be taken by itself.
    pub(super) fn yield_to_harm(&mut self) -> bool {
        if !self.moved() {
            return false;
        }
        match self.state() {
            PhaseState::Running => self.harm().is_some_and(|harm| self.fail(&harm)),
            // The way back was closed; harm goes on and some of the way is open now.
            PhaseState::Frozen if self.way_back_reopened() => match self.harm() {
                Some(harm) if !harm.legacy_only => self.fail(&harm),
                _ => false,
            },
            _ => false,
        }
    }

    fn harm(&self) -> Option<Harm> {
        let after = self.guards()?.dead_after.signed();
        let matured: Vec<_> =
            self.status.dead_sides.iter().filter(|dead| self.clock.watched(&dead.since) >= after).collect();
        let message = || matured.iter().map(|dead| describe(dead)).collect::<Vec<_>>().join("; ");
        if matured.iter().any(|dead| dead.side == Side::New) {
            return Some(Harm::new(reasons::SIDE_DEAD, message()));
        }
        let legacy = || Harm { legacy_only: true, ..Harm::new(reasons::SIDE_DEAD, message()) };
        self.failed_check().or_else(|| (!matured.is_empty()).then(legacy))
    }

    /// Goes back, or freezes where that may not or cannot be.
    pub fn fail(&mut self, harm: &Harm) -> bool {
        let Some(guards) = self.guards() else { return false };
        let to = harm.to.unwrap_or_else(|| guards.rollback.to.into());
        let (policy, reversible) = (guards.on_failure, guards.reversible);
        let message = harm.message.clone();
        match self.target(to) {
            _ if policy == OnFailure::Freeze => self.freeze(harm.reason, &message),
            _ if !reversible => self.freeze(harm.reason, &format!("{message}; the phase is not reversible")),
            _ if harm.legacy_only => {
                self.freeze(reasons::WAY_BACK_CLOSED, &format!("{message}: going back would lead there"));
            }
            Target::To(target) => {
                self.set_failure(harm.reason, &message);
                self.start_way_back(to, false, target);
            }
            Target::Retired(split) => {
                let message = format!("{message}; the legacy side of TrafficSplit {split} is retired");
                self.freeze(reasons::WAY_BACK_CLOSED, &message);
            }
            Target::Lost => {
                self.freeze(harm.reason, &format!("{message}; where to go back to is not known"));
            }
        }
        true
    }

    /// A phase that froze for want of a way back may take it when some of it opens.
    fn way_back_reopened(&self) -> bool {
        let closed = self.status.failure.as_ref().is_some_and(|failure| failure.reason == reasons::WAY_BACK_CLOSED);
        let Some(guards) = self.guards() else { return false };
        if !closed || guards.on_failure == OnFailure::Freeze || !guards.reversible {
            return false;
        }
        let Target::To(target) = self.target(guards.rollback.to.into()) else { return false };
        target.splits.iter().any(|goal| {
            let Some((view, to)) = self.split_view(&goal.split).zip(goal.new_weight) else { return false };
            view.applied.is_some_and(|from| some_way_back(view, from, to))
        })
    }
}

fn describe(dead: &DeadSide) -> String {
    let side = match dead.side {
        Side::Legacy => "legacy",
        Side::New => "new",
    };
    format!("TrafficSplit {}: the {side} side has traffic and no ready endpoint", dead.split)
}
