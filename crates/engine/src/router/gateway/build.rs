//! The HTTPRoute that we make.

use cutover_api::{
    labels,
    v1alpha1::traffic_split::{CookieMatch, GatewayApiRouter, PathMatch, PathType, Pin},
};
use serde_json::{Map, Value, json};

use super::rule::{Backends, backend_ref};
use crate::router::{
    contract::{Intent, ObjectKind, RouteStep},
    headers, marks, names,
    view::{HttpRouteView, Meta},
};

/// Name of the rule that carries the weights.
pub(super) const WEIGHTED: &str = "weighted";

/// `spec`, with every default of the API written out, so that what is read equals what was written.
pub(super) fn spec(router: &GatewayApiRouter, intent: &Intent<'_>, backends: &Backends<'_>) -> Value {
    let mut rules: Vec<Map<String, Value>> =
        intent.pins.iter().enumerate().filter_map(|(at, pin)| pin_rule(at, pin, intent)).collect();
    let matches = intent.paths.iter().map(|path| json!({"path": path_match(path)})).collect();
    rules.push(rule(WEIGHTED.to_owned(), matches, backends.refs()));
    if let Some(headers) = intent.edge.and_then(|edge| edge.security_headers.as_ref()) {
        // To set replaces a header of the application, so that none comes twice.
        let set: Vec<Value> =
            headers::of(headers).into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let filters = json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": set}}]);
        for rule in &mut rules {
            rule.insert("filters".to_owned(), filters.clone());
        }
    }
    let parents: Vec<Value> = router
        .parent_refs
        .iter()
        .flatten()
        .map(|parent| {
            let mut it = Map::from_iter([
                ("group".to_owned(), "gateway.networking.k8s.io".into()),
                ("kind".to_owned(), "Gateway".into()),
                ("name".to_owned(), parent.name.as_str().into()),
            ]);
            it.extend(parent.namespace.as_ref().map(|namespace| ("namespace".to_owned(), namespace.as_str().into())));
            it.extend(parent.section_name.as_ref().map(|name| ("sectionName".to_owned(), name.as_str().into())));
            Value::Object(it)
        })
        .collect();
    json!({"parentRefs": parents, "hostnames": intent.hosts, "rules": rules})
}

/// The rule of a pin: every path, with the header. Left out while the pin's side is not there: a rule without a backend is an error
/// for its requests.
fn pin_rule(at: usize, pin: &Pin, intent: &Intent<'_>) -> Option<Map<String, Value>> {
    let backend = intent.sides.get(pin.to).present()?;
    let header = match (&pin.header, &pin.cookie) {
        (Some(header), _) => json!({"type": "Exact", "name": header.name, "value": header.value}),
        (None, Some(cookie)) => {
            json!({"type": "RegularExpression", "name": "cookie", "value": cookie_expression(cookie)})
        }
        (None, None) => return None,
    };
    let matches = intent.paths.iter().map(|path| json!({"path": path_match(path), "headers": [header]})).collect();
    Some(rule(format!("pin-{}", at + 1), matches, json!([backend_ref((&backend.service, backend.port), 1)])))
}

fn rule(name: String, matches: Vec<Value>, backends: Value) -> Map<String, Value> {
    [("name", name.into()), ("matches", matches.into()), ("backendRefs", backends)]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

/// Matches a `cookie` header that holds this cookie with this value, for engines that search and for those that match the whole.
fn cookie_expression(cookie: &CookieMatch) -> String {
    format!(r"^(.*;\s*)?{}={}(;.*)?$", cookie.name, cookie.value.replace('.', r"\."))
}

fn path_match(path: &PathMatch) -> Value {
    let type_ = match path.type_ {
        PathType::Prefix => "PathPrefix",
        PathType::Exact => "Exact",
    };
    json!({"type": type_, "value": path.value})
}

/// The whole object.
pub(super) fn route(intent: &Intent<'_>, spec: Value, observed: Option<&Meta>) -> RouteStep {
    let name = names::route_name(intent.split.name);
    let baseline = intent.baseline.map(|baseline| (labels::BASELINE.to_owned(), baseline.to_owned()));
    let metadata = marks::metadata(&intent.split, &name, &[], baseline);
    let body = Map::from_iter([("metadata".to_owned(), metadata), ("spec".to_owned(), spec)]);
    marks::apply(ObjectKind::HttpRoute, &name, body, observed)
}

/// A change of a route's rules alone, in the version that was read.
pub(super) fn patch(route: &HttpRouteView, spec: &Value) -> Option<RouteStep> {
    (!route.meta.deleting).then(|| marks::patch_spec(ObjectKind::HttpRoute, &route.meta, spec))
}
