//! A check that asks an HTTP server.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::{
    CA_BUNDLE_MESSAGE, CA_BUNDLE_RULE, CA_BUNDLE_URL_MESSAGE, CA_BUNDLE_URL_RULE, HEADER_PATTERN, LINE_PATTERN,
    POINTER_PATTERN, URL_PATTERN,
};
use crate::HumanDuration;

/// Asks an HTTP server: the check fails if it does not answer, with another status than expected, or with a number out of bounds.
/// The number is the one at `pointer`; without `pointer` it is the time until the answer, in seconds.
///
/// The operator asks, and only addresses that its configuration allows. It follows no redirect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.pointer) || self.method != 'Head'").message("an answer to HEAD has no content that pointer could look into: use Get").field_path(".pointer"),
    validation = Rule::new(CA_BUNDLE_URL_RULE).message(CA_BUNDLE_URL_MESSAGE).field_path(".caBundle")
)]
pub struct HttpCheck {
    /// What is asked of the new side, such as `https://api.shop.svc:8443/api/health`. Without user name, password and fragment.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// The same of legacy, for a `condition` with `legacy` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub legacy_url: Option<String>,
    /// `Get` (default) or `Head`.
    #[serde(default)]
    pub method: HttpMethod,
    /// Headers of the request. No credentials: whoever may see the phase sees them. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(h, !(h.name.lowerAscii() in ['authorization', 'cookie', 'proxy-authorization', 'host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade']))").message("no credentials, no host, and nothing about the connection itself: these headers cannot be given"))]
    pub headers: Vec<HttpHeader>,
    /// Status codes that are expected. Default 200 to 299.
    #[serde(default)]
    pub expect_status: StatusRange,
    /// Where the number is in an answer of JSON, as a JSON pointer (RFC 6901) such as `/queue/depth`. There is a number, a text that is a
    /// number, or `true` (1) or `false` (0); anything else, or nothing, is no data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = POINTER_PATTERN))]
    pub pointer: Option<String>,
    /// How long the answer may take. Default `5s`, range `1s` to `30s`.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Certificates in PEM of the authorities that the server's certificate is judged by, instead of the public ones and the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    #[x_kube(validation = Rule::new(CA_BUNDLE_RULE).message(CA_BUNDLE_MESSAGE))]
    pub ca_bundle: Option<String>,
}

const fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(5)
}

/// Methods that change nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMethod {
    /// The whole answer.
    #[default]
    Get,
    /// Its head alone.
    Head,
}

/// One header.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpHeader {
    /// Its name, such as `x-probe`.
    #[schemars(length(min = 1, max = 128), regex(pattern = HEADER_PATTERN))]
    pub name: String,
    /// Its value.
    #[schemars(length(min = 1, max = 512), regex(pattern = LINE_PATTERN))]
    pub value: String,
}

/// Status codes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.min <= self.max").message("min is more than max: no status fits").field_path(".min"))]
pub struct StatusRange {
    /// The lowest. Default 200, range 100 to 599.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 100, max = 599))]
    pub min: i32,
    /// The highest. Default 299, range 100 to 599.
    #[serde(default = "below_three_hundred")]
    #[schemars(range(min = 100, max = 599))]
    pub max: i32,
}

impl Default for StatusRange {
    fn default() -> Self {
        Self { min: two_hundred(), max: below_three_hundred() }
    }
}

const fn two_hundred() -> i32 {
    200
}

const fn below_three_hundred() -> i32 {
    299
}
