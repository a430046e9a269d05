//! A control plane of the test's own with a proxy, since its API server or its operators may be ended.

use std::{
    fs,
    net::Ipv4Addr,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{MigrationPhase, MigrationPhaseStatus, TrafficSplit, TrafficSplitStatus};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    eventually, http,
    node::{Backend, System, serve_backend},
    operator::{NAMESPACE, Operator, Options},
    tools,
    traefik::{EntryPoints, Traefik},
};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{Api, Client, api::PostParams};
use serde_json::{from_value, json};

use crate::{installed, routers::Router};

const FLAGS: [&str; 5] = [
    "--lease-duration=6s",
    "--lease-renew-deadline=4s",
    "--lease-retry-period=500ms",
    // These tests are about leaders; who may decide is shown elsewhere.
    "--trust-unenforced-policies=true",
    "--log-level=info,cutover_operator=debug",
];
/// Longer than anything takes on a busy machine. Whoever lost the API server for half a minute asks for it again at intervals that have
/// grown to as much.
pub(super) const PATIENCE: Duration = Duration::from_secs(240);

/// A control plane with a proxy, one legacy and one new side outside the cluster, and ways that lead to them.
pub(super) struct Shop {
    pub(super) plane: ControlPlane,
    pub(super) client: Client,
    pub(super) namespace: String,
    /// Legacy's and the new one.
    pub(super) sides: [Backend; 2],
    traefik: Traefik,
}

impl Shop {
    pub(super) async fn open(name: &str) -> Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let plane = ControlPlane::start_named(name).await?;
        let definitions = fs::read_dir(tools::repository().join("crds"))?;
        plane
            .install_definitions(definitions.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?)
            .await?;
        let own: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        let client = plane.admin().await?;
        Api::all(client.clone()).create(&PostParams::default(), &own).await?;
        let traefik = Traefik::start(&plane).await?;
        let namespace = plane.unique_namespace().await?;
        let next = || Ipv4Addr::new(198, 19, 230, NEXT.fetch_add(1, Ordering::Relaxed));
        let addresses = [next(), next()];
        let sides = [
            serve_backend((addresses[0], 8080).into(), System::Legacy, "old").await?,
            serve_backend((addresses[1], 8080).into(), System::New, "new").await?,
        ];
        let shop = Self { plane, client, namespace, sides, traefik };
        for (side, address) in ["old", "new"].into_iter().zip(addresses) {
            shop.apply(&installed::side(side, &address.to_string())).await?;
        }
        Ok(shop)
    }

    pub(super) async fn apply(&self, yaml: &str) -> Result<()> {
        self.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    pub(super) async fn replica(&self, number: usize) -> Result<Operator> {
        self.replica_with(number, None).await
    }

    pub(super) async fn replica_with(&self, number: usize, flag: Option<String>) -> Result<Operator> {
        let name = format!("replica-{number}");
        let identity = Identity::User { name: name.clone(), groups: vec!["system:masters".to_owned()] };
        let flags = FLAGS.iter().map(|flag| (*flag).to_owned()).chain(flag).collect();
        let replica = Operator::start_as(&self.plane, &identity, Options { name, flags, program: None }).await?;
        replica.ready().await?;
        Ok(replica)
    }

    pub(super) fn entries(&self) -> EntryPoints {
        self.traefik.entry_points()
    }

    pub(super) fn host(&self, way: usize) -> String {
        format!("way-{way}.{}.example.com", self.namespace)
    }

    /// A way that carries everything to the legacy side and is served by each of the routers.
    pub(super) async fn way(&self, way: usize, routers: &[Router]) -> Result<()> {
        let host = self.host(way);
        self.apply(&format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: way-{way}}}
spec:
  hosts: [{host}]
  legacy: {{service: {{name: old, port: 80}}}}
  new: {{service: {{name: new, port: 80}}}}
  newWeight: 0
  routers: {}
",
            Router::spec(routers)
        ))
        .await?;
        for router in routers {
            eventually(&format!("way {way} is served by {}", router.name()), PATIENCE, || async {
                let answer = http::get(router.entry(&self.entries()), &host, "/").await?;
                ensure!(answer.status() == 200, "{}", answer.status());
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// A phase that takes the way through these weights, a step `to-<weight>` each; `more` of each step.
    pub(super) async fn phase(&self, way: usize, weights: &[i32], more: &str) -> Result<()> {
        let step = |weight: &i32| {
            format!("  - {{name: to-{weight}, traffic: [{{split: way-{way}, newWeight: {weight}}}], {more}}}\n")
        };
        let steps: String = weights.iter().map(step).collect();
        self.apply(&format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {{name: move-{way}}}
spec:
  steps:
{steps}"
        ))
        .await
    }

    pub(super) fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What the way's phase says.
    pub(super) async fn status(&self, way: usize) -> Result<MigrationPhaseStatus> {
        self.all::<MigrationPhase>().get(&format!("move-{way}")).await?.status.context("no status")
    }

    /// What the way's split says.
    pub(super) async fn split(&self, way: usize) -> Result<TrafficSplitStatus> {
        self.all::<TrafficSplit>().get(&format!("way-{way}")).await?.status.context("no status")
    }

    /// A person's decision about the way's phase.
    pub(super) async fn ask(&self, way: usize, action: &str, step: Option<&str>) -> Result<()> {
        let phase = self.all::<MigrationPhase>().get(&format!("move-{way}")).await?;
        let mut asked = json!({"action": action});
        if let Some(step) = step {
            asked["step"] = step.into();
        }
        let action = installed::decision(&phase, "ana", &asked);
        installed::create(&self.client, &self.namespace, &action, false).await?;
        Ok(())
    }
}
