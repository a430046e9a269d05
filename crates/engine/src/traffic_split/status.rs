//! The status that a plan and what became of it make, and what is worth telling about the transition.

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::{
        TrafficSplitSpec,
        traffic_split::{
            Endpoints, Exposure, FailedOver, LegacyRetiring, ReadyEndpoints, RouterStatus, Side, TrafficSplitStatus,
            VerifiedWeight,
        },
    },
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    decide::{Plan, Validated},
    holder::Release,
    probed::{Probed, probes},
    retired::Retirement,
};
use crate::{
    Known, Note, Severity,
    conditions::{Health, Wanted, bounded, merge, whole_seconds},
    router::Problem,
};

/// What the status is built from.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The spec.
    pub spec: &'a TrafficSplitSpec,
    /// Whether its legacy side is retired, or to be; the spec is one without when that is done.
    pub retirement: Option<&'a Retirement>,
    /// Its generation.
    pub generation: Option<i64>,
    /// The status last written.
    pub previous: &'a TrafficSplitStatus,
    /// The judged spec.
    pub validated: &'a Validated,
    /// The last plan, made after all answers of the API server were taken in.
    pub plan: &'a Plan,
    /// Per router, in the order of the spec: what went wrong when its steps were carried out.
    pub failures: &'a [Option<Problem>],
    /// What the sides say when they are asked, legacy first.
    pub probed: &'a [Probed; 2],
    /// Routes that deleted splits left behind, which claim the same.
    pub overlap: Option<&'a str>,
    /// What was seen on the wire since, if anything was.
    pub verified: Option<&'a VerifiedWeight>,
}

/// The status from `now` on.
#[must_use]
pub fn status(outcome: &Outcome, now: Timestamp) -> TrafficSplitStatus {
    let Outcome { spec, generation, previous, plan, .. } = outcome;
    let applied = applied(outcome);
    let last_transition_time = if applied == previous.applied_weight && previous.last_transition_time.is_some() {
        previous.last_transition_time.clone()
    } else {
        applied.map(|_| Time(whole_seconds(now)))
    };
    let (health, reason, message) = health(outcome, applied);
    let diverged = diverged(spec, plan);
    let diverged = Wanted {
        type_: types::SPEC_DIVERGED,
        status: diverged.is_some().then_some(true),
        reason: reasons::SPEC_DIVERGED,
        message: diverged.unwrap_or_default(),
    };
    let overlapped = Wanted {
        type_: types::OVERLAPPED,
        status: outcome.overlap.map(|_| true),
        reason: reasons::ROUTE_LEFT_BEHIND,
        message: outcome.overlap.unwrap_or_default().to_owned(),
    };
    let waits_for = retiring(outcome, applied);
    let conditions = health.conditions(reason, &message).into_iter().chain([diverged, overlapped]);
    TrafficSplitStatus {
        observed_generation: *generation,
        conditions: merge(&previous.conditions, conditions, *generation, now),
        desired_weight: plan.wanted.desired,
        applied_weight: applied,
        exposure: plan.wanted.desired.map(|_| plan.wanted.exposure),
        holder: plan.ruling.holder.clone(),
        epoch: plan.ruling.epoch,
        held_spec_weight: plan.wanted.held_spec_weight,
        legacy_retired: outcome
            .retirement
            .filter(|_| waits_for.is_none())
            .map(|retirement| retirement.record().clone()),
        legacy_retiring: waits_for,
        routers: routers(outcome),
        added: plan.added.clone(),
        endpoints: endpoints(outcome),
        probes: probes(outcome.probed, previous.probes.as_ref(), now),
        died: plan.wanted.died.clone(),
        failed_over: plan.wanted.failed_over.clone(),
        stickiness: plan.stickiness.clone(),
        verified_weight: verified(outcome, applied),
        last_transition_time,
    }
}

/// What the end of the legacy side waits for, while it does: users' own routes, and ours beside them.
fn retiring(outcome: &Outcome, applied: Option<i32>) -> Option<LegacyRetiring> {
    let Some(Retirement::Agreed(record)) = outcome.retirement else { return None };
    let plans = &outcome.plan.routers;
    let mut waits: Vec<String> = plans.iter().filter_map(|router| router.awaits_edit.clone()).collect();
    let at_rest =
        !plans.is_empty() && plans.iter().all(|router| router.settled) && applied == Some(outcome.spec.weight_total);
    if waits.is_empty() && !at_rest {
        waits.push("the routes are not all seen to lead to the new side yet".to_owned());
    }
    (!waits.is_empty()).then(|| LegacyRetiring { phase: record.phase.clone(), message: bounded(waits.join("; ")) })
}

/// The weight that every router carries, accepted where it can be said; until then the one before.
fn applied(outcome: &Outcome) -> Option<i32> {
    let wanted = &outcome.plan.wanted;
    wanted.desired?;
    let carried = wanted.next.first().copied();
    let agreed = wanted.next.iter().all(|weight| Some(*weight) == carried);
    let settled = outcome.plan.routers.len() == wanted.next.len()
        && outcome.plan.routers.iter().all(|router| router.settled)
        && outcome.failures.iter().all(Option::is_none);
    if agreed && settled { carried } else { outcome.previous.applied_weight }
}

/// What is known of the weight in force, as long as it is that one.
fn verified(outcome: &Outcome, applied: Option<i32>) -> Option<VerifiedWeight> {
    outcome.spec.verify.as_ref()?;
    let seen = outcome.verified.or(outcome.previous.verified_weight.as_ref())?;
    (Some(seen.applied_weight) == applied && applied == outcome.plan.wanted.desired).then(|| seen.clone())
}

fn routers(outcome: &Outcome) -> Vec<RouterStatus> {
    if outcome.plan.routers.is_empty() {
        return outcome.previous.routers.clone();
    }
    let failures = outcome.failures.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    outcome
        .plan
        .routers
        .iter()
        .zip(failures)
        .map(|(router, failure)| {
            let wrong = failure.or(router.problem.as_ref()).map(|problem| problem.message.clone());
            RouterStatus {
                kind: router.read_back.kind,
                object: router.read_back.object.clone(),
                observed_weight: router.read_back.observed_weight,
                accepted: router.read_back.accepted,
                message: wrong.or_else(|| router.read_back.message.clone()).map(bounded),
            }
        })
        .collect()
}

fn endpoints(outcome: &Outcome) -> Option<Endpoints> {
    let Known::Known(sides) = &outcome.validated.sides else { return outcome.previous.endpoints.clone() };
    let before = outcome.previous.endpoints.clone().unwrap_or_default();
    // What cannot be counted now is as it was: none at all would be evidence.
    let ready = |side, before: Option<ReadyEndpoints>| match sides.get(side).present()?.ready {
        Known::Known(ready) => Some(ReadyEndpoints { ready }),
        Known::Unknown => before,
    };
    Some(Endpoints {
        legacy: outcome.spec.legacy.as_ref().map(|_| ready(Side::Legacy, before.legacy).unwrap_or_default()),
        new: Some(ready(Side::New, before.new).unwrap_or_default()),
    })
}

fn health(outcome: &Outcome, applied: Option<i32>) -> (Health, &'static str, String) {
    let Outcome { spec, validated, plan, failures, .. } = outcome;
    let problems = || {
        let routers = failures.iter().flatten().chain(plan.routers.iter().filter_map(|router| router.problem.as_ref()));
        validated.problem.iter().chain(&plan.wanted.refused).chain(routers)
    };
    let told = |problem: &Problem| (problem.health, problem.reason, problem.message.clone());
    if let Some(problem) = problems().find(|problem| problem.health == Health::Stalled) {
        return told(problem);
    }
    if plan.unknown {
        let message =
            "the objects that the split names have not been read yet: nothing moves until they are".to_owned();
        return (Health::Reconciling, reasons::UNKNOWN_INPUT, message);
    }
    if let Some(missing) = &plan.wanted.missing {
        return (Health::Reconciling, reasons::INSUFFICIENT_CAPACITY, missing.to_string());
    }
    if let Some(problem) = problems().find(|problem| problem.health == Health::Reconciling) {
        return told(problem);
    }
    let total = spec.weight_total;
    let desired = plan.wanted.desired.unwrap_or_default();
    if applied != Some(desired) || !plan.routers.iter().all(|router| router.settled) {
        let waiting = plan.routers.iter().find(|router| !router.settled);
        let waiting = waiting.map_or_else(String::new, |router| {
            let why = router.read_back.message.as_deref().unwrap_or("not yet observed to carry it");
            format!(": {} {why}", router.read_back.object)
        });
        return (
            Health::Reconciling,
            reasons::SHIFTING,
            format!("going to {desired} of {total} on the new side{waiting}"),
        );
    }
    if plan.wanted.exposure == Exposure::Hidden {
        return (
            Health::Ready,
            reasons::HIDDEN,
            "hidden as declared: there is no route until a phase exposes the split".to_owned(),
        );
    }
    if let Some(waits) = retiring(outcome, applied) {
        return (Health::Ready, reasons::LEGACY_IN_USE, format!("legacy is to be retired: {}", waits.message));
    }
    match (&plan.ruling.holder, &plan.wanted.failed_over) {
        (None, Some(over)) => (Health::Ready, reasons::FAILED_OVER, failed_over(over, desired, total)),
        (Some(holder), _) => {
            let message = format!("{desired} of {total} on the new side, held for MigrationPhase {}", holder.phase);
            (Health::Ready, reasons::WEIGHT_HELD, message)
        }
        (None, None) if desired == spec.new_weight => {
            (Health::Ready, reasons::AS_DECLARED, format!("{desired} of {total} on the new side"))
        }
        (None, None) => (Health::Ready, reasons::WEIGHT_HELD, format!("{desired} of {total} on the new side is held")),
    }
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Legacy => "legacy",
        Side::New => "new",
    }
}

fn failed_over(over: &FailedOver, desired: i32, total: i32) -> String {
    let side = side_name(over.from);
    format!(
        "{desired} of {total} on the new side since the {side} side died at {} (it was {}); it stays there until spec.newWeight changes or a \
         MigrationPhase takes the split",
        over.at.0, over.new_weight
    )
}

fn diverged(spec: &TrafficSplitSpec, plan: &Plan) -> Option<String> {
    let desired = plan.wanted.desired?;
    let asked = spec.new_weight;
    if asked == desired {
        return None;
    }
    let how = if plan.ruling.holder.is_some() {
        "a phase moves this split; what spec.newWeight says does not count meanwhile, nor when the phase lets go"
    } else {
        "to move it, set spec.newWeight to the weight in force first and then to the one you want, or use a MigrationPhase"
    };
    Some(format!("spec.newWeight is {asked}, the weight in force is {desired}: {how}"))
}

/// What to tell about the transition from one status to the next.
#[must_use]
pub fn notes(previous: &TrafficSplitStatus, next: &TrafficSplitStatus, plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut tell = |severity, reason, action, message| notes.push(Note { severity, reason, action, message });
    match (&previous.holder, &next.holder) {
        (before, Some(holder)) if before.as_ref().is_none_or(|before| before.epoch != holder.epoch) => {
            tell(
                Severity::Normal,
                "Granted",
                "Hold",
                format!("held for MigrationPhase {} ({})", holder.phase, holder.uid),
            );
        }
        (Some(holder), None) => {
            let why = match plan.ruling.released {
                Some(Release::Deleted) => "is deleted",
                Some(Release::LetGo) | None => "let go",
            };
            tell(
                Severity::Normal,
                "LetGo",
                "Hold",
                format!("MigrationPhase {} {why}: the weight is held", holder.phase),
            );
        }
        _ => {}
    }
    if previous.applied_weight != next.applied_weight
        && let Some(now) = next.applied_weight
    {
        let was = previous.applied_weight.map_or_else(|| "no route".to_owned(), |was| was.to_string());
        tell(Severity::Normal, "Shifted", "Shift", format!("weight of the new side: {now} (was {was})"));
    }
    if let Some(over) = next.failed_over.as_ref().filter(|over| previous.failed_over.as_ref() != Some(over)) {
        let desired = next.desired_weight.unwrap_or_default();
        tell(
            Severity::Warning,
            reasons::FAILED_OVER,
            "Shift",
            format!(
                "weight of the new side: {desired} (was {}), because the {} side died",
                over.new_weight,
                side_name(over.from)
            ),
        );
    }
    let condition = |status: &TrafficSplitStatus, type_: &str| {
        status.conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.reason.clone())
    };
    for (type_, action) in [(types::STALLED, "Reconcile"), (types::SPEC_DIVERGED, "Hold"), (types::OVERLAPPED, "Route")]
    {
        let now = next.conditions.iter().find(|condition| condition.type_ == type_);
        if let Some(now) = now
            && condition(previous, type_).as_ref() != Some(&now.reason)
        {
            tell(Severity::Warning, known_reason(&now.reason), action, now.message.clone());
        }
    }
    let lacking = |status: &TrafficSplitStatus| {
        condition(status, types::RECONCILING).as_deref() == Some(reasons::INSUFFICIENT_CAPACITY)
    };
    if lacking(next)
        && !lacking(previous)
        && let Some(missing) = &plan.wanted.missing
    {
        tell(Severity::Warning, reasons::INSUFFICIENT_CAPACITY, "Shift", missing.to_string());
    }
    notes
}

/// The constant of a reason that was read back from a condition.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 14] = [
        reasons::ROUTE_LEFT_BEHIND,
        reasons::PROBE_BLIND,
        reasons::INVALID_SPEC,
        reasons::REFERENCE_NOT_FOUND,
        reasons::ROUTER_NOT_INSTALLED,
        reasons::UNSUPPORTED_BY_ROUTER,
        reasons::ROUTE_EXISTS,
        reasons::CONFLICTED,
        reasons::CONTENDED,
        reasons::REF_NOT_PERMITTED,
        reasons::ROUTE_NOT_ACCEPTED,
        reasons::SPEC_DIVERGED,
        reasons::FORBIDDEN,
        reasons::UNREADABLE,
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or(types::STALLED)
}
