//! Routes that deleted splits left behind (`onDelete: Release`). They go on serving, beside those of a split of another name that claims the
//! same: which of the two a proxy goes by is not for us to say, so it is told. Pure.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{PathMatch, RouteKind, Router},
};
use serde_json::Value;

use super::{as_is, conflict::same_path};
use crate::router::{
    IngressView, Meta, ObjectKind, RouteView, WholeView, ingress_route_hosts_and_paths, virtual_service_hosts_and_paths,
};

/// Routes that are named in one message.
const NAMED: usize = 3;

/// A route that a deleted split left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The name of the split that it was made for.
    pub split: String,
    /// Its hosts.
    pub hosts: Vec<String>,
    paths: Vec<PathMatch>,
    /// What serves it: a class, Gateways, entry points. None: any.
    edges: Vec<String>,
}

impl LeftBehind {
    /// An Ingress that was left behind.
    #[must_use]
    pub fn ingress(view: &IngressView) -> Option<Self> {
        let edges = vec![view.class_name.as_deref().unwrap_or_default().to_owned()];
        Self::new(ObjectKind::Ingress, &view.meta, as_is::of_ingress(view), edges)
    }

    /// A route of the Gateway API that was left behind.
    #[must_use]
    pub fn route(kind: RouteKind, view: &RouteView) -> Option<Self> {
        let spec = view.spec.value();
        let gateway = |parent: &Value| {
            let namespace = parent.get("namespace").and_then(Value::as_str).unwrap_or(&view.meta.namespace);
            Some(format!("{namespace}/{}", parent.get("name")?.as_str()?))
        };
        let edges = list(&spec, "parentRefs").iter().filter_map(gateway).collect();
        Self::new(kind.into(), &view.meta, as_is::of_route(kind, view), edges)
    }

    /// An `IngressRoute` that was left behind.
    #[must_use]
    pub fn ingress_route(view: &WholeView) -> Option<Self> {
        let edges = texts(&view.spec.value(), "entryPoints");
        // What paths are rewritten to is nothing here.
        Self::new(ObjectKind::IngressRoute, &view.meta, ingress_route_hosts_and_paths(view, &[])?, edges)
    }

    /// A `VirtualService` that was left behind.
    #[must_use]
    pub fn virtual_service(view: &WholeView) -> Option<Self> {
        let edges = texts(&view.spec.value(), "gateways");
        Self::new(ObjectKind::VirtualService, &view.meta, virtual_service_hosts_and_paths(view)?, edges)
    }

    fn new(
        kind: ObjectKind,
        meta: &Meta,
        (hosts, paths): (Vec<String>, Vec<PathMatch>),
        edges: Vec<String>,
    ) -> Option<Self> {
        let (_, split) = meta.released_from.as_deref()?.split_once('/')?;
        let is_free = meta.owner_uid.is_none() && !meta.deleting;
        is_free.then(|| Self { kind, name: meta.name.to_string(), split: split.to_owned(), hosts, paths, edges })
    }

    /// The first host and path that it has in common with the routes that a split makes.
    fn shared(&self, namespace: &str, spec: &TrafficSplitSpec) -> Option<String> {
        let is_met = |edges: &[String]| {
            edges.is_empty() || self.edges.is_empty() || edges.iter().any(|edge| self.edges.contains(edge))
        };
        spec.routers.iter().find(|router| {
            made_at(namespace, router).is_some_and(|(kind, edges)| kind == self.kind && is_met(&edges))
        })?;
        let host = spec.hosts.iter().find(|host| self.hosts.contains(host))?;
        let path = spec.paths.iter().find(|path| self.paths.iter().any(|theirs| same_path(path, theirs)))?;
        Some(format!("{host}{}", path.value))
    }
}

/// The kind of route that a managed router makes, and what serves it.
fn made_at(namespace: &str, router: &Router) -> Option<(ObjectKind, Vec<String>)> {
    let Router { ingress_nginx, gateway_api, traefik, istio, alb, .. } = router;
    if let Some(class) = ingress_nginx.as_ref().and_then(|it| it.class_name.clone()) {
        return Some((ObjectKind::Ingress, vec![class]));
    }
    if let Some(alb) = alb {
        return Some((ObjectKind::Ingress, vec![alb.class_name.clone()]));
    }
    if let Some((kind, parents)) = gateway_api.as_ref().and_then(|it| Some((it.route_kind, it.parent_refs.as_ref()?))) {
        let edges = parents.iter().map(|it| format!("{}/{}", it.namespace.as_deref().unwrap_or(namespace), it.name));
        return Some((kind.into(), edges.collect()));
    }
    if let Some(traefik) = traefik.as_ref().filter(|it| it.attach.is_none()) {
        return Some((ObjectKind::IngressRoute, traefik.entry_points.clone().unwrap_or_default()));
    }
    let gateways = istio.as_ref().and_then(|it| it.gateways.clone())?;
    Some((ObjectKind::VirtualService, gateways))
}

fn list(spec: &Value, key: &str) -> Vec<Value> {
    spec.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn texts(spec: &Value, key: &str) -> Vec<String> {
    list(spec, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What is to be told of routes that others left behind and that claim what the split does; `None` if there are none.
#[must_use]
pub fn overlap(namespace: &str, spec: &TrafficSplitSpec, left: &[LeftBehind]) -> Option<String> {
    let mut met: Vec<_> = left.iter().filter_map(|it| Some((it, it.shared(namespace, spec)?))).collect();
    met.sort_by_key(|(it, _)| (it.kind.kind(), &it.name));
    let (first, shared) = met.first()?;
    let names: Vec<String> = met.iter().take(NAMED).map(|(it, _)| format!("{} {}", it.kind.kind(), it.name)).collect();
    let more = met.len().checked_sub(NAMED).filter(|more| *more > 0).map(|more| format!(" and {more} more"));
    Some(format!(
        "{}{}: left behind by the deleted TrafficSplit {} and still served for {shared}, so that requests may go by it and not by this \
         split's weights: delete it once this split's route is there (kubectl delete {} {}), or name this split {} to take it up",
        names.join(", "),
        more.unwrap_or_default(),
        first.split,
        first.kind.plural(),
        first.name,
        first.split,
    ))
}
