//! Gates and holds: what stops forward moves, and forward moves only.

pub(super) mod approvals;
pub(super) mod calendar;
mod checklist;
mod promotion;
mod schema;

pub use schema::versions;

use std::collections::BTreeSet;

use cutover_api::{conditions::reasons, v1alpha1::migration_phase::Blocker};
use jiff::SignedDuration;

use super::{
    following::missing,
    machine::{Machine, blocker, blocker_until, unknown},
};
use crate::Known;

/// How far this machine's clock may be from the API server's.
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Whether a clock that differs so much may measure what somebody else's clock measures too.
#[must_use]
pub fn clock_is_trusted(skew: Known<SignedDuration>) -> bool {
    skew.is_known_and(|skew| skew.abs() <= TOLERATED_SKEW)
}

impl Machine<'_> {
    /// Every gate that is closed, with what would open it.
    pub fn closed_gates(&self) -> Vec<Blocker> {
        let Ok(valid) = self.spec else { return Vec::new() };
        let spec = valid.spec();
        if let Some(path) = self.cycle(&spec.after) {
            let message = format!("spec.after leads back to this phase: {path}; take one of them out");
            return vec![blocker(reasons::DEPENDENCY_CYCLE, message)];
        }
        let mut closed: Vec<_> =
            spec.after.iter().enumerate().filter_map(|(i, name)| self.predecessor(i, name)).collect();
        closed.extend(self.standing_gates());
        closed.extend(self.unpromoted());
        closed.extend(self.unapproved());
        closed.extend(self.calendar());
        closed
    }

    /// The closed ones among the gates that are looked at all the time, not only before something moves: what the environment is.
    pub fn standing_gates(&self) -> Vec<Blocker> {
        let Ok(valid) = self.spec else { return Vec::new() };
        let spec = valid.spec();
        let asked = spec.gates.as_ref().is_some_and(|gates| gates.components_ready);
        let components = asked.then(|| self.components(spec.environment.as_deref().unwrap_or_default())).flatten();
        components.into_iter().chain(self.other_schema()).chain(self.unattested()).collect()
    }

    /// Windows and freezes.
    fn calendar(&self) -> Vec<Blocker> {
        let (Ok(valid), Some(shut)) = (self.spec, &self.shut) else { return Vec::new() };
        let (at, opens) = match &shut.until {
            Some((at, clocks)) => (Some(*at), format!("the way is open {clocks}")),
            None => (None, "the way does not open again: change spec.gates".to_owned()),
        };
        let gates = valid.spec().gates.as_ref();
        let freeze = shut.freeze.and_then(|i| Some((i, gates?.freezes.get(i)?))).map(|(i, freeze)| {
            let (from, to, zone) = (&freeze.from, &freeze.to, &freeze.time_zone);
            let message = format!("spec.gates.freezes[{i}]: nothing moves from {from} to {to} ({zone}); {opens}");
            blocker_until(reasons::FREEZE, message, at)
        });
        let outside = shut
            .outside
            .then(|| blocker_until(reasons::OUTSIDE_WINDOW, format!("spec.gates.windows: none is open; {opens}"), at));
        freeze.into_iter().chain(outside).collect()
    }

    fn predecessor(&self, index: usize, name: &str) -> Option<Blocker> {
        match self.observed.predecessors.get(name).map_or(Known::Unknown, Known::as_ref) {
            Known::Unknown => Some(unknown(&format!("MigrationPhase {name}"))),
            Known::Known(None) => Some(missing(&format!("spec.after[{index}]"), &format!("MigrationPhase {name}"))),
            Known::Known(Some(phase)) if phase.completed() => None,
            Known::Known(Some(phase)) => {
                let state = phase.state.unwrap_or_default();
                let message = format!("phase {name} is {state:?}: it has to be Completed first");
                Some(blocker(reasons::PREDECESSOR_NOT_COMPLETED, message))
            }
        }
    }

    fn components(&self, environment: &str) -> Option<Blocker> {
        match &self.observed.environment {
            Known::Unknown => Some(unknown(&format!("Environment {environment}"))),
            Known::Known(None) => Some(missing("spec.environment", &format!("Environment {environment}"))),
            Known::Known(Some(view)) if !view.current => {
                let message = format!("the status of Environment {environment} is not about its present spec yet");
                Some(blocker(reasons::COMPONENTS_NOT_READY, message))
            }
            Known::Known(Some(view)) if view.not_ready.is_empty() => None,
            Known::Known(Some(view)) => {
                let names = view.not_ready.join(", ");
                Some(blocker(
                    reasons::COMPONENTS_NOT_READY,
                    format!("components of {environment} are not ready: {names}"),
                ))
            }
        }
    }

    /// The way on which `after` leads back to this phase, if it does.
    fn cycle(&self, after: &[String]) -> Option<String> {
        let own = &self.observed.phase.name;
        let mut open: Vec<Vec<&str>> = after.iter().map(|name| vec![name.as_str()]).collect();
        let mut seen = BTreeSet::new();
        while let Some(path) = open.pop() {
            let Some(last) = path.last().copied() else { continue };
            if last == own {
                return Some(std::iter::once(own.as_str()).chain(path).collect::<Vec<_>>().join(" → "));
            }
            if !seen.insert(last) {
                continue;
            }
            if let Some(Known::Known(Some(phase))) = self.observed.predecessors.get(last) {
                open.extend(phase.after.iter().map(|next| path.iter().copied().chain([next.as_str()]).collect()));
            }
        }
        None
    }

    /// Whether the clock can be trusted to measure what somebody else's clock measures too.
    pub fn skewed(&self) -> bool {
        !clock_is_trusted(self.observed.clock_skew)
    }

    pub fn skew(&self) -> Option<Blocker> {
        let tolerated = TOLERATED_SKEW.as_secs();
        match self.observed.clock_skew {
            Known::Unknown => Some(unknown("the API server's clock")),
            Known::Known(_) if self.skewed() => Some(blocker(
                reasons::CLOCK_SKEW,
                format!("this machine's clock is more than {tolerated} s off the API server's: set it (NTP)"),
            )),
            Known::Known(_) => None,
        }
    }

    /// Everything that stops every forward move, whatever the step.
    pub fn forward_holds(&self) -> Vec<Blocker> {
        let mut holds = Vec::new();
        if let Err(invalid) = self.spec {
            holds
                .push(blocker(reasons::INVALID_SPEC, format!("{invalid}; the weights are held and guarded as before")));
        }
        if self.observed.phase.deleting {
            holds.push(blocker(reasons::STILL_IN_USE, "the phase is being deleted: the weights are held"));
        }
        holds.extend(self.closed_gates());
        holds.extend(self.skew());
        holds
    }

    /// The present step left the spec.
    pub fn step_removed(&self) -> Option<Blocker> {
        let present = self.status.step.as_ref()?;
        let gone = self.spec.ok()?.step_named(&present.name).is_none();
        gone.then(|| {
            let name = &present.name;
            let message =
                format!("step {name} was under way and left the spec: put a step of that name back, or Rollback");
            blocker(reasons::CURRENT_STEP_REMOVED, message)
        })
    }
}
