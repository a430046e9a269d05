//! Traefik's own kinds (`traefik.io/v1alpha1`): an IngressRoute that leads to a weighted TraefikService, both made by us, or a TraefikService
//! of somebody else's whose weights are moved. Pure.
//!
//! - A weight is one write: of the TraefikService. Hosts, paths and pins are the IngressRoute's.
//! - A member whose Service is gone takes the whole TraefikService with it, and so does one without an endpoint unless Traefik's provider
//!   runs with `allowEmptyServices`. A member of weight 0 has no other effect, so ours never lists one: a new side that is scaled to
//!   nothing must not be able to take legacy down.
//! - Traefik ranks rules by a number, by default the length of the rule's text, not by host and path. Ours bear the number that the plain
//!   rule for their host and path would have, so that they stand among rules of users as those expect; and of ours for one host and
//!   path no two match the same request (see [`rules`]), so that pins need no rank of their own.
//! - Neither kind has a status that says anything: what is read back is the object, and proxies are given a moment to act on it.

mod build;
mod features;
mod members;
mod rules;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{RouterKind, Side, TraefikAttach, TraefikRouter},
};

use super::{
    contract::{Intent, ObjectKind, Problem, RouteStep, RouterPlan, SplitRef, TraefikObserved},
    marks::{self, Kinds},
    names,
    own::{self, Outcome},
    shares,
    view::Meta,
};

pub(super) use features::{carries, carries_attached};
pub(super) use members::read_weight;
pub(crate) use rules::hosts_and_paths;

/// More rules than this are not put into one IngressRoute: the API server takes no larger object, and Traefik tries one after the other.
const MAX_RULES: usize = 512;

const KINDS: Kinds = Kinds {
    subject: "Traefik's kinds are",
    resources: "ingressroutes and traefikservices of traefik.io",
    objects: "IngressRoutes and TraefikServices of traefik.io/v1alpha1",
    definitions: "Traefik's",
};

/// See [`super::plan`].
pub(super) fn plan(router: &TraefikRouter, intent: &Intent<'_>, observed: &TraefikObserved<'_>) -> RouterPlan {
    let name = router.attach.as_ref().map_or_else(|| names::weighted_name(intent.split.name), |it| it.service.clone());
    let weight =
        observed.service.and_then(|service| members::weight(&service.spec.value(), intent.sides, intent.weight_total));
    let mut plan = RouterPlan::begun(RouterKind::Traefik, format!("TraefikService/{name}"), weight);
    if !KINDS.are_there(observed.installed, observed.forbidden, intent.router_index, &mut plan) {
        return plan;
    }
    plan.read_back.message = members::unanswered(intent.sides, weight, intent.weight_total);
    let outcome = match &router.attach {
        Some(attach) => attached(attach, intent, observed, weight),
        None => managed(router, intent, observed, weight),
    };
    outcome.conclude(&mut plan, observed.backed_off);
    plan
}

/// What there is of the split's own objects: the way in first, what it leads to after it.
fn objects<'a>(observed: &TraefikObserved<'a>) -> Vec<(ObjectKind, &'a Meta)> {
    let all = [(ObjectKind::IngressRoute, observed.route), (ObjectKind::TraefikService, observed.service)];
    all.into_iter().filter_map(|(kind, view)| Some((kind, &view?.meta))).collect()
}

fn managed(
    router: &TraefikRouter,
    intent: &Intent<'_>,
    observed: &TraefikObserved<'_>,
    weight: Option<i32>,
) -> Outcome {
    if let Some(outcome) = own::before(intent, &objects(observed)) {
        return outcome;
    }
    let shares = match shares::wanted(intent, weight) {
        Ok(shares) => shares,
        Err(problem) => return Outcome::refused(problem),
    };
    let problem = refusal(intent);
    // The form of a refused spec waits; the weight in force does not.
    let service =
        build::service(intent, &shares, observed.service).filter(|_| problem.is_none() || observed.service.is_some());
    let route = if problem.is_none() { build::route(router, intent, observed.route) } else { None };
    let last = problem.is_none() || (observed.service.is_some() && observed.route.is_some());
    // In this order: a route to a TraefikService that is not there is answered with errors.
    Outcome { steps: service.into_iter().chain(route).collect(), problem, last }
}

fn attached(
    attach: &TraefikAttach,
    intent: &Intent<'_>,
    observed: &TraefikObserved<'_>,
    weight: Option<i32>,
) -> Outcome {
    let field = format!("spec.routers[{}].traefik.attach.service", intent.router_index);
    let name = &attach.service;
    let refused = |reason, message| Outcome::refused(marks::stalled(reason, format!("{field}: {message}")));
    let Some(service) = observed.service else {
        let message = format!("there is no TraefikService {name} in this namespace: create it, or name another");
        return refused(reasons::REFERENCE_NOT_FOUND, message);
    };
    let spec = service.spec.value();
    let Some(list) = members::list(&spec) else {
        let message = format!(
            "TraefikService {name} has no weighted.services: name one that has, or let Cutover make its own (remove attach)"
        );
        return refused(reasons::UNSUPPORTED_BY_ROUTER, message);
    };
    if let Some(other) = members::other(list, intent.sides) {
        let message = format!(
            "TraefikService {name} also leads to {other}, which is neither side of this split: take it out of weighted.services, or name another \
             TraefikService"
        );
        return refused(reasons::CONFLICTED, message);
    }
    let unlisted =
        |side| shares::service_port(intent.sides.get(side)).filter(|_| !members::lists(list, intent.sides.get(side)));
    if let Some((unlisted, port)) = unlisted(Side::Legacy).or_else(|| unlisted(Side::New)) {
        let message = format!(
            "TraefikService {name} does not list Service {unlisted} with port {port}, and only weights are changed: add it to weighted.services \
             with weight 0"
        );
        return refused(reasons::REFERENCE_NOT_FOUND, message);
    }
    let problem = refusal_of_attached(intent);
    if service.meta.deleting || shares::served_by_nobody(intent) {
        return Outcome { steps: Vec::new(), problem, last: false };
    }
    match shares::wanted(intent, weight) {
        Ok(shares) => {
            let steps = members::reweighed(service, list, intent.sides, &shares).into_iter().collect();
            Outcome { steps, problem, last: true }
        }
        Err(missing) => Outcome::refused(missing),
    }
}

/// What of the spec cannot be made into rules of Traefik's.
fn refusal(intent: &Intent<'_>) -> Option<Problem> {
    let refused = |why: String| Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, why));
    let unable = super::features::refusal("traefik", carries, intent).or_else(|| shares::external_name(intent.sides));
    if unable.is_some() {
        return unable;
    }
    let wildcard = intent.hosts.iter().position(|host| host.starts_with("*."));
    if let Some(at) = wildcard
        && intent.paths.iter().any(|path| !rules::is_root(path))
    {
        return refused(format!(
            "spec.hosts[{at}]: Traefik would prefer the longer paths of this host to a host of its own for one of the names that it stands for: \
             name the hosts one by one, or make a split of the path / alone for it"
        ));
    }
    let rules =
        intent.hosts.len().saturating_mul(intent.paths.len()).saturating_mul(intent.pins.len().saturating_add(1));
    if rules > MAX_RULES {
        return refused(format!(
            "spec.routers[{}].traefik: {} hosts, {} paths and {} pins are {rules} rules, and an IngressRoute of ours holds {MAX_RULES}: have \
             fewer, or make two splits of the hosts",
            intent.router_index,
            intent.hosts.len(),
            intent.paths.len(),
            intent.pins.len()
        ));
    }
    None
}

/// What of the spec somebody else's TraefikService has no room for.
fn refusal_of_attached(intent: &Intent<'_>) -> Option<Problem> {
    super::features::refusal("traefik", carries_attached, intent).or_else(|| shares::external_name(intent.sides))
}

/// See [`super::release`].
pub(super) fn release(split: SplitRef<'_>, observed: &TraefikObserved<'_>) -> Vec<RouteStep> {
    own::release(split, &objects(observed))
}

/// See [`super::remove`].
pub(super) fn remove(split: SplitRef<'_>, observed: &TraefikObserved<'_>) -> Vec<RouteStep> {
    own::remove(split, &objects(observed))
}
