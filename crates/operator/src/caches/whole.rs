//! Routes of kinds whose spec is kept as a whole, each in an index of its own: the Gateway API's, Traefik's and Istio's.

use std::{fmt::Debug, ops::Deref, sync::Arc};

use cutover_api::v1alpha1::traffic_split::RouteKind;
use cutover_engine::{
    router::{self, ObjectKind, RouteView, WholeView, view::Json},
    traffic_split::LeftBehind,
};
use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{
    Caches, ConfigMapRecord,
    raw::{Identity, Raw, Wire},
};
use crate::cluster::stores::{Index, Presence, View};

/// Names a kind.
pub trait Whole: Clone + Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The kind.
    const KIND: ObjectKind;
    /// What is kept of an object.
    type View: router::View + DeserializeOwned + Clone + Debug + PartialEq + Eq + Send + Sync + 'static;

    /// Leaves out what nobody looks into.
    fn thin(view: Self::View) -> Self::View {
        view
    }

    /// One that a deleted split left behind, of kinds by which requests come in.
    fn left_behind(_view: &Self::View) -> Option<LeftBehind> {
        None
    }
}

/// Of a kind of which nobody looks into those of others: these are kept for their names alone. Users have many, and what is in them is not
/// for us to keep.
fn by_name(mut view: WholeView) -> WholeView {
    if view.meta.owner_uid.is_none() && view.meta.released_from.is_none() {
        view.spec = Json::default();
    }
    view
}

/// The Gateway API's `HTTPRoute`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HttpRoute;

impl Whole for HttpRoute {
    const KIND: ObjectKind = ObjectKind::HttpRoute;
    type View = RouteView;

    fn left_behind(view: &RouteView) -> Option<LeftBehind> {
        LeftBehind::route(RouteKind::Http, view)
    }
}

/// The Gateway API's `GRPCRoute`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpcRoute;

impl Whole for GrpcRoute {
    const KIND: ObjectKind = ObjectKind::GrpcRoute;
    type View = RouteView;

    fn left_behind(view: &RouteView) -> Option<LeftBehind> {
        LeftBehind::route(RouteKind::Grpc, view)
    }
}

/// Traefik's `IngressRoute`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IngressRoute;

impl Whole for IngressRoute {
    const KIND: ObjectKind = ObjectKind::IngressRoute;
    type View = WholeView;

    fn left_behind(view: &WholeView) -> Option<LeftBehind> {
        LeftBehind::ingress_route(view)
    }
}

/// Traefik's `TraefikService`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraefikService;

impl Whole for TraefikService {
    const KIND: ObjectKind = ObjectKind::TraefikService;
    type View = WholeView;
}

/// Traefik's `Middleware`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middleware;

impl Whole for Middleware {
    const KIND: ObjectKind = ObjectKind::Middleware;
    type View = WholeView;

    fn thin(view: WholeView) -> WholeView {
        by_name(view)
    }
}

/// Traefik's `ServersTransport`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServersTransport;

impl Whole for ServersTransport {
    const KIND: ObjectKind = ObjectKind::ServersTransport;
    type View = WholeView;

    fn thin(view: WholeView) -> WholeView {
        by_name(view)
    }
}

/// Istio's `VirtualService`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VirtualService;

impl Whole for VirtualService {
    const KIND: ObjectKind = ObjectKind::VirtualService;
    type View = WholeView;

    fn left_behind(view: &WholeView) -> Option<LeftBehind> {
        LeftBehind::virtual_service(view)
    }
}

/// What is parsed of an object of the kind, and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeRecord<K: Whole>(K::View);

impl<K: Whole> Deref for WholeRecord<K> {
    type Target = K::View;

    fn deref(&self) -> &K::View {
        &self.0
    }
}

impl<'de, K: Whole> Deserialize<'de> for WholeRecord<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(K::View::deserialize(deserializer)?))
    }
}

impl<K: Whole> Wire for WholeRecord<K> {
    type Scope = NamespaceResourceScope;
    const GROUP: &'static str = K::KIND.group();
    const VERSION: &'static str = K::KIND.version();
    const KIND: &'static str = K::KIND.kind();
    const PLURAL: &'static str = K::KIND.plural();

    fn identity(&self) -> Identity {
        let meta = router::View::meta(&self.0);
        Identity {
            name: meta.name.to_string(),
            namespace: Some(meta.namespace.to_string()),
            uid: Some(meta.uid.to_string()),
            resource_version: Some(meta.resource_version.to_string()),
        }
    }
}

impl<K: Whole> View for WholeRecord<K> {
    type Object = Raw<Self>;

    fn of(object: Raw<Self>) -> Option<Self> {
        Some(Self(K::thin(object.into_wire().0)))
    }
}

fn kept<K: Whole>(index: &Index<WholeRecord<K>>, namespace: &str, name: &str) -> Option<K::View> {
    index.get(namespace, name).map(|record| (**record).clone())
}

impl Caches {
    /// An object of one of the kinds whose status says nothing.
    #[must_use]
    pub fn whole(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<WholeView> {
        match kind {
            ObjectKind::IngressRoute => kept(&self.ingress_routes, namespace, name),
            ObjectKind::TraefikService => kept(&self.traefik_services, namespace, name),
            ObjectKind::VirtualService => kept(&self.virtual_services, namespace, name),
            ObjectKind::Middleware => kept(&self.middlewares, namespace, name),
            ObjectKind::ServersTransport => kept(&self.servers_transports, namespace, name),
            ObjectKind::ConfigMap => match &*self.config_maps.get(namespace, name)? {
                ConfigMapRecord::Split(view) => Some(view.clone()),
                ConfigMapRecord::Environment(_) | ConfigMapRecord::Flags(_) => None,
            },
            ObjectKind::Ingress
            | ObjectKind::HttpRoute
            | ObjectKind::GrpcRoute
            | ObjectKind::Service
            | ObjectKind::EndpointSlice => None,
        }
    }

    /// A route of the Gateway API.
    #[must_use]
    pub fn route(&self, kind: RouteKind, namespace: &str, name: &str) -> Option<RouteView> {
        match kind {
            RouteKind::Http => kept(&self.http_routes, namespace, name),
            RouteKind::Grpc => kept(&self.grpc_routes, namespace, name),
        }
    }

    /// Routes of the Gateway API in a namespace that no split keeps.
    #[must_use]
    pub fn users_routes(&self, namespace: &str) -> Vec<(ObjectKind, Arc<str>, RouteView)> {
        fn all<K: Whole<View = RouteView>>(
            index: &Index<WholeRecord<K>>,
            namespace: &str,
        ) -> impl Iterator<Item = (ObjectKind, Arc<str>, RouteView)> {
            let all = index.in_namespace(namespace).into_iter().filter(|(_, record)| record.meta.owner_uid.is_none());
            all.map(|(name, record)| (K::KIND, name, (**record).clone()))
        }
        all(&self.http_routes, namespace).chain(all(&self.grpc_routes, namespace)).collect()
    }

    /// The names of what Traefik's routes and Ingresses name, of those that begin so.
    #[must_use]
    pub fn accessories(&self, namespace: &str, prefix: &str) -> Vec<(ObjectKind, Arc<str>)> {
        fn named<K: Whole>(
            index: &Index<WholeRecord<K>>,
            namespace: &str,
            prefix: &str,
        ) -> Vec<(ObjectKind, Arc<str>)> {
            let all = index.in_namespace(namespace).into_iter();
            all.filter(|(name, _)| name.starts_with(prefix)).map(|(name, _)| (K::KIND, name)).collect()
        }
        let mut found = named(&self.middlewares, namespace, prefix);
        found.extend(named(&self.servers_transports, namespace, prefix));
        let config_maps = self.config_maps.in_namespace(namespace).into_iter();
        let of_splits = config_maps
            .filter(|(name, record)| name.starts_with(prefix) && matches!(**record, ConfigMapRecord::Split(_)));
        found.extend(of_splits.map(|(name, _)| (ObjectKind::ConfigMap, name)));
        found
    }

    /// Whether the caches of what Traefik's routes name can be believed, both.
    #[must_use]
    pub fn traefik_accessories(&self) -> [Presence; 2] {
        [self.middlewares.presence(), self.servers_transports.presence()]
    }

    /// Whether the caches of Traefik's kinds can be believed, both.
    #[must_use]
    pub fn traefik(&self) -> [Presence; 2] {
        [self.ingress_routes.presence(), self.traefik_services.presence()]
    }
}
