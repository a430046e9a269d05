//! Headers by a ConfigMap that the main Ingress names: that none is named that a proxy may not have, and none is set that is not allowed.

use cutover_api::v1alpha1::traffic_split::Side;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World},
    edge::edge,
    features::ALL_HEADERS,
};
use crate::{
    Known,
    conditions::Health,
    router::{self, ObjectKind, RouteStep, Unseen},
};

const ANNOTATION: &str = "nginx.ingress.kubernetes.io/custom-headers";

fn setting(headers: &str) -> Split {
    Split::nginx().with(|it| {
        it.edge = Some(edge(&format!("securityHeaders: {headers}")));
        it.nginx_mut().allowed_response_headers = ALL_HEADERS.map(str::to_owned).to_vec();
    })
}

fn said_by(main: &Value) -> Option<&str> {
    main["metadata"]["annotations"][ANNOTATION].as_str()
}

fn named(world: &World) -> Option<String> {
    said_by(world.get(ObjectKind::Ingress, "shop")?)?.strip_prefix("shop/").map(str::to_owned)
}

fn config_maps(world: &World) -> Vec<Value> {
    world.all::<Value>(ObjectKind::ConfigMap)
}

/// Carries plans out, one write after the other, with proxies that take their time, until nothing is left to be done.
fn walk(split: &Split, world: &mut World) {
    for _ in 0..40 {
        let plan = split.plan(world);
        if plan.steps.is_empty() {
            if world.unseen == Unseen::default() {
                assert!(plan.settled && !plan.paused, "{plan:?}");
                return;
            }
            world.unseen = Unseen::default();
            continue;
        }
        for step in &plan.steps {
            obeys(step, world);
            world.send(step);
        }
    }
    panic!("it does not end: {:?}", world.writes);
}

/// What no write may do to a proxy that has seen nothing of what was written lately.
fn obeys(step: &RouteStep, world: &World) {
    match step {
        RouteStep::Apply { kind: ObjectKind::Ingress, name, object, .. } if name == "shop" => {
            let Some(says) = said_by(object).and_then(|it| it.strip_prefix("shop/")) else { return };
            if named(world).as_deref() != Some(says) {
                assert!(world.get(ObjectKind::ConfigMap, says).is_some(), "{says} is named and not there");
                assert!(!world.unseen.accessories, "{says} is named before proxies know it");
            }
        }
        RouteStep::Delete { kind: ObjectKind::ConfigMap, name, .. } => {
            assert_ne!(named(world).as_deref(), Some(name.as_str()), "it goes while it is named");
            assert!(!world.unseen.routes, "it goes while a proxy may still look for it");
        }
        _ => {}
    }
}

#[test]
fn every_answer_bears_what_is_asked_for_as_the_administrator_writes_it() {
    let mut world = World::default();
    walk(&setting("{frameOptions: SameOrigin, contentSecurityPolicy: \"default-src 'self'\"}"), &mut world);
    let [config_map] = &config_maps(&world)[..] else { panic!("{:?}", config_maps(&world)) };
    assert_eq!(
        config_map["data"],
        json!({
            "x-content-type-options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "X-XSS-Protection": "1; mode=block",
            "Referrer-Policy": "strict-origin-when-cross-origin", "Permissions-Policy": "geolocation=(), microphone=(), camera=()",
            "Content-Security-Policy": "default-src 'self'",
        })
    );
    assert_eq!(
        (&config_map["immutable"], named(&world).as_deref()),
        (&json!(true), config_map["metadata"]["name"].as_str())
    );
}

#[test]
fn none_is_named_that_a_proxy_may_not_have_and_none_goes_that_it_may_look_for() {
    let mut world = World::default();
    for (weight, headers) in
        [(0, None), (10, Some("{}")), (50, Some("{frameOptions: SameOrigin}")), (100, Some("{}")), (0, None)]
    {
        let split = headers.map_or_else(Split::nginx, setting).at(weight);
        walk(&split, &mut world);
        assert_eq!(split.read_weight(&world), Some(weight));
        assert_eq!(
            (config_maps(&world).len(), named(&world).is_some()),
            (usize::from(headers.is_some()), headers.is_some())
        );
    }
}

#[test]
fn a_way_in_is_not_opened_before_its_headers_are_known() {
    let mut world = World::default();
    let split = setting("{}");
    let first = split.plan(&world);
    assert!(first.paused && !first.settled, "{first:?}");
    assert!(first.read_back.message.unwrap().contains("given a moment to learn of ConfigMap shop-cutover-headers-"));
    for step in &first.steps {
        world.send(step);
    }
    assert_eq!(config_maps(&world).len(), 1);
    assert!(split.plan(&world).steps.is_empty() && world.get(ObjectKind::Ingress, "shop").is_none());
    walk(&split, &mut world);
    assert!(named(&world).is_some());
}

#[test]
fn a_weight_waits_for_no_header() {
    let mut world = World::default();
    Split::nginx().at(10).settle(&mut world);
    world.unseen = Unseen::default();
    let split = setting("{}").at(60);
    for step in split.plan(&world).steps {
        obeys(&step, &world);
        world.send(&step);
    }
    assert_eq!((split.read_weight(&world), named(&world)), (Some(60), None));
}

#[rstest]
#[case::nothing_is(&[], "X-Content-Type-Options, X-Frame-Options, X-XSS-Protection, Referrer-Policy, Permissions-Policy")]
#[case::all_but_one_are(
    &["X-Content-Type-Options", "x-frame-options", "X-XSS-Protection", "Permissions-Policy"],
    "does not list Referrer-Policy:"
)]
fn what_is_not_allowed_is_refused_by_name_and_weights_go_on(#[case] allowed: &[&str], #[case] wanted: &str) {
    let split = setting("{}")
        .with(|it| it.nginx_mut().allowed_response_headers = allowed.iter().map(|it| (*it).to_owned()).collect());
    let problem = split.plan(&World::default()).problem.unwrap();
    assert_eq!((problem.reason, problem.health), ("UnsupportedByRouter", Health::Stalled));
    assert!(
        problem.message.starts_with("spec.edge.securityHeaders: ") && problem.message.contains(wanted),
        "{}",
        problem.message
    );

    let mut world = World::default();
    Split::nginx().at(10).settle(&mut world);
    let moved = split.at(70);
    moved.drive(&mut world, false, |_| {});
    assert_eq!((moved.read_weight(&world), config_maps(&world)), (Some(70), Vec::new()));
}

#[test]
fn what_is_in_force_stays_when_it_is_allowed_no_more() {
    let mut world = World::default();
    walk(&setting("{}").at(10), &mut world);
    let before = named(&world);
    let refused = setting("{}").with(|it| it.nginx_mut().allowed_response_headers.clear()).at(30);
    refused.drive(&mut world, false, |_| {});
    assert_eq!((named(&world), config_maps(&world).len()), (before, 1));
    assert_eq!(refused.read_weight(&world), Some(30));
}

#[test]
fn it_goes_after_the_route_that_names_it_and_with_its_split() {
    let mut world = World::default();
    let split = setting("{}");
    walk(&split, &mut world);
    world.unseen = Unseen::default();
    let mut gone = Vec::new();
    for _ in 0..5 {
        let steps = split.observing(&world, |intent, observed| router::remove(intent.split, observed));
        for step in &steps {
            world.unseen = Unseen::default();
            obeys(step, &world);
            gone.push(step.kind());
            world.send(step);
        }
    }
    let at = |kind| gone.iter().position(|it| *it == kind).unwrap();
    assert!(at(ObjectKind::Ingress) < at(ObjectKind::ConfigMap), "{gone:?}");
    assert!(config_maps(&world).is_empty());
}

#[test]
fn one_of_somebody_elses_is_left_alone() {
    let mut other = World::default();
    walk(&setting("{}"), &mut other);
    let mut theirs = config_maps(&other).remove(0);
    theirs["metadata"]["labels"]["cutover.dev/owner-uid"] = json!("another");
    theirs["metadata"]["annotations"] = json!({"cutover.dev/owner-name": "another"});
    let mut world = World::default();
    world.put(ObjectKind::ConfigMap, theirs.clone());
    let plan = setting("{}").plan(&world);
    assert_eq!(plan.problem.unwrap().reason, "RouteExists");
    assert_eq!(config_maps(&world).len(), 1);

    // In the way of nobody who does not need it.
    let plain = Split::nginx().with(|it| it.backend_mut(Side::New).ready = Known::Known(3));
    assert_eq!(plain.settle(&mut world).problem, None);
    assert_eq!(config_maps(&world).len(), 1);
}
