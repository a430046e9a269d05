//! What proxies serve from the objects as they stand: ingress-nginx and Traefik 3.7 from Ingresses, any conformant gateway from an
//! HTTPRoute or a GRPCRoute, Traefik from an IngressRoute, Istio from a VirtualService, and a load balancer of AWS from an Ingress. Small, and written from the proxies' behaviour, not from ours.

use std::collections::HashMap;

use cutover_api::v1alpha1::traffic_split::{RouteKind, Side};
use serde_json::{Value, json};

use super::bed::{Split, World};
use crate::{
    Known,
    router::{
        ObjectKind, SideBackend,
        view::{IngressPathView, IngressPort, IngressRuleView, IngressView, ServiceView},
    },
};

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub path: &'a str,
    pub header: Option<(&'a str, &'a str)>,
    pub cookie: Option<(&'a str, &'a str)>,
}

impl Request<'_> {
    pub const PLAIN: Self = Request { path: "/", header: None, cookie: None };
}

/// What requests like this one get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// Share of the new side, in parts of the total; the rest goes to legacy.
    New(i32),
    /// 404: no route.
    Nothing,
    /// An error of the proxy for all or some of them.
    Error(String),
}

/// The two proxies that read Ingresses.
#[derive(Clone, Copy, Debug)]
pub enum Proxy {
    Nginx,
    Traefik,
}

type Key = (String, String);

fn key((service, port): &(Box<str>, IngressPort)) -> Key {
    let port = match port {
        IngressPort::Name(name) => name.to_string(),
        IngressPort::Number(number) => number.to_string(),
    };
    (service.to_string(), port)
}

fn annotation<'a>(ingress: &'a IngressView, name: &str) -> Option<&'a str> {
    ingress.annotations.get(&*format!("nginx.ingress.kubernetes.io/{name}")).map(|it| &**it)
}

fn is_canary(ingress: &IngressView) -> bool {
    annotation(ingress, "canary") == Some("true")
}

/// Which side a Service of this name and port leads to, and whether anything answers there.
fn side(split: &Split, world: &World, (service, port): &Key) -> Option<(Side, bool)> {
    let ready = |backend: &SideBackend| backend.present().is_some_and(|it| matches!(it.ready, Known::Known(1..)));
    let sides = [(Side::Legacy, &split.sides.legacy), (Side::New, &split.sides.new)];
    for (side, backend) in sides {
        let Some(it) = backend.present() else { continue };
        if it.service == *service && (*port == it.port.to_string() || Some(port) == it.port_name.as_ref()) {
            return Some((side, ready(backend)));
        }
    }
    let alias = world.view::<ServiceView>(ObjectKind::Service, service)?;
    let fits = |it: &crate::router::view::ServicePortView| {
        *port == it.port.to_string() || it.name.as_deref() == Some(port.as_str())
    };
    alias.ports.iter().find(|it| fits(it))?;
    let selects = |backend: &SideBackend| {
        let Some(it) = backend.present() else { return false };
        !alias.selector.is_empty()
            && alias.selector.iter().all(|(key, value)| it.selector.get(&**key).map(String::as_str) == Some(value))
    };
    let found = sides.into_iter().find(|(_, backend)| selects(backend));
    // An alias whose backend is gone from the spec leads to nobody.
    found.map(|(side, backend)| (side, ready(backend) && world.filled.contains(service)))
}

/// Host, path and backend.
type Location = (Box<str>, IngressPathView, Key);

fn is_same((host, path, _): &Location, other_host: &str, other: &IngressPathView) -> bool {
    **host == *other_host && path.path == other.path && path.path_type == other.path_type
}

fn rules(
    all: &[IngressView],
    which: impl Fn(&IngressView) -> bool,
) -> impl Iterator<Item = (&IngressRuleView, &IngressPathView)> {
    let rules = all.iter().filter(move |it| which(it)).flat_map(|it| &it.rules);
    rules.flat_map(|rule| rule.paths.iter().map(move |path| (rule, path)))
}

fn best<'a>(locations: &'a [Location], host: &str, wanted: &str) -> Option<&'a Key> {
    let fits = |it: &IngressPathView| match &*it.path_type {
        "Exact" => *it.path == *wanted,
        _ => &*it.path == "/" || wanted == &*it.path || wanted.starts_with(&format!("{}/", it.path)),
    };
    let rank = |it: &IngressPathView| (&*it.path_type == "Exact", it.path.len());
    let found = locations.iter().filter(|(it, path, _)| **it == *host && fits(path));
    found.max_by_key(|(_, path, _)| rank(path)).map(|(.., key)| key)
}

/// Where a canary sends this request: `Some` share of the canary, in parts of the split's total.
fn canary_share(canary: &IngressView, request: &Request<'_>, total: i32) -> i32 {
    if let (Some(name), Some((sent, value))) = (annotation(canary, "canary-by-header"), request.header)
        && name.eq_ignore_ascii_case(sent)
    {
        let wanted = annotation(canary, "canary-by-header-value");
        let pattern = annotation(canary, "canary-by-header-pattern");
        match (wanted, pattern) {
            (Some(wanted), _) if wanted == value => return total,
            (None, Some(pattern)) => {
                let inner = pattern.strip_prefix("^(").and_then(|it| it.strip_suffix(")$")).expect("an anchored group");
                if inner.split('|').any(|it| it.replace(r"\.", ".") == value) {
                    return total;
                }
            }
            (None, None) if value == "always" => return total,
            (None, None) if value == "never" => return 0,
            (Some(_) | None, None) | (Some(_), Some(_)) => {}
        }
    }
    if let (Some(name), Some((sent, value))) = (annotation(canary, "canary-by-cookie"), request.cookie)
        && name == sent
    {
        match value {
            "always" => return total,
            "never" => return 0,
            _ => {}
        }
    }
    let number = |name, default: i32| annotation(canary, name).map_or(default, |it| it.parse().expect("a number"));
    let of = number("canary-weight-total", 100).max(100);
    number("canary-weight", 0).clamp(0, of) * total / of
}

/// What a proxy makes of the Ingresses for a request to this host.
pub fn ingress(proxy: Proxy, split: &Split, world: &World, host: &str, request: &Request<'_>) -> Served {
    match proxy {
        Proxy::Nginx => nginx_halves(split, world, world, host, request),
        Proxy::Traefik => {
            let (primary, canary) = traefik(&ingresses(world), world, split, host, request);
            served(proxy, split, world, primary, canary, request)
        }
    }
}

/// What ingress-nginx makes of them while it takes a change up: paths by one state of the objects, backends and canaries by another.
pub fn nginx_halves(split: &Split, paths: &World, data: &World, host: &str, request: &Request<'_>) -> Served {
    let Some(primary) = best(&nginx_locations(&ingresses(paths)), host, request.path).cloned() else {
        return Served::Nothing;
    };
    let all = ingresses(data);
    if !rules(&all, |_| true).any(|(_, path)| key(path.backend.as_ref().unwrap()) == primary) {
        return Served::Error(format!("{primary:?} is not in the data"));
    }
    let canary = nginx_alternatives(&all).remove(&primary);
    served(Proxy::Nginx, split, data, Some(primary), canary, request)
}

/// By creation, and of the same moment by name, falling. All writes of a plan may fall into the same second.
fn ingresses(world: &World) -> Vec<IngressView> {
    let mut all: Vec<IngressView> = world.all(ObjectKind::Ingress);
    all.sort_by(|a, b| b.meta.name.cmp(&a.meta.name));
    all
}

fn served(
    proxy: Proxy,
    split: &Split,
    world: &World,
    primary: Option<Key>,
    canary: Option<(IngressView, Key)>,
    request: &Request<'_>,
) -> Served {
    let Some(primary) = primary else { return Served::Nothing };
    let Some((primary_side, primary_ready)) = side(split, world, &primary) else {
        return Served::Error(format!("{primary:?} leads nowhere"));
    };
    let canary = canary.and_then(|(ingress, backend)| {
        let (side, ready) = side(split, world, &backend)?;
        ready.then(|| (side, canary_share(&ingress, request, split.total)))
    });
    let of_canary = canary.map_or(0, |(_, share)| share);
    let fails = match proxy {
        Proxy::Nginx => !primary_ready,
        Proxy::Traefik => !primary_ready && of_canary < split.total,
    };
    if fails {
        return Served::Error(format!("{primary:?} has no endpoint"));
    }
    let new = |side, share| if side == Side::New { share } else { 0 };
    Served::New(new(primary_side, split.total - of_canary) + canary.map_or(0, |(side, share)| new(side, share)))
}

type Found = (Option<Key>, Option<(IngressView, Key)>);

/// A backend first seen in a canary is no server of its own, and no location is made for it.
fn nginx_locations(all: &[IngressView]) -> Vec<Location> {
    let mut no_server: HashMap<Key, bool> = HashMap::new();
    for it in all {
        for path in it.rules.iter().flat_map(|rule| &rule.paths) {
            no_server.entry(key(path.backend.as_ref().unwrap())).or_insert_with(|| is_canary(it));
        }
    }
    let mut locations: Vec<Location> = Vec::new();
    for (rule, path) in rules(all, |_| true) {
        let backend = key(path.backend.as_ref().unwrap());
        let taken = locations.iter().any(|it| is_same(it, &rule.host, path));
        if !no_server[&backend] && !taken {
            locations.push((rule.host.clone(), path.clone(), backend));
        }
    }
    locations
}

/// By backend, not by location: whatever names the same one gets the same canary.
fn nginx_alternatives(all: &[IngressView]) -> HashMap<Key, (IngressView, Key)> {
    let locations = nginx_locations(all);
    let mut alternatives: HashMap<Key, (IngressView, Key)> = HashMap::new();
    for it in all.iter().filter(|it| is_canary(it)) {
        for (rule, path) in rules(std::slice::from_ref(it), |_| true) {
            let backend = key(path.backend.as_ref().unwrap());
            let primary = locations.iter().find(|it| is_same(it, &rule.host, path));
            if let Some((.., primary)) = primary
                && *primary != backend
            {
                alternatives.entry(primary.clone()).or_insert((it.clone(), backend));
            }
        }
    }
    alternatives
}

fn traefik(all: &[IngressView], world: &World, split: &Split, host: &str, request: &Request<'_>) -> Found {
    let regular: Vec<Location> = rules(all, |it| !is_canary(it))
        .map(|(rule, path)| (rule.host.clone(), path.clone(), key(path.backend.as_ref().unwrap())))
        .collect();
    let mut canaries: HashMap<Key, (IngressView, Key)> = HashMap::new();
    for it in all.iter().filter(|it| is_canary(it)) {
        for (rule, path) in rules(std::slice::from_ref(it), |_| true) {
            let backend = key(path.backend.as_ref().unwrap());
            let primary = regular.iter().rfind(|it| is_same(it, &rule.host, path));
            let answers = side(split, world, &backend).is_some_and(|(_, ready)| ready);
            if let Some((.., primary)) = primary
                && *primary != backend
                && answers
            {
                canaries.insert(primary.clone(), (it.clone(), backend));
            }
        }
    }
    let Some(primary) = best(&regular, host, request.path) else { return (None, None) };
    (Some(primary.clone()), canaries.remove(primary))
}

/// How well a match of a route fits the path of a request, if it does.
fn path_rank(kind: RouteKind, matched: &Value, path: &str) -> Option<[usize; 2]> {
    match kind {
        RouteKind::Http => {
            let (type_, value) =
                (matched["path"]["type"].as_str().unwrap(), matched["path"]["value"].as_str().unwrap());
            let exact = type_ == "Exact";
            let fits = path == value || (!exact && (value == "/" || path.starts_with(&format!("{value}/"))));
            fits.then_some([usize::from(exact), value.len()])
        }
        RouteKind::Grpc => {
            let called: Vec<&str> = path.strip_prefix('/').unwrap().split('/').collect();
            let wanted = ["service", "method"].map(|part| matched["method"][part].as_str());
            let fits = |(part, called): (Option<&str>, &str)| part.is_none_or(|part| part == called);
            let [service, method] = wanted.map(|part| part.map_or(0, str::len));
            (called.len() == 2 && wanted.into_iter().zip(called.iter().copied()).all(fits)).then_some([service, method])
        }
    }
}

/// What a gateway makes of an HTTPRoute or a GRPCRoute. Which Services exist is what the split's sides say.
pub fn route(split: &Split, world: &World, name: &str, request: &Request<'_>) -> Served {
    let kind = split.router.gateway_api.as_ref().unwrap().route_kind;
    let Some(route) = world.get(kind.into(), name) else { return Served::Nothing };
    let empty = Vec::new();
    let mut found: Option<(([usize; 2], usize), &Value)> = None;
    for rule in route["spec"]["rules"].as_array().unwrap_or(&empty) {
        for matched in rule["matches"].as_array().unwrap_or(&empty) {
            let headers = matched["headers"].as_array().unwrap_or(&empty);
            let Some(path) = path_rank(kind, matched, request.path) else { continue };
            let rank = (path, headers.len());
            let better = found.is_none_or(|(best, _)| rank > best);
            if better && headers.iter().all(|it| header_fits(it, request)) {
                found = Some((rank, rule));
            }
        }
    }
    let Some((_, rule)) = found else { return Served::Nothing };
    let refs = rule["backendRefs"].as_array().unwrap_or(&empty);
    let mut shares = [0, 0];
    for it in refs {
        let weight = it["weight"].as_i64().unwrap_or(1);
        let is = |side: &SideBackend| {
            side.present()
                .is_some_and(|side| *side.service == it["name"] && i64::from(side.port) == it["port"].as_i64().unwrap())
        };
        match (is(&split.sides.legacy), is(&split.sides.new)) {
            (true, _) => shares[0] += weight,
            (_, true) => shares[1] += weight,
            // Implementations differ in whether a share of 0 of a missing Service spoils the route: it must not be there.
            _ => return Served::Error(format!("{} is not there", it["name"])),
        }
    }
    let sum: i64 = shares.iter().sum();
    if sum == 0 {
        return Served::Error("no backend has a weight".into());
    }
    Served::New(i32::try_from(shares[1] * i64::from(split.total) / sum).unwrap())
}

fn header_fits(matched: &Value, request: &Request<'_>) -> bool {
    let (name, value) = (matched["name"].as_str().unwrap(), matched["value"].as_str().unwrap());
    if matched["type"] == "Exact" {
        return request.header.is_some_and(|(sent, it)| sent.eq_ignore_ascii_case(name) && it == value);
    }
    assert_eq!(name, "cookie");
    let inner = value.strip_prefix(r"^(.*;\s*)?").and_then(|it| it.strip_suffix("(;.*)?$")).expect("anchored");
    request.cookie.is_some_and(|(name, value)| inner.replace(r"\.", ".") == format!("{name}={value}"))
}

/// What Traefik makes of the IngressRoute called after the split, without `allowEmptyServices`. Which Services exist, and which of them
/// have endpoints, is what the split's sides say.
pub fn ingress_route(split: &Split, world: &World, host: &str, request: &Request<'_>) -> Served {
    let Some(route) = world.get(ObjectKind::IngressRoute, &split.name) else { return Served::Nothing };
    let rules = route["spec"]["routes"].as_array().unwrap();
    let fitting: Vec<_> =
        rules.iter().filter(|rule| rule_fits(rule["match"].as_str().unwrap(), host, request)).collect();
    let Some(top) = fitting.iter().map(|rule| rule["priority"].as_u64().unwrap()).max() else { return Served::Nothing };
    let mut first = fitting.iter().filter(|rule| rule["priority"] == top);
    let rule = first.next().unwrap();
    assert!(first.next().is_none(), "chance decides between rules of one rank: {fitting:?}");
    assert!(route["spec"].get("entryPoints").is_none(), "somebody else's: {route}");
    if let Some(missing) = unmade(world, rule) {
        return Served::Error(missing);
    }
    let mut members = rule["services"].as_array().unwrap().clone();
    if members[0]["kind"] == "TraefikService" {
        let name = members[0]["name"].as_str().unwrap();
        let Some(service) = world.get(ObjectKind::TraefikService, name) else {
            return Served::Error(format!("{name} is not there"));
        };
        let service = match &service["spec"]["mirroring"] {
            Value::Null => service,
            mirroring => match mirrored(world, service, mirroring) {
                Ok(main) => main,
                Err(missing) => return Served::Error(missing),
            },
        };
        assert!(service["spec"]["weighted"].get("sticky").is_none(), "somebody else's: {service}");
        if let Some(missing) = unmade(world, service) {
            return Served::Error(missing);
        }
        members = service["spec"]["weighted"]["services"].as_array().unwrap().clone();
    }
    let mut shares = [0, 0];
    for member in &members {
        let is = |side: &SideBackend| {
            side.present().is_some_and(|it| {
                *it.service == member["name"] && member["port"] == it.port && matches!(it.ready, Known::Known(1..))
            })
        };
        match (is(&split.sides.legacy), is(&split.sides.new)) {
            (true, _) => shares[0] += member["weight"].as_i64().unwrap_or(1),
            (_, true) => shares[1] += member["weight"].as_i64().unwrap_or(1),
            _ => return Served::Error(format!("{member} has no endpoint and takes the others with it")),
        }
    }
    let sum: i64 = shares.iter().sum();
    Served::New(i32::try_from(shares[1] * i64::from(split.total) / sum).unwrap())
}

/// The TraefikService that one with copies leads to. None of its mirrors may be missing: by its address a Service has no need of an endpoint.
fn mirrored<'w>(world: &'w World, copying: &Value, mirroring: &Value) -> Result<&'w Value, String> {
    assert!(mirroring.get("middlewares").is_none(), "somebody else's: {copying}");
    for mirror in mirroring["mirrors"].as_array().unwrap() {
        let name = mirror["name"].as_str().unwrap();
        let found = world.get(ObjectKind::Service, name).ok_or_else(|| format!("Service {name} is not there"))?;
        if mirror["nativeLB"] != true || found["spec"]["clusterIP"] == "None" {
            return Err(format!("Service {name} may have no endpoint and takes the others with it"));
        }
        if let Some(missing) = unmade(world, &json!({"services": [mirror]})) {
            return Err(missing);
        }
    }
    let main = mirroring["name"].as_str().unwrap();
    world.get(ObjectKind::TraefikService, main).ok_or_else(|| format!("{main} is not there"))
}

/// A Middleware or a ServersTransport that is named and is not there, by a rule or a TraefikService or by what they lead to: Traefik answers
/// with errors then. It must be one of ours.
fn unmade(world: &World, naming: &Value) -> Option<String> {
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let led_to = list(&naming["services"]).into_iter().chain(list(&naming["spec"]["weighted"]["services"]));
    let named = led_to.chain([naming.clone()]).flat_map(|it| {
        let middlewares = list(&it["middlewares"]).into_iter().map(|it| (ObjectKind::Middleware, it["name"].clone()));
        let transport = it.get("serversTransport").map(|name| (ObjectKind::ServersTransport, name.clone()));
        middlewares.chain(transport).collect::<Vec<_>>()
    });
    let mut missing = named.filter(|(kind, name)| {
        let name = name.as_str().unwrap();
        assert!(name.starts_with("shop-cutover-"), "somebody else's: {naming}");
        world.get(*kind, name).is_none()
    });
    missing.next().map(|(kind, name)| format!("{} {name} is not there", kind.kind()))
}

/// A rule as ours are: matchers joined by `&&`, one of them perhaps of alternatives in parentheses.
fn rule_fits(rule: &str, host: &str, request: &Request<'_>) -> bool {
    let matches = |matcher: &str| {
        let (name, values) = matcher.split_once('(').expect("a matcher");
        let values: Vec<&str> = values.split('`').skip(1).step_by(2).collect();
        match (name, &values[..]) {
            ("Host", [it]) => *it == host,
            ("HostRegexp", [it]) => {
                let domain = it
                    .strip_prefix(r"^[^.]+\.")
                    .and_then(|it| it.strip_suffix('$'))
                    .expect("one label")
                    .replace(r"\.", ".");
                host.split_once('.').is_some_and(|(_, of)| of == domain)
            }
            ("Path", [it]) => request.path == *it,
            // All requests of these tests.
            ("Method", [it]) => *it == "GET",
            ("PathPrefix", [it]) => request.path.starts_with(it),
            ("Header", [name, it]) => {
                request.header.is_some_and(|(sent, value)| sent.eq_ignore_ascii_case(name) && value == *it)
            }
            ("HeaderRegexp", ["Cookie", it]) => {
                let inner = it.strip_prefix(r"(^|;\s*)").and_then(|it| it.strip_suffix("(;|$)")).expect("anchored");
                request.cookie.is_some_and(|(name, value)| inner.replace(r"\.", ".") == format!("{name}={value}"))
            }
            other => panic!("{other:?}"),
        }
    };
    rule.split(" && ").all(|part| match part.strip_prefix('!') {
        Some(part) => !matches(part),
        None if part.starts_with('(') => part[1..part.len() - 1].split(" || ").any(matches),
        None => matches(part),
    })
}

/// What Istio makes of a VirtualService: the first entry that matches. Which Services exist is what the split's sides say.
pub fn virtual_service(split: &Split, world: &World, name: &str, host: &str, request: &Request<'_>) -> Served {
    let Some(service) = world.get(ObjectKind::VirtualService, name) else { return Served::Nothing };
    assert!(service["spec"].get("exportTo").is_none(), "somebody else's: {service}");
    if !service["spec"]["hosts"].as_array().unwrap().iter().any(|it| it == host) {
        return Served::Nothing;
    }
    let fits = |entry: &&Value| {
        entry.get("match").is_none_or(|matches| matches.as_array().unwrap().iter().any(|it| entry_fits(it, request)))
    };
    let Some(entry) = service["spec"]["http"].as_array().unwrap().iter().find(fits) else { return Served::Nothing };
    assert!(entry.get("fault").is_none(), "somebody else's: {entry}");
    let mut shares = [0, 0];
    for route in entry["route"].as_array().unwrap() {
        let is = |side: &SideBackend| {
            let host = route["destination"]["host"].as_str().unwrap();
            side.present().is_some_and(|it| {
                let port = route.pointer("/destination/port/number");
                host.split('.').next() == Some(&it.service) && port.is_none_or(|port| *port == it.port)
            })
        };
        match (is(&split.sides.legacy), is(&split.sides.new)) {
            (true, _) => shares[0] += route["weight"].as_i64().unwrap(),
            (_, true) => shares[1] += route["weight"].as_i64().unwrap(),
            _ => return Served::Error(format!("{route} is not there")),
        }
    }
    let sum: i64 = shares.iter().sum();
    if sum == 0 {
        return Served::Error("no destination has a weight".into());
    }
    Served::New(i32::try_from(shares[1] * i64::from(split.total) / sum).unwrap())
}

fn entry_fits(matched: &Value, request: &Request<'_>) -> bool {
    let uri = matched["uri"].as_object().unwrap().iter().next().unwrap();
    let path = match (uri.0.as_str(), uri.1.as_str().unwrap()) {
        ("exact", it) => request.path == it,
        ("prefix", it) => request.path.starts_with(it),
        other => panic!("{other:?}"),
    };
    let headers = matched.get("headers").and_then(Value::as_object);
    path && headers.into_iter().flatten().all(|(name, value)| {
        assert_eq!(*name, name.to_ascii_lowercase(), "Istio takes names in lower case only");
        if let Some(exact) = value.get("exact") {
            return request.header.is_some_and(|(sent, it)| sent.eq_ignore_ascii_case(name) && exact == it);
        }
        assert_eq!(name, "cookie");
        let inner = value["regex"].as_str().unwrap();
        let inner = inner.strip_prefix(r"(.*;\s*)?").and_then(|it| it.strip_suffix("(;.*)?")).expect("from end to end");
        request.cookie.is_some_and(|(name, value)| inner.replace(r"\.", ".") == format!("{name}={value}"))
    })
}

/// What the AWS Load Balancer Controller makes of the split's Ingress: exact paths first, then longer ones, and of one path in the order
/// listed. A Service that is not there keeps it from writing anything.
pub fn alb(split: &Split, world: &World, host: &str, request: &Request<'_>) -> Served {
    let name = crate::router::alb_name(&split.name);
    let Some(ingress) = world.view::<IngressView>(ObjectKind::Ingress, &name) else { return Served::Nothing };
    assert!(ingress.default_backend.is_none(), "somebody else's: {ingress:?}");
    let mark = |kind: &str, name: &str| {
        let text = ingress.annotations.get(&*format!("alb.ingress.kubernetes.io/{kind}.{name}"))?;
        Some(serde_json::from_str::<Value>(text).unwrap())
    };
    let mut paths: Vec<&IngressPathView> =
        ingress.rules.iter().filter(|rule| &*rule.host == host).flat_map(|rule| &rule.paths).collect();
    paths.sort_by_key(|path| (&*path.path_type != "Exact", std::cmp::Reverse(path.path.len())));
    let fits = |path: &&&IngressPathView| {
        let bare = path.path.trim_end_matches('/');
        let is_path = request.path == &*path.path
            || (&*path.path_type == "Prefix"
                && (request.path == bare || request.path.starts_with(&format!("{bare}/"))));
        let (name, port) = path.backend.as_ref().unwrap();
        assert_eq!(*port, IngressPort::Name("use-annotation".into()));
        let conditions = mark("conditions", name);
        is_path
            && conditions.iter().flat_map(|it| it.as_array().unwrap()).all(|it| {
                assert_eq!(it["field"], "http-header");
                let header = &it["httpHeaderConfig"];
                request.header.is_some_and(|(sent, value)| {
                    header["httpHeaderName"].as_str().unwrap().eq_ignore_ascii_case(sent)
                        && header["values"].as_array().unwrap().iter().any(|it| it == value)
                })
            })
    };
    let Some(path) = paths.iter().find(fits) else { return Served::Nothing };
    let mut served = Served::Nothing;
    let all = ingress.annotations.iter().filter(|(key, _)| key.contains("/actions."));
    for (key, action) in all {
        let action: Value = serde_json::from_str(action).unwrap();
        assert_eq!(action["type"], "forward");
        let mut shares = [0, 0];
        for group in action["forwardConfig"]["targetGroups"].as_array().unwrap() {
            let is = |side: &SideBackend| {
                side.present().is_some_and(|it| *it.service == group["serviceName"] && group["servicePort"] == it.port)
            };
            let weight = group["weight"].as_i64().unwrap();
            assert!((0..=999).contains(&weight), "{group}");
            match (is(&split.sides.legacy), is(&split.sides.new)) {
                (true, _) => shares[0] += weight,
                (_, true) => shares[1] += weight,
                _ => return Served::Error(format!("{group} is not there")),
            }
        }
        let sum: i64 = shares.iter().sum();
        assert!(sum > 0, "all-zero: {action}");
        if key.ends_with(&format!("/actions.{}", path.backend.as_ref().unwrap().0)) {
            served = Served::New(i32::try_from(shares[1] * i64::from(split.total) / sum).unwrap());
        }
    }
    served
}
