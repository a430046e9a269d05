//! A side with weight dies while no phase watches over the split: where `spec.failover` says so, the other side gets its share. Pure.
//!
//! - Only a side that was seen ready can die: one that is still being started is waited for.
//! - The weight does not come back by itself. What follows a failover is a person's decision, or a phase's.
//! - After a failover there is none for a while: two sides that die in turn are not played off against each other.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{DiedSide, FailedOver, Failover, Side, TrafficSplitStatus},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::capacity::Capacities;
use crate::{Known, conditions::whole_seconds};

/// How long a side must have had no ready endpoint: a restart of its only pod takes longer, a hiccup of a probe does not.
const DEAD_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// How long after a failover there is no other.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// The sides that have died, as of now. What cannot be counted is as it was.
pub(super) fn died(
    spec: &TrafficSplitSpec,
    status: &TrafficSplitStatus,
    capacities: Known<&Capacities>,
    now: Timestamp,
) -> Vec<DiedSide> {
    if spec.failover.is_off() {
        return Vec::new();
    }
    let Known::Known(capacities) = capacities else { return status.died.clone() };
    let seen = status.endpoints.clone().unwrap_or_default();
    let sides = [(Side::Legacy, seen.legacy), (Side::New, seen.new)];
    let died = sides.into_iter().filter_map(|(side, seen)| {
        if ready(capacities, side) > 0 {
            return None;
        }
        let known = status.died.iter().find(|died| died.side == side).cloned();
        let dies = seen.is_some_and(|seen| seen.ready > 0);
        known.or_else(|| dies.then(|| DiedSide { side, since: Time(whole_seconds(now)) }))
    });
    died.collect()
}

fn ready(capacities: &Capacities, side: Side) -> i32 {
    match side {
        Side::Legacy => capacities.legacy.map_or(0, |legacy| legacy.ready),
        Side::New => capacities.new.ready,
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Legacy => Side::New,
        Side::New => Side::Legacy,
    }
}

/// Weight of the new side when all is away from `side`.
const fn away_from(side: Side, total: i32) -> i32 {
    match side {
        Side::Legacy => total,
        Side::New => 0,
    }
}

/// What is to be done about the sides that have died, if nobody else decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The share that goes over now.
    pub over: Option<FailedOver>,
    /// How long until it may.
    pub wait: Option<SignedDuration>,
}

/// `base` is the weight in force, `desired` the one that is wanted so far.
pub(super) fn judge(
    spec: &TrafficSplitSpec,
    status: &TrafficSplitStatus,
    died: &[DiedSide],
    capacities: Known<&Capacities>,
    (base, desired): (i32, i32),
    now: Timestamp,
) -> Verdict {
    let Known::Known(capacities) = capacities else { return Verdict::default() };
    let total = spec.weight_total;
    let bears = |side: Side| base != away_from(side, total) && desired != away_from(side, total);
    let able = |died: &&DiedSide| bears(died.side) && ready(capacities, other(died.side)) > 0;
    let Some(died) = died.iter().find(able).filter(|_| spec.failover == Failover::Automatic) else {
        return Verdict::default();
    };
    let since_death = now.duration_since(died.since.0);
    let since_last = status.failed_over.as_ref().map_or(AGAIN, |last| now.duration_since(last.at.0));
    let left = |limit: SignedDuration, passed: SignedDuration| limit.saturating_sub(passed).min(limit);
    let wait = left(DEAD_AFTER, since_death).max(left(AGAIN, since_last));
    if wait.is_positive() {
        return Verdict { over: None, wait: Some(wait) };
    }
    let over = FailedOver { from: died.side, new_weight: desired, at: Time(whole_seconds(now)) };
    Verdict { over: Some(over), wait: None }
}

/// Where a failover leads, as long as the side that it left has not come back: nothing holds that up.
pub(super) fn target(
    over: Option<&FailedOver>,
    spec: &TrafficSplitSpec,
    capacities: Known<&Capacities>,
) -> Option<i32> {
    let (over, Known::Known(capacities)) = (over?, capacities) else { return None };
    let needed = ready(capacities, over.from) <= 0 && ready(capacities, other(over.from)) > 0;
    needed.then(|| away_from(over.from, spec.weight_total))
}
