//! Services: selector and ports as compact JSON, read back as [`ServiceView`] where one is needed.

use std::collections::BTreeMap;

use cutover_engine::router::view::ServiceView;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::util::intstr::IntOrString};
use serde::{Deserialize, Serialize};

use super::{
    raw::{Identity, Wire, metadata::Metadata},
    record::{Record, Text},
};

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
pub type ServiceRecord = Record<ServiceWire>;

impl Text for ServiceWire {
    type View = ServiceView;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn reduce(&mut self, ours: bool) {
        if ours {
            self.metadata.reduce(|key| key.starts_with("cutover.dev/"));
        } else {
            self.metadata = std::mem::take(&mut self.metadata).name_only();
        }
        // Only these two say something about how the Service is reached.
        self.spec.type_.take_if(|type_| type_ != "ExternalName");
        self.spec.cluster_ip.take_if(|address| address != "None");
    }
}
