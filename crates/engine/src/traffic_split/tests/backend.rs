use cutover_api::v1alpha1::Environment;
use rstest::rstest;
use serde_json::{Value, json};

use super::{super::backend::*, *};
use crate::{
    Known,
    conditions::Health,
    router::{
        SideBackend,
        view::{EndpointView, ServiceView, WholeView},
    },
};

fn environment() -> Environment {
    serde_json::from_value(json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "production"},
        "spec": {"tier": "Production", "components": [
            {"name": "monolith", "system": "Legacy", "source": {"service": {"name": "old", "port": 80}}},
            {"name": "storefront", "system": "New", "source": {"service": {"name": "new", "port": 8080}}},
        ]},
        "status": {"components": [
            {"name": "monolith", "system": "Legacy", "ready": true, "service": {"name": "old", "port": 80}},
        ]},
    }))
    .unwrap()
}

fn by_component() -> TrafficSplitSpec {
    let mut spec = serde_json::to_value(spec()).unwrap();
    spec["environment"] = "production".into();
    spec["legacy"] = json!({"component": "monolith"});
    spec["new"] = json!({"component": "storefront"});
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_component_is_the_service_that_its_environment_reports() {
    let environment = environment();
    let [legacy, new] = targets(&by_component(), Known::Known(Some(&environment)));
    let Known::Known(Target::Service { name, port, field }) = legacy else { panic!("{legacy:?}") };
    assert_eq!((name.as_str(), port, field), ("old", 80, "spec.legacy.component"));
    let Known::Known(Target::Unresolved(problem)) = new else { panic!("{new:?}") };
    assert_eq!(problem.health, Health::Reconciling);
}

#[test]
fn what_is_not_there_is_named_with_its_field_and_a_remedy() {
    let [legacy, _] = targets(&by_component(), Known::Known(None));
    let Known::Known(Target::Unresolved(problem)) = legacy else { panic!("{legacy:?}") };
    assert_eq!(
        problem.message,
        "spec.environment: there is no Environment production in this namespace: create it, or name another"
    );
    let mut spec = by_component();
    spec.new.component = Some("cart".into());
    let environment = environment();
    let [_, new] = targets(&spec, Known::Known(Some(&environment)));
    let Known::Known(Target::Unresolved(problem)) = new else { panic!("{new:?}") };
    assert_eq!(
        problem.message,
        "spec.new.component: Environment production has no component cart: name one of monolith, storefront"
    );
}

#[test]
fn an_environment_that_was_not_read_yet_says_nothing() {
    assert_eq!(targets(&by_component(), Known::Unknown), [Known::Unknown, Known::Unknown]);
}

fn service(selector: bool) -> ServiceView {
    serde_json::from_value(json!({
        "metadata": {"name": "old"},
        "spec": {
            "selector": if selector { json!({"app": "old"}) } else { json!({}) },
            "ports": [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "admin", "port": 81}],
        },
    }))
    .unwrap()
}

fn target(port: i32) -> Target {
    Target::Service { name: "old".into(), port, field: "spec.legacy.service" }
}

fn endpoints(addresses: &[&str]) -> Vec<EndpointView> {
    addresses.iter().map(|address| EndpointView { address: (*address).into(), ready: true }).collect()
}

#[test]
fn a_service_becomes_a_backend_with_its_port_and_endpoints() {
    let (service, ports) = (service(false), [("http".into(), 8443), ("admin".into(), 9)]);
    let (v4, v6) = (endpoints(&["192.0.2.2", "192.0.2.1"]), endpoints(&["2001:db8::1"]));
    let slices = [
        SliceFacts { address_type: "IPv4", ready: 2, ports: &ports, endpoints: &v4 },
        SliceFacts { address_type: "IPv6", ready: 1, ports: &ports, endpoints: &v6 },
    ];
    let facts = ServiceFacts {
        service: Known::Known(Some(&service)),
        slices: Known::Known(&slices),
        policy_of: None,
        transport: None,
    };
    let Known::Known(Resolved { backend: SideBackend::Present(backend), problem: None }) =
        assemble(&target(80), &facts)
    else {
        panic!("not resolved")
    };
    assert_eq!((backend.port_name.as_deref(), backend.ready), (Some("http"), Known::Known(2)));
    let copied: Vec<_> = backend.endpoints.iter().map(|copy| (copy.address.as_str(), copy.port)).collect();
    assert_eq!(copied, [("192.0.2.1", 8443), ("192.0.2.2", 8443), ("2001:db8::1", 8443)]);
}

#[rstest]
#[case::no_service(
    None,
    80,
    "spec.legacy.service: there is no Service old in this namespace: create it, or name another"
)]
#[case::no_port(Some(service(true)), 8080, "spec.legacy.service: Service old has no port 8080: name one of 80, 81")]
fn a_missing_service_or_port_is_named(#[case] service: Option<ServiceView>, #[case] port: i32, #[case] message: &str) {
    let facts = ServiceFacts {
        service: Known::Known(service.as_ref()),
        slices: Known::Known(&[]),
        policy_of: None,
        transport: None,
    };
    let Known::Known(Resolved { backend, problem }) = assemble(&target(port), &facts) else { panic!("unknown") };
    assert_eq!(backend, SideBackend::Missing { service: Some(("old".into(), port)) });
    assert_eq!(problem.unwrap().message, message);
}

#[test]
fn what_was_not_read_is_not_missing() {
    let facts = ServiceFacts { service: Known::Unknown, slices: Known::Unknown, policy_of: None, transport: None };
    assert_eq!(assemble(&target(80), &facts), Known::Unknown);
    let service = service(true);
    let facts = ServiceFacts {
        service: Known::Known(Some(&service)),
        slices: Known::Unknown,
        policy_of: None,
        transport: None,
    };
    assert_eq!(assemble(&target(80), &facts), Known::Unknown);
}

#[rstest]
#[case::of_a_config_map(json!({"serverName": "a.example.com", "rootCAs": [{"configMap": "a-ca"}]}), "environment", true)]
#[case::of_somebody_elses(json!({"serverName": "a.example.com", "rootCAs": [{"configMap": "a-ca"}]}), "another", false)]
#[case::by_an_old_definition(json!({"serverName": "a.example.com"}), "environment", false)]
#[case::of_nobody(json!({"rootCAs": [{"configMap": "a-ca"}], "insecureSkipVerify": true}), "environment", false)]
fn traefik_speaks_tls_by_what_judges_as_the_environment_says(
    #[case] spec: Value,
    #[case] owner: &str,
    #[case] wanted: bool,
) {
    let labels = |owner: &str| json!({"cutover.dev/owner-uid": owner});
    let tls = json!({"serverName": "a.example.com", "caConfigMap": "a-ca"}).to_string();
    let service: ServiceView = serde_json::from_value(json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "s", "resourceVersion": "1", "labels": labels("environment"),
            "annotations": {"cutover.dev/tls": tls},
        },
        "spec": {"ports": [{"port": 443}]},
    }))
    .unwrap();
    let transport: WholeView = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "t", "resourceVersion": "1", "labels": labels(owner)},
        "spec": spec,
    }))
    .unwrap();
    let facts = ServiceFacts {
        service: Known::Known(Some(&service)),
        slices: Known::Known(&[]),
        policy_of: None,
        transport: Some(&transport),
    };
    let target = Target::Service { name: "web".into(), port: 443, field: "spec.new.service" };
    let Known::Known(resolved) = assemble(&target, &facts) else { panic!("known") };
    assert_eq!(resolved.backend.present().unwrap().tls.unwrap().transport, wanted);
}
