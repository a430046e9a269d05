//! Requests of one reconcile, against a scripted API server: which, in which order, and that there are no others.

use cutover_engine::feature_flag::build_config_map;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::scripted::{Exchange, Scripted},
    controllers::scripted::{Shown, reason, reconciles, unheard},
    metrics::Metrics,
};

const FLAG: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/featureflags/checkout";
const STATUS: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/featureflags/checkout/status";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const CONFIG_MAP: &str = "/api/v1/namespaces/shop/configmaps/production-flags";
const PHASE: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/migrationphases/shift";

/// A flag, and what else the caches show.
#[derive(Clone)]
struct Cluster {
    flag: Value,
    config_map: Option<Value>,
    phases: Vec<Value>,
    environment: bool,
}

impl Cluster {
    fn new() -> Self {
        let flag = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "FeatureFlag",
            "metadata": {
                "name": "checkout", "namespace": "shop", "uid": "f1", "resourceVersion": "100", "generation": 1,
                "creationTimestamp": "2026-11-01T00:00:00Z", "finalizers": ["cutover.dev/feature-flag"],
            },
            "spec": {
                "environment": "production", "variants": {"on": true, "off": false}, "defaultVariant": "off",
                "rules": [{"name": "all", "percentage": {"growing": "on", "rest": "off", "percent": 10}}],
            },
        });
        Self { flag, config_map: None, phases: Vec::new(), environment: true }
    }

    fn controller(&self, client: Client) -> Context {
        let percents = Metrics::new().unwrap().object_gauges("cutover_flag_percent", "Percent.", &[]).unwrap();
        let environment = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "Environment",
            "metadata": {"name": "production", "namespace": "shop", "uid": "e1", "resourceVersion": "1"},
            "spec": {"tier": "Staging", "components": []},
        });
        let shown = Shown {
            flags: vec![self.flag.clone()],
            phases: self.phases.clone(),
            config_maps: self.config_map.iter().cloned().collect(),
            environments: self.environment.then_some(environment).into_iter().collect(),
            ..Shown::default()
        };
        let sources = Arc::new(Sources {
            kinds: shown.kinds(),
            caches: shown.caches(),
            newest: Newest::default(),
            written: Written::default(),
        });
        Context { client, sources, events: unheard(), percents, turns: Turns::default() }
    }

    async fn reconcile<T>(
        &self,
        times: usize,
        serve: impl AsyncFnOnce(&mut Scripted) -> T,
    ) -> (Vec<Result<Action, Error>>, T) {
        reconciles(|client| self.controller(client), &self.flag, times, serve).await
    }

    /// As it is once the flag was published.
    async fn published() -> Self {
        let mut cluster = Self::new();
        let (_, (config_map, told)) = cluster
            .reconcile(1, async |api| {
                look(api, &[]).await;
                let config_map = published(api, None).await;
                (config_map, told(api, &Self::new().flag).await)
            })
            .await;
        cluster.config_map = Some(config_map);
        cluster.flag["status"] = told;
        cluster
    }
}

fn phase(state: &str, revision: i64, percent: Option<i64>) -> Value {
    let requests = percent.map(|percent| json!({"flags": [{"flag": "checkout", "percent": percent}]}));
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase",
        "metadata": {"name": "shift", "namespace": "shop", "uid": "p1", "resourceVersion": "7"},
        "spec": {"steps": []},
        "status": {"state": state, "attempt": 1, "requestRevision": revision, "requests": requests},
    })
}

async fn look(api: &mut Scripted, found: &[Value]) {
    let asked = api.expect(Method::GET, CONFIG_MAPS).await;
    assert_eq!(asked.parameter("fieldSelector").as_deref(), Some("metadata.name=production-flags"));
    asked.ok(&json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {}, "items": found}));
}

/// The ConfigMap is written over this version, or for the first time.
async fn published(api: &mut Scripted, version: Option<&str>) -> Value {
    let sent = api.expect(Method::PATCH, CONFIG_MAP).await;
    assert_eq!(sent.parameter("fieldManager").as_deref(), Some("cutover.dev/feature-flag"));
    assert_eq!(sent.parameter("force").as_deref(), version.map(|_| "true"));
    assert_eq!(sent.body["metadata"].get("resourceVersion").and_then(Value::as_str), version);
    let mut answer = sent.body.clone();
    answer["metadata"]["uid"] = "c1".into();
    answer["metadata"]["resourceVersion"] = "200".into();
    sent.ok(&answer);
    answer
}

async fn told(api: &mut Scripted, flag: &Value) -> Value {
    let sent = api.expect(Method::PATCH, STATUS).await;
    let told = sent.body["status"].clone();
    answered(flag, sent);
    told
}

fn answered(flag: &Value, sent: Exchange) {
    let mut answer = flag.clone();
    let version: u64 = sent.body["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    answer["status"] = sent.body["status"].clone();
    answer["metadata"]["resourceVersion"] = (version + 1).to_string().into();
    sent.ok(&answer);
}

fn weights(config_map: &Value) -> Value {
    let file: Value = serde_json::from_str(config_map["data"]["flags.json"].as_str().unwrap()).unwrap();
    file["flags"]["checkout"]["targeting"]["fractional"].clone()
}

#[tokio::test]
async fn a_new_flag_gets_its_finalizer_then_is_published_then_told() {
    let mut cluster = Cluster::new();
    cluster.flag["metadata"]["finalizers"] = json!([]);
    let (results, (config_map, told)) = cluster
        .reconcile(2, async |api| {
            look(api, &[]).await;
            let put_on = api.expect(Method::PATCH, FLAG).await;
            assert_eq!(put_on.body["metadata"]["finalizers"], json!(["cutover.dev/feature-flag"]));
            let mut guarded = Cluster::new().flag;
            guarded["metadata"]["resourceVersion"] = "101".into();
            put_on.ok(&guarded);
            let config_map = published(api, None).await;
            let told = told(api, &guarded).await;
            (config_map, told)
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(weights(&config_map), json!([["on", 10], ["off", 90]]));
    assert_eq!(told["published"]["version"], "200");
    assert_eq!((&told["percent"], reason(&told, "Ready").as_deref()), (&json!(10), Some("AsDeclared")));
}

#[tokio::test]
async fn at_rest_there_are_no_requests() {
    let cluster = Cluster::published().await;
    let (results, ()) = cluster.reconcile(3, async |_| {}).await;
    assert!(results.iter().all(|result| result.as_ref().unwrap() == &Action::await_change()));
}

#[tokio::test]
async fn a_phase_is_asked_itself_then_granted_then_carried_out_then_told() {
    let mut cluster = Cluster::published().await;
    cluster.phases = vec![phase("Running", 4, Some(50))];
    let (results, (granted, config_map, told)) = cluster
        .reconcile(1, async |api| {
            api.expect(Method::GET, PHASE).await.ok(&phase("Running", 5, Some(60)));
            let granted = told(api, &cluster.flag).await;
            let config_map = published(api, Some("200")).await;
            (granted, config_map, told(api, &cluster.flag).await)
        })
        .await;
    assert!(results[0].is_ok(), "{results:?}");
    assert_eq!((&granted["percent"], &granted["heldBy"]["requestRevision"]), (&json!(10), &json!(5)));
    assert_eq!(weights(&config_map), json!([["on", 60], ["off", 40]]));
    assert_eq!((&told["percent"], &told["heldBy"]["phase"]), (&json!(60), &json!("shift")));
}

#[tokio::test]
async fn a_request_that_the_phase_has_taken_back_is_not_carried_out() {
    let mut cluster = Cluster::published().await;
    cluster.phases = vec![phase("Running", 4, Some(50))];
    let (results, ()) = cluster
        .reconcile(1, async |api| {
            api.expect(Method::GET, PHASE).await.ok(&phase("Aborted", 6, None));
        })
        .await;
    assert!(results[0].is_ok(), "{results:?}");
}

#[tokio::test]
async fn a_refused_grant_moves_nothing() {
    let mut cluster = Cluster::published().await;
    cluster.phases = vec![phase("Running", 4, Some(50))];
    let (results, ()) = cluster
        .reconcile(1, async |api| {
            api.expect(Method::GET, PHASE).await.ok(&phase("Running", 4, Some(50)));
            api.expect(Method::PATCH, STATUS).await.refuse(StatusCode::CONFLICT, "Conflict");
        })
        .await;
    assert!(results[0].as_ref().unwrap_err().is_conflict());
}

#[tokio::test]
async fn a_config_map_that_changed_meanwhile_is_looked_at_again() {
    let mut cluster = Cluster::published().await;
    cluster.flag["spec"]["rules"][0]["percentage"]["percent"] = 30.into();
    let (results, ()) = cluster
        .reconcile(1, async |api| {
            api.expect(Method::PATCH, CONFIG_MAP).await.refuse(StatusCode::CONFLICT, "Conflict");
        })
        .await;
    assert!(results[0].as_ref().unwrap_err().is_conflict());
}

#[tokio::test]
async fn what_was_not_published_is_not_told_as_done() {
    let mut cluster = Cluster::published().await;
    cluster.flag["spec"]["rules"][0]["percentage"]["percent"] = 30.into();
    let (results, told) = cluster
        .reconcile(1, async |api| {
            let sent = api.expect(Method::PATCH, CONFIG_MAP).await;
            sent.refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
            told(api, &cluster.flag).await
        })
        .await;
    assert!(results[0].as_ref().unwrap_err().is_retryable());
    assert_eq!((&told["percent"], &told["heldSpecPercent"]), (&json!(10), &json!(10)));
    assert_eq!(reason(&told, "Ready").as_deref(), Some("Retrying"));
}

#[tokio::test]
async fn a_config_map_of_somebody_else_is_left_alone() {
    let cluster = Cluster::new();
    let theirs = json!({"metadata": {"name": "production-flags", "uid": "x", "resourceVersion": "3"}, "data": {"flags.json": "{}"}});
    let (results, told) = cluster
        .reconcile(1, async |api| {
            look(api, &[theirs]).await;
            told(api, &cluster.flag).await
        })
        .await;
    assert_eq!(results[0].as_ref().unwrap(), &Action::requeue(LOOK_AGAIN));
    assert_eq!(reason(&told, "Stalled").as_deref(), Some("Conflicted"));
}

#[tokio::test]
async fn a_deleted_flag_leaves_the_config_map_before_it_goes() {
    let mut cluster = Cluster::published().await;
    cluster.flag["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
    let (results, config_map) = cluster
        .reconcile(1, async |api| {
            let config_map = published(api, Some("200")).await;
            let taken_off = api.expect(Method::PATCH, FLAG).await;
            assert_eq!(taken_off.body["metadata"]["finalizers"], json!([]));
            taken_off.ok(&cluster.flag);
            config_map
        })
        .await;
    assert!(results[0].is_ok(), "{results:?}");
    assert_eq!(weights(&config_map), Value::Null);
}

#[tokio::test]
async fn a_flag_of_no_environment_is_told_and_not_published() {
    let mut cluster = Cluster::new();
    cluster.environment = false;
    let (results, told) = cluster.reconcile(1, async |api| told(api, &cluster.flag).await).await;
    assert_eq!(results[0].as_ref().unwrap(), &Action::await_change());
    assert_eq!(reason(&told, "Ready").as_deref(), Some("ReferenceNotFound"));
}

#[test]
fn the_label_by_which_flags_are_found_is_the_one_they_are_written_with() {
    let config_map = build_config_map("shop", "production", String::new());
    let record = <crate::caches::ConfigMapRecord as crate::cluster::stores::View>::of(config_map);
    assert!(matches!(record, Some(crate::caches::ConfigMapRecord::Flags(_))));
}
