//! The addresses of a component outside the cluster.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::{metadata, service::external_port_name};
use crate::environment::{
    names::Identity,
    observed::{MANAGED_BY, SLICE_MANAGER},
    validate::{Component, Source},
};

/// The EndpointSlice; `None` for a component that is not outside. One is enough: it holds up to 1000 endpoints. Its name
/// ends with the family, which cannot be changed in place.
#[must_use]
pub fn build_endpoint_slice(identity: &Identity, component: &Component) -> Option<EndpointSlice> {
    let Source::External { addresses, port } = &component.source else { return None };
    let service = identity.object(&component.name);
    let (family, suffix) = family(addresses);
    let mut metadata = metadata(identity, component, format!("{service}-{suffix}"));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert("kubernetes.io/service-name".into(), service);
    labels.insert(MANAGED_BY.into(), SLICE_MANAGER.into());
    Some(EndpointSlice {
        metadata,
        address_type: family.into(),
        endpoints: addresses.iter().map(endpoint).collect(),
        ports: Some(vec![EndpointPort {
            name: Some(external_port_name(component, *port).into()),
            port: Some(*port),
            protocol: Some("TCP".into()),
            app_protocol: None,
        }]),
    })
}

fn family(addresses: &BTreeSet<IpAddr>) -> (&'static str, &'static str) {
    if addresses.iter().all(IpAddr::is_ipv4) { ("IPv4", "ipv4") } else { ("IPv6", "ipv6") }
}

fn endpoint(address: &IpAddr) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: None }),
        ..Endpoint::default()
    }
}
