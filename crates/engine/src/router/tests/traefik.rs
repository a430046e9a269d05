//! The objects of Traefik's own kinds: what is built, how rules rank, and TraefikServices that are attached to.

use std::collections::BTreeSet;

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Side, TraefikTls};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World, cookie, header, prefix, users_service},
    proxies::{self, Request, Served},
};
use crate::{
    Known,
    router::{ObjectKind, RouteStep, SideBackend, view::WholeView},
};

fn exact(value: &str) -> PathMatch {
    PathMatch::new(PathType::Exact, value)
}

fn objects(split: &Split) -> Vec<Value> {
    let applied = |step| match step {
        RouteStep::Apply { object, resource_version: None, .. } => object,
        other => panic!("{other:?}"),
    };
    split.plan(&World::default()).steps.into_iter().map(applied).collect()
}

#[test]
fn what_is_made_with_pins_two_paths_and_tls() {
    let split = Split::traefik().with(|it| {
        it.paths = vec![prefix("/shop/"), exact("/health")];
        it.pins = vec![header(Side::New, "x-cutover", "new"), cookie(Side::Legacy, "cutover", "old.1")];
        it.baseline = Some("5".into());
        let router = it.router.traefik.as_mut().unwrap();
        router.entry_points = Some(vec!["websecure".into()]);
        router.tls = Some(TraefikTls { secret_name: Some("shop".into()), cert_resolver: None });
        it.backend_mut(Side::New).app_protocol = Some("kubernetes.io/h2c".into());
    });
    insta::assert_yaml_snapshot!(objects(&split));
}

#[test]
fn a_way_in_of_the_new_side_alone() {
    let split = Split::traefik().at(100).with(|it| {
        it.sides.legacy = SideBackend::Absent;
        it.hosts = vec!["*.example.com".into()];
        it.router.traefik.as_mut().unwrap().tls = Some(TraefikTls::default());
    });
    insta::assert_yaml_snapshot!(objects(&split));
}

/// Without a share a side is no member, so that its end is nobody else's.
#[rstest]
#[case(0, Side::New)]
#[case(100, Side::Legacy)]
fn a_side_without_a_share_takes_nobody_down(#[case] weight: i32, #[case] idle: Side) {
    let mut world = World::default();
    let mut split = Split::traefik().at(weight);
    split.settle(&mut world);
    world.writes.clear();
    let all = |split: &Split, world: &World| {
        assert_eq!(proxies::ingress_route(split, world, "shop.example.com", &Request::PLAIN), Served::New(weight));
    };
    for ready in [Known::Known(0), Known::Unknown, Known::Known(2)] {
        split.backend_mut(idle).ready = ready;
        all(&split, &world);
        assert_eq!(split.plan(&world).steps, [], "nor is there anything to write");
    }
    if idle == Side::New {
        split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
        all(&split, &world);
        assert!(split.settle(&mut world).settled);
        all(&split, &world);
    }
}

#[rstest]
#[case::ours(Split::traefik(), false)]
#[case::a_users(Split::weighted("users"), true)]
fn a_member_without_an_endpoint_is_told_of(#[case] split: Split, #[case] also_without_a_share: bool) {
    for (weight, wanted) in [(50, true), (100, also_without_a_share)] {
        let mut world = World::default();
        world.put(ObjectKind::TraefikService, users_service("users"));
        let split = split.clone().at(weight);
        split.settle(&mut world);
        assert_eq!(split.plan(&world).read_back.message, None);
        let dead = split.with(|it| it.backend_mut(Side::Legacy).ready = Known::Known(0)).plan(&world);
        let message = dead.read_back.message;
        assert_eq!(message.is_some(), wanted, "{message:?}");
        if let Some(message) = message {
            assert!(message.starts_with("Service monolith is a member and has no ready endpoint"), "{message}");
            assert!(message.contains("allowEmptyServices"), "{message}");
        }
    }
}

/// Rules of one split against rules of another and of users, by whatever Traefik ranks: first the longer path.
#[test]
fn rules_rank_as_users_of_traefik_expect() {
    let rank = |host: &str, path: PathMatch| {
        let split = Split::traefik().with(|it| {
            it.hosts = vec![host.into()];
            it.paths = vec![path];
            it.pins = vec![header(Side::New, "x-cutover", "new")];
        });
        let route = objects(&split).remove(1);
        let ranks: Vec<_> =
            route["spec"]["routes"].as_array().unwrap().iter().map(|it| it["priority"].clone()).collect();
        assert_eq!(ranks[0], ranks[1], "a pin has no rank of its own");
        usize::try_from(ranks[0].as_u64().unwrap()).unwrap()
    };
    let of_users = |rule: &str| rule.len();
    let host = "shop.example.com";
    assert_eq!(rank(host, prefix("/")), of_users("Host(`shop.example.com`) && PathPrefix(`/`)"));
    assert_eq!(rank(host, prefix("/v2")), of_users("Host(`shop.example.com`) && PathPrefix(`/v2`)"));
    assert!(rank(host, prefix("/v2")) > rank(host, prefix("/")));
    assert!(rank(host, prefix("/")) > of_users("Host(`shop.example.com`)"), "a catch-all of a user");
    assert!(rank(host, exact("/v2")) > rank(host, prefix("/v2")));
    assert!(rank(host, exact("/v2")) > of_users("Host(`shop.example.com`) && Path(`/v2`)"));
    assert!(rank(host, prefix("/")) < of_users("Host(`shop.example.com`) && PathPrefix(`/blog`)"));
    assert!(rank("a.example.com", prefix("/")) > rank("*.example.com", prefix("/")), "a wildcard comes last");
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let mut world = World::default();
    let split = Split::traefik().with(|it| it.hosts = vec!["*.example.com".into()]);
    split.settle(&mut world);
    let served = |host| proxies::ingress_route(&split, &world, host, &Request::PLAIN);
    assert_eq!(served("shop.example.com"), Served::New(25));
    assert_eq!(served("a.shop.example.com"), Served::Nothing);
    assert_eq!(served("example.com"), Served::Nothing);
}

#[test]
fn a_pin_to_a_side_that_is_gone_has_no_rule() {
    let mut world = World::default();
    let mut split = Split::traefik().with(|it| it.pins = vec![header(Side::New, "x-cutover", "new")]);
    split.settle(&mut world);
    split.weight = 0;
    split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
    assert!(split.settle(&mut world).settled);
    let pinned = Request { path: "/", header: Some(("x-cutover", "new")), cookie: None };
    assert_eq!(proxies::ingress_route(&split, &world, "shop.example.com", &pinned), Served::New(0));
}

#[rstest]
#[case::a_member("sticky", json!({"cookie": {}}), "/spec/weighted")]
#[case::a_kind("mirroring", json!({"name": "x"}), "/spec")]
fn a_change_of_form_is_drift_and_a_default_is_not(#[case] field: &str, #[case] value: Value, #[case] at: &str) {
    let mut world = World::default();
    let split = Split::traefik();
    split.settle(&mut world);
    let service = (ObjectKind::TraefikService, "shop-cutover-weighted");
    world.edit(service.0, service.1, |it| it["spec"]["somethingThatCameLater"] = json!("default"));
    assert!(split.plan(&world).settled, "an unknown default is not ours to fight");
    world.edit(service.0, service.1, |it| it.pointer_mut(at).unwrap()[field] = value);
    assert_eq!(split.plan(&world).steps.len(), 1);
}

#[test]
fn a_restored_split_of_renamed_sides_is_not_guessed_at() {
    let mut world = World::default();
    let split = Split::traefik();
    split.settle(&mut world);
    let renamed = split.with(|it| {
        it.backend_mut(Side::Legacy).service = "monolith-2".into();
        it.backend_mut(Side::New).service = "storefront-2".into();
    });
    assert_eq!(renamed.read_weight(&world), Some(25), "of two, the second is the new side");
    let mut world = World::default();
    let split = Split::traefik().at(100);
    split.settle(&mut world);
    let renamed = split.with(|it| it.backend_mut(Side::New).service = "storefront-2".into());
    assert_eq!(renamed.read_weight(&world), None, "of one it cannot be told");
}

proptest! {
    #[test]
    fn hosts_and_paths_are_read_as_they_were_written(
        hosts in prop::collection::vec("(\\*\\.)?[a-z]{1,5}\\.[a-z]{2,3}", 1..4),
        paths in prop::collection::vec((any::<bool>(), "/([A-Za-z0-9._~!$&'()*+,;=:@%-]{1,6}/?){0,3}"), 1..4),
        pinned in any::<bool>(),
    ) {
        let mut paths: Vec<_> = paths.iter().map(|(is_exact, it)| if *is_exact { exact(it) } else { prefix(it) }).collect();
        if hosts.iter().any(|host| host.starts_with('*')) {
            paths = vec![prefix("/")];
        }
        let split = Split::traefik().with(|it| {
            (it.hosts, it.paths) = (hosts.clone(), paths.clone());
            it.pins = if pinned { vec![header(Side::New, "x-a", "b")] } else { Vec::new() };
        });
        let route: WholeView = serde_json::from_value(objects(&split).remove(1)).unwrap();
        let read = crate::router::ingress_route_hosts_and_paths(&route, &[]).unwrap();
        let plain = |path: &PathMatch| match path.value.trim_end_matches('/') {
            bare if path.type_ == PathType::Prefix => prefix(if bare.is_empty() { "/" } else { bare }),
            _ => path.clone(),
        };
        prop_assert_eq!(BTreeSet::from_iter(read.0), BTreeSet::from_iter(hosts));
        prop_assert_eq!(BTreeSet::from_iter(read.1), paths.iter().map(plain).collect());
    }
}

fn attached(change: impl FnOnce(&mut Value)) -> World {
    let mut world = World::default();
    let mut service = users_service("users");
    change(&mut service);
    world.put(ObjectKind::TraefikService, service);
    world
}

#[test]
fn an_attached_service_is_patched_in_the_version_that_was_read() {
    let steps = Split::weighted("users").plan(&attached(|_| {})).steps;
    let [RouteStep::MergePatch { patch, .. }] = &steps[..] else { panic!("{steps:?}") };
    insta::assert_yaml_snapshot!(patch);
}

const ATTACH: &str = "spec.routers[0].traefik.attach.service: ";

#[rstest]
#[case::no_such_service("ReferenceNotFound", |it: &mut Value| it["metadata"]["name"] = json!("other"), "there is no TraefikService users")]
#[case::a_mirror(
    "UnsupportedByRouter", |it: &mut Value| it["spec"] = json!({"mirroring": {"name": "monolith"}}), "has no weighted.services")]
#[case::a_third_member(
    "Conflicted",
    |it: &mut Value| it["spec"]["weighted"]["services"].as_array_mut().unwrap().push(json!({"name": "blog", "port": 80})),
    "also leads to Service blog:80")]
#[case::another_port(
    "Conflicted", |it: &mut Value| it["spec"]["weighted"]["services"][1]["port"] = json!(9), "also leads to Service monolith:9")]
#[case::another_namespace(
    "Conflicted", |it: &mut Value| it["spec"]["weighted"]["services"][1]["namespace"] = json!("infra"), "also leads to Service monolith")]
#[case::nested(
    "Conflicted", |it: &mut Value| it["spec"]["weighted"]["services"][1] = json!({"kind": "TraefikService", "name": "monolith"}),
    "also leads to TraefikService monolith")]
#[case::no_new_side(
    "ReferenceNotFound", |it: &mut Value| { it["spec"]["weighted"]["services"].as_array_mut().unwrap().remove(0); },
    "does not list Service storefront with port 8080")]
fn services_that_cannot_be_attached_to(#[case] reason: &str, #[case] change: fn(&mut Value), #[case] message: &str) {
    let plan = Split::weighted("users").plan(&attached(change));
    assert_eq!(plan.steps, []);
    assert!(!plan.settled);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, reason);
    assert!(problem.message.starts_with(ATTACH) && problem.message.contains(message), "{}", problem.message);
}

#[test]
fn an_attached_service_has_no_room_for_pins_and_its_weights_move_on() {
    let mut world = attached(|_| {});
    let split = Split::weighted("users").with(|it| it.pins = vec![header(Side::New, "x-a", "b")]);
    let problem = split.plan(&world).problem.unwrap();
    assert_eq!(problem.reason, "UnsupportedByRouter");
    assert!(problem.message.starts_with("spec.pins[0]: "), "{}", problem.message);
    split.at(60).settle(&mut world);
    assert_eq!(Split::weighted("users").read_weight(&world), Some(60), "what is in force goes on");
}
