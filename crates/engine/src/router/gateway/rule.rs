//! One rule's backends: what they should be, and what they are read as.

use cutover_api::v1alpha1::traffic_split::Side;
use serde_json::{Map, Value, json};

use super::rules as ours;
use crate::router::{
    contract::{GatewayObserved, Intent, Problem, SideBackend, Sides, SplitRef},
    marks::{self, Claim},
    parts,
    shares::{self, Share, service_port},
};

/// A Service and its port.
type ServicePort<'a> = (&'a str, i32);

/// The weighted rule's backends, legacy first. At least one of them has a weight above 0.
pub(super) struct Backends<'a>(pub(super) Vec<Share<'a>>);

impl<'a> Backends<'a> {
    /// See [`shares::wanted`].
    pub(super) fn wanted(intent: &Intent<'a>, observed_weight: Option<i32>) -> Result<Self, Problem> {
        shares::wanted(intent, observed_weight).map(Self)
    }
}

/// A backendRef with every default written out, so that what is read equals what was written.
pub(super) fn backend_ref((name, port): ServicePort<'_>, weight: i32) -> Value {
    json!({"group": "", "kind": "Service", "name": name, "port": port, "weight": weight})
}

pub(super) fn rules(spec: &Value) -> &[Value] {
    spec.get("rules").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn refs(rule: &Value) -> &[Value] {
    rule.get("backendRefs").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// The rule of this name. In our own route the weighted rule is the last one, for versions of the API without names.
pub(super) fn named<'a>(spec: &'a Value, name: &str) -> Option<&'a Value> {
    position(spec, name).and_then(|at| rules(spec).get(at))
}

fn position(spec: &Value, name: &str) -> Option<usize> {
    let rules = rules(spec);
    let last = || rules.len().checked_sub(1).filter(|_| name == parts::WEIGHTED);
    rules.iter().position(|rule| text(rule, "name") == Some(name)).or_else(last)
}

/// The names of all rules that have one.
pub(super) fn names(spec: &Value) -> Vec<&str> {
    rules(spec).iter().filter_map(|rule| text(rule, "name")).collect()
}

fn is_service(backend: &Value, (name, port): ServicePort<'_>) -> bool {
    text(backend, "name") == Some(name)
        && backend.get("port").and_then(Value::as_i64) == Some(i64::from(port))
        && text(backend, "kind").is_none_or(|kind| kind == "Service")
        && text(backend, "group").is_none_or(str::is_empty)
        && text(backend, "namespace").is_none()
}

fn is_side(backend: &Value, side: &SideBackend) -> bool {
    service_port(side).is_some_and(|service| is_service(backend, service))
}

/// A backend of the rule that is neither side of the split. Without a legacy side, one that has no weight is what is left of it.
pub(super) fn other_backend(rule: &Value, sides: &Sides) -> Option<String> {
    let is_left = |it: &Value| sides.legacy == SideBackend::Absent && it.get("weight") == Some(&0.into());
    let is_other = |it: &&Value| !is_side(it, &sides.legacy) && !is_side(it, &sides.new) && !is_left(it);
    let other = refs(rule).iter().find(is_other)?;
    let kind = text(other, "kind").unwrap_or("Service");
    let port = other.get("port").map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{kind} {}{port}", text(other, "name").unwrap_or("without a name")))
}

/// Whether both sides are in the rule: only our writing, or a user's intent, puts them there.
pub(super) fn lists_both(rule: &Value, sides: &Sides) -> bool {
    let lists = |side| refs(rule).iter().any(|it| is_side(it, side));
    lists(&sides.legacy) && lists(&sides.new)
}

/// The side that the rule does not name.
pub(super) fn lacks(rule: &Value, sides: &Sides) -> Option<Side> {
    shares::lacking(sides, |side| refs(rule).iter().any(|it| is_side(it, side)))
}

/// The list of rules without this rule's entry of a side, if it bears no weight and is not the only one.
pub(super) fn without(spec: &Value, rule: &str, side: &SideBackend) -> Option<Value> {
    let at = position(spec, rule)?;
    let old = refs(rules(spec).get(at)?);
    let idle = |it: &&Value| is_side(it, side) && it.get("weight").and_then(Value::as_i64) == Some(0);
    let new: Vec<Value> = old.iter().filter(|it| !idle(it)).cloned().collect();
    (!new.is_empty() && new.len() < old.len()).then(|| with_refs(spec, at, new)).flatten()
}

/// The list of rules with other backends at one place.
fn with_refs(spec: &Value, at: usize, refs: Vec<Value>) -> Option<Value> {
    let mut rules = rules(spec).to_vec();
    rules.get_mut(at)?.as_object_mut()?.insert("backendRefs".to_owned(), refs.into());
    Some(Value::Object(Map::from_iter([("rules".to_owned(), rules.into())])))
}

/// The new side's weight in a rule, in parts of `total`. `None` if no backend of it can be told to be a side.
pub(super) fn weight(spec: &Value, rule: &str, sides: &Sides, total: i32) -> Option<i32> {
    let side = |it: &Value| {
        let sides = [(Side::Legacy, &sides.legacy), (Side::New, &sides.new)];
        sides.into_iter().find(|(_, backend)| is_side(it, backend)).map(|(side, _)| side)
    };
    let weight = |it: &Value| it.get("weight").and_then(Value::as_i64).unwrap_or(1);
    let list: Vec<_> = refs(named(spec, rule)?).iter().map(|it| (side(it), weight(it))).collect();
    shares::read(&list, total)
}

/// The list of rules with this rule's backends changed, and nothing else; `None` if they are as wanted.
pub(super) fn with_backends(spec: &Value, rule: &str, wanted: &Backends<'_>) -> Option<Value> {
    let at = position(spec, rule)?;
    with_refs(spec, at, changed(rules(spec).get(at)?, wanted)?)
}

/// The same of every rule that carries weights, in a route of ours.
pub(super) fn with_weights(spec: &Value, wanted: &Backends<'_>) -> Option<Value> {
    let weighted = rules(spec).iter().enumerate().filter(|(_, rule)| ours::is_weighted(rule));
    let changes: Vec<_> = weighted.filter_map(|(at, rule)| Some((at, changed(rule, wanted)?))).collect();
    let mut changes = changes.into_iter();
    let (at, refs) = changes.next()?;
    let first = with_refs(spec, at, refs);
    changes.try_fold(first?, |spec, (at, refs)| with_refs(&spec, at, refs))
}

/// A rule's backends with these weights; `None` if they have them. What an entry has besides its weight (filters) stays.
fn changed(rule: &Value, wanted: &Backends<'_>) -> Option<Vec<Value>> {
    let old = refs(rule);
    let is = |it: &Value, share: &Share<'_>| is_service(it, (share.service, share.port));
    let keep = |it: &Value| wanted.0.iter().find(|share| is(it, share));
    let mut new: Vec<Value> = old
        .iter()
        .filter_map(|it| {
            let share = keep(it)?;
            let mut it = it.clone();
            it.as_object_mut()?.insert("weight".to_owned(), share.weight.into());
            Some(it)
        })
        .collect();
    let added = wanted.0.iter().filter(|share| !old.iter().any(|it| is(it, share)));
    new.extend(added.map(|share| backend_ref((share.service, share.port), share.weight)));
    (new != old).then_some(new)
}

/// See [`crate::router::read_weight`].
pub(in crate::router) fn read_weight(
    split: SplitRef<'_>,
    rule: Option<&str>,
    sides: &Sides,
    total: i32,
    observed: &GatewayObserved<'_>,
) -> Option<i32> {
    let route = observed.route?;
    let spec = route.spec.value();
    match rule {
        None => {
            let ours = marks::claim(&route.meta, &split) != Claim::Foreign;
            ours.then(|| weight(&spec, parts::WEIGHTED, sides, total)).flatten()
        }
        // A user's rule bears our weights when it lists both sides. With one of them it may never have been touched.
        Some(rule) => {
            let found = named(&spec, rule)?;
            lists_both(found, sides).then(|| weight(&spec, rule, sides, total)).flatten()
        }
    }
}
