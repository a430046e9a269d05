//! The two sides of a split: where each answers, who is pinned to it, and the capacity that it needs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::forms::{COOKIE_PATTERN, HEADER_PATTERN, LABEL_PATTERN, VALUE_PATTERN},
    SideProbe,
};

/// One of the two sides of a split.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The system that is replaced.
    Legacy,
    /// The system that replaces it.
    New,
}

/// Where one side answers: exactly one of `component` and `service`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.component) != has(self.service)").message("a backend is exactly one of component and service"))]
pub struct Backend {
    /// A component of `spec.environment`, such as `storefront`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30), regex(pattern = LABEL_PATTERN))]
    pub component: Option<String>,
    /// A Service of the split's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceBackend>,
}

/// A Service of the same namespace and one of its ports.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceBackend {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Number of the Service's port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

/// Requests that go to one side whatever the weight: exactly one of `header` and `cookie`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.header) != has(self.cookie)").message("a pin is exactly one of header and cookie"))]
pub struct Pin {
    /// The side that matching requests go to.
    pub to: Side,
    /// Matches requests with this header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderMatch>,
    /// Matches requests with this cookie. ingress-nginx knows only the values `always` (to New) and `never` (to Legacy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieMatch>,
}

/// A header and its exact value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Name of the header, compared without regard to case, such as `x-cutover`.
    #[schemars(length(min = 1, max = 128), regex(pattern = HEADER_PATTERN))]
    pub name: String,
    /// Exact value, such as `new`.
    #[schemars(length(min = 1, max = 256), regex(pattern = VALUE_PATTERN))]
    pub value: String,
}

/// A cookie and its exact value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieMatch {
    /// Name of the cookie.
    #[schemars(length(min = 1, max = 128), regex(pattern = COOKIE_PATTERN))]
    pub name: String,
    /// Exact value.
    #[schemars(length(min = 1, max = 256), regex(pattern = VALUE_PATTERN))]
    pub value: String,
}

/// Capacity that each side must have.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Safety {
    /// For the legacy side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Capacity>,
    /// For the new side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Capacity>,
}

/// Ready endpoints that a side needs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capacity {
    /// Ready endpoints without which the side is given nothing. Default 1, range 0 to 10000.
    #[serde(default = "default_min_ready_endpoints")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_ready_endpoints: i32,
    /// Ready endpoints that the whole traffic needs: a share of it needs that share of them, rounded up. 0 (default): not judged by
    /// share. Range 0 to 10000.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    pub full_capacity_endpoints: i32,
    /// Asks the side itself whether it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<SideProbe>,
}

const fn default_min_ready_endpoints() -> i32 {
    1
}

impl Default for Capacity {
    fn default() -> Self {
        Self { min_ready_endpoints: default_min_ready_endpoints(), full_capacity_endpoints: 0, probe: None }
    }
}
