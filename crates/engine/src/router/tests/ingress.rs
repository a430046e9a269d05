//! The Ingresses and aliases that are built, as snapshots, and what is done about sides that come and go.

use cutover_api::v1alpha1::traffic_split::{IngressTls, PathMatch, PathType, Side};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World, cookie, header, prefix, users_ingress},
    proxies::{self, Proxy, Request, Served},
};
use crate::{
    Known,
    router::{EndpointCopy, ObjectKind, RouteStep, SideBackend},
};

/// Every object that a split comes down to.
fn built(split: &Split) -> Vec<Value> {
    built_in(split, &World::default())
}

fn built_in(split: &Split, world: &World) -> Vec<Value> {
    let object = |step| match step {
        RouteStep::Apply { object, .. } => object,
        other => panic!("nothing to change yet: {other:?}"),
    };
    split.plan(world).steps.into_iter().map(object).collect()
}

#[test]
fn a_split_in_between() {
    let split = Split::nginx().with(|it| {
        it.hosts = vec!["shop.example.com".into(), "*.shop.example.com".into()];
        it.paths = vec![prefix("/"), PathMatch::new(PathType::Exact, "/health")];
        it.pins = vec![header(Side::New, "x-cutover", "new"), cookie(Side::New, "cutover", "always")];
        it.baseline = Some("5".into());
        it.nginx_mut().tls = Some(IngressTls { secret_name: "shop-cert".into() });
        it.nginx_mut().annotations =
            [("nginx.ingress.kubernetes.io/proxy-body-size".to_owned(), "8m".to_owned())].into();
    });
    insta::assert_yaml_snapshot!(built(&split));
}

#[test]
fn a_host_that_only_the_new_side_serves() {
    let split = Split::nginx().at(100).with(|it| it.sides.legacy = SideBackend::Absent);
    insta::assert_yaml_snapshot!(built(&split));
}

#[test]
fn a_finer_total_and_pins_to_both_sides() {
    let split = Split::nginx().with(|it| {
        (it.weight, it.total) = (125, 10_000);
        it.pins = vec![
            header(Side::New, "x-cutover", "always"),
            header(Side::Legacy, "x-cutover", "never"),
            cookie(Side::Legacy, "cutover", "never"),
            cookie(Side::New, "cutover", "always"),
        ];
    });
    insta::assert_yaml_snapshot!(built(&split).get(2));
}

#[test]
fn several_values_of_one_header() {
    let split = Split::nginx()
        .with(|it| it.pins = vec![header(Side::New, "x-team", "web-1.2"), header(Side::New, "X-Team", "qa")]);
    let canary = &built(&split)[2];
    let marks = &canary["metadata"]["annotations"];
    assert_eq!(marks["nginx.ingress.kubernetes.io/canary-by-header"], "x-team");
    assert_eq!(marks["nginx.ingress.kubernetes.io/canary-by-header-pattern"], r"^(web-1\.2|qa)$");
}

#[test]
fn a_canary_beside_a_users_ingress() {
    let mut world = World::default();
    let mut users = users_ingress("users");
    users["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "nginx"});
    users["spec"]["ingressClassName"] = Value::Null;
    users["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!("ImplementationSpecific");
    world.put(ObjectKind::Ingress, users);
    insta::assert_yaml_snapshot!(built_in(&Split::beside("users"), &world));
}

#[test]
fn a_legacy_system_outside_the_cluster() {
    let split = Split::nginx().with(|it| {
        let legacy = it.backend_mut(Side::Legacy);
        legacy.selector.clear();
        legacy.target_port = Some(IntOrString::Int(8443));
        legacy.app_protocol = Some("http".into());
        let copy = |address_type: &str, address: &str, ready| EndpointCopy {
            address_type: address_type.into(),
            address: address.into(),
            port: 8443,
            ready,
        };
        legacy.endpoints = vec![
            copy("IPv4", "192.0.2.11", false),
            copy("IPv4", "192.0.2.10", true),
            copy("IPv6", "2001:db8::10", true),
        ];
    });
    insta::assert_yaml_snapshot!(&built(&split)[..3]);
}

#[test]
fn endpoints_of_an_outside_system_are_followed() {
    let copy =
        |address: &str| EndpointCopy { address_type: "IPv4".into(), address: address.into(), port: 80, ready: true };
    let outside = |addresses: &[&str]| {
        let endpoints = addresses.iter().map(|it| copy(it)).collect();
        Split::nginx().with(|it| {
            it.backend_mut(Side::Legacy).selector.clear();
            it.backend_mut(Side::Legacy).endpoints = endpoints;
        })
    };
    let mut world = World::default();
    outside(&["192.0.2.1"]).settle(&mut world);
    world.writes.clear();
    outside(&["192.0.2.1", "192.0.2.2"]).settle(&mut world);
    assert_eq!(world.writes, ["apply EndpointSlice/shop-cutover-legacy-ipv4-80"]);
    world.writes.clear();
    outside(&[]).settle(&mut world);
    assert_eq!(world.writes, ["delete EndpointSlice/shop-cutover-legacy-ipv4-80"]);
}

#[test]
fn slices_that_the_cluster_made_for_an_alias_are_the_clusters() {
    let mut world = World::default();
    Split::nginx().settle(&mut world);
    let clusters = json!({
        "metadata": {
            "name": "shop-cutover-new-x7k2b",
            "labels": {"kubernetes.io/service-name": "shop-cutover-new", "cutover.dev/owner-uid": "split-uid"},
        },
        "addressType": "IPv4",
    });
    world.put(ObjectKind::EndpointSlice, clusters);
    world.writes.clear();
    let split = Split::nginx();
    split.settle(&mut world);
    assert_eq!(world.writes, [] as [String; 0]);
    let no_selector = split.with(|it| it.backend_mut(Side::New).selector.clear());
    no_selector.settle(&mut world);
    assert_eq!(
        world.writes,
        ["delete EndpointSlice/shop-cutover-new-x7k2b", "apply Service/shop-cutover-new"],
        "without a selector the cluster leaves them behind"
    );
}

#[test]
fn a_backends_new_port_changes_the_alias_and_no_route() {
    let mut world = World::default();
    Split::nginx().settle(&mut world);
    world.writes.clear();
    Split::nginx().with(|it| it.backend_mut(Side::New).target_port = Some(IntOrString::Int(9090))).settle(&mut world);
    assert_eq!(world.writes, ["apply Service/shop-cutover-new"]);
}

#[test]
fn a_hidden_split_has_its_aliases_ready_and_no_route() {
    let mut world = World::default();
    let hidden = Split::nginx().with(|it| it.exposed = false);
    let plan = hidden.settle(&mut world);
    assert!(plan.settled);
    assert_eq!(plan.read_back.observed_weight, None);
    assert_eq!(world.writes, ["create Service/shop-cutover-legacy", "create Service/shop-cutover-new"]);
    Split::nginx().settle(&mut world);
    world.writes.clear();
    hidden.settle(&mut world);
    assert_eq!(
        world.writes,
        ["delete Ingress/shop", "delete Ingress/shop-cutover-canary"],
        "the way in is closed for both sides at once"
    );
}

#[test]
fn a_host_without_legacy_has_no_route_at_weight_0() {
    let mut world = World::default();
    let only_new = |weight| Split::nginx().at(weight).with(|it| it.sides.legacy = SideBackend::Absent);
    assert!(only_new(0).settle(&mut world).settled);
    assert_eq!(world.writes, ["create Service/shop-cutover-new"]);
    assert!(only_new(100).settle(&mut world).settled);
    assert_eq!(
        proxies::ingress(Proxy::Nginx, &only_new(100), &world, "shop.example.com", &Request::PLAIN),
        Served::New(100)
    );
}

#[test]
fn legacy_that_leaves_the_spec_takes_its_alias_along_when_nothing_leads_there() {
    let mut world = World::default();
    Split::nginx().at(50).settle(&mut world);
    world.writes.clear();
    let split = Split::nginx().at(100).with(|it| it.sides.legacy = SideBackend::Absent);
    split.settle(&mut world);
    assert_eq!(
        world.writes,
        [
            "apply Ingress/shop-cutover-canary",
            "apply Ingress/shop",
            "delete Service/shop-cutover-legacy",
            "apply Ingress/shop",
            "delete Ingress/shop-cutover-canary",
        ]
    );
}

fn gone(side: Side) -> impl FnOnce(&mut Split) {
    let missing = SideBackend::Missing { service: Some(("gone".into(), 80)) };
    move |it| match side {
        Side::Legacy => it.sides.legacy = missing,
        Side::New => it.sides.new = missing,
    }
}

#[test]
fn a_side_without_weight_and_service_is_left_out() {
    let mut world = World::default();
    let split = Split::nginx().at(0).with(gone(Side::New));
    assert!(split.settle(&mut world).settled);
    assert_eq!(world.writes, ["create Service/shop-cutover-legacy", "create Ingress/shop"]);

    let mut world = World::default();
    Split::nginx().at(30).settle(&mut world);
    let split = Split::nginx().at(0).with(gone(Side::New));
    assert!(split.settle(&mut world).settled);
    assert_eq!(split.read_weight(&world), Some(0));
}

#[rstest]
#[case(Side::New, 30, "spec.new: Service gone with port 80 does not exist")]
#[case(Side::Legacy, 30, "spec.legacy: Service gone with port 80 does not exist")]
fn no_route_is_made_to_a_side_that_is_not_there(#[case] side: Side, #[case] weight: i32, #[case] message: &str) {
    let mut world = World::default();
    let plan = Split::nginx().at(weight).with(gone(side)).drive(&mut world, false, |_| {});
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "ReferenceNotFound");
    assert!(problem.message.starts_with(message), "{}", problem.message);
    assert!(world.all::<Value>(ObjectKind::Ingress).is_empty());
}

#[test]
fn a_service_that_vanishes_under_traffic_changes_nothing_in_the_routes() {
    let mut world = World::default();
    Split::nginx().at(30).settle(&mut world);
    world.writes.clear();
    let split = Split::nginx().at(30).with(gone(Side::New));
    split.drive(&mut world, false, |_| {});
    assert_eq!(world.writes, [] as [String; 0], "the alias still selects what it selected");
    Split::nginx().at(10).with(gone(Side::New)).drive(&mut world, false, |_| {});
    assert_eq!(world.writes, ["apply Ingress/shop-cutover-canary"], "and the way back is open");
}

#[test]
fn hosts_and_paths_come_and_go_without_a_rule_of_the_wrong_share() {
    let hosts =
        |hosts: &[&str]| Split::nginx().at(50).with(|it| it.hosts = hosts.iter().map(|&it| it.into()).collect());
    let mut world = World::default();
    hosts(&["a.example.com"]).settle(&mut world);
    let watch = |split: &Split, world: &mut World| {
        split.drive(world, true, |world| {
            for host in ["a.example.com", "b.example.com"] {
                let served = proxies::ingress(Proxy::Nginx, split, world, host, &Request::PLAIN);
                assert!([Served::New(50), Served::Nothing].contains(&served), "{host}: {served:?}");
            }
        });
    };
    watch(&hosts(&["a.example.com", "b.example.com"]), &mut world);
    watch(&hosts(&["b.example.com"]), &mut world);
}

#[test]
fn an_annotation_that_left_the_spec_leaves_the_ingress_and_a_foreign_one_stays() {
    let mut world = World::default();
    let body_size = "nginx.ingress.kubernetes.io/proxy-body-size".to_owned();
    Split::nginx()
        .with(|it| it.nginx_mut().annotations = [(body_size.clone(), "8m".to_owned())].into())
        .settle(&mut world);
    world.edit(ObjectKind::Ingress, "shop", |it| it["metadata"]["annotations"]["example.com/note"] = json!("mine"));
    Split::nginx().settle(&mut world);
    let marks = &world.get(ObjectKind::Ingress, "shop").unwrap()["metadata"]["annotations"];
    assert_eq!(marks.get(&body_size), None);
    assert_eq!(marks["example.com/note"], "mine");
}

#[test]
fn pins_that_left_the_spec_leave_the_canary() {
    let mut world = World::default();
    Split::nginx().with(|it| it.pins = vec![header(Side::New, "x-cutover", "new")]).settle(&mut world);
    world.writes.clear();
    Split::nginx().settle(&mut world);
    assert_eq!(world.writes, ["patch Ingress/shop-cutover-canary"]);
    let canary = world.get(ObjectKind::Ingress, "shop-cutover-canary").unwrap();
    let marks = canary["metadata"]["annotations"].as_object().unwrap();
    assert!(!marks.keys().any(|it| it.contains("canary-by")), "{marks:?}");
}

#[test]
fn clients_that_stick_to_the_canary_are_let_go_at_0() {
    let mut world = World::default();
    let sticky = |weight| {
        Split::nginx().at(weight).with(|it| {
            it.nginx_mut().annotations =
                [("nginx.ingress.kubernetes.io/affinity".to_owned(), "cookie".to_owned())].into();
            it.pins = vec![header(Side::New, "x-cutover", "new")];
        })
    };
    sticky(30).settle(&mut world);
    let plan = sticky(0).settle(&mut world);
    assert!(world.get(ObjectKind::Ingress, "shop-cutover-canary").is_none());
    assert!(plan.settled);
    assert_eq!(plan.read_back.message.as_deref(), Some("spec.pins have no effect while there is no canary Ingress"));
}

#[test]
fn a_canary_counted_in_another_total_is_read_in_ours() {
    let mut world = World::default();
    Split::nginx().at(25).settle(&mut world);
    let finer = Split::nginx().with(|it| (it.total, it.weight) = (1000, 250));
    assert_eq!(finer.read_weight(&world), Some(250));
    world.edit(ObjectKind::Ingress, "shop-cutover-canary", |it| {
        it["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = json!("many");
    });
    assert_eq!(finer.read_weight(&world), Some(0), "as the proxies read it");
}

#[test]
fn an_unknown_number_of_endpoints_leads_the_main_ingress_nowhere_else() {
    let mut world = World::default();
    Split::nginx().at(50).settle(&mut world);
    let unknown = Split::nginx().at(100).with(|it| it.backend_mut(Side::New).ready = Known::Unknown);
    let plan = unknown.drive(&mut world, false, |_| {});
    assert_eq!((plan.settled, plan.problem), (false, None), "it is awaited");
    assert_eq!(
        world.view::<crate::router::IngressView>(ObjectKind::Ingress, "shop").unwrap().rules[0].paths[0]
            .backend
            .as_ref()
            .unwrap()
            .0,
        "shop-cutover-legacy".into()
    );
}
