//! Whether the gateways have accepted a route in its present form: for every parentRef, by the controller of its GatewayClass,
//! `Accepted` and `ResolvedRefs` of the present generation, and the Gateway `Programmed`.

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{GatewayApiRouter, ParentRef, RouteKind},
};
use serde_json::Value;

use crate::router::{
    contract::{GatewayObserved, Intent, ObjectKind, Problem, RouterPlan},
    marks::{stalled, waiting},
    view::{ConditionView, GatewayView, ParentRefView, ParentStatusView, RouteView},
};

/// What one gateway says.
enum Verdict {
    Accepted,
    Awaited(String),
    Refused(Problem),
}

/// Puts the gateways' verdict on `route` into the plan.
pub(super) fn judge(
    plan: &mut RouterPlan,
    router: &GatewayApiRouter,
    intent: &Intent<'_>,
    observed: &GatewayObserved<'_>,
    route: &RouteView,
) {
    let parents = parents(router, route);
    let mut accepted = !parents.is_empty();
    for (at, parent) in parents.iter().enumerate() {
        let field = match &router.attach {
            None => format!("spec.routers[{}].gatewayApi.parentRefs[{at}]", intent.router_index),
            Some(_) => format!("spec.routers[{}].gatewayApi.attach.route", intent.router_index),
        };
        match one(&field, parent, intent.split.namespace, observed, route) {
            Verdict::Accepted => {}
            Verdict::Awaited(message) => {
                accepted = false;
                plan.read_back.message.get_or_insert(message);
            }
            Verdict::Refused(problem) => {
                accepted = false;
                plan.read_back.message.get_or_insert_with(|| problem.message.clone());
                plan.problem.get_or_insert(problem);
            }
        }
    }
    plan.read_back.accepted = Some(accepted);
}

/// What a listener without TLS has against the route that redirects from it.
pub(super) fn refused_redirect(
    router: &GatewayApiRouter,
    intent: &Intent<'_>,
    observed: &GatewayObserved<'_>,
    route: &RouteView,
) -> Option<Problem> {
    router.parent_refs.iter().flatten().enumerate().find_map(|(at, parent)| {
        let field = format!("spec.routers[{}].gatewayApi.parentRefs[{at}].redirectFrom", intent.router_index);
        let listener = view(parent, Some(parent.redirect_from.as_deref()?));
        match one(&field, &listener, intent.split.namespace, observed, route) {
            Verdict::Refused(problem) => Some(problem),
            Verdict::Accepted | Verdict::Awaited(_) => None,
        }
    })
}

fn view(parent: &ParentRef, listener: Option<&str>) -> ParentRefView {
    ParentRefView {
        name: parent.name.as_str().into(),
        namespace: parent.namespace.as_deref().map(Into::into),
        section_name: listener.map(Into::into),
        kind: None,
    }
}

/// The parents that have to accept: those of the spec, or of the user's route.
fn parents(router: &GatewayApiRouter, route: &RouteView) -> Vec<ParentRefView> {
    if let Some(refs) = &router.parent_refs {
        return refs.iter().map(|it| view(it, it.section_name.as_deref())).collect();
    }
    let spec = route.spec.value();
    let refs = spec.get("parentRefs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    refs.iter().filter_map(|it| serde_json::from_value(it.clone()).ok()).collect()
}

fn one(
    field: &str,
    parent: &ParentRefView,
    namespace: &str,
    observed: &GatewayObserved<'_>,
    route: &RouteView,
) -> Verdict {
    let at = parent.namespace.as_deref().unwrap_or(namespace);
    let is_gateway = parent.kind.as_deref().is_none_or(|kind| kind == "Gateway");
    let mut controller = None;
    let mut programmed = true;
    if observed.gateways_readable && is_gateway {
        let found = observed.gateways.iter().find(|it| it.meta.name == parent.name && *it.meta.namespace == *at);
        let Some(gateway) = found else {
            return Verdict::Refused(stalled(
                reasons::REFERENCE_NOT_FOUND,
                format!("{field}: there is no Gateway {at}/{}: create it, or name another", parent.name),
            ));
        };
        let class = observed.classes.iter().find(|it| it.meta.name == gateway.class_name);
        controller = class.map(|class| &*class.controller_name);
        programmed = is_programmed(gateway);
    }
    let said: Vec<&ParentStatusView> = route
        .parents
        .iter()
        .filter(|it| is_same(&it.parent_ref, parent, namespace))
        .filter(|it| controller.is_none_or(|controller| *it.controller_name == *controller))
        .collect();
    if said.is_empty() {
        return Verdict::Awaited(format!("Gateway {at}/{} has not said whether it accepts the route", parent.name));
    }
    for status in said {
        let judged = |type_, said| condition(observed.kind, field, (at, parent), route, type_, said);
        let verdict = judged("Accepted", status.accepted.as_ref());
        let verdict = verdict.or_else(|| judged("ResolvedRefs", status.resolved_refs.as_ref()));
        if let Some(verdict) = verdict {
            return verdict;
        }
    }
    if programmed {
        Verdict::Accepted
    } else {
        Verdict::Awaited(format!("Gateway {at}/{} is not Programmed", parent.name))
    }
}

fn is_programmed(gateway: &GatewayView) -> bool {
    gateway.programmed.as_ref().is_some_and(|it| it.holds && is_current(it, gateway.meta.generation))
}

fn is_current(condition: &ConditionView, generation: Option<i64>) -> bool {
    condition.observed_generation == generation
}

fn is_same(said: &ParentRefView, parent: &ParentRefView, namespace: &str) -> bool {
    said.name == parent.name
        && said.namespace.as_deref().unwrap_or(namespace) == parent.namespace.as_deref().unwrap_or(namespace)
        && said.section_name == parent.section_name
}

/// `None` if the condition holds for the route as it is now.
fn condition(
    kind: RouteKind,
    field: &str,
    (namespace, parent): (&str, &ParentRefView),
    route: &RouteView,
    type_: &str,
    condition: Option<&ConditionView>,
) -> Option<Verdict> {
    let name = &parent.name;
    let Some(condition) = condition.filter(|it| is_current(it, route.meta.generation)) else {
        return Some(Verdict::Awaited(format!(
            "Gateway {namespace}/{name} has not judged {type_} of the route's present form"
        )));
    };
    if condition.holds {
        return None;
    }
    let why = condition.message.as_deref().unwrap_or("without a message");
    let message = |remedy: &str| {
        format!("{field}: Gateway {namespace}/{name} says {type_}=False, {}: {why}: {remedy}", condition.reason)
    };
    Some(Verdict::Refused(match &*condition.reason {
        "RefNotPermitted" => {
            stalled(reasons::REF_NOT_PERMITTED, message("a ReferenceGrant in the backend's namespace has to allow it"))
        }
        // The Service may be on its way to the gateway.
        "BackendNotFound" => {
            waiting(reasons::ROUTE_NOT_ACCEPTED, message("the backend has to be visible to the gateway"))
        }
        "Pending" => waiting(reasons::ROUTE_NOT_ACCEPTED, message("it may clear by itself")),
        "NotAllowedByListeners" => stalled(
            reasons::ROUTE_NOT_ACCEPTED,
            message("the listener's allowedRoutes must include this namespace, or another Gateway be named"),
        ),
        "NoMatchingListenerHostname" => {
            stalled(reasons::ROUTE_NOT_ACCEPTED, message("a listener for spec.hosts is needed, or other hosts"))
        }
        "NoMatchingParent" => stalled(
            reasons::ROUTE_NOT_ACCEPTED,
            message("no listener fits: check sectionName, and the Gateway's listeners"),
        ),
        "UnsupportedProtocol" => stalled(
            reasons::ROUTE_NOT_ACCEPTED,
            message("say in appProtocol of the backend's port what it speaks, for gRPC kubernetes.io/h2c"),
        ),
        _ => {
            let kind = ObjectKind::from(kind).kind();
            stalled(reasons::ROUTE_NOT_ACCEPTED, message(&format!("see the Gateway's and the {kind}'s status")))
        }
    }))
}
