//! Short cuts for what most tests do with the API: apply YAML, install definitions, get a namespace.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
    runtime::{conditions, wait::await_condition},
};
use serde::Deserialize;
use serde_json::json;

use super::ControlPlane;

/// The field manager of everything that tests apply.
pub const FIELD_MANAGER: &str = "testkit";

const TIMEOUT: Duration = Duration::from_secs(90);

/// What discovery said about each kind, asked once.
#[derive(Debug, Default)]
pub(super) struct Resources(Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>);

impl Resources {
    async fn find(&self, client: &Client, gvk: &GroupVersionKind) -> Result<(ApiResource, Scope)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(gvk).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (resource, capabilities) = discovery::pinned_kind(client, gvk)
            .await
            .with_context(|| format!("the API server does not know {} of {}", gvk.kind, gvk.api_version()))?;
        let found = (resource, capabilities.scope);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(gvk.clone(), found.clone());
        Ok(found)
    }
}

static NAMESPACES: AtomicU32 = AtomicU32::new(1);

impl ControlPlane {
    /// Makes a namespace that nobody else uses, and waits until pods could be made in it.
    ///
    /// # Errors
    /// When the API server or the controller manager does not do its part.
    pub async fn unique_namespace(&self) -> Result<String> {
        let client = self.admin().await?;
        let name = format!("test-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts = Api::<ServiceAccount>::namespaced(client, &name);
        let made = await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some());
        tokio::time::timeout(TIMEOUT, made).await.context("no default service account")??;
        Ok(name)
    }

    /// Applies all documents of a YAML text by server-side apply, as the administrator and by force. Objects of
    /// namespaced kinds without a namespace go to `namespace`.
    ///
    /// # Errors
    /// At the first document that is not accepted.
    pub async fn apply_yaml(&self, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
        self.apply_yaml_as(&self.admin().await?, namespace, yaml).await
    }

    /// [`ControlPlane::apply_yaml`] with a client of one's own.
    ///
    /// # Errors
    /// At the first document that is not accepted.
    pub async fn apply_yaml_as(&self, client: &Client, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
        let mut applied = Vec::new();
        for object in parse(yaml)? {
            applied.push(self.apply_object(client, namespace, &object).await?);
        }
        Ok(applied)
    }

    async fn apply_object(&self, client: &Client, namespace: &str, object: &DynamicObject) -> Result<DynamicObject> {
        let types = object.types.as_ref().context("an object without apiVersion and kind")?;
        let gvk = GroupVersionKind::try_from(types)?;
        let (resource, scope) = self.resources.find(client, &gvk).await?;
        let api = match scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or(namespace);
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
        };
        let name = object.metadata.name.as_deref().context("an object without a name")?;
        api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object))
            .await
            .with_context(|| format!("{} {name} is not accepted", gvk.kind))
    }

    /// Applies the custom resource definitions (and whatever else) of these files, and waits until they are served.
    ///
    /// # Errors
    /// When a file cannot be read, is not accepted, or a definition is not established in time.
    pub async fn install_definitions(&self, files: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
        let client = self.admin().await?;
        let mut objects = Vec::new();
        for file in files {
            let file = file.as_ref();
            let yaml = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            objects.extend(parse(&yaml).with_context(|| file.display().to_string())?);
        }
        let install = |object| install_definition(self, &client, object);
        stream::iter(&objects).map(Ok).try_for_each_concurrent(8, install).await
    }
}

async fn install_definition(plane: &ControlPlane, client: &Client, object: &DynamicObject) -> Result<()> {
    let object = plane.apply_object(client, "default", object).await?;
    if object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition") {
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        let name = object.name_any();
        let established = await_condition(definitions, &name, conditions::is_crd_established());
        tokio::time::timeout(TIMEOUT, established).await.with_context(|| format!("{name} is not established"))??;
    }
    Ok(())
}

/// The objects of a YAML text; empty documents are left out.
fn parse(yaml: &str) -> Result<Vec<DynamicObject>> {
    serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|document| serde_json::Value::deserialize(document).context("not YAML"))
        .filter(|value| !matches!(value, Ok(serde_json::Value::Null)))
        .map(|value| serde_json::from_value(value?).context("not a Kubernetes object"))
        .collect()
}
