use cutover_api::v1alpha1::traffic_split::{Exposure, RouterKind, RouterStatus};
use proptest::prelude::*;

use super::{
    super::{
        capacity::{Capacities, SideCapacity},
        holder::{Release, Ruling, arbitrate},
        weight::{Carried, Scales, Wanted, weigh},
    },
    *,
};
use crate::Known;

/// A split on two routers, in a world without a cluster.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) spec: TrafficSplitSpec,
    pub(super) valid: bool,
    pub(super) status: TrafficSplitStatus,
    pub(super) routes: [Option<i32>; 2],
    /// What was last written to each route by us.
    pub(super) written: [Option<i32>; 2],
    pub(super) phases: Vec<Claim>,
    pub(super) cached: Vec<Claim>,
    pub(super) legacy_ready: i32,
    pub(super) new_ready: i32,
    pub(super) known: bool,
    /// Phases that there have been: one that is made again is another.
    born: usize,
}

const OBJECTS: [(RouterKind, &str); 2] =
    [(RouterKind::IngressNginx, "Ingress/storefront"), (RouterKind::GatewayApi, "HTTPRoute/storefront")];
const FULL: i32 = 10;

/// Where the controller is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    Never,
    AfterAnnouncement,
    AfterFirstRoute,
    BeforeStatus,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            spec: spec(),
            valid: true,
            status: TrafficSplitStatus::default(),
            routes: [None, None],
            written: [None, None],
            phases: Vec::new(),
            cached: Vec::new(),
            legacy_ready: FULL,
            new_ready: FULL,
            known: true,
            born: 0,
        }
    }

    fn capacities(&self) -> Capacities {
        let side = |ready| SideCapacity { ready, min_ready: 1, full: FULL };
        Capacities { weight_total: 100, legacy: Some(side(self.legacy_ready)), new: side(self.new_ready) }
    }

    /// Who holds, after everything in doubt was read.
    fn rule(&self) -> Ruling {
        let mut claims = self.cached.clone();
        let mut absent = Vec::new();
        for _ in 0..8 {
            let ruling = arbitrate(&self.status, &claims, &absent);
            let Some(name) = ruling.doubt.clone() else { return ruling };
            claims.retain(|claim| claim.phase != name);
            match self.phases.iter().find(|claim| claim.phase == name) {
                Some(claim) => claims.push(claim.clone()),
                None => absent.push(name),
            }
        }
        panic!("doubt without end")
    }

    pub(super) fn decide(&self) -> (Ruling, Wanted) {
        let ruling = self.rule();
        let carried: Vec<Carried> =
            OBJECTS.iter().zip(self.routes).map(|((kind, _), weight)| Carried { kind: *kind, weight }).collect();
        let capacities = self.capacities();
        let wanted = weigh(&Scales {
            spec: &self.spec,
            valid: self.valid,
            status: &self.status,
            ruling: &ruling,
            carried: &carried,
            capacities: if self.known { Known::Known(&capacities) } else { Known::Unknown },
            now: jiff::Timestamp::UNIX_EPOCH,
        });
        (ruling, wanted)
    }

    /// One reconcile, as the controller does it. `broken` is a router that does not take writes.
    pub(super) fn reconcile(&mut self, crash: Crash, broken: Option<usize>) -> Wanted {
        let (ruling, wanted) = self.decide();
        let Some(desired) = wanted.desired else {
            self.status.holder = ruling.holder;
            self.status.epoch = ruling.epoch;
            return wanted;
        };
        let exposed = wanted.exposure == Exposure::Exposed;
        let targets: Vec<Option<i32>> = wanted.next.iter().map(|weight| exposed.then_some(*weight)).collect();
        let announce = ruling.holder != self.status.holder && targets != self.routes;
        let take = |status: &mut TrafficSplitStatus| {
            status.holder.clone_from(&ruling.holder);
            status.epoch = ruling.epoch;
            status.desired_weight = wanted.desired;
            status.exposure = Some(wanted.exposure);
            status.held_spec_weight = wanted.held_spec_weight;
        };
        if announce {
            take(&mut self.status);
        }
        if crash == Crash::AfterAnnouncement {
            return wanted;
        }
        for (router, target) in targets.iter().enumerate() {
            if broken == Some(router) {
                continue;
            }
            if self.routes[router] != *target {
                self.routes[router] = *target;
            }
            self.written[router] = *target;
            if crash == Crash::AfterFirstRoute {
                return wanted;
            }
        }
        if crash == Crash::BeforeStatus {
            return wanted;
        }
        take(&mut self.status);
        let agreed = wanted.next.iter().all(|weight| *weight == wanted.next[0]);
        if agreed && targets == self.routes {
            self.status.applied_weight = Some(if exposed { wanted.next[0] } else { desired });
        }
        self.status.routers = OBJECTS
            .iter()
            .zip(self.routes)
            .map(|((kind, object), observed_weight)| RouterStatus {
                kind: *kind,
                object: (*object).into(),
                observed_weight,
                accepted: None,
                message: None,
            })
            .collect();
        wanted
    }

    pub(super) fn settle(&mut self) -> Wanted {
        self.reconcile(Crash::Never, None)
    }

    pub(super) fn ask(&mut self, phase: &str, new_weight: Option<i32>) {
        let known = self.phases.iter().position(|claim| claim.phase == phase).map(|at| self.phases.remove(at));
        let (uid, revision) = known.map_or_else(
            || {
                self.born += 1;
                (format!("uid-{}-of-{phase}", self.born), 1)
            },
            |known| (known.uid, known.revision + 1),
        );
        self.phases.push(Claim { uid, ..claim(phase, revision, new_weight) });
        self.refresh();
    }

    fn let_go(&mut self, phase: &str) {
        for claim in self.phases.iter_mut().filter(|claim| claim.phase == phase && claim.request.is_some()) {
            claim.revision += 1;
            claim.request = None;
        }
        self.refresh();
    }

    pub(super) fn delete(&mut self, phase: &str) {
        self.phases.retain(|claim| claim.phase != phase);
        self.refresh();
    }

    fn refresh(&mut self) {
        self.cached = self.phases.iter().map(|claim| Claim { confirmed: false, ..claim.clone() }).collect();
    }

    fn enough_for(&self, weight: i32) -> bool {
        self.new_ready >= (FULL * weight + 99) / 100 && (weight == 0 || self.new_ready >= 1)
    }
}

#[test]
fn spec_weight_counts_when_first_seen_and_when_its_value_changes() {
    let mut world = World::new();
    world.spec.new_weight = 5;
    world.settle();
    assert_eq!((world.routes, world.status.applied_weight), ([Some(5); 2], Some(5)));
    world.spec.new_weight = 20;
    world.settle();
    assert_eq!(world.routes, [Some(20); 2]);
}

#[test]
fn a_spec_weight_changed_while_a_phase_holds_never_jumps() {
    let mut world = World::new();
    world.settle();
    world.ask("a", Some(50));
    world.settle();
    world.spec.new_weight = 30;
    world.settle();
    assert_eq!((world.routes, world.status.held_spec_weight), ([Some(50); 2], Some(30)));
    world.let_go("a");
    world.settle();
    world.settle();
    assert_eq!(world.routes, [Some(50); 2], "the phase let go and the weight stayed");
    world.spec.new_weight = 60;
    world.settle();
    assert_eq!(world.routes, [Some(60); 2], "a change of the value counts again");
}

#[test]
fn a_spec_weight_seen_together_with_the_letting_go_does_not_jump() {
    let mut world = World::new();
    world.settle();
    world.ask("a", Some(50));
    world.settle();
    world.spec.new_weight = 30;
    world.let_go("a");
    world.settle();
    world.settle();
    assert_eq!(world.routes, [Some(50); 2]);
}

#[test]
fn without_a_status_the_routes_are_the_truth() {
    let mut world = World::new();
    world.spec.new_weight = 5;
    world.settle();
    world.ask("a", Some(50));
    world.settle();
    world.let_go("a");
    world.settle();
    world.status = TrafficSplitStatus::default();
    world.settle();
    assert_eq!((world.routes, world.status.desired_weight), ([Some(50); 2], Some(50)));
    assert_eq!(world.status.held_spec_weight, Some(5));
}

#[test]
fn routes_that_disagree_without_a_status_meet_at_the_lower_weight() {
    let mut world = World::new();
    world.routes = [Some(40), Some(20)];
    world.settle();
    assert_eq!(world.routes, [Some(20); 2]);
}

#[test]
fn drift_is_repaired_whatever_the_capacity() {
    let mut world = World::new();
    world.spec.new_weight = 40;
    world.settle();
    world.routes[1] = Some(90);
    (world.legacy_ready, world.new_ready) = (0, 0);
    world.settle();
    assert_eq!(world.routes, [Some(40); 2]);
    world.routes[0] = None;
    world.settle();
    assert_eq!(world.routes, [Some(40); 2], "a route removed by hand comes back at its weight");
}

#[test]
fn the_way_back_goes_as_far_as_it_can_and_on_as_endpoints_appear() {
    let mut world = World::new();
    world.ask("a", Some(100));
    world.settle();
    world.legacy_ready = 3;
    world.ask("a", Some(0));
    let wanted = world.settle();
    assert_eq!((world.routes, world.status.applied_weight), ([Some(70); 2], Some(70)));
    assert_eq!(wanted.missing.map(|missing| (missing.ready, missing.needed)), Some((3, 10)));
    world.legacy_ready = 2;
    world.settle();
    assert_eq!(world.routes, [Some(70); 2], "it never turns round");
    world.legacy_ready = FULL;
    world.settle();
    assert_eq!((world.routes, world.status.applied_weight), ([Some(0); 2], Some(0)));
}

#[test]
fn a_way_back_whose_phase_is_deleted_is_finished() {
    let mut world = World::new();
    world.ask("a", Some(100));
    world.settle();
    world.legacy_ready = 3;
    world.ask("a", Some(0));
    world.settle();
    world.delete("a");
    world.settle();
    assert_eq!((world.routes, &world.status.holder, world.status.desired_weight), ([Some(70); 2], &None, Some(0)));
    world.legacy_ready = FULL;
    world.settle();
    assert_eq!(world.routes, [Some(0); 2]);
}

#[test]
fn a_way_forward_whose_phase_is_gone_stops_where_it_is() {
    for let_go in [true, false] {
        let mut world = World::new();
        world.settle();
        world.new_ready = 2;
        world.ask("a", Some(50));
        world.settle();
        assert_eq!((world.routes, world.status.desired_weight), ([Some(0); 2], Some(50)));
        if let_go {
            world.let_go("a");
        } else {
            world.delete("a");
        }
        world.settle();
        world.new_ready = FULL;
        world.settle();
        assert_eq!((world.routes, world.status.desired_weight), ([Some(0); 2], Some(0)));
    }
}

#[test]
fn a_phase_that_only_holds_stops_what_is_under_way() {
    let mut world = World::new();
    world.settle();
    world.new_ready = 2;
    world.ask("a", Some(50));
    world.settle();
    world.ask("a", None);
    world.new_ready = FULL;
    world.settle();
    assert_eq!((world.routes, world.status.desired_weight), ([Some(0); 2], Some(0)));
    world.ask("a", Some(100));
    world.settle();
    world.legacy_ready = 3;
    world.ask("a", Some(0));
    world.settle();
    world.ask("a", None);
    world.legacy_ready = FULL;
    world.settle();
    assert_eq!((world.routes, world.status.desired_weight), ([Some(70); 2], Some(70)));
}

#[test]
fn a_router_that_fails_does_not_stop_the_other() {
    let mut world = World::new();
    world.settle();
    world.spec.new_weight = 50;
    world.reconcile(Crash::Never, Some(0));
    assert_eq!((world.routes, world.status.applied_weight), ([Some(0), Some(50)], Some(0)));
    world.new_ready = 0;
    world.settle();
    assert_eq!(world.routes, [Some(0), Some(50)], "neither goes on nor back for want of capacity");
    world.new_ready = FULL;
    world.settle();
    assert_eq!((world.routes, world.status.applied_weight), ([Some(50); 2], Some(50)));
}

#[test]
fn a_hidden_split_has_no_route_until_a_phase_exposes_it_and_then_stays() {
    let mut world = World::new();
    world.spec.exposure = Exposure::Hidden;
    world.settle();
    assert_eq!((world.routes, world.status.applied_weight), ([None; 2], Some(0)));
    world.ask("a", Some(100));
    world.phases[0].request.as_mut().unwrap().exposure = Some(Exposure::Exposed);
    world.refresh();
    world.new_ready = 3;
    world.settle();
    assert_eq!(world.routes, [Some(0); 2], "exposed, but not beyond its capacity");
    world.new_ready = FULL;
    world.settle();
    world.let_go("a");
    world.settle();
    assert_eq!((world.routes, world.status.exposure), ([Some(100); 2], Some(Exposure::Exposed)));
}

#[test]
fn what_was_hidden_begins_at_nothing() {
    let mut world = World::new();
    (world.spec.exposure, world.spec.new_weight) = (Exposure::Hidden, 50);
    world.settle();
    assert_eq!((world.routes, world.status.desired_weight), ([None; 2], Some(50)));
    (world.spec.exposure, world.new_ready) = (Exposure::Exposed, 0);
    world.settle();
    assert_eq!(world.routes, [Some(0); 2], "nobody is there to take half of it");
    world.new_ready = FULL;
    world.settle();
    assert_eq!(world.routes, [Some(50); 2]);
}

#[test]
fn a_weight_that_is_no_share_is_refused_and_moves_nothing() {
    let mut world = World::new();
    world.settle();
    world.ask("a", Some(500));
    let wanted = world.settle();
    assert_eq!(world.routes, [Some(0); 2]);
    assert_eq!(
        wanted.refused.unwrap().message,
        "MigrationPhase a asks for newWeight 500 of 100: that is not a share of weightTotal; change its steps"
    );
}

#[test]
fn an_invalid_spec_brings_nothing_new_but_follows_its_phase() {
    let mut world = World::new();
    world.spec.new_weight = 5;
    world.settle();
    world.valid = false;
    world.spec.new_weight = 80;
    world.settle();
    assert_eq!(world.routes, [Some(5); 2]);
    world.ask("a", Some(25));
    world.settle();
    assert_eq!(world.routes, [Some(25); 2]);
    let mut fresh = World { valid: false, ..World::new() };
    fresh.settle();
    assert_eq!((fresh.routes, fresh.status.desired_weight), ([None; 2], None));
}

#[derive(Clone, Debug)]
enum Event {
    SpecWeight(i32),
    Valid(bool),
    Known(bool),
    Ready(i32, i32),
    Ask(usize, Option<i32>),
    LetGo(usize),
    Delete(usize),
    /// The cache shows phases as they were some events ago.
    OldCache(usize),
    Drift(usize, Option<i32>),
    LoseStatus,
    Crash(Crash),
    Broken(usize),
}

fn weights() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(5), Just(25), Just(50), Just(100), 0..=100]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => weights().prop_map(Event::SpecWeight),
        1 => any::<bool>().prop_map(Event::Valid),
        1 => any::<bool>().prop_map(Event::Known),
        3 => (0..=FULL, 0..=FULL).prop_map(|(legacy, new)| Event::Ready(legacy, new)),
        4 => (0..3_usize, proptest::option::of(weights())).prop_map(|(phase, weight)| Event::Ask(phase, weight)),
        1 => (0..3_usize).prop_map(Event::LetGo),
        1 => (0..3_usize).prop_map(Event::Delete),
        2 => (0..6_usize).prop_map(Event::OldCache),
        1 => (0..2_usize, proptest::option::of(weights())).prop_map(|(router, weight)| Event::Drift(router, weight)),
        1 => Just(Event::LoseStatus),
        2 => prop_oneof![Just(Crash::AfterAnnouncement), Just(Crash::AfterFirstRoute), Just(Crash::BeforeStatus)]
            .prop_map(Event::Crash),
        1 => (0..2_usize).prop_map(Event::Broken),
    ]
}

const PHASES: [&str; 3] = ["a", "b", "c"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn weights_hold_whatever_happens(events in proptest::collection::vec(events(), 1..40)) {
        let mut world = World::new();
        let mut pasts = vec![world.phases.clone()];
        for event in events {
            let (mut crash, mut broken) = (Crash::Never, None);
            world.refresh();
            match event {
                Event::SpecWeight(weight) => world.spec.new_weight = weight,
                Event::Valid(valid) => world.valid = valid,
                Event::Known(known) => world.known = known,
                Event::Ready(legacy, new) => (world.legacy_ready, world.new_ready) = (legacy, new),
                Event::Ask(phase, weight) => world.ask(PHASES[phase], weight),
                Event::LetGo(phase) => world.let_go(PHASES[phase]),
                Event::Delete(phase) => world.delete(PHASES[phase]),
                Event::OldCache(age) => {
                    let past = &pasts[pasts.len().saturating_sub(age + 1)];
                    world.cached = past.iter().map(|claim| Claim { confirmed: false, ..claim.clone() }).collect();
                }
                Event::Drift(router, weight) => world.routes[router] = weight,
                Event::LoseStatus => {
                    world.status = TrafficSplitStatus::default();
                    world.written = world.routes;
                }
                Event::Crash(at) => crash = at,
                Event::Broken(router) => broken = Some(router),
            }
            pasts.push(world.phases.clone());
            let before = world.clone();
            let wanted = world.reconcile(crash, broken);
            check(&before, &world, &wanted)?;
            if crash == Crash::Never && broken.is_none() {
                let settled = world.clone();
                let again = world.settle();
                prop_assert_eq!(&world.status, &settled.status, "a second look changes nothing");
                prop_assert_eq!(world.routes, settled.routes);
                prop_assert_eq!(again.desired, wanted.desired);
            }
        }
    }
}

fn check(before: &World, after: &World, wanted: &Wanted) -> Result<(), TestCaseError> {
    for router in 0..2 {
        let Some(weight) = after.routes[router] else { continue };
        prop_assert!((0..=100).contains(&weight));
        if after.written[router] != Some(weight) || before.status.desired_weight.is_none() {
            continue;
        }
        let in_force = [before.written[router], before.status.applied_weight].into_iter().flatten();
        let highest = in_force.clone().max().unwrap_or(0);
        let lowest = in_force.min().unwrap_or(0);
        if weight > highest {
            prop_assert!(before.known, "nothing moves on what is unknown");
            prop_assert!(before.enough_for(weight), "{} of 100 with {} ready", weight, before.new_ready);
        }
        if weight < lowest {
            prop_assert!(before.known, "nothing moves on what is unknown");
            let dead = before.new_ready == 0 && before.legacy_ready > 0;
            prop_assert!(
                dead || before.legacy_ready * 10 >= 100 - weight,
                "{} with {} ready",
                weight,
                before.legacy_ready
            );
        }
    }
    if let (Some(was), Some(is)) = (&before.status.holder, &after.status.holder) {
        if was.epoch == is.epoch {
            prop_assert_eq!(&was.uid, &is.uid, "one grant, one holder");
            prop_assert!(was.request_revision <= is.request_revision, "an older request became effective");
        } else {
            prop_assert!(was.epoch < is.epoch);
        }
    }
    // What moves the wanted weight: the holder, the spec's value, or the end of a hold.
    let undisturbed = before.status.desired_weight.is_some()
        && before.status.holder == after.status.holder
        && (after.status.holder.is_some()
            || before.status.held_spec_weight == Some(before.spec.new_weight)
            || !before.valid);
    if undisturbed {
        prop_assert_eq!(wanted.desired, before.status.desired_weight);
    }
    Ok(())
}

#[test]
fn the_end_of_a_hold_is_told() {
    let mut world = World::new();
    world.ask("a", Some(10));
    world.settle();
    world.let_go("a");
    assert_eq!(world.decide().0.released, Some(Release::LetGo));
}
