//! What is kept of an object's metadata.

use std::collections::BTreeMap;

use cutover_api::labels;
use serde::Deserialize;

/// Metadata of a route object, reduced to identity and to our own marks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Meta {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub namespace: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Box<str>,
    /// `metadata.generation`, for kinds that have one.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Label [`labels::OWNER_UID`].
    pub owner_uid: Option<Box<str>>,
    /// Annotation [`labels::OWNER_NAME`].
    pub owner_name: Option<Box<str>>,
    /// Annotation [`labels::RELEASED_FROM`].
    pub released_from: Option<Box<str>>,
    /// Annotation [`labels::BASELINE`].
    pub baseline: Option<Box<str>>,
    /// Annotation [`super::super::names::WRITTEN`]: hash of what we last wrote.
    pub written: Option<Box<str>>,
}

impl Meta {
    /// Whether it is the route of the split with this UID.
    #[must_use]
    pub fn is_owned_by(&self, split_uid: &str) -> bool {
        self.owner_uid.as_deref() == Some(split_uid)
    }

    /// Whether a deleted split of this namespace and name left it behind, so that a new one of that name adopts it.
    #[must_use]
    pub fn is_released_from(&self, namespace: &str, name: &str) -> bool {
        self.owner_uid.is_none()
            && self.released_from.as_deref().and_then(|from| from.split_once('/')) == Some((namespace, name))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    #[serde(default)]
    name: Box<str>,
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, Box<str>>>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, Box<str>>>,
}

impl From<Wire> for Meta {
    fn from(wire: Wire) -> Self {
        let mut labels = wire.labels.unwrap_or_default();
        let mut annotations = wire.annotations.unwrap_or_default();
        Self {
            name: wire.name,
            namespace: wire.namespace,
            uid: wire.uid,
            resource_version: wire.resource_version,
            generation: wire.generation,
            deleting: wire.deletion_timestamp.is_some(),
            owner_uid: labels.remove(labels::OWNER_UID),
            owner_name: annotations.remove(labels::OWNER_NAME),
            released_from: annotations.remove(labels::RELEASED_FROM),
            baseline: annotations.remove(labels::BASELINE),
            written: annotations.remove(super::super::names::WRITTEN),
        }
    }
}
