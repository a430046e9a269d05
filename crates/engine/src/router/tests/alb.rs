//! The Ingress that is built for a load balancer of AWS, and what its rules cannot say.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Side};
use rstest::rstest;
use serde_json::Value;

use super::bed::{Split, World, cookie, header, prefix};
use crate::router::{ObjectKind, RouteStep, SideBackend, alb_service_names, view::IngressView};

const INGRESS: (ObjectKind, &str) = (ObjectKind::Ingress, "shop-cutover-alb");

fn annotated(split: &mut Split, key: &str, value: &str) {
    split.router.alb.as_mut().unwrap().annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
}

#[test]
fn what_is_made_with_a_pin_and_two_paths() {
    let split = Split::alb().with(|it| {
        it.paths = vec![prefix("/"), PathMatch::new(PathType::Exact, "/health")];
        it.pins = vec![header(Side::New, "x-cutover", "new")];
        it.baseline = Some("5".into());
        annotated(it, "alb.ingress.kubernetes.io/scheme", "internet-facing");
    });
    let steps = split.plan(&World::default()).steps;
    let [RouteStep::Apply { object, resource_version: None, .. }] = &steps[..] else { panic!("{steps:?}") };
    insta::assert_yaml_snapshot!(object);
}

#[test]
fn a_side_without_a_share_stays_as_long_as_its_service_does() {
    let mut world = World::default();
    let split = Split::alb().at(0);
    split.settle(&mut world);
    let services = |world: &World| alb_service_names(&world.view::<IngressView>(INGRESS.0, INGRESS.1).unwrap());
    assert_eq!(services(&world), ["monolith", "storefront"], "its targets are registered before they are needed");
    let gone = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
    assert!(split.with(|it| it.sides.new = gone).settle(&mut world).settled);
    assert_eq!(services(&world), ["monolith"], "or no rule of the load balancer would be written any more");
}

#[test]
fn an_annotation_that_left_the_spec_leaves_the_ingress_and_a_foreign_one_stays() {
    let mut world = World::default();
    let scheme = "alb.ingress.kubernetes.io/scheme";
    let split = Split::alb().with(|it| annotated(it, scheme, "internal"));
    split.settle(&mut world);
    world.edit(INGRESS.0, INGRESS.1, |it| it["metadata"]["annotations"]["example.com/theirs"] = "kept".into());
    let plain = Split::alb();
    assert!(plain.settle(&mut world).settled);
    let marks = world.get(INGRESS.0, INGRESS.1).unwrap()["metadata"]["annotations"].clone();
    assert_eq!((marks.get(scheme), &marks["example.com/theirs"]), (None, &Value::from("kept")));
}

#[rstest]
#[case::cookie(|it: &mut Split| it.pins = vec![header(Side::New, "x-a", "b"), cookie(Side::New, "a", "b")], "spec.pins[1]: alb cannot look for one cookie")]
#[case::wildcard(|it: &mut Split| it.paths = vec![prefix("/a*")], "spec.paths[0].value: ")]
#[case::fine_weights(|it: &mut Split| it.total = 10_000, "spec.weightTotal: 10000 ")]
#[case::many_rules(|it: &mut Split| it.paths = (0..101).map(|n| prefix(&format!("/{n}"))).collect(), "spec.routers[0].alb: 1 hosts, 101 paths")]
#[case::own_action(
    |it: &mut Split| annotated(it, "alb.ingress.kubernetes.io/actions.mine", "{}"),
    "spec.routers[0].alb.annotations[alb.ingress.kubernetes.io/actions.mine]: ")]
fn what_a_load_balancer_cannot_say(#[case] change: fn(&mut Split), #[case] message: &str) {
    let plan = Split::alb().with(change).plan(&World::default());
    assert_eq!(plan.steps, []);
    assert!(!plan.settled);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "UnsupportedByRouter");
    assert!(problem.message.starts_with(message), "{}", problem.message);
}

#[test]
fn weights_in_force_move_on_under_a_refused_spec() {
    let mut world = World::default();
    Split::alb().settle(&mut world);
    let rules = world.get(INGRESS.0, INGRESS.1).unwrap()["spec"].clone();
    for weight in [60, 0, 100, 10] {
        let split = Split::alb().at(weight).with(|it| {
            it.pins = vec![cookie(Side::New, "a", "b")];
            it.hosts = vec!["other.example.com".into()];
        });
        let plan = split.settle(&mut world);
        assert!(plan.settled);
        assert_eq!(plan.problem.unwrap().reason, "UnsupportedByRouter");
        assert_eq!(split.read_weight(&world), Some(weight));
        assert_eq!(world.get(INGRESS.0, INGRESS.1).unwrap()["spec"], rules, "its form waits");
    }
}
