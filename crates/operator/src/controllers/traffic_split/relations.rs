//! Which splits are concerned by an object of another kind: looked up, not searched for. No I/O.
//!
//! Keys are hashes: two objects with the same one merely cost a look too many.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{PoisonError, RwLock},
};

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{Backend, RouteAttach, RouteKind},
};
use cutover_engine::{
    Known,
    traffic_split::{Target, sides_on_traefik},
};

use crate::cluster::stores::Key;

/// Something that splits refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Referred<'a> {
    /// A host, within the namespace: splits that share one may be in conflict.
    Host(&'a str),
    Environment(&'a str),
    Service(&'a str),
    /// An Ingress that a split attaches to.
    Ingress(&'a str),
    /// A route of the Gateway API that a split attaches to.
    Route(RouteKind, &'a str),
    /// A Gateway, in the namespace that the hash is made with.
    Gateway(&'a str),
    /// Anything of the Gateway API.
    GatewayApi,
    /// A TraefikService that a split attaches to.
    TraefikService(&'a str),
    /// Anything of Traefik's own kinds.
    Traefik,
    /// A side that Traefik's own kinds lead to: an Environment's name and a component's, or nothing and a Service's.
    Side(&'a str, &'a str),
    /// A VirtualService that a split attaches to.
    VirtualService(&'a str),
    /// Anything of Istio.
    Istio,
    /// Any Ingress of the namespace: attached splits look at their neighbours.
    AnyIngress,
}

impl Referred<'_> {
    pub(super) fn within(self, namespace: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (namespace, self).hash(&mut hasher);
        hasher.finish()
    }
}

/// What a split's spec refers to by itself.
pub(super) fn of_spec(namespace: &str, spec: &TrafficSplitSpec) -> Vec<u64> {
    let mut found: Vec<u64> = spec.hosts.iter().map(|host| Referred::Host(host).within(namespace)).collect();
    found.extend(spec.environment.as_deref().map(|name| Referred::Environment(name).within(namespace)));
    for router in &spec.routers {
        if let Some(attach) = router.ingress_nginx.as_ref().and_then(|router| router.attach.as_ref()) {
            found.push(Referred::Ingress(&attach.ingress).within(namespace));
            found.push(Referred::AnyIngress.within(namespace));
        }
        if let Some(gateway) = &router.gateway_api {
            found.push(Referred::GatewayApi.within(""));
            let route = |attach: &RouteAttach| Referred::Route(gateway.route_kind, &attach.route).within(namespace);
            found.extend(gateway.attach.iter().map(route));
            found.extend(gateway.parent_refs.iter().flatten().map(|parent| {
                Referred::Gateway(&parent.name).within(parent.namespace.as_deref().unwrap_or(namespace))
            }));
        }
        if let Some(traefik) = &router.traefik {
            found.push(Referred::Traefik.within(""));
            found.extend(traefik.attach.iter().map(|it| Referred::TraefikService(&it.service).within(namespace)));
        }
        if let Some(istio) = &router.istio {
            found.push(Referred::Istio.within(""));
            found.extend(istio.attach.iter().map(|it| Referred::VirtualService(&it.virtual_service).within(namespace)));
        }
    }
    found.extend(of_sides(namespace, spec));
    found
}

/// The sides of which others on Traefik's own kinds may say otherwise how they are asked.
pub(super) fn of_sides(namespace: &str, spec: &TrafficSplitSpec) -> Vec<u64> {
    let side = |(_, side): (_, &Backend)| {
        let component = || Some((spec.environment.as_deref()?, side.component.as_deref()?));
        let (environment, name) = component().or_else(|| Some(("", &side.service.as_ref()?.name)))?;
        Some(Referred::Side(environment, name).within(namespace))
    };
    sides_on_traefik(spec).filter_map(side).collect()
}

/// The Services that the sides come down to.
pub(super) fn of_targets(namespace: &str, targets: &[Known<Target>]) -> Vec<u64> {
    let service = |target: &Known<Target>| match target {
        Known::Known(Target::Service { name, .. }) => Some(Referred::Service(name).within(namespace)),
        _ => None,
    };
    targets.iter().filter_map(service).collect()
}

#[derive(Default)]
struct Maps {
    splits: HashMap<u64, Vec<Key>>,
    referred: HashMap<Key, Box<[u64]>>,
}

/// The relations of all splits.
#[derive(Default)]
pub(super) struct Relations {
    maps: RwLock<Maps>,
}

impl Relations {
    /// The splits that refer to this.
    pub(super) fn of(&self, referred: u64) -> Vec<Key> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner).splits.get(&referred).cloned().unwrap_or_default()
    }

    /// Adds what a split refers to: until [`Self::set`] it also stays with what it referred to before.
    pub(super) fn add(&self, split: &Key, more: &[u64]) {
        let all: Vec<u64> = {
            let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
            let known = maps.referred.get(split).map(AsRef::as_ref).unwrap_or_default();
            if more.iter().all(|one| known.contains(one)) {
                return;
            }
            known.iter().chain(more).copied().collect()
        };
        self.set(split, all);
    }

    /// What a split refers to from now on, all of it.
    pub(super) fn set(&self, split: &Key, mut referred: Vec<u64>) {
        referred.sort_unstable();
        referred.dedup();
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let Maps { splits, referred: all } = &mut *maps;
        let before = all.get(split).map(AsRef::as_ref).unwrap_or_default();
        if before == referred {
            return;
        }
        for gone in before.iter().filter(|one| referred.binary_search(one).is_err()) {
            leave(splits, *gone, split);
        }
        for new in referred.iter().filter(|one| before.binary_search(one).is_err()) {
            splits.entry(*new).or_insert_with(|| Vec::with_capacity(1)).push(split.clone());
        }
        all.insert(split.clone(), referred.into());
    }

    /// Forgets a split.
    pub(super) fn remove(&self, split: &Key) {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let Maps { splits, referred } = &mut *maps;
        for gone in referred.remove(split).iter().flatten() {
            leave(splits, *gone, split);
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let maps = self.maps.read().unwrap();
        maps.splits.is_empty() && maps.referred.is_empty()
    }
}

fn leave(splits: &mut HashMap<u64, Vec<Key>>, referred: u64, split: &Key) {
    if let Some(members) = splits.get_mut(&referred) {
        members.retain(|member| member != split);
        if members.is_empty() {
            splits.remove(&referred);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_found_by_what_they_refer_to_until_they_no_longer_do() {
        let relations = Relations::default();
        let (storefront, checkout) = (Key::new("shop", "storefront"), Key::new("shop", "checkout"));
        let monolith = Referred::Service("monolith").within("shop");
        let (new, cart) = (Referred::Service("new").within("shop"), Referred::Service("cart").within("shop"));
        relations.set(&storefront, vec![monolith, new]);
        relations.set(&checkout, vec![cart, monolith]);
        assert_eq!(relations.of(monolith), [storefront.clone(), checkout.clone()]);
        assert_eq!(relations.of(Referred::Service("monolith").within("other")), []);

        relations.set(&storefront, vec![new]);
        assert_eq!((relations.of(monolith), relations.of(new)), (vec![checkout.clone()], vec![storefront.clone()]));
        relations.add(&storefront, &[cart, new]);
        assert_eq!(relations.of(cart), [checkout.clone(), storefront.clone()]);
        assert_eq!(relations.of(new), std::slice::from_ref(&storefront));

        relations.remove(&storefront);
        relations.remove(&checkout);
        assert!(relations.is_empty());
    }

    #[test]
    fn a_spec_refers_to_its_edges() {
        let spec: TrafficSplitSpec = serde_json::from_value(serde_json::json!({
            "environment": "production",
            "hosts": ["shop.example.com"],
            "new": {"component": "storefront"},
            "routers": [
                {"ingressNginx": {"attach": {"ingress": "old"}}},
                {"gatewayApi": {"parentRefs": [{"name": "edge", "namespace": "infra"}, {"name": "inner"}]}},
                {"traefik": {"attach": {"service": "weighted"}}},
                {"gatewayApi": {"routeKind": "GRPCRoute", "attach": {"route": "cart", "rule": "all"}}},
                {"istio": {"attach": {"virtualService": "shop", "http": "all"}}},
            ],
        }))
        .unwrap();
        let found = of_spec("shop", &spec);
        for expected in [
            Referred::Host("shop.example.com").within("shop"),
            Referred::Environment("production").within("shop"),
            Referred::Ingress("old").within("shop"),
            Referred::AnyIngress.within("shop"),
            Referred::Gateway("edge").within("infra"),
            Referred::Gateway("inner").within("shop"),
            Referred::GatewayApi.within(""),
            Referred::Route(RouteKind::Grpc, "cart").within("shop"),
            Referred::TraefikService("weighted").within("shop"),
            Referred::Traefik.within(""),
            Referred::VirtualService("shop").within("shop"),
            Referred::Istio.within(""),
        ] {
            assert!(found.contains(&expected));
        }
        assert_eq!(found.len(), 13);
    }
}
