//! A component that the operator runs: what of a pod can be said, in short form and in long.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::super::{
    forms::{COMMIT_PATTERN, HEALTH_PATH_PATTERN, IMAGE_PATTERN, LABEL_PATTERN},
    schema::any_object,
};
use crate::HumanDuration;

/// A component that the operator runs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Container image, such as `registry.example.com/storefront:1.4.2`.
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE_PATTERN))]
    pub image: String,
    /// Commit that the image was built from, for the deployment manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = COMMIT_PATTERN))]
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
    #[schemars(length(min = 1, max = 1024), regex(pattern = HEALTH_PATH_PATTERN))]
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
