//! What the observed Ingresses carry.

use cutover_api::v1alpha1::traffic_split::Side;

use super::{annotations, moves::Main, moves::Now};
use crate::router::{
    contract::{IngressObserved, SplitRef},
    marks::{self, Claim},
    names, scale,
    view::IngressView,
};

/// The side that every path of an Ingress of ours leads to.
fn side(split: SplitRef<'_>, ingress: &IngressView) -> Option<Side> {
    let mut backends = ingress
        .rules
        .iter()
        .flat_map(|rule| &rule.paths)
        .filter(|path| !path.path.starts_with(names::KEPT))
        .map(|path| path.backend.as_ref().map_or("", |(service, _)| service));
    let first = backends.next()?;
    if !backends.all(|service| service == first) {
        return None;
    }
    [Side::Legacy, Side::New].into_iter().find(|side| names::alias_name(split.name, *side) == first)
}

/// Where the main Ingress leads.
pub(super) fn main(split: SplitRef<'_>, main: Option<&IngressView>) -> Main {
    let Some(main) = main else { return Main::None };
    let is_canary = main.annotations.get(annotations::CANARY).is_some_and(|value| &**value == "true");
    match side(split, main) {
        Some(_) if is_canary => Main::Other,
        Some(Side::Legacy) => Main::Legacy,
        Some(Side::New) => Main::New,
        None => Main::Other,
    }
}

/// The canary's weight, in parts of `total`; `None` without a canary that leads to the new side.
pub(super) fn canary(split: SplitRef<'_>, total: i32, canary: Option<&IngressView>) -> Option<i32> {
    let canary = canary.filter(|it| side(split, it) == Some(Side::New))?;
    let number = |key| canary.annotations.get(key).and_then(|value| value.parse::<i64>().ok());
    if canary.annotations.get(annotations::CANARY).is_none_or(|value| &**value != "true") {
        return None;
    }
    // As the proxies read them: the total is at least 100, the weight between 0 and the total.
    let of = number(annotations::CANARY_WEIGHT_TOTAL).unwrap_or(100).max(100);
    let weight = number(annotations::CANARY_WEIGHT).unwrap_or(0).clamp(0, of);
    scale(weight, of, total)
}

/// See [`crate::router::read_weight`].
pub(in crate::router) fn read_weight(split: SplitRef<'_>, total: i32, observed: &IngressObserved<'_>) -> Option<i32> {
    let ours = |it: &&IngressView| marks::claim(&it.meta, &split) != Claim::Foreign;
    let canary = canary(split, total, observed.canary.filter(ours));
    match observed.main.filter(ours) {
        Some(it) => Now { main: main(split, Some(it)), canary }.weight(total),
        None => canary,
    }
}
