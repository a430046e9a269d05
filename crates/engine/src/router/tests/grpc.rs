//! GRPCRoutes: what of a split they say, what of it is refused, and that a match is always of what the spec names.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Side};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{Split, World, header, prefix, users_grpc_route};
use crate::{
    Known,
    conditions::Health,
    router::{ObjectKind, Observed, RouteStep, grpc_path},
    traffic_split::as_is::hosts_and_paths,
};

fn exact(value: &str) -> PathMatch {
    PathMatch::new(PathType::Exact, value)
}

fn rules(world: &World) -> Vec<Value> {
    let route = world.get(ObjectKind::GrpcRoute, "shop").expect("a GRPCRoute");
    route["spec"]["rules"].as_array().unwrap().clone()
}

fn grpc(paths: &[PathMatch]) -> Split {
    Split::gateway().grpc().with(|it| it.paths = paths.to_vec())
}

#[test]
fn paths_are_services_and_methods_and_pins_repeat_them_all() {
    let split = grpc(&[exact("/shop.Cart/Get"), prefix("/shop.Stock"), prefix("/shop.v2.Stock/")])
        .with(|it| it.pins = vec![header(Side::New, "x-tester", "yes")]);
    let mut world = World::default();
    assert!(split.settle(&mut world).settled);
    let methods = [
        json!({"type": "Exact", "service": "shop.Cart", "method": "Get"}),
        json!({"type": "Exact", "service": "shop.Stock"}),
        json!({"type": "Exact", "service": "shop.v2.Stock"}),
    ];
    let backend =
        |name: &str, weight: i32| json!({"group": "", "kind": "Service", "name": name, "port": 8080, "weight": weight});
    let headers = json!([{"type": "Exact", "name": "x-tester", "value": "yes"}]);
    let pinned: Vec<_> = methods.iter().map(|method| json!({"method": method, "headers": headers})).collect();
    let plain: Vec<_> = methods.iter().map(|method| json!({"method": method})).collect();
    assert_eq!(
        rules(&world),
        [
            json!({"name": "pin-1", "matches": pinned, "backendRefs": [backend("storefront", 1)]}),
            json!({"name": "weighted", "matches": plain, "backendRefs": [backend("monolith", 75), backend("storefront", 25)]}),
        ]
    );
    assert_eq!(split.plan(&world).read_back.object, "GRPCRoute/shop");
    assert_eq!(world.writes, ["create GRPCRoute/shop"], "no HTTPRoute beside it");
}

#[test]
fn everything_is_a_match_of_nothing_in_particular() {
    let mut world = World::default();
    grpc(&[prefix("/")]).settle(&mut world);
    assert_eq!(rules(&world)[0]["matches"], json!([{}]));
}

#[rstest]
#[case(exact("/"))]
#[case(exact("/shop.Cart"))]
#[case(exact("/shop.Cart/Get/"))]
#[case(exact("/shop.Cart/Get/more"))]
#[case(exact("/shop.Cart/"))]
#[case(exact("//Get"))]
#[case(exact("/shop.Cart/get-all"))]
#[case(prefix("/shop.Cart/Get"))]
#[case(prefix("/shop-cart"))]
#[case(prefix("//"))]
#[case(prefix("/2shop.Cart"))]
#[case(prefix("/shop..Cart"))]
#[case(prefix("/.shop"))]
fn a_path_that_names_no_service_and_no_method_is_refused(#[case] path: PathMatch) {
    let plan = grpc(&[prefix("/shop.Cart"), path.clone()]).plan(&World::default());
    assert_eq!(plan.steps, []);
    let problem = plan.problem.unwrap();
    assert_eq!((problem.reason, problem.health), ("UnsupportedByRouter", Health::Stalled));
    let said = &problem.message;
    assert!(said.starts_with("spec.paths[1]: a GRPCRoute takes services") && said.contains(&path.value), "{said}");
    assert!(said.ends_with("write it so, or use routeKind HTTPRoute"), "{said}");
}

/// An edit that is refused leaves the route in its form, and its weights go on.
#[test]
fn weights_go_on_while_a_path_is_refused() {
    let split = grpc(&[prefix("/shop.Cart")]);
    let mut world = World::default();
    split.settle(&mut world);
    let refused = split.at(60).with(|it| it.paths = vec![prefix("/cart/items")]);
    assert!(refused.settle(&mut world).problem.is_some());
    assert_eq!(rules(&world)[0]["matches"], json!([{"method": {"type": "Exact", "service": "shop.Cart"}}]));
    assert_eq!(refused.read_weight(&world), Some(60));
}

#[rstest]
#[case("http", true)]
#[case("HTTP", true)]
#[case("kubernetes.io/ws", true)]
#[case("kubernetes.io/wss", true)]
#[case("kubernetes.io/h2c", false)]
#[case("https", false)]
#[case("grpc", false)]
fn a_side_that_says_that_it_speaks_something_else_is_refused(#[case] protocol: &str, #[case] is_refused: bool) {
    let split = grpc(&[prefix("/")]).with(|it| it.backend_mut(Side::New).app_protocol = Some(protocol.into()));
    let problem = split.plan(&World::default()).problem;
    assert_eq!(problem.is_some(), is_refused, "{problem:?}");
    if let Some(problem) = problem {
        let said = "spec.new: port 8080 of Service storefront says appProtocol";
        assert!(problem.message.starts_with(said) && problem.message.contains("kubernetes.io/h2c"), "{problem:?}");
    }
}

#[test]
fn a_class_that_lists_http_routes_alone_takes_none() {
    let split = grpc(&[prefix("/")]).with(|it| it.classes[0].supported_features = Some(Box::new(["HTTPRoute".into()])));
    let problem = split.plan(&World::default()).problem.unwrap();
    assert!(problem.message.contains("GatewayClass example does not list the feature GRPCRoute"), "{problem:?}");
}

#[test]
fn a_cluster_without_the_kind_is_told_of_it() {
    let missing = grpc(&[prefix("/")]).with(|it| it.installed = Known::Known(false));
    let problem = missing.plan(&World::default()).problem.unwrap();
    assert_eq!(problem.reason, "RouterNotInstalled");
    assert!(problem.message.contains("does not serve GRPCRoutes of gateway.networking.k8s.io/v1"), "{problem:?}");
    let forbidden = grpc(&[prefix("/")]).with(|it| (it.installed, it.forbidden) = (Known::Unknown, true));
    let problem = forbidden.plan(&World::default()).problem.unwrap();
    assert!(problem.message.contains("may not list grpcroutes.gateway.networking.k8s.io"), "{problem:?}");
}

#[test]
fn a_users_rule_is_changed_in_its_backends_and_nowhere_else() {
    let mut world = World::default();
    world.put(ObjectKind::GrpcRoute, users_grpc_route("users"));
    let split = Split::rule("users", "checkout").grpc().at(30);
    assert!(split.settle(&mut world).settled);
    let route = |world: &World| world.get(ObjectKind::GrpcRoute, "users").unwrap()["spec"].clone();
    let mut expected = users_grpc_route("users")["spec"].clone();
    let backend =
        |name: &str, weight: i32| json!({"group": "", "kind": "Service", "name": name, "port": 8080, "weight": weight});
    expected["rules"][1]["backendRefs"] = json!([backend("monolith", 70), backend("storefront", 30)]);
    assert_eq!(route(&world), expected);
    assert_eq!(split.read_weight(&world), Some(30));
    let split = split.at(0);
    split.settle(&mut world);
    let detached = split.observing(&world, |intent, observed| {
        super::super::detach(&split.router, &split.sides.new, intent.split, observed)
    });
    world.send(&detached.ok().flatten().expect("the entry without weight goes"));
    expected["rules"][1]["backendRefs"] = json!([backend("monolith", 100)]);
    assert_eq!(route(&world), expected);
}

#[test]
fn a_rule_that_is_not_there_is_told_of_with_its_kind() {
    let problem = Split::rule("users", "checkout").grpc().plan(&World::default()).problem.unwrap();
    assert!(problem.message.starts_with("spec.routers[0].gatewayApi.attach.route: there is no GRPCRoute users"));
    let mut world = World::default();
    world.put(ObjectKind::GrpcRoute, users_grpc_route("users"));
    let problem = Split::rule("users", "chekout").grpc().plan(&world).problem.unwrap();
    assert!(problem.message.contains("GRPCRoute users has no rule called chekout: name one of other, checkout"));
}

/// A split that becomes one for gRPC, or was one: the routes of the other kind are no business of this router.
#[test]
fn routes_of_the_other_kind_are_left_to_the_router_that_made_them() {
    let mut world = World::default();
    Split::gateway().settle(&mut world);
    world.writes.clear();
    grpc(&[prefix("/")]).settle(&mut world);
    assert_eq!(world.writes, ["create GRPCRoute/shop"]);
    assert!(world.get(ObjectKind::HttpRoute, "shop").is_some());
    let steps = grpc(&[prefix("/")]).observing(&world, |intent, observed| super::super::remove(intent.split, observed));
    assert!(matches!(&steps[..], [RouteStep::Delete { kind: ObjectKind::GrpcRoute, .. }]), "{steps:?}");
}

fn word() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,6}"
}

fn paths() -> impl Strategy<Value = Vec<PathMatch>> {
    let service = || prop::collection::vec(word(), 1..4).prop_map(|words| words.join("."));
    let path = prop_oneof![
        Just(prefix("/")),
        service().prop_map(|service| prefix(&format!("/{service}"))),
        (service(), word()).prop_map(|(service, method)| exact(&format!("/{service}/{method}"))),
    ];
    prop::collection::vec(path, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is read back is what was asked for, so that a split whose claim waits keeps exactly what it has.
    #[test]
    fn paths_are_read_back_as_they_were_said(paths in paths()) {
        let split = grpc(&paths);
        let mut world = World::default();
        prop_assert_eq!(split.settle(&mut world).problem, None);
        let found = split.observing(&world, |_, observed: &Observed<'_>| hosts_and_paths(observed));
        let mut said = Vec::new();
        for path in paths {
            if !said.contains(&path) {
                said.push(path);
            }
        }
        prop_assert_eq!(found, Some((split.hosts.clone(), said)));
    }

    /// No text makes a match of something that was not said: it is a match of that service or method, or refused.
    #[test]
    fn no_path_matches_more_than_it_says(value in "/[a-z./_A-Z0-9-]{0,12}", is_exact in any::<bool>()) {
        let path = if is_exact { exact(&value) } else { prefix(&value) };
        let split = grpc(std::slice::from_ref(&path));
        let mut world = World::default();
        if split.settle(&mut world).problem.is_none() {
            let matches = rules(&world)[0]["matches"].clone();
            let read = grpc_path(&matches[0]);
            let mut names = ["service", "method"].into_iter().filter_map(|part| matches[0]["method"][part].as_str());
            let is_legal = |it: char| it.is_ascii_alphanumeric() || "._".contains(it);
            prop_assert!(names.all(|name| name.chars().all(is_legal)), "the API server takes no other: {}", matches);
            prop_assert_eq!(read.type_, path.type_);
            let trimmed = value.strip_suffix('/').filter(|it| !it.is_empty()).unwrap_or(&value);
            prop_assert_eq!(read.value, trimmed);
        } else {
            prop_assert!(world.get(ObjectKind::GrpcRoute, "shop").is_none());
        }
    }
}
