//! AWS ALB: an Ingress whose annotations tell the AWS Load Balancer Controller how to forward. Pure.
//!
//! - Weights stand in the annotation `actions.weighted`, as JSON; what it is named by is the Service of the Ingress's rules, with the port
//!   `use-annotation`. A change of a weight is one write.
//! - Rules of one path keep the order that they are listed in, and longer paths come first, so pins are listed before the weighted rule of
//!   each path, each with its condition in an annotation of its own.
//! - Weights are 0 to 999. A side without a share stays as long as its Service exists, so that its targets are registered before they are
//!   needed; a Service that is gone keeps the controller from writing any rule, so that then it is left out.
//! - An Ingress says nothing of its rules in its status: what is read back is the annotation.

mod build;
mod features;
mod forward;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{AlbRouter, RouterKind},
};

use super::{
    contract::{AlbObserved, Intent, ObjectKind, Problem, RouteStep, RouterPlan, SplitRef},
    marks, names,
    own::{self, Outcome},
    shares,
    view::Meta,
};

pub(super) use features::carries;
pub(super) use forward::read_weight;
pub use forward::service_names;

/// The most rules that a load balancer takes, without a quota of one's own.
const MAX_RULES: usize = 100;
/// The greatest weight that it takes.
const MAX_WEIGHT: i32 = 999;

/// See [`super::plan`].
pub(super) fn plan(router: &AlbRouter, intent: &Intent<'_>, observed: &AlbObserved<'_>) -> RouterPlan {
    let name = names::alb_name(intent.split.name);
    let weight = observed.ingress.and_then(|it| forward::weight(it, intent.sides, intent.weight_total));
    let mut plan = RouterPlan::begun(RouterKind::Alb, format!("Ingress/{name}"), weight);
    outcome(router, intent, observed, weight).conclude(&mut plan, observed.backed_off);
    plan
}

fn objects<'a>(observed: &AlbObserved<'a>) -> Vec<(ObjectKind, &'a Meta)> {
    observed.ingress.map(|it| (ObjectKind::Ingress, &it.meta)).into_iter().collect()
}

fn outcome(router: &AlbRouter, intent: &Intent<'_>, observed: &AlbObserved<'_>, weight: Option<i32>) -> Outcome {
    if let Some(outcome) = own::before(intent, &objects(observed)) {
        return outcome;
    }
    let shares = match shares::wanted(intent, weight) {
        Ok(shares) => shares,
        Err(problem) => return Outcome::refused(problem),
    };
    if let Some(problem) = refusal(router, intent) {
        // The form of the spec waits; the weight in force does not.
        let steps = observed.ingress.and_then(|it| build::reweighed(it, &shares)).into_iter().collect();
        return Outcome { steps, problem: Some(problem), last: observed.ingress.is_some() };
    }
    let steps = build::ingress(router, intent, &shares, observed.ingress).into_iter().collect();
    Outcome { steps, problem: None, last: true }
}

/// What of the spec a load balancer's rules cannot say.
fn refusal(router: &AlbRouter, intent: &Intent<'_>) -> Option<Problem> {
    let refused = |why: String| Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, why));
    let unable = super::features::refusal("alb", carries, intent).or_else(|| shares::external_name(intent.sides));
    if unable.is_some() {
        return unable;
    }
    if intent.weight_total > MAX_WEIGHT + 1 {
        return refused(format!(
            "spec.weightTotal: {} is more than an ALB can tell apart, whose weights go to {MAX_WEIGHT}: make the split anew with 100 or 1000, or \
             take the router alb out",
            intent.weight_total
        ));
    }
    let wildcard = |value: &str| value.contains(['*', '?']);
    if let Some(at) = intent.paths.iter().position(|path| wildcard(&path.value)) {
        return refused(format!(
            "spec.paths[{at}].value: an ALB takes * for any letters, and the path is meant as it stands: name another path, or take the router \
             alb out"
        ));
    }
    let rules =
        intent.hosts.len().saturating_mul(intent.paths.len()).saturating_mul(intent.pins.len().saturating_add(1));
    if rules > MAX_RULES {
        return refused(format!(
            "spec.routers[{}].alb: {} hosts, {} paths and {} pins are {rules} rules, and an ALB takes {MAX_RULES}: have fewer, or make two splits \
             of the hosts",
            intent.router_index,
            intent.hosts.len(),
            intent.paths.len(),
            intent.pins.len()
        ));
    }
    build::annotation_refused(router, intent)
}

/// See [`super::release`].
pub(super) fn release(split: SplitRef<'_>, observed: &AlbObserved<'_>) -> Vec<RouteStep> {
    marks::release_ours(split, objects(observed))
}

/// See [`super::remove`].
pub(super) fn remove(split: SplitRef<'_>, observed: &AlbObserved<'_>) -> Vec<RouteStep> {
    marks::delete_ours(split, objects(observed))
}
