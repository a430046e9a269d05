//! Asking a side itself whether it is there.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{
    forms::{CA_BUNDLE_MESSAGE, CA_BUNDLE_RULE, CA_BUNDLE_URL_MESSAGE, CA_BUNDLE_URL_RULE, HOST_PATTERN, URL_PATTERN},
    migration_phase::StatusRange,
};
use crate::HumanDuration;

/// Asks a side whether it is there: exactly one of `http` and `tcp`. For sides outside of the cluster, whose endpoints are ready because
/// they are published. While the answer is no, none of the side's endpoints counts as ready. The operator asks, and only addresses that
/// its configuration allows; while it may not, or cannot know, the endpoints count as they are and the split says so.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.http) != has(self.tcp)").message("a probe is exactly one of http and tcp")
)]
pub struct SideProbe {
    /// A GET whose answer has an expected status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// A connection that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Time from one question to the next. Default `2s`, at least `1s`.
    #[serde(default = "two_seconds")]
    #[x_kube(validation = Rule::new("self != '0s'").message("interval must be at least 1s"))]
    pub interval: HumanDuration,
    /// How long the answer may take. Default `2s`, at least `1s`.
    #[serde(default = "two_seconds")]
    #[x_kube(validation = Rule::new("self != '0s'").message("timeout must be at least 1s"))]
    pub timeout: HumanDuration,
    /// Answers in a row that say no before it counts. Default 2, range 1 to 10. One yes is enough to count again.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 10))]
    pub fail_after: i32,
}

/// A GET.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(CA_BUNDLE_URL_RULE).message(CA_BUNDLE_URL_MESSAGE).field_path(".caBundle")
)]
pub struct HttpProbe {
    /// What is asked, such as `https://app-01.dc.example.com/health`. Without user name, password and fragment.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// Status codes that mean yes. Default 200 to 299.
    #[serde(default)]
    pub expect_status: StatusRange,
    /// Certificates in PEM of the authorities that the server's certificate is judged by, instead of the public ones and the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    #[x_kube(validation = Rule::new(CA_BUNDLE_RULE).message(CA_BUNDLE_MESSAGE))]
    pub ca_bundle: Option<String>,
}

/// A connection.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// Host name or IPv4 address, such as `app-01.dc.example.com`.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST_PATTERN))]
    pub host: String,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

const fn two_seconds() -> HumanDuration {
    HumanDuration::from_secs(2)
}

const fn two() -> i32 {
    2
}
