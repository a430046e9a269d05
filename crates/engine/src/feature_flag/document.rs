//! The ConfigMap that all flags of an environment are in.

use std::collections::BTreeMap;

use cutover_api::labels;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Value, json};

use super::definition::{owner_of, sorted};
use crate::hash::short_hash;

/// Key of the ConfigMap that holds the definition.
pub const FILE: &str = "flags.json";
/// Value of the label that names the kind it was made for.
pub const KIND: &str = "FeatureFlag";
/// The schema that the definition follows.
const SCHEMA: &str = "https://flagd.dev/schema/v0/flags.json";
/// Bytes of a definition: a ConfigMap holds 1 MiB in all.
pub const LARGEST: usize = 1_000_000;

/// Flags by key, in published form.
pub type Flags = BTreeMap<String, Value>;

/// Name of the ConfigMap of an environment's flags.
#[must_use]
pub fn config_map_name(environment: &str) -> String {
    format!("{environment}-flags")
}

/// A ConfigMap of flags, as observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapView {
    /// UID.
    pub uid: String,
    /// `resourceVersion`.
    pub version: String,
    /// Environment whose flags it holds; `None` for one that is not ours.
    pub environment: Option<String>,
    /// The definition.
    pub file: Option<String>,
}

impl ConfigMapView {
    /// The view of a ConfigMap.
    #[must_use]
    pub fn of(config_map: &ConfigMap) -> Self {
        let meta = &config_map.metadata;
        let label = |key: &str| meta.labels.as_ref().and_then(|all| all.get(key)).map(String::as_str);
        let ours =
            label(labels::MANAGED_BY) == Some(labels::MANAGED_BY_VALUE) && label(labels::OWNER_KIND) == Some(KIND);
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            environment: label(labels::ENVIRONMENT).filter(|_| ours).map(str::to_owned),
            file: config_map.data.as_ref().and_then(|data| data.get(FILE)).cloned(),
        }
    }

    /// The flags in it. What cannot be read is not there.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let parsed: Option<Value> = self.file.as_deref().and_then(|file| serde_json::from_str(file).ok());
        let flags = parsed.as_ref().and_then(|document| document.get("flags")).and_then(Value::as_object);
        flags.into_iter().flatten().map(|(key, flag)| (key.clone(), flag.clone())).collect()
    }
}

/// The flag of a FeatureFlag in a definition, with its key.
#[must_use]
pub fn published<'a>(flags: &'a Flags, name: &str) -> Option<(&'a String, &'a Value)> {
    flags.iter().find(|(_, flag)| owner_of(flag) == Some(name))
}

/// The definition of these flags, byte for byte the same for the same flags.
#[must_use]
pub fn document(namespace: &str, environment: &str, flags: &Flags) -> String {
    let document = json!({
        "$schema": SCHEMA,
        "flags": flags,
        "metadata": { "flagSetId": format!("{namespace}/{environment}"), "version": short_hash(flags) },
    });
    let mut text = serde_json::to_string_pretty(&sorted(&document)).unwrap_or_default();
    text.push('\n');
    text
}

/// The ConfigMap. It belongs to all flags of the environment and to none alone, so it bears no owner's UID; it stays, empty, when
/// the last flag goes: whoever reads it then falls back to the defaults in the code, where a missing file would leave the
/// last flags in force.
#[must_use]
pub fn build_config_map(namespace: &str, environment: &str, file: String) -> ConfigMap {
    let marks = [
        (labels::MANAGED_BY, labels::MANAGED_BY_VALUE),
        (labels::OWNER_KIND, KIND),
        (labels::ENVIRONMENT, environment),
        ("app.kubernetes.io/part-of", environment),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(config_map_name(environment)),
            namespace: Some(namespace.to_owned()),
            labels: Some(marks.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(FILE.to_owned(), file)])),
        ..ConfigMap::default()
    }
}
