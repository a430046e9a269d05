//! Istio: one VirtualService (`networking.istio.io/v1`), made by us or one named `http` entry of an existing one. Pure.
//!
//! - `http` is a list whose first entry that matches takes the request: pins stand before the weighted entry, in the spec's order.
//! - `prefix` compares letters, not whole elements of a path, so that a prefix is two matches.
//! - Weights are relative; ours total the split's `weightTotal`, of which the default is the 100 that older releases demand.
//! - `status` says nothing of the proxies: what is read back is the object.
//! - What several VirtualServices say of one host is put together in an order that nobody promises, so that claims of two splits on a host
//!   and paths of which one is below the other are a conflict (see [`crate::traffic_split::conflict`]).

mod build;
mod entry;
mod features;
mod http;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{IstioAttach, IstioRouter, RouterKind, Side},
};
use serde_json::json;

use super::{
    contract::{Intent, IstioObserved, ObjectKind, Problem, RouteStep, RouterPlan, SideBackend, Sides, SplitRef},
    marks::{self, Kinds},
    methods, names,
    own::{self, Outcome},
    parts,
    shares::{self, Share},
    view::{Meta, WholeView},
};
pub(crate) use build::hosts_and_paths;
pub(super) use entry::read_weight;
pub(super) use features::{carries, carries_attached};

const KINDS: Kinds = Kinds {
    subject: "Istio's kinds are",
    resources: "virtualservices.networking.istio.io",
    objects: "VirtualServices of networking.istio.io/v1",
    definitions: "Istio's",
};

/// See [`super::plan`].
pub(super) fn plan(router: &IstioRouter, intent: &Intent<'_>, observed: &IstioObserved<'_>) -> RouterPlan {
    let attach = router.attach.as_ref();
    let name = attach.map_or_else(|| names::route_name(intent.split.name), |it| it.virtual_service.clone());
    let entry = attach.map_or(parts::WEIGHTED, |it| it.http.as_str());
    let weight = observed.service.and_then(|it| {
        entry::weight(entry::named(&it.spec.value(), entry)?, intent.sides, intent.weight_total, intent.split.namespace)
    });
    let mut plan = RouterPlan::begun(RouterKind::Istio, format!("VirtualService/{name}"), weight);
    if !KINDS.are_there(observed.installed, observed.forbidden, intent.router_index, &mut plan) {
        return plan;
    }
    let outcome = match attach {
        Some(attach) => attached(attach, intent, observed, weight),
        None => managed(router, intent, observed, weight),
    };
    outcome.conclude(&mut plan, observed.backed_off);
    plan.read_back.message = methods::copies(intent).err().map(str::to_owned);
    plan
}

fn objects<'a>(observed: &IstioObserved<'a>) -> Vec<(ObjectKind, &'a Meta)> {
    observed.service.map(|it| (ObjectKind::VirtualService, &it.meta)).into_iter().collect()
}

fn managed(router: &IstioRouter, intent: &Intent<'_>, observed: &IstioObserved<'_>, weight: Option<i32>) -> Outcome {
    if let Some(outcome) = own::before(intent, &objects(observed)) {
        return outcome;
    }
    let shares = match shares::wanted(intent, weight) {
        Ok(shares) => shares,
        Err(problem) => return Outcome::refused(problem),
    };
    let refusal = super::features::refusal("istio", carries, intent);
    if let Some(problem) = refusal.or_else(|| shares::external_name(intent.sides)) {
        // The form of the spec waits; the weight in force does not.
        let steps: Vec<_> = observed.service.and_then(|it| kept_up(it, intent, &shares)).into_iter().collect();
        return Outcome { steps, problem: Some(problem), last: observed.service.is_some() };
    }
    let steps = build::virtual_service(router, intent, &shares, observed.service).into_iter().collect();
    Outcome { steps, problem: None, last: true }
}

/// A VirtualService whose form waits: its weights, and that no cookie of before a fall holds anybody, do not.
fn kept_up(service: &WholeView, intent: &Intent<'_>, shares: &[Share<'_>]) -> Option<RouteStep> {
    let mut spec = service.spec.value();
    let http = spec.get_mut("http")?;
    let forgotten = http::forget(http, intent.sticking());
    let moved = entry::reweigh(http, parts::is_weighted, shares, intent.split.namespace);
    (forgotten || moved).then(|| marks::patch_spec(ObjectKind::VirtualService, &service.meta, &json!({"http": http})))
}

fn attached(attach: &IstioAttach, intent: &Intent<'_>, observed: &IstioObserved<'_>, weight: Option<i32>) -> Outcome {
    let field = format!("spec.routers[{}].istio.attach", intent.router_index);
    let (name, entry, namespace) = (&attach.virtual_service, &attach.http, intent.split.namespace);
    let refused = |reason, message: String| Outcome::refused(marks::stalled(reason, format!("{field}.{message}")));
    let Some(service) = observed.service else {
        let message =
            format!("virtualService: there is no VirtualService {name} in this namespace: create it, or name another");
        return refused(reasons::REFERENCE_NOT_FOUND, message);
    };
    let spec = service.spec.value();
    let Some(found) = entry::named(&spec, entry) else {
        let names = entry::names(&spec);
        let remedy = if names.is_empty() {
            "none of its entries has a name: give that entry one (spec.http[].name)".to_owned()
        } else {
            format!("name one of {}, or give that entry this name", names.join(", "))
        };
        let message = format!("http: VirtualService {name} has no http entry called {entry}: {remedy}");
        return refused(reasons::REFERENCE_NOT_FOUND, message);
    };
    if let Some(why) = entry::unfit(found, intent.sides, namespace) {
        let message = format!("http: entry {entry} of VirtualService {name} {why}");
        return refused(reasons::CONFLICTED, message);
    }
    let problem = refusal_of_attached(intent);
    if service.meta.deleting || shares::served_by_nobody(intent) {
        return Outcome { steps: Vec::new(), problem, last: false };
    }
    let begun = entry::lists_both(found, intent.sides, namespace);
    match shares::wanted(intent, weight) {
        Ok(_) if problem.is_some() && !begun => Outcome { steps: Vec::new(), problem, last: false },
        Ok(shares) => {
            let steps = entry::reweighed(service, |name| name == entry, &shares, namespace).into_iter().collect();
            Outcome { steps, problem, last: true }
        }
        Err(missing) => Outcome::refused(missing),
    }
}

/// See [`super::lacks`].
pub(super) fn lacks(attach: &IstioAttach, sides: &Sides, observed: &IstioObserved<'_>) -> Option<Side> {
    let service = observed.service?;
    entry::lacks(entry::named(&service.spec.value(), &attach.http)?, sides, &service.meta.namespace)
}

/// See [`super::detach`].
pub(super) fn detach(
    attach: &IstioAttach,
    side: &SideBackend,
    split: SplitRef<'_>,
    observed: &IstioObserved<'_>,
) -> Option<RouteStep> {
    entry::without(observed.service?, &attach.http, side, split.namespace)
}

/// What of the spec somebody else's entry has no room for.
fn refusal_of_attached(intent: &Intent<'_>) -> Option<Problem> {
    super::features::refusal("istio", carries_attached, intent).or_else(|| shares::external_name(intent.sides))
}

/// See [`super::release`].
pub(super) fn release(split: SplitRef<'_>, observed: &IstioObserved<'_>) -> Vec<RouteStep> {
    marks::release_ours(split, objects(observed))
}

/// See [`super::remove`].
pub(super) fn remove(split: SplitRef<'_>, observed: &IstioObserved<'_>) -> Vec<RouteStep> {
    marks::delete_ours(split, objects(observed))
}
