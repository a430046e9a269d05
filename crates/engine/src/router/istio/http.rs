//! The `http` entries that we make: every pin and the weighted one, each in as many parts as paths and methods are treated differently.
//!
//! The first entry that matches takes a request. So pins come first, then longer paths before shorter ones, then the methods that are
//! treated specially before the rest.

use cutover_api::v1alpha1::traffic_split::{Cors, Edge, Mirror, PathMatch, PathType, Pin, Retries};
use serde_json::{Map, Value, json};

use super::entry::destination;
use crate::router::{
    contract::{Backend, Intent},
    headers,
    methods::{self, Class},
    parts,
    shares::Share,
    sticky::{STICKY, Sticky},
};

/// Requests of one part, by their path, and what a side sees instead.
#[derive(PartialEq)]
struct Part {
    uris: Vec<Value>,
    rewrite: Option<String>,
}

/// All entries.
pub(super) fn entries(intent: &Intent<'_>, shares: &[Share<'_>]) -> Vec<Value> {
    let copies = methods::copies(intent).ok().flatten();
    let retries = intent.edge.and_then(|edge| edge.retries);
    let classes = methods::classes(copies.map(|(mirror, _)| mirror), retries.is_some());
    let by_path = by_path(intent.paths);
    let mut all = Vec::new();
    let mut add = |name: &str, headers: Option<&Value>, route: &Value, copies: Option<(&Mirror, &Backend)>| {
        let mut at = 0_usize;
        for part in &by_path {
            for class in &classes {
                at += 1;
                let mut entry = Map::from_iter([
                    ("name".to_owned(), parts::name(name, at).into()),
                    ("match".to_owned(), matches(part, class, headers)),
                    ("route".to_owned(), route.clone()),
                ]);
                entry.extend(part.rewrite.as_ref().map(|uri| ("rewrite".to_owned(), json!({"uri": uri}))));
                entry.extend(retries.map(|it| ("retries".to_owned(), retried(it, class.repeated))));
                if let Some((mirror, new)) = copies.filter(|_| class.copied) {
                    entry.insert("mirror".to_owned(), destination(&new.service, new.port));
                    entry.insert("mirrorPercentage".to_owned(), json!({"value": mirror.percent}));
                }
                entry.extend(intent.edge.into_iter().flat_map(of_every_entry));
                all.push(Value::Object(entry));
            }
        }
    };
    for (at, pin) in intent.pins.iter().enumerate() {
        // Left out while the pin's side is not there: an entry without a destination is an error for its requests.
        let (Some(backend), Some(headers)) = (intent.sides.get(pin.to).present(), pinned(pin)) else { continue };
        let route =
            json!([{"destination": destination(&backend.service, backend.port), "weight": intent.weight_total}]);
        add(&format!("pin-{}", at + 1), Some(&headers), &route, None);
    }
    let sticking = intent.sticking();
    for deal in sticking.into_iter().flat_map(|sticky| sticky.deals(intent.weight_total)) {
        let (Some(sticky), Some(shares)) = (sticking, deal.of(shares)) else { continue };
        let route = shares.iter().map(|share| dealt(share, deal.deals().then_some(sticky))).collect();
        // Who is on the new side needs no copies there.
        let copies = copies.filter(|_| deal.legacy > 0);
        add(&deal.name, Some(&with_cookie(&sticky.cookie(), &deal.value)), &route, copies);
    }
    add(parts::WEIGHTED, None, &shares.iter().map(|share| dealt(share, sticking)).collect(), copies);
    all
}

/// A destination, with the cookie that who is dealt to it gets in addition to those of the application.
fn dealt(share: &Share<'_>, sticky: Option<Sticky<'_>>) -> Value {
    let mut it = Map::from_iter([
        ("destination".to_owned(), destination(share.service, share.port)),
        ("weight".to_owned(), share.weight.into()),
    ]);
    it.extend(sticky.map(|sticky| {
        let add = json!({"set-cookie": sticky.set_cookie(share.side)});
        ("headers".to_owned(), json!({"response": {"add": add}}))
    }));
    Value::Object(it)
}

/// Takes cookies that no longer count out of entries whose form waits; says whether there were any.
pub(super) fn forget(http: &mut Value, sticking: Option<Sticky<'_>>) -> bool {
    let named = |entry: &Value| entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(entries) = http.as_array_mut() else { return false };
    let mut for_cookies = entries.iter().filter(|it| named(it).starts_with(STICKY)).peekable();
    let counts = |entry: &Value| sticking.is_some_and(|sticky| entry.to_string().contains(&sticky.pair("")));
    if for_cookies.peek().is_none() || for_cookies.all(counts) {
        return false;
    }
    entries.retain(|it| !named(it).starts_with(STICKY));
    let routes = entries.iter_mut().filter(|it| parts::is_weighted(&named(it))).filter_map(|it| it.get_mut("route"));
    for destination in routes.filter_map(Value::as_array_mut).flatten().filter_map(Value::as_object_mut) {
        destination.remove("headers");
    }
    true
}

/// What the edge does with every request and answer.
fn of_every_entry(edge: &Edge) -> Vec<(String, Value)> {
    let set = edge.security_headers.as_ref().map(|security| {
        let set: Map<String, Value> =
            headers::of(security).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        ("headers".to_owned(), json!({"response": {"set": set}}))
    });
    set.into_iter().chain(edge.cors.as_ref().map(|it| ("corsPolicy".to_owned(), cors(it)))).collect()
}

fn cors(cors: &Cors) -> Value {
    let origin = |origin: &String| if origin == "*" { json!({"regex": ".*"}) } else { json!({"exact": origin}) };
    let mut policy = Map::from_iter([
        ("allowOrigins".to_owned(), cors.allow_origins.iter().map(origin).collect()),
        ("allowMethods".to_owned(), json!(cors.allow_methods)),
        ("allowHeaders".to_owned(), json!(cors.allow_headers)),
        ("allowCredentials".to_owned(), cors.allow_credentials.into()),
        ("maxAge".to_owned(), format!("{}s", cors.max_age.as_secs()).into()),
    ]);
    if !cors.expose_headers.is_empty() {
        policy.insert("exposeHeaders".to_owned(), json!(cors.expose_headers));
    }
    Value::Object(policy)
}

/// Where a side has not seen a request, any may be sent again; without a word on it, a mesh sends some again by itself.
fn retried(retries: Retries, repeated: bool) -> Value {
    let on =
        if repeated { "connect-failure,refused-stream,reset,gateway-error" } else { "connect-failure,refused-stream" };
    let mut all = Map::from_iter([("attempts".to_owned(), retries.attempts.into()), ("retryOn".to_owned(), on.into())]);
    all.extend(retries.backoff_milliseconds.map(|it| ("backoff".to_owned(), format!("{it}ms").into())));
    all.extend(retries.per_try_timeout.map(|it| ("perTryTimeout".to_owned(), format!("{}s", it.as_secs()).into())));
    Value::Object(all)
}

fn pinned(pin: &Pin) -> Option<Value> {
    match (&pin.header, &pin.cookie) {
        // Names of headers have to be in lower case here.
        (Some(header), _) => Some(json!({(header.name.to_ascii_lowercase()): {"exact": header.value}})),
        (None, Some(cookie)) => Some(with_cookie(&cookie.name, &cookie.value.replace('.', r"\."))),
        (None, None) => None,
    }
}

/// Matches a `cookie` header that holds this cookie: the expression has to match from end to end.
fn with_cookie(name: &str, value: &str) -> Value {
    json!({"cookie": {"regex": format!(r"(.*;\s*)?{name}={value}(;.*)?")}})
}

/// Any of the part's paths, each with the headers and the method.
fn matches(part: &Part, class: &Class, headers: Option<&Value>) -> Value {
    let one = |uri: &Value| {
        let mut one = Map::from_iter([("uri".to_owned(), uri.clone())]);
        one.extend(headers.map(|headers| ("headers".to_owned(), headers.clone())));
        if !class.methods.is_empty() {
            one.insert("method".to_owned(), json!({"regex": class.methods.join("|")}));
        }
        Value::Object(one)
    };
    part.uris.iter().map(one).collect()
}

/// The paths, those that are rewritten alike together. A prefix is two: what is below is rewritten with its slash.
fn by_path(paths: &[PathMatch]) -> Vec<Part> {
    let mut paths: Vec<&PathMatch> = paths.iter().collect();
    if paths.iter().any(|path| path.rewrite.is_some()) {
        paths.sort_by_key(|path| (path.type_ == PathType::Prefix, std::cmp::Reverse(path.value.len())));
    }
    let mut parts: Vec<Part> = Vec::new();
    let uris = paths.into_iter().flat_map(|path| {
        let to = path.rewrite.as_deref();
        let below = to.map(|to| format!("{}/", to.trim_end_matches('/')));
        let to = to.map(str::to_owned);
        match (path.type_, path.value.trim_end_matches('/')) {
            (PathType::Exact, _) => vec![(json!({"exact": path.value}), to)],
            (PathType::Prefix, "") => vec![(json!({"prefix": "/"}), below)],
            (PathType::Prefix, prefix) => {
                vec![(json!({"exact": prefix}), to), (json!({"prefix": format!("{prefix}/")}), below)]
            }
        }
    });
    for (uri, rewrite) in uris {
        match parts.last_mut().filter(|part| part.rewrite == rewrite) {
            Some(part) => part.uris.push(uri),
            None => parts.push(Part { uris: vec![uri], rewrite }),
        }
    }
    parts
}

/// The paths that entries of ours stand for, in their order.
pub(super) fn paths(entries: &[Value]) -> Vec<PathMatch> {
    let mut parts: Vec<Part> = Vec::new();
    for entry in entries.iter().filter(|it| it.get("name").and_then(Value::as_str).is_some_and(parts::is_weighted)) {
        let matches = entry.get("match").and_then(Value::as_array);
        let uris = matches.into_iter().flatten().filter_map(|it| it.get("uri").cloned()).collect();
        let rewrite = entry.pointer("/rewrite/uri").and_then(Value::as_str).map(str::to_owned);
        let part = Part { uris, rewrite };
        // The same once more is of other methods.
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    let uris: Vec<(&str, &str, Option<&str>)> = parts
        .iter()
        .flat_map(|part| part.uris.iter().map(|uri| (uri, part.rewrite.as_deref())))
        .filter_map(|(uri, rewrite)| {
            let (kind, value) = uri.as_object()?.iter().next()?;
            Some((kind.as_str(), value.as_str()?, rewrite))
        })
        .collect();
    let mut paths = Vec::new();
    let mut rest = uris.as_slice();
    while let [(kind, value, rewrite), after @ ..] = rest {
        // Written as two, a prefix is its bare path and what is below.
        let below =
            after.first().is_some_and(|(kind, below, _)| *kind == "prefix" && below.strip_suffix('/') == Some(value));
        let type_ = if *kind == "prefix" || below { PathType::Prefix } else { PathType::Exact };
        let rewrite = rewrite.map(|to| match to.trim_end_matches('/') {
            "" => "/".to_owned(),
            to => to.to_owned(),
        });
        paths.push(PathMatch { rewrite, ..PathMatch::new(type_, *value) });
        rest = if below { after.get(1..).unwrap_or_default() } else { after };
    }
    paths
}
