//! The IngressRoute and the TraefikService that we make.

use cutover_api::v1alpha1::traffic_split::{Side, TraefikRouter};
use serde_json::{Map, Value, json};

use super::{
    edge::{Edge, Named},
    rules, tls,
};
use crate::router::{
    contract::{Backend, Intent, ObjectKind, RouteStep},
    methods, names, own,
    shares::Share,
    view::WholeView,
};

/// Fields that we do not write, or not always, and that nobody else should.
const MEANINGFUL: [&str; 24] = [
    "certResolver",
    "domains",
    "entryPoints",
    "failover",
    "healthCheck",
    "highestRandomWeight",
    "ingressClassName",
    "middlewares",
    "mirroring",
    "namespace",
    "nativeLB",
    "nodePortLB",
    "options",
    "parentRefs",
    "passHostHeader",
    "passiveHealthCheck",
    "port",
    "responseForwarding",
    "scheme",
    "secretName",
    "serversTransport",
    "sticky",
    "strategy",
    "tls",
];

/// The TraefikService, unless it is as wanted. Who has no share is not listed.
pub(super) fn service(
    intent: &Intent<'_>,
    shares: &[Share<'_>],
    named: &Named,
    observed: Option<&WholeView>,
) -> Option<RouteStep> {
    let members: Vec<Value> = shares
        .iter()
        .filter(|share| share.weight > 0)
        .map(|share| {
            let mut member = reference(share.service, share.port, share.backend, named);
            member.insert("weight".to_owned(), share.weight.into());
            Value::Object(member)
        })
        .collect();
    let name = names::weighted_name(intent.split.name);
    let mut weighted = json!({"services": members});
    if let (Some(sticky), Some(weighted)) = (intent.sticking(), weighted.as_object_mut()) {
        let (name, max_age) = (sticky.cookie(), sticky.max_age());
        let cookie = json!({"name": name, "maxAge": max_age, "httpOnly": true, "sameSite": "lax"});
        weighted.insert("sticky".to_owned(), json!({"cookie": cookie}));
    }
    let spec = json!({"weighted": weighted});
    own::write(intent, ObjectKind::TraefikService, &name, spec, intent.baseline, observed, &MEANINGFUL)
}

/// The IngressRoute, unless it is as wanted.
pub(super) fn route(
    router: &TraefikRouter,
    intent: &Intent<'_>,
    edge: &Edge<'_>,
    copied: bool,
    observed: Option<&WholeView>,
) -> Option<RouteStep> {
    let mut spec = Map::new();
    spec.extend(router.entry_points.as_ref().map(|names| ("entryPoints".to_owned(), json!(names))));
    spec.insert("routes".to_owned(), routes(intent, edge, copied, &[]).into());
    spec.extend(router.tls.as_ref().map(|tls| {
        let mut found = Map::new();
        found.extend(tls.secret_name.as_ref().map(|name| ("secretName".to_owned(), name.as_str().into())));
        found.extend(tls.cert_resolver.as_ref().map(|name| ("certResolver".to_owned(), name.as_str().into())));
        ("tls".to_owned(), Value::Object(found))
    }));
    let name = names::route_name(intent.split.name);
    own::write(intent, ObjectKind::IngressRoute, &name, Value::Object(spec), None, observed, &MEANINGFUL)
}

/// The IngressRoute that redirects, unless it is as wanted: the rules of the other one, on entry points without TLS. Of what was sent by TLS to
/// somebody before Traefik nothing is redirected, and it goes where it would go.
pub(super) fn redirect(
    from: &[String],
    intent: &Intent<'_>,
    edge: &Edge<'_>,
    copied: bool,
    observed: Option<&WholeView>,
) -> Option<RouteStep> {
    let spec = json!({"entryPoints": from, "routes": routes(intent, edge, copied, &edge.redirecting())});
    let name = names::redirect_name(intent.split.name);
    own::write(intent, ObjectKind::IngressRoute, &name, spec, None, observed, &MEANINGFUL)
}

/// For each host and path a rule per pin, one for what is `copied`, and the weighted one; `first` is before all else. A pin is left out while
/// its side is not there: a rule without a backend is an error for its requests.
fn routes(intent: &Intent<'_>, edge: &Edge<'_>, copied: bool, first: &[Value]) -> Vec<Value> {
    let pins: Vec<(Side, String, &Backend)> = intent
        .pins
        .iter()
        .filter_map(|pin| Some((pin.to, rules::of_pin(pin)?, intent.sides.get(pin.to).present()?)))
        .collect();
    let led_to = |name: String| json!([{"kind": "TraefikService", "name": name}]);
    let weighted = led_to(names::weighted_name(intent.split.name));
    let copying = copied.then(|| (rules::by_methods(&methods::SAFE), led_to(names::mirror_name(intent.split.name))));
    let named = edge.named_by_pins();
    let mut routes = Vec::new();
    for (host, path) in intent.hosts.iter().flat_map(|host| intent.paths.iter().map(move |path| (host, path))) {
        let mut rule = rules::of(host, path);
        let priority = rules::rank(host, path);
        let middlewares = [first, &edge.middlewares(path)].concat();
        let mut add = |rule: String, services: &Value| {
            let mut route = json!({"kind": "Rule", "match": rule, "priority": priority, "services": services});
            if let (Some(route), false) = (route.as_object_mut(), middlewares.is_empty()) {
                route.insert("middlewares".to_owned(), middlewares.clone().into());
            }
            routes.push(route);
        };
        for (_, pin, backend) in &pins {
            add(format!("{rule} && {pin}"), &json!([reference(&backend.service, backend.port, Some(backend), &named)]));
            rule = format!("{rule} && !{pin}");
        }
        if let Some(((safe, others), copying)) = &copying {
            add(format!("{rule} && {safe}"), copying);
            rule = format!("{rule} && {others}");
        }
        add(rule, &weighted);
    }
    routes
}

/// The protocol that a Service says it speaks. Without one Traefik goes by the port's name and number.
fn scheme(backend: &Backend) -> Option<&'static str> {
    match backend.app_protocol.as_deref() {
        Some("http" | "HTTP" | "kubernetes.io/ws") => Some("http"),
        Some("https" | "HTTPS" | "kubernetes.io/wss") => Some("https"),
        Some("kubernetes.io/h2c" | "grpc" | "GRPC") => Some("h2c"),
        _ => None,
    }
}

/// Whether Traefik speaks plain HTTP to it.
pub(super) fn is_plain(backend: &Backend) -> bool {
    let by_port = || backend.port != 443 && !backend.port_name.as_deref().is_some_and(|name| name.starts_with("https"));
    scheme(backend).map_or_else(by_port, |scheme| scheme == "http")
}

/// How Traefik speaks to it, said where the port may have another name.
pub(super) fn spoken(backend: &Backend) -> &'static str {
    scheme(backend).unwrap_or(if is_plain(backend) { "http" } else { "https" })
}

/// A Service's port, how it is spoken to, and what is done on the way to it.
fn reference(service: &str, port: i32, backend: Option<&Backend>, named: &Named) -> Map<String, Value> {
    let mut reference = Map::from_iter([
        ("kind".to_owned(), "Service".into()),
        ("name".to_owned(), service.into()),
        ("port".to_owned(), port.into()),
    ]);
    reference.extend(backend.and_then(scheme).map(|scheme| ("scheme".to_owned(), scheme.into())));
    reference.extend(named.fields());
    let transport = backend.and_then(tls::transport);
    reference.extend(transport.map(|name| ("serversTransport".to_owned(), name.into())));
    reference
}
