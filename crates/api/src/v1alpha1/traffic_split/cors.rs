//! Cross-origin requests: which pages of other origins may ask, and for what.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::{HEADER_PATTERN, ORIGIN_PATTERN};
use crate::HumanDuration;

/// Which pages of other origins may ask by a browser, and for what. The edge answers a browser's first question (the preflight) itself; a
/// side sees only requests after it. A side that sets such headers too should cease to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!self.allowCredentials || !self.allowOrigins.exists(o, o == '*')").message("browsers refuse credentials where every origin is allowed: list the origins, or set allowCredentials to false").field_path(".allowCredentials"),
    validation = Rule::new("size(self.allowOrigins) == 1 || !self.allowOrigins.exists(o, o == '*')").message("* stands for every origin: list it alone").field_path(".allowOrigins")
)]
pub struct Cors {
    /// Origins whose pages may ask, such as `https://admin.example.com`, each as browsers say it: scheme, host, and a port other than the
    /// scheme's. `*` alone stands for every origin. 1 to 16.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = ORIGIN_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow_origins: Vec<String>,
    /// Methods that they may use. Default `GET`, `HEAD` and `POST`, which browsers allow without asking.
    #[serde(default = "default_methods")]
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow_methods: Vec<Method>,
    /// Headers that their requests may bear besides those that browsers always allow. Default `Content-Type`. 1 to 32.
    #[serde(default = "default_headers")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64), regex(pattern = HEADER_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow_headers: Vec<String>,
    /// Headers of answers that they may read besides those that browsers always show. Default none. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64), regex(pattern = HEADER_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub expose_headers: Vec<String>,
    /// Whether their requests may bear cookies and the like. Default false.
    #[serde(default)]
    pub allow_credentials: bool,
    /// For how long a browser need not ask again. `1s` to `24h`, default `10m`.
    #[serde(default = "default_max_age")]
    #[x_kube(validation = Rule::new("!self.contains('d') && duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("maxAge must be from 1s to 24h"))]
    pub max_age: HumanDuration,
}

/// Methods of requests.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
}

impl Method {
    /// As requests say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

fn default_methods() -> Vec<Method> {
    vec![Method::Get, Method::Head, Method::Post]
}

fn default_headers() -> Vec<String> {
    vec!["Content-Type".to_owned()]
}

const fn default_max_age() -> HumanDuration {
    HumanDuration::from_secs(600)
}
