//! How fast the weight in force may move. Pure.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{Ramp, TrafficSplitStatus},
};
use jiff::{SignedDuration, Timestamp};

/// What a step takes besides its interval, until it is seen in force: a guess for forecasts and timeouts.
const SEEN_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// The weights that may be in force next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    low: i32,
    high: i32,
    /// How long until more is open.
    wait: SignedDuration,
}

impl Pace {
    /// What the spec's ramp leaves open from `base`, the weight in force. `None`: everything.
    pub fn of(spec: &TrafficSplitSpec, status: &TrafficSplitStatus, base: i32, now: Timestamp) -> Option<Self> {
        // Without a legacy side it is all or nothing.
        let ramp = spec.ramp.filter(|_| spec.legacy.is_some())?;
        // The status holds whole seconds: one more, and the interval is never cut short.
        let pause = ramp.interval.signed().saturating_add(SignedDuration::from_secs(1));
        let since = status.last_transition_time.as_ref().map(|at| now.duration_since(at.0));
        // A clock that went back does not hold the weight for longer than the interval.
        let wait = since.map_or(SignedDuration::ZERO, |since| pause.saturating_sub(since).min(pause));
        let step = if wait.is_positive() { 0 } else { ramp.max_step };
        Some(Self { low: base.saturating_sub(step), high: base.saturating_add(step), wait })
    }

    /// The weight nearest to `weight` that may be in force next.
    pub fn toward(self, weight: i32) -> i32 {
        weight.clamp(self.low, self.high)
    }

    /// How long until the way on is open, if time alone opens it.
    pub fn wait(self) -> Option<SignedDuration> {
        self.wait.is_positive().then_some(self.wait)
    }
}

/// How long the step that a status tells of keeps the next one waiting.
#[must_use]
pub fn pause(spec: &TrafficSplitSpec, status: &TrafficSplitStatus, now: Timestamp) -> Option<SignedDuration> {
    let applied = status.applied_weight.filter(|applied| status.desired_weight != Some(*applied))?;
    Pace::of(spec, status, applied, now)?.wait()
}

/// How long the way from one weight to another takes at least.
#[must_use]
pub fn time_for(ramp: Ramp, from: i32, to: i32) -> SignedDuration {
    let distance = i64::from(from.abs_diff(to));
    let step = i64::from(ramp.max_step.max(1));
    // The first step is taken at once.
    let pauses = ((distance + step - 1) / step - 1).max(0);
    let pause = ramp.interval.signed().saturating_add(SignedDuration::from_secs(1)).saturating_add(SEEN_AFTER);
    SignedDuration::from_secs(pause.as_secs().saturating_mul(pauses))
}

/// The weight after one step of the ramp.
#[must_use]
pub fn one_step(ramp: Option<Ramp>, from: i32, to: i32) -> i32 {
    ramp.map_or(to, |ramp| to.clamp(from.saturating_sub(ramp.max_step), from.saturating_add(ramp.max_step)))
}
