//! What is done with requests at the edge, whichever side they go to.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::forms::LINE_PATTERN,
    cors::Cors,
    failure::{CircuitBreaker, Retries},
    rate_limit::RateLimit,
};
use crate::HumanDuration;

/// What is done with requests and answers at the edge, on both sides alike. What a router cannot do is refused by name; docs/routers.md has
/// the table.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edge {
    /// How many requests one client address may send; what is more is answered with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How long the edge waits for a backend; after that it answers with 504.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Headers that every answer bears, in place of what a side may set itself. `{}`: those that have a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_headers: Option<SecurityHeaders>,
    /// Which pages of other origins may ask, and for what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Requests that are sent again when a side fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// When a side that fails is not asked for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Whether requests without TLS are answered with a redirect to `https`. Default false; `ingressNginx` with `tls` redirects by itself,
    /// as ingress-nginx does, unless its annotation `nginx.ingress.kubernetes.io/ssl-redirect` is `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls_redirect: bool,
}

/// How long the edge waits for a backend.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.connect) || has(self.read)").message("timeouts without connect and read say nothing: set one of them"))]
pub struct Timeouts {
    /// For a connection to be made. `1s` to `75s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.contains('d') && duration(self) >= duration('1s') && duration(self) <= duration('75s')").message("connect must be from 1s to 75s"))]
    pub connect: Option<HumanDuration>,
    /// For the next part of an answer. `1s` to `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.contains('d') && duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("read must be from 1s to 1h"))]
    pub read: Option<HumanDuration>,
}

/// Headers that browsers act on. `X-Content-Type-Options: nosniff` and `X-XSS-Protection: 1; mode=block` are always among them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityHeaders {
    /// `X-Frame-Options`: who may show a page in a frame. Default `Deny`.
    #[serde(default)]
    pub frame_options: FrameOptions,
    /// `Referrer-Policy`. Default `strict-origin-when-cross-origin`.
    #[serde(default = "default_referrer_policy")]
    #[schemars(length(min = 1, max = 128), regex(pattern = LINE_PATTERN))]
    pub referrer_policy: String,
    /// `Permissions-Policy`. Default `geolocation=(), microphone=(), camera=()`.
    #[serde(default = "default_permissions_policy")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = LINE_PATTERN))]
    pub permissions_policy: String,
    /// `Content-Security-Policy`, such as `default-src 'self'`. Left out by default: what a page loads, only its makers know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = LINE_PATTERN))]
    pub content_security_policy: Option<String>,
    /// `Strict-Transport-Security`. Left out by default: browsers that have seen it refuse plain HTTP until its time is over, whatever is
    /// changed here. Begin with minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict_transport_security: Option<StrictTransportSecurity>,
}

/// Who may show a page in a frame.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameOptions {
    /// Nobody.
    #[default]
    Deny,
    /// Pages of the same origin.
    SameOrigin,
}

/// For how long browsers are to ask by HTTPS only.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StrictTransportSecurity {
    /// For so long after each answer, such as `5m` to begin with and `365d` in the end.
    pub max_age: HumanDuration,
    /// Whether hosts below this one are meant too. Default false.
    #[serde(default)]
    pub include_sub_domains: bool,
}

fn default_referrer_policy() -> String {
    "strict-origin-when-cross-origin".to_owned()
}

fn default_permissions_policy() -> String {
    "geolocation=(), microphone=(), camera=()".to_owned()
}
