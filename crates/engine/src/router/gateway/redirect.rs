//! A second HTTPRoute, on the listeners without TLS, which sends every request of the split's hosts and paths to `https`. A match cannot
//! tell how a request came, so that one route cannot do both.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{GatewayApiRouter, ParentRef},
};
use serde_json::{Value, json};

use super::{MEANINGFUL, accept, build, rules};
use crate::router::{
    compare,
    contract::{GatewayObserved, Intent, ObjectKind, Problem, RouteStep, RouterPlan},
    marks::{self, Claim},
    names,
    shares::served_by_nobody,
};

fn is_asked(intent: &Intent<'_>) -> bool {
    intent.edge.is_some_and(|edge| edge.tls_redirect)
}

/// A parent whose listeners are not named: the route itself would be served without TLS.
pub(super) fn refusal(router: &GatewayApiRouter, intent: &Intent<'_>) -> Option<Problem> {
    let unnamed = |parent: &ParentRef| parent.redirect_from.is_none() || parent.section_name.is_none();
    let at = router.parent_refs.iter().flatten().position(unnamed).filter(|_| is_asked(intent))?;
    let message = format!(
        "spec.edge.tlsRedirect: gatewayApi has to know the listener without TLS: name it in spec.routers[{}].gatewayApi.parentRefs[{at}].redirectFrom, \
         and the one with TLS in sectionName beside it",
        intent.router_index
    );
    Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message))
}

/// `spec`, if there is to be one.
fn wanted(router: &GatewayApiRouter, intent: &Intent<'_>) -> Option<Value> {
    let is_served = intent.exposed && !served_by_nobody(intent);
    (is_asked(intent) && is_served).then(|| {
        let listener = |parent: &ParentRef| Some(build::parent_ref(parent, Some(parent.redirect_from.as_deref()?)));
        let parents: Vec<Value> = router.parent_refs.iter().flatten().filter_map(listener).collect();
        let matches: Vec<Value> = intent.paths.iter().map(|path| json!({"path": rules::path_match(path)})).collect();
        let filter = json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}});
        json!({"parentRefs": parents, "hostnames": intent.hosts, "rules": [{"matches": matches, "filters": [filter]}]})
    })
}

/// Puts into the plan what is to be done about it.
pub(super) fn plan(
    plan: &mut RouterPlan,
    router: &GatewayApiRouter,
    intent: &Intent<'_>,
    observed: &GatewayObserved<'_>,
) {
    let name = names::redirect_name(intent.split.name);
    let wanted = wanted(router, intent);
    let claim = observed.redirect.map(|route| marks::claim(&route.meta, &intent.split));
    let step = match (observed.redirect, claim, wanted) {
        (None, _, None) | (Some(_), Some(Claim::Foreign), None) => return,
        (Some(route), Some(Claim::Foreign), Some(_)) => {
            plan.problem.get_or_insert_with(|| marks::exists(ObjectKind::HttpRoute, &route.meta));
            plan.settled = false;
            return;
        }
        (Some(route), ..) if route.meta.deleting => {
            plan.settled = false;
            return;
        }
        (Some(route), Some(Claim::Adoptable), _) => marks::adopt(ObjectKind::HttpRoute, &route.meta, &intent.split),
        (Some(route), _, None) => marks::delete(ObjectKind::HttpRoute, &route.meta),
        (Some(route), _, Some(spec)) if compare::is_same(&route.spec.value(), &spec, &MEANINGFUL) => {
            if let Some(problem) = accept::refused_redirect(router, intent, observed, route) {
                plan.problem.get_or_insert(problem);
            }
            return;
        }
        (found, _, Some(spec)) => {
            build::route(ObjectKind::HttpRoute, intent, &name, spec, None, found.map(|it| &it.meta))
        }
    };
    plan.settled = false;
    if observed.backed_off {
        plan.problem.get_or_insert_with(|| marks::contended(ObjectKind::HttpRoute, &name));
    } else {
        // Beside the route itself, on one listener, it comes second as the younger one: so it is there before that leaves the listener,
        // and goes after that is back.
        let at = if matches!(step, RouteStep::Delete { .. }) { plan.steps.len() } else { 0 };
        plan.steps.insert(at, step);
    }
}
