//! Asking the way in itself which side serves.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{
    forms::{
        CA_BUNDLE_MESSAGE, CA_BUNDLE_RULE, CA_BUNDLE_URL_MESSAGE, CA_BUNDLE_URL_RULE, HEADER_PATTERN, URL_PATTERN,
        VALUE_PATTERN,
    },
    schema::Instant,
};
use crate::HumanDuration;

/// Asks the data plane itself which side serves.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verify {
    /// By requests whose answers say who served them.
    pub http: VerifyHttp,
}

/// GET requests to the way in. The operator makes them, each time another weight is in force, and only to addresses that its
/// configuration allows.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.newValue != self.legacyValue").message("the values of both sides must differ").field_path(".newValue"),
    validation = Rule::new(CA_BUNDLE_URL_RULE).message(CA_BUNDLE_URL_MESSAGE).field_path(".caBundle")
)]
pub struct VerifyHttp {
    /// What is asked, such as `https://app.example.com/health`. Without user name, password and fragment.
    #[schemars(length(min = 8, max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// Header of the answer that says who served it, such as `x-served-by`.
    #[schemars(length(min = 1, max = 128), regex(pattern = HEADER_PATTERN))]
    pub header: String,
    /// Its value in answers of the new side.
    #[schemars(length(min = 1, max = 256), regex(pattern = VALUE_PATTERN))]
    pub new_value: String,
    /// Its value in answers of the legacy side.
    #[schemars(length(min = 1, max = 256), regex(pattern = VALUE_PATTERN))]
    pub legacy_value: String,
    /// Requests that are made. Default 200, range 20 to 2000: the more, the narrower the interval that the weight is known by.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 20, max = 2_000))]
    pub samples: i32,
    /// How long each answer may take. Default `5s`, at least `1s`.
    #[serde(default = "five_seconds")]
    #[x_kube(validation = Rule::new("self != '0s'").message("timeout must be at least 1s"))]
    pub timeout: HumanDuration,
    /// Certificates in PEM of the authorities that the server's certificate is judged by, instead of the public ones and the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    #[x_kube(validation = Rule::new(CA_BUNDLE_RULE).message(CA_BUNDLE_MESSAGE))]
    pub ca_bundle: Option<String>,
}

const fn two_hundred() -> i32 {
    200
}

const fn five_seconds() -> HumanDuration {
    HumanDuration::from_secs(5)
}

/// The weight as it was seen on the wire.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedWeight {
    /// The weight in force when it was looked at.
    pub applied_weight: i32,
    /// Share of the answers that the new side gave, in parts of `weightTotal`; absent when too few answers say who gave them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_weight: Option<i32>,
    /// Lower bound of the true share, with a confidence of 99 % (Wilson's interval), in parts of `weightTotal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<i32>,
    /// Upper bound of the true share, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<i32>,
    /// Answers that say who gave them.
    pub samples: i32,
    /// Whether the weight in force is within the interval.
    pub confirmed: bool,
    /// When it was looked at.
    pub at: Instant,
    /// What is wrong, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}
