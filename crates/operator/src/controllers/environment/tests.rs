//! Requests of one reconcile, against a scripted API server: which, in which order, and that there are no others.

use cutover_engine::environment::resolve::Answer;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::scripted::{Exchange, Scripted},
    controllers::scripted::{Shown, reason, reconciles, unheard},
    metrics::Metrics,
    outbound::http_probe::Probes,
};

const ENVIRONMENT: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/environments/production";
const STATUS: &str = "/apis/cutover.dev/v1alpha1/namespaces/shop/environments/production/status";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const SERVICES: &str = "/api/v1/namespaces/shop/services";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
const POLICIES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/backendtlspolicies";
const TRANSPORTS: &str = "/apis/traefik.io/v1alpha1/namespaces/shop/serverstransports";

/// An environment, what else the caches show, and what name servers say.
#[derive(Clone, Default)]
struct Cluster {
    environment: Value,
    shown: Shown,
    probes: Probes,
    answer: Option<Answer>,
}

fn workload(name: &str) -> Value {
    json!({
        "name": name, "system": "New",
        "source": {"workload": {"image": "app:1", "ports": [{"name": "http", "containerPort": 8080}]}},
    })
}

impl Cluster {
    fn new(components: &[Value]) -> Self {
        let environment = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "Environment",
            "metadata": {
                "name": "production", "namespace": "shop", "uid": "env-1", "resourceVersion": "100", "generation": 1,
                "finalizers": ["cutover.dev/environment"],
            },
            "spec": {"tier": "Production", "components": components},
        });
        Self { environment, ..Self::default() }
    }

    fn controller(&self, client: Client) -> Context {
        let metrics = Metrics::new().unwrap();
        let components = metrics.object_gauges("cutover_component_ready", "Ready.", &["component", "system"]).unwrap();
        let shown = Shown { environments: vec![self.environment.clone()], ..self.shown.clone() };
        let jobs = Jobs::new(client.clone(), shown.caches().jobs, MANAGER_ENVIRONMENT);
        let sources = Arc::new(Sources {
            kinds: shown.kinds(),
            caches: shown.caches(),
            memory: Memory::default(),
            versions: Versions::new(self.probes.clone(), jobs).0,
            names: self.names(),
            forbidden: vec!["198.51.100.0/24".parse().unwrap()],
        });
        Context { client, sources, newest: Newest::default(), events: unheard(), components }
    }

    /// Each question has the answer, or none for ever.
    fn names(&self) -> Names {
        let answer = self.answer.clone();
        let ask: Ask = Arc::new(move |_, _| {
            let answer = answer.clone();
            async move { if let Some(answer) = answer { answer } else { std::future::pending().await } }.boxed()
        });
        Names::new(ask, &[]).0
    }

    async fn reconcile<T>(
        &self,
        times: usize,
        serve: impl AsyncFnOnce(&mut Scripted) -> T,
    ) -> (Vec<Result<Action, Error>>, T) {
        reconciles(|client| self.controller(client), &self.environment, times, serve).await
    }
}

/// Somebody asks whether the name is free.
async fn look(api: &mut Scripted, path: &str, name: &str, found: &[Value]) {
    let asked = api.expect(Method::GET, path).await;
    assert_eq!(asked.parameter("fieldSelector").as_deref(), Some(format!("metadata.name={name}").as_str()));
    asked.ok(
        &json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": found}),
    );
}

/// The object is applied; the answer is what was sent, as a new object.
async fn applied(api: &mut Scripted, path: &str, name: &str, force: bool) -> Value {
    let sent = api.expect(Method::PATCH, &format!("{path}/{name}")).await;
    assert_eq!(sent.parameter("fieldManager").as_deref(), Some("cutover.dev/environment"));
    assert_eq!(sent.parameter("force").as_deref(), force.then_some("true"), "{name}");
    assert_eq!(sent.body["metadata"]["labels"]["cutover.dev/owner-uid"], "env-1");
    assert_eq!(sent.body["metadata"].get("uid").is_some(), force, "only what was seen is forced");
    let answer = stored(&sent.body, 200);
    sent.ok(&answer);
    answer
}

fn stored(body: &Value, version: u64) -> Value {
    let mut object = body.clone();
    let name = body["metadata"]["name"].as_str().unwrap().to_owned();
    object["metadata"]["uid"] = format!("{name}-uid").into();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object["metadata"]["generation"] = 1.into();
    object
}

async fn created(api: &mut Scripted, path: &str, name: &str) -> Value {
    look(api, path, name, &[]).await;
    applied(api, path, name, false).await
}

async fn status(api: &mut Scripted) -> (Value, Exchange) {
    let sent = api.expect(Method::PATCH, STATUS).await;
    assert_eq!(sent.parameter("fieldManager").as_deref(), Some("cutover.dev/environment"));
    (sent.body["status"].clone(), sent)
}

fn answered(environment: &Value, sent: Exchange) {
    let mut answer = environment.clone();
    answer["status"] = sent.body["status"].clone();
    answer["metadata"]["resourceVersion"] = "300".into();
    sent.ok(&answer);
}

#[tokio::test]
async fn the_finalizer_is_on_before_anything_is_made_and_nothing_is_written_twice() {
    let mut cluster = Cluster::new(&[workload("api")]);
    cluster.environment["metadata"]["finalizers"] = json!([]);
    let (results, told) = cluster
        .reconcile(2, async |api| {
            let put_on = api.expect(Method::PATCH, ENVIRONMENT).await;
            assert_eq!(put_on.body["metadata"]["finalizers"], json!(["cutover.dev/environment"]));
            assert_eq!(put_on.body["metadata"]["resourceVersion"], "100");
            let mut guarded = cluster.environment.clone();
            guarded["metadata"]["finalizers"] = json!(["cutover.dev/environment"]);
            guarded["metadata"]["resourceVersion"] = "101".into();
            put_on.ok(&guarded);
            look(api, DEPLOYMENTS, "production-api", &[]).await;
            created(api, CONFIG_MAPS, "production-config").await;
            created(api, SERVICES, "production-api").await;
            created(api, DEPLOYMENTS, "production-api").await;
            let (told, sent) = status(api).await;
            assert_eq!(sent.body["metadata"]["resourceVersion"], "101");
            answered(&guarded, sent);
            told
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(reason(&told, "Ready").as_deref(), Some("ComponentsNotReady"));
    assert_eq!(told["components"][0]["service"], json!({"name": "production-api", "port": 8080}));
    assert_eq!(told["components"][0]["image"], "app:1");
}

/// The same cluster once everything was made, seen by caches of a process that has just started.
async fn running(components: &[Value]) -> Cluster {
    let cluster = Cluster::new(components);
    let (_, (objects, told)) = cluster
        .reconcile(1, async |api| {
            for component in components {
                look(api, DEPLOYMENTS, &format!("production-{}", component["name"].as_str().unwrap()), &[]).await;
            }
            let mut objects = vec![created(api, CONFIG_MAPS, "production-config").await];
            for component in components {
                let name = format!("production-{}", component["name"].as_str().unwrap());
                objects.push(created(api, SERVICES, &name).await);
                objects.push(created(api, DEPLOYMENTS, &name).await);
            }
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            (objects, told)
        })
        .await;
    let mut cluster = cluster;
    for mut object in objects {
        let kind = object["kind"].as_str().unwrap().to_owned();
        if kind == "Deployment" {
            object["status"] =
                json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
        }
        match kind.as_str() {
            "Deployment" => cluster.shown.deployments.push(object),
            "Service" => cluster.shown.services.push(object),
            _ => cluster.shown.config_maps.push(object),
        }
    }
    cluster.environment["status"] = told;
    cluster
}

#[tokio::test]
async fn a_new_process_applies_once_over_what_is_its_own_and_then_rests() {
    let cluster = running(&[workload("api")]).await;
    let (results, told) = cluster
        .reconcile(3, async |api| {
            for (path, name) in
                [(CONFIG_MAPS, "production-config"), (SERVICES, "production-api"), (DEPLOYMENTS, "production-api")]
            {
                let sent = api.expect(Method::PATCH, &format!("{path}/{name}")).await;
                assert_eq!(sent.parameter("force").as_deref(), Some("true"));
                assert_eq!(sent.body["metadata"]["uid"], format!("{name}-uid"));
                // Nothing changes, so the version stays.
                let mut answer = stored(&sent.body, 200);
                if path == DEPLOYMENTS {
                    answer["status"] = cluster.shown.deployments[0]["status"].clone();
                }
                sent.ok(&answer);
            }
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(reason(&told, "Ready").as_deref(), Some("AsDeclared"));
    assert_eq!(told["readyComponents"], "1/1");
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_left_to_them_and_others_go_on() {
    let cluster = Cluster::new(&[workload("api"), workload("web")]);
    let theirs = json!({"metadata": {"name": "production-api", "uid": "theirs", "labels": {"app": "api"}}});
    let (results, told) = cluster
        .reconcile(1, async |api| {
            look(api, DEPLOYMENTS, "production-api", &[theirs]).await;
            look(api, DEPLOYMENTS, "production-web", &[]).await;
            created(api, CONFIG_MAPS, "production-config").await;
            // Nothing for the component whose name is taken, not even its Service.
            created(api, SERVICES, "production-web").await;
            created(api, DEPLOYMENTS, "production-web").await;
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert_eq!(results[0].as_ref().unwrap(), &Action::requeue(LOOK_AGAIN));
    assert_eq!(reason(&told, "Stalled").as_deref(), Some("Conflicted"));
    let message = told["components"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "spec.components[name=api].name: Deployment production-api exists and was not made for this Environment"
        ),
        "{message}"
    );
    assert!(told.get("manifest").is_none());
}

#[tokio::test]
async fn addresses_that_speak_tls_are_not_published_past_a_policy_of_somebody_elses() {
    let external = json!({"addresses": ["203.0.113.7"], "port": 443, "tls": {"serverName": "vault.example.com"}});
    let cluster = Cluster::new(&[json!({"name": "vault", "system": "Legacy", "source": {"external": external}})]);
    let theirs = json!({"metadata": {"name": "production-vault", "uid": "theirs", "labels": {"app": "vault"}}});
    let (results, told) = cluster
        .reconcile(1, async |api| {
            created(api, CONFIG_MAPS, "production-config").await;
            created(api, SERVICES, "production-vault").await;
            look(api, POLICIES, "production-vault", &[theirs]).await;
            // Nothing more: neither is it written, nor are the addresses.
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert_eq!(results[0].as_ref().unwrap(), &Action::requeue(LOOK_AGAIN));
    assert_eq!(reason(&told, "Stalled").as_deref(), Some("Conflicted"));
    let message = told["components"][0]["message"].as_str().unwrap();
    assert!(message.contains("BackendTLSPolicy production-vault exists and was not made for this"), "{message}");
}

#[tokio::test]
async fn what_we_made_a_moment_ago_is_ours_though_no_cache_shows_it() {
    let cluster = Cluster::new(&[workload("api")]);
    let ours =
        json!({"metadata": {"name": "production-api", "uid": "u9", "labels": {"cutover.dev/owner-uid": "env-1"}}});
    let (results, ()) = cluster
        .reconcile(1, async |api| {
            look(api, DEPLOYMENTS, "production-api", &[]).await;
            created(api, CONFIG_MAPS, "production-config").await;
            look(api, SERVICES, "production-api", &[ours]).await;
            applied(api, SERVICES, "production-api", true).await;
            created(api, DEPLOYMENTS, "production-api").await;
            let (_, sent) = status(api).await;
            answered(&cluster.environment, sent);
        })
        .await;
    assert!(results[0].is_ok(), "{results:?}");
}

#[tokio::test]
async fn what_is_invalid_ends_its_component_only_and_waits_for_a_change() {
    let cluster = Cluster::new(&[workload("api"), workload("web")]);
    let (results, told) = cluster
        .reconcile(1, async |api| {
            look(api, DEPLOYMENTS, "production-api", &[]).await;
            look(api, DEPLOYMENTS, "production-web", &[]).await;
            created(api, CONFIG_MAPS, "production-config").await;
            look(api, SERVICES, "production-api", &[]).await;
            let sent = api.expect(Method::PATCH, &format!("{SERVICES}/production-api")).await;
            sent.refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
            created(api, SERVICES, "production-web").await;
            created(api, DEPLOYMENTS, "production-web").await;
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert_eq!(results[0].as_ref().unwrap(), &Action::await_change());
    assert_eq!(reason(&told, "Stalled").as_deref(), Some("InvalidSpec"));
    assert_eq!(told["components"][0].get("service"), None, "nobody is sent there");
}

#[tokio::test]
async fn an_outage_is_told_and_tried_again() {
    let cluster = Cluster::new(&[workload("api")]);
    let (results, told) = cluster
        .reconcile(1, async |api| {
            look(api, DEPLOYMENTS, "production-api", &[]).await;
            look(api, CONFIG_MAPS, "production-config", &[]).await;
            let sent = api.expect(Method::PATCH, &format!("{CONFIG_MAPS}/production-config")).await;
            sent.refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    let error = results[0].as_ref().unwrap_err();
    assert!(error.is_retryable() && !error.is_conflict());
    assert_eq!((error.reason(), reason(&told, "Ready").as_deref()), ("ApplyFailed", Some("Retrying")));
}

#[tokio::test]
async fn an_invalid_spec_writes_the_status_and_nothing_else() {
    let mut cluster = running(&[workload("api")]).await;
    let external = json!({"addresses": ["198.51.100.7"], "port": 80});
    cluster.environment["spec"]["components"] =
        json!([workload("api"), {"name": "db", "system": "Legacy", "source": {"external": external}}]);
    let (results, told) = cluster
        .reconcile(2, async |api| {
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert_eq!(results[0].as_ref().unwrap(), &Action::await_change());
    let conditions = told["conditions"].as_array().unwrap();
    let message = conditions[0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("spec.components[1].source.external.addresses[0]: 198.51.100.7 is in 198.51.100.0/24"),
        "{message}"
    );
    assert_eq!(told["components"][0]["ready"], true, "what runs is still told");
}

fn split(component: &str) -> Value {
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit",
        "metadata": {"name": "shop", "namespace": "shop", "uid": "s1", "resourceVersion": "5"},
        "spec": {
            "environment": "production", "hosts": ["shop.example.com"], "new": {"component": component},
            "routers": [{"ingressNginx": {"className": "nginx"}}],
        },
    })
}

async fn deleted(api: &mut Scripted, path: &str, name: &str) {
    let sent = api.expect(Method::DELETE, &format!("{path}/{name}")).await;
    assert_eq!(sent.body["preconditions"], json!({"uid": format!("{name}-uid")}));
    sent.ok(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
}

#[tokio::test]
async fn a_deletion_waits_for_those_who_use_it_then_sweeps_and_lets_go() {
    let mut cluster = running(&[workload("api")]).await;
    cluster.environment["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
    cluster.shown.splits = vec![split("api")];
    let (_, told) = cluster
        .reconcile(1, async |api| {
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert_eq!(reason(&told, "PruneBlocked").as_deref(), Some("StillInUse"));

    cluster.shown.splits.clear();
    let (results, _) = cluster
        .reconcile(1, async |api| {
            deleted(api, DEPLOYMENTS, "production-api").await;
            deleted(api, SERVICES, "production-api").await;
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert!(results[0].is_ok(), "{results:?}");

    cluster.shown.deployments.clear();
    cluster.shown.services.clear();
    cluster.shown.config_maps.clear();
    let (results, ()) = cluster
        .reconcile(1, async |api| {
            for path in [DEPLOYMENTS, SERVICES, SLICES, POLICIES, TRANSPORTS, CONFIG_MAPS] {
                let asked = api.expect(Method::GET, path).await;
                assert!(asked.parameter("labelSelector").unwrap().contains("cutover.dev/owner-uid=env-1"));
                // The cluster's own slices copy the Service's labels: they go by themselves.
                let slice = json!({"metadata": {
                    "name": "production-api-x", "uid": "x", "resourceVersion": "1",
                    "labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                }});
                let items = if path == SLICES { vec![slice] } else { Vec::new() };
                asked.ok(&json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items,
                }));
            }
            let taken_off = api.expect(Method::PATCH, ENVIRONMENT).await;
            assert_eq!(taken_off.body["metadata"]["finalizers"], json!([]));
            taken_off.ok(&cluster.environment);
        })
        .await;
    assert!(results[0].is_ok(), "{results:?}");
}

#[tokio::test]
async fn what_a_migration_came_to_is_recorded_and_stays() {
    let job = |name: &str, run: &str, end: &str| {
        let labels = json!({"cutover.dev/owner-uid": "p1", "cutover.dev/owner-kind": "MigrationPhase"});
        let annotations = json!({
            "cutover.dev/owner-name": "shift", "cutover.dev/migrates": "env-1", "cutover.dev/migration": run,
        });
        let metadata = json!({"name": name, "namespace": "shop", "labels": labels, "annotations": annotations});
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "status": {"conditions": [{"type": end, "status": "True"}]},
        })
    };
    let mut cluster =
        Cluster::new(&[json!({"name": "api", "system": "New", "source": {"service": {"name": "api", "port": 80}}})]);
    cluster.shown.jobs =
        vec![job("up", "44.Up.1", "Complete"), job("down", "44.Down.2", "Failed"), job("x", "44.Aside.9", "Complete")];
    let environment = cluster.environment.clone();
    let (_, written) = cluster
        .reconcile(1, async |api| {
            applied_config(api).await;
            let (written, sent) = status(api).await;
            answered(&environment, sent);
            written
        })
        .await;
    let expected = json!({
        "version": 44, "applied": true, "round": 2, "direction": "Down", "outcome": "Failed", "job": "down",
        "phase": "shift", "phaseUID": "p1", "at": written["migrations"][0]["at"],
    });
    assert_eq!(written["migrations"], json!([expected]));
}

async fn applied_config(api: &mut Scripted) {
    created(api, CONFIG_MAPS, "production-config").await;
}

/// What is seen of the schema of an environment whose version is read from there.
fn seen(from: &Value, shown: Shown) -> Observed {
    let mut cluster = Cluster { shown, ..Cluster::new(&[workload("api")]) };
    cluster.environment["spec"]["shared"] = json!({"database": {"schema": {"from": from}}});
    let environment: Environment = serde_json::from_value(cluster.environment.clone()).unwrap();
    let controller = cluster.controller(crate::cluster::scripted::server().0);
    controller.sources.observe(&identity(&environment), &environment)
}

#[tokio::test]
async fn the_version_of_the_schema_is_read_from_where_the_spec_says() {
    let map = |name: &str, version: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"version": version},
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
                "labels": {"cutover.dev/schema-version": "true"}},
        })
    };
    let shown = Shown { schema_versions: vec![map("db-schema", "43"), map("other", "7")], ..Shown::default() };
    let observed = seen(&json!({"configMap": {"name": "db-schema", "key": "version"}}), shown.clone());
    assert_eq!(observed.schema, Some([("version".to_owned(), "43".to_owned())].into()));
    assert_eq!(observed.schema_told, None);
    let observed = seen(&json!({"configMap": {"name": "gone", "key": "version"}}), shown.clone());
    assert_eq!(observed.schema, None);
    // Nobody has been asked yet.
    let observed = seen(&json!({"http": {"url": "http://api/schema", "pointer": "/version"}}), shown);
    assert_eq!((observed.schema, observed.schema_told), (None, None));
}

/// The legacy side, named by its host.
fn host() -> Value {
    json!({"name": "old", "system": "Legacy", "source": {"external": {"host": "app.example.com", "port": 80}}})
}

/// The addresses of the slice that is written.
fn addresses(slice: &Value) -> Vec<&str> {
    slice["endpoints"].as_array().unwrap().iter().map(|it| it["addresses"][0].as_str().unwrap()).collect()
}

fn answer(addresses: &[&str]) -> Answer {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Answer::Addresses { addresses, ttl: std::time::Duration::from_secs(60) }
}

/// Everything of a host that was resolved by another process is there.
async fn resolved() -> Cluster {
    let mut cluster = Cluster::new(&[host()]);
    cluster.answer = Some(answer(&["203.0.113.7", "203.0.113.5"]));
    let (results, (objects, told)) = cluster
        .reconcile(3, async |api| {
            // Nothing waits for the answer: what does not need it is made meanwhile.
            let config = created(api, CONFIG_MAPS, "production-config").await;
            let service = created(api, SERVICES, "production-old").await;
            let (told, sent) = status(api).await;
            assert_eq!(reason(&told, "Ready").as_deref(), Some("NameNotResolved"));
            answered(&cluster.environment, sent);
            let slice = created(api, SLICES, "production-old-ipv4").await;
            assert_eq!(addresses(&slice), ["203.0.113.5", "203.0.113.7"]);
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            ((config, service, slice), told)
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(reason(&told, "Ready").as_deref(), Some("AsDeclared"));
    assert_eq!(told["components"][0]["resolved"]["host"], "app.example.com");
    let (config, service, slice) = objects;
    cluster.shown.config_maps.push(config);
    cluster.shown.services.push(service);
    cluster.shown.slices.push(slice);
    cluster.environment["status"] = told;
    // By a process of long ago.
    cluster.environment["status"]["components"][0]["resolved"]["lastSeen"] = "2026-01-01T00:00:00Z".into();
    cluster
}

/// What a process that has just started writes over its own.
async fn applied_again(api: &mut Scripted, objects: &[(&str, &str)]) {
    for (path, name) in objects {
        let sent = api.expect(Method::PATCH, &format!("{path}/{name}")).await;
        let same = stored(&sent.body, 200);
        sent.ok(&same);
    }
}

#[tokio::test]
async fn a_process_that_starts_while_nobody_resolves_names_leaves_everything_as_it_is() {
    let mut cluster = resolved().await;
    let all = [(CONFIG_MAPS, "production-config"), (SERVICES, "production-old"), (SLICES, "production-old-ipv4")];
    // No answer yet: the status is as it was.
    cluster.answer = None;
    let (results, ()) = cluster.reconcile(2, async |api| applied_again(api, &all).await).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");

    cluster.answer = Some(Answer::Failed("SERVFAIL".into()));
    let (results, told) = cluster
        .reconcile(4, async |api| {
            applied_again(api, &all).await;
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(reason(&told, "Ready").as_deref(), Some("AsDeclared"));
    assert_eq!(reason(&told, "ResolutionDegraded").as_deref(), Some("NameNotResolved"));
    assert_eq!(told["components"][0]["ready"], true);
    assert_eq!(told["components"][0]["resolved"], cluster.environment["status"]["components"][0]["resolved"]);
}

#[tokio::test]
async fn a_changed_address_is_one_write_and_another_order_is_none() {
    let mut cluster = resolved().await;
    cluster.answer = Some(answer(&["203.0.113.5", "203.0.113.7"]));
    let all = [(CONFIG_MAPS, "production-config"), (SERVICES, "production-old"), (SLICES, "production-old-ipv4")];
    let (results, seen) = cluster
        .reconcile(3, async |api| {
            applied_again(api, &all).await;
            let (told, sent) = status(api).await;
            answered(&cluster.environment, sent);
            told["components"][0]["resolved"]["lastSeen"].clone()
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_ne!(seen, "2026-01-01T00:00:00Z", "this process has seen them itself");
    cluster.answer = Some(answer(&["203.0.113.9", "203.0.113.5"]));
    let (results, ()) = cluster
        .reconcile(3, async |api| {
            applied_again(api, &all).await;
            let sent = api.expect(Method::PATCH, &format!("{SLICES}/production-old-ipv4")).await;
            assert_eq!(addresses(&sent.body), ["203.0.113.5", "203.0.113.9"]);
            let answer = stored(&sent.body, 201);
            sent.ok(&answer);
            let (_, sent) = status(api).await;
            answered(&cluster.environment, sent);
        })
        .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}
