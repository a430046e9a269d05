//! Puts a finalizer of ours on an object, and takes it off. The list of finalizers is replaced under the object's UID and
//! resourceVersion: an outdated list is a conflict (409), so that nobody else's finalizer is lost.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Whether `finalizer` is on.
#[must_use]
pub fn is_on<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.finalizers().iter().any(|name| name == finalizer)
}

/// Puts `finalizer` on: from then on a deletion waits for us. Returns the object with it.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn put_on<K>(client: &Client, manager: &str, object: &K, finalizer: &str) -> kube::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    let names = object.finalizers().iter().map(String::as_str).chain([finalizer]);
    replace(client, manager, object, names.collect()).await
}

/// Takes `finalizer` off: what had to be done is done. An object that is gone already is as good.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn take_off<K>(client: &Client, manager: &str, object: &K, finalizer: &str) -> kube::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    let names = object.finalizers().iter().map(String::as_str).filter(|name| *name != finalizer);
    match replace(client, manager, object, names.collect()).await {
        Err(error) if super::is_not_found(&error) => Ok(()),
        answer => answer.map(drop),
    }
}

async fn replace<K>(client: &Client, manager: &str, object: &K, names: Vec<&str>) -> kube::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let body = json!({"metadata": {
        "uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": names,
    }});
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    api.patch(&object.name_any(), &params, &Patch::Merge(&body)).await
}
