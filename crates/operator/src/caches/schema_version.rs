//! ConfigMaps that hold the version of a database's schema: only those that carry a label are sent.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use crate::cluster::stores::View;

/// What tells the API server which ConfigMaps are wanted.
pub(super) const SELECTOR: &str = "cutover.dev/schema-version=true";
/// Longer values are no versions; they are kept cut off, to be told apart from missing ones.
const LONGEST: usize = 32;

/// What is kept of such a ConfigMap.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaRecord {
    /// What is in it.
    pub data: BTreeMap<String, String>,
}

impl View for SchemaRecord {
    type Object = ConfigMap;

    fn of(object: ConfigMap) -> Option<Self> {
        let cut = |(key, value): (String, String)| (key, value.chars().take(LONGEST).collect());
        Some(Self { data: object.data.unwrap_or_default().into_iter().map(cut).collect() })
    }
}
