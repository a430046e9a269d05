//! The Service of a component: with a fixed selector for what the operator runs, without one for what is outside.

use cutover_api::labels;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::metadata;
use crate::environment::{
    discovery::speaks_http,
    names::Identity,
    observed::EXTERNAL_NAME,
    validate::{Component, Outside, Source, service_port},
};

/// The Service; `None` for a component that somebody else's Service leads to.
#[must_use]
pub fn build_service(identity: &Identity, component: &Component) -> Option<Service> {
    let (ports, selector) = match &component.source {
        Source::Service { .. } => return None,
        Source::Workload(workload) => {
            let ports = workload
                .ports
                .iter()
                .map(|port| service_port_of(&port.name, service_port(port), IntOrString::String(port.name.clone())));
            (ports.collect(), Some(identity.selector(&component.name)))
        }
        Source::External { port, tls, .. } => {
            let mut only = service_port_of(external_port_name(component, *port), *port, IntOrString::Int(*port));
            // For proxies that know nothing of the rest: none of them speaks plain HTTP to the port.
            only.app_protocol = tls.as_ref().map(|_| "https".to_owned());
            (vec![only], None)
        }
    };
    let mut metadata = metadata(identity, component, identity.object(&component.name));
    if let Source::External { tls: Some(tls), .. } = &component.source {
        metadata.annotations.get_or_insert_default().insert(labels::TLS.to_owned(), tls.text());
    }
    let external_name = match &component.source {
        Source::External { at: Outside::Alias { name, .. }, .. } => Some(name.clone()),
        _ => None,
    };
    let type_ = if external_name.is_some() { EXTERNAL_NAME } else { "ClusterIP" };
    Some(Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.into()),
            external_name,
            ports: Some(ports),
            selector,
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}

/// Name of the port of an external component. Its EndpointSlices have the same: consumers join them by it. Meshes read
/// the protocol from it.
pub(super) fn external_port_name(component: &Component, port: i32) -> &'static str {
    match (speaks_http(component.role), port) {
        (false, _) => "tcp",
        (true, 443) => "https",
        (true, _) if component.speaks_tls() => "https",
        (true, _) => "http",
    }
}

fn service_port_of(name: &str, port: i32, target: IntOrString) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(target),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}
