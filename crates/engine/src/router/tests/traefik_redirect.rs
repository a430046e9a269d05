//! Redirects on Traefik's own kinds: on entry points without TLS, and nowhere else.

use cutover_api::v1alpha1::traffic_split::{Edge, Mirror, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{Split, World, header};
use crate::router::{self, ObjectKind, Unseen};

const NAME: &str = "shop-cutover-redirect";
const ROUTE: &str = "shop";

fn served(entry_points: &[&str]) -> Split {
    let names = |list: &[&str]| Some(list.iter().map(|it| (*it).to_owned()).collect());
    Split::traefik().with(|it| it.router.traefik.as_mut().unwrap().entry_points = names(entry_points))
}

fn redirecting() -> Split {
    served(&["websecure"]).with(|it| {
        it.router.traefik.as_mut().unwrap().redirect_from = Some(vec!["web".into()]);
        it.edge = Some(Edge { tls_redirect: true, ..Edge::default() });
    })
}

fn spec(world: &World, name: &str) -> Value {
    world.get(ObjectKind::IngressRoute, name).map_or(Value::Null, |it| it["spec"].clone())
}

fn rules(world: &World, name: &str) -> Vec<Value> {
    spec(world, name)["routes"].as_array().unwrap().clone()
}

#[test]
fn what_is_served_by_tls_is_never_redirected() {
    let mut world = World::default();
    let said = serde_json::from_value(json!({"tlsRedirect": true, "securityHeaders": {}})).unwrap();
    let split = redirecting().with(|it| {
        it.edge = Some(said);
        it.pins = vec![header(Side::New, "x-a", "new")];
        it.mirror = Some(Mirror { percent: 10, allow_unsafe: false });
    });
    split.settle(&mut world);
    let made = world.get(ObjectKind::Middleware, NAME).unwrap();
    assert_eq!(made["spec"], json!({"redirectScheme": {"scheme": "https", "permanent": true}}));
    assert_eq!(spec(&world, ROUTE)["entryPoints"], json!(["websecure"]));
    assert!(!spec(&world, ROUTE).to_string().contains(NAME), "it would lead to itself");
    assert_eq!(spec(&world, NAME)["entryPoints"], json!(["web"]));
    // Who comes by TLS through somebody else is not redirected, and has all the same.
    let mut before: Vec<Value> = rules(&world, ROUTE);
    for rule in &mut before {
        rule["middlewares"].as_array_mut().unwrap().insert(0, json!({"name": NAME}));
    }
    assert_eq!((rules(&world, NAME), before.len()), (before, 3));
}

#[rstest]
#[case(served(&["websecure"]))]
#[case(Split::traefik())]
fn entry_points_without_tls_have_to_be_named(#[case] split: Split) {
    let split = split.with(|it| it.edge = Some(Edge { tls_redirect: true, ..Edge::default() }));
    let plan = split.plan(&World::default());
    let problem = plan.problem.unwrap();
    assert_eq!((plan.steps.len(), problem.reason), (0, "UnsupportedByRouter"));
    let said = "spec.edge.tlsRedirect: traefik has to know the entry points without TLS: name them in spec.routers[0].traefik.redirectFrom";
    assert!(problem.message.starts_with(said), "{}", problem.message);
}

#[test]
fn it_is_there_before_the_way_in_leaves_and_goes_after_that_is_back() {
    let mut world = World::default();
    let plain = served(&["web", "websecure"]);
    plain.settle(&mut world);
    (world.unseen, world.writes) = (Unseen::default(), Vec::new());
    let split = redirecting();
    split.plan(&world).steps.iter().for_each(|step| world.send(step));
    let waits = split.plan(&world);
    assert!(waits.paused && waits.steps.is_empty(), "{waits:?}");
    assert_eq!(spec(&world, ROUTE)["entryPoints"], json!(["web", "websecure"]));
    world.unseen = Unseen::default();
    assert!(split.settle(&mut world).settled);
    (world.unseen, world.writes) = (Unseen::default(), world.writes.clone());
    plain.plan(&world).steps.iter().for_each(|step| world.send(step));
    let waits = plain.plan(&world);
    assert!(waits.paused && waits.steps.is_empty(), "{waits:?}");
    world.unseen = Unseen::default();
    plain.settle(&mut world);
    let wanted = [
        format!("create Middleware/{NAME}"),
        format!("create IngressRoute/{NAME}"),
        format!("apply IngressRoute/{ROUTE}"),
        format!("apply IngressRoute/{ROUTE}"),
        format!("delete IngressRoute/{NAME}"),
        format!("delete Middleware/{NAME}"),
    ];
    assert_eq!(world.writes, wanted);
}

#[test]
fn one_of_somebody_elses_is_left_alone_and_the_weight_goes_on() {
    let mut world = World::default();
    world.put(ObjectKind::IngressRoute, json!({"metadata": {"name": NAME}, "spec": {"routes": []}}));
    let found = world.get(ObjectKind::IngressRoute, NAME).cloned();
    served(&["websecure"]).settle(&mut world);
    let plan = redirecting().at(60).settle(&mut world);
    assert_eq!((plan.problem.unwrap().reason, plan.read_back.observed_weight), ("RouteExists", Some(60)));
    for end in [router::release, router::remove] {
        let steps = redirecting().observing(&world, |intent, observed| end(intent.split, observed));
        assert!(steps.iter().all(|step| step.name() != NAME), "{steps:?}");
    }
    assert_eq!(world.get(ObjectKind::IngressRoute, NAME).cloned(), found);
}

#[test]
fn it_goes_with_the_split_after_its_way_in() {
    let mut world = World::default();
    redirecting().settle(&mut world);
    let hidden = redirecting().with(|it| it.exposed = false);
    let names: Vec<_> = hidden.plan(&world).steps.iter().map(|step| step.name().to_owned()).collect();
    assert_eq!(names, [ROUTE, NAME, "shop-cutover-weighted", NAME]);
    hidden.settle(&mut world);
    assert!(world.all::<Value>(ObjectKind::IngressRoute).is_empty());
}
