//! The caches that controllers share: which kinds are watched, and what is kept of each object.
//!
//! Our own kinds are kept whole ([`Kinds`]). Of all others only what a decision needs is kept, in a compact form: most of them are
//! foreign, and a cluster has many. One watch per kind, whoever reads it. Alias Services and their EndpointSlices are
//! kept too: a route is not moved to an alias that is not seen to have an endpoint.

mod authority;
mod backend_tls_policy;
mod config_map;
mod deployment;
mod endpoint_slice;
mod gateway;
mod ingress;
mod job;
mod kinds;
mod left_behind;
mod raw;
mod record;
mod schema_version;
mod service;
#[cfg(test)]
mod tests;
mod whole;

use cutover_engine::environment::{DeploymentView, PolicyView};

use crate::cluster::{
    discovery::{
        BACKEND_TLS_POLICIES, Discovery, GATEWAY_CLASSES, GATEWAYS, GRPC_ROUTES, HTTP_ROUTES, INGRESS_ROUTES,
        MIDDLEWARES, SERVERS_TRANSPORTS, TRAEFIK_SERVICES, VIRTUAL_SERVICES,
    },
    stores::{Index, Stores},
};

pub use authority::AuthorityRecord;
pub use config_map::ConfigMapRecord;
pub use endpoint_slice::SliceRecord;
pub use gateway::{GatewayClassRecord, GatewayRecord};
pub use ingress::IngressRecord;
pub use job::{JobEnd, JobRecord};
pub use kinds::Kinds;
pub use left_behind::MayBeLeftBehind;
pub use raw::{Raw, Wire};
pub use schema_version::SchemaRecord;
pub use service::ServiceRecord;
pub use whole::{
    GrpcRoute, HttpRoute, IngressRoute, Middleware, ServersTransport, TraefikService, VirtualService, Whole,
    WholeRecord,
};

/// The shared caches. Cheap to clone.
#[derive(Clone)]
pub struct Caches {
    /// Services.
    pub services: Index<ServiceRecord>,
    /// EndpointSlices, found together by their Service.
    pub slices: Index<SliceRecord>,
    /// Deployments of environments, found together by the Environment's UID.
    pub deployments: Index<DeploymentView>,
    /// Jobs of phases and of environments.
    pub jobs: Index<JobRecord>,
    /// ConfigMaps of environments and of flags.
    pub config_maps: Index<ConfigMapRecord>,
    /// ConfigMaps that hold the version of a database's schema.
    pub schema_versions: Index<SchemaRecord>,
    /// ConfigMaps with the certificates of an authority.
    pub authorities: Index<AuthorityRecord>,
    /// Ingresses.
    pub ingresses: Index<IngressRecord>,
    /// `HTTPRoutes`, where the cluster has them.
    pub http_routes: Index<WholeRecord<HttpRoute>>,
    /// `GRPCRoutes`, where the cluster has them.
    pub grpc_routes: Index<WholeRecord<GrpcRoute>>,
    /// Gateways, where the cluster has them.
    pub gateways: Index<GatewayRecord>,
    /// `GatewayClasses`, where the cluster has them.
    pub gateway_classes: Index<GatewayClassRecord>,
    /// `BackendTLSPolicies` of environments, where the cluster has them, found together by the Environment's UID.
    pub backend_tls_policies: Index<PolicyView>,
    /// Traefik's `IngressRoute`s, where the cluster has them.
    pub ingress_routes: Index<WholeRecord<IngressRoute>>,
    /// Traefik's `TraefikService`s, where the cluster has them.
    pub traefik_services: Index<WholeRecord<TraefikService>>,
    /// Traefik's `Middleware`s, where the cluster has them.
    pub middlewares: Index<WholeRecord<Middleware>>,
    /// Traefik's `ServersTransport`s, where the cluster has them.
    pub servers_transports: Index<WholeRecord<ServersTransport>>,
    /// Istio's `VirtualService`s, where the cluster has them.
    pub virtual_services: Index<WholeRecord<VirtualService>>,
}

impl Caches {
    /// Starts the watches.
    #[must_use]
    pub fn register(stores: &mut Stores, discovery: &Discovery) -> Self {
        Self {
            services: stores.index(None),
            slices: stores.index(None),
            deployments: stores.index(Some(deployment::SELECTOR)),
            jobs: stores.index(Some(job::SELECTOR)),
            config_maps: stores.index(Some(config_map::SELECTOR)),
            schema_versions: stores.index(Some(schema_version::SELECTOR)),
            authorities: stores.index(Some(authority::SELECTOR)),
            ingresses: stores.index(None),
            http_routes: stores.optional(discovery.served(HTTP_ROUTES), None),
            grpc_routes: stores.optional(discovery.served(GRPC_ROUTES), None),
            gateways: stores.optional(discovery.served(GATEWAYS), None),
            gateway_classes: stores.optional_cluster(discovery.served(GATEWAY_CLASSES), None),
            backend_tls_policies: stores
                .optional(discovery.served(BACKEND_TLS_POLICIES), Some(backend_tls_policy::SELECTOR)),
            ingress_routes: stores.optional(discovery.served(INGRESS_ROUTES), None),
            traefik_services: stores.optional(discovery.served(TRAEFIK_SERVICES), None),
            middlewares: stores.optional(discovery.served(MIDDLEWARES), None),
            servers_transports: stores.optional(discovery.served(SERVERS_TRANSPORTS), None),
            virtual_services: stores.optional(discovery.served(VIRTUAL_SERVICES), None),
        }
    }
}
