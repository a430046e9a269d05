//! The version of the shared database's schema, as whoever migrates it has written it down.

use cutover_api::{
    labels::SCHEMA_VERSION,
    v1alpha1::environment::{ConfigMapKey, SchemaStatus},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observed::Observed;
use crate::conditions::whole_seconds;

/// What is told of the version: read from the ConfigMap, or why it cannot be.
pub(super) fn schema(
    source: &ConfigMapKey,
    observed: &Observed,
    previous: Option<&SchemaStatus>,
    now: Timestamp,
) -> SchemaStatus {
    let ConfigMapKey { name, key } = source;
    let read = match observed.schema.as_ref().map(|data| data.get(key)) {
        None => Err(format!("there is no ConfigMap {name} with the label {SCHEMA_VERSION}=true in this namespace")),
        Some(None) => Err(format!("ConfigMap {name} has no key {key}")),
        Some(Some(text)) => version(text).ok_or_else(|| {
            format!("ConfigMap {name}: what is in {key} is no whole number of at most 15 digits, such as 43")
        }),
    };
    let (version, message) = match read {
        Ok(version) => (Some(version), None),
        Err(message) => (None, Some(message)),
    };
    let since = previous.filter(|last| last.version == version && last.message == message).map(|last| last.at.clone());
    SchemaStatus { version, at: since.unwrap_or_else(|| Time(whole_seconds(now))), message }
}

fn version(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
