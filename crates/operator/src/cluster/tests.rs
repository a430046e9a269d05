//! What is sent to the API server when something is written.

use cutover_engine::{Note, Severity};
use http::{Method, StatusCode};
use k8s_openapi::api::{
    core::v1::{ConfigMap, ObjectReference, Service},
    networking::v1::Ingress,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::{GroupVersionKind, PartialObjectMeta},
};
use rstest::rstest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    events::Events,
    prune::{Candidate, Pruned, delete, delete_owned, owned_by},
    scripted::server,
    ssa::{Ownership, Precondition, apply, apply_value},
    status::{Written, write},
};

const SERVICE: &str = "/api/v1/namespaces/shop/services/storefront";
const MANAGER: &str = "cutover.dev/traffic-split";

fn service() -> Service {
    serde_json::from_value(json!({
        "metadata": {
            "name": "storefront", "namespace": "shop", "resourceVersion": "41",
            "managedFields": [{"manager": "someone", "operation": "Apply"}],
        },
        "spec": {"ports": [{"port": 80}]},
    }))
    .unwrap()
}

#[tokio::test]
async fn an_apply_names_its_manager_and_sends_neither_version_nor_managed_fields() {
    let (client, mut api_server) = server();
    let api: Api<Service> = Api::namespaced(client, "shop");
    let work =
        tokio::spawn(async move { apply(&api, MANAGER, &service(), Ownership::Respect, &Precondition::Any).await });
    let patch = api_server.expect(Method::PATCH, SERVICE).await;
    assert_eq!(patch.parameter("fieldManager").as_deref(), Some(MANAGER));
    assert_eq!(patch.parameter("force"), None);
    assert_eq!(
        patch.body,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "storefront", "namespace": "shop"},
            "spec": {"ports": [{"port": 80}]},
        })
    );
    patch.ok(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "storefront", "resourceVersion": "42"}}),
    );
    assert_eq!(work.await.unwrap().unwrap().resource_version().as_deref(), Some("42"));
    api_server.no_more().await;
}

#[tokio::test]
async fn force_and_the_version_are_sent_where_asked_for_and_a_conflict_is_told() {
    let (client, mut api_server) = server();
    let api: Api<Service> = Api::namespaced(client, "shop");
    let work = tokio::spawn(async move {
        apply(&api, MANAGER, &service(), Ownership::Force, &Precondition::Version("40".into())).await
    });
    let patch = api_server.expect(Method::PATCH, SERVICE).await;
    assert_eq!(patch.parameter("force").as_deref(), Some("true"));
    assert_eq!(patch.body["metadata"]["resourceVersion"], "40");
    patch.refuse(StatusCode::CONFLICT, "Conflict");
    let error = work.await.unwrap().unwrap_err();
    assert!(error.is_conflict() && error.is_retryable(), "{error}");
    assert!(error.to_string().starts_with("Service storefront was not applied: "), "{error}");
    api_server.no_more().await;
}

#[tokio::test]
async fn objects_of_kinds_without_a_type_are_applied_too() {
    let (client, mut api_server) = server();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    let api: Api<DynamicObject> = Api::namespaced_with(client, "shop", &resource);
    let route = DynamicObject::new("storefront", &resource).within("shop").data(json!({"spec": {"hostnames": ["a"]}}));
    let body = serde_json::to_value(&route).unwrap();
    let work = tokio::spawn(async move {
        apply_value(&api, "HTTPRoute", MANAGER, body, Ownership::Force, &Precondition::Any).await.unwrap()
    });
    let url = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/storefront";
    let patch = api_server.expect(Method::PATCH, url).await;
    assert_eq!((&patch.body["kind"], &patch.body["spec"]["hostnames"][0]), (&json!("HTTPRoute"), &json!("a")));
    let answer = patch.body.clone();
    patch.ok(&answer);
    work.await.unwrap();
}

#[tokio::test]
async fn an_object_without_a_name_is_not_sent() {
    let (client, api_server) = server();
    let api: Api<ConfigMap> = Api::namespaced(client, "shop");
    let error = apply(&api, MANAGER, &ConfigMap::default(), Ownership::Force, &Precondition::Any).await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("ConfigMap"), "{error}");
    drop(api);
    api_server.no_more().await;
}

#[derive(Serialize, Deserialize, PartialEq, Clone, Debug)]
struct Status {
    weight: i32,
}

#[tokio::test]
async fn a_status_carries_the_version_it_was_computed_from() {
    let (client, mut api_server) = server();
    let api: Api<Service> = Api::namespaced(client, "shop");
    let work = tokio::spawn(async move {
        write(&api, MANAGER, &service(), Some(&Status { weight: 5 }), &Status { weight: 25 }).await
    });
    let patch = api_server.expect(Method::PATCH, &format!("{SERVICE}/status")).await;
    assert_eq!(patch.parameter("fieldManager").as_deref(), Some(MANAGER));
    assert_eq!(
        patch.body,
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "storefront", "resourceVersion": "41"},
            "status": {"weight": 25},
        })
    );
    patch.refuse(StatusCode::CONFLICT, "Conflict");
    assert!(work.await.unwrap().unwrap_err().is_conflict());
    api_server.no_more().await;
}

#[tokio::test]
async fn an_equal_status_is_not_written() {
    let (client, api_server) = server();
    let api: Api<Service> = Api::namespaced(client, "shop");
    let status = Status { weight: 25 };
    let written = write(&api, MANAGER, &service(), Some(&status), &status).await.unwrap();
    assert_eq!(written, Written::Unchanged);
    drop(api);
    api_server.no_more().await;
}

fn candidate() -> Candidate {
    Candidate { name: "storefront".into(), uid: "u-1".into(), version: Some("41".into()) }
}

#[rstest]
#[case(StatusCode::OK, Ok(Pruned::Deleted))]
#[case(StatusCode::NOT_FOUND, Ok(Pruned::Gone))]
#[case(StatusCode::CONFLICT, Ok(Pruned::Changed))]
#[case(StatusCode::FORBIDDEN, Err(()))]
#[tokio::test]
async fn only_the_object_that_was_looked_at_is_deleted(
    #[case] status: StatusCode,
    #[case] expected: Result<Pruned, ()>,
) {
    let (client, mut api_server) = server();
    let api: Api<Service> = Api::namespaced(client, "shop");
    let work = tokio::spawn(async move { delete(&api, &candidate()).await });
    let request = api_server.expect(Method::DELETE, SERVICE).await;
    assert_eq!(request.body["preconditions"], json!({"uid": "u-1", "resourceVersion": "41"}));
    assert_eq!(request.body["propagationPolicy"], "Background");
    match status {
        StatusCode::OK => request.ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        status => request.refuse(status, "scripted"),
    }
    assert_eq!(work.await.unwrap().map_err(|_| ()), expected);
    api_server.no_more().await;
}

#[tokio::test]
async fn what_an_owner_left_is_found_by_label_and_what_is_kept_or_going_is_left_alone() {
    let (client, mut api_server) = server();
    let api: Api<PartialObjectMeta<Ingress>> = Api::namespaced(client, "shop");
    let work = tokio::spawn(async move { delete_owned(&api, "owner-1", |object| object.name_any() == "kept").await });
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses";
    let list = api_server.expect(Method::GET, ingresses).await;
    assert_eq!(list.parameter("labelSelector"), Some(owned_by("owner-1")));
    assert!(owned_by("owner-1").contains("app.kubernetes.io/managed-by=cutover"));
    let item = |name: &str, more: serde_json::Value| {
        let mut meta = json!({"name": name, "uid": format!("u-{name}"), "resourceVersion": "7"});
        meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": meta})
    };
    list.ok(&json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "items": [
            item("kept", json!({})),
            item("going", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
            item("left", json!({})),
        ],
    }));
    let delete = api_server.expect(Method::DELETE, &format!("{ingresses}/left")).await;
    assert_eq!(delete.body["preconditions"]["uid"], "u-left");
    delete.ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    let pruned = work.await.unwrap().unwrap();
    assert_eq!(pruned.len(), 1);
    assert_eq!((pruned[0].0.name.as_str(), pruned[0].1), ("left", Pruned::Deleted));
    api_server.no_more().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_written_stops_neither_the_caller_nor_the_next_one() {
    let (client, mut api_server) = server();
    let events = Events::start(client, MANAGER, "cutover-operator-0");
    let object = ObjectReference {
        name: Some("storefront".into()),
        namespace: Some("shop".into()),
        ..ObjectReference::default()
    };
    let shifted = |reason, message: &str| {
        let (severity, message) = (Severity::Normal, message.to_owned());
        Note { severity, reason, action: "Shift", message }
    };
    events.publish(shifted("First", "a note"), object.clone());
    events.publish(shifted("Second", &"ä".repeat(2_000)), object);
    let path = "/apis/events.k8s.io/v1/namespaces/shop/events";
    let first = api_server.expect(Method::POST, path).await;
    assert_eq!((&first.body["reason"], &first.body["note"]), (&json!("First"), &json!("a note")));
    assert_eq!(first.body["reportingController"], MANAGER);
    first.refuse(StatusCode::FORBIDDEN, "Forbidden");
    let second = api_server.expect(Method::POST, path).await;
    let note = second.body["note"].as_str().unwrap().to_owned();
    assert!((1_018..=1_024).contains(&note.len()), "{} bytes", note.len());
    let answer = second.body.clone();
    second.ok(&answer);
    drop(events);
    api_server.no_more().await;
}

#[tokio::test]
async fn what_repeats_is_merged_until_too_much_else_has_happened() {
    let (client, mut api_server) = server();
    let events = Events::start(client, MANAGER, "cutover-operator-0");
    let mut method_of = async |split: usize| {
        let object = ObjectReference {
            name: Some(format!("split-{split}")),
            namespace: Some("shop".into()),
            ..ObjectReference::default()
        };
        let note = Note { severity: Severity::Normal, reason: "Shifted", action: "Shift", message: String::new() };
        events.publish(note, object);
        let written = api_server.next().await;
        let (method, answer) = (written.method.clone(), written.body.clone());
        written.ok(&answer);
        method
    };
    assert_eq!((method_of(0).await, method_of(0).await), (Method::POST, Method::PATCH));
    for split in 1..200 {
        assert_eq!(method_of(split).await, Method::POST);
    }
    assert_eq!(method_of(0).await, Method::POST, "what is remembered is bounded");
}

#[tokio::test]
async fn the_end_waits_for_the_events_before_it() {
    let (client, mut api_server) = server();
    let events = Events::start(client, MANAGER, "cutover-operator-0");
    let object = ObjectReference { namespace: Some("shop".into()), ..ObjectReference::default() };
    for reason in ["First", "Second"] {
        events.publish(
            Note { severity: Severity::Normal, reason, action: "Shift", message: String::new() },
            object.clone(),
        );
    }
    let mut end = tokio::spawn({
        let events = events.clone();
        async move { events.drain().await }
    });
    let path = "/apis/events.k8s.io/v1/namespaces/shop/events";
    api_server.expect(Method::POST, path).await.refuse(StatusCode::FORBIDDEN, "Forbidden");
    let last = api_server.expect(Method::POST, path).await;
    assert!(futures::poll!(&mut end).is_pending(), "one of them is under way");
    let answer = last.body.clone();
    last.ok(&answer);
    end.await.unwrap();
    drop(events);
    api_server.no_more().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_are_not_answered_hold_the_end_up_for_two_seconds_only() {
    let (client, _silent) = server();
    let events = Events::start(client, MANAGER, "cutover-operator-0");
    let object = ObjectReference { namespace: Some("shop".into()), ..ObjectReference::default() };
    events
        .publish(Note { severity: Severity::Normal, reason: "First", action: "Shift", message: String::new() }, object);
    let start = tokio::time::Instant::now();
    events.drain().await;
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[rstest]
#[case(429, true)]
#[case(500, true)]
#[case(503, true)]
#[case(409, true)]
#[case(400, false)]
#[case(403, false)]
#[case(404, false)]
#[case(422, false)]
fn what_the_api_server_judged_is_not_tried_again(#[case] code: u16, #[case] retryable: bool) {
    let status = kube::core::Status { code, ..kube::core::Status::default() };
    assert_eq!(super::is_retryable(&kube::Error::Api(Box::new(status))), retryable);
}
