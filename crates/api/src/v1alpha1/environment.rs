//! Environment: which components exist, and how they are run or reached.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::schema::{Instant, LABEL_PATTERN, any_object, conditions, texts};
use crate::HumanDuration;

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
    /// Configuration for the components that the operator runs: environment variables by name. At most 128. No secrets: use `envFrom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts", extend("maxProperties" = 128))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) <= 128 && k.matches('^[A-Za-z_][A-Za-z0-9_]*$'))").message("keys are names of environment variables: letters, digits and underscores, not beginning with a digit, at most 128"))]
    pub config: BTreeMap<String, String>,
    /// Where the environment is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
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

/// One component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Name, unique in the environment, at most 30 characters, such as `storefront`.
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Which system it belongs to.
    pub system: System,
    /// What it does. Default `Other`.
    #[serde(default)]
    pub role: Role,
    /// How it is run or reached: exactly one way.
    pub source: Source,
    /// Components that it calls: their addresses are given to it as environment variables, such as `API_URL`. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 30), regex(pattern = LABEL_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub calls_to: Vec<String>,
    /// Components that must be ready before this one is started. It goes on running if one of them fails later. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 30), regex(pattern = LABEL_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub depends_on: Vec<String>,
}

/// Which system a component belongs to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// The system that is replaced.
    Legacy,
    /// The system that replaces it.
    New,
    /// Used by both.
    Shared,
}

impl System {
    /// The value of the label and of the metrics' `system`, such as `new`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::New => "new",
            Self::Shared => "shared",
        }
    }
}

/// What a component does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// All of the legacy system.
    Monolith,
    /// What users see.
    Frontend,
    /// What frontends call.
    Api,
    /// Works in the background.
    Worker,
    /// Keeps the data.
    Database,
    /// Keeps copies of data.
    Cache,
    /// Keeps files.
    ObjectStorage,
    /// Content delivery network.
    Cdn,
    /// The way in.
    Gateway,
    /// Evaluates feature flags.
    FlagService,
    /// Observes the rest.
    Monitoring,
    /// Anything else.
    #[default]
    Other,
}

impl Role {
    /// The value of the label, such as `Frontend`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monolith => "Monolith",
            Self::Frontend => "Frontend",
            Self::Api => "Api",
            Self::Worker => "Worker",
            Self::Database => "Database",
            Self::Cache => "Cache",
            Self::ObjectStorage => "ObjectStorage",
            Self::Cdn => "Cdn",
            Self::Gateway => "Gateway",
            Self::FlagService => "FlagService",
            Self::Monitoring => "Monitoring",
            Self::Other => "Other",
        }
    }
}

/// How a component is run or reached: exactly one of `workload`, `service` and `external`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.workload), has(self.service), has(self.external)].filter(x, x).size() == 1").message("a source is exactly one of workload, service and external"))]
pub struct Source {
    /// The operator runs it: a Deployment and a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// A Service of the same namespace that somebody else keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSource>,
    /// Outside the cluster: a Service without selector, and its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalSource>,
}

/// A component that the operator runs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Container image, such as `registry.example.com/storefront:1.4.2`.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    pub image: String,
    /// Commit that the image was built from, for the deployment manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub commit: Option<String>,
    /// Number of pods. Default 1, range 0 to 1000.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Ports; the first is the one that traffic goes to. 1 to 16, names unique.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub ports: Vec<WorkloadPort>,
    /// How its health is asked.
    #[serde(default)]
    pub health: Health,
    /// CPU and memory, as in a container.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "read_resources")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
    /// Command instead of the image's. At most 64 words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments instead of the image's. At most 64 words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment variables, as in a container. They win over `config` and discovery. At most 128.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "env_vars")]
    pub env: Vec<EnvVar>,
    /// Sources of environment variables (ConfigMaps, Secrets), as in a container. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "env_from")]
    pub env_from: Vec<EnvFromSource>,
    /// Anything else of a pod: a PodTemplateSpec merged over what the operator builds, the way a strategic merge patch is. The
    /// container is named `app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub pod_template: Option<Value>,
}

const fn default_replicas() -> i32 {
    1
}

/// What the API server reads as a quantity.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = |description: &str| {
        json_schema!({
            "type": "object", "maxProperties": 16, "description": description,
            "additionalProperties": {"x-kubernetes-int-or-string": true, "maxLength": 64, "pattern": QUANTITY_PATTERN},
        })
    };
    json_schema!({
        "type": "object",
        "properties": {
            "requests": quantities("What is reserved, by resource, such as `cpu: 100m`."),
            "limits": quantities("What may be used at most, by resource, such as `memory: 256Mi`."),
        },
    })
}

/// Quantities may be written as numbers (`cpu: 1`), which the API server stores as they are.
fn read_resources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ResourceRequirements>, D::Error> {
    let Some(mut value) = Option::<Value>::deserialize(deserializer)? else { return Ok(None) };
    for list in ["requests", "limits"] {
        for quantity in value.get_mut(list).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
        {
            if let Value::Number(number) = quantity {
                *quantity = Value::String(number.to_string());
            }
        }
    }
    serde_json::from_value(value).map(Some).map_err(serde::de::Error::custom)
}

fn env_vars(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 128,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the variable."},
                "value": {"type": "string", "maxLength": 4096, "description": "Its value. Default: empty."},
                "valueFrom": {
                    "type": "object", "maxProperties": 4, "x-kubernetes-preserve-unknown-fields": true,
                    "description": "Where its value comes from, as in a container: `configMapKeyRef`, `secretKeyRef`, `fieldRef` …",
                },
            },
        },
    })
}

fn env_from(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {"type": "object", "maxProperties": 4, "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// A port of a workload.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadPort {
    /// Name, such as `http`.
    #[schemars(length(min = 1, max = 15), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Port that the container listens on, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub container_port: i32,
    /// Port of the Service. Default: `containerPort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub service_port: Option<i32>,
}

/// How a component's health is asked: readiness and liveness by HTTP GET.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// Path that answers 200 to 399 when healthy. Default `/api/health`.
    #[serde(default = "default_health_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// Name of the port. Default: the first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = LABEL_PATTERN))]
    pub port: Option<String>,
    /// Time between two questions. Default `10s`.
    #[serde(default = "default_health_interval")]
    pub interval: HumanDuration,
    /// `false`: no liveness probe, so that a slow component is taken out of service but not restarted. Default `true`.
    #[serde(default = "default_true")]
    pub liveness: bool,
}

fn default_health_path() -> String {
    "/api/health".into()
}

const fn default_health_interval() -> HumanDuration {
    HumanDuration::from_secs(10)
}

const fn default_true() -> bool {
    true
}

impl Default for Health {
    fn default() -> Self {
        Self { path: default_health_path(), port: None, interval: default_health_interval(), liveness: true }
    }
}

/// A Service of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSource {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Number of the Service's port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

/// Something outside the cluster, reached by IP address.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalSource {
    /// IPv4 or IPv6 addresses, all of one family. 1 to 64. Loopback, link-local and cluster addresses are refused.
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 45)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(a, isIP(a))").message("addresses must be IP addresses; host names are not supported yet"),
        validation = Rule::new("self.all(a, !isIP(a) || (!ip(a).isLoopback() && !ip(a).isUnspecified() && !ip(a).isLinkLocalUnicast() && !ip(a).isLinkLocalMulticast()))").message("loopback, unspecified and link-local addresses are refused"),
        validation = Rule::new("!self.all(a, isIP(a)) || self.all(a, ip(a).family() == 4) || self.all(a, ip(a).family() == 6)").message("addresses must be of one family, all IPv4 or all IPv6")
    )]
    pub addresses: Vec<String>,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
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

/// What runs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` and `PruneBlocked`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Ready components of all, such as `4/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready_components: Option<String>,
    /// Per component, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub components: Vec<ComponentStatus>,
    /// What is deployed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// One component as observed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Name of the component.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its system.
    pub system: System,
    /// Whether it can take traffic.
    pub ready: bool,
    /// Ready pods or addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Pods or addresses that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The Service and port that it is reached by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSource>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub url: Option<String>,
    /// Image that is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// Commit of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub commit: Option<String>,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Whether it carries traffic of a split or a released route, or is what a rollback leads back to. While one component is in use
    /// the environment cannot be deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_use: bool,
}

/// What is deployed as a whole.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// When what is deployed last changed.
    pub last_applied: Instant,
    /// Hash over versions, images and commits.
    #[schemars(length(max = 128))]
    pub hash: String,
}
