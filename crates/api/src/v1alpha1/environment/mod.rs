//! Environment: which components exist, and how they are run or reached.

mod checklist;
mod component;
mod external_tls;
mod migration;
mod shared;
mod status;
mod workload;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    checklist::{Attestation, ChecklistItem, ChecklistState, ChecklistStatus},
    component::{Component, ExternalSource, IpFamily, Role, ServiceSource, Source, System, Via},
    external_tls::ExternalTls,
    migration::{MigrationOutcome, MigrationRecord},
    shared::{ConfigMapKey, Database, DatabaseSchema, HttpVersion, JobVersion, SchemaSource, SchemaStatus, Shared},
    status::{ComponentStatus, EnvironmentStatus, Manifest, ResolvedStatus},
    workload::{Health, Workload, WorkloadPort},
};
use super::{forms::LABEL_PATTERN, schema::texts};

/// Legacy and new components that live side by side, and how each is run or reached.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "cutover.dev",
    version = "v1alpha1",
    kind = "Environment",
    plural = "environments",
    shortname = "env",
    category = "cutover",
    namespaced,
    status = "EnvironmentStatus",
    derive = "PartialEq",
    doc = "Legacy and new components that live side by side, and how each is run or reached.",
    validation = Rule::new("size(self.metadata.name) <= 30 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS label that begins with a letter, of at most 30 characters: names of Services are made from it"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.manifest.version"),
    printcolumn(name = "Components", type_ = "string", json_path = ".status.readyComponents", description = "Ready components of all"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.components.all(c, !has(c.callsTo) || c.callsTo.all(t, t != c.name && self.components.exists(d, d.name == t)))").message("callsTo must name other components of this environment").field_path(".components"),
    validation = Rule::new("self.components.all(c, !has(c.dependsOn) || c.dependsOn.all(t, t != c.name && self.components.exists(d, d.name == t)))").message("dependsOn must name other components of this environment").field_path(".components")
)]
pub struct EnvironmentSpec {
    /// `Development`, `Staging` or `Production`.
    pub tier: Tier,
    /// Version of the whole, for the deployment manifest, such as `2026.11.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
    /// The components. 1 to 64, names unique.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub components: Vec<Component>,
    /// Configuration for the components that the operator runs and that are `New` or `Shared`: environment variables by name, such as
    /// `LOG_LEVEL: info`. Legacy workloads do not get it: what they read is theirs, in `env` and `envFrom`. At most 128. No secrets: use
    /// `envFrom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts", extend("maxProperties" = 128))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) <= 128 && k.matches('^[A-Za-z_][A-Za-z0-9_]*$'))").message("keys are names of environment variables: letters, digits and underscores, not beginning with a digit, at most 128"))]
    pub config: BTreeMap<String, String>,
    /// What legacy and new components share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Shared>,
    /// Where the environment is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// What people have seen to, for phases that ask for it in `gates.checklist`. Each item once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["item".into()]))]
    pub attestations: Vec<Attestation>,
}

/// Tiers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// For developers.
    Development,
    /// For proof before production.
    Staging,
    /// For users.
    Production,
}

/// Where an environment is measured.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    /// Name of a Prometheus in the operator's configuration (`--prometheus NAME=URL`). Default `default`.
    #[serde(default = "default_prometheus")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub prometheus: String,
}

fn default_prometheus() -> String {
    "default".into()
}

impl Default for Monitoring {
    fn default() -> Self {
        Self { prometheus: default_prometheus() }
    }
}
