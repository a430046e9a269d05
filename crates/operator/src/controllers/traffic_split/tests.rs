//! Requests of one reconcile, against a scripted API server: which, in which order, and that there are no others.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::scripted::{Exchange, Scripted},
    controllers::scripted::{Shown, reconciles, unheard},
    metrics::Metrics,
};

const SPLIT: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/trafficsplits/storefront";
const STATUS: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/trafficsplits/storefront/status";
const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/storefront";
const GRPC_ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/grpcroutes/storefront";
const PHASE: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/migrationphases/30-shift";

/// What the caches show.
#[derive(Clone)]
struct Cluster {
    split: Value,
    route: Option<Value>,
    grpc_route: Option<Value>,
    phases: Vec<Value>,
    new_ready: bool,
    /// Of routers that left the spec.
    ingresses: Vec<Value>,
    aliases: Vec<Value>,
}

impl Cluster {
    fn new(new_weight: i32) -> Self {
        let split = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit",
            "metadata": {
                "name": "storefront", "namespace": "shop", "uid": "s1", "resourceVersion": "100", "generation": 1,
                "creationTimestamp": "2026-11-01T00:00:00Z",
            },
            "spec": {
                "hosts": ["shop.example.com"],
                "legacy": {"service": {"name": "old", "port": 80}},
                "new": {"service": {"name": "new", "port": 80}},
                "newWeight": new_weight,
                "routers": [{"gatewayApi": {"parentRefs": [{"name": "edge", "namespace": "infra"}]}}],
            },
        });
        let (phases, ingresses, aliases) = (Vec::new(), Vec::new(), Vec::new());
        Self { split, route: None, grpc_route: None, phases, new_ready: true, ingresses, aliases }
    }

    fn controller(&self, client: kube::Client) -> Context {
        let service = |name: &str| {
            json!({
                "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"},
                "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
            })
        };
        let slice = |name: &str, ready: bool| {
            json!({
                "metadata": {
                    "name": format!("{name}-x"), "namespace": "shop", "uid": "e", "resourceVersion": "1",
                    "labels": {
                        "kubernetes.io/service-name": name,
                        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    },
                },
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
                "endpoints": [{"addresses": ["198.18.0.9"], "conditions": {"ready": ready}}],
            })
        };
        let gateway = json!({
            "metadata": {"name": "edge", "namespace": "infra", "uid": "g", "resourceVersion": "1", "generation": 1},
            "spec": {"gatewayClassName": "traefik"},
            "status": {"conditions": [{"type": "Programmed", "status": "True", "observedGeneration": 1}]},
        });
        let class = json!({
            "metadata": {"name": "traefik", "uid": "c", "resourceVersion": "1"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        });
        let weights = Metrics::new().unwrap().object_gauges("cutover_split_weight", "Weight.", &["weight"]).unwrap();
        let shown = Shown {
            splits: vec![self.split.clone()],
            phases: self.phases.clone(),
            services: [service("old"), service("new")].into_iter().chain(self.aliases.iter().cloned()).collect(),
            ingresses: self.ingresses.clone(),
            slices: vec![slice("old", true), slice("new", self.new_ready)],
            http_routes: self.route.iter().cloned().collect(),
            grpc_routes: self.grpc_route.iter().cloned().collect(),
            gateways: vec![gateway],
            gateway_classes: vec![class],
            ..Shown::default()
        };
        let sources = Arc::new(Sources {
            kinds: shown.kinds(),
            caches: shown.caches(),
            relations: Relations::default(),
            memory: Memory::default(),
            watched: Watched::new(crate::outbound::http_probe::Probes::default()).0,
            sampled: Sampled::new(crate::outbound::http_probe::Probes::default()).0,
            namespaces: Vec::new(),
            client,
        });
        Context { sources, events: unheard(), weights, propagation: Duration::ZERO }
    }

    /// One reconcile, and the server's part in it.
    async fn reconcile<T>(&self, serve: impl AsyncFnOnce(&mut Scripted) -> T) -> (Result<Action, Error>, T) {
        let (mut results, served) = reconciles(|client| self.controller(client), &self.split, 1, serve).await;
        (results.remove(0), served)
    }

    /// As it is once the first route of this weight is made and accepted.
    async fn settled(new_weight: i32) -> Self {
        let mut cluster = Self::new(new_weight);
        let at_first = cluster.split.clone();
        let (result, (route, status)) = cluster
            .reconcile(async |api| {
                add_finalizer(api, &at_first).await;
                write_status(api, &at_first).await;
                let created = api.expect(Method::PATCH, ROUTE).await;
                let route = accepted(&created.body, "200");
                created.ok(&route);
                (route, write_status(api, &at_first).await)
            })
            .await;
        assert_eq!(result.unwrap(), Action::await_change());
        cluster.split = with_status(&with_finalizer(&at_first), &status);
        cluster.route = Some(route);
        cluster
    }
}

fn with_finalizer(split: &Value) -> Value {
    let mut split = split.clone();
    split["metadata"]["finalizers"] = json!(["cutover.dev/traffic-split"]);
    split["metadata"]["resourceVersion"] = "101".into();
    split
}

fn with_status(split: &Value, status: &Value) -> Value {
    let mut split = split.clone();
    split["status"] = status.clone();
    split["metadata"]["resourceVersion"] = "102".into();
    split
}

async fn add_finalizer(api: &mut Scripted, split: &Value) {
    let exchange = api.expect(Method::PATCH, SPLIT).await;
    assert_eq!(
        exchange.body,
        json!({"metadata": {"uid": "s1", "resourceVersion": "100", "finalizers": ["cutover.dev/traffic-split"]}})
    );
    exchange.ok(&with_finalizer(split));
}

/// Answers a write of the status, and returns the status.
async fn write_status(api: &mut Scripted, split: &Value) -> Value {
    let exchange = api.expect(Method::PATCH, STATUS).await;
    assert_eq!(exchange.parameter("fieldManager").as_deref(), Some("cutover.dev/traffic-split"));
    assert!(exchange.body["metadata"]["resourceVersion"].is_string(), "a stale write is refused: {}", exchange.body);
    let status = exchange.body["status"].clone();
    exchange.ok(&with_status(&with_finalizer(split), &status));
    status
}

/// The route as the API server answers, accepted by the gateway.
fn accepted(body: &Value, version: &str) -> Value {
    let mut route = body.clone();
    route["metadata"]["uid"] = "r1".into();
    route["metadata"]["namespace"] = "shop".into();
    route["metadata"]["resourceVersion"] = version.into();
    route["metadata"]["generation"] = 1.into();
    let condition = |type_: &str| json!({"type": type_, "status": "True", "observedGeneration": 1, "reason": type_});
    route["status"] = json!({"parents": [{
        "parentRef": {"name": "edge", "namespace": "infra"},
        "controllerName": "traefik.io/gateway-controller",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }]});
    route
}

fn weights(route: &Value) -> Vec<i64> {
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    backends.iter().map(|backend| backend["weight"].as_i64().unwrap()).collect()
}

fn is_apply(exchange: &Exchange, forced: bool) {
    assert_eq!(exchange.parameter("fieldManager").as_deref(), Some("cutover.dev/traffic-split"));
    assert_eq!(exchange.parameter("force").as_deref() == Some("true"), forced);
    assert_eq!(exchange.body["metadata"]["resourceVersion"].is_string(), forced, "{}", exchange.body);
}

#[tokio::test]
async fn the_first_route_is_made_once_the_finalizer_is_there_and_its_weight_on_record() {
    let cluster = Cluster::new(10);
    let split = cluster.split.clone();
    let (result, status) = cluster
        .reconcile(async |api| {
            add_finalizer(api, &split).await;
            let announced = write_status(api, &split).await;
            assert_eq!((&announced["heldSpecWeight"], &announced["appliedWeight"]), (&json!(10), &Value::Null));
            let created = api.expect(Method::PATCH, ROUTE).await;
            is_apply(&created, false);
            assert_eq!(weights(&created.body), [90, 10]);
            assert_eq!(created.body["metadata"]["labels"]["cutover.dev/owner-uid"], "s1");
            assert!(created.body["metadata"]["ownerReferences"].is_null(), "nothing removes a route but we");
            let answer = accepted(&created.body, "200");
            created.ok(&answer);
            write_status(api, &split).await
        })
        .await;
    assert_eq!(result.unwrap(), Action::await_change());
    assert_eq!((&status["appliedWeight"], &status["desiredWeight"]), (&json!(10), &json!(10)));
    assert_eq!(status["routers"][0]["observedWeight"], 10);
}

#[tokio::test]
async fn at_rest_nothing_is_asked() {
    let cluster = Cluster::settled(10).await;
    let (result, ()) = cluster.reconcile(async |_| ()).await;
    assert_eq!(result.unwrap(), Action::await_change());
}

#[tokio::test]
async fn a_change_of_weight_is_one_write_of_the_route_and_one_of_the_status() {
    let mut cluster = Cluster::settled(10).await;
    cluster.split["spec"]["newWeight"] = 40.into();
    cluster.split["metadata"]["generation"] = 2.into();
    let split = cluster.split.clone();
    let (result, status) = cluster
        .reconcile(async |api| {
            let moved = api.expect(Method::PATCH, ROUTE).await;
            is_apply(&moved, true);
            assert_eq!(
                (weights(&moved.body), &moved.body["metadata"]["resourceVersion"]),
                (vec![60, 40], &json!("200"))
            );
            let answer = accepted(&moved.body, "201");
            moved.ok(&answer);
            write_status(api, &split).await
        })
        .await;
    result.unwrap();
    assert_eq!((&status["appliedWeight"], &status["heldSpecWeight"]), (&json!(40), &json!(40)));
}

#[tokio::test]
async fn the_route_of_the_kind_before_goes_once_the_new_one_is_accepted_and_not_earlier() {
    let mut cluster = Cluster::settled(10).await;
    cluster.split["spec"]["routers"][0]["gatewayApi"]["routeKind"] = "GRPCRoute".into();
    cluster.split["metadata"]["generation"] = 2.into();
    let split = cluster.split.clone();
    let (result, (made, status)) = cluster
        .reconcile(async |api| {
            let created = api.expect(Method::PATCH, GRPC_ROUTE).await;
            is_apply(&created, false);
            assert_eq!(weights(&created.body), [90, 10], "the weight in force");
            let made = accepted(&created.body, "300");
            let mut unheard = made.clone();
            unheard["status"] = Value::Null;
            created.ok(&unheard);
            (made, write_status(api, &split).await)
        })
        .await;
    result.unwrap();
    assert_eq!(status["routers"][0]["object"], "GRPCRoute/storefront");
    cluster.split = with_status(&with_finalizer(&split), &status);
    let mut unheard = made.clone();
    unheard["status"] = Value::Null;
    cluster.grpc_route = Some(unheard);
    let (result, ()) = cluster.reconcile(async |_| ()).await;
    result.unwrap();

    cluster.grpc_route = Some(made);
    let (result, ()) = cluster
        .reconcile(async |api| {
            let deleted = api.expect(Method::DELETE, ROUTE).await;
            assert_eq!(deleted.body["preconditions"], json!({"uid": "r1", "resourceVersion": "200"}));
            deleted.ok(&json!({}));
            write_status(api, &split).await;
        })
        .await;
    assert_eq!(result.unwrap(), Action::await_change());
}

#[tokio::test]
async fn an_outdated_route_is_a_conflict_and_says_nothing_wrong_in_status() {
    let mut cluster = Cluster::settled(10).await;
    cluster.split["spec"]["newWeight"] = 40.into();
    let (result, ()) = cluster
        .reconcile(async |api| api.expect(Method::PATCH, ROUTE).await.refuse(StatusCode::CONFLICT, "Conflict"))
        .await;
    let error = result.unwrap_err();
    assert!(error.is_conflict() && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_said_in_status_and_tried_again() {
    let mut cluster = Cluster::settled(10).await;
    cluster.split["spec"]["newWeight"] = 40.into();
    let split = cluster.split.clone();
    let (result, status) = cluster
        .reconcile(async |api| {
            api.expect(Method::PATCH, ROUTE).await.lose();
            write_status(api, &split).await
        })
        .await;
    assert!(result.unwrap_err().is_retryable());
    assert_eq!((&status["desiredWeight"], &status["appliedWeight"]), (&json!(40), &json!(10)));
    let ready = status["conditions"].as_array().unwrap().iter().find(|it| it["type"] == "Ready").unwrap();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("RouteFailed")));
}

#[tokio::test]
async fn what_is_forbidden_stalls_the_split_and_names_the_object() {
    let cluster = Cluster::new(10);
    let split = cluster.split.clone();
    let (result, status) = cluster
        .reconcile(async |api| {
            add_finalizer(api, &split).await;
            write_status(api, &split).await;
            api.expect(Method::PATCH, ROUTE).await.refuse(StatusCode::FORBIDDEN, "Forbidden");
            write_status(api, &split).await
        })
        .await;
    assert_eq!(result.unwrap_err().reason(), "Forbidden");
    let stalled = status["conditions"].as_array().unwrap().iter().find(|it| it["type"] == "Stalled").unwrap();
    let message = stalled["message"].as_str().unwrap();
    assert!(message.contains("HTTPRoute storefront could not be written: scripted: Forbidden"), "{message}");
}

fn phase(revision: i64, new_weight: Option<i32>) -> Value {
    let mut request = json!({"split": "storefront"});
    if let Some(weight) = new_weight {
        request["newWeight"] = weight.into();
    }
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase",
        "metadata": {"name": "30-shift", "namespace": "shop", "uid": "p1", "resourceVersion": "1"},
        "spec": {"steps": [{"name": "all", "traffic": [{"split": "storefront", "newWeight": 100}]}]},
        "status": {"state": "Running", "attempt": 1, "requestRevision": revision, "requests": {"splits": [request]}},
    })
}

#[tokio::test]
async fn a_split_is_granted_on_the_phases_own_word() {
    let mut cluster = Cluster::settled(10).await;
    cluster.phases = vec![phase(1, None)];
    let split = cluster.split.clone();
    let (result, status) = cluster
        .reconcile(async |api| {
            api.expect(Method::GET, PHASE).await.ok(&phase(1, None));
            write_status(api, &split).await
        })
        .await;
    result.unwrap();
    assert_eq!(
        status["holder"],
        json!({"phase": "30-shift", "uid": "p1", "attempt": 1, "epoch": 1, "requestRevision": 1})
    );
    assert_eq!(status["appliedWeight"], 10);
}

#[tokio::test]
async fn an_older_word_of_a_phase_grants_nothing() {
    let mut cluster = Cluster::settled(10).await;
    cluster.phases = vec![phase(1, Some(50))];
    let mut at_rest = phase(2, None);
    at_rest["status"]["state"] = "RolledBack".into();
    at_rest["status"]["requests"] = json!({});
    let (result, ()) = cluster.reconcile(async |api| api.expect(Method::GET, PHASE).await.ok(&at_rest)).await;
    result.unwrap();
}

#[tokio::test]
async fn a_request_is_on_record_before_a_route_follows_it() {
    let mut cluster = Cluster::settled(10).await;
    cluster.phases = vec![phase(1, None)];
    let split = cluster.split.clone();
    let (_, held) = cluster
        .reconcile(async |api| {
            api.expect(Method::GET, PHASE).await.ok(&phase(1, None));
            write_status(api, &split).await
        })
        .await;
    cluster.split = with_status(&with_finalizer(&split), &held);
    cluster.phases = vec![phase(2, Some(25))];
    let split = cluster.split.clone();
    let (result, (announced, done)) = cluster
        .reconcile(async |api| {
            let announced = write_status(api, &split).await;
            let moved = api.expect(Method::PATCH, ROUTE).await;
            assert_eq!(weights(&moved.body), [75, 25]);
            let answer = accepted(&moved.body, "201");
            moved.ok(&answer);
            (announced, write_status(api, &split).await)
        })
        .await;
    result.unwrap();
    assert_eq!((&announced["holder"]["requestRevision"], &announced["holder"]["newWeight"]), (&json!(2), &json!(25)));
    assert_eq!((&announced["desiredWeight"], &announced["appliedWeight"]), (&json!(25), &json!(10)));
    assert_eq!(done["appliedWeight"], 25);
}

#[tokio::test]
async fn a_request_that_loses_the_race_for_the_status_moves_no_route() {
    let mut cluster = Cluster::settled(10).await;
    cluster.phases = vec![phase(1, Some(25))];
    let (result, ()) = cluster
        .reconcile(async |api| {
            api.expect(Method::GET, PHASE).await.ok(&phase(1, Some(25)));
            api.expect(Method::PATCH, STATUS).await.refuse(StatusCode::CONFLICT, "Conflict");
        })
        .await;
    assert!(result.unwrap_err().is_conflict());
}

#[tokio::test]
async fn without_capacity_only_the_status_is_written() {
    let mut cluster = Cluster::settled(10).await;
    cluster.new_ready = false;
    cluster.split["spec"]["newWeight"] = 40.into();
    let split = cluster.split.clone();
    let (result, status) = cluster.reconcile(async |api| write_status(api, &split).await).await;
    result.unwrap();
    assert_eq!((&status["desiredWeight"], &status["appliedWeight"]), (&json!(40), &json!(10)));
}

#[tokio::test]
async fn a_deleted_split_releases_its_route_and_then_goes() {
    let mut cluster = Cluster::settled(10).await;
    cluster.split["metadata"]["deletionTimestamp"] = "2026-11-02T00:00:00Z".into();
    let (result, ()) = cluster
        .reconcile(async |api| {
            let released = api.expect(Method::PATCH, ROUTE).await;
            assert!(released.body["spec"].is_null(), "weights are not touched: {}", released.body);
            let mut route = released.body.clone();
            route["metadata"] = json!({
                "name": "storefront", "namespace": "shop", "uid": "r1", "resourceVersion": "201",
                "annotations": {"cutover.dev/released-from": "shop/storefront"},
            });
            released.ok(&route);
            let farewell = api.expect(Method::PATCH, SPLIT).await;
            assert_eq!(farewell.body, json!({"metadata": {"uid": "s1", "resourceVersion": "102", "finalizers": []}}));
            farewell.ok(&Cluster::new(10).split);
        })
        .await;
    assert_eq!(result.unwrap(), Action::await_change());
}

const INGRESS: &str = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/storefront";
const ALIASES: [&str; 2] = [
    "/api/v1/namespaces/shop/services/storefront-cutover-legacy",
    "/api/v1/namespaces/shop/services/storefront-cutover-new",
];

fn left_behind(name: &str, spec: &Value) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "50",
            "labels": {"cutover.dev/owner-uid": "s1"}, "annotations": {"cutover.dev/owner-name": "storefront"},
        },
        "spec": spec,
    })
}

/// As it is when `ingressNginx` has just left the spec.
async fn without_nginx() -> Cluster {
    let mut cluster = Cluster::settled(10).await;
    let alias = |side| left_behind(&format!("storefront-cutover-{side}"), &json!({"clusterIP": "None", "ports": []}));
    cluster.aliases = vec![alias("legacy"), alias("new")];
    let backend = |side| json!({"service": {"name": format!("storefront-cutover-{side}"), "port": {"name": "http"}}});
    let path = |path, side| json!({"path": path, "pathType": "Prefix", "backend": backend(side)});
    let paths = json!([path("/", "legacy"), path("/-/cutover/s1/new", "new")]);
    let spec = json!({"rules": [{"host": "shop.example.com", "http": {"paths": paths}}]});
    cluster.ingresses = vec![left_behind("storefront", &spec)];
    cluster
}

#[tokio::test]
async fn what_a_route_led_to_is_removed_after_it_also_by_the_next_process() {
    let gone = json!({"kind": "Status", "status": "Success"});
    let mut cluster = without_nginx().await;
    let (result, ()) = cluster
        .reconcile(async |api| {
            api.expect(Method::DELETE, INGRESS).await.ok(&gone);
            api.expect(Method::DELETE, ALIASES[0]).await.lose();
        })
        .await;
    assert!(result.is_err());
    // The process has died, and the caches of the next one show what is left.
    cluster.ingresses.clear();
    let (result, ()) = cluster
        .reconcile(async |api| {
            api.expect(Method::DELETE, ALIASES[0]).await.ok(&gone);
            api.expect(Method::DELETE, ALIASES[1]).await.ok(&gone);
        })
        .await;
    assert_eq!(result.unwrap(), Action::await_change());
    cluster.aliases.clear();
    let (result, ()) = cluster.reconcile(async |_| ()).await;
    assert_eq!(result.unwrap(), Action::await_change());
}

#[tokio::test]
async fn a_split_that_is_deleted_waits_for_a_route_that_lingers_and_removes_what_it_led_to() {
    let mut cluster = without_nginx().await;
    cluster.split["metadata"]["deletionTimestamp"] = "2026-11-02T00:00:00Z".into();
    cluster.split["spec"]["onDelete"] = "Delete".into();
    cluster.route = None;
    let mut lingering = cluster.ingresses[0].clone();
    lingering["metadata"]["deletionTimestamp"] = "2026-11-02T00:00:01Z".into();
    lingering["metadata"]["finalizers"] = json!(["example.com/load-balancer"]);
    lingering["metadata"]["resourceVersion"] = "51".into();
    let (result, ()) = cluster.reconcile(async |api| api.expect(Method::DELETE, INGRESS).await.ok(&lingering)).await;
    assert_eq!(result.unwrap(), Action::await_change());
    cluster.ingresses = vec![lingering];
    let (result, ()) = cluster.reconcile(async |_| ()).await;
    assert_eq!(result.unwrap(), Action::await_change());
    cluster.ingresses.clear();
    let gone = json!({"kind": "Status", "status": "Success"});
    let (result, ()) = cluster
        .reconcile(async |api| {
            api.expect(Method::DELETE, ALIASES[0]).await.ok(&gone);
            api.expect(Method::DELETE, ALIASES[1]).await.ok(&gone);
            api.expect(Method::PATCH, SPLIT).await.ok(&Cluster::new(10).split);
        })
        .await;
    assert_eq!(result.unwrap(), Action::await_change());
}
