//! The members of a weighted TraefikService: what they are read as, and new weights for somebody else's.

use cutover_api::v1alpha1::traffic_split::Side;
use serde_json::{Value, json};

use crate::{
    Known,
    router::{
        contract::{Intent, ObjectKind, RouteStep, SideBackend, Sides, SplitRef, TraefikObserved},
        marks::{self, Claim},
        shares::{self, Share, service_port},
        view::WholeView,
    },
};

/// `weighted.services`.
pub(super) fn list(spec: &Value) -> Option<&[Value]> {
    Some(spec.pointer("/weighted/services")?.as_array()?.as_slice())
}

fn text<'a>(member: &'a Value, key: &str) -> Option<&'a str> {
    member.get(key).and_then(Value::as_str)
}

/// The port may be given by its number or by its name.
fn is_side(member: &Value, side: &SideBackend) -> bool {
    let Some((name, number)) = service_port(side) else { return false };
    let port_name = side.present().and_then(|backend| backend.port_name.as_deref());
    let port = member.get("port");
    text(member, "name") == Some(name)
        && text(member, "kind").is_none_or(|kind| kind == "Service")
        && text(member, "namespace").is_none()
        && (port.and_then(Value::as_i64) == Some(i64::from(number))
            || port.and_then(Value::as_str).is_some_and(|port| Some(port) == port_name || port == number.to_string()))
}

fn side(member: &Value, sides: &Sides) -> Option<Side> {
    [Side::Legacy, Side::New].into_iter().find(|side| is_side(member, sides.get(*side)))
}

/// Whether the side is a member.
pub(super) fn lists(list: &[Value], side: &SideBackend) -> bool {
    list.iter().any(|member| is_side(member, side))
}

/// A member that is neither side.
pub(super) fn other(list: &[Value], sides: &Sides) -> Option<String> {
    let other = list.iter().find(|member| side(member, sides).is_none())?;
    let port =
        other.get("port").map(|port| format!(":{}", port.as_str().map_or_else(|| port.to_string(), str::to_owned)));
    let name = text(other, "name").unwrap_or("without a name");
    Some(format!("{} {name}{}", text(other, "kind").unwrap_or("Service"), port.unwrap_or_default()))
}

/// The new side's weight, in parts of `total`.
pub(super) fn weight(spec: &Value, sides: &Sides, total: i32) -> Option<i32> {
    let weight = |member: &Value| member.get("weight").and_then(Value::as_i64).unwrap_or(1);
    let list: Vec<_> = list(spec)?.iter().map(|member| (side(member, sides), weight(member))).collect();
    shares::read(&list, total)
}

/// The TraefikService with these weights and nothing else changed, in the version that was read; `None` if it has them.
pub(super) fn reweighed(service: &WholeView, list: &[Value], sides: &Sides, shares: &[Share<'_>]) -> Option<RouteStep> {
    let weight = |side: Side| {
        let (name, port) = service_port(sides.get(side))?;
        shares.iter().find(|share| (share.service, share.port) == (name, port)).map(|share| share.weight)
    };
    let new: Vec<Value> = list
        .iter()
        .map(|member| {
            let mut member = member.clone();
            // A member without a weight has 1.
            let wanted = side(&member, sides).map(|side| weight(side).unwrap_or(0));
            if let (Some(wanted), Some(fields)) = (wanted, member.as_object_mut()) {
                fields.insert("weight".to_owned(), wanted.into());
            }
            member
        })
        .collect();
    (new != list)
        .then(|| marks::patch_spec(ObjectKind::TraefikService, &service.meta, &json!({"weighted": {"services": new}})))
}

/// What is to be told of a member without an endpoint: with it Traefik may drop the other side as well. Somebody else's list names both
/// sides, ours only those with a share.
pub(super) fn unanswered(is_attached: bool, intent: &Intent<'_>, weight: Option<i32>) -> Option<String> {
    let weight = weight?;
    let shares = [(&intent.sides.legacy, intent.weight_total - weight), (&intent.sides.new, weight)];
    let listed = shares.into_iter().filter(|(_, share)| is_attached || *share > 0);
    let mut listed = listed.filter_map(|(side, _)| side.present());
    let dead = listed.find(|backend| backend.ready == Known::Known(0))?;
    Some(format!(
        "Service {} is a member and has no ready endpoint: Traefik answers for neither side then, unless its provider kubernetesCRD runs with \
         allowEmptyServices",
        dead.service
    ))
}

/// See [`crate::router::read_weight`].
pub(in crate::router) fn read_weight(
    split: SplitRef<'_>,
    attached: bool,
    sides: &Sides,
    total: i32,
    observed: &TraefikObserved<'_>,
) -> Option<i32> {
    let service = observed.service?;
    let spec = service.spec.value();
    // A user's list bears our weights when it has both sides. With one of them it may never have been touched.
    let ours = if attached {
        list(&spec).is_some_and(|list| lists(list, &sides.legacy) && lists(list, &sides.new))
    } else {
        marks::claim(&service.meta, &split) != Claim::Foreign
    };
    ours.then(|| weight(&spec, sides, total)).flatten()
}
