//! Views read full objects, and keep what is decided by.

use serde_json::json;

use crate::router::view::{EndpointSliceView, GatewayClassView, IngressPort, IngressView, RouteView, ServiceView};

#[test]
fn an_ingress_keeps_its_annotations_except_kubectls_copy() {
    let ingress: IngressView = serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "shop", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
            "labels": {"cutover.dev/owner-uid": "split", "app": "x"}, "managedFields": [{"manager": "kubectl"}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b", "cutover.dev/released-from": "shop/shop",
            },
        },
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": {"service": {"name": "fallback", "port": {"name": "web"}}},
            "tls": [{"hosts": ["shop.example.com"], "secretName": "cert"}],
            "rules": [
                {"host": "shop.example.com", "http": {"paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                    {"pathType": "ImplementationSpecific", "backend": {"resource": {"kind": "Bucket", "name": "b"}}},
                ]}},
                {"host": "empty.example.com"},
            ],
        },
        "status": {"loadBalancer": {}},
    }))
    .unwrap();
    assert_eq!(ingress.annotations.keys().map(|it| &**it).collect::<Vec<_>>(), ["a", "cutover.dev/released-from"]);
    assert!(ingress.meta.is_owned_by("split"));
    assert_eq!(ingress.meta.generation, Some(2));
    assert_eq!(ingress.default_backend, Some(("fallback".into(), IngressPort::Name("web".into()))));
    let paths = &ingress.rules[0].paths;
    assert_eq!(paths[0].backend, Some(("web".into(), IngressPort::Number(80))));
    assert_eq!(paths[1].backend, None);
    assert!(ingress.rules[1].paths.is_empty());
}

#[test]
fn a_released_object_is_adoptable_by_the_split_of_that_name_only() {
    let route = |owner: serde_json::Value| -> RouteView {
        serde_json::from_value(json!({"metadata": {
            "name": "shop", "labels": owner, "annotations": {"cutover.dev/released-from": "shop/storefront"},
        }}))
        .unwrap()
    };
    let released = route(json!({}));
    assert!(released.meta.is_released_from("shop", "storefront"));
    assert!(!released.meta.is_released_from("other", "storefront"));
    assert!(!released.meta.is_released_from("shop", "other"));
    let taken = route(json!({"cutover.dev/owner-uid": "somebody"}));
    assert!(!taken.meta.is_released_from("shop", "storefront"), "somebody has adopted it");
}

#[test]
fn a_route_keeps_its_whole_spec_and_only_two_conditions() {
    let spec = json!({"rules": [{"name": "a", "timeouts": {"request": "5s"}, "unknownField": {"b": [1, 2]}}]});
    let route: RouteView = serde_json::from_value(json!({
        "metadata": {"name": "r"}, "spec": spec,
        "status": {"parents": [{"parentRef": {"name": "edge"}, "controllerName": "c", "conditions": [
            {"type": "Accepted", "status": "False", "observedGeneration": 1, "reason": "NoMatchingParent", "message": "why"},
            {"type": "ResolvedRefs", "status": "True", "observedGeneration": 1, "message": "fine"},
            {"type": "Other", "status": "True"},
        ]}]},
    }))
    .unwrap();
    assert_eq!(route.spec.value(), spec);
    let parent = &route.parents[0];
    assert_eq!(parent.accepted.as_ref().unwrap().message.as_deref(), Some("why"));
    assert_eq!(parent.resolved_refs.as_ref().unwrap().message, None, "what holds needs no words");
}

#[test]
fn features_are_read_in_both_forms() {
    for features in [json!([{"name": "HTTPRoute"}]), json!(["HTTPRoute"])] {
        let class: GatewayClassView = serde_json::from_value(json!({
            "metadata": {"name": "c"}, "spec": {"controllerName": "x/y"}, "status": {"supportedFeatures": features},
        }))
        .unwrap();
        assert_eq!(class.supported_features.as_deref(), Some(&["HTTPRoute".into()][..]));
    }
    let silent: GatewayClassView = serde_json::from_value(json!({"metadata": {"name": "c"}})).unwrap();
    assert_eq!(silent.supported_features, None);
}

#[test]
fn an_endpoint_without_a_condition_is_ready() {
    let slice: EndpointSliceView = serde_json::from_value(json!({
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}, {"addresses": []}],
    }))
    .unwrap();
    assert_eq!(&*slice.service, "web");
    assert_eq!(slice.endpoints.iter().map(|it| it.ready).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_service_says_whether_it_is_headless_or_a_name() {
    let service =
        |spec| -> ServiceView { serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap() };
    assert!(service(json!({"clusterIP": "None"})).headless);
    assert!(!service(json!({"clusterIP": "10.0.0.1", "type": "ClusterIP"})).headless);
    assert!(service(json!({"type": "ExternalName"})).external_name);
}
