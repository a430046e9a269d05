//! Middlewares and ServersTransports of Traefik's: what they say, and that none is named that a proxy may not have.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{Edge, Mirror, PathMatch, PathType, Side},
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World, header, prefix},
    proxies::{self, Request, Served},
};
use crate::{
    Known,
    router::{self, ObjectKind, RouteStep, SideBackend, Unseen, marks},
};

const HOST: &str = "shop.example.com";
const LIMIT: (ObjectKind, &str) = (ObjectKind::Middleware, "shop-cutover-rate-limit");
const HEADERS: (ObjectKind, &str) = (ObjectKind::Middleware, "shop-cutover-headers");
const TIMEOUTS: (ObjectKind, &str) = (ObjectKind::ServersTransport, "shop-cutover-timeouts");
const SERVICE: (ObjectKind, &str) = (ObjectKind::TraefikService, "shop-cutover-weighted");
const ROUTE: (ObjectKind, &str) = (ObjectKind::IngressRoute, "shop");

fn edge(yaml: &str) -> Edge {
    serde_yaml_ng::from_str(yaml).unwrap()
}

fn asking(yaml: &str) -> Split {
    Split::traefik().with(|it| it.edge = Some(edge(yaml)))
}

fn spec(world: &World, (kind, name): (ObjectKind, &str)) -> Value {
    world.get(kind, name).map_or(Value::Null, |it| it["spec"].clone())
}

fn named(world: &World) -> Vec<Vec<String>> {
    let route = spec(world, ROUTE);
    let names = |rule: &Value| {
        let list = rule["middlewares"].as_array().cloned().unwrap_or_default();
        list.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    route["routes"].as_array().unwrap().iter().map(names).collect()
}

#[test]
fn what_the_objects_say_and_who_names_them() {
    let mut world = World::default();
    let said = "{rateLimit: {requestsPerMinute: 90, burst: 7}, timeouts: {connect: 2s, read: 1m}, \
                securityHeaders: {contentSecurityPolicy: \"default-src 'self'\"}}";
    let split = asking(said).with(|it| it.pins = vec![header(Side::New, "x-a", "new")]);
    split.settle(&mut world);
    let limit = json!({"average": 90, "period": "1m", "burst": 7, "sourceCriterion": {"ipStrategy": {}}});
    assert_eq!(spec(&world, LIMIT), json!({"rateLimit": limit}));
    let set = &spec(&world, HEADERS)["headers"]["customResponseHeaders"];
    assert_eq!(
        (&set["X-Frame-Options"], &set["Content-Security-Policy"]),
        (&json!("DENY"), &json!("default-src 'self'"))
    );
    let times = json!({"dialTimeout": "2s", "responseHeaderTimeout": "60s"});
    assert_eq!(spec(&world, TIMEOUTS), json!({"maxIdleConnsPerHost": 200, "forwardingTimeouts": times}));
    assert_eq!(named(&world), [[HEADERS.1, LIMIT.1], [HEADERS.1, LIMIT.1]], "429s bear the headers too");
    let members = spec(&world, SERVICE)["weighted"]["services"].clone();
    let pin = spec(&world, ROUTE)["routes"][0]["services"][0].clone();
    for member in members.as_array().unwrap().iter().chain([&pin]) {
        assert_eq!(member["serversTransport"], TIMEOUTS.1);
    }
    world.writes.clear();
    split.with(|it| it.edge = Some(edge("{rateLimit: {requestsPerMinute: 60}}"))).settle(&mut world);
    assert_eq!(spec(&world, LIMIT)["rateLimit"]["burst"], 60, "as many as in a minute");
    assert_eq!(
        world.writes,
        [
            "apply TraefikService/shop-cutover-weighted",
            "apply Middleware/shop-cutover-rate-limit",
            "apply IngressRoute/shop",
            "delete Middleware/shop-cutover-headers",
            "delete ServersTransport/shop-cutover-timeouts",
        ],
        "named no more before they go"
    );
    assert_eq!(named(&world), [[LIMIT.1], [LIMIT.1]]);
}

#[test]
fn what_a_new_split_names_is_there_first_and_what_a_served_one_names_is_known_to_proxies() {
    let all = "{rateLimit: {requestsPerMinute: 90}, timeouts: {read: 1m}}";
    let mut world = World::default();
    asking(all).settle(&mut world);
    let made = [
        "create Middleware/shop-cutover-rate-limit",
        "create ServersTransport/shop-cutover-timeouts",
        "create TraefikService/shop-cutover-weighted",
        "create IngressRoute/shop",
    ];
    assert_eq!(world.writes, made);

    let mut world = World::default();
    asking("{}").settle(&mut world);
    (world.unseen, world.writes) = (Unseen::default(), Vec::new());
    let split = asking(all).at(60);
    let plan = split.plan(&world);
    for step in &plan.steps {
        world.send(step);
    }
    // The weight does not wait, and is the first.
    assert_eq!(world.writes, ["apply TraefikService/shop-cutover-weighted", made[0], made[1]]);
    let waiting = split.plan(&world);
    assert_eq!(waiting.steps, []);
    assert!(waiting.paused && !waiting.settled, "{waiting:?}");
    let message = waiting.read_back.message.unwrap();
    assert!(message.contains("ServersTransport shop-cutover-timeouts"), "{message}");
    split.at(70).plan(&world).steps.iter().for_each(|step| world.send(step));
    assert_eq!(world.writes.len(), 4, "nor does the next: {:?}", world.writes);
    world.unseen = Unseen::default();
    let after = asking(all).at(70).plan(&world);
    let kinds: Vec<_> = after.steps.iter().map(RouteStep::kind).collect();
    assert_eq!(kinds, [SERVICE.0, ROUTE.0]);
}

/// What of the edge is asked for, as YAML.
fn edges() -> impl Strategy<Value = Option<Edge>> {
    let some = prop::sample::subsequence(
        vec![
            "securityHeaders: {}",
            "rateLimit: {requestsPerMinute: 60}",
            "timeouts: {read: 1m}",
            "cors: {allowOrigins: [\"https://a.example.com\"]}",
            "retries: {attempts: 1}",
            "circuitBreaker: {errorPercent: 60}",
        ],
        0..=6,
    );
    (some, any::<bool>()).prop_map(|(parts, more)| {
        let said = parts.join(", ");
        let said = if more { said.replace("60", "90").replace("1m", "2m") } else { said };
        Some(edge(&format!("{{{said}}}")))
    })
}

fn rewrites() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), Just(Some("/v1".to_owned())), Just(Some("/v2".to_owned()))]
}

fn mirrors() -> impl Strategy<Value = Option<Mirror>> {
    prop_oneof![Just(None), Just(Some(10)), Just(Some(50))]
        .prop_map(|percent| percent.map(|percent| Mirror { percent, allow_unsafe: false }))
}

#[test]
fn what_cors_retries_and_circuit_breakers_come_down_to() {
    let mut world = World::default();
    let said = "{cors: {allowOrigins: [\"https://a.example.com\"], allowMethods: [GET, PUT], exposeHeaders: [X-Total], allowCredentials: true}, \
                retries: {attempts: 2, backoffMilliseconds: 50}, circuitBreaker: {errorPercent: 5, openFor: 20s}, \
                rateLimit: {requestsPerMinute: 60}, securityHeaders: {}}";
    let split = asking(said);
    split.settle(&mut world);
    let of = |name: &str| spec(&world, (ObjectKind::Middleware, name));
    assert_eq!(
        of("shop-cutover-cors"),
        json!({"headers": {
            "accessControlAllowOriginList": ["https://a.example.com"], "accessControlAllowMethods": ["GET", "PUT"],
            "accessControlAllowHeaders": ["Content-Type"], "accessControlExposeHeaders": ["X-Total"],
            "accessControlAllowCredentials": true, "accessControlMaxAge": 600, "addVaryHeader": true,
        }})
    );
    // The first is one of them.
    assert_eq!(of("shop-cutover-retries"), json!({"retry": {"attempts": 3, "initialInterval": "50ms"}}));
    let expression = "ResponseCodeRatio(500, 600, 0, 600) > 0.05";
    let breaker = json!({"circuitBreaker": {"expression": expression, "fallbackDuration": "20s"}});
    assert_eq!(of("shop-cutover-circuit-breaker"), breaker);
    let order = ["headers", "cors", "rate-limit"].map(|it| format!("shop-cutover-{it}"));
    assert_eq!(named(&world), [order]);
    world.edit(ObjectKind::Middleware, "shop-cutover-retries", |it| {
        it["spec"]["retry"]["status"] = json!(["500-599"]);
        it["spec"]["retry"]["retryNonIdempotentMethod"] = json!(true);
    });
    split.settle(&mut world);
    let found = spec(&world, (ObjectKind::Middleware, "shop-cutover-retries"));
    assert_eq!(found["retry"], json!({"attempts": 3, "initialInterval": "50ms"}), "no POST is sent twice by a stray");
}

/// One that was on a rule would count both sides together: what fails on one would close the other.
#[test]
fn what_counts_the_errors_of_a_side_counts_no_others() {
    let breaker = "shop-cutover-circuit-breaker";
    let middlewares = |of: &Value| {
        let list = of["middlewares"].as_array().cloned().unwrap_or_default();
        list.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut world = World::default();
    let split =
        asking("{circuitBreaker: {errorPercent: 60}, retries: {attempts: 2}, rateLimit: {requestsPerMinute: 60}}")
            .with(|it| it.pins = vec![header(Side::New, "x-a", "new")]);
    split.settle(&mut world);
    assert_eq!(named(&world), [[LIMIT.1], [LIMIT.1]], "no rule names it, for a rule leads to both");
    let members = spec(&world, SERVICE)["weighted"]["services"].clone();
    let pinned = spec(&world, ROUTE)["routes"][0]["services"][0].clone();
    let all: Vec<_> = members.as_array().unwrap().iter().chain([&pinned]).map(middlewares).collect();
    let wanted = [breaker, "shop-cutover-retries"];
    assert_eq!(all, [wanted; 3], "what is tried again counts once");
    // Without it, what reaches one side in vain may reach the other.
    let split = split.with(|it| it.edge = Some(edge("{retries: {attempts: 2}}")));
    split.settle(&mut world);
    assert_eq!(named(&world), [["shop-cutover-retries"], ["shop-cutover-retries"]]);
    let members = spec(&world, SERVICE)["weighted"]["services"].clone();
    assert!(members.as_array().unwrap().iter().all(|it| middlewares(it).is_empty()), "{members}");
    assert_eq!(world.get(ObjectKind::Middleware, breaker), None);
}

/// A refused form waits as a whole, what is named by members with it.
#[test]
fn a_refused_spec_leaves_the_breaker_where_it_is() {
    let mut world = World::default();
    let split = asking("{circuitBreaker: {errorPercent: 60}, retries: {attempts: 2}}");
    split.settle(&mut world);
    let before = spec(&world, SERVICE)["weighted"]["services"][0]["middlewares"].clone();
    assert_eq!(before.as_array().unwrap().len(), 2);
    let refused = split.at(60).with(|it| {
        it.edge = None;
        it.backend_mut(Side::New).external_name = true;
    });
    assert_eq!(refused.settle(&mut world).problem.unwrap().reason, "UnsupportedByRouter");
    let after = spec(&world, SERVICE)["weighted"]["services"].clone();
    assert_eq!((&after[0]["middlewares"], &after[1]["weight"]), (&before, &json!(60)));
}

fn rewriting(path: PathMatch, to: &str) -> PathMatch {
    PathMatch { rewrite: Some(to.to_owned()), ..path }
}

#[rstest]
#[case(prefix("/shop"), "/v1", json!({"replacePathRegex": {"regex": "^/shop(/.*)?$", "replacement": "/v1${1}"}}))]
#[case(prefix("/shop/"), "/v1", json!({"replacePathRegex": {"regex": "^/shop(/.*)?$", "replacement": "/v1${1}"}}))]
#[case(prefix("/shop"), "/", json!({"replacePathRegex": {"regex": "^/shop/?(.*)$", "replacement": "/${1}"}}))]
#[case(prefix("/"), "/v1", json!({"replacePathRegex": {"regex": "^(/.*)?$", "replacement": "/v1${1}"}}))]
#[case(prefix("/a.b+c"), "/v1", json!({"replacePathRegex": {"regex": r"^/a\.b\+c(/.*)?$", "replacement": "/v1${1}"}}))]
#[case(PathMatch::new(PathType::Exact, "/health"), "/ok", json!({"replacePath": {"path": "/ok"}}))]
fn a_path_is_rewritten_by_a_middleware_of_its_own(#[case] path: PathMatch, #[case] to: &str, #[case] wanted: Value) {
    let mut world = World::default();
    let split = Split::traefik().with(|it| it.paths = vec![rewriting(path, to), prefix("/other")]);
    split.settle(&mut world);
    let [mine, others] = &named(&world)[..] else { panic!("two rules") };
    assert_eq!(spec(&world, (ObjectKind::Middleware, &mine[0])), wanted);
    assert!(others.is_empty(), "another path is as it was");
}

/// A split in conflict keeps the hosts and paths that its route has, rewritten as they are.
#[test]
fn rewritten_paths_are_read_as_they_were_written() {
    let exact = |path| PathMatch::new(PathType::Exact, path);
    let paths = vec![
        rewriting(prefix("/shop"), "/v1"),
        rewriting(prefix("/blog"), "/"),
        rewriting(exact("/health"), "/ok"),
        rewriting(exact("/alive"), "/ok"),
        prefix("/plain"),
    ];
    let split = Split::traefik().with(|it| {
        it.paths.clone_from(&paths);
        it.pins = vec![header(Side::New, "x-a", "new")];
    });
    let mut world = World::default();
    split.settle(&mut world);
    let kept = split.observing(&world, |_, observed| crate::traffic_split::as_is::hosts_and_paths(observed));
    assert_eq!(kept.unwrap().1, paths);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Proxies see writes of the two sorts in any order, for as long as they have not had their time.
    #[test]
    fn nothing_is_named_that_a_proxy_may_not_have(
        changes in prop::collection::vec((edges(), prop_oneof![Just(0), Just(40), Just(100)], any::<bool>(), rewrites(), mirrors()), 1..5),
        killed in any::<bool>(),
    ) {
        let mut world = World::default();
        let mut split = Split::traefik();
        split.settle(&mut world);
        world.unseen = Unseen::default();
        let mut before = split.weight;
        for (edge, weight, pinned, rewrite, mirror) in changes {
            split.paths[0].rewrite = rewrite;
            split.mirror = mirror;
            (split.edge, split.weight) = (edge, weight);
            split.pins = if pinned { vec![header(Side::New, "x-a", "new")] } else { Vec::new() };
            let mut states = vec![world.clone()];
            let plan = split.drive(&mut world, killed, |world| {
                if world.unseen == Unseen::default() {
                    states.clear();
                }
                states.push(world.clone());
                let later: [fn(ObjectKind) -> bool; 3] = [
                    |kind| kind.is_accessory() || kind == ObjectKind::Service,
                    |kind| kind == ObjectKind::TraefikService,
                    |kind| kind != ObjectKind::IngressRoute,
                ];
                let both = states.iter().flat_map(|a| states.iter().map(move |b| (a, b)));
                for (routes, others, later) in both.flat_map(|(a, b)| later.map(|later| (a, b, later))) {
                    let seen = routes.mixed_with(others, later);
                    let served = proxies::ingress_route(&split, &seen, HOST, &Request::PLAIN);
                    assert!(
                        [Served::New(before), Served::New(weight)].contains(&served),
                        "{served:?} on the way from {before} to {weight}: {:#?}", world.writes
                    );
                }
            });
            prop_assert!(plan.settled, "{:?}", plan.problem);
            world.unseen = Unseen::default();
            before = weight;
        }
        (split.edge, split.paths[0].rewrite, split.mirror) = (None, None, None);
        split.settle(&mut world);
        for kind in [ObjectKind::Middleware, ObjectKind::ServersTransport, ObjectKind::Service] {
            prop_assert!(world.all::<Value>(kind).is_empty(), "nothing is left behind");
        }
        prop_assert_eq!(world.all::<Value>(ObjectKind::TraefikService).len(), 1);
    }
}

/// Somebody else's object of a name that is needed; the weights in force go on.
#[rstest]
#[case(LIMIT, "{rateLimit: {requestsPerMinute: 60}}")]
#[case(TIMEOUTS, "{timeouts: {read: 1m}}")]
fn what_somebody_else_made_is_not_taken_and_in_nobodys_way_but_when_needed(
    #[case] (kind, name): (ObjectKind, &str),
    #[case] needs: &str,
) {
    let mut world = World::default();
    let theirs = json!({"metadata": {"name": name}, "spec": {"stripPrefix": {"prefixes": ["/x"]}}});
    world.put(kind, theirs);
    let found = world.get(kind, name).cloned();
    Split::traefik().settle(&mut world);
    let plan = asking(needs).at(60).settle(&mut world);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "RouteExists");
    let said = format!("metadata.name: {} {name} exists and is not this split's: delete or rename it", kind.kind());
    assert!(problem.message.starts_with(&said) && !problem.message.contains("attach"), "{}", problem.message);
    assert_eq!(plan.read_back.observed_weight, Some(60));
    assert!(plan.settled, "the weight is in force");
    let ends = [router::release, router::remove];
    for steps in ends.map(|end| asking(needs).observing(&world, |intent, observed| end(intent.split, observed))) {
        assert!(steps.iter().all(|step| step.kind() != kind), "{steps:?}");
    }
    assert_eq!(world.get(kind, name).cloned(), found);
}

#[rstest]
#[case(Known::Known(false), false, "RouterNotInstalled", "does not serve Middlewares and ServersTransports")]
#[case(Known::Unknown, true, "Forbidden", "may not list middlewares and serverstransports of traefik.io")]
#[case(Known::Unknown, false, "UnknownInput", "not known yet")]
fn without_the_kinds_splits_go_on_that_need_none(
    #[case] installed: Known<bool>,
    #[case] forbidden: bool,
    #[case] reason: &str,
    #[case] said: &str,
) {
    let mut world = World::default();
    let without = |split: Split| split.with(|it| (it.accessories_installed, it.forbidden) = (installed, forbidden));
    assert!(without(Split::traefik()).settle(&mut world).settled);
    let plan = without(asking("{rateLimit: {requestsPerMinute: 60}}")).at(60).settle(&mut world);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, reason);
    assert!(problem.message.contains(said), "{}", problem.message);
    assert_eq!((plan.read_back.observed_weight, plan.settled), (Some(60), true));
    assert_eq!(named(&world), [[""; 0]]);
}

#[test]
fn what_others_do_to_them_is_put_right_at_once() {
    let mut world = World::default();
    let split = asking("{rateLimit: {requestsPerMinute: 60}, securityHeaders: {}, timeouts: {read: 1m}}");
    split.settle(&mut world);
    let wanted = [LIMIT, HEADERS, TIMEOUTS, ROUTE, SERVICE].map(|it| spec(&world, it));
    world.drop(LIMIT.0, LIMIT.1);
    world.edit(HEADERS.0, HEADERS.1, |it| {
        it["spec"]["stripPrefix"] = json!({"prefixes": ["/x"]});
        it["spec"]["headers"]["customRequestHeaders"] = json!({"x-a": "b"});
    });
    world.edit(TIMEOUTS.0, TIMEOUTS.1, |it| it["spec"]["insecureSkipVerify"] = json!(true));
    world.edit(ROUTE.0, ROUTE.1, |it| it["spec"]["routes"][0]["middlewares"] = json!([{"name": "theirs"}]));
    world.edit(SERVICE.0, SERVICE.1, |it| it["spec"]["weighted"]["services"][0]["serversTransport"] = json!("theirs"));
    split.settle(&mut world);
    assert_eq!([LIMIT, HEADERS, TIMEOUTS, ROUTE, SERVICE].map(|it| spec(&world, it)), wanted);
}

/// A refused form waits as a whole: what is in force stays, whatever else the spec says now.
#[test]
fn a_refused_spec_leaves_what_is_named_as_it_is() {
    let mut world = World::default();
    let split = asking("{timeouts: {read: 1m}, rateLimit: {requestsPerMinute: 60}}");
    split.settle(&mut world);
    let refused = split.at(60).with(|it| {
        it.edge = Some(edge("{}"));
        it.backend_mut(Side::New).external_name = true;
    });
    world.writes.clear();
    assert_eq!(refused.settle(&mut world).problem.unwrap().reason, "UnsupportedByRouter");
    assert_eq!(world.writes, ["apply TraefikService/shop-cutover-weighted"]);
    assert_eq!(spec(&world, SERVICE)["weighted"]["services"][0]["serversTransport"], TIMEOUTS.1);
}

#[rstest]
#[case(Some("https"), "web", 8080)]
#[case(Some("kubernetes.io/h2c"), "web", 8080)]
#[case(None, "https-web", 8080)]
#[case(None, "web", 443)]
fn timeouts_of_a_side_that_does_not_speak_plain_http_are_refused(
    #[case] protocol: Option<&str>,
    #[case] port_name: &str,
    #[case] port: i32,
) {
    let split = asking("{timeouts: {read: 1m}}").with(|it| {
        let backend = it.backend_mut(Side::New);
        (backend.app_protocol, backend.port_name) = (protocol.map(str::to_owned), Some(port_name.to_owned()));
        backend.port = port;
    });
    let problem = split.plan(&World::default()).problem.unwrap();
    assert_eq!(problem.reason, "UnsupportedByRouter");
    assert!(problem.message.starts_with("spec.edge.timeouts: traefik"), "{}", problem.message);
    let gone = split.with(|it| it.sides.new = SideBackend::Absent);
    assert_eq!(gone.at(0).plan(&World::default()).problem, None);
}

#[test]
fn they_go_with_the_split_after_its_way_in() {
    let mut world = World::default();
    let split = asking("{timeouts: {read: 1m}, rateLimit: {requestsPerMinute: 60}}");
    split.settle(&mut world);
    for steps in [
        split.observing(&world, |intent, observed| router::remove(intent.split, observed)),
        split.clone().with(|it| it.exposed = false).plan(&world).steps,
    ] {
        let kinds: Vec<_> = steps.iter().map(RouteStep::kind).collect();
        assert_eq!(kinds, [ROUTE.0, SERVICE.0, LIMIT.0, TIMEOUTS.0]);
    }
}

#[test]
fn a_split_that_says_otherwise_than_an_older_one_is_not_told_to_traefik_and_its_weight_goes_on() {
    let said = |split: Split| split.with(|it| it.edge = Some(edge("circuitBreaker: {errorPercent: 20}")));
    let otherwise = |split: Split| {
        split
            .with(|it| it.said_otherwise = Some(marks::stalled(reasons::CONFLICTED, "spec.edge: otherwise".to_owned())))
    };
    let mut bare = World::default();
    let refused = otherwise(said(Split::traefik())).settle(&mut bare);
    assert_eq!(refused.problem.unwrap().reason, "Conflicted");
    assert!(bare.writes.is_empty(), "{:?}", bare.writes);

    let mut world = World::default();
    Split::traefik().at(10).settle(&mut world);
    let split = otherwise(said(Split::traefik())).at(50);
    split.drive(&mut world, false, |_| {});
    assert_eq!(split.read_weight(&world), Some(50));
    let weighted = world.get(ObjectKind::TraefikService, "shop-cutover-weighted").unwrap();
    assert!(!weighted.to_string().contains("middlewares"), "{weighted}");
}
