//! The route that we make.

use cutover_api::{
    labels,
    v1alpha1::traffic_split::{GatewayApiRouter, ParentRef},
};
use serde_json::{Map, Value, json};

use super::{rule::Backends, rules};
use crate::router::{
    contract::{Intent, ObjectKind, RouteStep},
    marks,
    sticky::Sticky,
    view::{Meta, RouteView},
};

/// `spec`, with every default of the API written out, so that what is read equals what was written.
pub(super) fn spec(
    router: &GatewayApiRouter,
    intent: &Intent<'_>,
    backends: &Backends<'_>,
    sticking: Option<Sticky<'_>>,
) -> Value {
    let parents = router.parent_refs.iter().flatten();
    let parents: Vec<Value> = parents.map(|parent| parent_ref(parent, parent.section_name.as_deref())).collect();
    let rules = rules::of(router.route_kind, intent, backends, sticking);
    json!({"parentRefs": parents, "hostnames": intent.hosts, "rules": rules})
}

/// A Gateway, or one listener of it.
pub(super) fn parent_ref(parent: &ParentRef, listener: Option<&str>) -> Value {
    let mut it = Map::from_iter([
        ("group".to_owned(), "gateway.networking.k8s.io".into()),
        ("kind".to_owned(), "Gateway".into()),
        ("name".to_owned(), parent.name.as_str().into()),
    ]);
    it.extend(parent.namespace.as_ref().map(|namespace| ("namespace".to_owned(), namespace.as_str().into())));
    it.extend(listener.map(|name| ("sectionName".to_owned(), name.into())));
    Value::Object(it)
}

/// The whole object.
pub(super) fn route(
    kind: ObjectKind,
    intent: &Intent<'_>,
    name: &str,
    spec: Value,
    baseline: Option<&str>,
    observed: Option<&Meta>,
) -> RouteStep {
    let baseline = baseline.map(|baseline| (labels::BASELINE.to_owned(), baseline.to_owned()));
    let metadata = marks::metadata(&intent.split, name, &[], baseline);
    let body = Map::from_iter([("metadata".to_owned(), metadata), ("spec".to_owned(), spec)]);
    marks::apply(kind, name, body, observed)
}

/// A change of a route's rules alone, in the version that was read.
pub(super) fn patch(kind: ObjectKind, route: &RouteView, spec: &Value) -> Option<RouteStep> {
    (!route.meta.deleting).then(|| marks::patch_spec(kind, &route.meta, spec))
}
