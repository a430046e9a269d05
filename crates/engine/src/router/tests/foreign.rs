//! Property: people and tools edit an attached HTTPRoute, and the user's own Ingress, at any moment, also between our look and our
//! write. None of their edits is ever lost, and nothing but the one rule's backends is ours.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    bed::{Split, World, accept_all, users_ingress, users_route},
    proxies::{self, Request, Served},
};
use crate::router::ObjectKind;

const ROUTE: &str = "users";

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Another weight is wanted.
    Weight(i32),
    /// An edit, and its number.
    Edit(u8, u32),
    /// We look, somebody edits, and only then our write arrives.
    Race(u8, u32),
    /// We look and write until nothing is left.
    Settle,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let edit = || (0_u8..12, 0_u32..40);
    let event = prop_oneof![
        1 => (0..=100).prop_map(Event::Weight),
        4 => edit().prop_map(|(kind, number)| Event::Edit(kind, number)),
        3 => edit().prop_map(|(kind, number)| Event::Race(kind, number)),
        1 => Just(Event::Settle),
    ];
    prop::collection::vec(event, 1..40)
}

fn checkout(route: &mut Value) -> &mut Value {
    let rules = route["spec"]["rules"].as_array_mut().unwrap();
    rules.iter_mut().find(|rule| rule["name"] == "checkout").unwrap()
}

fn legacy(route: &mut Value) -> Option<&mut Value> {
    checkout(route)["backendRefs"].as_array_mut()?.iter_mut().find(|it| it["name"] == "monolith")
}

/// One thing that others do to a route whose rule `checkout` is ours to weigh.
fn edit(route: &mut Value, kind: u8, number: u32) {
    let text = json!(format!("v{number}"));
    let rules = |route: &mut Value, change: &dyn Fn(&mut Vec<Value>)| {
        change(route["spec"]["rules"].as_array_mut().unwrap());
    };
    let filter = |name: &str| json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": name, "value": text}]}}]);
    match kind {
        0 => route["metadata"]["labels"][format!("team-{}", number % 3)] = text,
        1 => {
            let marks = route["metadata"].as_object_mut().unwrap().entry("annotations").or_insert(json!({}));
            marks[format!("example.com/{}", number % 3)] = text;
        }
        2 => route["spec"]["hostnames"] = json!(["shop.example.com", format!("v{number}.example.com")]),
        3 => rules(route, &|rules| {
            let path = json!([{"path": {"type": "PathPrefix", "value": format!("/v{number}")}}]);
            rules.insert(
                number as usize % (rules.len() + 1),
                json!({"name": format!("extra-{number}"), "matches": path,
                "backendRefs": [{"group": "", "kind": "Service", "name": "extra", "port": 80, "weight": number}]}),
            );
        }),
        4 => rules(route, &|rules| {
            let at = rules.iter().position(|rule| rule["name"] != "checkout");
            at.map(|at| rules.remove(at));
        }),
        5 => rules(route, &|rules| rules.rotate_left(1)),
        6 => rules(route, &|rules| rules.reverse()),
        7 => checkout(route)["filters"] = filter("x-rule"),
        8 => checkout(route)["timeouts"] = json!({"request": format!("{}s", number + 1)}),
        9 => {
            checkout(route)["matches"] = json!([
                {"path": {"type": "PathPrefix", "value": "/"}},
                {"path": {"type": "Exact", "value": format!("/v{number}")}},
            ]);
        }
        10 => {
            if let Some(backend) = legacy(route) {
                backend["filters"] = filter("x-backend");
            }
        }
        _ => rules(route, &|rules| {
            for rule in rules.iter_mut().filter(|rule| rule["name"] != "checkout") {
                rule["backendRefs"] = json!([
                    {"group": "", "kind": "Service", "name": "blog", "port": 80, "weight": number},
                    {"group": "", "kind": "Service", "name": "storefront", "port": 8080, "weight": 1},
                ]);
            }
        }),
    }
}

/// The route without what is ours: the weights in that one rule, and the new side's plain entry.
fn theirs(mut route: Value) -> Value {
    let ours = json!({"group": "", "kind": "Service", "name": "storefront", "port": 8080});
    let backends = checkout(&mut route)["backendRefs"].as_array_mut().unwrap();
    for backend in backends.iter_mut() {
        backend.as_object_mut().unwrap().remove("weight");
    }
    backends.retain(|backend| *backend != ours);
    let metadata = route["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    route.as_object_mut().unwrap().remove("status");
    route
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_an_attached_route_is_lost(events in events()) {
        let mut world = World::default();
        let mut shadow = users_route(ROUTE);
        world.put(ObjectKind::HttpRoute, shadow.clone());
        let mut split = Split::rule(ROUTE, "checkout").at(0);
        split.settle(&mut world);
        let mut refused = 0;
        for event in events.into_iter().chain([Event::Settle]) {
            match event {
                Event::Weight(weight) => split.weight = weight,
                Event::Edit(kind, number) => {
                    world.edit(ObjectKind::HttpRoute, ROUTE, |route| edit(route, kind, number));
                    edit(&mut shadow, kind, number);
                }
                Event::Race(kind, number) => {
                    let plan = split.plan(&world);
                    world.edit(ObjectKind::HttpRoute, ROUTE, |route| edit(route, kind, number));
                    edit(&mut shadow, kind, number);
                    let before = world.get(ObjectKind::HttpRoute, ROUTE).cloned();
                    for step in &plan.steps {
                        prop_assert!(!world.accepts(step), "what was decided on an older version is refused");
                        refused += 1;
                    }
                    prop_assert_eq!(world.get(ObjectKind::HttpRoute, ROUTE).cloned(), before);
                }
                Event::Settle => {
                    let plan = split.settle(&mut world);
                    prop_assert!(plan.settled, "{:?}", plan.problem);
                    prop_assert_eq!(split.read_weight(&world), Some(split.weight));
                    let served = proxies::route(&split, &world, ROUTE, &Request::PLAIN);
                    prop_assert_eq!(served, Served::New(split.weight));
                }
            }
            let now = world.get(ObjectKind::HttpRoute, ROUTE).cloned().unwrap();
            prop_assert_eq!(theirs(now), theirs(shadow.clone()), "{} writes were refused", refused);
        }
    }

    #[test]
    fn a_users_ingress_is_never_written_whatever_is_done_to_it(
        steps in prop::collection::vec((0_u8..5, 0_u32..40, 0..=100_i32), 1..20),
    ) {
        let mut world = World::default();
        let mut shadow = users_ingress(ROUTE);
        world.put(ObjectKind::Ingress, shadow.clone());
        let mut split = Split::beside(ROUTE).at(0);
        let contents = |mut ingress: Value| {
            let metadata = ingress["metadata"].as_object_mut().unwrap();
            metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
            ingress
        };
        for (kind, number, weight) in steps {
            split.weight = weight;
            // Decided before the edit, carried out after it: the canary is the only object that is written.
            let plan = split.plan(&world);
            world.edit(ObjectKind::Ingress, ROUTE, |ingress| edit_ingress(ingress, kind, number));
            edit_ingress(&mut shadow, kind, number);
            plan.steps.iter().for_each(|step| world.send(step));
            accept_all(&mut world);
            let plan = split.settle(&mut world);
            prop_assert!(plan.settled, "{:?}", plan.problem);
            prop_assert_eq!(split.read_weight(&world), Some(weight));
            let now = world.get(ObjectKind::Ingress, ROUTE).cloned().unwrap();
            prop_assert_eq!(contents(now), contents(shadow.clone()));
        }
    }
}

/// What others do to their Ingress, beside the path that is split.
fn edit_ingress(ingress: &mut Value, kind: u8, number: u32) {
    let text = json!(format!("v{number}"));
    let backend = json!({"service": {"name": "extra", "port": {"number": 80}}});
    let path = json!({"path": format!("/v{number}"), "pathType": "Prefix", "backend": backend});
    match kind {
        0 => {
            let marks = ingress["metadata"].as_object_mut().unwrap().entry("annotations").or_insert(json!(Map::new()));
            marks["nginx.ingress.kubernetes.io/proxy-body-size"] = text;
        }
        1 => ingress["metadata"]["labels"] = json!({"team": text}),
        2 => ingress["spec"]["rules"][0]["http"]["paths"].as_array_mut().unwrap().push(path),
        3 => ingress["spec"]["rules"]
            .as_array_mut()
            .unwrap()
            .push(json!({"host": format!("v{number}.example.com"), "http": {"paths": [path]}})),
        _ => ingress["spec"]["tls"] = json!([{"hosts": ["shop.example.com"], "secretName": text}]),
    }
}
