//! The ConfigMap: configuration and discovery variables of the whole environment.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use crate::environment::{discovery, validate::Validated};

/// The ConfigMap. `lingering`: keys that left the spec and that pods of a former template may still read when one of their
/// containers is started again.
#[must_use]
pub fn build_config_map(environment: &Validated, lingering: &BTreeMap<String, String>) -> ConfigMap {
    let identity = &environment.identity;
    let mut data = lingering.clone();
    data.extend(discovery::all(environment));
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(identity.config_map()),
            namespace: Some(identity.namespace.clone()),
            labels: Some(identity.labels()),
            annotations: Some(identity.annotations()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}
