//! Copies of requests on Traefik's own kinds: of what, to whom, and that nothing which becomes of the copies becomes of the requests.

use cutover_api::v1alpha1::traffic_split::{Mirror, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World, header},
    proxies::{self, Request, Served},
};
use crate::{
    Known,
    router::{self, ObjectKind, SideBackend, Unseen},
};

const NAME: &str = "shop-cutover-mirror";

fn mirroring(percent: i32) -> Split {
    Split::traefik().at(0).with(|it| it.mirror = Some(Mirror { percent, allow_unsafe: false }))
}

fn spec(world: &World, kind: ObjectKind, name: &str) -> Value {
    world.get(kind, name).map_or(Value::Null, |it| it["spec"].clone())
}

fn mirrors(world: &World) -> Vec<Value> {
    let copying = spec(world, ObjectKind::TraefikService, NAME);
    copying["mirroring"]["mirrors"].as_array().unwrap_or_else(|| panic!("{copying}")).clone()
}

fn gone() -> [fn(&mut Split); 3] {
    [
        |it| it.backend_mut(Side::New).ready = Known::Known(0),
        |it| it.backend_mut(Side::New).ready = Known::Unknown,
        |it| it.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) },
    ]
}

#[test]
fn what_changes_nothing_is_copied_and_no_pin_s_requests_are() {
    let mut world = World::default();
    let edge = serde_json::from_value(json!({"timeouts": {"read": "1m"}, "retries": {"attempts": 2}})).unwrap();
    let split = mirroring(10).with(|it| {
        it.pins = vec![header(Side::New, "x-a", "new")];
        it.edge = Some(edge);
    });
    split.settle(&mut world);
    let routes = spec(&world, ObjectKind::IngressRoute, "shop")["routes"].clone();
    let rules: Vec<_> =
        routes.as_array().unwrap().iter().map(|it| (&it["match"], &it["services"][0]["name"])).collect();
    let plain = "Host(`shop.example.com`) && PathPrefix(`/`)";
    let (pin, safe) = ("Header(`x-a`, `new`)", "(Method(`GET`) || Method(`HEAD`))");
    let wanted = [
        (json!(format!("{plain} && {pin}")), json!("storefront")),
        (json!(format!("{plain} && !{pin} && {safe}")), json!(NAME)),
        (json!(format!("{plain} && !{pin} && !Method(`GET`) && !Method(`HEAD`)")), json!("shop-cutover-weighted")),
    ];
    assert_eq!(rules, wanted.iter().map(|(rule, name)| (rule, name)).collect::<Vec<_>>());
    let to = json!({
        "kind": "Service", "name": NAME, "port": 80, "nativeLB": true, "percent": 10, "scheme": "http",
        "serversTransport": "shop-cutover-timeouts",
    });
    let main = json!({"kind": "TraefikService", "name": "shop-cutover-weighted", "mirrorBody": false, "mirrors": [to]});
    assert_eq!(spec(&world, ObjectKind::TraefikService, NAME), json!({"mirroring": main}));
    let service = spec(&world, ObjectKind::Service, NAME);
    assert_eq!(service["selector"], json!({"app": "storefront"}));
    assert_eq!(service.get("clusterIP"), None, "it has an address");
    // A try of the rule's would be made again for a copy that is not sent yet.
    assert!(routes.as_array().unwrap().iter().all(|it| it.get("middlewares").is_none()), "{routes}");
    let members = spec(&world, ObjectKind::TraefikService, "shop-cutover-weighted")["weighted"]["services"].clone();
    assert_eq!(members[0]["middlewares"], json!([{"name": "shop-cutover-retries"}]));
    assert_eq!(split.read_weight(&world), Some(0));
    split.clone().at(60).settle(&mut world);
    assert_eq!((split.read_weight(&world), mirrors(&world).len()), (Some(60), 1));
    split.at(100).settle(&mut world);
    assert_eq!(mirrors(&world), Vec::<Value>::new(), "it has every request itself");
}

#[test]
fn copies_of_what_may_change_something_are_refused() {
    let split = mirroring(10).with(|it| it.mirror = Some(Mirror { percent: 10, allow_unsafe: true }));
    let plan = split.plan(&World::default());
    assert_eq!((plan.steps.len(), plan.problem.as_ref().unwrap().reason), (0, "UnsupportedByRouter"));
    let said = plan.problem.unwrap().message;
    assert!(said.starts_with("spec.mirror.allowUnsafe: traefik ") && said.ends_with("or use istio"), "{said}");
}

/// Before anything is written, and after it.
#[test]
fn whatever_becomes_of_the_new_side_requests_are_answered_and_it_is_said() {
    for change in gone() {
        let mut world = World::default();
        let split = mirroring(100);
        split.settle(&mut world);
        assert_eq!(mirrors(&world).len(), 1);
        let dead = split.clone().with(change);
        let served = |world: &World| proxies::ingress_route(&dead, world, "shop.example.com", &Request::PLAIN);
        assert_eq!(served(&world), Served::New(0), "before it is noticed");
        let plan = dead.settle(&mut world);
        assert_eq!((served(&world), mirrors(&world)), (Served::New(0), vec![]));
        assert!(plan.settled && plan.read_back.message.unwrap().starts_with("spec.mirror: nothing is copied while"));
        world.unseen = Unseen::default();
        split.settle(&mut world);
        assert_eq!(mirrors(&world).len(), 1, "it is back");
    }
}

/// While proxies may not know of it, and after somebody has taken it away.
#[test]
fn nothing_is_copied_to_a_service_that_proxies_may_not_have() {
    let mut world = World::default();
    let split = mirroring(100);
    split.settle(&mut world);
    world.unseen = Unseen::default();
    world.drop(ObjectKind::Service, NAME);
    for step in split.plan(&world).steps {
        world.send(&step);
    }
    assert_eq!(mirrors(&world), Vec::<Value>::new());
    let plan = split.plan(&world);
    assert!(plan.paused && !plan.settled && plan.steps.is_empty(), "{plan:?}");
    assert!(plan.read_back.message.unwrap().contains(&format!("Service {NAME}")));
    world.unseen = Unseen::default();
    split.settle(&mut world);
    assert_eq!(mirrors(&world).len(), 1);
}

#[test]
fn it_goes_after_the_last_rule_that_leads_to_it() {
    let mut world = World::default();
    mirroring(10).settle(&mut world);
    (world.unseen, world.writes) = (Unseen::default(), Vec::new());
    let split = mirroring(10).with(|it| it.mirror = None);
    let plan = split.plan(&world);
    plan.steps.iter().for_each(|step| world.send(step));
    let waits = split.plan(&world);
    assert_eq!((waits.steps.len(), waits.paused), (0, true), "a proxy may have the rule");
    world.unseen = Unseen::default();
    split.settle(&mut world);
    let wanted =
        ["apply IngressRoute/shop", &format!("delete TraefikService/{NAME}"), &format!("delete Service/{NAME}")];
    assert_eq!(world.writes, wanted);
}

#[rstest]
#[case(ObjectKind::TraefikService, "RouteExists")]
#[case(ObjectKind::Service, "Conflicted")]
fn what_somebody_else_made_is_not_taken(#[case] kind: ObjectKind, #[case] reason: &str) {
    let mut world = World::default();
    world.put(kind, json!({"metadata": {"name": NAME}, "spec": {"clusterIP": "198.19.0.7", "ports": []}}));
    let found = world.get(kind, NAME).cloned();
    Split::traefik().settle(&mut world);
    let plan = mirroring(10).at(60).settle(&mut world);
    let problem = plan.problem.unwrap();
    assert_eq!((problem.reason, plan.read_back.observed_weight), (reason, Some(60)));
    assert!(problem.message.contains(NAME), "{}", problem.message);
    let ends = [router::release, router::remove];
    for steps in ends.map(|end| mirroring(10).observing(&world, |intent, observed| end(intent.split, observed))) {
        assert!(steps.iter().all(|step| step.name() != NAME), "{steps:?}");
    }
    assert_eq!(world.get(kind, NAME).cloned(), found);
}

#[test]
fn it_goes_with_the_split_after_its_way_in() {
    let mut world = World::default();
    let split = mirroring(10);
    split.settle(&mut world);
    let steps = split.observing(&world, |intent, observed| router::remove(intent.split, observed));
    let names: Vec<_> = steps.iter().map(|step| (step.kind(), step.name())).collect();
    assert_eq!(
        names,
        [
            (ObjectKind::IngressRoute, "shop"),
            (ObjectKind::TraefikService, NAME),
            (ObjectKind::TraefikService, "shop-cutover-weighted"),
            (ObjectKind::Service, NAME),
        ]
    );
}
