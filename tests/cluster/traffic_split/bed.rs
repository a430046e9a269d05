//! A control plane with a proxy and a running operator, shared by these tests; each has its own namespace and sides.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        LazyLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::{TrafficSplit, TrafficSplitStatus};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    eventually,
    http::{self, Response},
    load::{LoadGenerator, LoadOptions, Stream},
    node::{Backend, System, serve_backend},
    operator::{NAMESPACE, Operator, Options},
    tools,
    traefik::{EntryPoints, Traefik},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::routers::Router;
pub(super) use crate::routers::{GATEWAY, NGINX, TRAEFIK};

/// For a proxy to take a change up, on a busy machine.
pub(super) const TAKEN_UP: Duration = Duration::from_secs(60);

/// What most splits of these tests are on.
pub(super) const BOTH: [Router; 2] = [Router::Nginx, Router::Gateway];

/// Requests that a share is told by, on each router.
const SAMPLE: u64 = 1_000;

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

static BED: OnceCell<Bed> = OnceCell::const_new();

/// The user that the operator of these tests is, in the audit log.
pub(super) const OPERATOR: &str = "operator-under-test";

pub(super) struct Bed {
    pub(super) plane: ControlPlane,
    pub(super) entry: EntryPoints,
    _traefik: Traefik,
    _operator: Operator,
}

/// The bed, started for the first test that asks.
pub(super) async fn bed() -> Result<&'static Bed> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    BED.get_or_try_init(|| async { runtime.spawn(start()).await? }).await
}

async fn start() -> Result<Bed> {
    let plane = ControlPlane::start_named("traffic-split").await?;
    let definitions = std::fs::read_dir(tools::repository().join("crds"))?;
    plane
        .install_definitions(definitions.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?)
        .await?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(plane.admin().await?).create(&PostParams::default(), &namespace).await?;
    let traefik = Traefik::start(&plane).await?;
    let identity = Identity::User { name: OPERATOR.to_owned(), groups: vec!["system:masters".to_owned()] };
    let options = Options {
        name: "traffic-split-operator".to_owned(),
        flags: ["--log-level=info,cutover_operator=debug", "--outbound-networks=198.18.0.0/15"]
            .map(String::from)
            .into(),
        program: None,
    };
    let operator = Operator::start_as(&plane, &identity, options).await?;
    operator.ready().await?;
    Ok(Bed { entry: traefik.entry_points(), plane, _traefik: traefik, _operator: operator })
}

/// A namespace with a legacy and a new side outside the cluster.
pub(super) struct Shop {
    pub(super) bed: &'static Bed,
    pub(super) namespace: String,
    pub(super) host: String,
    pub(super) client: Client,
    addresses: [Ipv4Addr; 2],
    /// Legacy's and the new one.
    pub(super) backends: [Backend; 2],
}

impl Shop {
    pub(super) async fn open() -> Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let bed = bed().await?;
        let namespace = bed.plane.unique_namespace().await?;
        let next = || Ipv4Addr::new(198, 19, 210, NEXT.fetch_add(1, Ordering::Relaxed));
        let addresses = [next(), next()];
        let [old, new] = addresses;
        let backends = [
            serve_backend((old, 8080).into(), System::Legacy, "old").await?,
            serve_backend((new, 8080).into(), System::New, "new").await?,
        ];
        let host = format!("{namespace}.example.com");
        let client = bed.plane.admin().await?;
        let shop = Self { bed, namespace, host, client, addresses, backends };
        shop.apply(
            "
apiVersion: v1
kind: Service
metadata: {name: old}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: new}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
",
        )
        .await?;
        shop.ready("old", true).await?;
        shop.ready("new", true).await?;
        Ok(shop)
    }

    /// Where a side answers.
    pub(super) fn address(&self, side: &str) -> Ipv4Addr {
        self.addresses[usize::from(side == "new")]
    }

    pub(super) async fn apply(&self, yaml: &str) -> Result<()> {
        self.bed.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    /// Makes the only endpoint of a side ready, or not.
    pub(super) async fn ready(&self, side: &str, ready: bool) -> Result<()> {
        let address = self.address(side);
        self.apply(&format!(
            "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {side}, labels: {{kubernetes.io/service-name: {side}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: {ready}}}}}]
"
        ))
        .await
    }

    /// A split of the shop's host on both routers.
    pub(super) async fn split(&self, name: &str, more: &str) -> Result<()> {
        let host = &self.host;
        self.apply(&format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: {name}}}
spec:
  hosts: [{host}]
  legacy: {{service: {{name: old, port: 80}}}}
  new: {{service: {{name: new, port: 80}}}}
{more}
"
        ))
        .await
    }

    pub(super) async fn managed(&self, name: &str, new_weight: i32) -> Result<()> {
        self.managed_on(&BOTH, name, new_weight).await
    }

    pub(super) async fn managed_on(&self, routers: &[Router], name: &str, new_weight: i32) -> Result<()> {
        self.split(name, &format!("  newWeight: {new_weight}\n  routers: {}", Router::spec(routers))).await
    }

    /// A split `storefront` without weight, attached to the Ingress and to the rule `all` of the HTTPRoute of this name, once it is at rest.
    pub(super) async fn attached_to(&self, name: &str) -> Result<()> {
        let routers = format!(
            "
  newWeight: 0
  routers:
  - ingressNginx: {{attach: {{ingress: {name}}}}}
  - gatewayApi: {{attach: {{route: {name}, rule: all}}}}
"
        );
        self.split("storefront", &routers).await?;
        self.carries("storefront", 0).await.map(drop)
    }

    pub(super) fn splits(&self) -> Api<TrafficSplit> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn set_weight(&self, name: &str, new_weight: i32) -> Result<()> {
        self.edit(name, json!({"spec": {"newWeight": new_weight}})).await
    }

    pub(super) async fn edit(&self, name: &str, patch: Value) -> Result<()> {
        self.splits().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(super) async fn status(&self, name: &str) -> Result<TrafficSplitStatus> {
        self.splits().get(name).await?.status.context("no status yet")
    }

    /// Takes the whole status away, as a restored backup does.
    pub(super) async fn wipe_status(&self, name: &str) -> Result<()> {
        let mut split = self.splits().get(name).await?;
        split.status = None;
        split.metadata.managed_fields = None;
        self.splits().replace_status(name, &PostParams::default(), &split).await?;
        Ok(())
    }

    /// Waits until the split's status is as `expected` says.
    pub(super) async fn until(
        &self,
        name: &str,
        what: &str,
        expected: impl Fn(&TrafficSplitStatus) -> bool,
    ) -> Result<TrafficSplitStatus> {
        eventually(&format!("{name}: {what}"), Duration::from_secs(20), || async {
            let split = self.splits().get(name).await?;
            let status = split.status.context("no status yet")?;
            ensure!(status.observed_generation == split.metadata.generation, "of an older generation: {status:#?}");
            ensure!(expected(&status), "{status:#?}");
            Ok(status)
        })
        .await
    }

    /// Waits until every route carries the weight and the split is at rest.
    pub(super) async fn carries(&self, name: &str, weight: i32) -> Result<TrafficSplitStatus> {
        self.until(name, &format!("carries {weight}"), |status| {
            status.applied_weight == Some(weight) && condition(status, "Ready").is_some_and(|(is, ..)| is == "True")
        })
        .await
    }

    pub(super) fn objects(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        self.objects_of(group, "v1", kind)
    }

    pub(super) fn objects_of(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(super) fn ingresses(&self) -> Api<DynamicObject> {
        self.objects("networking.k8s.io", "Ingress")
    }

    pub(super) fn http_routes(&self) -> Api<DynamicObject> {
        self.objects("gateway.networking.k8s.io", "HTTPRoute")
    }

    /// The weights of an HTTPRoute's last rule, by Service.
    pub(super) async fn route_weights(&self, name: &str) -> Result<Vec<(String, i64)>> {
        let route = self.http_routes().get(name).await?;
        let rules = route.data["spec"]["rules"].as_array().context("no rules")?.clone();
        let backends = rules.last().context("no rule")?["backendRefs"].as_array().context("no backends")?.clone();
        Ok(backends
            .iter()
            .map(|backend| {
                (backend["name"].as_str().unwrap_or_default().to_owned(), backend["weight"].as_i64().unwrap_or(1))
            })
            .collect())
    }

    pub(super) async fn canary_weight(&self, name: &str) -> Result<Option<String>> {
        let canary = self.ingresses().get_opt(&format!("{name}-cutover-canary")).await?;
        Ok(canary
            .and_then(|canary| canary.metadata.annotations?.get("nginx.ingress.kubernetes.io/canary-weight").cloned()))
    }

    /// Load on the routers' entry points, each 200 requests a second.
    pub(super) fn load_on(&self, routers: &[Router]) -> Result<LoadGenerator> {
        let stream = |router: &Router| {
            let entry = router.entry(&self.bed.entry);
            Stream::new(router.name(), entry, self.host.clone()).router(router.name()).rate(200)
        };
        LoadGenerator::start(LoadOptions::default(), routers.iter().map(stream))
    }

    /// Looks at answers for a path until it has seen those of both sides: weighted by turns, a few are of both.
    pub(super) async fn of_both_sides(
        &self,
        entry: SocketAddr,
        path: &str,
        look: impl Fn(&Response) -> Result<()>,
    ) -> Result<()> {
        let mut sides = BTreeSet::new();
        for _ in 0..20 {
            let answer = http::get(entry, &self.host, path).await?;
            look(&answer)?;
            let by = answer.headers().get("x-served-by").context("no x-served-by")?.to_str()?;
            sides.insert(by.to_owned());
        }
        ensure!(sides.len() == 2, "{sides:?}");
        Ok(())
    }

    /// Waits until the routers' entry points answer for the host.
    pub(super) async fn served_on(&self, routers: &[Router]) -> Result<()> {
        for router in routers {
            eventually("the host is served", Duration::from_secs(20), || async {
                let answer = http::get(router.entry(&self.bed.entry), &self.host, "/").await?;
                ensure!(answer.status() == 200, "{}", answer.status());
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The share of the new side on each router of the load, from `since` on, is within 2 points of `percent`.
    pub(super) async fn shares(&self, load: &LoadGenerator, since: Instant, percent: f64) -> Result<()> {
        for router in load.whole().by_stream().into_keys() {
            let window = load.window_from(since).streams([router.as_str()]);
            window.wait_for(SAMPLE).await?;
            let share = window.share_new().context("nothing was answered")? * 100.0;
            ensure!(
                (share - percent).abs() <= 2.0,
                "{router}: {share:.1} % instead of {percent} %\n{}",
                window.counts()
            );
        }
        Ok(())
    }
}

/// Waits until an object has these weights, by Service.
pub(super) async fn weights_are<F>(what: &str, expected: &[(&str, i64)], read: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<Vec<(String, i64)>>>,
{
    eventually(&format!("{what} has {expected:?}"), Duration::from_secs(60), || async {
        let weights = read().await?;
        let found: Vec<_> = weights.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
        ensure!(found == expected, "{found:?}");
        Ok(())
    })
    .await
}

/// Status, reason and message of a condition.
pub(super) fn condition<'a>(status: &'a TrafficSplitStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&condition.status, &condition.reason, &condition.message))
}
