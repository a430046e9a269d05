//! Services: selector and ports as compact JSON, read back as [`ServiceView`] where one is needed.

use std::collections::BTreeMap;

use cutover_engine::router::view::ServiceView;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::util::intstr::IntOrString};
use serde::{Deserialize, Serialize};

use super::raw::{Identity, Raw, Wire, metadata::Metadata};
use crate::cluster::stores::View;

/// What is parsed of a Service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceWire {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    #[serde(rename = "clusterIP", default, skip_serializing_if = "Option::is_none")]
    cluster_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish_not_ready_addresses: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "port")]
    number: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_port: Option<IntOrString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_protocol: Option<String>,
}

impl Wire for ServiceWire {
    type Scope = NamespaceResourceScope;
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Service";
    const PLURAL: &'static str = "services";

    fn identity(&self) -> Identity {
        self.metadata.identity()
    }
}

/// What is kept of a Service. Of a foreign one not even its metadata, so that changes of it are silent.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    text: Box<str>,
    /// Name of the split that it was made for.
    pub owner: Option<Box<str>>,
    /// `metadata.resourceVersion`, of one that is ours.
    pub version: Box<str>,
}

impl ServiceRecord {
    /// The whole view.
    #[must_use]
    pub fn view(&self) -> ServiceView {
        // The text was written here.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Whether the Service mentions `word`: a cheap test before [`Self::view`].
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }
}

impl View for ServiceRecord {
    type Object = Raw<ServiceWire>;

    fn of(object: Raw<ServiceWire>) -> Option<Self> {
        let mut wire = object.into_wire();
        let ours = wire.metadata.is_ours();
        let owner = wire.metadata.owner().map(Into::into);
        if ours {
            wire.metadata.reduce(|key| key.starts_with("cutover.dev/"));
        } else {
            wire.metadata = wire.metadata.name_only();
        }
        // Only these two say something about how the Service is reached.
        wire.spec.type_ = wire.spec.type_.filter(|type_| type_ == "ExternalName");
        wire.spec.cluster_ip = wire.spec.cluster_ip.filter(|address| address == "None");
        let version = wire.metadata.resource_version.clone().unwrap_or_default().into();
        Some(Self { text: serde_json::to_string(&wire).ok()?.into(), owner, version })
    }
}
