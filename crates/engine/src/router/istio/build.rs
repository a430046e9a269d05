//! The VirtualService that we make.

use cutover_api::v1alpha1::traffic_split::{IstioRouter, PathMatch, PathType, Pin};
use serde_json::{Map, Value, json};

use super::entry::destination;
use crate::router::{
    contract::{Intent, ObjectKind, RouteStep},
    headers, names, own,
    shares::Share,
    view::WholeView,
};

/// Name of the entry that carries the weights.
pub(super) const WEIGHTED: &str = "weighted";

/// Fields that we do not write, or not always, and that nobody else should.
const MEANINGFUL: [&str; 23] = [
    "authority",
    "corsPolicy",
    "delegate",
    "directResponse",
    "exportTo",
    "fault",
    "gateways",
    "headers",
    "ignoreUriCase",
    "method",
    "mirror",
    "mirrors",
    "port",
    "queryParams",
    "redirect",
    "retries",
    "rewrite",
    "sourceLabels",
    "subset",
    "tcp",
    "timeout",
    "tls",
    "withoutHeaders",
];

/// The VirtualService, unless it is as wanted.
pub(super) fn virtual_service(
    router: &IstioRouter,
    intent: &Intent<'_>,
    shares: &[Share<'_>],
    observed: Option<&WholeView>,
) -> Option<RouteStep> {
    let mut http: Vec<Value> = intent.pins.iter().enumerate().filter_map(|(at, pin)| pinned(at, pin, intent)).collect();
    let route: Vec<Value> = shares
        .iter()
        .map(|share| json!({"destination": destination(share.service, share.port), "weight": share.weight}))
        .collect();
    http.push(json!({"name": WEIGHTED, "match": matches(intent.paths, None), "route": route}));
    if let Some(headers) = intent.edge.and_then(|edge| edge.security_headers.as_ref()) {
        let set: Map<String, Value> =
            headers::of(headers).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let headers = json!({"response": {"set": set}});
        for entry in http.iter_mut().filter_map(Value::as_object_mut) {
            entry.insert("headers".to_owned(), headers.clone());
        }
    }
    let spec = json!({"gateways": router.gateways, "hosts": intent.hosts, "http": http});
    let name = names::route_name(intent.split.name);
    own::write(intent, ObjectKind::VirtualService, &name, spec, intent.baseline, observed, &MEANINGFUL)
}

/// The entry of a pin. Left out while the pin's side is not there: an entry without a destination is an error for its requests.
fn pinned(at: usize, pin: &Pin, intent: &Intent<'_>) -> Option<Value> {
    let backend = intent.sides.get(pin.to).present()?;
    let headers = match (&pin.header, &pin.cookie) {
        // Names of headers have to be in lower case here.
        (Some(header), _) => json!({(header.name.to_ascii_lowercase()): {"exact": header.value}}),
        (None, Some(cookie)) => {
            // The expression has to match from end to end.
            let value = cookie.value.replace('.', r"\.");
            json!({"cookie": {"regex": format!(r"(.*;\s*)?{}={value}(;.*)?", cookie.name)}})
        }
        (None, None) => return None,
    };
    Some(json!({
        "name": format!("pin-{}", at + 1),
        "match": matches(intent.paths, Some(&headers)),
        "route": [{"destination": destination(&backend.service, backend.port), "weight": intent.weight_total}],
    }))
}

/// Any of the paths, each with the headers.
fn matches(paths: &[PathMatch], headers: Option<&Value>) -> Vec<Value> {
    let uris = paths.iter().flat_map(|path| match (path.type_, path.value.trim_end_matches('/')) {
        (PathType::Exact, _) => vec![json!({"exact": path.value})],
        (PathType::Prefix, "") => vec![json!({"prefix": "/"})],
        (PathType::Prefix, prefix) => vec![json!({"exact": prefix}), json!({"prefix": format!("{prefix}/")})],
    });
    uris.map(|uri| match headers {
        Some(headers) => json!({"uri": uri, "headers": headers}),
        None => json!({"uri": uri}),
    })
    .collect()
}

/// The hosts and paths of a VirtualService that we made.
pub(crate) fn hosts_and_paths(service: &WholeView) -> Option<(Vec<String>, Vec<PathMatch>)> {
    let spec = service.spec.value();
    let hosts = spec.get("hosts")?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let uris: Vec<(&str, &str)> = super::entry::named(&spec, WEIGHTED)?
        .get("match")?
        .as_array()?
        .iter()
        .filter_map(|it| {
            let (kind, value) = it.get("uri")?.as_object()?.iter().next()?;
            Some((kind.as_str(), value.as_str()?))
        })
        .collect();
    let mut paths = Vec::new();
    let mut rest = uris.as_slice();
    while let [(kind, value), after @ ..] = rest {
        // Written as two, a prefix is its bare path and what is below.
        let below =
            after.first().is_some_and(|(kind, below)| *kind == "prefix" && below.strip_suffix('/') == Some(value));
        let type_ = if *kind == "prefix" || below { PathType::Prefix } else { PathType::Exact };
        paths.push(PathMatch::new(type_, *value));
        rest = if below { after.get(1..).unwrap_or_default() } else { after };
    }
    Some((hosts, paths))
}
