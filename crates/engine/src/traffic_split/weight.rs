//! Which weight is wanted, and how far each router may go toward it now.
//!
//! The weight in force is *held* unless the holder asks for another, or nobody holds the split and the value of
//! `spec.newWeight` changes. A change of that value while a phase holds the split is noted (`SpecDiverged`) and taken as
//! seen: when the phase lets go, nothing jumps. Without a status the routes are the truth.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        TrafficSplitSpec,
        traffic_split::{DiedSide, Exposure, FailedOver, RouterKind, TrafficSplitStatus},
    },
};
use jiff::{SignedDuration, Timestamp};

use super::{
    capacity::{Capacities, Missing, reach},
    failover,
    holder::{Release, Ruling},
    ramp::Pace,
};
use crate::{Known, conditions::Health, router::Problem};

/// What one router's routes carry now, as read from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The router.
    pub kind: RouterKind,
    /// The weight of the new side, if a route of this split (or one left behind for it) carries one.
    pub weight: Option<i32>,
}

/// What the weights of a split are decided by.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    /// The spec.
    pub spec: &'a TrafficSplitSpec,
    /// Whether the spec may bring anything new: it is valid and all that it names is there.
    pub valid: bool,
    /// The status last written; empty when it was lost or never written.
    pub status: &'a TrafficSplitStatus,
    /// Who holds the split.
    pub ruling: &'a Ruling,
    /// What the routes carry, in the order of the spec's routers.
    pub carried: &'a [Carried],
    /// What both sides can take.
    pub capacities: Known<&'a Capacities>,
    /// The present time.
    pub now: Timestamp,
}

/// What is wanted of the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Weight of the new side that is wanted in the end; `None` while nothing is known and the spec is not valid.
    pub desired: Option<i32>,
    /// Whether there are routes.
    pub exposure: Exposure,
    /// The value of `spec.newWeight` that is taken as seen.
    pub held_spec_weight: Option<i32>,
    /// Weight that each router may carry now, in the order of the spec's routers.
    pub next: Vec<i32>,
    /// What bars the rest of the way.
    pub missing: Option<Missing>,
    /// What was asked for and cannot be done.
    pub refused: Option<Problem>,
    /// Sides that have died; see [`TrafficSplitStatus::died`].
    pub died: Vec<DiedSide>,
    /// The failover whose weight is in force; see [`TrafficSplitStatus::failed_over`].
    pub failed_over: Option<FailedOver>,
    /// When more may follow from time alone.
    pub wait: Option<SignedDuration>,
}

/// What is in force before anything new is looked at.
struct Standing {
    desired: i32,
    /// What every router carried when they last agreed.
    base: i32,
    exposure: Exposure,
    seen: i32,
}

/// Decides the weights.
#[must_use]
pub fn weigh(scales: &Scales) -> Wanted {
    let &Scales { spec, valid, status, ruling, .. } = scales;
    let Some(standing) = standing(scales) else {
        let count = scales.carried.len();
        return Wanted {
            desired: None,
            exposure: spec.exposure,
            held_spec_weight: None,
            next: vec![0; count],
            missing: None,
            refused: None,
            died: Vec::new(),
            failed_over: None,
            wait: None,
        };
    };
    let Standing { mut desired, base, mut exposure, mut seen } = standing;
    if let Some(release) = ruling.released {
        desired = stop(scales, base, desired, release);
    }
    let mut refused = None;
    let free = status.holder.is_none() && ruling.holder.is_none();
    let mut failed_over = status.failed_over.clone().filter(|_| free);
    if free && valid {
        if spec.new_weight != seen {
            desired = spec.new_weight;
            failed_over = None;
        }
        if spec.exposure == Exposure::Exposed {
            exposure = Exposure::Exposed;
        }
    }
    if valid || !free {
        seen = spec.new_weight;
    }
    let order = ruling.order.as_ref();
    if let Some(order) = order {
        match order.new_weight.map(|asked| acceptable(spec, asked, ruling)) {
            Some(Ok(asked)) => desired = asked,
            Some(Err(problem)) => refused = Some(problem),
            // Asked to go somewhere and now only to hold: what is not done is not begun any more.
            None if was_moving(scales) => desired = stop(scales, base, desired, Release::LetGo),
            None => {}
        }
        exposure = order.exposure.unwrap_or(exposure);
    }
    let died = failover::died(spec, status, scales.capacities, scales.now);
    let mut wait = None;
    if free && exposure == Exposure::Exposed {
        let verdict = failover::judge(spec, status, &died, scales.capacities, (base, desired), scales.now);
        failed_over = verdict.over.or(failed_over);
        wait = verdict.wait;
    }
    let over = failover::target(failed_over.as_ref(), spec, scales.capacities);
    desired = over.unwrap_or(desired);
    let force = order.is_some_and(|order| order.force);
    let (next, missing, paced) = match over {
        Some(weight) => (vec![weight; scales.carried.len()], None, None),
        None => steps(scales, (base, desired), exposure, force),
    };
    let wait = wait.into_iter().chain(paced).min();
    Wanted {
        desired: Some(desired),
        exposure,
        held_spec_weight: Some(seen),
        next,
        missing,
        refused,
        died,
        failed_over,
        wait,
    }
}

fn standing(scales: &Scales) -> Option<Standing> {
    let Scales { spec, valid, status, carried, .. } = scales;
    if let Some(desired) = status.desired_weight {
        return Some(Standing {
            desired,
            base: status.applied_weight.unwrap_or(0),
            exposure: status.exposure.unwrap_or(spec.exposure),
            seen: status.held_spec_weight.unwrap_or(spec.new_weight),
        });
    }
    // Routes that disagree were on their way when the status was lost: the one nearest to legacy is what all can carry.
    if let Some(weight) = carried.iter().filter_map(|carried| carried.weight).min() {
        let seen = spec.new_weight;
        return Some(Standing { desired: weight, base: weight, exposure: Exposure::Exposed, seen });
    }
    let (desired, exposure) = (spec.new_weight, spec.exposure);
    valid.then_some(Standing { desired, base: 0, exposure, seen: desired })
}

/// What stays in force when a holder is gone: what is asked but not yet done is not begun any more, except that the way
/// back of a deleted holder is finished.
fn stop(scales: &Scales, base: i32, desired: i32, release: Release) -> i32 {
    let reached = || (0..scales.carried.len()).map(|router| from(scales, router, base, desired));
    match (desired.cmp(&base), release) {
        (std::cmp::Ordering::Greater, _) => reached().max().unwrap_or(base),
        (std::cmp::Ordering::Less, Release::LetGo) => reached().min().unwrap_or(base),
        (std::cmp::Ordering::Less, Release::Deleted) | (std::cmp::Ordering::Equal, _) => desired,
    }
}

/// Whether the holder's last order, which this one replaces, named a weight.
fn was_moving(scales: &Scales) -> bool {
    let Scales { status, ruling, .. } = scales;
    status
        .holder
        .as_ref()
        .zip(ruling.holder.as_ref())
        .is_some_and(|(last, now)| (last.epoch, &last.uid) == (now.epoch, &now.uid) && last.new_weight.is_some())
}

fn acceptable(spec: &TrafficSplitSpec, asked: i32, ruling: &Ruling) -> Result<i32, Problem> {
    let total = spec.weight_total;
    let phase = ruling.holder.as_ref().map_or("", |holder| holder.phase.as_str());
    let refuse = |why: &str| {
        let message = format!("MigrationPhase {phase} asks for newWeight {asked} of {total}: {why}; change its steps");
        Err(Problem { reason: reasons::INVALID_SPEC, message, health: Health::Stalled })
    };
    if !(0..=total).contains(&asked) {
        return refuse("that is not a share of weightTotal");
    }
    if spec.legacy.is_none() && asked != 0 && asked != total {
        return refuse("without a legacy backend it is 0 or all of it");
    }
    Ok(asked)
}

/// Where a router starts from: what it was last seen to carry on the present way, or what all carried when they last
/// agreed. What it carries beyond that was not put there by us.
fn from(scales: &Scales, router: usize, base: i32, target: i32) -> i32 {
    let Some(carried) = scales.carried.get(router) else { return base };
    let status = scales.status;
    // Its place among the routers of its kind: the object that carries the weight changes on the way of a complete cutover.
    let nth = scales.carried.iter().take(router).filter(|other| other.kind == carried.kind).count();
    let recorded = status.routers.iter().filter(|known| known.kind == carried.kind).nth(nth);
    let way = [base, target, status.desired_weight.unwrap_or(target)];
    let (low, high) = way.iter().fold((base, base), |(low, high), end| (low.min(*end), high.max(*end)));
    match recorded.map(|known| known.observed_weight) {
        Some(Some(weight)) if (low..=high).contains(&weight) => weight,
        // It had no route: whatever it gets is more than nothing.
        Some(None) => 0,
        None if status.desired_weight.is_none() => carried.weight.unwrap_or(base),
        Some(Some(_)) | None => base,
    }
}

/// What each router may carry now, what bars the rest, and how long the ramp does.
fn steps(
    scales: &Scales,
    (base, desired): (i32, i32),
    exposure: Exposure,
    force: bool,
) -> (Vec<i32>, Option<Missing>, Option<SignedDuration>) {
    let (mut missing, mut wait) = (None, None);
    let pace = Pace::of(scales.spec, scales.status, base, scales.now).filter(|_| !force);
    let next = (0..scales.carried.len())
        .map(|router| {
            let from = from(scales, router, base, desired);
            if exposure == Exposure::Hidden || from == desired {
                return desired;
            }
            let Known::Known(capacities) = scales.capacities else { return from };
            let reach = reach(from, desired, capacities, force);
            missing = missing.or(reach.missing);
            match pace.filter(|_| !capacities.leaves_the_dead(from, desired)) {
                Some(pace) if pace.toward(reach.weight) != reach.weight => {
                    wait = wait.or(pace.wait());
                    pace.toward(reach.weight)
                }
                _ => reach.weight,
            }
        })
        .collect();
    (next, missing, wait)
}
