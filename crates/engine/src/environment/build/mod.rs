//! The objects of an environment, as they are to be.

mod backend_tls_policy;
mod config_map;
mod deployment;
mod endpoint_slice;
mod probes;
mod servers_transport;
mod service;

use cutover_api::v1alpha1::environment::Workload;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use backend_tls_policy::{BackendTlsPolicy, build_backend_tls_policy};
pub use config_map::build_config_map;
pub use deployment::{build_deployment, pod_template};
pub use endpoint_slice::build_endpoint_slices;
pub use servers_transport::{ServersTransport, build_servers_transport};
pub use service::build_service;

use super::{
    names::Identity,
    validate::{Component, Source},
};

/// Metadata of an object of one component. Without an owner reference: a foreground deletion would follow it past our
/// finalizer, and remove what carries traffic.
fn metadata(identity: &Identity, component: &Component, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(identity.namespace.clone()),
        labels: Some(identity.component_labels(&component.name, component.system, component.role)),
        annotations: Some(identity.annotations()),
        ..ObjectMeta::default()
    }
}

/// The workload of a component that the operator runs.
pub(super) fn workload_of(component: &Component) -> Option<&Workload> {
    match &component.source {
        Source::Workload(workload) => Some(workload),
        Source::Service { .. } | Source::External { .. } => None,
    }
}
