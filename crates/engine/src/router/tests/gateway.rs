//! The HTTPRoute that is built, when it counts as accepted, and attached rules.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{Split, World, accept_all, cookie, header, prefix, users_route};
use crate::{
    conditions::Health,
    router::{ObjectKind, RouteStep, SideBackend},
};

#[test]
fn a_route_with_pins_and_two_paths() {
    let split = Split::gateway().with(|it| {
        it.paths = vec![prefix("/"), PathMatch::new(PathType::Exact, "/health")];
        it.pins = vec![header(Side::New, "x-cutover", "new"), cookie(Side::Legacy, "cutover", "old.1")];
        it.baseline = Some("5".into());
        it.router.gateway_api.as_mut().unwrap().parent_refs.as_mut().unwrap()[0].section_name = Some("https".into());
    });
    insta::assert_yaml_snapshot!(route_of(&split));
}

#[test]
fn a_route_of_the_new_side_alone() {
    let split = Split::gateway().at(100).with(|it| it.sides.legacy = SideBackend::Absent);
    insta::assert_yaml_snapshot!(route_of(&split));
}

fn route_of(split: &Split) -> Value {
    match split.plan(&World::default()).steps.remove(0) {
        RouteStep::Apply { object, resource_version: None, .. } => object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attached_rule_is_patched_in_the_version_that_was_read() {
    let mut world = World::default();
    world.put(ObjectKind::HttpRoute, users_route("users"));
    let steps = Split::rule("users", "checkout").plan(&world).steps;
    let [RouteStep::MergePatch { patch, .. }] = &steps[..] else { panic!("{steps:?}") };
    insta::assert_yaml_snapshot!(patch);
}

#[test]
fn an_attached_rule_without_weight_on_a_missing_side_names_one_backend() {
    let mut world = World::default();
    world.put(ObjectKind::HttpRoute, users_route("users"));
    let split = Split::rule("users", "checkout").at(30);
    split.settle(&mut world);
    let split =
        split.at(0).with(|it| it.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) });
    split.settle(&mut world);
    let route = world.get(ObjectKind::HttpRoute, "users").unwrap();
    assert_eq!(route["spec"]["rules"][1]["backendRefs"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_left_of_a_legacy_side_in_an_attached_rule_goes_with_it_unless_it_has_weight() {
    let mut world = World::default();
    world.put(ObjectKind::HttpRoute, users_route("users"));
    let split = Split::rule("users", "checkout").at(100);
    split.settle(&mut world);
    let split = split.with(|it| it.sides.legacy = SideBackend::Absent);
    let mut led_to_legacy = world.clone();
    split.settle(&mut world);
    let route = world.get(ObjectKind::HttpRoute, "users").unwrap();
    let names: Vec<_> =
        route["spec"]["rules"][1]["backendRefs"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["storefront"]);
    led_to_legacy.edit(ObjectKind::HttpRoute, "users", |it| {
        for backend in it["spec"]["rules"][1]["backendRefs"].as_array_mut().unwrap() {
            backend["weight"] = 1.into();
        }
    });
    let plan = split.plan(&led_to_legacy);
    assert_eq!((plan.steps.len(), plan.problem.unwrap().reason), (0, "Conflicted"));
}

fn settled() -> (Split, World) {
    let split = Split::gateway();
    let mut world = World::default();
    assert!(split.settle(&mut world).settled);
    (split, world)
}

/// Changes what the gateway says in the route's status.
fn says(world: &mut World, change: impl FnOnce(&mut Value)) {
    world.edit(ObjectKind::HttpRoute, "shop", |route| change(&mut route["status"]["parents"][0]));
}

#[test]
fn a_route_counts_when_its_present_form_is_accepted() {
    let split = Split::gateway();
    let mut world = World::default();
    let plan = split.drive(&mut world, false, |_| {});
    assert!(!plan.settled, "nobody has said a word");
    assert_eq!(plan.read_back.accepted, Some(false));
    assert_eq!(plan.problem, None, "it is awaited");
    assert!(plan.read_back.message.unwrap().contains("Gateway infra/edge has not said"));
    accept_all(&mut world);
    assert!(split.plan(&world).settled);

    let split = split.at(60);
    let plan = split.drive(&mut world, false, |_| {});
    assert_eq!(plan.read_back.observed_weight, Some(60));
    assert!(!plan.settled, "what was accepted is the form before");
    accept_all(&mut world);
    assert!(split.plan(&world).settled);
}

#[rstest]
#[case::accepted_of_an_old_generation("/conditions/0/observedGeneration", json!(0))]
#[case::refs_of_an_old_generation("/conditions/1/observedGeneration", json!(0))]
#[case::another_controller("/controllerName", json!("example.com/other"))]
#[case::another_parent("/parentRef/name", json!("other"))]
#[case::another_listener("/parentRef/sectionName", json!("http"))]
#[case::another_namespace("/parentRef/namespace", json!("other"))]
#[case::no_refs_condition("/conditions/1/type", json!("Other"))]
fn what_is_said_of_something_else_does_not_count(#[case] at: &str, #[case] value: Value) {
    let (split, mut world) = settled();
    says(&mut world, |parent| match parent.pointer_mut(at) {
        Some(found) => *found = value,
        None => parent["parentRef"]["sectionName"] = value,
    });
    let plan = split.plan(&world);
    assert_eq!((plan.settled, plan.read_back.accepted), (false, Some(false)));
    assert_eq!(plan.steps, [], "writing again would not help");
}

#[rstest]
#[case(
    "Accepted",
    "NotAllowedByListeners",
    "RouteNotAccepted",
    Health::Stalled,
    "allowedRoutes must include this namespace"
)]
#[case("Accepted", "NoMatchingParent", "RouteNotAccepted", Health::Stalled, "check sectionName")]
#[case("Accepted", "NoMatchingListenerHostname", "RouteNotAccepted", Health::Stalled, "a listener for spec.hosts")]
#[case("ResolvedRefs", "RefNotPermitted", "RefNotPermitted", Health::Stalled, "ReferenceGrant")]
#[case("ResolvedRefs", "BackendNotFound", "RouteNotAccepted", Health::Reconciling, "visible to the gateway")]
#[case("Accepted", "SomethingNew", "RouteNotAccepted", Health::Stalled, "HTTPRoute's status")]
fn a_refusal_is_told_with_its_remedy(
    #[case] type_: &str,
    #[case] reason: &str,
    #[case] ours: &str,
    #[case] health: Health,
    #[case] remedy: &str,
) {
    let (split, mut world) = settled();
    let at = usize::from(type_ == "ResolvedRefs");
    says(&mut world, |parent| {
        parent["conditions"][at]["status"] = json!("False");
        parent["conditions"][at]["reason"] = json!(reason);
        parent["conditions"][at]["message"] = json!("the gateway's own words");
    });
    let plan = split.plan(&world);
    let problem = plan.problem.unwrap();
    assert_eq!((problem.reason, problem.health), (ours, health));
    let start = format!(
        "spec.routers[0].gatewayApi.parentRefs[0]: Gateway infra/edge says {type_}=False, {reason}: the gateway's own words: "
    );
    assert!(problem.message.starts_with(&start), "{}", problem.message);
    assert!(problem.message.contains(remedy), "{}", problem.message);
    assert!(!plan.settled);
}

#[test]
fn a_gateway_that_does_not_exist_is_named() {
    let split = Split::gateway()
        .with(|it| it.router.gateway_api.as_mut().unwrap().parent_refs.as_mut().unwrap()[0].name = "egde".into());
    let mut world = World::default();
    let plan = split.settle(&mut world);
    assert_eq!(
        plan.problem.unwrap().message,
        "spec.routers[0].gatewayApi.parentRefs[0]: there is no Gateway infra/egde: create it, or name another"
    );
}

#[test]
fn a_change_of_form_is_drift_and_a_default_is_not() {
    let (split, mut world) = settled();
    world.edit(ObjectKind::HttpRoute, "shop", |route| {
        route["spec"]["rules"][0]["somethingThatTheApiAddedLater"] = json!("default");
        route["spec"]["rules"][0]["filters"] = json!([]);
    });
    accept_all(&mut world);
    assert!(split.plan(&world).settled, "an unknown default is not ours to fight");
    world.edit(ObjectKind::HttpRoute, "shop", |route| {
        route["spec"]["rules"][0]["timeouts"] = json!({"request": "1ms"});
    });
    assert_eq!(split.plan(&world).steps.len(), 1);
}

#[test]
fn a_route_of_an_api_without_rule_names_is_read_and_left_alone() {
    let (split, mut world) = settled();
    world.edit(ObjectKind::HttpRoute, "shop", |route| {
        route["spec"]["rules"][0].as_object_mut().unwrap().remove("name");
    });
    accept_all(&mut world);
    let plan = split.plan(&world);
    assert!(plan.settled);
    assert_eq!(plan.read_back.observed_weight, Some(25));
}

#[test]
fn a_pin_to_a_side_that_is_gone_has_no_rule() {
    let (mut split, mut world) = settled();
    split.pins = vec![header(Side::New, "x-cutover", "new")];
    split.settle(&mut world);
    split.weight = 0;
    split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
    assert!(split.settle(&mut world).settled);
    let route = world.get(ObjectKind::HttpRoute, "shop").unwrap();
    assert_eq!(route["spec"]["rules"].as_array().unwrap().len(), 1);
}

#[test]
fn backends_that_the_spec_renamed_are_still_read() {
    let (split, world) = settled();
    let renamed = split.with(|it| {
        it.backend_mut(Side::Legacy).service = "monolith-2".into();
        it.backend_mut(Side::New).service = "storefront-2".into();
    });
    assert_eq!(renamed.read_weight(&world), Some(25), "of two, the second is the new side");
}
