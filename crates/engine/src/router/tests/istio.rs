//! The VirtualService that is built, and entries that are attached to.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{Split, World, cookie, header, prefix, users_virtual_service};
use crate::{
    Known,
    router::{ObjectKind, RouteStep, SideBackend, view::WholeView, virtual_service_hosts_and_paths},
};

fn exact(value: &str) -> PathMatch {
    PathMatch::new(PathType::Exact, value)
}

fn made(split: &Split) -> Value {
    match split.plan(&World::default()).steps.remove(0) {
        RouteStep::Apply { object, resource_version: None, .. } => object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_made_with_pins_and_two_paths() {
    let split = Split::istio().with(|it| {
        it.paths = vec![prefix("/shop/"), exact("/health")];
        it.pins = vec![header(Side::New, "X-Cutover", "new"), cookie(Side::Legacy, "cutover", "old.1")];
        it.baseline = Some("5".into());
    });
    insta::assert_yaml_snapshot!(made(&split));
}

#[test]
fn hosts_and_paths_are_read_as_they_were_written() {
    for paths in [
        vec![prefix("/")],
        vec![prefix("/v2"), exact("/health")],
        vec![exact("/v2"), prefix("/v2"), prefix("/")],
        vec![exact("/a"), exact("/a/b")],
    ] {
        let split = Split::istio().with(|it| {
            it.paths.clone_from(&paths);
            it.pins = vec![header(Side::New, "x-a", "b")];
        });
        let view: WholeView = serde_json::from_value(made(&split)).unwrap();
        assert_eq!(virtual_service_hosts_and_paths(&view), Some((split.hosts, paths)));
    }
}

#[test]
fn a_cluster_without_istio_or_the_right_to_see_it() {
    let problem = |change: fn(&mut Split)| {
        let plan = Split::istio().with(change).plan(&World::default());
        assert_eq!(plan.steps, []);
        plan.problem.map(|problem| (problem.reason, problem.message))
    };
    let (reason, message) = problem(|it| it.installed = Known::Known(false)).unwrap();
    assert_eq!(reason, "RouterNotInstalled");
    assert!(message.starts_with("spec.routers[0].istio: ") && message.contains("install Istio's CRDs"), "{message}");
    let (reason, message) = problem(|it| (it.installed, it.forbidden) = (Known::Unknown, true)).unwrap();
    assert_eq!(reason, "Forbidden");
    assert!(message.contains("may not list virtualservices.networking.istio.io"), "{message}");
    assert_eq!(problem(|it| it.installed = Known::Unknown), None, "what is not known yet is awaited");
}

fn attached(change: impl FnOnce(&mut Value)) -> World {
    let mut world = World::default();
    let mut service = users_virtual_service("users");
    change(&mut service);
    world.put(ObjectKind::VirtualService, service);
    world
}

#[test]
fn an_attached_entry_is_patched_in_the_version_that_was_read() {
    let steps = Split::entry("users", "all").plan(&attached(|_| {})).steps;
    let [RouteStep::MergePatch { patch, .. }] = &steps[..] else { panic!("{steps:?}") };
    insta::assert_yaml_snapshot!(patch);
}

#[test]
fn an_attached_entry_without_weight_on_a_missing_side_names_one_destination() {
    let mut world = attached(|_| {});
    let split = Split::entry("users", "all").at(30);
    split.settle(&mut world);
    let gone = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
    split.at(0).with(|it| it.sides.new = gone).settle(&mut world);
    let service = world.get(ObjectKind::VirtualService, "users").unwrap();
    assert_eq!(service["spec"]["http"][1]["route"].as_array().unwrap().len(), 1);
}

#[rstest]
#[case::no_such_service("absent", "all", "ReferenceNotFound", |_: &mut Value| {}, "virtualService: there is no VirtualService absent")]
#[case::no_such_entry(
    "users", "al", "ReferenceNotFound", |_: &mut Value| {}, "http: VirtualService users has no http entry called al: name one of other, all")]
#[case::no_names(
    "users", "all", "ReferenceNotFound", |it: &mut Value| it["spec"]["http"] = json!([{"route": []}]), "none of its entries has a name")]
#[case::another_backend("users", "other", "Conflicted", |_: &mut Value| {}, "http: entry other of VirtualService users also leads to blog")]
#[case::another_namespace(
    "users", "all", "Conflicted",
    |it: &mut Value| it["spec"]["http"][1]["route"][0]["destination"]["host"] = json!("monolith.bank.svc.cluster.local"),
    "also leads to monolith.bank.svc")]
#[case::another_port(
    "users", "all", "Conflicted",
    |it: &mut Value| it["spec"]["http"][1]["route"][0]["destination"]["port"] = json!({"number": 9}), "also leads to monolith")]
#[case::a_redirect(
    "users", "all", "Conflicted", |it: &mut Value| it["spec"]["http"][1] = json!({"name": "all", "redirect": {"uri": "/x"}}),
    "leads to no destination")]
#[case::two_subsets(
    "users", "all", "Conflicted",
    |it: &mut Value| it["spec"]["http"][1]["route"] = json!([
        {"destination": {"host": "monolith", "subset": "a"}, "weight": 50}, {"destination": {"host": "monolith", "subset": "b"}, "weight": 50},
    ]),
    "leads to Service monolith more than once")]
fn entries_that_cannot_be_attached_to(
    #[case] service: &str,
    #[case] entry: &str,
    #[case] reason: &str,
    #[case] change: fn(&mut Value),
    #[case] message: &str,
) {
    let plan = Split::entry(service, entry).plan(&attached(change));
    assert_eq!(plan.steps, []);
    assert!(!plan.settled);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, reason, "{}", problem.message);
    assert!(problem.message.starts_with("spec.routers[0].istio.attach."), "{}", problem.message);
    assert!(problem.message.contains(message), "{}", problem.message);
}

#[test]
fn an_attached_entry_has_no_room_for_pins() {
    let world = attached(|_| {});
    let split = Split::entry("users", "all").with(|it| it.pins = vec![header(Side::New, "x-a", "b")]);
    let plan = split.plan(&world);
    assert_eq!(plan.steps, [], "the user's VirtualService is not touched");
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "UnsupportedByRouter");
    assert!(problem.message.starts_with("spec.pins[0]: "), "{}", problem.message);
}
