//! What legacy and new components share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{
    forms::{
        CA_BUNDLE_MESSAGE, CA_BUNDLE_RULE, CA_BUNDLE_URL_MESSAGE, CA_BUNDLE_URL_RULE, DATA_KEY_PATTERN, NAME_PATTERN,
        POINTER_PATTERN, URL_PATTERN,
    },
    job::job,
    schema::Instant,
};
use crate::HumanDuration;

/// What legacy and new components share.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shared {
    /// The database that both systems use.
    pub database: Database,
}

/// A database that both systems use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// Its schema.
    pub schema: DatabaseSchema,
}

/// The schema of a database.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSchema {
    /// Where its version is read. Phases compare it with `gates.schema`.
    pub from: SchemaSource,
}

/// Where the version of a schema is read: exactly one of `configMap`, `http` and `job`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.configMap), has(self.http), has(self.job)].filter(given, given).size() == 1").message("the version is read from exactly one of configMap, http and job"))]
pub struct SchemaSource {
    /// A ConfigMap that whoever migrates the database writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// An HTTP server that is asked again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpVersion>,
    /// A Job that is run again and again, and prints the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobVersion>,
}

/// A number in an answer of JSON. The operator asks, and only addresses that its configuration allows.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(CA_BUNDLE_URL_RULE).message(CA_BUNDLE_URL_MESSAGE).field_path(".caBundle")
)]
pub struct HttpVersion {
    /// What is asked, such as `http://api.shop.svc:8080/api/schema`. Without user name, password and fragment.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// Where the version is in the answer, as a JSON pointer (RFC 6901) such as `/version`. A whole number.
    #[schemars(length(min = 1, max = 256), regex(pattern = POINTER_PATTERN))]
    pub pointer: String,
    /// Time between two requests. Default `1m`, at least `1s`.
    #[serde(default = "a_minute")]
    #[x_kube(validation = Rule::new("self != '0s'").message("interval must be at least 1s"))]
    pub interval: HumanDuration,
    /// How long the answer may take. Default `5s`, range `1s` to `30s`.
    #[serde(default = "five_seconds")]
    pub timeout: HumanDuration,
    /// Certificates in PEM of the authorities that the server's certificate is judged by, instead of the public ones and the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    #[x_kube(validation = Rule::new(CA_BUNDLE_RULE).message(CA_BUNDLE_MESSAGE))]
    pub ca_bundle: Option<String>,
}

/// A Job whose first container prints the version as the last line of its output: a whole number, such as `43`. It may run at any time,
/// also twice: it must do no harm.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobVersion {
    /// Spec of a Job: one pod that is not restarted. When its last line is no version, or it fails, that line is shown in the status:
    /// it must not print secrets.
    #[schemars(schema_with = "job")]
    pub spec: Value,
    /// Time from the start of one Job to that of the next, which waits until the one before has ended. Default `10m`, at least `1s`.
    #[serde(default = "ten_minutes")]
    #[x_kube(validation = Rule::new("self != '0s'").message("interval must be at least 1s"))]
    pub interval: HumanDuration,
    /// How long the Job may take; after longer the version is not known. Default `1m`, range `1s` to `10m`.
    #[serde(default = "a_minute")]
    #[x_kube(validation = Rule::new("self != '0s'").message("timeout must be at least 1s"))]
    pub timeout: HumanDuration,
}

const fn ten_minutes() -> HumanDuration {
    HumanDuration::from_secs(600)
}

const fn a_minute() -> HumanDuration {
    HumanDuration::from_secs(60)
}

const fn five_seconds() -> HumanDuration {
    HumanDuration::from_secs(5)
}

/// A value in a ConfigMap of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap. It needs the label `cutover.dev/schema-version: "true"`: the operator looks at no other.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Key under which the version is, a whole number such as `43`.
    #[schemars(length(min = 1, max = 253), regex(pattern = DATA_KEY_PATTERN))]
    pub key: String,
}

/// The version of the database's schema, as last read.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SchemaStatus {
    /// The version; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Since when it is what it is.
    pub at: Instant,
    /// Why it cannot be read, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}
