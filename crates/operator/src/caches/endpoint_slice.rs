//! EndpointSlices: how many endpoints are ready, and the addresses only of slices that no controller made from pods.

use cutover_engine::router::view::EndpointSliceView;
use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Serialize};

use super::raw::{
    Identity, Raw, Wire,
    metadata::{Metadata, SERVICE_NAME},
};
use crate::cluster::stores::View;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Makes slices from the pods that a Service selects.
const FROM_PODS: &str = "endpointslice-controller.k8s.io";

/// What is parsed of an EndpointSlice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceWire {
    metadata: Metadata,
    #[serde(default)]
    address_type: String,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Port {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<i32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conditions: Option<Conditions>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Conditions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
}

impl Wire for SliceWire {
    type Scope = NamespaceResourceScope;
    const GROUP: &'static str = "discovery.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "EndpointSlice";
    const PLURAL: &'static str = "endpointslices";

    fn identity(&self) -> Identity {
        self.metadata.identity()
    }
}

/// What is kept of an EndpointSlice.
#[derive(Debug, PartialEq, Eq)]
pub struct SliceRecord {
    service: Box<str>,
    address_type: Family,
    /// Ready endpoints.
    pub ready: i32,
    /// The whole slice, where its addresses matter.
    text: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Name,
}

impl SliceRecord {
    /// `IPv4`, `IPv6` or `FQDN`.
    #[must_use]
    pub const fn address_type(&self) -> &'static str {
        match self.address_type {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
            Family::Name => "FQDN",
        }
    }

    /// Name of its Service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The whole view, of a slice that was not made from pods.
    #[must_use]
    pub fn view(&self) -> Option<EndpointSliceView> {
        serde_json::from_str(self.text.as_deref()?).ok()
    }
}

impl View for SliceRecord {
    type Object = Raw<SliceWire>;

    fn of(object: Raw<SliceWire>) -> Option<Self> {
        let mut wire = object.into_wire();
        let labels = wire.metadata.labels.as_ref()?;
        let service = labels.get(SERVICE_NAME)?.as_str().into();
        let from_pods = labels.get(MANAGED_BY).is_some_and(|manager| manager == FROM_PODS);
        let address_type = match wire.address_type.as_str() {
            "IPv4" => Family::V4,
            "IPv6" => Family::V6,
            _ => Family::Name,
        };
        let is_ready = |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true);
        let ready = wire.endpoints.iter().flatten().filter(is_ready).count();
        let text = if from_pods {
            None
        } else {
            if !wire.metadata.is_ours() {
                wire.metadata.resource_version = None;
            }
            wire.metadata.reduce(|key| key.starts_with("cutover.dev/"));
            Some(serde_json::to_string(&wire).ok()?.into())
        };
        Some(Self { service, address_type, ready: i32::try_from(ready).unwrap_or(i32::MAX), text })
    }

    fn group(&self) -> Option<&str> {
        Some(&self.service)
    }
}
