//! Carries a flag's plan out, request by request.

use cutover_api::{
    labels::{FINALIZER_FEATURE_FLAG, MANAGER_FEATURE_FLAG},
    v1alpha1::{FeatureFlag, FeatureFlagStatus},
};
use cutover_engine::feature_flag::{ConfigMapView, Write, build_config_map};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::error::Error;
use crate::cluster::{
    ssa::{self, Ownership, Precondition},
    status::{self, Written},
};

/// Writes the ConfigMap as it was decided on: what is there in that version, or nothing.
pub(super) async fn publish(
    client: &Client,
    namespace: &str,
    environment: &str,
    write: &Write,
) -> Result<ConfigMapView, Error> {
    let Write { name: _, file, version } = write;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let body = build_config_map(namespace, environment, file.clone());
    // Without force nothing is taken from somebody who was faster.
    let (ownership, precondition) = match version {
        Some(version) => (Ownership::Force, Precondition::Version(version.clone())),
        None => (Ownership::Respect, Precondition::Any),
    };
    let answer = ssa::apply(&api, MANAGER_FEATURE_FLAG, &body, ownership, &precondition).await;
    answer.map(|answer| ConfigMapView::of(&answer)).map_err(|source| Error::Publish { source })
}

/// Writes the status, if it is another; returns the flag with it.
pub(super) async fn write_status(
    client: &Client,
    flag: &FeatureFlag,
    next: &FeatureFlagStatus,
) -> Result<Option<FeatureFlag>, Error> {
    let api: Api<FeatureFlag> = Api::namespaced(client.clone(), &flag.namespace().unwrap_or_default());
    match status::write(&api, MANAGER_FEATURE_FLAG, flag, flag.status.as_ref(), next).await? {
        Written::Unchanged => Ok(None),
        Written::Written(newer) => Ok(Some(*newer)),
    }
}

/// Puts our finalizer on.
pub(super) async fn add_finalizer(client: &Client, flag: &FeatureFlag) -> Result<FeatureFlag, Error> {
    let mut names = flag.finalizers().to_vec();
    names.push(FINALIZER_FEATURE_FLAG.to_owned());
    write_finalizers(client, flag, &names).await
}

/// Takes our finalizer off.
pub(super) async fn remove_finalizer(client: &Client, flag: &FeatureFlag) -> Result<(), Error> {
    let mut names = flag.finalizers().to_vec();
    names.retain(|name| name != FINALIZER_FEATURE_FLAG);
    match write_finalizers(client, flag, &names).await {
        Err(Error::Finalizer { source }) if crate::cluster::is_not_found(&source) => Ok(()),
        other => other.map(drop),
    }
}

async fn write_finalizers(client: &Client, flag: &FeatureFlag, names: &[String]) -> Result<FeatureFlag, Error> {
    let api: Api<FeatureFlag> = Api::namespaced(client.clone(), &flag.namespace().unwrap_or_default());
    let body = json!({"metadata": {
        "uid": flag.uid(), "resourceVersion": flag.resource_version(), "finalizers": names,
    }});
    let params = PatchParams { field_manager: Some(MANAGER_FEATURE_FLAG.to_owned()), ..PatchParams::default() };
    let answer = api.patch(&flag.name_any(), &params, &Patch::Merge(&body)).await;
    answer.map_err(|source| Error::Finalizer { source })
}
