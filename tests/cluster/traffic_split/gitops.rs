//! Argo CD and Flux apply what is in Git again every second while a phase moves the weights.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{MigrationPhase, migration_phase::PhaseState};
use cutover_testkit::{control_plane::AuditEntry, eventually, in_time, tools};
use futures::StreamExt;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    runtime::watcher::{Config, Event, watcher},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bed::{OPERATOR, Shop, condition};

/// As both tools name themselves to the API server.
const MANAGERS: [&str; 2] = ["argocd-controller", "kustomize-controller"];
const EVERY: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(90);
/// The HTTPRoute and its rule in the settings that are shipped.
const ROUTE: &str = "shop";
const RULE: &str = "checkout";

fn split(host: &str, routers: &Value) -> Value {
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "storefront"},
        "spec": {
            "hosts": [host], "legacy": {"service": {"name": "old", "port": 80}}, "new": {"service": {"name": "new", "port": 80}},
            "newWeight": 0, "routers": routers,
        },
    })
}

fn phase() -> Value {
    let step = |weight: i32| json!({"name": format!("to-{weight}"), "traffic": [{"split": "storefront", "newWeight": weight}], "soak": "1s"});
    json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase", "metadata": {"name": "shift"},
        "spec": {"steps": [step(10), step(30), step(60), step(100)]},
    })
}

fn route(host: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "labels": {"team": "shop"}},
        "spec": {
            "parentRefs": [{"name": "edge", "namespace": "infra"}], "hostnames": [host],
            "rules": [
                {"name": "other", "matches": [{"path": {"type": "PathPrefix", "value": "/other"}}], "backendRefs": [{"name": "old", "port": 80}]},
                {"name": RULE, "backendRefs": [{"name": "old", "port": 80}]},
            ],
        },
    })
}

impl Shop {
    /// Server-side apply by force, as both tools do it.
    async fn apply_as(&self, manager: &str, manifests: &[Value]) -> Result<()> {
        for manifest in manifests {
            let version = manifest["apiVersion"].as_str().and_then(|it| it.split_once('/'));
            let (group, version) = version.context("no version")?;
            let kind = manifest["kind"].as_str().context("no kind")?;
            let name = manifest["metadata"]["name"].as_str().context("no name")?;
            self.objects_of(group, version, kind)
                .patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(manifest))
                .await?;
        }
        Ok(())
    }

    /// Argo CD's other way: what kubectl does by default, with the last manifest in an annotation.
    async fn apply_client_side(&self, manifests: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
        let plane = &self.bed.plane;
        let args = ["apply", "--namespace", &self.namespace, "--field-manager", MANAGERS[0], "-f", "-"];
        plane.run("kubectl", args, plane.kubeconfig(), &list).await?.ok().map(drop)
    }

    async fn phase_is(&self, state: PhaseState) -> Result<()> {
        let phases: Api<MigrationPhase> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(&format!("the phase is {state:?}"), LONG, || async {
            let status = phases.get("shift").await?.status.context("no status")?;
            ensure!(status.state == Some(state), "{status:#?}");
            Ok(())
        })
        .await
    }

    /// Every weight that an object of ours is ever seen with, until 100.
    async fn every_weight(&self, api: Api<DynamicObject>, weight: impl Fn(&Value) -> Option<i64>) -> Result<Vec<i64>> {
        let mut events = std::pin::pin!(watcher(api, Config::default()));
        let mut seen = Vec::new();
        while seen.last() != Some(&100) {
            let event = in_time(LONG, events.next()).await.with_context(|| format!("only {seen:?}"))?;
            let object = match event.context("the watch ended")?? {
                Event::Apply(object) | Event::InitApply(object) => object,
                Event::Delete(object) => anyhow::bail!("{:?} was deleted", object.metadata.name),
                Event::Init | Event::InitDone => continue,
            };
            seen.extend(weight(&serde_json::to_value(object)?));
        }
        Ok(seen)
    }

    fn writes_of(&self, resource: &str, entries: &[AuditEntry]) -> usize {
        let ours = entries.iter().filter(|entry| {
            (entry.user.as_str(), entry.namespace.as_str(), entry.name.as_str()) == (OPERATOR, &self.namespace, ROUTE)
                && (entry.resource == resource && entry.is_write() && entry.is_complete())
        });
        ours.count()
    }
}

/// Does something every second, for ever, and counts how often.
async fn again(count: &AtomicU64, mut what: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        what().await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn route_weight(route: &Value, rule: &str) -> Option<i64> {
    let rule = route["spec"]["rules"].as_array()?.iter().find(|it| it["name"] == rule)?;
    let new = rule["backendRefs"].as_array()?.iter().find(|backend| backend["name"] == "new");
    Some(new.map_or(0, |new| new["weight"].as_i64().unwrap_or(1)))
}

fn service_weight(service: &Value) -> Option<i64> {
    let members = service["spec"]["weighted"]["services"].as_array()?;
    members.iter().find(|it| it["name"] == "new").map_or(Some(0), |new| new["weight"].as_i64())
}

fn mesh_weight(mesh: &Value, entry: &str) -> Option<i64> {
    let entry = mesh["spec"]["http"].as_array()?.iter().find(|it| it["name"] == entry)?;
    let new = entry["route"].as_array()?.iter().find(|it| it["destination"]["host"] == "new");
    new.map_or(Some(0), |new| new["weight"].as_i64())
}

fn canary_weight(ingress: &Value) -> Option<i64> {
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"].as_str()?.parse().ok()
}

fn is_monotone(weights: &[i64]) -> bool {
    weights.windows(2).all(|pair| pair[0] <= pair[1])
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_we_make_never_flap_whatever_git_applies_again() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    let routers = json!([
        {"ingressNginx": {"className": "nginx"}}, {"gatewayApi": {"parentRefs": [{"name": "edge", "namespace": "infra"}]}},
        {"traefik": {"entryPoints": ["web"]}}, {"istio": {"gateways": ["infra/edge"]}},
    ]);
    let manifests = [split(&shop.host, &routers), phase()];
    shop.apply_as(MANAGERS[0], &manifests[..1]).await?;
    shop.carries("storefront", 0).await?;
    let counts = [const { AtomicU64::new(0) }; 3];
    let moves = async {
        let services = shop.objects_of("traefik.io", "v1alpha1", "TraefikService");
        let (route, canary, service, mesh, ()) = tokio::try_join!(
            shop.every_weight(shop.http_routes(), |route| route_weight(route, "weighted")),
            shop.every_weight(shop.ingresses(), canary_weight),
            shop.every_weight(services, service_weight),
            shop.every_weight(shop.objects("networking.istio.io", "VirtualService"), |it| mesh_weight(it, "weighted")),
            shop.phase_is(PhaseState::Completed),
        )?;
        let seen = [route, canary, service, mesh];
        ensure!(seen.iter().all(|weights| is_monotone(weights)), "{seen:?}");
        for weight in [10, 30, 60] {
            ensure!(seen.iter().all(|weights| weights.contains(&weight)), "{seen:?}");
        }
        anyhow::Ok(())
    };
    tokio::select! {
        result = again(&counts[0], async || shop.apply_as(MANAGERS[0], &manifests).await) => result?,
        result = again(&counts[1], async || shop.apply_as(MANAGERS[1], &manifests).await) => result?,
        result = again(&counts[2], async || shop.apply_client_side(&manifests).await) => result?,
        result = moves => result?,
    }
    ensure!(counts.iter().all(|count| count.load(Ordering::Relaxed) > 2), "nothing was applied again: {counts:?}");
    let status = shop.status("storefront").await?;
    ensure!(condition(&status, "SpecDiverged").is_some_and(|(is, ..)| is == "True"), "{status:#?}");
    Ok(())
}

/// What the shipped Application tells Argo CD to leave alone, taken out of an HTTPRoute.
fn without_ignored(mut route: Value) -> Result<Value> {
    let text = std::fs::read_to_string(tools::repository().join("deploy/gitops/argocd/application.yaml"))?;
    let application = Value::deserialize(serde_yaml_ng::Deserializer::from_str(&text))?;
    let ignored = &application["spec"]["ignoreDifferences"][0];
    ensure!(ignored["group"] == "gateway.networking.k8s.io" && ignored["kind"] == "HTTPRoute");
    ensure!(ignored["name"] == ROUTE, "{ignored}");
    let expression = format!(".spec.rules[] | select(.name == \"{RULE}\") | .backendRefs");
    ensure!(ignored["jqPathExpressions"] == json!([expression]), "{ignored}");
    let options = application["spec"]["syncPolicy"]["syncOptions"].as_array().context("no options")?;
    ensure!(options.contains(&json!("RespectIgnoreDifferences=true")));
    let rules = route["spec"]["rules"].as_array_mut().context("no rules")?;
    for rule in rules.iter_mut().filter(|rule| rule["name"] == RULE).filter_map(Value::as_object_mut) {
        rule.remove("backendRefs");
    }
    Ok(route)
}

/// Whether an object has all that a manifest says.
fn has(object: &Value, manifest: &Value) -> bool {
    match (object, manifest) {
        (Value::Object(object), Value::Object(manifest)) => {
            manifest.iter().all(|(key, value)| object.get(key).is_some_and(|found| has(found, value)))
        }
        (Value::Array(object), Value::Array(manifest)) => {
            object.len() == manifest.len()
                && object.iter().zip(manifest).all(|(object, manifest)| has(object, manifest))
        }
        (object, manifest) => object == manifest,
    }
}

/// An object in Git that a split attaches to.
struct InGit {
    manifest: Value,
    /// Takes out what Argo CD is told to leave alone.
    without_ignored: fn(Value) -> Result<Value>,
    /// The list that this is in. A list of a custom resource is one value to Argo CD: where something in it is ignored, a sync takes the whole
    /// list from the cluster.
    list: &'static str,
    /// The new side's weight in it.
    weight: fn(&Value) -> Option<i64>,
}

impl InGit {
    fn api(&self, shop: &Shop) -> Result<Api<DynamicObject>> {
        let version = self.manifest["apiVersion"].as_str().and_then(|it| it.split_once('/'));
        let ((group, version), kind) = version.zip(self.manifest["kind"].as_str()).context("of what kind?")?;
        Ok(shop.objects_of(group, version, kind))
    }

    async fn live(&self, shop: &Shop) -> Result<Value> {
        Ok(serde_json::to_value(self.api(shop)?.get(ROUTE).await?)?)
    }

    /// A look of Argo CD with the documented settings: whether it had to put the object in sync.
    async fn argo_cd(&self, shop: &Shop) -> Result<bool> {
        let (live, mut manifest) = (self.live(shop).await?, self.manifest.clone());
        let without = self.without_ignored;
        if has(&without(live.clone())?, &without(manifest.clone())?) {
            return Ok(false);
        }
        let list = live.pointer(self.list).context("no list")?.clone();
        *manifest.pointer_mut(self.list).context("no list")? = list;
        shop.apply_as(MANAGERS[0], &[manifest]).await?;
        Ok(true)
    }

    /// A look of Flux at the manifest with the documented annotation.
    async fn flux(&self, shop: &Shop) -> Result<()> {
        let mut manifest = self.manifest.clone();
        manifest["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"});
        if self.api(shop)?.get_opt(ROUTE).await?.is_none() {
            shop.apply_as(MANAGERS[1], &[manifest]).await?;
        }
        Ok(())
    }

    /// Both tools look every second while a phase moves the weights of a split that is attached to it.
    async fn does_not_flap(&self, shop: &Shop, router: &Value) -> Result<()> {
        let manifests = [split(&shop.host, &json!([router])), phase()];
        shop.apply_as(MANAGERS[0], &[self.manifest.clone(), manifests[0].clone()]).await?;
        shop.carries("storefront", 0).await?;
        let counts = [const { AtomicU64::new(0) }; 3];
        let moves = async {
            let (weights, ()) = tokio::try_join!(
                shop.every_weight(self.api(shop)?, self.weight),
                shop.phase_is(PhaseState::Completed)
            )?;
            ensure!(is_monotone(&weights), "{weights:?}");
            anyhow::Ok(())
        };
        tokio::select! {
            result = again(&counts[0], async || shop.apply_as(MANAGERS[0], &manifests).await) => result?,
            result = again(&counts[1], async || self.argo_cd(shop).await.map(drop)) => result?,
            result = again(&counts[2], async || self.flux(shop).await) => result?,
            result = moves => result?,
        }
        ensure!(
            counts.iter().all(|count| count.load(Ordering::Relaxed) > 2),
            "nothing was looked at again: {counts:?}"
        );

        // A sync for another reason does not put the weight back.
        let drift = json!({"metadata": {"labels": {"team": "other"}}});
        self.api(shop)?.patch(ROUTE, &PatchParams::default(), &Patch::Merge(drift)).await?;
        ensure!(self.argo_cd(shop).await?, "it was in sync");
        let live = self.live(shop).await?;
        ensure!(live["metadata"]["labels"]["team"] == "shop" && (self.weight)(&live) == Some(100), "{live:#}");
        shop.carries("storefront", 100).await?;
        Ok(())
    }
}

fn traefik_service() -> InGit {
    let members = json!([{"name": "old", "port": 80, "weight": 1}, {"name": "new", "port": 80, "weight": 0}]);
    InGit {
        manifest: json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService", "metadata": {"name": ROUTE, "labels": {"team": "shop"}},
            "spec": {"weighted": {"services": members}},
        }),
        without_ignored: |mut it| {
            it["spec"]["weighted"].as_object_mut().context("not weighted")?.remove("services");
            Ok(it)
        },
        list: "/spec/weighted/services",
        weight: service_weight,
    }
}

fn virtual_service(host: &str) -> InGit {
    InGit {
        manifest: json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": ROUTE, "labels": {"team": "shop"}},
            "spec": {
                "hosts": [host], "gateways": ["infra/edge"],
                "http": [
                    {"name": "other", "match": [{"uri": {"prefix": "/other"}}], "route": [{"destination": {"host": "old"}}]},
                    {"name": RULE, "route": [{"destination": {"host": "old"}}]},
                ],
            },
        }),
        without_ignored: |mut it| {
            let entries = it["spec"]["http"].as_array_mut().context("no entries")?;
            for entry in entries.iter_mut().filter(|it| it["name"] == RULE).filter_map(Value::as_object_mut) {
                entry.remove("route");
            }
            Ok(it)
        },
        list: "/spec/http",
        weight: |it| mesh_weight(it, RULE),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_in_git_that_is_attached_to_does_not_flap_with_the_documented_settings() -> Result<()> {
    let shop = Shop::open().await?;
    let weight: fn(&Value) -> Option<i64> = |it| route_weight(it, RULE);
    let in_git = InGit { manifest: route(&shop.host), without_ignored, list: "/spec/rules", weight };
    in_git.does_not_flap(&shop, &json!({"gatewayApi": {"attach": {"route": ROUTE, "rule": RULE}}})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traefik_service_in_git_does_not_flap_with_the_documented_settings() -> Result<()> {
    let shop = Shop::open().await?;
    traefik_service().does_not_flap(&shop, &json!({"traefik": {"attach": {"service": ROUTE}}})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_in_git_does_not_flap_with_the_documented_settings() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    let router = json!({"istio": {"attach": {"virtualService": ROUTE, "http": RULE}}});
    virtual_service(&shop.host).does_not_flap(&shop, &router).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_those_settings_the_split_is_contended_and_no_war_is_waged() -> Result<()> {
    let shop = Shop::open().await?;
    let router = json!({"gatewayApi": {"attach": {"route": ROUTE, "rule": RULE}}});
    let from_git = route(&shop.host);
    no_war_is_waged(&shop, &router, &from_git, "httproutes").await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_war_is_waged_about_a_traefik_service() -> Result<()> {
    let shop = Shop::open().await?;
    let from_git = traefik_service().manifest;
    no_war_is_waged(&shop, &json!({"traefik": {"attach": {"service": ROUTE}}}), &from_git, "traefikservices").await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_war_is_waged_about_a_virtual_service() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    let from_git = virtual_service(&shop.host).manifest;
    let router = json!({"istio": {"attach": {"virtualService": ROUTE, "http": RULE}}});
    no_war_is_waged(&shop, &router, &from_git, "virtualservices").await
}

/// Somebody applies the object from Git every second, whatever the split that is attached to it writes.
async fn no_war_is_waged(shop: &Shop, router: &Value, from_git: &Value, resource: &str) -> Result<()> {
    let object = format!("{} {ROUTE}", from_git["kind"].as_str().context("no kind")?);
    shop.apply_as(MANAGERS[0], &[from_git.clone(), split(&shop.host, &json!([router]))]).await?;
    shop.carries("storefront", 0).await?;
    let mark = shop.bed.plane.audit().mark()?;
    let count = AtomicU64::new(0);
    let told = async {
        shop.set_weight("storefront", 30).await?;
        eventually("the split says that it is not alone", LONG, || async {
            let status = shop.status("storefront").await?;
            let (_, reason, message) = condition(&status, "Reconciling").context("it rests")?;
            ensure!(status.desired_weight == Some(30) && reason == "Contended", "{status:#?}");
            ensure!(message.contains(&object), "{message}");
            Ok(())
        })
        .await?;
        let looked = count.load(Ordering::Relaxed);
        eventually("it was undone many times more", LONG, || async {
            ensure!(count.load(Ordering::Relaxed) > looked + 8);
            Ok(())
        })
        .await
    };
    tokio::select! {
        result = again(&count, async || shop.apply_as(MANAGERS[0], std::slice::from_ref(from_git)).await) => result?,
        result = told => result?,
    }
    // Six of a kind, and two after each rest.
    let writes = shop.writes_of(resource, &shop.bed.plane.audit().since(mark)?);
    ensure!((2..=16).contains(&writes), "{writes} writes of {resource}");

    // Nobody is in the way any more: what is new is written at once, and carried.
    shop.set_weight("storefront", 40).await?;
    shop.carries("storefront", 40).await?;
    Ok(())
}
