//! What the annotation says that carries the weights.

use cutover_api::v1alpha1::traffic_split::Side;
use serde_json::{Value, json};

use crate::router::{
    contract::{AlbObserved, Sides, SplitRef},
    marks::{self, Claim},
    shares::{self, service_port},
    view::IngressView,
};

/// What the annotations of actions begin with; the rest is the name by which rules refer to it.
pub(super) const ACTIONS: &str = "alb.ingress.kubernetes.io/actions.";
/// The annotation that carries the weights.
pub(super) const WEIGHTED: &str = "alb.ingress.kubernetes.io/actions.weighted";

/// Forwards to these Services and ports, each with its weight.
pub(super) fn action<'a>(groups: impl IntoIterator<Item = (&'a str, i32, i32)>) -> String {
    let group = |(service, port, weight)| json!({"serviceName": service, "servicePort": port, "weight": weight});
    let groups: Vec<Value> = groups.into_iter().map(group).collect();
    json!({"type": "forward", "forwardConfig": {"targetGroups": groups}}).to_string()
}

fn groups(action: &str) -> Vec<Value> {
    let action: Value = serde_json::from_str(action).unwrap_or_default();
    action.pointer("/forwardConfig/targetGroups").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn side(group: &Value, sides: &Sides) -> Option<Side> {
    let is = |side: &Side| {
        service_port(sides.get(*side)).is_some_and(|(service, port)| {
            let found = group.get("servicePort");
            // Both forms mean the same to the controller.
            let number = found.and_then(Value::as_i64).or_else(|| found.and_then(Value::as_str)?.parse().ok());
            group.get("serviceName").and_then(Value::as_str) == Some(service) && number == Some(i64::from(port))
        })
    };
    [Side::Legacy, Side::New].into_iter().find(is)
}

/// The new side's weight, in parts of `total`.
pub(super) fn weight(ingress: &IngressView, sides: &Sides, total: i32) -> Option<i32> {
    let groups = groups(ingress.annotations.get(WEIGHTED)?);
    let weight = |it: &Value| it.get("weight").and_then(Value::as_i64).unwrap_or_default();
    let list: Vec<_> =
        groups.iter().map(|it| (side(it, sides), if groups.len() == 1 { 1 } else { weight(it) })).collect();
    shares::read(&list, total)
}

/// The Services that the actions of an Ingress for an AWS load balancer lead to.
#[must_use]
pub fn service_names(ingress: &IngressView) -> Vec<String> {
    let actions = ingress.annotations.iter().filter(|(key, _)| key.starts_with(ACTIONS));
    let named = |it: &Value| it.get("serviceName").and_then(Value::as_str).map(str::to_owned);
    actions.flat_map(|(_, action)| groups(action)).filter_map(|it| named(&it)).collect()
}

/// See [`crate::router::read_weight`].
pub(in crate::router) fn read_weight(
    split: SplitRef<'_>,
    sides: &Sides,
    total: i32,
    observed: &AlbObserved<'_>,
) -> Option<i32> {
    let ingress = observed.ingress.filter(|it| marks::claim(&it.meta, &split) != Claim::Foreign)?;
    weight(ingress, sides, total)
}
