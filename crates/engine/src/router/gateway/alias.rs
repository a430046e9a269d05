//! The alias Services that deal clients to sides. Pure.
//!
//! Each backend of a rule that deals has a filter of its own, which sets the cookie. Traefik (3.7) keeps the filters of a backend by the
//! name and port of its Service, for all routes of a namespace: the last one read counts for every route and rule that names this Service.
//! So rules that deal name Services that nobody else names, and all of them with the same filters.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::Side};

use crate::{
    Known,
    router::{
        alias::{Aliases, MAX_ENDPOINTS, TOO_MANY},
        contract::{GatewayObserved, Intent, ObjectKind, Problem, RouteStep, SideBackend, SplitRef},
        marks::{self, Claim},
        names,
        sticky::Sticky,
        view::Meta,
    },
};

const BOTH: [Side; 2] = [Side::Legacy, Side::New];

fn aliases<'a>(observed: &GatewayObserved<'a>) -> Aliases<'a> {
    Aliases { name: names::sticky_name, addressed: false, services: observed.aliases, slices: observed.alias_slices }
}

/// All that is there of them.
pub(super) fn all<'a>(split: &str, observed: &GatewayObserved<'a>) -> Vec<(ObjectKind, &'a Meta)> {
    BOTH.into_iter().flat_map(|side| aliases(observed).of(split, side)).collect()
}

/// What keeps a side from having one.
pub(super) fn refusal(intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> Option<Problem> {
    intent.stickiness?;
    if let Some((kind, meta)) = foreign(&intent.split, observed) {
        return Some(marks::exists(kind, meta));
    }
    let (field, backend) = intent.sides.present().find(|(_, backend)| backend.endpoints.len() > MAX_ENDPOINTS)?;
    let message = format!("{field}: Service {} {TOO_MANY}, or remove stickiness", backend.service);
    Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message))
}

fn foreign<'a>(split: &SplitRef<'_>, observed: &GatewayObserved<'a>) -> Option<(ObjectKind, &'a Meta)> {
    all(split.name, observed).into_iter().find(|(_, meta)| is(meta, split, Claim::Foreign))
}

fn is(meta: &Meta, split: &SplitRef<'_>, claim: Claim) -> bool {
    marks::claim(meta, split) == claim
}

/// What keeps clients with their sides, once the aliases of both can be named: where they have endpoints, or the sides have none either. Those
/// that the route names already go on being named.
pub(super) fn sticking<'a>(intent: &Intent<'a>, observed: &GatewayObserved<'_>) -> Option<Sticky<'a>> {
    let usable = |side: Side| {
        let name = names::sticky_name(intent.split.name, side);
        let mut found = observed.aliases.iter().filter(|it| *it.meta.name == *name);
        let is_there = found.any(|it| marks::is_ours(&it.meta, &intent.split));
        let ready = match side {
            Side::Legacy => observed.alias_ready.legacy,
            Side::New => observed.alias_ready.new,
        };
        let is_dead = intent.sides.get(side).present().is_none_or(|backend| backend.ready == Known::Known(0));
        is_there && (ready == Some(true) || is_dead || is_named(&name, observed))
    };
    intent.sticking().filter(|_| BOTH.into_iter().all(usable))
}

fn is_named(alias: &str, observed: &GatewayObserved<'_>) -> bool {
    observed.route.is_some_and(|route| route.spec.value().to_string().contains(&format!("\"{alias}\"")))
}

/// Whether the route deals by aliases.
pub(super) fn are_named(split: &str, observed: &GatewayObserved<'_>) -> bool {
    BOTH.into_iter().any(|side| is_named(&names::sticky_name(split, side), observed))
}

/// What makes them what they should be: those left behind become ours first, and those of somebody else are left alone.
pub(super) fn steps(intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> Vec<RouteStep> {
    let split = &intent.split;
    if foreign(split, observed).is_some() {
        return Vec::new();
    }
    let left = all(split.name, observed).into_iter().filter(|(_, meta)| is(meta, split, Claim::Adoptable));
    let adopted: Vec<RouteStep> = left.map(|(kind, meta)| marks::adopt(kind, meta, split)).collect();
    if adopted.is_empty() { aliases(observed).steps(intent, &BOTH) } else { adopted }
}

/// See [`Aliases::removals`].
pub(super) fn removals(split: &SplitRef<'_>, observed: &GatewayObserved<'_>) -> Vec<RouteStep> {
    aliases(observed).removals(split, |alias| is_named(alias, observed))
}

/// What removes those that no rule names any more: all without stickiness, legacy's without that side.
pub(super) fn leftovers(intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> Vec<RouteStep> {
    let unused = |side: &Side| {
        intent.stickiness.is_none() || (*side == Side::Legacy && intent.sides.legacy == SideBackend::Absent)
    };
    let found = BOTH.into_iter().filter(unused).flat_map(|side| aliases(observed).of(intent.split.name, side));
    marks::delete_ours(intent.split, found)
}
