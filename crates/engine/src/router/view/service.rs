//! Services and EndpointSlices.

use std::collections::BTreeMap;

use cutover_api::{labels, v1alpha1::environment::ExternalTls};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

use super::Meta;

/// Label of an EndpointSlice: the Service that it is for.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct ServiceView {
    /// Identity and our marks.
    pub meta: Meta,
    /// Whether `spec.type` is `ExternalName`.
    pub external_name: bool,
    /// Whether `spec.clusterIP` is `None`.
    pub headless: bool,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready_addresses: bool,
    /// `spec.selector`.
    pub selector: BTreeMap<Box<str>, Box<str>>,
    /// `spec.ports`.
    pub ports: Box<[ServicePortView]>,
    /// Annotation [`labels::TLS`], of a Service that an Environment made.
    pub tls: Option<ExternalTls>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortView {
    /// Name.
    #[serde(default)]
    pub name: Option<Box<str>>,
    /// Number.
    pub port: i32,
    /// Port of the pods.
    #[serde(default)]
    pub target_port: Option<IntOrString>,
    /// Application protocol.
    #[serde(default)]
    pub app_protocol: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Wire {
    metadata: ServiceMeta,
    #[serde(default)]
    spec: WireSpec,
}

/// Metadata, and the one annotation that the reduced form leaves out.
struct ServiceMeta(Meta, Option<ExternalTls>);

impl<'de> Deserialize<'de> for ServiceMeta {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wire = super::meta::Wire::deserialize(deserializer)?;
        let text = wire.annotations.as_mut().and_then(|annotations| annotations.remove(labels::TLS));
        let meta = Meta::from(wire);
        // Of anybody else's nothing is believed; one of ours that cannot be read still says that TLS is spoken.
        let text = text.filter(|_| meta.owner_uid.is_some());
        Ok(Self(meta, text.map(|text| serde_json::from_str(&text).unwrap_or_default())))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    #[serde(rename = "type", default)]
    type_: Option<Box<str>>,
    #[serde(rename = "clusterIP", default)]
    cluster_ip: Option<Box<str>>,
    #[serde(default)]
    publish_not_ready_addresses: Option<bool>,
    #[serde(default)]
    selector: Option<BTreeMap<Box<str>, Box<str>>>,
    #[serde(default)]
    ports: Option<Box<[ServicePortView]>>,
}

impl From<Wire> for ServiceView {
    fn from(Wire { metadata: ServiceMeta(meta, tls), spec }: Wire) -> Self {
        Self {
            meta,
            tls,
            external_name: spec.type_.as_deref() == Some("ExternalName"),
            headless: spec.cluster_ip.as_deref() == Some("None"),
            publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or_default(),
            selector: spec.selector.unwrap_or_default(),
            ports: spec.ports.unwrap_or_default(),
        }
    }
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "SliceWire")]
pub struct EndpointSliceView {
    /// Identity and our marks.
    pub meta: Meta,
    /// The Service that it is for: label `kubernetes.io/service-name`.
    pub service: Box<str>,
    /// `addressType`.
    pub address_type: Box<str>,
    /// Names and numbers of `ports`.
    pub ports: Box<[(Box<str>, i32)]>,
    /// `endpoints`.
    pub endpoints: Box<[EndpointView]>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointView {
    /// Its first address: the others are not used by any consumer.
    pub address: Box<str>,
    /// Whether it is ready. An absent condition means ready.
    pub ready: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceWire {
    metadata: SliceMeta,
    #[serde(default)]
    address_type: Box<str>,
    #[serde(default)]
    ports: Option<Vec<SlicePort>>,
    #[serde(default)]
    endpoints: Option<Vec<SliceEndpoint>>,
}

/// Metadata, and the one label that the reduced form leaves out.
struct SliceMeta(Meta, Box<str>);

impl<'de> Deserialize<'de> for SliceMeta {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wire = super::meta::Wire::deserialize(deserializer)?;
        let service = wire.labels.as_mut().and_then(|labels| labels.remove(SERVICE_NAME)).unwrap_or_default();
        Ok(Self(wire.into(), service))
    }
}

#[derive(Deserialize)]
struct SlicePort {
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default)]
    port: Option<i32>,
}

#[derive(Deserialize)]
struct SliceEndpoint {
    #[serde(default)]
    addresses: Vec<Box<str>>,
    #[serde(default)]
    conditions: SliceConditions,
}

#[derive(Deserialize, Default)]
struct SliceConditions {
    #[serde(default)]
    ready: Option<bool>,
}

impl From<SliceWire> for EndpointSliceView {
    fn from(wire: SliceWire) -> Self {
        Self {
            meta: wire.metadata.0,
            service: wire.metadata.1,
            address_type: wire.address_type,
            ports: wire
                .ports
                .unwrap_or_default()
                .into_iter()
                .map(|port| (port.name.unwrap_or_default(), port.port.unwrap_or_default()))
                .collect(),
            endpoints: wire
                .endpoints
                .unwrap_or_default()
                .into_iter()
                .filter_map(|endpoint| {
                    Some(EndpointView {
                        address: endpoint.addresses.into_iter().next()?,
                        ready: endpoint.conditions.ready.unwrap_or(true),
                    })
                })
                .collect(),
        }
    }
}
