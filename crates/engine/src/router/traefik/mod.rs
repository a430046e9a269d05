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
//! - What copies requests is a TraefikService of its own, which leads to the weighted one (see [`mirror`]).
//! - What redirects to TLS is an IngressRoute of its own, on other entry points (see [`redirect`]).
//! - What is done at the edge is said by further objects, which are there before they are named and are named no more before they go
//!   (see [`edge`]).
//! - TLS to a side is said by a ServersTransport that its Environment makes (see [`tls`]).
//! - Neither kind has a status that says anything: what is read back is the object, and proxies are given a moment to act on it.

mod accessories;
mod build;
mod edge;
mod features;
mod members;
mod mirror;
mod redirect;
mod rewrite;
mod rules;
mod tls;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{RouterKind, Side, TraefikAttach, TraefikRouter},
};

use self::{edge::Edge, mirror::Mirror};
use super::{
    contract::{Intent, ObjectKind, Problem, RouteStep, RouterPlan, SideBackend, SplitRef, TraefikObserved},
    marks::{self, Claim, Kinds},
    methods, names,
    own::{self, Outcome},
    shares,
    view::{Meta, WholeView},
};

pub(crate) use accessories::IDLE_CONNECTIONS;
pub(super) use features::{carries, carries_attached};
pub(super) use members::read_weight;
pub(crate) use rules::hosts_and_paths;
pub(super) use tls::is_unspoken;

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
    plan.read_back.message = members::unanswered(router.attach.is_some(), intent, weight);
    let outcome = match &router.attach {
        Some(attach) => attached(attach, intent, observed, weight),
        None => managed(router, intent, observed, &mut plan),
    };
    outcome.conclude(&mut plan, observed.backed_off);
    plan
}

/// What there is of the split's own objects: the way in first, what it leads to and what it names after it. Of what only some features
/// need nothing counts that is somebody else's or on its way out: the routes do not depend on it.
fn objects<'a>(split: &SplitRef<'_>, observed: &TraefikObserved<'a>) -> Vec<(ObjectKind, &'a Meta)> {
    let meta = |kind, view: Option<&'a WholeView>| view.map(|view| (kind, &view.meta));
    let counts = |it: &(ObjectKind, &Meta)| marks::claim(it.1, split) != Claim::Foreign && !it.1.deleting;
    let accessories = observed.accessories.iter().map(|(kind, view)| (*kind, &view.meta));
    let named = accessories.chain(mirror::taking(split.name, observed)).filter(counts);
    let routes = [
        meta(ObjectKind::IngressRoute, observed.route),
        meta(ObjectKind::IngressRoute, observed.redirect).filter(counts),
        mirror::copying(observed).filter(counts),
        meta(ObjectKind::TraefikService, observed.service),
    ];
    routes.into_iter().flatten().chain(named).collect()
}

fn managed(
    router: &TraefikRouter,
    intent: &Intent<'_>,
    observed: &TraefikObserved<'_>,
    plan: &mut RouterPlan,
) -> Outcome {
    if let Some(outcome) = own::before(intent, &objects(&intent.split, observed)) {
        return outcome;
    }
    let shares = match shares::wanted(intent, plan.read_back.observed_weight) {
        Ok(shares) => shares,
        Err(problem) => return Outcome::refused(problem),
    };
    let edge = Edge::of(intent, observed);
    let mirror = Mirror::of(intent, observed);
    let refused = refusal(intent).or_else(|| redirect::refusal(router, intent));
    let unmade = || edge.problem().or_else(|| mirror.problem()).or_else(|| redirect::problem(intent, observed));
    let problem = refused.or_else(unmade);
    // The form of a refused spec waits; the weight in force does not.
    let named = edge.named_by_members(problem.is_some());
    let service = build::service(intent, &shares, &named, observed.service);
    if problem.is_some() {
        let last = observed.service.is_some() && observed.route.is_some();
        return Outcome { steps: service.filter(|_| observed.service.is_some()).into_iter().collect(), problem, last };
    }
    if let Err(why) = methods::copies(intent) {
        plan.read_back.message.get_or_insert_with(|| why.to_owned());
    }
    let copying = mirror.made(&named);
    let routes: Vec<RouteStep> = if edge.may_be_routed() && mirror.may_be_routed() {
        let redirect = redirect::made(router, intent, &edge, mirror.is_asked(), observed);
        redirect.into_iter().chain(build::route(router, intent, &edge, mirror.is_asked(), observed.route)).collect()
    } else {
        Vec::new()
    };
    let is_written = service.is_some() || !copying.is_empty() || !routes.is_empty();
    let strays = match redirect::stray(intent, observed) {
        _ if is_written => Vec::new(),
        Some(redirect) => vec![redirect],
        None => [edge.strays(), mirror.strays()].concat(),
    };
    // A weight is the first to be written. Otherwise in this order: a route to what is not there is answered with errors.
    let (moved, made) = if observed.service.is_some() { (service, None) } else { (None, service) };
    let mut steps: Vec<RouteStep> =
        moved.into_iter().chain(edge.made()).chain(copying).chain(made).chain(routes).collect();
    if observed.unseen.routes {
        plan.paused = !strays.is_empty();
    } else {
        steps.extend(strays.into_iter().map(|(kind, meta)| marks::delete(kind, meta)));
    }
    let awaited = edge.awaited().or_else(|| mirror.awaited());
    let last = awaited.is_none();
    if let Some(awaited) = awaited {
        plan.paused = true;
        plan.read_back.message.get_or_insert(awaited);
    }
    Outcome { steps, problem, last }
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
    let unable = super::features::refusal("traefik", carries, intent)
        .or_else(|| shares::external_name(intent.sides))
        .or_else(|| tls::refusal(intent))
        .or_else(|| intent.said_otherwise.cloned())
        .or_else(|| untimed(intent))
        .or_else(|| mirror::refusal(intent));
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
    let per_path = intent.pins.len().saturating_add(1 + usize::from(intent.mirror.is_some()));
    let rules = intent.hosts.len().saturating_mul(intent.paths.len()).saturating_mul(per_path);
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

/// A side that timeouts cannot be said of: those of a ServersTransport do nothing for h2c, and one of ours would take the place of the one
/// by which the proxy trusts certificates.
fn untimed(intent: &Intent<'_>) -> Option<Problem> {
    intent.edge?.timeouts?;
    let sides = [&intent.sides.legacy, &intent.sides.new];
    let backend = sides.into_iter().filter_map(SideBackend::present).find(|it| !build::is_plain(it))?;
    let message = format!(
        "spec.edge.timeouts: traefik waits so for sides that speak plain HTTP/1.1 only, and Service {} speaks HTTPS or h2c: set the times at the \
         proxy (serversTransport.forwardingTimeouts), or have the edge speak plain HTTP to it",
        backend.service
    );
    Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message))
}

/// What of the spec somebody else's TraefikService has no room for.
fn refusal_of_attached(intent: &Intent<'_>) -> Option<Problem> {
    super::features::refusal("traefik", carries_attached, intent).or_else(|| shares::external_name(intent.sides))
}

/// See [`super::release`].
pub(super) fn release(split: SplitRef<'_>, observed: &TraefikObserved<'_>) -> Vec<RouteStep> {
    marks::release_ours(split, objects(&split, observed))
}

/// See [`super::remove`].
pub(super) fn remove(split: SplitRef<'_>, observed: &TraefikObserved<'_>) -> Vec<RouteStep> {
    marks::delete_ours(split, objects(&split, observed))
}
