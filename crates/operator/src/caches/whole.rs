//! Routes of kinds whose spec is kept as a whole, each in an index of its own: Traefik's and Istio's.

use std::{fmt::Debug, marker::PhantomData, ops::Deref};

use cutover_engine::router::{ObjectKind, WholeView};
use k8s_openapi::NamespaceResourceScope;
use serde::{Deserialize, Deserializer};

use super::{
    Caches,
    raw::{Identity, Raw, Wire},
};
use crate::cluster::stores::{Presence, View};

/// Names a kind.
pub trait Whole: Clone + Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The kind.
    const KIND: ObjectKind;
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
        Some(object.into_wire())
    }
}

impl Caches {
    /// An object of one of these kinds.
    #[must_use]
    pub fn whole(&self, kind: ObjectKind, namespace: &str, name: &str) -> Option<WholeView> {
        match kind {
            ObjectKind::IngressRoute => self.ingress_routes.get(namespace, name).map(|record| (**record).clone()),
            ObjectKind::TraefikService => self.traefik_services.get(namespace, name).map(|record| (**record).clone()),
            ObjectKind::VirtualService => self.virtual_services.get(namespace, name).map(|record| (**record).clone()),
            ObjectKind::Ingress | ObjectKind::HttpRoute | ObjectKind::Service | ObjectKind::EndpointSlice => None,
        }
    }

    /// Whether the caches of Traefik's kinds can be believed, both.
    #[must_use]
    pub fn traefik(&self) -> [Presence; 2] {
        [self.ingress_routes.presence(), self.traefik_services.presence()]
    }
}
