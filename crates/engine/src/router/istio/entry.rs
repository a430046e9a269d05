//! One `http` entry's destinations: what they are read as, and their weights changed.

use cutover_api::v1alpha1::traffic_split::Side;
use serde_json::{Value, json};

use crate::router::{
    contract::{IstioObserved, ObjectKind, RouteStep, SideBackend, Sides, SplitRef},
    marks::{self, Claim},
    parts,
    shares::{self, Share, service_port},
    view::WholeView,
};

/// A Service of the VirtualService's own namespace.
pub(super) fn destination(service: &str, port: i32) -> Value {
    json!({"host": service, "port": {"number": port}})
}

/// All entries.
pub(super) fn http(spec: &Value) -> &[Value] {
    spec.get("http").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn routes(entry: &Value) -> &[Value] {
    entry.get("route").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entry of this name.
pub(super) fn named<'a>(spec: &'a Value, name: &str) -> Option<&'a Value> {
    http(spec).iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
}

/// The names of all entries that have one.
pub(super) fn names(spec: &Value) -> Vec<&str> {
    http(spec).iter().filter_map(|entry| entry.get("name")?.as_str()).collect()
}

/// Whether a destination is this Service, by its short name or by a longer one. The port may be left out of a Service that has one.
fn leads_to(route: &Value, (service, number): (&str, i32), namespace: &str) -> bool {
    let Some(host) = route.pointer("/destination/host").and_then(Value::as_str) else { return false };
    let rest = host.strip_prefix(service);
    let is_host = rest.is_some_and(|rest| {
        let domain = rest.strip_prefix('.').and_then(|rest| rest.strip_prefix(namespace));
        rest.is_empty() || domain.is_some_and(|it| it.is_empty() || it == ".svc" || it.starts_with(".svc."))
    });
    let port = route.pointer("/destination/port/number").and_then(Value::as_i64);
    is_host && port.is_none_or(|port| port == i64::from(number))
}

fn is_side(route: &Value, side: &SideBackend, namespace: &str) -> bool {
    service_port(side).is_some_and(|service| leads_to(route, service, namespace))
}

fn side(route: &Value, sides: &Sides, namespace: &str) -> Option<Side> {
    [Side::Legacy, Side::New].into_iter().find(|side| is_side(route, sides.get(*side), namespace))
}

/// Whether both sides are destinations of the entry: only our writing, or a user's intent, puts them there.
pub(super) fn lists_both(entry: &Value, sides: &Sides, namespace: &str) -> bool {
    let lists = |side| routes(entry).iter().any(|it| is_side(it, side, namespace));
    lists(&sides.legacy) && lists(&sides.new)
}

/// The side that is no destination of the entry.
pub(super) fn lacks(entry: &Value, sides: &Sides, namespace: &str) -> Option<Side> {
    shares::lacking(sides, |side| routes(entry).iter().any(|it| is_side(it, side, namespace)))
}

/// The list of entries without this entry's destination of a side, if it bears no weight and is not the only one.
pub(super) fn without(service: &WholeView, entry: &str, side: &SideBackend, namespace: &str) -> Option<RouteStep> {
    let mut spec = service.spec.value();
    let http = spec.get_mut("http")?;
    let meant = http.as_array_mut()?.iter_mut().find(|it| it.get("name").and_then(Value::as_str) == Some(entry))?;
    let routes = meant.get_mut("route")?.as_array_mut()?;
    let before = routes.len();
    let is_idle = |it: &Value| it.get("weight").and_then(Value::as_i64).unwrap_or_default() == 0;
    routes.retain(|it| !(is_side(it, side, namespace) && is_idle(it)));
    (!routes.is_empty() && routes.len() < before)
        .then(|| marks::patch_spec(ObjectKind::VirtualService, &service.meta, &json!({"http": http})))
}

/// Why an entry's weights cannot be the split's.
pub(super) fn unfit(entry: &Value, sides: &Sides, namespace: &str) -> Option<String> {
    let routes = routes(entry);
    if routes.is_empty() {
        return Some("leads to no destination: name an entry that has a route".to_owned());
    }
    if let Some(other) = routes.iter().find(|it| side(it, sides, namespace).is_none()) {
        let host = other.pointer("/destination/host").and_then(Value::as_str).unwrap_or("without a host");
        return Some(format!(
            "also leads to {host}, which is neither side of this split: take it out of that entry, or name another entry"
        ));
    }
    let twice = [&sides.legacy, &sides.new]
        .into_iter()
        .find(|it| routes.iter().filter(|route| is_side(route, it, namespace)).count() > 1);
    let (service, _) = service_port(twice?)?;
    Some(format!(
        "leads to Service {service} more than once: have one destination for it, or split by Services of their own"
    ))
}

/// The new side's weight in an entry, in parts of `total`. One destination has all, whatever it says; of several, one that says nothing has
/// none.
pub(super) fn weight(entry: &Value, sides: &Sides, total: i32, namespace: &str) -> Option<i32> {
    let routes = routes(entry);
    let weight = |it: &Value| it.get("weight").and_then(Value::as_i64).unwrap_or_default();
    let list: Vec<_> =
        routes.iter().map(|it| (side(it, sides, namespace), if routes.len() == 1 { 1 } else { weight(it) })).collect();
    shares::read(&list, total)
}

/// The list of entries with the destinations of those changed that are `meant`, by their name, and nothing else; `None` if they are as
/// wanted. What a destination has besides its weight (headers, a subset) stays.
pub(super) fn reweighed(
    service: &WholeView,
    meant: impl Fn(&str) -> bool,
    shares: &[Share<'_>],
    namespace: &str,
) -> Option<RouteStep> {
    let mut spec = service.spec.value();
    let http = spec.get_mut("http")?;
    reweigh(http, meant, shares, namespace)
        .then(|| marks::patch_spec(ObjectKind::VirtualService, &service.meta, &json!({"http": http})))
}

/// Changes them in place; says whether there was anything to change.
pub(super) fn reweigh(http: &mut Value, meant: impl Fn(&str) -> bool, shares: &[Share<'_>], namespace: &str) -> bool {
    let mut changed = false;
    for entry in http.as_array_mut().into_iter().flatten() {
        if entry.get("name").and_then(Value::as_str).is_some_and(&meant)
            && let Some(route) = rerouted(entry, shares, namespace)
            && let Some(entry) = entry.as_object_mut()
        {
            entry.insert("route".to_owned(), route.into());
            changed = true;
        }
    }
    changed
}

/// The entry's destinations with these shares; `None` if it has them.
fn rerouted(entry: &Value, shares: &[Share<'_>], namespace: &str) -> Option<Vec<Value>> {
    let old = routes(entry).to_vec();
    let share_of = |it: &Value| shares.iter().find(|share| leads_to(it, (share.service, share.port), namespace));
    let mut new: Vec<Value> = Vec::with_capacity(2);
    for route in &old {
        let Some(share) = share_of(route) else { continue };
        let mut route = route.clone();
        route.as_object_mut()?.insert("weight".to_owned(), share.weight.into());
        new.push(route);
    }
    let unlisted =
        shares.iter().filter(|share| !old.iter().any(|it| leads_to(it, (share.service, share.port), namespace)));
    new.extend(
        unlisted.map(|share| json!({"destination": destination(share.service, share.port), "weight": share.weight})),
    );
    (new != old).then_some(new)
}

/// See [`crate::router::read_weight`].
pub(in crate::router) fn read_weight(
    split: SplitRef<'_>,
    attached_to: Option<&str>,
    sides: &Sides,
    total: i32,
    observed: &IstioObserved<'_>,
) -> Option<i32> {
    let service = observed.service?;
    let spec = service.spec.value();
    let found = named(&spec, attached_to.unwrap_or(parts::WEIGHTED))?;
    // A user's entry bears our weights when it lists both sides. With one of them it may never have been touched.
    let ours = match attached_to {
        None => marks::claim(&service.meta, &split) != Claim::Foreign,
        Some(_) => lists_both(found, sides, split.namespace),
    };
    ours.then(|| weight(found, sides, total, split.namespace)).flatten()
}
