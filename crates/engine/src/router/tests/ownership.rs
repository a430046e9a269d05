//! Objects change hands: made, released, adopted, removed; and are never taken from somebody else.

use cutover_api::v1alpha1::traffic_split::Side;
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{
    Split, World, accept_all, users_grpc_route, users_ingress, users_route, users_service, users_virtual_service,
};
use crate::router::{self, EndpointCopy, ObjectKind, RouteStep};

const KINDS: [ObjectKind; 10] = [
    ObjectKind::Ingress,
    ObjectKind::HttpRoute,
    ObjectKind::GrpcRoute,
    ObjectKind::Service,
    ObjectKind::EndpointSlice,
    ObjectKind::IngressRoute,
    ObjectKind::TraefikService,
    ObjectKind::VirtualService,
    ObjectKind::Middleware,
    ObjectKind::ServersTransport,
];

/// Everything but metadata.
fn contents(world: &World) -> Vec<Value> {
    let mut all: Vec<Value> = KINDS.into_iter().flat_map(|kind| world.all::<Value>(kind)).collect();
    for it in &mut all {
        let name = it["metadata"]["name"].clone();
        let marks = it["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        let canary: serde_json::Map<_, _> =
            marks.into_iter().filter(|(key, _)| key.contains("canary") || key.contains("/actions.")).collect();
        it["metadata"] = json!({"name": name, "canary": canary});
        // The paths that keep backends known bear the UID.
        for rule in it.pointer_mut("/spec/rules").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(paths) = rule.pointer_mut("/http/paths").and_then(Value::as_array_mut) {
                paths.retain(|path| !path["path"].as_str().unwrap().starts_with(router::names::KEPT));
            }
        }
        it.as_object_mut().unwrap().remove("status");
    }
    all
}

fn release(split: &Split, world: &mut World) {
    let steps = split.observing(world, |intent, observed| router::release(intent.split, observed));
    for step in &steps {
        world.send(step);
    }
    assert_eq!(
        split.observing(world, |intent, observed| router::release(intent.split, observed)),
        [],
        "once is enough"
    );
}

#[rstest]
#[case(Split::nginx())]
#[case(Split::nginx().at(100))]
#[case(Split::gateway())]
#[case(Split::gateway().grpc())]
#[case(Split::traefik())]
#[case(Split::traefik().at(0))]
#[case(Split::traefik().with(|it| it.edge = serde_json::from_value(json!({"rateLimit": {"requestsPerMinute": 6}, "timeouts": {"read": "1s"}})).unwrap()))]
#[case(Split::istio())]
#[case(Split::alb())]
fn a_released_route_is_unmanaged_and_adopted_at_its_weight(#[case] split: Split) {
    let mut world = World::default();
    split.settle(&mut world);
    let before = contents(&world);
    release(&split, &mut world);
    assert_eq!(contents(&world), before, "weights and everything else stay");
    for it in KINDS.into_iter().flat_map(|kind| world.all::<Value>(kind)) {
        assert_eq!(it["metadata"]["labels"].get("cutover.dev/owner-uid"), None);
        assert_eq!(it["metadata"]["annotations"]["cutover.dev/released-from"], "shop/shop");
    }

    let later = split.with(|it| it.uid = "another-uid".into());
    assert_eq!(later.read_weight(&world), Some(later.weight));
    later.settle(&mut world);
    assert_eq!(contents(&world), before, "adoption moves nothing");
    for it in KINDS.into_iter().flat_map(|kind| world.all::<Value>(kind)) {
        assert_eq!(it["metadata"]["labels"]["cutover.dev/owner-uid"], "another-uid");
        assert_eq!(it["metadata"]["annotations"].get("cutover.dev/released-from"), None);
    }
}

#[test]
fn a_split_restored_with_a_new_uid_finds_its_routes() {
    let mut world = World::default();
    Split::nginx().settle(&mut world);
    let restored = Split::nginx().with(|it| it.uid = "another-uid".into());
    assert_eq!(restored.read_weight(&world), Some(25));
    let plan = restored.settle(&mut world);
    assert!(plan.settled);
    assert_eq!(plan.problem, None);
}

#[rstest]
#[case(
    Split::nginx(),
    ObjectKind::Ingress,
    users_ingress("shop"),
    "RouteExists",
    "metadata.name: Ingress shop exists and is not this split's"
)]
#[case(
    Split::nginx(),
    ObjectKind::Ingress,
    users_ingress("shop-cutover-canary"),
    "RouteExists",
    "metadata.name: Ingress shop-cutover-canary exists"
)]
#[case(Split::nginx(), ObjectKind::Service, json!({"metadata": {"name": "shop-cutover-new"}}), "Conflicted", "metadata.name: Service shop-cutover-new exists")]
#[case(
    Split::gateway(),
    ObjectKind::HttpRoute,
    users_route("shop"),
    "RouteExists",
    "metadata.name: HTTPRoute shop exists and is not this split's"
)]
#[case(
    Split::gateway().grpc(),
    ObjectKind::GrpcRoute,
    users_grpc_route("shop"),
    "RouteExists",
    "metadata.name: GRPCRoute shop exists and is not this split's"
)]
#[case(
    Split::traefik(),
    ObjectKind::IngressRoute,
    json!({"metadata": {"name": "shop"}, "spec": {"routes": []}}),
    "RouteExists",
    "metadata.name: IngressRoute shop exists and is not this split's"
)]
#[case(
    Split::traefik(),
    ObjectKind::TraefikService,
    users_service("shop-cutover-weighted"),
    "RouteExists",
    "metadata.name: TraefikService shop-cutover-weighted exists and is not this split's"
)]
#[case(
    Split::istio(),
    ObjectKind::VirtualService,
    users_virtual_service("shop"),
    "RouteExists",
    "metadata.name: VirtualService shop exists and is not this split's"
)]
#[case(
    Split::alb(),
    ObjectKind::Ingress,
    users_ingress("shop-cutover-alb"),
    "RouteExists",
    "metadata.name: Ingress shop-cutover-alb exists and is not this split's"
)]
fn what_somebody_else_made_is_never_taken(
    #[case] split: Split,
    #[case] kind: ObjectKind,
    #[case] theirs: Value,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let mut world = World::default();
    world.put(kind, theirs);
    let plan = split.plan(&world);
    assert_eq!(plan.steps, []);
    assert_eq!(split.read_weight(&world), None);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, reason);
    assert!(problem.message.starts_with(message), "{}", problem.message);
    assert!(problem.message.contains("delete or rename it"), "{}", problem.message);
    let remove = split.observing(&world, |intent, observed| router::remove(intent.split, observed));
    assert_eq!(remove, [], "nor removed");
}

#[test]
fn a_route_of_another_split_is_not_ours() {
    let mut world = World::default();
    Split::nginx().settle(&mut world);
    world.edit(ObjectKind::Ingress, "shop", |it| {
        it["metadata"]["labels"]["cutover.dev/owner-uid"] = json!("other");
        it["metadata"]["annotations"]["cutover.dev/owner-name"] = json!("other");
    });
    assert_eq!(Split::nginx().plan(&world).problem.unwrap().reason, "RouteExists");
}

/// Sends what removes the split's objects, at most so many requests. No Service goes while a route names it.
pub fn remove(split: &Split, world: &mut World, most: usize) -> usize {
    let mut sent = 0;
    loop {
        let steps = split.observing(world, |intent, observed| router::remove(intent.split, observed));
        if steps.is_empty() || sent == most {
            return sent;
        }
        for step in steps.iter().take(most - sent) {
            if step.kind() == ObjectKind::Service {
                let name = format!("\"{}\"", step.name());
                let routes = [ObjectKind::Ingress, ObjectKind::HttpRoute].map(|kind| world.all::<Value>(kind));
                let naming = routes.iter().flatten().find(|route| route["spec"].to_string().contains(&name));
                assert_eq!(naming, None, "a_service_that_a_served_route_names_stays: {name}");
            }
            world.send(step);
            sent += 1;
        }
    }
}

fn by_address(side: Side) -> impl FnOnce(&mut Split) {
    move |split| {
        let backend = split.backend_mut(side);
        backend.selector.clear();
        let address =
            EndpointCopy { address_type: "IPv4".into(), address: "198.18.0.7".into(), port: 8080, ready: true };
        backend.endpoints.push(address);
    }
}

#[rstest]
#[case(Split::nginx())]
#[case(Split::nginx().at(0))]
#[case(Split::nginx().at(100).with(by_address(Side::Legacy)))]
#[case(Split::beside("users"))]
#[case(Split::gateway())]
#[case(Split::gateway().sticky(1, &[25]).with(by_address(Side::New)))]
#[case(Split::traefik())]
#[case(Split::istio())]
#[case(Split::alb())]
fn a_service_that_a_served_route_names_stays_and_nothing_else_does_wherever_the_process_dies(#[case] split: Split) {
    let mut settled = World::default();
    settled.put(ObjectKind::Ingress, users_ingress("users"));
    let users = contents(&settled);
    split.settle(&mut settled);
    let all = remove(&split, &mut settled.clone(), usize::MAX);
    assert!(all > 0);
    for died_after in 0..=all {
        let mut world = settled.clone();
        assert_eq!(remove(&split, &mut world, died_after), died_after);
        assert_eq!(remove(&split, &mut world, usize::MAX), all - died_after);
        assert_eq!(contents(&world), users, "died after {died_after}");
    }
}

#[rstest]
#[case(Split::nginx(), ObjectKind::Ingress, &["shop", "shop-cutover-canary"])]
#[case(Split::gateway().sticky(1, &[25]), ObjectKind::HttpRoute, &["shop"])]
fn a_route_that_lingers_keeps_what_it_leads_to(
    #[case] split: Split,
    #[case] kind: ObjectKind,
    #[case] routes: &[&str],
) {
    let mut world = World::default();
    split.settle(&mut world);
    for route in routes {
        world.edit(kind, route, |it| it["metadata"]["deletionTimestamp"] = json!("2026-11-02T00:00:00Z"));
    }
    assert_eq!(remove(&split, &mut world, usize::MAX), 0, "somebody else's finalizer is on it, and proxies serve it");
    for route in routes {
        world.drop(kind, route);
    }
    remove(&split, &mut world, usize::MAX);
    assert_eq!(contents(&world), Vec::<Value>::new());
}

#[test]
fn removal_closes_the_way_in_first_and_what_it_leads_to_last() {
    let mut world = World::default();
    Split::nginx().settle(&mut world);
    world.writes.clear();
    remove(&Split::nginx(), &mut world, usize::MAX);
    assert_eq!(
        world.writes,
        [
            "delete Ingress/shop",
            "delete Ingress/shop-cutover-canary",
            "delete Service/shop-cutover-legacy",
            "delete Service/shop-cutover-new",
        ]
    );
    assert_eq!(Split::nginx().observing(&world, |intent, observed| router::remove(intent.split, observed)), []);
}

#[rstest]
#[case(Split::rule("users", "checkout"), ObjectKind::HttpRoute, users_route("users"))]
#[case(Split::weighted("users"), ObjectKind::TraefikService, users_service("users"))]
#[case(Split::entry("users", "all"), ObjectKind::VirtualService, users_virtual_service("users"))]
fn what_a_split_was_attached_to_stays_as_it_is(#[case] split: Split, #[case] kind: ObjectKind, #[case] theirs: Value) {
    let mut world = World::default();
    world.put(kind, theirs);
    split.settle(&mut world);
    for end in [router::release, router::remove] {
        assert_eq!(split.observing(&world, |intent, observed| end(intent.split, observed)), []);
    }
}

#[test]
fn a_removed_way_in_of_traefik_goes_before_what_it_leads_to() {
    let mut world = World::default();
    Split::traefik().settle(&mut world);
    world.writes.clear();
    Split::traefik().with(|it| it.exposed = false).settle(&mut world);
    assert_eq!(world.writes, ["delete IngressRoute/shop", "delete TraefikService/shop-cutover-weighted"]);
    Split::traefik().settle(&mut world);
    let steps = Split::traefik().observing(&world, |intent, observed| router::remove(intent.split, observed));
    let removed: Vec<_> = steps.iter().map(router::RouteStep::kind).collect();
    assert_eq!(removed, [ObjectKind::IngressRoute, ObjectKind::TraefikService]);
}

/// The side that a rule lacks, and what takes the new side out of it.
fn looked(split: &Split, world: &World) -> (Option<Side>, Option<RouteStep>) {
    split.observing(world, |intent, observed| {
        let step = router::detach(&split.router, &split.sides.new, intent.split, observed);
        (router::lacks(&split.router, &split.sides, observed), step.ok().unwrap())
    })
}

#[rstest]
#[case(
    Split::rule("users", "checkout"),
    ObjectKind::HttpRoute,
    users_route("users"),
    "/spec/rules/1/backendRefs",
    Some(1)
)]
#[case(
    Split::entry("users", "all"),
    ObjectKind::VirtualService,
    users_virtual_service("users"),
    "/spec/http/1/route",
    None
)]
fn detaching_takes_out_what_was_added_as_soon_as_nothing_moves_by_it(
    #[case] split: Split,
    #[case] kind: ObjectKind,
    #[case] theirs: Value,
    #[case] list: &str,
    #[case] weight: Option<i64>,
) {
    let mut world = World::default();
    world.put(kind, theirs.clone());
    assert_eq!(looked(&split, &world), (Some(Side::New), None));
    split.clone().at(30).settle(&mut world);
    assert_eq!(looked(&split, &world), (None, None), "it would move traffic");
    split.clone().at(100).settle(&mut world);
    assert_eq!(looked(&split, &world), (None, None));
    split.clone().at(0).settle(&mut world);
    let (lacking, step) = looked(&split, &world);
    assert_eq!(lacking, None);
    world.send(&step.unwrap());
    let mut route = world.get(kind, "users").unwrap().clone();
    let left = route.pointer_mut(list).unwrap()[0].as_object_mut().unwrap();
    assert_eq!(left.remove("weight"), Some(json!(100)));
    left.extend(weight.map(|weight| ("weight".to_owned(), json!(weight))));
    assert_eq!(route["spec"], theirs["spec"], "as it was found, but for weights");
    assert_eq!(looked(&split, &world), (Some(Side::New), None), "once is enough");
}

#[test]
fn of_a_rule_that_leads_to_the_new_side_alone_legacy_is_what_was_added() {
    let mut world = World::default();
    let mut theirs = users_route("users");
    theirs["spec"]["rules"][1]["backendRefs"][0]["name"] = json!("storefront");
    world.put(ObjectKind::HttpRoute, theirs.clone());
    let split = Split::rule("users", "checkout").at(100);
    assert_eq!(looked(&split, &world).0, Some(Side::Legacy));
    split.settle(&mut world);
    let step = split.observing(&world, |intent, observed| {
        router::detach(&split.router, &split.sides.legacy, intent.split, observed).ok().flatten()
    });
    world.send(&step.unwrap());
    let mut route = world.get(ObjectKind::HttpRoute, "users").unwrap().clone();
    route["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(1);
    assert_eq!(route["spec"], theirs["spec"]);
}

#[rstest]
#[case(Split::nginx())]
#[case(Split::gateway())]
#[case(Split::weighted("users"))]
#[case(Split::alb())]
fn nothing_is_added_to_what_is_no_rule_of_somebody_elses(#[case] split: Split) {
    let mut world = World::default();
    world.put(ObjectKind::TraefikService, users_service("users"));
    split.settle(&mut world);
    assert_eq!(looked(&split, &world), (None, None));
}

#[test]
fn a_split_that_attaches_now_removes_what_it_made_before() {
    let mut world = World::default();
    Split::nginx().settle(&mut world);
    world.put(ObjectKind::Ingress, users_ingress("users"));
    world.writes.clear();
    Split::beside("users").settle(&mut world);
    assert_eq!(
        world.writes,
        ["apply Ingress/shop-cutover-canary", "delete Ingress/shop", "delete Service/shop-cutover-legacy"]
    );
}

#[rstest]
#[case(Split::nginx(), "Ingress shop-cutover-canary keeps being changed")]
#[case(Split::gateway(), "HTTPRoute shop keeps being changed")]
#[case(Split::gateway().grpc(), "GRPCRoute shop keeps being changed")]
#[case(Split::traefik(), "TraefikService shop-cutover-weighted keeps being changed")]
#[case(Split::istio(), "VirtualService shop keeps being changed")]
#[case(Split::alb(), "Ingress shop-cutover-alb keeps being changed")]
fn a_contended_route_is_left_alone_and_said_so(#[case] split: Split, #[case] message: &str) {
    let mut world = World::default();
    split.settle(&mut world);
    let backed_off = split.at(60).with(|it| it.backed_off = true);
    let plan = backed_off.plan(&world);
    assert_eq!(plan.steps, []);
    assert!(!plan.settled);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "Contended");
    assert!(problem.message.starts_with(message), "{}", problem.message);
    let content = backed_off.at(25).with(|it| it.backed_off = true);
    accept_all(&mut world);
    assert!(content.plan(&world).settled, "with nothing to write nothing is contended");
}
