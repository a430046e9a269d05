//! The whole decision with real routers, over objects as an API server would keep them.

use cutover_api::v1alpha1::traffic_split::{Exposure, LegacyRetired, RouteKind, Side, TrafficSplitStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::json;

use super::{super::*, *};
use crate::{
    Known,
    conditions::Health,
    router::{
        self, AliasReady, GatewayObserved, IngressObserved, ObjectKind, Problem, SplitRef, Unseen, alias_name,
        sticky_name,
        tests::bed::{World, accept_all, backend},
        view::{EndpointSliceView, GatewayView, IngressView, RouteView, ServiceView},
    },
};

const NAME: &str = "storefront";

/// A split, its status, and the objects of its routers.
pub(super) struct Cluster {
    pub(super) spec: TrafficSplitSpec,
    pub(super) status: TrafficSplitStatus,
    world: World,
    pub(super) claims: Vec<Claim>,
    pub(super) ready: [i32; 2],
    problem: Option<Problem>,
    conflicted: bool,
    pub(super) known: bool,
    retirement: Option<Retirement>,
    pub(super) second: i64,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            spec: spec(),
            status: TrafficSplitStatus::default(),
            world: World::default(),
            claims: Vec::new(),
            ready: [3, 3],
            problem: None,
            conflicted: false,
            known: true,
            retirement: None,
            second: 1_000,
        }
    }

    fn validated(&self) -> Validated {
        let side = |name: &str, ready| {
            let mut side = backend(name);
            side.ready = Known::Known(ready);
            router::SideBackend::Present(side)
        };
        let [legacy, new] = self.ready;
        let sides = router::Sides { legacy: side("monolith", legacy), new: side("storefront", new) };
        Validated {
            sides: if self.known { Known::Known(sides) } else { Known::Unknown },
            problem: self.problem.clone(),
            conflicted: self.conflicted,
            said_otherwise: None,
        }
    }

    pub(super) fn decide(&self) -> Plan {
        let ingresses: Vec<IngressView> = self.world.all(ObjectKind::Ingress);
        let routes: Vec<RouteView> = self.world.all(ObjectKind::HttpRoute);
        let aliases: Vec<ServiceView> = self.world.all(ObjectKind::Service);
        let slices: Vec<EndpointSliceView> = self.world.all(ObjectKind::EndpointSlice);
        let gateway: GatewayView = serde_json::from_value(json!({
            "metadata": {"name": "edge", "namespace": "shop", "generation": 3},
            "spec": {"gatewayClassName": "example"},
            "status": {"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 3}]},
        }))
        .unwrap();
        let named = |name: &str| ingresses.iter().find(|view| &*view.meta.name == name);
        let ready = |side| named_service(&aliases, &alias_name(NAME, side)).then_some(true);
        let dealing = |side| named_service(&aliases, &sticky_name(NAME, side)).then_some(true);
        let is_sticky = |it: &&ServiceView| it.meta.name.starts_with(&format!("{NAME}-sticky-"));
        let sticky_refs: Vec<_> = aliases.iter().filter(is_sticky).collect();
        let (all, service_refs, slice_refs) = (
            ingresses.iter().collect::<Vec<_>>(),
            aliases.iter().filter(|it| !is_sticky(it)).collect::<Vec<_>>(),
            slices.iter().collect::<Vec<_>>(),
        );
        let gateways = [&gateway];
        let observations = [
            router::Observed::IngressNginx(IngressObserved {
                main: named(NAME),
                canary: named(&router::canary_name(NAME)),
                attached: None,
                others: &all,
                aliases: &service_refs,
                alias_slices: &slice_refs,
                alias_ready: AliasReady { legacy: ready(Side::Legacy), new: ready(Side::New) },
                config_maps: &[],
                unseen: Unseen::default(),
                backed_off: false,
            }),
            router::Observed::GatewayApi(GatewayObserved {
                kind: RouteKind::Http,
                installed: Known::Known(true),
                forbidden: false,
                route: routes.first(),
                redirect: None,
                gateways: &gateways,
                classes: &[],
                gateways_readable: false,
                aliases: &sticky_refs,
                alias_slices: &[],
                alias_ready: AliasReady { legacy: dealing(Side::Legacy), new: dealing(Side::New) },
                backed_off: false,
            }),
        ];
        let split = SplitRef { namespace: "shop", name: NAME, uid: "s1" };
        let observed = Observed {
            split,
            status: &self.status,
            claims: &self.claims,
            absent: &[],
            routers: &observations,
            now: self.now(),
        };
        decide(&self.spec, &self.validated(), &observed)
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.second).unwrap()
    }

    fn take(&mut self, plan: &Plan) -> Vec<crate::Note> {
        self.second += 1;
        let validated = self.validated();
        let outcome = Outcome {
            retirement: self.retirement.as_ref(),
            spec: &self.spec,
            generation: Some(1),
            previous: &self.status,
            validated: &validated,
            plan,
            failures: &[],
            probed: &Default::default(),
            overlap: None,
            verified: None,
        };
        let next = status(&outcome, Timestamp::from_second(self.second).unwrap());
        let told = notes(&self.status, &next, plan);
        self.status = next;
        told
    }

    /// As the controller does it; gives what was told.
    pub(super) fn reconcile(&mut self) -> Vec<crate::Note> {
        let mut told = Vec::new();
        for _ in 0..12 {
            let plan = self.decide();
            if plan.is_settled() {
                told.extend(self.take(&plan));
                return told;
            }
            if plan.announce {
                told.extend(self.take(&plan));
            }
            for step in plan.routers.iter().flat_map(|router| &router.steps) {
                self.world.send(step);
            }
            accept_all(&mut self.world);
        }
        panic!("no end: {:?}", self.world.writes);
    }

    pub(super) fn condition(&self, type_: &str) -> Option<(&str, &str)> {
        let condition = self.status.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((condition.status.as_str(), condition.reason.as_str()))
    }

    pub(super) fn carried(&self) -> Vec<Option<i32>> {
        self.status.routers.iter().map(|router| router.observed_weight).collect()
    }

    fn hosts(&self) -> serde_json::Value {
        self.world.get(ObjectKind::HttpRoute, NAME).unwrap()["spec"]["hostnames"].clone()
    }
}

fn named_service(services: &[ServiceView], name: &str) -> bool {
    services.iter().any(|service| &*service.meta.name == name)
}

fn problem() -> Problem {
    Problem { reason: "ReferenceNotFound", message: "spec.new: nowhere".into(), health: Health::Stalled }
}

#[test]
fn legacy_is_retired_when_users_have_let_go_of_it_and_not_before() {
    let mut cluster = Cluster::new();
    cluster.spec.new_weight = 100;
    cluster.reconcile();
    let record = LegacyRetired { phase: "shift".into(), at: Time(Timestamp::UNIX_EPOCH) };
    cluster.retirement = Some(Retirement::Agreed(record.clone()));
    let told = |cluster: &Cluster| cluster.status.legacy_retiring.as_ref().map(|it| it.message.clone());
    let mut plan = cluster.decide();
    plan.routers[0].awaits_edit = Some("edit Ingress shop".into());
    cluster.take(&plan);
    assert_eq!((told(&cluster), &cluster.status.legacy_retired), (Some("edit Ingress shop".into()), &None));
    assert_eq!(cluster.condition("Ready"), Some(("True", "LegacyInUse")));
    let message = &cluster.status.conditions.iter().find(|it| it.type_ == "Ready").unwrap().message;
    assert_eq!(message, "legacy is to be retired: edit Ingress shop");
    // They have, and the canary is still on its way out.
    plan.routers[0].awaits_edit = None;
    plan.routers[0].settled = false;
    cluster.take(&plan);
    assert!(told(&cluster).unwrap().contains("not all seen") && cluster.status.legacy_retired.is_none());
    let plan = cluster.decide();
    cluster.take(&plan);
    assert_eq!((told(&cluster), &cluster.status.legacy_retired), (None, &Some(record)));
}

#[test]
fn both_routers_carry_the_weight_and_then_there_is_nothing_left_to_do() {
    let mut cluster = Cluster::new();
    for weight in [0, 20, 100, 60, 0] {
        cluster.spec.new_weight = weight;
        let told = cluster.reconcile();
        assert_eq!(cluster.carried(), [Some(weight); 2]);
        assert_eq!(
            (cluster.status.applied_weight, cluster.condition("Ready")),
            (Some(weight), Some(("True", "AsDeclared")))
        );
        assert_eq!(told.iter().filter(|note| note.reason == "Shifted").count(), 1, "{told:?}");
        let (writes, before) = (cluster.world.writes.len(), cluster.status.clone());
        assert_eq!(cluster.reconcile(), []);
        assert_eq!((cluster.world.writes.len(), &cluster.status), (writes, &before), "a second look writes nothing");
    }
}

#[test]
fn which_cookies_count_is_on_record_before_a_route_goes_by_it() {
    let mut cluster = Cluster::new();
    cluster.spec.stickiness = serde_json::from_value(json!({"cookie": {"name": "side", "maxAge": "1h"}})).unwrap();
    cluster.spec.new_weight = 60;
    cluster.reconcile();
    let before = cluster.status.stickiness.clone().unwrap();
    assert_eq!(before.dealt, [60]);
    let bears = |cluster: &Cluster, epoch: i64| {
        let main = cluster.world.get(ObjectKind::Ingress, NAME).unwrap();
        main.to_string().contains(&format!("\"side-{epoch}\""))
    };
    assert!(bears(&cluster, before.epoch));

    cluster.spec.new_weight = 30;
    let plan = cluster.decide();
    assert!(plan.announce && !plan.is_settled());
    let after = plan.stickiness.clone().unwrap();
    assert!(after.epoch > before.epoch && after.dealt == [30], "{after:?}");
    // The process dies between the two.
    cluster.take(&plan);
    assert_eq!((&cluster.status.stickiness, cluster.decide().stickiness), (&Some(after.clone()), Some(after.clone())));
    cluster.reconcile();
    assert!(bears(&cluster, after.epoch) && !bears(&cluster, before.epoch));
    let told = cluster.status.clone();
    assert_eq!((cluster.reconcile(), &cluster.status), (vec![], &told));

    // Neither a lost status nor a field that comes and goes brings a name back.
    cluster.status = TrafficSplitStatus::default();
    cluster.reconcile();
    let found = cluster.status.stickiness.clone().unwrap();
    assert!(found.epoch > after.epoch && found.dealt == [30], "{found:?}");
    let field = cluster.spec.stickiness.take();
    cluster.reconcile();
    assert!(cluster.status.stickiness.is_none() && !bears(&cluster, found.epoch));
    cluster.spec.stickiness = field;
    cluster.reconcile();
    assert!(cluster.status.stickiness.as_ref().is_some_and(|it| it.epoch > found.epoch && bears(&cluster, it.epoch)));
}

#[test]
fn a_hold_is_shown_and_told_and_its_end_too() {
    let mut cluster = Cluster::new();
    cluster.reconcile();
    cluster.claims = vec![claim("30-shift", 1, Some(25))];
    let told = cluster.reconcile();
    assert!(told.iter().any(|note| note.reason == "Granted"), "{told:?}");
    assert_eq!(cluster.condition("Ready"), Some(("True", "WeightHeld")));
    assert_eq!(cluster.condition("SpecDiverged"), Some(("True", "SpecDiverged")));
    cluster.claims[0].request = None;
    cluster.claims[0].revision = 2;
    let told = cluster.reconcile();
    assert!(told.iter().any(|note| note.message == "MigrationPhase 30-shift let go: the weight is held"), "{told:?}");
    assert_eq!((cluster.status.applied_weight, &cluster.status.holder), (Some(25), &None));
    cluster.spec.new_weight = 25;
    cluster.reconcile();
    assert_eq!((cluster.condition("SpecDiverged"), cluster.condition("Ready")), (None, Some(("True", "AsDeclared"))));
}

#[test]
fn a_request_is_announced_before_the_first_step() {
    let mut cluster = Cluster::new();
    cluster.reconcile();
    cluster.claims = vec![claim("30-shift", 1, None)];
    assert!(!cluster.decide().announce, "a hold moves nothing, so the one status write is the grant");
    cluster.reconcile();
    cluster.claims = vec![claim("30-shift", 2, Some(25))];
    let plan = cluster.decide();
    assert!(plan.announce && !plan.is_settled());
    cluster.take(&plan);
    assert_eq!((cluster.status.desired_weight, cluster.status.applied_weight), (Some(25), Some(0)));
    assert_eq!(cluster.condition("Reconciling"), Some(("True", "Shifting")));
    assert!(!cluster.decide().announce, "once on record it is not announced again");
}

#[test]
fn a_weight_that_changes_before_the_first_one_is_settled_is_followed() {
    let mut cluster = Cluster::new();
    let plan = cluster.decide();
    assert!(plan.announce && !plan.is_settled());
    cluster.take(&plan);
    for step in plan.routers.iter().flat_map(|router| &router.steps) {
        cluster.world.send(step);
    }
    cluster.spec.new_weight = 1;
    cluster.reconcile();
    assert_eq!((cluster.status.applied_weight, cluster.condition("SpecDiverged")), (Some(1), None));
}

#[test]
fn a_doubt_stops_everything() {
    let mut cluster = Cluster::new();
    cluster.reconcile();
    cluster.spec.new_weight = 50;
    cluster.claims = vec![Claim { confirmed: false, ..claim("30-shift", 1, Some(25)) }];
    let plan = cluster.decide();
    assert_eq!((plan.ruling.doubt.as_deref(), plan.routers.len()), (Some("30-shift"), 0));
}

#[test]
fn with_something_missing_the_weights_in_force_go_on_being_moved_by_a_phase() {
    let mut cluster = Cluster::new();
    cluster.reconcile();
    (cluster.problem, cluster.spec.new_weight) = (Some(problem()), 70);
    cluster.reconcile();
    assert_eq!(
        (cluster.carried(), cluster.condition("Stalled")),
        (vec![Some(0); 2], Some(("True", "ReferenceNotFound")))
    );
    cluster.claims = vec![claim("30-shift", 1, Some(25))];
    cluster.reconcile();
    assert_eq!(cluster.carried(), [Some(25); 2]);
    assert_eq!(cluster.condition("Stalled"), Some(("True", "ReferenceNotFound")), "it still says what is wrong");
}

#[test]
fn a_claim_on_what_another_has_makes_no_route_and_changes_no_host() {
    let mut fresh = Cluster { problem: Some(problem()), conflicted: true, ..Cluster::new() };
    fresh.reconcile();
    assert_eq!((fresh.world.writes.len(), fresh.status.desired_weight), (0, None));

    let mut cluster = Cluster::new();
    cluster.reconcile();
    (cluster.problem, cluster.conflicted) = (Some(problem()), true);
    cluster.spec.hosts = vec!["taken.example.com".into()];
    cluster.claims = vec![claim("30-shift", 1, Some(25))];
    cluster.reconcile();
    assert_eq!((cluster.carried(), cluster.hosts()), (vec![Some(25); 2], json!(["shop.example.com"])));
    (cluster.problem, cluster.conflicted) = (None, false);
    cluster.reconcile();
    assert_eq!((cluster.carried(), cluster.hosts()), (vec![Some(25); 2], json!(["taken.example.com"])));
}

#[test]
fn on_an_unknown_input_nothing_is_planned() {
    let mut cluster = Cluster::new();
    cluster.reconcile();
    (cluster.known, cluster.spec.new_weight) = (false, 50);
    let before = cluster.world.writes.len();
    cluster.reconcile();
    assert_eq!(cluster.world.writes.len(), before);
    assert_eq!(cluster.condition("Reconciling"), Some(("True", "UnknownInput")));
    assert_eq!(cluster.carried(), [Some(0); 2], "what was known stays shown");
    cluster.known = true;
    cluster.reconcile();
    assert_eq!(cluster.carried(), [Some(50); 2]);
}

#[test]
fn a_lost_status_is_read_from_the_routes() {
    let mut cluster = Cluster::new();
    cluster.spec.new_weight = 5;
    cluster.reconcile();
    cluster.claims = vec![claim("30-shift", 1, Some(100))];
    cluster.reconcile();
    cluster.claims.clear();
    cluster.status = TrafficSplitStatus::default();
    let before = cluster.world.writes.len();
    cluster.reconcile();
    assert_eq!((cluster.status.applied_weight, cluster.world.writes.len()), (Some(100), before));
    assert_eq!(cluster.status.held_spec_weight, Some(5));
}

#[test]
fn what_is_lacking_is_said_with_numbers_once() {
    let mut cluster = Cluster::new();
    cluster.reconcile();
    (cluster.ready[1], cluster.spec.new_weight) = (0, 50);
    let told = cluster.reconcile();
    let lacking: Vec<_> = told.iter().filter(|note| note.reason == "InsufficientCapacity").collect();
    assert_eq!(lacking.len(), 1, "{told:?}");
    assert_eq!(cluster.condition("Ready"), Some(("False", "InsufficientCapacity")));
    assert_eq!(cluster.reconcile(), []);
}

#[test]
fn a_hidden_split_rests_without_a_route() {
    let mut cluster = Cluster::new();
    cluster.spec.exposure = Exposure::Hidden;
    cluster.reconcile();
    assert_eq!((cluster.carried(), cluster.condition("Ready")), (vec![None; 2], Some(("True", "Hidden"))));
    assert_eq!(cluster.status.applied_weight, Some(0));
    cluster.spec.exposure = Exposure::Exposed;
    cluster.reconcile();
    assert_eq!((cluster.carried(), cluster.condition("Ready")), (vec![Some(0); 2], Some(("True", "AsDeclared"))));
}

#[derive(Clone, Debug)]
enum Event {
    SpecWeight(i32),
    Ask(Option<i32>),
    LetGo,
    Ready(i32, i32),
    Broken(bool),
    Unknown(bool),
    LoseStatus,
    DropRoute,
    DropCanary,
}

fn events() -> impl Strategy<Value = Event> {
    let weight = || prop_oneof![Just(0), Just(25), Just(100), 0..=100];
    prop_oneof![
        3 => weight().prop_map(Event::SpecWeight),
        3 => proptest::option::of(weight()).prop_map(Event::Ask),
        1 => Just(Event::LetGo),
        2 => (0..4, 0..4).prop_map(|(legacy, new)| Event::Ready(legacy, new)),
        1 => any::<bool>().prop_map(Event::Broken),
        1 => any::<bool>().prop_map(Event::Unknown),
        1 => Just(Event::LoseStatus),
        1 => Just(Event::DropRoute),
        1 => Just(Event::DropCanary),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn carried_out_and_looked_at_again_there_is_nothing_to_do(events in proptest::collection::vec(events(), 1..12)) {
        let mut cluster = Cluster::new();
        let mut revision = 0;
        for event in events {
            let before = (cluster.status.applied_weight, cluster.status.desired_weight);
            let mut quiet = false;
            match event {
                Event::SpecWeight(weight) => cluster.spec.new_weight = weight,
                Event::Ask(weight) => {
                    revision += 1;
                    cluster.claims = vec![claim("a", revision, weight)];
                }
                Event::LetGo => {
                    revision += 1;
                    cluster.claims = vec![Claim { request: None, ..claim("a", revision, None) }];
                }
                Event::Ready(legacy, new) => cluster.ready = [legacy, new],
                Event::Broken(broken) => (cluster.problem, quiet) = (broken.then(problem), broken),
                Event::Unknown(unknown) => (cluster.known, quiet) = (!unknown, unknown),
                Event::LoseStatus => (cluster.status, quiet) = (TrafficSplitStatus::default(), false),
                Event::DropRoute => cluster.world.drop(ObjectKind::HttpRoute, NAME),
                Event::DropCanary => cluster.world.drop(ObjectKind::Ingress, &router::canary_name(NAME)),
            }
            cluster.reconcile();
            if quiet && before.0 == before.1 {
                prop_assert_eq!((cluster.status.applied_weight, cluster.status.desired_weight), before);
            }
            let (writes, status) = (cluster.world.writes.len(), cluster.status.clone());
            let told = cluster.reconcile();
            prop_assert_eq!(told, vec![]);
            prop_assert_eq!(cluster.world.writes.len(), writes);
            prop_assert_eq!(&cluster.status, &status);
        }
    }
}
