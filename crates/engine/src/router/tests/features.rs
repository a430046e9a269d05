//! The table of features: every cell of it is tried, and what a router carries is what it writes.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::traffic_split::{Edge, Mirror, RateLimit, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{
        Split, World, cookie, header, users_grpc_route, users_ingress, users_route, users_service,
        users_virtual_service,
    },
    edge::{edge, rewritten},
};
use crate::{
    conditions::Health,
    router::{
        BackendTls, ObjectKind, RouteStep,
        features::{COLUMNS, Carried, Feature, markdown},
    },
};

/// What `securityHeaders` may set, as an administrator writes it.
pub(super) const ALL_HEADERS: [&str; 7] = [
    "x-content-type-options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Referrer-Policy",
    "Permissions-Policy",
    "Content-Security-Policy",
    "Strict-Transport-Security",
];

/// The least that asks for a feature.
fn asking(feature: Feature, split: Split) -> Split {
    split.with(|split| match feature {
        Feature::HeaderPins => split.pins = vec![header(Side::New, "x-a", "new")],
        Feature::CookiePins => split.pins = vec![cookie(Side::New, "a", "always")],
        Feature::Stickiness => *split = split.clone().sticky(7, &[10, split.weight]),
        Feature::RateLimit => split.edge = Some(edge("rateLimit: {requestsPerMinute: 100}")),
        Feature::Timeouts => split.edge = Some(edge("timeouts: {read: 2m}")),
        Feature::SecurityHeaders => {
            split.edge = Some(edge("securityHeaders: {}"));
            if let Some(nginx) = split.router.ingress_nginx.as_mut().filter(|it| it.attach.is_none()) {
                nginx.allowed_response_headers = ALL_HEADERS.map(str::to_owned).to_vec();
            }
        }
        Feature::Cors => split.edge = Some(edge("cors: {allowOrigins: ['https://a.example.com']}")),
        Feature::Retries => split.edge = Some(edge("retries: {attempts: 2}")),
        Feature::RetryBackoff => split.edge = Some(edge("retries: {attempts: 2, backoffMilliseconds: 50}")),
        Feature::TryTimeout => split.edge = Some(edge("retries: {attempts: 2, perTryTimeout: 3s}")),
        Feature::CircuitBreaker => split.edge = Some(edge("circuitBreaker: {errorPercent: 50}")),
        Feature::TlsRedirect => {
            split.edge = Some(edge("tlsRedirect: true"));
            if let Some(parents) = split.router.gateway_api.as_mut().and_then(|it| it.parent_refs.as_mut()) {
                parents[0].section_name = Some("https".into());
                parents[0].redirect_from = Some("http".into());
            }
            if let Some(traefik) = split.router.traefik.as_mut().filter(|it| it.attach.is_none()) {
                traefik.entry_points = Some(vec!["websecure".into()]);
                traefik.redirect_from = Some(vec!["web".into()]);
            }
            if let Some(alb) = &mut split.router.alb {
                let ports = r#"[{"HTTP": 80}, {"HTTPS": 8443}]"#.to_owned();
                alb.annotations = BTreeMap::from([("alb.ingress.kubernetes.io/listen-ports".to_owned(), ports)]);
            }
        }
        Feature::Rewrite => split.paths = vec![rewritten("/shop", "/v1")],
        Feature::Mirror => split.mirror = Some(Mirror { percent: 100, allow_unsafe: false }),
        Feature::BackendTls => {
            split.backend_mut(Side::Legacy).tls = Some(BackendTls { policy: true, transport: true });
        }
    })
}

pub(super) fn in_column(router: &str) -> (Split, World) {
    let mut world = World::default();
    world.put(ObjectKind::Ingress, users_ingress("users"));
    world.put(ObjectKind::HttpRoute, users_route("users"));
    world.put(ObjectKind::GrpcRoute, users_grpc_route("users"));
    world.put(ObjectKind::TraefikService, users_service("users"));
    world.put(ObjectKind::VirtualService, users_virtual_service("users"));
    let split = match router {
        "ingressNginx" => Split::nginx(),
        "ingressNginx.attach" => Split::beside("users"),
        "gatewayApi" => Split::gateway(),
        "gatewayApi.attach" => Split::rule("users", "checkout"),
        "gatewayApi (GRPCRoute)" => Split::gateway().grpc(),
        "gatewayApi.attach (GRPCRoute)" => Split::rule("users", "checkout").grpc(),
        "traefik" => Split::traefik(),
        "traefik.attach" => Split::weighted("users"),
        "istio" => Split::istio(),
        "istio.attach" => Split::entry("users", "all"),
        "alb" => Split::alb(),
        other => panic!("there is no such router in these tests: {other}"),
    };
    (split, world)
}

#[test]
fn what_a_router_does_not_carry_it_refuses_by_name_and_what_it_carries_it_does_not() {
    for (router, carries) in COLUMNS {
        for feature in Feature::ALL {
            let (split, mut world) = in_column(router);
            let split = asking(feature, split);
            let what = format!("{feature:?} on {router}");
            match carries(feature) {
                Carried::Not { why, remedy } => {
                    let plan = split.plan(&world);
                    // The weights of what is there go on.
                    let only_moves = |step: &RouteStep| matches!(step, RouteStep::MergePatch { .. });
                    assert!(plan.steps.iter().all(only_moves), "{what}: {:?}", plan.steps);
                    let problem = plan.problem.unwrap_or_else(|| panic!("{what} is not refused"));
                    assert_eq!((problem.reason, problem.health), ("UnsupportedByRouter", Health::Stalled), "{what}");
                    let field = feature.field().split("[]").next().unwrap();
                    let said = &problem.message;
                    assert!(said.starts_with(field) && said.contains(why) && said.ends_with(remedy), "{what}: {said}");
                    let named = router.replace(".attach", "");
                    assert!(said.contains(&named), "{what}: {said}");
                }
                Carried::WhereListed(listed) => {
                    assert_eq!(split.settle(&mut world).problem, None, "{what}");
                    let bare = split.with(|it| it.classes[0].supported_features = Some(Box::new(["HTTPRoute".into()])));
                    let problem = bare.plan(&world).problem.unwrap_or_else(|| panic!("{what} is not refused"));
                    let (said, field) = (&problem.message, feature.field().split("[]").next().unwrap());
                    assert_eq!(problem.reason, "UnsupportedByRouter", "{what}");
                    assert!(
                        said.starts_with(field) && said.contains(listed) && said.contains("another class"),
                        "{said}"
                    );
                }
                Carried::Wholly | Carried::Within(_) => {
                    let before = world.writes.len();
                    assert_eq!(split.settle(&mut world).problem, None, "{what}");
                    assert!(world.writes.len() > before, "{what} writes nothing");
                }
            }
        }
    }
}

fn annotations(world: &World) -> BTreeMap<String, String> {
    let main = world.get(ObjectKind::Ingress, "shop").unwrap();
    serde_json::from_value(main["metadata"]["annotations"].clone()).unwrap()
}

#[test]
fn limits_and_timeouts_are_annotations_of_the_main_ingress_and_leave_with_the_field() {
    let mut world = World::default();
    let said = "{rateLimit: {requestsPerMinute: 100, burst: 300}, timeouts: {connect: 5s, read: 2m}}";
    let split = Split::nginx().with(|it| it.edge = Some(edge(said)));
    split.settle(&mut world);
    let keys = ["limit-rpm", "limit-burst-multiplier", "proxy-connect-timeout", "proxy-read-timeout"];
    let of =
        |world: &World| keys.map(|key| annotations(world).get(&format!("nginx.ingress.kubernetes.io/{key}")).cloned());
    assert_eq!(of(&world), ["100", "3", "5", "120"].map(|value| Some(value.to_owned())));
    let less = split.with(|it| it.edge = Some(edge("{rateLimit: {requestsPerMinute: 60}}")));
    less.settle(&mut world);
    assert_eq!(of(&world), [Some("60".to_owned()), Some("1".to_owned()), None, None]);
    less.with(|it| it.edge = None).settle(&mut world);
    assert_eq!(of(&world), [const { None }; 4]);
}

#[rstest]
#[case(20, None)]
#[case(150, None)]
#[case(100, Some(1))]
#[case(500, Some(5))]
fn a_burst_that_annotations_cannot_say_is_refused(#[case] burst: i32, #[case] said: Option<i32>) {
    let limit = RateLimit { requests_per_minute: Some(100), burst: Some(burst), ..RateLimit::default() };
    let split = Split::nginx().with(|it| it.edge = Some(Edge { rate_limit: Some(limit), ..Edge::default() }));
    let mut world = World::default();
    if let Some(times) = said {
        split.settle(&mut world);
        assert_eq!(annotations(&world)["nginx.ingress.kubernetes.io/limit-burst-multiplier"], times.to_string());
    } else {
        let plan = split.plan(&world);
        assert_eq!(plan.steps, []);
        let message = plan.problem.unwrap().message;
        assert!(message.starts_with(&format!("spec.edge.rateLimit.burst: {burst} is no multiple")), "{message}");
        assert!(message.ends_with("say 100, or 200"), "{message}");
    }
}

#[rstest]
#[case("{tier: Development}", None)]
#[case("{tier: Staging}", Some((500, 100)))]
#[case("{tier: Production}", Some((100, 20)))]
#[case("{tier: Production, burst: 300}", Some((100, 300)))]
#[case("{tier: Production, requestsPerMinute: 60}", Some((60, 60)))]
#[case("{tier: Development, requestsPerMinute: 60, burst: 7}", Some((60, 7)))]
#[case("{requestsPerMinute: 60}", Some((60, 60)))]
fn a_tier_has_its_usual_limit_and_what_is_said_goes_before_it(#[case] said: &str, #[case] kept: Option<(i32, i32)>) {
    let split = Split::traefik().with(|it| it.edge = Some(edge(&format!("rateLimit: {said}"))));
    let mut world = World::default();
    split.settle(&mut world);
    let limits: Vec<Value> =
        world.all::<Value>(ObjectKind::Middleware).iter().map(|it| it["spec"]["rateLimit"].clone()).collect();
    let figures = limits.iter().map(|it| (it["average"].as_i64().unwrap(), it["burst"].as_i64().unwrap()));
    let kept = kept.map(|(average, burst)| (i64::from(average), i64::from(burst)));
    assert_eq!(figures.collect::<Vec<_>>(), Vec::from_iter(kept));
}

#[test]
fn no_limit_is_carried_by_every_router() {
    let none = Some(edge("rateLimit: {tier: Development}"));
    for split in [Split::nginx(), Split::gateway(), Split::traefik(), Split::istio(), Split::alb()] {
        let plan = split.with(|it| it.edge.clone_from(&none)).plan(&World::default());
        assert_eq!(plan.problem, None);
    }
}

#[test]
fn a_usual_limit_that_annotations_cannot_say_is_refused_with_one_that_they_can() {
    let split = Split::nginx().with(|it| it.edge = Some(edge("rateLimit: {tier: Production}")));
    let message = split.plan(&World::default()).problem.unwrap().message;
    assert!(message.contains("burst: 20 is no multiple of 100 requests a minute"), "{message}");
}

#[test]
fn what_the_spec_says_twice_is_refused() {
    let key = "nginx.ingress.kubernetes.io/limit-rpm";
    let split = asking(Feature::RateLimit, Split::nginx())
        .with(|it| it.nginx_mut().annotations = BTreeMap::from([(key.to_owned(), "5".to_owned())]));
    let message = split.plan(&World::default()).problem.unwrap().message;
    assert!(message.starts_with(&format!("spec.routers[0].ingressNginx.annotations[{key}]: ")), "{message}");
}

fn set_by(rule: &Value) -> BTreeMap<String, String> {
    let [filter] = rule["filters"].as_array().unwrap().as_slice() else { panic!("{rule}") };
    assert_eq!(filter["type"], "ResponseHeaderModifier");
    let set = filter["responseHeaderModifier"]["set"].as_array().unwrap();
    set.iter().map(|it| (it["name"].as_str().unwrap().into(), it["value"].as_str().unwrap().into())).collect()
}

#[test]
fn every_rule_sets_the_security_headers_whichever_side_it_leads_to() {
    let mut world = World::default();
    let said = "securityHeaders: {frameOptions: SameOrigin, contentSecurityPolicy: \"default-src 'self'\", \
                strictTransportSecurity: {maxAge: 1h, includeSubDomains: true}}";
    let pins = vec![header(Side::New, "x-a", "new"), header(Side::Legacy, "x-a", "old")];
    let split = Split::gateway().with(|it| (it.edge, it.pins) = (Some(edge(said)), pins));
    split.settle(&mut world);
    let rules = |world: &World| world.get(ObjectKind::HttpRoute, "shop").unwrap()["spec"]["rules"].clone();
    let wanted = [
        ("Content-Security-Policy", "default-src 'self'"),
        ("Permissions-Policy", "geolocation=(), microphone=(), camera=()"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("Strict-Transport-Security", "max-age=3600; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("X-XSS-Protection", "1; mode=block"),
    ];
    let wanted: BTreeMap<_, _> = wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(rules(&world).as_array().unwrap().len(), 3);
    for rule in rules(&world).as_array().unwrap() {
        assert_eq!(set_by(rule), wanted);
    }
    world.edit(ObjectKind::HttpRoute, "shop", |route| route["spec"]["rules"][0]["filters"] = json!([]));
    split.settle(&mut world);
    assert_eq!(set_by(&rules(&world)[0]), wanted, "what somebody takes away is put back");
    split.with(|it| it.edge = Some(edge("securityHeaders: {}"))).settle(&mut world);
    assert!(!set_by(&rules(&world)[0]).contains_key("Strict-Transport-Security"), "only on request");
}

#[test]
fn every_entry_of_a_virtual_service_sets_them_and_a_user_takes_none_away() {
    let mut world = World::default();
    let pins = vec![header(Side::New, "x-a", "new")];
    let split = Split::istio().with(|it| (it.edge, it.pins) = (Some(edge("securityHeaders: {}")), pins));
    split.settle(&mut world);
    let entries = |world: &World| world.get(ObjectKind::VirtualService, "shop").unwrap()["spec"]["http"].clone();
    let set = |entry: &Value| entry["headers"]["response"]["set"]["X-Frame-Options"].clone();
    assert_eq!(entries(&world).as_array().unwrap().iter().map(set).collect::<Vec<_>>(), ["DENY", "DENY"]);
    world.edit(ObjectKind::VirtualService, "shop", |it| it["spec"]["http"][1]["headers"] = Value::Null);
    split.settle(&mut world);
    assert_eq!(set(&entries(&world)[1]), "DENY");
    split.with(|it| it.edge = None).settle(&mut world);
    assert!(entries(&world).as_array().unwrap().iter().all(|entry| entry["headers"].is_null()));
}

#[test]
fn the_table_has_every_feature_and_every_router() {
    let table = markdown();
    for feature in Feature::ALL {
        assert!(table.contains(&format!("| `{}` |", feature.field())), "{table}");
    }
    let columns = table.lines().next().unwrap().matches('|').count();
    assert!(table.lines().take(2 + Feature::ALL.len()).all(|line| line.matches('|').count() == columns), "{table}");
    assert_eq!(columns, COLUMNS.len() + 2);
}
