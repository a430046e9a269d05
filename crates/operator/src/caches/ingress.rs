//! Ingresses, kept as compact JSON: read back as [`IngressView`] where one is needed.

use cutover_engine::router::view::IngressView;
use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

use super::{
    raw::{Identity, Wire, metadata::Metadata},
    record::{Record, Text},
};

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
pub type IngressRecord = Record<IngressWire>;

impl Text for IngressWire {
    type View = IngressView;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn reduce(&mut self, ours: bool) {
        self.metadata.reduce(|key| ours || key.starts_with("nginx.ingress.") || key.starts_with("kubernetes.io/"));
        if !ours {
            self.metadata.resource_version = None;
        }
    }
}
