//! Ingresses, kept as compact JSON: read back as [`IngressView`] where one is needed.

use cutover_engine::router::view::IngressView;
use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

use super::raw::{Identity, Raw, Wire, metadata::Metadata};
use crate::cluster::stores::View;

/// What is parsed of an Ingress.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IngressWire {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ingress_class_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_backend: Option<Backend>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tls: Vec<Tls>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tls {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_name: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Http {
    #[serde(default)]
    paths: Vec<Path>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Path {
    #[serde(rename = "path", default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(rename = "pathType", default, skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    #[serde(default)]
    backend: Backend,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Backend {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<Service>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Service {
    name: String,
    #[serde(default)]
    port: Port,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Port {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<i32>,
}

impl Wire for IngressWire {
    type Scope = NamespaceResourceScope;
    const GROUP: &'static str = "networking.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Ingress";
    const PLURAL: &'static str = "ingresses";

    fn identity(&self) -> Identity {
        self.metadata.identity()
    }
}

/// What is kept of an Ingress.
#[derive(Debug, PartialEq, Eq)]
pub struct IngressRecord {
    text: Box<str>,
    /// Name of the split that it was made for.
    pub owner: Option<Box<str>>,
    /// `metadata.resourceVersion`, of one that is ours.
    pub version: Box<str>,
}

impl IngressRecord {
    /// The whole view.
    #[must_use]
    pub fn view(&self) -> IngressView {
        // The text was written here.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Whether the Ingress mentions `word`: a cheap test before [`Self::view`].
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }
}

impl View for IngressRecord {
    type Object = Raw<IngressWire>;

    fn of(object: Raw<IngressWire>) -> Option<Self> {
        let mut wire = object.into_wire();
        let ours = wire.metadata.is_ours();
        wire.metadata.reduce(|key| ours || key.starts_with("nginx.ingress.") || key.starts_with("kubernetes.io/"));
        let owner = wire.metadata.owner().map(Into::into);
        if !ours {
            // A foreign one is never written, so only its content matters.
            wire.metadata.resource_version = None;
        }
        let version = wire.metadata.resource_version.clone().unwrap_or_default().into();
        Some(Self { text: serde_json::to_string(&wire).ok()?.into(), owner, version })
    }
}
