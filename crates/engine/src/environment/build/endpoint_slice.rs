//! The addresses of a component outside the cluster.

use std::{collections::BTreeSet, net::IpAddr};

use cutover_api::v1alpha1::environment::IpFamily;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::{metadata, service::external_port_name};
use crate::environment::{
    names::Identity,
    observed::{MANAGED_BY, SLICE_MANAGER},
    validate::{Component, Outside, Source},
};

/// The EndpointSlices with these addresses, one of each family that there are any of; none for a component that is not outside. One is
/// enough: it holds up to 1000 endpoints. Its name ends with the family, which cannot be changed in place.
#[must_use]
pub fn build_endpoint_slices(
    identity: &Identity,
    component: &Component,
    addresses: &BTreeSet<IpAddr>,
) -> Vec<EndpointSlice> {
    let Source::External { at: Outside::Addresses(_) | Outside::Host { .. }, port, .. } = &component.source else {
        return Vec::new();
    };
    let of_family = |family: IpFamily| {
        let endpoints: Vec<Endpoint> = addresses.iter().filter(|it| family.has(it)).map(endpoint).collect();
        (!endpoints.is_empty()).then(|| slice(identity, component, *port, family, endpoints))
    };
    [IpFamily::V4, IpFamily::V6].into_iter().filter_map(of_family).collect()
}

fn slice(
    identity: &Identity,
    component: &Component,
    port: i32,
    family: IpFamily,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let service = identity.object(&component.name);
    let mut metadata = metadata(identity, component, format!("{service}-{}", family.as_str().to_lowercase()));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert("kubernetes.io/service-name".into(), service);
    labels.insert(MANAGED_BY.into(), SLICE_MANAGER.into());
    EndpointSlice {
        metadata,
        address_type: family.as_str().into(),
        endpoints,
        ports: Some(vec![EndpointPort {
            name: Some(external_port_name(component, port).into()),
            port: Some(port),
            protocol: Some("TCP".into()),
            app_protocol: None,
        }]),
    }
}

fn endpoint(address: &IpAddr) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: None }),
        ..Endpoint::default()
    }
}
