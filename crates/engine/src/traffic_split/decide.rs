//! The decision: who holds the split, which weight is wanted, and what each router is to be sent.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{AddedEntry, StickinessStatus, TrafficSplitStatus},
};
use jiff::Timestamp;

use super::{
    added::recorded,
    as_is,
    backend::{Resolved, ServiceFacts, Target, assemble},
    capacity::{Capacities, SideCapacity},
    conflict::{Claimant, conflict},
    holder::{Claim, Ruling, arbitrate},
    said_otherwise::said_otherwise,
    stickiness,
    weight::{Carried, Scales, Wanted, weigh},
};
use crate::{
    Known,
    router::{self, Intent, Problem, RouteStep, RouterPlan, Sides, SplitRef, Sticky},
};

/// A spec that was judged against what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Both sides; unknown while what they name has not been read.
    pub sides: Known<Sides>,
    /// What is wrong with the spec. It bars what is new; weights in force go on being kept and moved.
    pub problem: Option<Problem>,
    /// Whether the spec claims what another split has: no route that is not there yet is made.
    pub conflicted: bool,
    /// What another split says otherwise of one of the sides: no router is told which cannot tell the two apart.
    pub said_otherwise: Option<Problem>,
}

/// Judges what the API server could not: references to other objects, and conflicts with other splits. `targets` and `facts` are of
/// the legacy side and of the new side.
#[must_use]
pub fn validate(
    split: &Claimant,
    targets: &[Known<Target>; 2],
    facts: &[ServiceFacts; 2],
    others: &[Claimant],
) -> Validated {
    let side = |target: &Known<Target>, facts| match target {
        Known::Known(target) => assemble(target, facts),
        Known::Unknown => Known::Unknown,
    };
    let ([legacy, new], [legacy_facts, new_facts]) = (targets, facts);
    let (legacy, new) = (side(legacy, legacy_facts), side(new, new_facts));
    let conflict = conflict(split, others);
    let conflicted = conflict.is_some();
    let said_otherwise = said_otherwise(split, others);
    match (legacy, new) {
        (Known::Known(legacy), Known::Known(new)) => {
            let Resolved { backend: legacy, problem: legacy_problem } = legacy;
            let Resolved { backend: new, problem: new_problem } = new;
            let problem = conflict.or(legacy_problem).or(new_problem);
            Validated { sides: Known::Known(Sides { legacy, new }), problem, conflicted, said_otherwise }
        }
        _ => Validated { sides: Known::Unknown, problem: conflict, conflicted, said_otherwise },
    }
}

impl Validated {
    fn capacities(&self, spec: &TrafficSplitSpec) -> Known<Capacities> {
        let Known::Known(sides) = &self.sides else { return Known::Unknown };
        let safety = spec.safety.as_ref();
        let ready = |side: &router::SideBackend| match side.present() {
            Some(backend) => backend.ready,
            None => Known::Known(0),
        };
        match (ready(&sides.legacy), ready(&sides.new)) {
            (Known::Known(legacy), Known::Known(new)) => Known::Known(Capacities {
                weight_total: spec.weight_total,
                legacy: spec
                    .legacy
                    .as_ref()
                    .map(|_| SideCapacity::new(legacy, safety.and_then(|safety| safety.legacy.as_ref()))),
                new: SideCapacity::new(new, safety.and_then(|safety| safety.new.as_ref())),
            }),
            _ => Known::Unknown,
        }
    }
}

/// What is observed of a split and around it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The split.
    pub split: SplitRef<'a>,
    /// Its status, as last written.
    pub status: &'a TrafficSplitStatus,
    /// What phases say.
    pub claims: &'a [Claim],
    /// Phases that the API server was asked for and that it does not have.
    pub absent: &'a [String],
    /// Per router of the spec, in its order.
    pub routers: &'a [router::Observed<'a>],
    /// The present time.
    pub now: Timestamp,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Who holds the split. While it doubts, nothing else is planned.
    pub ruling: Ruling,
    /// Which weights are wanted.
    pub wanted: Wanted,
    /// Which cookies hold clients at a side, where the spec asks for that.
    pub stickiness: Option<StickinessStatus>,
    /// Per router of the spec, in its order. Empty while an input is unknown.
    pub routers: Vec<RouterPlan>,
    /// An input is unknown: nothing moves.
    pub unknown: bool,
    /// The status is to be written before the routes: a phase's request is on record before it is effective, so that after a crash no
    /// older one can be; and so is the first weight of a split, or a change of `spec.newWeight` before the first status would look
    /// like one that was made while the status was lost. The same holds for what a rule was like before it was attached to, and for the
    /// cookies that count: a crash between the two must not let one from before a fall count after it.
    pub announce: bool,
    /// Entries that the split has added, or adds now, to rules of somebody else's.
    pub added: Vec<AddedEntry>,
}

impl Plan {
    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.routers.iter().all(|router| router.steps.is_empty())
    }
}

/// Decides. The same input gives the same plan; once its steps are carried out and observed, the next plan has none.
#[must_use]
pub fn decide(spec: &TrafficSplitSpec, validated: &Validated, observed: &Observed) -> Plan {
    let Observed { split, status, claims, absent, routers, now } = *observed;
    let ruling = arbitrate(status, claims, absent);
    let carried: Vec<Carried> = spec
        .routers
        .iter()
        .zip(routers)
        .map(|(router, seen)| Carried {
            kind: router.kind(),
            weight: match &validated.sides {
                Known::Known(sides) => router::read_weight(router, split, sides, spec.weight_total, seen),
                Known::Unknown => None,
            },
        })
        .collect();
    let capacities = validated.capacities(spec);
    let scales = Scales {
        spec,
        valid: validated.problem.is_none() && validated.sides.as_ref().ok().is_some(),
        status,
        ruling: &ruling,
        carried: &carried,
        capacities: capacities.as_ref(),
        now,
    };
    let wanted = weigh(&scales);
    let stickiness = stickiness::of(spec, status, &wanted, now);
    let baseline = claims
        .iter()
        .find(|claim| ruling.holder.as_ref().is_some_and(|holder| holder.uid == claim.uid))
        .and_then(|claim| claim.baseline.as_deref());
    let sides = match &validated.sides {
        Known::Known(sides) if ruling.doubt.is_none() && wanted.desired.is_some() => Some(sides),
        _ => None,
    };
    let plans: Vec<RouterPlan> = sides.map_or_else(Vec::new, |sides| {
        let each = spec.routers.iter().zip(routers).zip(&wanted.next).enumerate();
        each.map(|(router_index, ((router, seen), weight))| {
            let kept = if validated.conflicted { as_is::hosts_and_paths(seen) } else { None };
            let (hosts, paths) = kept.as_ref().map_or((&spec.hosts, &spec.paths), |(hosts, paths)| (hosts, paths));
            let intent = Intent {
                split,
                router_index,
                hosts,
                paths,
                pins: &spec.pins,
                stickiness: spec.stickiness.as_ref().zip(stickiness.as_ref()).map(Sticky::of),
                edge: spec.edge.as_ref(),
                mirror: spec.mirror.as_ref(),
                said_otherwise: validated.said_otherwise.as_ref(),
                sides,
                new_weight: *weight,
                weight_total: spec.weight_total,
                exposed: exposed(spec, &wanted, *weight),
                baseline: baseline.or_else(|| kept_baseline(seen)),
            };
            let mut plan = router::plan(router, &intent, seen);
            if validated.conflicted {
                withhold(&mut plan);
            }
            plan
        })
        .collect()
    });
    let unknown = matches!(validated.sides, Known::Unknown);
    let moves = plans.iter().any(|plan| !plan.steps.is_empty());
    let added = recorded(spec, status, &validated.sides, routers);
    let announce = moves
        && (ruling.holder != status.holder
            || status.desired_weight.is_none()
            || stickiness != status.stickiness
            || added != status.added);
    Plan { ruling, wanted, stickiness, routers: plans, unknown, announce, added }
}

/// Without a legacy side, a weight of nothing is no route.
fn exposed(spec: &TrafficSplitSpec, wanted: &Wanted, weight: i32) -> bool {
    wanted.exposure == cutover_api::v1alpha1::traffic_split::Exposure::Exposed && (spec.legacy.is_some() || weight > 0)
}

/// A claim on what another split has makes no new route.
fn withhold(plan: &mut RouterPlan) {
    let makes_a_route = |step: &RouteStep| matches!(step, RouteStep::Apply { kind, resource_version: None, .. } if kind.is_route() && !kind.is_accessory());
    if plan.steps.iter().any(makes_a_route) {
        plan.steps.clear();
        plan.settled = false;
    }
}

/// The baseline outlives the phase: a rollback may still be asked of a completed one.
fn kept_baseline<'a>(seen: &router::Observed<'a>) -> Option<&'a str> {
    match seen {
        router::Observed::IngressNginx(seen) => seen.main.and_then(|main| main.meta.baseline.as_deref()),
        router::Observed::GatewayApi(seen) => seen.route.and_then(|route| route.meta.baseline.as_deref()),
        router::Observed::Traefik(seen) => seen.service.and_then(|service| service.meta.baseline.as_deref()),
        router::Observed::Istio(seen) => seen.service.and_then(|service| service.meta.baseline.as_deref()),
        router::Observed::Alb(seen) => seen.ingress.and_then(|ingress| ingress.meta.baseline.as_deref()),
    }
}
