//! What a router cannot do, or is told wrongly, is said with the field and the remedy, and nothing is written.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::traffic_split::{Pin, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{Split, World, cookie, header, prefix, users_ingress, users_route};
use crate::{
    Known,
    conditions::Health,
    router::{EndpointCopy, ObjectKind, SideBackend},
};

fn assert_refused(split: &Split, world: &World, reason: &str, parts: &[&str]) {
    let plan = split.plan(world);
    assert_eq!(plan.steps, []);
    assert!(!plan.settled);
    let problem = plan.problem.expect("a problem");
    assert_eq!((problem.reason, problem.health), (reason, Health::Stalled), "{}", problem.message);
    assert!(problem.message.starts_with(parts[0]), "{}", problem.message);
    for part in parts {
        assert!(problem.message.contains(part), "{part} is not in: {}", problem.message);
    }
}

#[rstest]
#[case::gateway(Split::gateway())]
#[case::traefik(Split::traefik())]
fn a_side_that_is_gone_is_never_given_more(#[case] split: Split) {
    let mut world = World::default();
    assert!(split.settle(&mut world).settled);
    let gone = |weight| {
        split
            .clone()
            .at(weight)
            .with(|it| it.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) })
    };
    let plan = gone(40).plan(&world);
    assert_eq!(plan.steps, []);
    assert_eq!(plan.problem.unwrap().reason, "ReferenceNotFound");
    gone(10).settle(&mut world);
    assert_eq!(split.read_weight(&world), Some(10), "but less");
}

#[rstest]
#[case::two_headers(
    &[header(Side::New, "x-a", "1"), header(Side::New, "x-b", "1")],
    &["spec.pins[1].header.name: ", "one header only", "x-a", "gatewayApi"])]
#[case::two_cookies(
    &[cookie(Side::New, "a", "always"), cookie(Side::New, "b", "always")],
    &["spec.pins[1].cookie.name: ", "one cookie only", "use a here too"])]
#[case::a_cookies_value(&[cookie(Side::New, "a", "yes")], &["spec.pins[0].cookie.value: ", "always, to New, and never, to Legacy"])]
#[case::always_to_legacy(&[cookie(Side::Legacy, "a", "always")], &["spec.pins[0].cookie.value: "])]
#[case::never_to_new(&[cookie(Side::New, "a", "never")], &["spec.pins[0].cookie.value: "])]
#[case::a_lone_never(&[cookie(Side::Legacy, "a", "never")], &["spec.pins: ", "add a pin of the same cookie with the value always to New"])]
#[case::a_header_to_legacy(&[header(Side::Legacy, "x-a", "old")], &["spec.pins[0]: ", "only by the value never", "use that pair of pins"])]
#[case::a_lone_header_never(&[header(Side::Legacy, "x-a", "never")], &["spec.pins[0]: "])]
#[case::a_third_value(
    &[header(Side::New, "x-a", "always"), header(Side::New, "x-a", "more"), header(Side::Legacy, "x-a", "never")],
    &["spec.pins[2]: "])]
#[case::a_cookie_before_a_header(
    &[cookie(Side::New, "a", "always"), cookie(Side::Legacy, "a", "never"), header(Side::New, "x-a", "new")],
    &["spec.pins[2]: ", "headers before cookies", "put header pins before cookie pins"])]
fn pins_that_a_canary_cannot_express(#[case] pins: &[Pin], #[case] parts: &[&str]) {
    let split = Split::nginx().with(|it| it.pins = pins.to_vec());
    assert_refused(&split, &World::default(), "UnsupportedByRouter", parts);
}

#[test]
fn the_first_of_two_pins_with_one_value_wins() {
    let pins = vec![
        header(Side::New, "x-a", "always"),
        header(Side::Legacy, "x-a", "never"),
        header(Side::New, "x-a", "never"),
    ];
    assert_eq!(Split::nginx().with(|it| it.pins = pins).plan(&World::default()).problem, None);
}

#[rstest]
#[case("nginx.ingress.kubernetes.io/canary-weight", "5", "use newWeight and pins")]
#[case("nginx.ingress.kubernetes.io/service-upstream", "true", "no cluster address of their own: remove it")]
#[case("kubernetes.io/ingress.class", "nginx", "the class is in className: remove it")]
#[case("cutover.dev/baseline", "5", "annotations of this domain are Cutover's: remove it")]
fn annotations_that_are_not_taken_over(#[case] key: &str, #[case] value: &str, #[case] remedy: &str) {
    let split =
        Split::nginx().with(|it| it.nginx_mut().annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]));
    let field = format!("spec.routers[0].ingressNginx.annotations[{key}]: ");
    assert_refused(&split, &World::default(), "UnsupportedByRouter", &[&field, remedy]);
}

#[rstest]
#[case(Split::nginx())]
#[case(Split::traefik())]
#[case(Split::istio())]
#[case(Split::alb())]
#[case(Split::gateway())]
fn a_service_that_is_only_a_name(#[case] split: Split) {
    let split = split.with(|it| it.backend_mut(Side::Legacy).external_name = true);
    let parts =
        ["spec.legacy: Service monolith is of type ExternalName", "external component that is found by addresses"];
    assert_refused(&split, &World::default(), "UnsupportedByRouter", &parts);
}

#[test]
fn sides_that_speak_different_protocols() {
    let split = Split::nginx().with(|it| it.backend_mut(Side::Legacy).app_protocol = Some("https".into()));
    let parts = [
        "spec.routers[0].ingressNginx: ",
        "Service monolith is https",
        "Service storefront is http",
        "give both the same",
    ];
    assert_refused(&split, &World::default(), "UnsupportedByRouter", &parts);
    let same = split.with(|it| it.backend_mut(Side::New).app_protocol = Some("https".into()));
    assert_eq!(same.plan(&World::default()).problem, None);
}

#[test]
fn more_endpoints_than_a_slice_takes() {
    let copy =
        |i: i32| EndpointCopy { address_type: "IPv4".into(), address: format!("192.0.2.{i}"), port: 80, ready: true };
    let split = Split::nginx().with(|it| {
        it.backend_mut(Side::New).selector.clear();
        it.backend_mut(Side::New).endpoints = (0..1001).map(copy).collect();
    });
    assert_refused(
        &split,
        &World::default(),
        "UnsupportedByRouter",
        &["spec.new: Service storefront", "more than 1000", "give it a selector"],
    );
}

#[test]
fn more_matches_than_a_route_takes() {
    let split = Split::gateway().with(|it| {
        it.paths = (0..16).map(|i| prefix(&format!("/p{i}"))).collect();
        it.pins = (0..8).map(|i| header(Side::New, "x-a", &i.to_string())).collect();
    });
    assert_refused(
        &split,
        &World::default(),
        "UnsupportedByRouter",
        &["spec.pins: ", "144 matches", "takes 16 and 128", "two splits"],
    );
}

#[test]
fn a_class_without_http_routes() {
    let split = Split::gateway().with(|it| it.classes[0].supported_features = Some(Box::new(["TLSRoute".into()])));
    let parts =
        ["spec.routers[0].gatewayApi: GatewayClass example does not list the feature HTTPRoute", "another class"];
    assert_refused(&split, &World::default(), "UnsupportedByRouter", &parts);
    let silent = split.with(|it| it.classes[0].supported_features = None);
    assert_eq!(silent.plan(&World::default()).problem, None, "a class that has not said is not refused");
}

#[test]
fn a_cluster_without_the_gateway_api() {
    let split = Split::gateway().with(|it| it.installed = Known::Known(false));
    let parts = ["spec.routers[0].gatewayApi: ", "install the Gateway API's CRDs", "take this router out"];
    assert_refused(&split, &World::default(), "RouterNotInstalled", &parts);
    let plan = split.with(|it| it.installed = Known::Unknown).plan(&World::default());
    assert_eq!((plan.steps, plan.problem, plan.settled), (vec![], None, false), "what is not known yet is awaited");
}

#[test]
fn a_cluster_without_traefiks_kinds_or_the_right_to_see_them() {
    let split = Split::traefik().with(|it| it.installed = Known::Known(false));
    let parts =
        ["spec.routers[0].traefik: ", "IngressRoutes and TraefikServices of traefik.io", "install Traefik's CRDs"];
    assert_refused(&split, &World::default(), "RouterNotInstalled", &parts);
    let plan = split.clone().with(|it| it.installed = Known::Unknown).plan(&World::default());
    assert_eq!((plan.steps, plan.problem, plan.settled), (vec![], None, false), "what is not known yet is awaited");
    let parts =
        ["spec.routers[0].traefik: the operator may not list ingressroutes and traefikservices", "grant its account"];
    let forbidden = split.with(|it| (it.installed, it.forbidden) = (Known::Unknown, true));
    assert_refused(&forbidden, &World::default(), "Forbidden", &parts);
}

#[test]
fn more_rules_than_an_ingress_route_holds() {
    let split = Split::traefik().with(|it| {
        it.hosts = (0..8).map(|i| format!("h{i}.example.com")).collect();
        it.paths = (0..16).map(|i| prefix(&format!("/p{i}"))).collect();
        it.pins = (0..4).map(|i| header(Side::New, "x-a", &i.to_string())).collect();
    });
    let parts = ["spec.routers[0].traefik: ", "640 rules", "holds 512", "two splits"];
    assert_refused(&split, &World::default(), "UnsupportedByRouter", &parts);
}

#[test]
fn a_wildcard_with_paths_that_traefik_would_prefer_to_other_hosts() {
    let split = Split::traefik().with(|it| {
        it.hosts = vec!["shop.example.com".into(), "*.example.com".into()];
        it.paths = vec![prefix("/v2")];
    });
    let parts = ["spec.hosts[1]: ", "name the hosts one by one", "path / alone"];
    assert_refused(&split, &World::default(), "UnsupportedByRouter", &parts);
}

#[test]
fn an_operator_that_may_not_list_routes() {
    let split = Split::gateway().with(|it| (it.installed, it.forbidden) = (Known::Unknown, true));
    let parts = [
        "spec.routers[0].gatewayApi: the operator may not list httproutes.gateway.networking.k8s.io",
        "grant its account list and watch on them",
    ];
    assert_refused(&split, &World::default(), "Forbidden", &parts);
    assert_eq!(split.plan(&World::default()).steps, vec![], "a route that is not seen is not written");
}

fn with_users_ingress(change: impl FnOnce(&mut Value)) -> World {
    let mut world = World::default();
    let mut ingress = users_ingress("users");
    change(&mut ingress);
    world.put(ObjectKind::Ingress, ingress);
    world
}

fn path(path: &str, service: &str) -> Value {
    json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 8080}}}})
}

const ATTACH: &str = "spec.routers[0].ingressNginx.attach.ingress: ";

#[rstest]
#[case::no_such_ingress("ReferenceNotFound", |it: &mut Value| it["metadata"]["name"] = json!("other"), "there is no Ingress users")]
#[case::a_canary(
    "Conflicted", |it: &mut Value| it["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/canary": "true"}), "is a canary itself")]
#[case::another_host("InvalidSpec", |it: &mut Value| it["spec"]["rules"][0]["host"] = json!("other.example.com"), "no rule for host shop.example.com with path / (Prefix)")]
#[case::another_path("InvalidSpec", |it: &mut Value| it["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!("/shop"), "add it there, or correct spec.hosts")]
#[case::another_type("InvalidSpec", |it: &mut Value| it["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!("Exact"), "(Prefix)")]
#[case::another_service(
    "Conflicted", |it: &mut Value| it["spec"]["rules"][0]["http"]["paths"][0] = path("/", "other"), "by Service other:8080, which is neither")]
#[case::another_port(
    "Conflicted",
    |it: &mut Value| it["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = json!({"number": 9}),
    "by Service monolith:9, which is neither")]
#[case::a_shared_service(
    "Conflicted",
    |it: &mut Value| it["spec"]["rules"][0]["http"]["paths"][1] = path("/admin", "monolith"),
    "Ingress users serves shop.example.com/admin by Service monolith:8080 as well")]
#[case::a_shared_default(
    "Conflicted",
    |it: &mut Value| it["spec"]["defaultBackend"] = path("/", "monolith")["backend"].clone(),
    "Ingress users serves everything else by Service monolith:8080 as well")]
fn ingresses_that_cannot_be_attached_to(#[case] reason: &str, #[case] change: fn(&mut Value), #[case] message: &str) {
    let world = with_users_ingress(|it| {
        it["spec"]["rules"][0]["http"]["paths"] = json!([path("/", "monolith")]);
        it["spec"]["rules"][0]["http"]["paths"].as_array_mut().unwrap().push(path("/elsewhere", "elsewhere"));
        change(it);
    });
    assert_refused(&Split::beside("users"), &world, reason, &[ATTACH, message]);
}

#[test]
fn a_legacy_service_that_another_ingress_names_too() {
    let mut world = with_users_ingress(|_| {});
    let mut other = users_ingress("admin");
    other["spec"]["rules"][0]["host"] = json!("admin.example.com");
    world.put(ObjectKind::Ingress, other);
    let parts = [
        ATTACH,
        "Ingress admin serves admin.example.com/ by Service monolith:8080 as well, and a canary would split that too",
        "ingressNginx.className",
    ];
    assert_refused(&Split::beside("users"), &world, "Conflicted", &parts);
    world.edit(ObjectKind::Ingress, "admin", |it| {
        it["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = json!({"name": "web"});
    });
    assert_eq!(
        Split::beside("users").plan(&world).problem,
        None,
        "by the port's name it is another backend to the proxies"
    );
}

#[test]
fn another_canary_for_the_same_path() {
    let mut world = with_users_ingress(|_| {});
    let mut rival = users_ingress("experiment");
    rival["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/canary": "true"});
    rival["spec"]["rules"][0]["http"]["paths"] = json!([path("/", "experiment")]);
    world.put(ObjectKind::Ingress, rival);
    let parts = [ATTACH, "Ingress experiment is a canary for the same host and path", "delete it"];
    assert_refused(&Split::beside("users"), &world, "Conflicted", &parts);
}

#[test]
fn a_canary_needs_a_legacy_side() {
    let mut world = with_users_ingress(|_| {});
    let split = Split::beside("users").at(100).with(|it| it.sides.legacy = SideBackend::Absent);
    world.writes.clear();
    let plan = split.plan(&world);
    assert_eq!(plan.steps, []);
    assert!(plan.problem.unwrap().message.starts_with(ATTACH));
}

#[test]
fn a_path_without_a_type_of_its_own_is_a_prefix() {
    let world = with_users_ingress(|it| {
        it["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!("ImplementationSpecific");
    });
    assert_eq!(Split::beside("users").plan(&world).problem, None);
}

#[rstest]
#[case("absent", "checkout", "spec.routers[0].gatewayApi.attach.route: there is no HTTPRoute absent")]
#[case(
    "users",
    "chekout",
    "spec.routers[0].gatewayApi.attach.rule: HTTPRoute users has no rule called chekout: name one of other, checkout"
)]
#[case(
    "users",
    "other",
    "spec.routers[0].gatewayApi.attach.rule: rule other of HTTPRoute users also leads to Service blog:80"
)]
fn rules_that_cannot_be_attached_to(#[case] route: &str, #[case] rule: &str, #[case] message: &str) {
    let mut world = World::default();
    world.put(ObjectKind::HttpRoute, users_route("users"));
    let plan = Split::rule(route, rule).plan(&world);
    assert_eq!(plan.steps, []);
    let problem = plan.problem.unwrap();
    assert!(problem.message.starts_with(message), "{}", problem.message);
}

#[test]
fn an_attached_rule_has_no_room_for_pins() {
    let mut world = World::default();
    world.put(ObjectKind::HttpRoute, users_route("users"));
    let split = Split::rule("users", "checkout").with(|it| it.pins = vec![header(Side::New, "x-a", "b")]);
    let plan = split.plan(&world);
    assert_eq!(plan.steps, [], "the user's route is not touched");
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "UnsupportedByRouter");
    assert!(problem.message.starts_with("spec.pins[0]: "), "{}", problem.message);
}

/// A spec that becomes unsupported while traffic is split keeps the weight in force, in both directions.
#[rstest]
#[case(Split::nginx().with(|it| it.pins = vec![header(Side::New, "x-a", "new")]), ObjectKind::Ingress, "shop-cutover-canary")]
#[case(Split::gateway(), ObjectKind::HttpRoute, "shop")]
#[case(Split::traefik(), ObjectKind::IngressRoute, "shop")]
#[case(Split::istio(), ObjectKind::VirtualService, "shop")]
fn weights_in_force_move_on_under_a_refused_spec(#[case] split: Split, #[case] kind: ObjectKind, #[case] name: &str) {
    let mut world = World::default();
    split.settle(&mut world);
    let form = |world: &World| {
        let mut object = world.get(kind, name).unwrap().clone();
        let marks = object["metadata"]["annotations"].as_object_mut().unwrap();
        marks.remove("nginx.ingress.kubernetes.io/canary-weight");
        let marks = marks.clone();
        let mut spec = object["spec"].take();
        if kind == ObjectKind::HttpRoute {
            for backend in spec["rules"][0]["backendRefs"].as_array_mut().unwrap() {
                backend["weight"] = Value::Null;
            }
        }
        (marks, spec)
    };
    let before = form(&world);
    let refused = |weight| {
        split.clone().at(weight).with(|it| {
            it.hosts = vec!["other.example.com".into()];
            it.backend_mut(Side::New).external_name = true;
        })
    };
    for weight in [60, 0, 100, 10] {
        let plan = refused(weight).settle(&mut world);
        assert_eq!(plan.problem.as_ref().unwrap().reason, "UnsupportedByRouter");
        assert_eq!(split.read_weight(&world), Some(weight));
        assert!(plan.settled, "the weight in force is carried");
        if kind == ObjectKind::IngressRoute || ((weight > 0 && weight < 100) && kind == ObjectKind::HttpRoute) {
            assert_eq!(form(&world), before, "its form waits");
        }
    }
    assert_eq!(split.clone().at(10).settle(&mut world).problem, None);
}
