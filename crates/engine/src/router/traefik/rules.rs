//! Traefik's rules: the text that matches a host and a path, what is added for pins, and their rank.
//!
//! Traefik takes the first rule by rank that matches. All rules of one host and path have the same rank, and each excludes what the pins
//! before it match, so that whichever is looked at first the answer is the same, and no rule of ours comes between the rules of
//! others for longer and for shorter paths.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, Pin};
use serde_json::Value;

use super::rewrite;
use crate::router::{contract::ObjectKind, view::WholeView};

/// Whether the path stands for every path.
pub(super) fn is_root(path: &PathMatch) -> bool {
    path.type_ == PathType::Prefix && bare(&path.value).is_empty()
}

/// A prefix without the slashes that it ends with: `/v2/` and `/v2` are the same path and what is below it.
fn bare(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// The rule for a host and a path. `PathPrefix` alone would compare letters, not whole elements: `/v2` would match `/v20`.
pub(super) fn of(host: &str, path: &PathMatch) -> String {
    let host = match host.strip_prefix("*.") {
        Some(domain) => format!(r"HostRegexp(`^[^.]+\.{}$`)", domain.replace('.', r"\.")),
        None => format!("Host(`{host}`)"),
    };
    let path = match (path.type_, bare(&path.value)) {
        (PathType::Exact, _) => format!("Path(`{}`)", path.value),
        (PathType::Prefix, "") => "PathPrefix(`/`)".to_owned(),
        (PathType::Prefix, prefix) => format!("(Path(`{prefix}`) || PathPrefix(`{prefix}/`))"),
    };
    format!("{host} && {path}")
}

/// What the plainest rule for this host and path would have by default, which is its length. An exact path is above a prefix of the same
/// length; a wildcard below every host that it stands for.
pub(super) fn rank(host: &str, path: &PathMatch) -> usize {
    let (value, exact) = match path.type_ {
        PathType::Exact => (path.value.as_str(), 1),
        PathType::Prefix if is_root(path) => ("/", 0),
        PathType::Prefix => (bare(&path.value), 0),
    };
    let wildcard = usize::from(host.starts_with("*."));
    (format!("Host(`{host}`) && PathPrefix(`{value}`)").len() + exact).saturating_sub(wildcard)
}

/// What matches requests of these methods, and what matches all others.
pub(super) fn by_methods(methods: &[&str]) -> (String, String) {
    let all: Vec<String> = methods.iter().map(|it| format!("Method(`{it}`)")).collect();
    let others: Vec<String> = all.iter().map(|it| format!("!{it}")).collect();
    (format!("({})", all.join(" || ")), others.join(" && "))
}

/// What matches a pin's requests. There is no matcher for cookies: the header is looked through.
pub(super) fn of_pin(pin: &Pin) -> Option<String> {
    match (&pin.header, &pin.cookie) {
        (Some(header), _) => Some(format!("Header(`{}`, `{}`)", header.name, header.value)),
        (None, Some(cookie)) => {
            let value = cookie.value.replace('.', r"\.");
            Some(format!(r"HeaderRegexp(`Cookie`, `(^|;\s*){}={value}(;|$)`)", cookie.name))
        }
        (None, None) => None,
    }
}

/// The hosts and paths of an IngressRoute that we made; `None` when a rule of it is not of ours. `accessories`: what it may name.
pub(crate) fn hosts_and_paths(
    route: &WholeView,
    accessories: &[(ObjectKind, &WholeView)],
) -> Option<(Vec<String>, Vec<PathMatch>)> {
    let spec = route.spec.value();
    let (mut hosts, mut paths) = (Vec::new(), Vec::new());
    for rule in spec.get("routes")?.as_array()? {
        let (host, path) = read(rule.get("match")?.as_str()?)?;
        let path = PathMatch { rewrite: rewritten(rule, accessories), ..path };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Some((hosts, paths))
}

/// What a rule of ours rewrites its path to.
fn rewritten(rule: &Value, accessories: &[(ObjectKind, &WholeView)]) -> Option<String> {
    let named = rule.get("middlewares")?.as_array()?.iter().filter_map(|it| it.get("name")?.as_str());
    let mut found = named.filter_map(|name| {
        let is = |(kind, view): &&(ObjectKind, &WholeView)| *kind == ObjectKind::Middleware && *view.meta.name == *name;
        rewrite::read(&accessories.iter().find(is)?.1.spec.value())
    });
    found.next()
}

/// The host and the path of a rule that begins as [`of`] writes it.
fn read(rule: &str) -> Option<(String, PathMatch)> {
    let mut parts = rule.split(" && ");
    let (host, path) = (parts.next()?, parts.next()?);
    let quoted = |text: &str| Some(text.split('`').nth(1)?.to_owned());
    let host = match host.strip_prefix(r"HostRegexp(`^[^.]+\.") {
        Some(domain) => format!("*.{}", domain.strip_suffix("$`)")?.replace(r"\.", ".")),
        None => quoted(host.strip_prefix("Host(")?)?,
    };
    let type_ = if path.starts_with("Path(") { PathType::Exact } else { PathType::Prefix };
    Some((host, PathMatch::new(type_, quoted(path)?)))
}
