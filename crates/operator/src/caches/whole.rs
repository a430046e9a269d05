//! Routes of kinds whose spec is kept as a whole, each in an index of its own: Traefik's and Istio's.

use std::{fmt::Debug, marker::PhantomData, ops::Deref, sync::Arc};

use cutover_engine::router::{ObjectKind, WholeView, view::Json};
use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Deserializer};

use super::{
    Caches,
    raw::{Identity, Raw, Wire},
};
use crate::cluster::stores::{Index, Presence, View};

/// Names a kind.
pub trait Whole: Clone + Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The kind.
    const KIND: ObjectKind;
    /// Whether anybody looks into those of others. Where nobody does they are kept for their names alone: users have many, and
    /// what is in them is not for us to keep.
    const LOOKED_INTO: bool = true;
}

/// Traefik's `IngressRoute`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IngressRoute;

impl Whole for IngressRoute {
    const KIND: ObjectKind = ObjectKind::IngressRoute;
}

/// Traefik's `TraefikService`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraefikService;

impl Whole for TraefikService {
    const KIND: ObjectKind = ObjectKind::TraefikService;
}

/// Traefik's `Middleware`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middleware;

impl Whole for Middleware {
    const KIND: ObjectKind = ObjectKind::Middleware;
    const LOOKED_INTO: bool = false;
}

/// Traefik's `ServersTransport`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServersTransport;

impl Whole for ServersTransport {
    const KIND: ObjectKind = ObjectKind::ServersTransport;
    const LOOKED_INTO: bool = false;
}

/// Istio's `VirtualService`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VirtualService;

impl Whole for VirtualService {
    const KIND: ObjectKind = ObjectKind::VirtualService;
}

/// What is parsed of an object of the kind, and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeRecord<K>(WholeView, PhantomData<fn() -> K>);

impl<K> Deref for WholeRecord<K> {
    type Target = WholeView;

    fn deref(&self) -> &WholeView {
        &self.0
    }
}

impl<'de, K> Deserialize<'de> for WholeRecord<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(WholeView::deserialize(deserializer)?, PhantomData))
    }
}

impl<K: Whole> Wire for WholeRecord<K> {
    type Scope = NamespaceResourceScope;
    const GROUP: &'static str = K::KIND.group();
    const VERSION: &'static str = K::KIND.version();
    const KIND: &'static str = K::KIND.kind();
    const PLURAL: &'static str = K::KIND.plural();

    fn identity(&self) -> Identity {
        let meta = &self.meta;
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
        let Self(mut view, kind) = object.into_wire();
        if !K::LOOKED_INTO && view.meta.owner_uid.is_none() && view.meta.released_from.is_none() {
            view.spec = Json::default();
        }
        Some(Self(view, kind))
    }
}

impl Caches {
    /// An object of one of these kinds.
    #[must_use]
    pub fn whole(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<WholeView> {
        fn kept<K: Whole>(index: &Index<WholeRecord<K>>, namespace: &str, name: &str) -> Option<WholeView> {
            index.get(namespace, name).map(|record| (**record).clone())
        }
        match kind {
            ObjectKind::IngressRoute => kept(&self.ingress_routes, namespace, name),
            ObjectKind::TraefikService => kept(&self.traefik_services, namespace, name),
            ObjectKind::VirtualService => kept(&self.virtual_services, namespace, name),
            ObjectKind::Middleware => kept(&self.middlewares, namespace, name),
            ObjectKind::ServersTransport => kept(&self.servers_transports, namespace, name),
            ObjectKind::Ingress | ObjectKind::HttpRoute | ObjectKind::Service | ObjectKind::EndpointSlice => None,
        }
    }

    /// The names of what Traefik's routes name, of those that begin so.
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
