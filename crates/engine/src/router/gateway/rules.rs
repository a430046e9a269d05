//! The rules of the route that we make: every pin's and the weighted one, each in as many parts as paths and methods are treated
//! differently.
//!
//! A match by method outranks one by header, so that pins are divided by method as the weighted rule is.

use cutover_api::v1alpha1::traffic_split::{Cors, Edge, Mirror, PathMatch, PathType, Pin, RouteKind, Side};
use serde_json::{Map, Value, json};

use super::{
    grpc,
    rule::{self, Backends, backend_ref},
};
use crate::router::{
    contract::{Backend, Intent},
    headers, methods, names, parts,
    shares::Share,
    sticky::{MAX_DEALS, STICKY, Sticky},
};

/// Whether a rule of ours carries weights. Older versions of the API keep no names: there it is a rule that looks for no header.
pub(super) fn is_weighted(rule: &Value) -> bool {
    let by_header = |it: &Value| it.get("headers").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    match rule.get("name").and_then(Value::as_str) {
        Some(name) => parts::is_weighted(name),
        None => !rule.get("matches").and_then(Value::as_array).into_iter().flatten().any(by_header),
    }
}

/// All rules, the weighted ones last.
pub(super) fn of(
    kind: RouteKind,
    intent: &Intent<'_>,
    backends: &Backends<'_>,
    sticking: Option<Sticky<'_>>,
) -> Vec<Value> {
    let copies = methods::copies(intent).ok().flatten();
    let classes = methods::classes(copies.map(|(mirror, _)| mirror), false);
    let mut all = Vec::new();
    let mut add = |name: &str, header: Option<&Value>, backends: &Value, copies: Option<(&Mirror, &Backend)>| {
        let mut at = 0_usize;
        for class in &classes {
            let copies = copies.filter(|_| class.copied);
            for (matches, rewrite) in matches_of(kind, intent.paths, &class.methods, header) {
                at += 1;
                let mut rule = Map::from_iter([
                    ("name".to_owned(), parts::name(name, at).into()),
                    ("matches".to_owned(), matches.into()),
                    ("backendRefs".to_owned(), backends.clone()),
                ]);
                let mut filters: Vec<Value> = intent.edge.into_iter().flat_map(of_every_rule).collect();
                filters.extend(rewrite.map(|path| json!({"type": "URLRewrite", "urlRewrite": {"path": path}})));
                filters.extend(copies.map(|(mirror, new)| mirrored(*mirror, new)));
                if !filters.is_empty() {
                    rule.insert("filters".to_owned(), filters.into());
                }
                all.push(Value::Object(rule));
            }
        }
    };
    for (at, pin) in intent.pins.iter().enumerate() {
        // Left out while the pin's side is not there: a rule without a backend is an error for its requests.
        let (Some(backend), Some(header)) = (intent.sides.get(pin.to).present(), pinned(pin)) else { continue };
        let backends = json!([backend_ref((&backend.service, backend.port), 1)]);
        add(&format!("pin-{}", at + 1), Some(&header), &backends, None);
    }
    for deal in sticking.into_iter().flat_map(|sticky| sticky.deals(intent.weight_total)) {
        let (Some(sticky), Some(shares)) = (sticking, deal.of(&backends.0)) else { continue };
        let header = cookie_match(&sticky.cookie(), &deal.value);
        // Who is on the new side needs no copies there.
        let copies = copies.filter(|_| deal.legacy > 0);
        add(&deal.name, Some(&header), &refs(intent, &shares, deal.deals().then_some(sticky)), copies);
    }
    add(parts::WEIGHTED, None, &refs(intent, &backends.0, sticking), copies);
    all
}

/// As `backendRefs`. Those that deal name aliases, which give a cookie in addition to those of the application.
fn refs(intent: &Intent<'_>, shares: &[Share<'_>], dealt: Option<Sticky<'_>>) -> Value {
    let backend = |share: &Share<'_>| {
        let Some(sticky) = dealt else { return backend_ref((share.service, share.port), share.weight) };
        let alias = names::sticky_name(intent.split.name, share.side);
        let mut it = backend_ref((&alias, names::ALIAS_PORT), share.weight);
        let add = json!([{"name": "Set-Cookie", "value": sticky.set_cookie(share.side)}]);
        if let Some(it) = it.as_object_mut() {
            let filters = json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": add}}]);
            it.insert("filters".to_owned(), filters);
        }
        it
    };
    shares.iter().map(backend).collect()
}

/// The list of rules of a route whose form waits; `None` if it is as it should be. The weights do not wait, and cookies that no longer count are
/// forgotten.
pub(super) fn kept_up(
    spec: &Value,
    intent: &Intent<'_>,
    backends: &Backends<'_>,
    sticking: Option<Sticky<'_>>,
) -> Option<Value> {
    let (for_cookies, others): (Vec<_>, Vec<_>) = rule::rules(spec).iter().cloned().partition(is_for_cookies);
    if for_cookies.is_empty() {
        return rule::with_weights(spec, backends);
    }
    if sticking.is_some_and(|sticky| for_cookies.iter().all(|rule| rule.to_string().contains(&sticky.pair("")))) {
        let name = |side| names::sticky_name(intent.split.name, side);
        let (legacy, new) = (name(Side::Legacy), name(Side::New));
        let alias = |share: &Share<'_>| if share.side == Side::New { new.as_str() } else { legacy.as_str() };
        let shares = backends.0.iter();
        let shares = shares.map(|share| Share { service: alias(share), port: names::ALIAS_PORT, ..*share });
        return rule::with_weights(spec, &Backends(shares.collect()));
    }
    let forgotten = json!({"rules": others});
    rule::with_weights(&forgotten, backends).or(Some(forgotten))
}

/// Versions of the API without names of rules leave the cookie to know them by.
fn is_for_cookies(rule: &Value) -> bool {
    let cookie = || {
        let (_, pair) = rule.pointer("/matches/0/headers/0/value")?.as_str()?.split_once(")?")?;
        let (name, value) = pair.split_once('=')?;
        let (_, epoch) = name.rsplit_once('-')?;
        let is_value = value.starts_with("new(") || value.starts_with(r"legacy\.");
        Some(is_value && !epoch.is_empty() && epoch.bytes().all(|it| it.is_ascii_digit()))
    };
    let name = rule.get("name").and_then(Value::as_str);
    name.map_or_else(|| cookie().unwrap_or(false), |name| name.starts_with(STICKY))
}

/// How many rules and matches these are at most, copies or not.
pub(super) fn size(kind: RouteKind, intent: &Intent<'_>) -> (usize, usize) {
    let classes = methods::classes(intent.mirror, false);
    let parts: Vec<_> = classes.iter().flat_map(|class| matches_of(kind, intent.paths, &class.methods, None)).collect();
    let matches: usize = parts.iter().map(|(matches, _)| matches.len()).sum();
    let for_cookies = if intent.stickiness.is_some() { MAX_DEALS } else { 0 };
    let times = intent.pins.len().saturating_add(for_cookies).saturating_add(1);
    (parts.len().saturating_mul(times), matches.saturating_mul(times))
}

/// Matches of rules, each with its rewrite: those of paths that stay as they are in one. A rewritten prefix is alone in its rule, as the API
/// demands.
fn matches_of(
    kind: RouteKind,
    paths: &[PathMatch],
    methods: &[&str],
    header: Option<&Value>,
) -> Vec<(Vec<Value>, Option<Value>)> {
    let of = |path: &PathMatch| -> Vec<Value> {
        let found = match kind {
            RouteKind::Http => Some(Map::from_iter([("path".to_owned(), path_match(path))])),
            RouteKind::Grpc => grpc::match_of(path),
        };
        // What names nothing is refused.
        let Some(found) = found else { return Vec::new() };
        let one = |method: Option<&&str>| {
            let mut one = found.clone();
            one.extend(header.map(|header| ("headers".to_owned(), json!([header]))));
            one.extend(method.map(|method| ("method".to_owned(), (*method).into())));
            Value::Object(one)
        };
        if methods.is_empty() { vec![one(None)] } else { methods.iter().map(|method| one(Some(method))).collect() }
    };
    let as_they_are: Vec<Value> = paths.iter().filter(|path| path.rewrite.is_none()).flat_map(of).collect();
    let rewritten = paths.iter().filter_map(|path| Some((path, path.rewrite.as_ref()?))).flat_map(|(path, to)| {
        let rewrite = match path.type_ {
            PathType::Prefix => json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": to}),
            PathType::Exact => json!({"type": "ReplaceFullPath", "replaceFullPath": to}),
        };
        of(path).into_iter().map(move |found| (vec![found], Some(rewrite.clone())))
    });
    (!as_they_are.is_empty()).then_some((as_they_are, None)).into_iter().chain(rewritten).collect()
}

/// What the edge does with every request and answer.
fn of_every_rule(edge: &Edge) -> Vec<Value> {
    let security = edge.security_headers.as_ref().map(|security| {
        // To set replaces a header of the application, so that none comes twice.
        let set: Vec<Value> =
            headers::of(security).into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": set}})
    });
    security.into_iter().chain(edge.cors.as_ref().map(|it| json!({"type": "CORS", "cors": cors(it)}))).collect()
}

fn cors(cors: &Cors) -> Value {
    let mut said = Map::from_iter([
        ("allowOrigins".to_owned(), json!(cors.allow_origins)),
        ("allowMethods".to_owned(), json!(cors.allow_methods)),
        ("allowHeaders".to_owned(), json!(cors.allow_headers)),
        ("maxAge".to_owned(), cors.max_age.as_secs().into()),
    ]);
    if cors.allow_credentials {
        said.insert("allowCredentials".to_owned(), true.into());
    }
    if !cors.expose_headers.is_empty() {
        said.insert("exposeHeaders".to_owned(), json!(cors.expose_headers));
    }
    Value::Object(said)
}

/// All are copied where no percentage is said.
fn mirrored(mirror: Mirror, new: &Backend) -> Value {
    let to = json!({"group": "", "kind": "Service", "name": new.service, "port": new.port});
    let copied = match mirror.percent {
        100 => json!({"backendRef": to}),
        percent => json!({"backendRef": to, "percent": percent}),
    };
    json!({"type": "RequestMirror", "requestMirror": copied})
}

fn pinned(pin: &Pin) -> Option<Value> {
    match (&pin.header, &pin.cookie) {
        (Some(header), _) => Some(json!({"type": "Exact", "name": header.name, "value": header.value})),
        (None, Some(cookie)) => Some(cookie_match(&cookie.name, &cookie.value.replace('.', r"\."))),
        (None, None) => None,
    }
}

/// Matches a `cookie` header that holds this cookie with such a value, for engines that search and for those that match the whole.
fn cookie_match(name: &str, value: &str) -> Value {
    json!({"type": "RegularExpression", "name": "cookie", "value": format!(r"^(.*;\s*)?{name}={value}(;.*)?$")})
}

pub(super) fn path_match(path: &PathMatch) -> Value {
    let type_ = match path.type_ {
        PathType::Prefix => "PathPrefix",
        PathType::Exact => "Exact",
    };
    json!({"type": type_, "value": path.value})
}
