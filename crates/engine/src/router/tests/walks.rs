//! Properties: whatever the sequence of weights, and wherever the process is killed, at every moment each request is served by a
//! side that it should be served by.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Pin, Side};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    bed::{
        Split, World, accept_all, cookie, header, prefix, users_ingress, users_route, users_service,
        users_virtual_service,
    },
    proxies::{self, Proxy, Request, Served},
};
use crate::{
    Known,
    router::{ObjectKind, SideBackend},
};

const HOST: &str = "shop.example.com";
const PROXIES: [Proxy; 2] = [Proxy::Nginx, Proxy::Traefik];

/// A split with its pins, and for each kind of pinned request the side that it belongs to.
type Pinned = (Vec<Pin>, Vec<(Request<'static>, Side)>);

fn pins_of_a_canary() -> impl Strategy<Value = Pinned> {
    let by_header = |value| Request { path: "/", header: Some(("X-Cutover", value)), cookie: None };
    let by_cookie = |value| Request { path: "/", header: None, cookie: Some(("cutover", value)) };
    let both =
        |header, cookie| Request { path: "/", header: Some(("x-cutover", header)), cookie: Some(("cutover", cookie)) };
    prop_oneof![
        Just((vec![], vec![])),
        Just((vec![header(Side::New, "x-cutover", "new")], vec![(by_header("new"), Side::New)])),
        Just((
            vec![header(Side::New, "x-cutover", "a.b"), header(Side::New, "X-CUTOVER", "c")],
            vec![(by_header("a.b"), Side::New), (by_header("c"), Side::New)],
        )),
        Just((
            vec![
                header(Side::New, "x-cutover", "always"),
                header(Side::Legacy, "x-cutover", "never"),
                cookie(Side::New, "cutover", "always"),
                cookie(Side::Legacy, "cutover", "never"),
            ],
            vec![
                (by_header("always"), Side::New),
                (by_header("never"), Side::Legacy),
                (by_cookie("always"), Side::New),
                (by_cookie("never"), Side::Legacy),
                (both("never", "always"), Side::Legacy),
                (both("always", "never"), Side::New),
            ],
        )),
    ]
}

fn weights(total: i32) -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(prop_oneof![Just(0), Just(total), 0..=total], 1..6)
}

fn one(side: Side, total: i32) -> Served {
    Served::New(if side == Side::New { total } else { 0 })
}

/// Every weight that was ever written, in every form: never all-zero, and both together the total.
fn assert_written_weights(world: &World, total: i32) {
    for route in [ObjectKind::HttpRoute, ObjectKind::GrpcRoute].into_iter().flat_map(|kind| world.all::<Value>(kind)) {
        for rule in route["spec"]["rules"].as_array().unwrap() {
            let weights: Vec<i64> =
                rule["backendRefs"].as_array().unwrap().iter().map(|it| it["weight"].as_i64().unwrap()).collect();
            let sum: i64 = weights.iter().sum();
            assert!(sum > 0, "all-zero: {rule}");
            assert!(rule["name"] != "weighted" || sum == i64::from(total), "{rule}");
        }
    }
    for service in world.all::<Value>(ObjectKind::VirtualService) {
        for entry in service["spec"]["http"].as_array().unwrap() {
            let sum: i64 = entry["route"].as_array().unwrap().iter().map(|it| it["weight"].as_i64().unwrap()).sum();
            assert_eq!(sum, i64::from(total), "{entry}");
        }
    }
    for service in world.all::<Value>(ObjectKind::TraefikService) {
        let members = service["spec"]["weighted"]["services"].as_array().unwrap();
        let sum: i64 = members.iter().map(|it| it["weight"].as_i64().unwrap()).sum();
        assert_eq!(sum, i64::from(total), "{service}");
    }
    for ingress in world.all::<Value>(ObjectKind::Ingress) {
        let marks = &ingress["metadata"]["annotations"];
        if marks["nginx.ingress.kubernetes.io/canary"] == "true" {
            let number = |name: &str| {
                marks[format!("nginx.ingress.kubernetes.io/{name}")].as_str().unwrap().parse::<i32>().unwrap()
            };
            assert_eq!(number("canary-weight-total"), total);
            assert!((0..=total).contains(&number("canary-weight")));
        }
    }
}

/// The split in parts of a thousand, on two paths, with pins of which the first wins.
fn pinned(split: Split) -> Split {
    split.with(|it| {
        it.total = 1000;
        it.pins = vec![
            header(Side::Legacy, "x-cutover", "old"),
            cookie(Side::New, "cutover", "a.b"),
            header(Side::New, "x-cutover", "new"),
        ];
        it.paths = vec![prefix("/"), prefix("/v2")];
    })
}

/// What a proxy does with requests for a path of a [`pinned`] split.
fn assert_pins(weight: i32, path: &str, serve: impl Fn(&Request<'_>) -> Served) {
    let served = |header, cookie| serve(&Request { path, header, cookie });
    assert_eq!(served(None, None), Served::New(weight));
    assert_eq!(served(Some(("X-Cutover", "old")), Some(("cutover", "a.b"))), Served::New(0), "the first pin wins");
    assert_eq!(served(Some(("x-cutover", "new")), None), Served::New(1000));
    assert_eq!(served(None, Some(("cutover", "a.b"))), Served::New(1000));
    assert_eq!(served(None, Some(("cutover", "axb"))), Served::New(weight));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_write_on_an_ingress_moves_a_request_out_of_its_way(
        (pins, pinned) in pins_of_a_canary(),
        (total, weights) in prop_oneof![Just(100), Just(1000)].prop_flat_map(|total| (Just(total), weights(total))),
        killed in any::<bool>(),
    ) {
        let mut world = World::default();
        let mut split = Split::nginx().with(|it| { it.pins = pins; it.total = total; });
        let mut before = None;
        for weight in weights {
            split.weight = weight;
            let (low, high) = before.map_or((weight, weight), |before: i32| (before.min(weight), before.max(weight)));
            let mut last = [before; 2];
            let mut states = vec![world.clone()];
            let plan = split.drive(&mut world, killed, |world| {
                assert_written_weights(world, total);
                if before.is_none() {
                    return;
                }
                states.push(world.clone());
                for (proxy, last) in PROXIES.into_iter().zip(&mut last) {
                    let Served::New(share) = proxies::ingress(proxy, &split, world, HOST, &Request::PLAIN) else {
                        panic!("{proxy:?} loses requests: {:#?}", world.writes);
                    };
                    assert!((low..=high).contains(&share), "{proxy:?} serves {share} on the way from {before:?} to {weight}");
                    let toward = |from: i32| if weight >= before.unwrap() { share >= from } else { share <= from };
                    assert!(toward(last.unwrap()), "{proxy:?} goes back on its way to {weight}");
                    *last = Some(share);
                    for (request, side) in &pinned {
                        assert_eq!(proxies::ingress(proxy, &split, world, HOST, request), one(*side, total), "{proxy:?} {request:?}");
                    }
                }
            });
            // However many writes ingress-nginx takes up at once, in two halves.
            let halves = states.iter().enumerate().flat_map(|(i, a)| states.iter().skip(i).flat_map(move |b| [(a, b), (b, a)]));
            for (paths, data) in halves.filter(|_| before.is_some()) {
                let served = |request: &Request<'_>| proxies::nginx_halves(&split, paths, data, HOST, request);
                match served(&Request::PLAIN) {
                    Served::New(share) => assert!((low..=high).contains(&share), "{share} from {before:?} to {weight}"),
                    other => panic!("{other:?} on the way from {before:?} to {weight}: {:#?} after {:#?}", data.writes, paths.writes),
                }
                for (request, side) in &pinned {
                    assert_eq!(served(request), one(*side, total), "{request:?}");
                }
            }
            for proxy in PROXIES {
                assert_eq!(proxies::ingress(proxy, &split, &world, HOST, &Request::PLAIN), Served::New(weight), "{proxy:?}");
                for (request, side) in &pinned {
                    assert_eq!(proxies::ingress(proxy, &split, &world, HOST, request), one(*side, total), "{proxy:?} {request:?}");
                }
            }
            assert!(plan.settled);
            assert_eq!(plan.problem, None);
            assert_eq!(plan.read_back.observed_weight, Some(weight));
            assert_eq!(split.read_weight(&world), Some(weight));
            before = Some(weight);
        }
    }

    #[test]
    fn no_write_on_a_route_moves_a_request_out_of_its_way(
        weights in weights(1000),
        new_gone in any::<bool>(),
        of_grpc in any::<bool>(),
    ) {
        let mut world = World::default();
        let mut split = pinned(Split::gateway());
        let mut paths = ["/", "/v2/x"];
        if of_grpc {
            split = split.grpc();
            split.paths = vec![PathMatch::new(PathType::Exact, "/shop.Cart/Get"), prefix("/shop.Cart")];
            paths = ["/shop.Cart/Get", "/shop.Cart/Put"];
        }
        for weight in weights {
            split.weight = weight;
            let plan = split.settle(&mut world);
            assert!(plan.settled);
            assert_written_weights(&world, 1000);
            for path in paths {
                assert_pins(weight, path, |request| proxies::route(&split, &world, "shop", request));
            }
            assert_eq!(split.read_weight(&world), Some(weight));
        }
        if new_gone && split.weight > 0 {
            split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
            split.weight = 0;
            split.settle(&mut world);
            let plain = Request { path: paths[0], ..Request::PLAIN };
            assert_eq!(proxies::route(&split, &world, "shop", &plain), Served::New(0), "it is left out at 0");
        }
    }

    #[test]
    fn a_canary_beside_a_users_ingress_is_all_that_is_written(weights in weights(100), killed in any::<bool>()) {
        let mut world = World::default();
        world.put(ObjectKind::Ingress, users_ingress("users"));
        let users = world.get(ObjectKind::Ingress, "users").cloned();
        let mut split = Split::beside("users");
        for weight in weights {
            split.weight = weight;
            let plan = split.drive(&mut world, killed, |world| {
                assert_eq!(world.get(ObjectKind::Ingress, "users"), users.as_ref());
                assert_written_weights(world, 100);
            });
            assert!(plan.settled, "{:?}", plan.problem);
            for proxy in PROXIES {
                assert_eq!(proxies::ingress(proxy, &split, &world, HOST, &Request::PLAIN), Served::New(weight), "{proxy:?}");
            }
        }
        let written: std::collections::BTreeSet<String> =
            world.writes.iter().map(|it| it.split_once(' ').unwrap().1.to_owned()).collect();
        assert!(
            written.iter().all(|it| ["Service/shop-cutover-new", "Ingress/shop-cutover-canary"].contains(&it.as_str())),
            "{written:?}"
        );
    }

    #[test]
    fn an_attached_rule_is_changed_in_its_backends_and_nowhere_else(weights in weights(100)) {
        let mut world = World::default();
        world.put(ObjectKind::HttpRoute, users_route("users"));
        let mut split = Split::rule("users", "checkout");
        // The rule bears filters, which the small gateway here does not know and ours must not lose.
        for weight in weights {
            let mut before = world.get(ObjectKind::HttpRoute, "users").unwrap().clone();
            split.weight = weight;
            split.drive(&mut world, false, |_| {});
            let mut after = world.get(ObjectKind::HttpRoute, "users").unwrap().clone();
            assert_eq!(proxies::route(&split, &world, "users", &Request::PLAIN), Served::New(weight));
            assert_eq!(
                after.pointer("/spec/rules/1/backendRefs/0/filters"),
                before.pointer("/spec/rules/1/backendRefs/0/filters"),
                "a backend keeps its filters",
            );
            for route in [&mut before, &mut after] {
                route["spec"]["rules"][1]["backendRefs"] = Value::Null;
                for field in ["resourceVersion", "generation"] {
                    route["metadata"][field] = Value::Null;
                }
            }
            assert_eq!(after, before);
            accept_all(&mut world);
            assert!(split.plan(&world).settled);
            assert_eq!(split.read_weight(&world), Some(weight));
        }
    }

    #[test]
    fn no_write_of_traefiks_objects_moves_a_request_out_of_its_way(
        weights in weights(1000),
        killed in any::<bool>(),
    ) {
        let mut world = World::default();
        let mut split = pinned(Split::traefik());
        let mut before = None;
        for weight in weights {
            split.weight = weight;
            // With no share it may have no endpoint: with a member of such a Service Traefik drops them all.
            let ready = |share: i32| Known::Known(i32::from(share > 0 || before.is_some_and(|before| before != weight)));
            split.backend_mut(Side::New).ready = ready(weight);
            split.backend_mut(Side::Legacy).ready = ready(1000 - weight);
            let plan = split.drive(&mut world, killed, |world| {
                assert_written_weights(world, 1000);
                let served = proxies::ingress_route(&split, world, HOST, &Request::PLAIN);
                let allowed = [Some(weight), before].map(|it| it.map_or(Served::Nothing, Served::New));
                assert!(allowed.contains(&served), "{served:?} on the way from {before:?} to {weight}");
            });
            assert!(plan.settled);
            split.backend_mut(Side::New).ready = Known::Known(1);
            split.backend_mut(Side::Legacy).ready = Known::Known(1);
            for path in ["/", "/v2", "/v2/x", "/v20"] {
                assert_pins(weight, path, |request| proxies::ingress_route(&split, &world, HOST, request));
            }
            assert_eq!(proxies::ingress_route(&split, &world, "other.example.com", &Request::PLAIN), Served::Nothing);
            assert_eq!(split.read_weight(&world), Some(weight));
            before = Some(weight);
        }
        if split.weight > 0 {
            split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
            split.weight = 0;
            split.settle(&mut world);
            assert_eq!(proxies::ingress_route(&split, &world, HOST, &Request::PLAIN), Served::New(0), "it is left out at 0");
        }
    }

    #[test]
    fn an_attached_traefik_service_is_changed_in_its_weights_and_nowhere_else(weights in weights(100)) {
        let mut world = World::default();
        world.put(ObjectKind::TraefikService, users_service("users"));
        let mut split = Split::weighted("users");
        for weight in weights {
            let mut before = world.get(ObjectKind::TraefikService, "users").unwrap().clone();
            split.weight = weight;
            let plan = split.settle(&mut world);
            prop_assert!(plan.settled);
            let mut after = world.get(ObjectKind::TraefikService, "users").unwrap().clone();
            let members = after["spec"]["weighted"]["services"].as_array().unwrap();
            assert_eq!((members[0]["weight"].clone(), members[1]["weight"].clone()), (json!(weight), json!(100 - weight)));
            for service in [&mut before, &mut after] {
                for at in [0, 1] {
                    service["spec"]["weighted"]["services"][at].as_object_mut().unwrap().remove("weight");
                }
                for field in ["resourceVersion", "generation"] {
                    service["metadata"][field] = Value::Null;
                }
            }
            assert_eq!(after, before);
            assert_eq!(split.read_weight(&world), Some(weight));
        }
        assert!(world.writes.iter().all(|it| it == "patch TraefikService/users"), "{:?}", world.writes);
    }

    #[test]
    fn no_write_of_a_virtual_service_moves_a_request_out_of_its_way(weights in weights(1000)) {
        let mut world = World::default();
        let mut split = Split::istio().with(|it| {
            it.total = 1000;
            it.pins = vec![
                header(Side::Legacy, "x-cutover", "old"),
                cookie(Side::New, "cutover", "a.b"),
                header(Side::New, "X-Cutover", "new"),
            ];
            it.paths = vec![prefix("/"), prefix("/v2")];
        });
        for weight in weights {
            split.weight = weight;
            let plan = split.drive(&mut world, true, |world| assert_written_weights(world, 1000));
            assert!(plan.settled);
            for path in ["/", "/v2", "/v2/x", "/v20"] {
                assert_pins(weight, path, |request| proxies::virtual_service(&split, &world, "shop", HOST, request));
            }
            assert_eq!(split.read_weight(&world), Some(weight));
        }
        if split.weight > 0 {
            split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
            split.weight = 0;
            split.settle(&mut world);
            assert_eq!(
                proxies::virtual_service(&split, &world, "shop", HOST, &Request::PLAIN),
                Served::New(0),
                "it is left out at 0"
            );
        }
    }

    #[test]
    fn an_attached_entry_is_changed_in_its_destinations_and_nowhere_else(weights in weights(100)) {
        let mut world = World::default();
        world.put(ObjectKind::VirtualService, users_virtual_service("users"));
        let mut split = Split::entry("users", "all");
        for weight in weights {
            let mut before = world.get(ObjectKind::VirtualService, "users").unwrap().clone();
            split.weight = weight;
            let plan = split.settle(&mut world);
            prop_assert!(plan.settled);
            let mut after = world.get(ObjectKind::VirtualService, "users").unwrap().clone();
            assert_eq!(
                after.pointer("/spec/http/1/route/0/headers"),
                before.pointer("/spec/http/1/route/0/headers"),
                "a destination keeps its headers"
            );
            let served = proxies::virtual_service(&split, &world, "users", HOST, &Request::PLAIN);
            assert_eq!(served, Served::New(weight));
            for service in [&mut before, &mut after] {
                service["spec"]["http"][1]["route"] = Value::Null;
                for field in ["resourceVersion", "generation"] {
                    service["metadata"][field] = Value::Null;
                }
            }
            assert_eq!(after, before);
            assert_eq!(split.read_weight(&world), Some(weight));
        }
    }

    #[test]
    fn no_write_on_a_load_balancers_ingress_moves_a_request_out_of_its_way(weights in weights(1000)) {
        let mut world = World::default();
        let mut split = Split::alb().with(|it| {
            it.total = 1000;
            it.pins = vec![header(Side::Legacy, "x-cutover", "old"), header(Side::New, "X-Cutover", "new")];
            it.paths = vec![prefix("/"), prefix("/v2")];
        });
        for weight in weights {
            split.weight = weight;
            let plan = split.drive(&mut world, true, |_| {});
            assert!(plan.settled);
            for path in ["/", "/v2", "/v2/x", "/v20"] {
                let served = |header| proxies::alb(&split, &world, HOST, &Request { path, header, cookie: None });
                assert_eq!(served(None), Served::New(weight));
                assert_eq!(served(Some(("X-Cutover", "old"))), Served::New(0));
                assert_eq!(served(Some(("x-cutover", "new"))), Served::New(1000));
            }
            assert_eq!(split.read_weight(&world), Some(weight));
        }
        if split.weight > 0 {
            split.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
            split.weight = 0;
            split.settle(&mut world);
            assert_eq!(proxies::alb(&split, &world, HOST, &Request::PLAIN), Served::New(0), "it is left out at 0");
        }
    }

    #[test]
    fn whatever_is_done_to_our_objects_by_hand_is_undone(
        weight in prop_oneof![Just(0), Just(30), Just(100)],
        edits in prop::collection::vec(0_usize..19, 1..4),
        router in prop_oneof![Just(Split::nginx()), Just(Split::gateway()), Just(Split::gateway().grpc()), Just(Split::traefik()), Just(Split::istio()), Just(Split::alb())],
    ) {
        let mut world = World::default();
        let split = router.at(weight).with(|it| {
            it.pins = vec![header(Side::New, "x-cutover", "new")];
        });
        split.settle(&mut world);
        for edit in edits {
            vandalise(&mut world, edit);
        }
        let plan = split.settle(&mut world);
        assert!(plan.settled, "{:?}", plan.problem);
        let path = if split.router == Split::gateway().grpc().router { "/shop.Cart/Get" } else { "/" };
        let plain = Request { path, ..Request::PLAIN };
        let pinned = Request { path, header: Some(("x-cutover", "new")), cookie: None };
        for (request, share) in [(&plain, weight), (&pinned, 100)] {
            if split.router.gateway_api.is_some() {
                assert_eq!(proxies::route(&split, &world, "shop", request), Served::New(share));
            } else if split.router.alb.is_some() {
                assert_eq!(proxies::alb(&split, &world, HOST, request), Served::New(share));
            } else if split.router.istio.is_some() {
                assert_eq!(proxies::virtual_service(&split, &world, "shop", HOST, request), Served::New(share));
            } else if split.router.traefik.is_some() {
                assert_eq!(proxies::ingress_route(&split, &world, HOST, request), Served::New(share));
            } else {
                for proxy in PROXIES {
                    assert_eq!(proxies::ingress(proxy, &split, &world, HOST, request), Served::New(share), "{proxy:?}");
                }
            }
        }
    }
}

/// One thing that people do to objects that are not theirs.
fn vandalise(world: &mut World, edit: usize) {
    let (main, canary) = ("shop", "shop-cutover-canary");
    let has = |world: &World, name| world.get(ObjectKind::Ingress, name).is_some();
    let mark = |name: &str, value: &str| {
        let (name, value) = (format!("nginx.ingress.kubernetes.io/{name}"), value.to_owned());
        move |it: &mut Value| it["metadata"]["annotations"][name] = json!(value)
    };
    let kinds = [ObjectKind::HttpRoute, ObjectKind::GrpcRoute];
    let route = kinds.into_iter().find(|kind| world.get(*kind, main).is_some());
    match edit {
        0 if has(world, main) => world.drop(ObjectKind::Ingress, main),
        1 if has(world, canary) => world.drop(ObjectKind::Ingress, canary),
        2 if has(world, canary) => world.edit(ObjectKind::Ingress, canary, mark("canary-weight", "77")),
        3 if has(world, canary) => world.edit(ObjectKind::Ingress, canary, mark("canary-by-cookie", "everybody")),
        4 if has(world, main) => world.edit(ObjectKind::Ingress, main, |it| {
            it["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = json!("elsewhere");
        }),
        5 if has(world, main) => world.edit(ObjectKind::Ingress, main, mark("canary", "true")),
        6 if route.is_some() => world.edit(route.unwrap(), main, |it| {
            let last = it["spec"]["rules"].as_array().unwrap().len() - 1;
            it["spec"]["rules"][last]["backendRefs"][0]["weight"] = json!(3);
            it["spec"]["rules"][0]["filters"] = json!([{"type": "RequestMirror"}]);
        }),
        7 => {
            if let Some(name) =
                world.created.iter().find(|(kind, _)| *kind == ObjectKind::Service).map(|(_, it)| it.clone())
            {
                world.edit(ObjectKind::Service, &name, |it| it["spec"]["selector"] = json!({"app": "elsewhere"}));
            }
        }
        8 if route.is_some() => world.drop(route.unwrap(), main),
        9 if has(world, main) => world.edit(ObjectKind::Ingress, main, |it| {
            it["spec"]["defaultBackend"] = json!({"service": {"name": "elsewhere", "port": {"number": 80}}});
            it["spec"]["tls"] = json!([{"hosts": ["shop.example.com"], "secretName": "theirs"}]);
        }),
        10 if world.get(ObjectKind::Service, "shop-cutover-new").is_some() => {
            world.edit(ObjectKind::Service, "shop-cutover-new", |it| {
                it["spec"]["publishNotReadyAddresses"] = json!(true);
                it["spec"]["ports"].as_array_mut().unwrap().push(json!({"name": "more", "port": 81, "targetPort": 81}));
            });
        }
        11..=14 => vandalise_traefik(world, edit),
        17 if has(world, "shop-cutover-alb") => world.drop(ObjectKind::Ingress, "shop-cutover-alb"),
        18 if has(world, "shop-cutover-alb") => world.edit(ObjectKind::Ingress, "shop-cutover-alb", |it| {
            let marks = &mut it["metadata"]["annotations"];
            marks["alb.ingress.kubernetes.io/actions.weighted"] = json!("{}");
            marks["alb.ingress.kubernetes.io/conditions.weighted"] = json!("[]");
            it["spec"]["rules"] = json!([]);
            it["spec"]["defaultBackend"] = json!({"service": {"name": "elsewhere", "port": {"number": 80}}});
        }),
        15 if world.get(ObjectKind::VirtualService, "shop").is_some() => world.drop(ObjectKind::VirtualService, "shop"),
        16 if world.get(ObjectKind::VirtualService, "shop").is_some() => {
            world.edit(ObjectKind::VirtualService, "shop", |it| {
                it["spec"]["http"][0]["route"][0]["destination"]["host"] = json!("elsewhere");
                it["spec"]["http"][0]["fault"] = json!({"abort": {"httpStatus": 500}});
                it["spec"]["exportTo"] = json!(["."]);
            });
        }
        _ => {}
    }
}

fn vandalise_traefik(world: &mut World, edit: usize) {
    let (route, service) = ((ObjectKind::IngressRoute, "shop"), (ObjectKind::TraefikService, "shop-cutover-weighted"));
    let has = |world: &World, (kind, name)| world.get(kind, name).is_some();
    match edit {
        11 if has(world, route) => world.drop(route.0, route.1),
        12 if has(world, service) => world.drop(service.0, service.1),
        13 if has(world, route) => world.edit(route.0, route.1, |it| {
            it["spec"]["routes"][0]["middlewares"] = json!([{"name": "theirs"}]);
            it["spec"]["routes"][0]["priority"] = json!(1);
            it["spec"]["entryPoints"] = json!(["elsewhere"]);
        }),
        14 if has(world, service) => world.edit(service.0, service.1, |it| {
            it["spec"]["weighted"]["services"][0]["weight"] = json!(3);
            it["spec"]["weighted"]["sticky"] = json!({"cookie": {"name": "theirs"}});
        }),
        _ => {}
    }
}

/// What the walks would not forgive, seen by the proxies here: else the walks would prove nothing.
#[test]
fn the_proxies_notice_each_mistake_that_the_forms_avoid() {
    let served = |proxy, split: &Split, world: &World| proxies::ingress(proxy, split, world, HOST, &Request::PLAIN);
    let main_to_new = |world: &mut World, port: Value| {
        world.edit(ObjectKind::Ingress, "shop", |it| {
            it["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"] =
                json!({"name": "shop-cutover-new", "port": port});
        });
    };
    let split = Split::nginx().at(50);
    let mut world = World::default();
    split.settle(&mut world);

    let mut same_backend = world.clone();
    main_to_new(&mut same_backend, json!({"number": 80}));
    assert_eq!(served(Proxy::Nginx, &split, &same_backend), Served::Nothing, "ingress-nginx loses the main Ingress");
    assert_eq!(served(Proxy::Traefik, &split, &same_backend), Served::New(100), "Traefik ignores the canary");

    let mut not_kept = world.clone();
    let forget = |it: &mut Value| {
        it["spec"]["rules"][0]["http"]["paths"].as_array_mut().unwrap().truncate(1);
    };
    not_kept.edit(ObjectKind::Ingress, "shop", forget);
    not_kept.edit(ObjectKind::Ingress, "shop-cutover-canary", forget);
    let mut exchanged = not_kept.clone();
    main_to_new(&mut exchanged, json!({"name": "http"}));
    let halves = |paths, data| proxies::nginx_halves(&split, paths, data, HOST, &Request::PLAIN);
    assert!(matches!(halves(&not_kept, &exchanged), Served::Error(_)), "old workers lose the old backend");
    assert!(matches!(halves(&exchanged, &not_kept), Served::Error(_)), "new workers do not know the new one yet");

    let mut too_early = world.clone();
    too_early.drop(ObjectKind::Ingress, "shop-cutover-canary");
    assert_eq!(served(Proxy::Nginx, &split, &too_early), Served::New(0), "a canary removed before the main one moves");

    let dead = split.clone().with(|it| it.backend_mut(Side::Legacy).ready = Known::Known(0));
    assert!(matches!(served(Proxy::Nginx, &dead, &world), Served::Error(_)), "the canary's share fails too");
    let dead_at_total = dead.with(|it| it.weight = 100);
    let mut at_total = world.clone();
    Split::nginx().at(100).with(|it| it.backend_mut(Side::New).ready = Known::Unknown).drive(
        &mut at_total,
        false,
        |_| {},
    );
    assert!(
        matches!(served(Proxy::Nginx, &dead_at_total, &at_total), Served::Error(_)),
        "at total as well: 503 for all"
    );
    assert_eq!(served(Proxy::Traefik, &dead_at_total, &at_total), Served::New(100), "Traefik does not show it");

    let mut shared = World::default();
    let mut users = users_ingress("users");
    users["spec"]["rules"].as_array_mut().unwrap().push(json!({"host": "admin.example.com", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "monolith", "port": {"number": 8080}}}},
    ]}}));
    shared.put(ObjectKind::Ingress, users);
    let beside = Split::beside("users").with(|it| it.hosts = vec![HOST.into(), "admin.example.com".into()]);
    beside.settle(&mut shared);
    shared.edit(ObjectKind::Ingress, "shop-cutover-canary", |it| {
        it["spec"]["rules"].as_array_mut().unwrap().pop();
    });
    for proxy in PROXIES {
        let dragged = proxies::ingress(proxy, &beside, &shared, "admin.example.com", &Request::PLAIN);
        assert_eq!(dragged, Served::New(25), "{proxy:?} splits another path of the same Service and port");
    }
}

#[test]
fn a_change_of_weight_is_one_write_per_route() {
    let gateways = [Split::gateway(), Split::gateway().grpc()];
    for split in [Split::nginx(), Split::traefik(), Split::istio(), Split::alb()].into_iter().chain(gateways) {
        let mut world = World::default();
        split.clone().at(10).settle(&mut world);
        world.writes.clear();
        split.clone().at(60).settle(&mut world);
        assert_eq!(world.writes.len(), 1, "{:?}", world.writes);
        world.writes.clear();
        split.at(60).settle(&mut world);
        assert_eq!(world.writes, [] as [String; 0], "and none at rest");
    }
}

#[test]
fn a_complete_cutover_and_its_way_back_go_in_this_order() {
    let mut world = World::default();
    Split::nginx().at(0).settle(&mut world);
    assert_eq!(
        world.writes,
        [
            "create Service/shop-cutover-legacy",
            "create Service/shop-cutover-new",
            "create Ingress/shop-cutover-canary",
            "create Ingress/shop",
        ]
    );
    world.writes.clear();
    Split::nginx().at(100).settle(&mut world);
    assert_eq!(world.writes, ["apply Ingress/shop-cutover-canary", "apply Ingress/shop"]);
    world.writes.clear();
    Split::nginx().at(40).settle(&mut world);
    assert_eq!(world.writes, ["apply Ingress/shop", "apply Ingress/shop-cutover-canary"]);
}

#[test]
fn each_step_of_a_cutover_waits_until_the_one_before_is_observed() {
    let mut world = World::default();
    Split::nginx().at(0).settle(&mut world);
    let split = Split::nginx().at(100);
    for _ in 0..2 {
        let plan = split.plan(&world);
        assert_eq!(plan.steps.len(), 1, "{:?}", plan.steps);
        assert!(!plan.settled);
        world.send(&plan.steps[0]);
    }
    assert!(split.plan(&world).settled);
}

#[test]
fn the_main_ingress_is_not_led_to_a_side_without_endpoints() {
    let mut world = World::default();
    Split::nginx().at(50).settle(&mut world);
    let dead = |side| move |it: &mut Split| it.backend_mut(side).ready = Known::Known(0);
    let split = Split::nginx().at(100).with(dead(Side::New));
    let plan = split.drive(&mut world, true, |_| {});
    assert!(!plan.settled);
    assert_eq!(plan.problem.unwrap().reason, "InsufficientCapacity");
    let served = |split: &Split, world: &World| proxies::ingress(Proxy::Nginx, split, world, HOST, &Request::PLAIN);
    assert_eq!(served(&split, &world), Served::New(0), "its canary is skipped, so legacy goes on");

    Split::nginx().at(100).settle(&mut world);
    let split = Split::nginx().at(0).with(dead(Side::Legacy));
    let plan = split.drive(&mut world, true, |_| {});
    assert_eq!(plan.problem.unwrap().reason, "InsufficientCapacity");
    assert_eq!(served(&split, &world), Served::New(100), "and the way back waits for legacy");
}

#[test]
fn the_main_ingress_waits_for_the_alias_to_be_given_its_endpoints() {
    let mut world = World::default();
    Split::nginx().at(0).settle(&mut world);
    world.slow_endpoints = true;
    world.drop(ObjectKind::Service, "shop-cutover-new");
    let split = Split::nginx().at(100);
    let plan = split.drive(&mut world, true, |world| {
        let served = proxies::ingress(Proxy::Nginx, &split, world, HOST, &Request::PLAIN);
        assert_eq!(served, Served::New(0), "{:?}", world.writes);
    });
    assert!(!plan.settled);
    world.filled.push("shop-cutover-new".into());
    assert!(split.settle(&mut world).settled);
}

#[test]
fn pins_to_legacy_outlive_a_cutover_as_long_as_legacy_does() {
    let pinned = Request { path: "/", header: Some(("x-cutover", "never")), cookie: None };
    let pins = vec![header(Side::New, "x-cutover", "always"), header(Side::Legacy, "x-cutover", "never")];
    let mut world = World::default();
    let mut split = Split::nginx().at(100).with(|it| it.pins = pins);
    let plan = split.settle(&mut world);
    assert!(plan.settled);
    assert!(plan.read_back.message.unwrap().contains("remove that pin before legacy is retired"));
    for proxy in PROXIES {
        assert_eq!(proxies::ingress(proxy, &split, &world, HOST, &pinned), Served::New(0));
    }
    split.backend_mut(Side::Legacy).ready = Known::Known(0);
    assert!(split.settle(&mut world).settled);
    for proxy in PROXIES {
        assert_eq!(proxies::ingress(proxy, &split, &world, HOST, &Request::PLAIN), Served::New(100));
    }
    split.backend_mut(Side::Legacy).ready = Known::Unknown;
    world.writes.clear();
    split.settle(&mut world);
    assert_eq!(world.writes, [] as [String; 0], "what is not known moves nothing");
}

#[test]
fn a_user_finishes_and_undoes_an_attached_cutover_without_a_request_out_of_its_way() {
    let mut world = World::default();
    world.put(ObjectKind::Ingress, users_ingress("users"));
    let name = |service: &'static str| {
        move |it: &mut Value| {
            it["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = json!(service);
        }
    };
    let mut split = Split::beside("users").at(100);
    let assert_all_new = |split: &Split, world: &World| {
        for proxy in PROXIES {
            assert_eq!(proxies::ingress(proxy, split, world, HOST, &Request::PLAIN), Served::New(100), "{proxy:?}");
        }
    };
    let plan = split.settle(&mut world);
    assert!(plan.settled, "the canary stays at total");
    let edit = "edit Ingress users so that Service storefront with port 8080 is the backend of shop.example.com/ (now Service monolith:8080)";
    assert_eq!(plan.awaits_edit.as_deref(), Some(edit));
    assert_all_new(&split, &world);
    world.edit(ObjectKind::Ingress, "users", name("storefront"));
    assert_all_new(&split, &world);
    let plan = split.drive(&mut world, true, |world| assert_all_new(&split, world));
    assert_eq!((plan.settled, plan.awaits_edit), (true, None));
    assert!(world.get(ObjectKind::Ingress, "shop-cutover-canary").is_none());
    let mut gone = world.clone();
    gone.drop(ObjectKind::Ingress, "users");
    assert!(split.plan(&gone).awaits_edit.unwrap().starts_with("Ingress users is not there"));

    split.weight = 20;
    let plan = split.drive(&mut world, true, |world| assert_all_new(&split, world));
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "Conflicted");
    assert!(
        problem.message.starts_with("spec.routers[0].ingressNginx.attach.ingress: Ingress users names the new side"),
        "{}",
        problem.message
    );
    world.edit(ObjectKind::Ingress, "users", name("monolith"));
    assert_all_new(&split, &world);
    assert!(split.settle(&mut world).settled);
    assert_eq!(proxies::ingress(Proxy::Nginx, &split, &world, HOST, &Request::PLAIN), Served::New(20));
}

#[test]
fn two_splits_of_one_legacy_service_are_split_apart() {
    let mut world = World::default();
    let shop = Split::nginx().at(0);
    let v2 = Split::nginx().at(100).with(|it| {
        it.name = "shop-v2".into();
        it.uid = "v2-uid".into();
        it.paths = vec![prefix("/v2")];
        it.pins = vec![header(Side::New, "x", "y")];
    });
    shop.settle(&mut world);
    v2.drive(&mut world, true, |world| {
        for proxy in PROXIES {
            assert_eq!(proxies::ingress(proxy, &shop, world, HOST, &Request::PLAIN), Served::New(0), "{proxy:?}");
        }
    });
    for proxy in PROXIES {
        let at = |path| Request { path, header: None, cookie: None };
        assert_eq!(proxies::ingress(proxy, &shop, &world, HOST, &at("/cart")), Served::New(0));
        assert_eq!(proxies::ingress(proxy, &v2, &world, HOST, &at("/v2/cart")), Served::New(100));
    }
}
