//! Gateway API: one HTTPRoute or GRPCRoute (v1), made by us or one named rule of an existing one. Pure.
//!
//! - `rules` and `backendRefs` are atomic lists, so one weight cannot be owned by server-side apply: we own the whole route,
//!   or patch the whole list of rules of somebody else's in the version that we read, with everything but one rule's backends
//!   given back as it was.
//! - A rule matches by path first, then by the number of headers, then by its place. Every pin's rule therefore repeats all
//!   paths, and pins stand before the weighted rule in the spec's order: the first match wins, as the spec says.
//! - There is no match by cookie: the `cookie` header is matched by an expression that means the same to implementations that search
//!   and to those that match from end to end.
//! - A backend that does not exist is 500 for its share, and some implementations no longer resolve the route. A side without
//!   weight is left out when its Service is gone.
//! - TLS to a side is said by a BackendTLSPolicy for its Service, which its Environment makes; a gateway that knows none would speak plain
//!   HTTP to it.
//! - Clients are kept with their sides by rules for our own cookie, between the pins and the weighted rule, which deals it.
//! - A GRPCRoute is an HTTPRoute with other matches and fewer filters: everything but these is the same.
//! - `Accepted` says nothing about the data plane, but its absence does: the route is not served as written.

mod accept;
mod alias;
mod build;
mod features;
mod grpc;
mod redirect;
mod rule;
mod rules;
mod tls;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{GatewayApiRouter, RouteAttach, RouteKind, RouterKind, Side},
};

use self::{features::listed_besides, rule::Backends};
use super::{
    compare,
    contract::{GatewayObserved, Intent, ObjectKind, Problem, RouteStep, RouterPlan, SideBackend, Sides, SplitRef},
    marks::{self, Claim, Kinds},
    methods, names, parts, shares,
    shares::served_by_nobody,
    view::Meta,
};

pub(super) use features::{GRPC, GRPC_ATTACHED, carries, carries_attached, carries_grpc, carries_grpc_attached};
pub(crate) use grpc::path_of as grpc_path;
pub(super) use rule::read_weight;
pub(super) use tls::is_unspoken;

/// Fields that we do not write and that nobody else should.
const MEANINGFUL: [&str; 9] = [
    "filters",
    "timeouts",
    "retry",
    "sessionPersistence",
    "queryParams",
    "method",
    "headers",
    "namespace",
    "sectionName",
];

/// The most matches of all rules of one route that the API allows.
const MAX_MATCHES: usize = 128;

/// The most rules of one.
const MAX_RULES: usize = 16;

const fn kinds(kind: RouteKind) -> Kinds {
    match kind {
        RouteKind::Http => Kinds {
            subject: "the Gateway API is",
            resources: "httproutes.gateway.networking.k8s.io",
            objects: "HTTPRoutes of gateway.networking.k8s.io/v1",
            definitions: "the Gateway API's",
        },
        RouteKind::Grpc => Kinds {
            subject: "the Gateway API's GRPCRoute is",
            resources: "grpcroutes.gateway.networking.k8s.io",
            objects: "GRPCRoutes of gateway.networking.k8s.io/v1",
            definitions: "the Gateway API's (1.1 or later)",
        },
    }
}

/// See [`super::plan`].
pub(super) fn plan(router: &GatewayApiRouter, intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> RouterPlan {
    let name = router.attach.as_ref().map_or_else(|| names::route_name(intent.split.name), |it| it.route.clone());
    let rule = router.attach.as_ref().map_or(parts::WEIGHTED, |it| it.rule.as_str());
    let weight =
        observed.route.and_then(|route| rule::weight(&route.spec.value(), rule, intent.sides, intent.weight_total));
    let kind = ObjectKind::from(router.route_kind);
    let mut plan = RouterPlan::begun(RouterKind::GatewayApi, format!("{}/{name}", kind.kind()), weight);
    if !kinds(router.route_kind).are_there(observed.installed, observed.forbidden, intent.router_index, &mut plan) {
        return plan;
    }
    if let Some(route) = observed.route {
        accept::judge(&mut plan, router, intent, observed, route);
    }
    let outcome = if router.attach.is_some() {
        attached(router, intent, observed)
    } else {
        managed(router, intent, observed, weight)
    };
    settle(&mut plan, intent, observed, (kind, &name), outcome);
    // The form of a spec that is refused waits.
    if router.attach.is_none() && refusal(router, intent, observed).is_none() {
        redirect::plan(&mut plan, router, intent, observed);
    }
    if router.attach.is_none() && plan.settled && plan.steps.is_empty() {
        plan.steps = alias::leftovers(intent, observed);
    }
    if let Err(why) = methods::copies(intent) {
        plan.read_back.message.get_or_insert_with(|| why.to_owned());
    }
    plan
}

/// What is to be written, and what stands against it.
struct Outcome {
    /// Before the route: what it leads to.
    aliases: Vec<RouteStep>,
    step: Option<RouteStep>,
    problem: Option<Problem>,
    /// Nothing is left to be written, now or later.
    last: bool,
}

impl Outcome {
    fn refused(problem: Problem) -> Self {
        Self { aliases: Vec::new(), step: None, problem: Some(problem), last: false }
    }

    fn done(step: Option<RouteStep>) -> Self {
        Self { aliases: Vec::new(), step, problem: None, last: true }
    }
}

fn settle(
    plan: &mut RouterPlan,
    intent: &Intent<'_>,
    observed: &GatewayObserved<'_>,
    (kind, name): (ObjectKind, &str),
    Outcome { aliases, step, problem, last }: Outcome,
) {
    // What a person has to do about the spec comes before what the gateway says about the route.
    plan.problem = problem.or(plan.problem.take());
    let held_back = observed.backed_off && step.is_some();
    if held_back {
        plan.problem = Some(marks::contended(kind, name));
    }
    let has_route = intent.exposed && !served_by_nobody(intent);
    plan.settled =
        last && aliases.is_empty() && step.is_none() && (!has_route || plan.read_back.accepted == Some(true));
    let writes_route = step.is_some() && !held_back;
    plan.steps = aliases;
    plan.steps.extend(step.filter(|_| writes_route));
    if writes_route && has_route {
        // What was accepted is what stands now; what is being written is not accepted yet.
        plan.read_back.accepted = plan.read_back.accepted.map(|_| false);
    }
}

fn managed(
    router: &GatewayApiRouter,
    intent: &Intent<'_>,
    observed: &GatewayObserved<'_>,
    weight: Option<i32>,
) -> Outcome {
    let split = &intent.split;
    let kind = ObjectKind::from(router.route_kind);
    let claim = observed.route.map(|route| marks::claim(&route.meta, split));
    match (observed.route, claim) {
        (Some(route), Some(Claim::Foreign)) => {
            return Outcome::refused(marks::exists(kind, &route.meta));
        }
        (Some(route), Some(Claim::Adoptable)) => {
            return Outcome { last: false, ..Outcome::done(Some(marks::adopt(kind, &route.meta, split))) };
        }
        _ => {}
    }
    if observed.route.is_some_and(|route| route.meta.deleting) {
        return Outcome { last: false, ..Outcome::done(None) };
    }
    if !intent.exposed || served_by_nobody(intent) {
        return Outcome::done(observed.route.map(|route| marks::delete(kind, &route.meta)));
    }
    let backends = match Backends::wanted(intent, weight) {
        Ok(backends) => backends,
        Err(problem) => return Outcome::refused(problem),
    };
    let sticking = alias::sticking(intent, observed);
    if let Some(problem) = refusal(router, intent, observed) {
        // The form of the spec waits; the weight in force does not.
        let step = observed.route.and_then(|route| {
            let spec = rules::kept_up(&route.spec.value(), intent, &backends, sticking)?;
            build::patch(kind, route, &spec)
        });
        let aliases = if alias::are_named(split.name, observed) { alias::steps(intent, observed) } else { Vec::new() };
        return Outcome { aliases, step, problem: Some(problem), last: true };
    }
    let aliases = if intent.stickiness.is_some() { alias::steps(intent, observed) } else { Vec::new() };
    let wanted = build::spec(router, intent, &backends, sticking);
    let step = match observed.route {
        Some(route)
            if compare::is_same(&route.spec.value(), &wanted, &MEANINGFUL)
                && route.meta.baseline.as_deref() == intent.baseline =>
        {
            None
        }
        route => {
            let name = names::route_name(intent.split.name);
            Some(build::route(kind, intent, &name, wanted, intent.baseline, route.map(|it| &it.meta)))
        }
    };
    let last = sticking.is_some() == intent.sticking().is_some();
    Outcome { aliases, step, problem: None, last }
}

fn attached(router: &GatewayApiRouter, intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> Outcome {
    let Some(attach) = &router.attach else { return Outcome { last: false, ..Outcome::done(None) } };
    let field = format!("spec.routers[{}].gatewayApi.attach", intent.router_index);
    let object = ObjectKind::from(router.route_kind);
    let kind = object.kind();
    let Some(route) = observed.route else {
        return Outcome::refused(marks::stalled(
            reasons::REFERENCE_NOT_FOUND,
            format!("{field}.route: there is no {kind} {} in this namespace: create it, or name another", attach.route),
        ));
    };
    let spec = route.spec.value();
    let Some(found) = rule::named(&spec, &attach.rule) else {
        let names = rule::names(&spec);
        let remedy = if names.is_empty() {
            "none of its rules has a name: give that rule one (spec.rules[].name)".to_owned()
        } else {
            format!("name one of {}, or give that rule this name", names.join(", "))
        };
        return Outcome::refused(marks::stalled(
            reasons::REFERENCE_NOT_FOUND,
            format!("{field}.rule: {kind} {} has no rule called {}: {remedy}", attach.route, attach.rule),
        ));
    };
    if let Some(other) = rule::other_backend(found, intent.sides) {
        return Outcome::refused(marks::stalled(
            reasons::CONFLICTED,
            format!(
                "{field}.rule: rule {} of {kind} {} also leads to {other}, which is neither side of this split: take it out of that rule, or name \
                 another rule",
                attach.rule, attach.route
            ),
        ));
    }
    let weight = rule::weight(&spec, &attach.rule, intent.sides, intent.weight_total);
    let problem = refusal(router, intent, observed);
    if route.meta.deleting || served_by_nobody(intent) {
        return Outcome { aliases: Vec::new(), step: None, problem, last: false };
    }
    let is_ours_already = rule::lists_both(found, intent.sides);
    match Backends::wanted(intent, weight) {
        Ok(_) if problem.is_some() && !is_ours_already => {
            Outcome { aliases: Vec::new(), step: None, problem, last: false }
        }
        Ok(backends) => {
            let step =
                rule::with_backends(&spec, &attach.rule, &backends).and_then(|spec| build::patch(object, route, &spec));
            Outcome { aliases: Vec::new(), step, problem, last: true }
        }
        Err(missing) => Outcome::refused(missing),
    }
}

/// What of the spec this router, or its implementation, cannot do.
fn refusal(router: &GatewayApiRouter, intent: &Intent<'_>, observed: &GatewayObserved<'_>) -> Option<Problem> {
    let field = format!("spec.routers[{}].gatewayApi", intent.router_index);
    let refused = |why: String| Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, why));
    let (name, carries) = features::of(router);
    let problem = super::features::refusal(name, carries, intent);
    let problem = problem.or_else(|| (router.route_kind == RouteKind::Grpc).then(|| grpc::refusal(intent)).flatten());
    if problem.is_some() {
        return problem;
    }
    if let Some(problem) = shares::external_name(intent.sides).or_else(|| alias::refusal(intent, observed)) {
        return Some(problem);
    }
    if let Some(problem) = redirect::refusal(router, intent).or_else(|| tls::refusal(intent, observed)) {
        return Some(problem);
    }
    let (rules, matches) = rules::size(router.route_kind, intent);
    if router.attach.is_none() && (matches > MAX_MATCHES || rules > MAX_RULES) {
        return refused(format!(
            "spec.pins: {} paths for {} pins, stickiness and the weighted rule are {rules} rules with {matches} matches, and a route takes {MAX_RULES} \
             and {MAX_MATCHES}: have fewer pins and rewritten paths, no stickiness, or make two splits of the paths",
            intent.paths.len(),
            intent.pins.len()
        ));
    }
    for class in observed.classes {
        let Some(supported) = &class.supported_features else { continue };
        let needed = std::iter::once((field.clone(), ObjectKind::from(router.route_kind).kind()))
            .chain(super::features::to_be_listed(carries, intent));
        let mut needed = needed.chain(listed_besides(intent));
        let lacking = needed.find(|(_, feature)| !supported.iter().any(|it| **it == **feature));
        if let Some((field, feature)) = lacking {
            return refused(format!(
                "{field}: GatewayClass {} does not list the feature {feature} among those that it supports: use a Gateway of another class",
                class.meta.name
            ));
        }
    }
    None
}

/// The routes that are there.
fn routes<'a>(observed: &GatewayObserved<'a>) -> impl Iterator<Item = (ObjectKind, &'a Meta)> {
    let route = observed.route.map(|route| (observed.kind.into(), &route.meta));
    route.into_iter().chain(observed.redirect.map(|route| (ObjectKind::HttpRoute, &route.meta)))
}

/// See [`super::lacks`].
pub(super) fn lacks(attach: &RouteAttach, sides: &Sides, observed: &GatewayObserved<'_>) -> Option<Side> {
    let spec = observed.route?.spec.value();
    rule::lacks(rule::named(&spec, &attach.rule)?, sides)
}

/// See [`super::detach`].
pub(super) fn detach(attach: &RouteAttach, side: &SideBackend, observed: &GatewayObserved<'_>) -> Option<RouteStep> {
    let route = observed.route?;
    build::patch(observed.kind.into(), route, &rule::without(&route.spec.value(), &attach.rule, side)?)
}

/// See [`super::release`]. A rule that the split was attached to carries no mark of ours, and is left as it is.
pub(super) fn release(split: SplitRef<'_>, observed: &GatewayObserved<'_>) -> Vec<RouteStep> {
    marks::release_ours(split, routes(observed).chain(alias::all(split.name, observed)))
}

/// See [`super::remove`]. A user's route is not ours to remove, nor its weights to change.
pub(super) fn remove(split: SplitRef<'_>, observed: &GatewayObserved<'_>) -> Vec<RouteStep> {
    [marks::delete_ours(split, routes(observed)), alias::removals(&split, observed)].concat()
}
