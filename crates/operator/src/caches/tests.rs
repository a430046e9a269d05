use serde_json::{Value, json};

use super::*;
use crate::cluster::stores::View;

fn of<V: View>(object: Value) -> Option<V> {
    V::of(serde_json::from_value(object).unwrap())
}

fn ingress(owner: bool) -> Value {
    let mut object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "shop", "namespace": "shop", "uid": "u1", "resourceVersion": "17", "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "labels": {"team": "red"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "nginx.ingress.kubernetes.io/canary": "true",
                "example.com/note": "x",
            },
        },
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": {"service": {"name": "fallback", "port": {"number": 80}}},
            "tls": [{"hosts": ["shop.example.com"], "secretName": "cert"}],
            "rules": [{"host": "shop.example.com", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "monolith", "port": {"name": "http"}}}},
                {"path": "/a", "pathType": "Exact", "backend": {"resource": {"kind": "Bucket", "name": "b"}}},
            ]}}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.18.0.1"}]}},
    });
    if owner {
        object["metadata"]["labels"]["cutover.dev/owner-uid"] = "s1".into();
        object["metadata"]["annotations"]["cutover.dev/owner-name"] = "storefront".into();
    }
    object
}

#[test]
fn an_ingress_of_ours_is_read_back_as_the_view_of_the_whole_object() {
    let record: IngressRecord = of(ingress(true)).unwrap();
    let whole: cutover_engine::router::view::IngressView = serde_json::from_value(ingress(true)).unwrap();
    assert_eq!(record.view(), whole);
    assert_eq!((record.owner.as_deref(), &*record.version), (Some("storefront"), "17"));
}

#[test]
fn a_foreign_ingress_keeps_what_routes_and_is_silent_about_the_rest() {
    let record: IngressRecord = of(ingress(false)).unwrap();
    let view = record.view();
    let whole: cutover_engine::router::view::IngressView = serde_json::from_value(ingress(false)).unwrap();
    assert_eq!((&view.rules, &view.tls, &view.default_backend), (&whole.rules, &whole.tls, &whole.default_backend));
    assert_eq!(view.annotations.keys().map(|key| &**key).collect::<Vec<_>>(), ["nginx.ingress.kubernetes.io/canary"]);
    assert!(record.mentions("monolith") && !record.mentions("cart"));

    let mut later = ingress(false);
    later["metadata"]["resourceVersion"] = "18".into();
    later["status"] = json!({});
    assert_eq!(of::<IngressRecord>(later), Some(record), "a change of status is no change");
}

#[test]
fn a_service_keeps_selector_and_ports() {
    let object = json!({
        "metadata": {"name": "new", "namespace": "shop", "uid": "u", "resourceVersion": "4", "labels": {"a": "b"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": "198.19.0.9", "selector": {"app": "new"},
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "appProtocol": "http"}],
        },
    });
    let record: ServiceRecord = of(object.clone()).unwrap();
    let view = record.view();
    let whole: cutover_engine::router::view::ServiceView = serde_json::from_value(object.clone()).unwrap();
    assert_eq!((&view.selector, &view.ports, view.external_name), (&whole.selector, &whole.ports, false));

    let mut later = object;
    later["metadata"]["resourceVersion"] = "5".into();
    assert_eq!(of::<ServiceRecord>(later), Some(record));
}

#[test]
fn an_alias_service_keeps_its_version_because_it_is_written() {
    let object = json!({
        "metadata": {
            "name": "storefront-cutover-new", "namespace": "shop", "uid": "u", "resourceVersion": "4",
            "labels": {"cutover.dev/alias": "true", "cutover.dev/owner-uid": "s1"},
            "annotations": {"cutover.dev/owner-name": "shop/storefront"},
        },
        "spec": {"clusterIP": "198.19.0.9", "selector": {"app": "new"}, "ports": [{"port": 80}]},
    });
    let record: ServiceRecord = of(object.clone()).unwrap();
    assert_eq!(record.owner.as_deref(), Some("storefront"));
    let whole: cutover_engine::router::view::ServiceView = serde_json::from_value(object).unwrap();
    assert_eq!(record.view(), whole);
}

fn slice(manager: &str) -> Value {
    json!({
        "metadata": {
            "name": "new-abc", "namespace": "shop", "uid": "u", "resourceVersion": "4",
            "labels": {"kubernetes.io/service-name": "new", "endpointslice.kubernetes.io/managed-by": manager},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {"addresses": ["198.18.0.2"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "p"}},
            {"addresses": ["198.18.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["198.18.0.4"]},
        ],
    })
}

#[test]
fn a_slice_made_from_pods_is_a_number() {
    let record: SliceRecord = of(slice("endpointslice-controller.k8s.io")).unwrap();
    assert_eq!((record.ready, record.address_type(), record.group()), (2, "IPv4", Some("new")));
    assert_eq!(record.view(), None);
}

#[test]
fn a_slice_made_by_hand_keeps_its_addresses() {
    let record: SliceRecord = of(slice("somebody")).unwrap();
    let view = record.view().unwrap();
    assert_eq!(view.endpoints.len(), 3);
    assert_eq!(view.endpoints.iter().filter(|endpoint| endpoint.ready).count(), 2);
    assert_eq!(&*view.ports, &[("http".into(), 8080)]);

    let mut ours = slice("cutover.dev");
    ours["metadata"]["labels"]["cutover.dev/owner-uid"] = "s1".into();
    let whole: cutover_engine::router::view::EndpointSliceView = serde_json::from_value(ours.clone()).unwrap();
    assert_eq!(of::<SliceRecord>(ours).unwrap().view(), Some(whole), "what is written is compared with all of it");
}

#[test]
fn a_slice_of_no_service_is_not_kept() {
    let mut object = slice("somebody");
    object["metadata"]["labels"] = json!({});
    assert_eq!(of::<SliceRecord>(object), None);
}

#[test]
fn an_ingress_that_was_left_behind_is_known_by_its_former_split() {
    let mut released = ingress(false);
    released["metadata"]["annotations"]["cutover.dev/owner-name"] = "storefront".into();
    released["metadata"]["annotations"]["cutover.dev/released-from"] = "shop/storefront".into();
    let record: IngressRecord = of(released).unwrap();
    let route = record.left_behind("successor").unwrap();
    assert_eq!(
        (route.name.as_str(), route.split.as_str(), route.hosts),
        ("shop", "storefront", vec!["shop.example.com".to_owned()])
    );
    assert_eq!(record.left_behind("storefront"), None, "it takes it up again");
    for other in [ingress(true), ingress(false)] {
        assert_eq!(of::<IngressRecord>(other).unwrap().left_behind("successor"), None);
    }
}
