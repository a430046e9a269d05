//! Objects as they are read from the API server: only the fields that a record needs are parsed at all.

use std::{borrow::Cow, fmt::Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Identity of an object.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<String>,
}

/// The fields of a kind that are parsed.
pub trait Wire: DeserializeOwned + Clone + Debug + Send + 'static {
    /// Whether the kind is namespaced.
    type Scope;
    /// API group; empty for the core group.
    const GROUP: &'static str;
    /// API version.
    const VERSION: &'static str;
    /// Kind.
    const KIND: &'static str;
    /// Plural.
    const PLURAL: &'static str;

    /// Identity of the object.
    fn identity(&self) -> Identity;
}

/// An object, parsed as far as [`Wire`] says.
#[derive(Clone, Debug)]
pub struct Raw<W> {
    meta: ObjectMeta,
    wire: W,
}

impl<W> Raw<W> {
    /// The parsed fields.
    pub fn into_wire(self) -> W {
        self.wire
    }
}

impl<'de, W: Wire> Deserialize<'de> for Raw<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = W::deserialize(deserializer)?;
        let Identity { name, namespace, uid, resource_version } = wire.identity();
        let meta = ObjectMeta { name: Some(name), namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(Self { meta, wire })
    }
}

impl<W: Wire> Resource for Raw<W> {
    type DynamicType = ();
    type Scope = W::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        W::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        W::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        W::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        W::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Metadata as it is kept in a record's text.
pub(super) mod metadata {
    use std::collections::BTreeMap;

    use cutover_api::labels;
    use serde::{Deserialize, Serialize};

    use super::Identity;

    /// Whose endpoints a slice holds.
    pub(in super::super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

    /// What is kept of an object's metadata.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Metadata {
        #[serde(default)]
        pub(in super::super) name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(in super::super) namespace: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(in super::super) uid: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(in super::super) resource_version: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deletion_timestamp: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(in super::super) labels: Option<BTreeMap<String, String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(in super::super) annotations: Option<BTreeMap<String, String>>,
    }

    impl Metadata {
        pub(in super::super) fn identity(&self) -> Identity {
            Identity {
                name: self.name.clone(),
                namespace: self.namespace.clone(),
                uid: self.uid.clone(),
                resource_version: self.resource_version.clone(),
            }
        }

        /// Nothing but the name.
        pub(in super::super) fn name_only(self) -> Self {
            Self { name: self.name, ..Self::default() }
        }

        /// Name of the split that the object was made for, if it was.
        pub(in super::super) fn owner(&self) -> Option<&str> {
            let ours = self.labels.as_ref()?.contains_key(labels::OWNER_UID);
            let name = self.annotations.as_ref()?.get(labels::OWNER_NAME)?;
            // The annotation may hold the namespace as well.
            ours.then(|| name.rsplit_once('/').map_or(name.as_str(), |(_, name)| name))
        }

        /// Whether it is, or once was, of our making.
        pub(in super::super) fn is_ours(&self) -> bool {
            self.labels.as_ref().is_some_and(|labels| labels.contains_key(labels::OWNER_UID))
                || self.annotations.as_ref().is_some_and(|it| it.contains_key(labels::RELEASED_FROM))
        }

        /// Keeps the labels that are ours and the annotations that `keep` wants.
        pub(in super::super) fn reduce(&mut self, keep: impl Fn(&str) -> bool) {
            if let Some(labels) = &mut self.labels {
                labels.retain(|key, _| key.starts_with("cutover.dev/") || key == SERVICE_NAME);
            }
            if let Some(annotations) = &mut self.annotations {
                annotations.retain(|key, _| key != LAST_APPLIED && keep(key));
            }
        }
    }
}
