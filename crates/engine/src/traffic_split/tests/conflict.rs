use rstest::rstest;
use serde_json::{Value, json};

use super::{
    super::{
        conflict::{Claimant, conflict},
        said_otherwise,
    },
    *,
};

fn with(change: &Value) -> TrafficSplitSpec {
    let mut spec = serde_json::to_value(spec()).unwrap();
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn at(name: &'static str, second: i64, spec: &TrafficSplitSpec) -> Option<String> {
    let own = self::spec();
    let me = Claimant { name, created: jiff::Timestamp::from_second(second).ok(), spec };
    let other = Claimant { name: "m", created: jiff::Timestamp::from_second(100).ok(), spec: &own };
    conflict(&me, &[other]).map(|problem| problem.message)
}

#[rstest]
#[case::younger("a", 101, true)]
#[case::older("z", 99, false)]
#[case::same_age_later_name("z", 100, true)]
#[case::same_age_earlier_name("a", 100, false)]
fn the_older_split_keeps_what_both_claim(#[case] name: &'static str, #[case] second: i64, #[case] loses: bool) {
    let message = at(name, second, &spec());
    assert_eq!(message.is_some(), loses, "{message:?}");
    if let Some(message) = message {
        assert_eq!(
            message,
            "spec.hosts[0] shop.example.com with spec.paths[0] / already belongs to TrafficSplit m: change it in one of the two"
        );
    }
}

#[rstest]
#[case::other_host(json!({"hosts": ["other.example.com"]}), false)]
#[case::one_of_two_hosts(json!({"hosts": ["other.example.com", "shop.example.com"]}), true)]
#[case::other_path(json!({"paths": [{"value": "/v2"}]}), false)]
#[case::slash_at_the_end(json!({"paths": [{"value": "/v2"}, {"value": "//"}]}), true)]
#[case::same_path_exactly(json!({"paths": [{"type": "Exact", "value": "/"}]}), false)]
#[case::other_class_and_gateway(
    json!({"routers": [{"ingressNginx": {"className": "other"}}, {"gatewayApi": {"parentRefs": [{"name": "other"}]}}]}), false)]
#[case::gateway_shared(json!({"routers": [{"gatewayApi": {"parentRefs": [{"name": "other"}, {"name": "edge"}]}}]}), true)]
#[case::gateway_of_another_namespace(
    json!({"routers": [{"gatewayApi": {"parentRefs": [{"name": "edge", "namespace": "infra"}]}}]}), false)]
#[case::canary_beside_any_class(json!({"routers": [{"ingressNginx": {"attach": {"ingress": "shop"}}}]}), true)]
#[case::rule_of_a_route(json!({"routers": [{"gatewayApi": {"attach": {"route": "shop", "rule": "all"}}}]}), false)]
fn what_is_claimed_is_a_host_and_a_path_of_an_edge(#[case] change: Value, #[case] contested: bool) {
    assert_eq!(at("z", 101, &with(&change)).is_some(), contested);
}

#[test]
fn a_rule_belongs_to_one_split() {
    let attached = with(&json!({
        "hosts": ["a.example.com"], "routers": [{"gatewayApi": {"attach": {"route": "shop", "rule": "all"}}}],
    }));
    let mut other = attached.clone();
    other.hosts = vec!["b.example.com".into()];
    let claimant = |name, spec| Claimant { name, created: None, spec };
    let problem = conflict(&claimant("z", &attached), &[claimant("a", &other)]).unwrap();
    assert!(
        problem.message.starts_with("spec.routers[0].gatewayApi.attach: rule all of HTTPRoute shop"),
        "{problem:?}"
    );
}

fn group(order: &str) -> Value {
    json!({"alb": {"className": "alb", "annotations": {
        "alb.ingress.kubernetes.io/group.name": "edge", "alb.ingress.kubernetes.io/group.order": order,
    }}})
}

#[rstest]
#[case::default_entry_points(json!({"traefik": {}}), json!({"traefik": {"entryPoints": ["web"]}}), "/", "/", true)]
#[case::an_entry_point_that_one_redirects_from(json!({"traefik": {"entryPoints": ["websecure"], "redirectFrom": ["web"]}}), json!({"traefik": {"entryPoints": ["web"]}}), "/", "/", true)]
#[case::other_entry_points(json!({"traefik": {"entryPoints": ["inside"]}}), json!({"traefik": {"entryPoints": ["web"]}}), "/", "/", false)]
#[case::longer_path_on_traefik(json!({"traefik": {}}), json!({"traefik": {}}), "/shop", "/shop/v2", false)]
#[case::one_traefik_service(
    json!({"traefik": {"attach": {"service": "shop"}}}), json!({"traefik": {"attach": {"service": "shop"}}}), "/", "/v2", true)]
#[case::made_beside_an_attached_one(json!({"traefik": {}}), json!({"traefik": {"attach": {"service": "shop"}}}), "/", "/", false)]
#[case::same_gateway(json!({"istio": {"gateways": ["a/b"]}}), json!({"istio": {"gateways": ["x", "a/b"]}}), "/", "/", true)]
#[case::other_gateway(json!({"istio": {"gateways": ["a/b"]}}), json!({"istio": {"gateways": ["a/c"]}}), "/", "/", false)]
#[case::below_everything_on_istio(json!({"istio": {"gateways": ["a"]}}), json!({"istio": {"gateways": ["a"]}}), "/v2", "/", false)]
#[case::below_a_path_on_istio(json!({"istio": {"gateways": ["a"]}}), json!({"istio": {"gateways": ["a"]}}), "/shop/v2", "/shop", true)]
#[case::above_a_path_on_istio(json!({"istio": {"gateways": ["a"]}}), json!({"istio": {"gateways": ["a"]}}), "/shop", "/shop/v2", true)]
#[case::beside_a_path_on_istio(json!({"istio": {"gateways": ["a"]}}), json!({"istio": {"gateways": ["a"]}}), "/shop2", "/shop", false)]
#[case::any_path_on_the_mesh(json!({"istio": {"gateways": ["mesh"]}}), json!({"istio": {"gateways": ["mesh"]}}), "/a", "/b", true)]
#[case::same_load_balancers(json!({"alb": {"className": "alb"}}), json!({"alb": {"className": "alb"}}), "/", "/", true)]
#[case::other_load_balancers(json!({"alb": {"className": "alb"}}), json!({"alb": {"className": "inside"}}), "/", "/", false)]
#[case::load_balancers_of_their_own(json!({"alb": {"className": "alb"}}), json!({"alb": {"className": "alb"}}), "/v2", "/", false)]
#[case::one_load_balancer(group("1"), group("1"), "/v2", "/", true)]
#[case::one_load_balancer_in_an_order(group("1"), group("2"), "/v2", "/", false)]
#[case::routes_of_two_kinds(
    json!({"gatewayApi": {"parentRefs": [{"name": "a"}]}}), json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "a"}]}}), "/a", "/b", true)]
#[case::routes_of_two_kinds_on_two_gateways(
    json!({"gatewayApi": {"parentRefs": [{"name": "a"}]}}), json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "b"}]}}), "/", "/", false)]
#[case::services_of_one_gateway(
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "a"}]}}),
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "a"}]}}), "/shop.Cart", "/shop.Stock", false)]
#[case::one_service_of_one_gateway(
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "a"}]}}),
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "a"}]}}), "/shop.Cart/", "/shop.Cart", true)]
#[case::rules_of_two_kinds(
    json!({"gatewayApi": {"attach": {"route": "a", "rule": "b"}}}),
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "attach": {"route": "a", "rule": "b"}}}), "/", "/", false)]
#[case::one_rule_of_a_grpc_route(
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "attach": {"route": "a", "rule": "b"}}}),
    json!({"gatewayApi": {"routeKind": "GRPCRoute", "attach": {"route": "a", "rule": "b"}}}), "/", "/v2", true)]
#[case::one_entry(
    json!({"istio": {"attach": {"virtualService": "shop", "http": "all"}}}),
    json!({"istio": {"attach": {"virtualService": "shop", "http": "all"}}}), "/", "/v2", true)]
#[case::another_entry(
    json!({"istio": {"attach": {"virtualService": "shop", "http": "all"}}}),
    json!({"istio": {"attach": {"virtualService": "shop", "http": "v2"}}}), "/", "/", false)]
fn two_splits_on_one_router(
    #[case] mine: Value,
    #[case] theirs: Value,
    #[case] my_path: &str,
    #[case] their_path: &str,
    #[case] contested: bool,
) {
    let spec = |router: &Value, path| with(&json!({"routers": [router], "paths": [{"value": path}]}));
    let (mine, theirs) = (spec(&mine, my_path), spec(&theirs, their_path));
    let claimant = |name, spec| Claimant { name, created: None, spec };
    let found = conflict(&claimant("z", &mine), &[claimant("a", &theirs)]);
    assert_eq!(found.is_some(), contested, "{found:?}");
}

fn on_traefik(change: &Value) -> TrafficSplitSpec {
    let mut all = json!({
        "hosts": ["a.example.com"], "legacy": {"service": {"name": "monolith", "port": 80}}, "new": {"service": {"name": "a", "port": 80}},
        "routers": [{"traefik": {}}],
    });
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    with(&all)
}

/// What an older split, which breaks circuits to the same legacy side, makes of this.
fn beside_a_breaker(second: i64, mine: &Value, theirs: &Value) -> Option<String> {
    let mut other = json!({"hosts": ["m.example.com"], "new": {"service": {"name": "m", "port": 80}},
        "edge": {"circuitBreaker": {"errorPercent": 50}}});
    other.as_object_mut().unwrap().extend(theirs.as_object().unwrap().clone());
    let (mine, theirs) = (on_traefik(mine), on_traefik(&other));
    let me = Claimant { name: "z", created: jiff::Timestamp::from_second(second).ok(), spec: &mine };
    let other = Claimant { name: "m", created: jiff::Timestamp::from_second(100).ok(), spec: &theirs };
    said_otherwise(&me, &[other]).map(|problem| problem.message)
}

#[rstest]
#[case::nothing(json!({}), json!({}), Some("spec.edge.circuitBreaker: "))]
#[case::another_share(json!({"edge": {"circuitBreaker": {"errorPercent": 20}}}), json!({}), Some("spec.edge.circuitBreaker: "))]
#[case::more(json!({"edge": {"circuitBreaker": {"errorPercent": 50}, "timeouts": {"read": "1m"}}}), json!({}), Some("spec.edge.timeouts: "))]
#[case::the_same(json!({"edge": {"circuitBreaker": {"errorPercent": 50}}}), json!({}), None)]
#[case::what_is_not_of_sides(json!({"edge": {"circuitBreaker": {"errorPercent": 50}, "cors": {"allowOrigins": ["https://a.example.com"]}}}), json!({}), None)]
#[case::tries_of_sides(json!({"edge": {"circuitBreaker": {"errorPercent": 50}, "retries": {"attempts": 2}}}), json!({}), Some("spec.edge.retries: "))]
#[case::tries_of_rules(json!({"edge": {"retries": {"attempts": 2}}}), json!({"edge": {}}), None)]
#[case::tries_beside_copies(json!({"edge": {"retries": {"attempts": 2}}, "mirror": {"percent": 1}}), json!({"edge": {}}), Some("spec.edge.retries: "))]
#[case::another_side(json!({"legacy": {"service": {"name": "other", "port": 80}}}), json!({}), None)]
#[case::another_port(json!({"legacy": {"service": {"name": "monolith", "port": 81}}}), json!({}), None)]
#[case::their_new_side(json!({"legacy": {"service": {"name": "m", "port": 80}}}), json!({}), Some("spec.edge.circuitBreaker: "))]
#[case::by_another_router(json!({"routers": [{"ingressNginx": {"className": "nginx"}}]}), json!({}), None)]
#[case::as_somebody_else_asks(json!({"routers": [{"traefik": {"attach": {"service": "shop"}}}]}), json!({}), None)]
#[case::a_component(
    json!({"environment": "production", "legacy": {"component": "monolith"}}),
    json!({"environment": "production", "legacy": {"component": "monolith"}}),
    Some("spec.edge.circuitBreaker: ")
)]
#[case::of_another_environment(
    json!({"environment": "staging", "legacy": {"component": "monolith"}}),
    json!({"environment": "production", "legacy": {"component": "monolith"}}),
    None
)]
fn what_traefik_keeps_by_a_service_is_said_alike_by_all_who_lead_there(
    #[case] mine: Value,
    #[case] theirs: Value,
    #[case] wanted: Option<&str>,
) {
    let message = beside_a_breaker(101, &mine, &theirs);
    assert_eq!(message.is_some(), wanted.is_some(), "{message:?}");
    if let (Some(message), Some(field)) = (message, wanted) {
        assert!(
            message.starts_with(field)
                && message.contains("TrafficSplit m, which leads to that of spec.legacy as well"),
            "{message}"
        );
    }
    assert_eq!(beside_a_breaker(99, &mine, &theirs), None, "the older one goes on as it is");
}
