//! Carries a flag's plan out, request by request.

use cutover_api::{
    labels::MANAGER_FEATURE_FLAG,
    v1alpha1::{FeatureFlag, FeatureFlagStatus},
};
use cutover_engine::feature_flag::{ConfigMapView, Write, build_config_map};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};

use crate::{
    cluster::{
        ssa::{self, Ownership, Precondition},
        status::{self, Written},
    },
    controllers::Error,
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
