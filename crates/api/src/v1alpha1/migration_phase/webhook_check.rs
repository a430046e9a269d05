//! A check that somebody else makes.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::{CA_BUNDLE_MESSAGE, CA_BUNDLE_RULE, CA_BUNDLE_URL_MESSAGE, CA_BUNDLE_URL_RULE, URL_PATTERN};
use crate::HumanDuration;

/// Asks somebody else by `POST` of a JSON document that says which phase, attempt, step and check it is about. The answer is a JSON
/// document with `status` (`Pass`, `Fail` or `NoData`) and, if it likes, a `message`. No answer, or another one, is no failure: the
/// check could not be asked.
///
/// The operator asks, and only addresses that its configuration allows. It follows no redirect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(CA_BUNDLE_URL_RULE).message(CA_BUNDLE_URL_MESSAGE).field_path(".caBundle")
)]
pub struct WebhookCheck {
    /// Who is asked, such as `https://judge.shop.svc/phase`. Without user name, password and fragment.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// How long the answer may take. Default `10s`, range `1s` to `30s`.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Certificates in PEM of the authorities that the server's certificate is judged by, instead of the public ones and the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    #[x_kube(validation = Rule::new(CA_BUNDLE_RULE).message(CA_BUNDLE_MESSAGE))]
    pub ca_bundle: Option<String>,
}

const fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(10)
}
