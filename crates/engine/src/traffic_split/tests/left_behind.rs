//! Routes that deleted splits left behind, beside those of a split of another name.

use cutover_api::v1alpha1::traffic_split::RouteKind;
use rstest::rstest;
use serde_json::json;

use super::spec;
use crate::{
    router::{
        self, ObjectKind,
        tests::bed::{Split, World},
    },
    traffic_split::{LeftBehind, overlap},
};

/// What a split named `former` leaves behind when it is deleted.
fn left_by(split: Split) -> Vec<LeftBehind> {
    let split = split.with(|it| it.name = "former".into());
    let mut world = World::default();
    split.settle(&mut world);
    assert_eq!(read(&world), [], "it is not left behind while the split is there");
    for step in split.observing(&world, |intent, observed| router::release(intent.split, observed)) {
        world.send(&step);
    }
    read(&world)
}

fn read(world: &World) -> Vec<LeftBehind> {
    let ingresses = world.all(ObjectKind::Ingress);
    let [http_routes, grpc_routes] = [ObjectKind::HttpRoute, ObjectKind::GrpcRoute].map(|kind| world.all(kind));
    let ingress_routes = world.all(ObjectKind::IngressRoute);
    let virtual_services = world.all(ObjectKind::VirtualService);
    let found = ingresses.iter().filter_map(LeftBehind::ingress);
    let found = found.chain(http_routes.iter().filter_map(|it| LeftBehind::route(RouteKind::Http, it)));
    let found = found.chain(grpc_routes.iter().filter_map(|it| LeftBehind::route(RouteKind::Grpc, it)));
    let found = found.chain(ingress_routes.iter().filter_map(LeftBehind::ingress_route));
    found.chain(virtual_services.iter().filter_map(LeftBehind::virtual_service)).collect()
}

fn beside(split: &Split, left: &[LeftBehind]) -> Option<String> {
    let mut spec = spec();
    (spec.routers, spec.hosts, spec.paths) = (vec![split.router.clone()], split.hosts.clone(), split.paths.clone());
    overlap("shop", &spec, left)
}

#[rstest]
#[case(Split::nginx(), "Ingress former, Ingress former-cutover-canary: ", "kubectl delete ingresses former)")]
#[case(Split::gateway(), "HTTPRoute former: ", "kubectl delete httproutes former)")]
#[case(Split::traefik(), "IngressRoute former: ", "kubectl delete ingressroutes former)")]
#[case(Split::istio(), "VirtualService former: ", "kubectl delete virtualservices former)")]
#[case(Split::alb(), "Ingress former-cutover-alb: ", "kubectl delete ingresses former-cutover-alb)")]
fn a_route_that_was_left_behind_is_told_of_where_it_serves_the_same(
    #[case] split: Split,
    #[case] names: &str,
    #[case] remedy: &str,
) {
    let left = left_by(split.clone());
    let told = beside(&split, &left).unwrap();
    assert!(told.starts_with(names), "{told}");
    assert!(told.contains("by the deleted TrafficSplit former and still served for shop.example.com/,"), "{told}");
    assert!(told.contains(remedy) && told.contains("name this split former"), "{told}");

    let elsewhere = split.clone().with(|it| it.hosts = vec!["other.example.com".into()]);
    assert_eq!(beside(&elsewhere, &left), None);
    let below = split.with(|it| it.paths = vec![crate::router::tests::bed::prefix("/v2")]);
    assert_eq!(beside(&below, &left), None, "as two splits may have them beside each other");
}

#[test]
fn what_is_served_elsewhere_is_no_matter() {
    let left = left_by(Split::nginx());
    let class = Split::nginx().with(|it| it.nginx_mut().class_name = Some("internal".into()));
    for split in [class, Split::gateway(), Split::traefik(), Split::istio(), Split::alb(), Split::beside("users")] {
        assert_eq!(beside(&split, &left), None);
    }
    let left = left_by(Split::gateway());
    let parent = Split::gateway().with(|it| {
        let gateway = it.router.gateway_api.as_mut().unwrap();
        gateway.parent_refs.as_mut().unwrap()[0].namespace = None;
    });
    assert_eq!(beside(&parent, &left), None, "a Gateway of another namespace");
    assert!(beside(&Split::gateway(), &left).is_some());
    let mut points = Split::traefik();
    points.router = serde_json::from_value(json!({"traefik": {"entryPoints": ["admin"]}})).unwrap();
    assert!(beside(&points, &left_by(Split::traefik())).is_some(), "without names it may be any entry point");
}
