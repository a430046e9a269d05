//! A control plane with Cutover installed, a node and a running operator, shared by these tests; each has a namespace of its own.

use std::{sync::LazyLock, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::{Environment, EnvironmentStatus, FeatureFlag, FeatureFlagStatus};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    dns::NameServer,
    eventually,
    node::{NodeOptions, NodeSimulator},
    operator::{Operator, Options},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, Service},
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

static BED: OnceCell<Bed> = OnceCell::const_new();

/// Long enough for pods to come up on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

pub(super) struct Bed {
    pub(super) plane: ControlPlane,
    _node: NodeSimulator,
    _operator: Operator,
    /// Whom the operator asks for host names.
    pub(super) names: NameServer,
}

async fn bed() -> Result<&'static Bed> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    BED.get_or_try_init(|| async { runtime.spawn(start()).await? }).await
}

async fn start() -> Result<Bed> {
    let plane = ControlPlane::start_named("environment").await?;
    crate::installed::install(&plane).await?;
    let node = Identity::User { name: "node-simulator".into(), groups: vec!["system:masters".into()] };
    let node = NodeSimulator::start(plane.config(&node).await?, NodeOptions::default()).await?;
    let names = NameServer::start().await?;
    let options = Options {
        name: "environment-operator".into(),
        flags: vec![
            "--log-level=info,cutover_operator=debug".into(),
            "--forbidden-external-cidrs=198.51.100.0/24".into(),
            format!("--dns-server={}", names.address()),
        ],
        program: None,
    };
    let operator = Operator::start(&plane, options).await?;
    operator.ready().await?;
    Ok(Bed { plane, _node: node, _operator: operator, names })
}

/// A namespace of one test.
pub(super) struct Space {
    pub(super) bed: &'static Bed,
    pub(super) namespace: String,
    pub(super) client: Client,
}

impl Space {
    pub(super) async fn open() -> Result<Self> {
        let bed = bed().await?;
        let namespace = bed.plane.unique_namespace().await?;
        let client = bed.plane.admin().await?;
        Ok(Self { bed, namespace, client })
    }

    /// The namespace admits only pods that pass Pod Security `restricted`.
    pub(super) async fn restricted(self) -> Result<Self> {
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.patch(&self.namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;
        Ok(self)
    }

    pub(super) async fn apply(&self, yaml: &str) -> Result<()> {
        self.bed.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    pub(super) fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn environments(&self) -> Api<Environment> {
        self.all()
    }

    pub(super) fn deployments(&self) -> Api<Deployment> {
        self.all()
    }

    pub(super) fn services(&self) -> Api<Service> {
        self.all()
    }

    pub(super) fn config_maps(&self) -> Api<ConfigMap> {
        self.all()
    }

    pub(super) fn flags(&self) -> Api<FeatureFlag> {
        self.all()
    }

    /// Waits until an environment's status of its present spec is as `expected` says.
    pub(super) async fn until(
        &self,
        name: &str,
        what: &str,
        expected: impl Fn(&EnvironmentStatus) -> bool,
    ) -> Result<EnvironmentStatus> {
        eventually(&format!("{name}: {what}"), PATIENCE, || async {
            let environment = self.environments().get(name).await?;
            let status = environment.status.context("no status yet")?;
            ensure!(status.observed_generation == environment.metadata.generation, "of an older generation");
            ensure!(expected(&status), "{status:#?}");
            Ok(status)
        })
        .await
    }

    pub(super) async fn ready(&self, name: &str) -> Result<EnvironmentStatus> {
        self.until(name, "is ready", |status| is(&status.conditions, "Ready", "True").is_some()).await
    }

    /// Waits until a flag's status of its present spec is as `expected` says.
    pub(super) async fn flag_until(
        &self,
        name: &str,
        what: &str,
        expected: impl Fn(&FeatureFlagStatus) -> bool,
    ) -> Result<FeatureFlagStatus> {
        eventually(&format!("{name}: {what}"), PATIENCE, || async {
            let flag = self.flags().get(name).await?;
            let status = flag.status.context("no status yet")?;
            ensure!(status.observed_generation == flag.metadata.generation, "of an older generation");
            ensure!(expected(&status), "{status:#?}");
            Ok(status)
        })
        .await
    }

    /// The flags that applications read.
    pub(super) async fn published(&self) -> Result<Value> {
        let config_map = self.config_maps().get("production-flags").await?;
        let file = config_map.data.and_then(|mut data| data.remove("flags.json")).context("no flags.json")?;
        Ok(serde_json::from_str::<Value>(&file)?["flags"].take())
    }

    pub(super) async fn edit<K>(&self, name: &str, patch: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.all::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Reason and message of a condition with this status.
pub(super) fn is<'a>(conditions: &'a [Condition], type_: &str, status: &str) -> Option<(&'a str, &'a str)> {
    let condition = conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status)?;
    Some((&condition.reason, &condition.message))
}
