//! Routers: what is written to the route objects of a split, and what is read back from them.
//!
//! Pure: `(router, intent, observed route objects) -> steps`, and `observed -> weight`. One folder per router; the I/O is
//! elsewhere and the same for all. The caller carries a plan's steps out in order, stops at the first error, puts every
//! answer of the API server in the place of what it had observed, and plans again until a plan has no steps. Moves that
//! have to be *observed* before the next one (a complete cutover on Ingress, say) are therefore never in one plan.
//!
//! ```text
//! loop { let plan = router::plan(router, &intent, &observed);
//!        if plan.steps.is_empty() { break plan }
//!        for step in plan.steps { observed.replace(send(step)?) } }
//! ```
//!
//! - [`plan`]`(router, intent, observed) -> RouterPlan`;
//! - [`read_weight`]`(router, split, sides, weight_total, observed) -> Option<i32>`: the weight that the split's own (or a
//!   released, adoptable) route carries: what a split whose status is lost goes by. `None` without such a route;
//! - [`release`]`(split, observed) -> Vec<RouteStep>`: for `onDelete: Release`; empty when done;
//! - [`remove`]`(split, observed) -> Vec<RouteStep>`: for `onDelete: Delete` and for a router that left the spec; empty when done.
//!   A split that is hidden is not removed but planned with `exposed: false`.
//!
//! A released route needs no call of its own to be adopted: `plan` does it. A plan compares only the fields that we own, so that an object that carries the intent is never written again.

mod alb;
mod alias;
mod compare;
pub mod contract;
pub mod features;
mod gateway;
mod headers;
mod ingress;
mod istio;
mod marks;
mod methods;
pub mod names;
mod own;
mod parts;
mod shares;
mod sticky;
mod traefik;
pub mod view;

#[cfg(test)]
pub(crate) mod tests;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{GatewayApiRouter, IstioRouter, Router, RouterKind, Side},
};

use crate::Known;

pub use alb::service_names as alb_service_names;
pub use contract::{
    AlbObserved, AliasReady, Backend, BackendTls, EndpointCopy, GatewayObserved, IngressObserved, Intent,
    IstioObserved, ObjectKind, Observed, Problem, ReadBack, RouteStep, RouterPlan, SideBackend, Sides, SplitRef,
    TraefikObserved, Unseen,
};
use features::{Carried, Feature};
pub(crate) use gateway::grpc_path;
pub(crate) use ingress::path_of as ingress_path;
pub(crate) use istio::hosts_and_paths as virtual_service_hosts_and_paths;
pub use names::{
    alb_name, alias_name, canary_name, is_named_by_routes, made_prefix, mirror_name, redirect_name, route_name,
    sticky_name, weighted_name,
};
pub use sticky::Sticky;
pub(crate) use traefik::{IDLE_CONNECTIONS, hosts_and_paths as ingress_route_hosts_and_paths};
pub use view::{
    EndpointSliceView, GatewayClassView, GatewayView, IngressView, Meta, RouteView, ServiceView, View, WholeView,
};

/// What to write so that the router carries the intent, and what it is observed to carry. `router` and `observed` are of the same
/// kind; a router of no kind, or of another, gets an empty plan.
#[must_use]
pub fn plan(router: &Router, intent: &Intent<'_>, observed: &Observed<'_>) -> RouterPlan {
    let mut plan = planned(router, intent, observed);
    // Nothing that is written leads to a port that speaks TLS where nobody would speak it, or judge its certificate.
    if intent.exposed && is_unspoken(router, intent, observed) {
        plan.steps.clear();
        plan.settled = false;
    }
    plan
}

fn is_unspoken(router: &Router, intent: &Intent<'_>, observed: &Observed<'_>) -> bool {
    let carries: fn(Feature) -> Carried = match observed {
        Observed::GatewayApi(observed) => return gateway::is_unspoken(intent, observed),
        Observed::IngressNginx(_) => ingress::carries,
        Observed::Traefik(_) => {
            let is_attached = router.traefik.as_ref().is_some_and(|it| it.attach.is_some());
            return traefik::is_unspoken(is_attached, intent);
        }
        Observed::Istio(_) => istio::carries,
        Observed::Alb(_) => alb::carries,
    };
    intent.sides.speaking_tls().is_some() && matches!(carries(Feature::BackendTls), Carried::Not { .. })
}

fn planned(router: &Router, intent: &Intent<'_>, observed: &Observed<'_>) -> RouterPlan {
    match observed {
        Observed::IngressNginx(observed) => {
            router.ingress_nginx.as_ref().map(|router| ingress::plan(router, intent, observed))
        }
        Observed::GatewayApi(observed) => {
            router.gateway_api.as_ref().map(|router| gateway::plan(router, intent, observed))
        }
        Observed::Traefik(observed) => router.traefik.as_ref().map(|router| traefik::plan(router, intent, observed)),
        Observed::Istio(observed) => router.istio.as_ref().map(|router| istio::plan(router, intent, observed)),
        Observed::Alb(observed) => router.alb.as_ref().map(|router| alb::plan(router, intent, observed)),
    }
    .unwrap_or_else(|| mismatched(router.kind(), intent))
}

/// The CRD's rule makes each router exactly one kind, so this is not met; it must still do no harm.
fn mismatched(kind: RouterKind, intent: &Intent<'_>) -> RouterPlan {
    let message = format!(
        "spec.routers[{}]: a router is exactly one of ingressNginx, gatewayApi, traefik, istio and alb",
        intent.router_index
    );
    let problem = marks::stalled(reasons::INVALID_SPEC, message);
    RouterPlan { problem: Some(problem), ..RouterPlan::begun(kind, names::route_name(intent.split.name), None) }
}

/// The weight of the new side that the split's own route carries, or one that a split of this name left behind; `None` without
/// such a route. A user's rule counts when it lists both sides.
#[must_use]
pub fn read_weight(
    router: &Router,
    split: SplitRef<'_>,
    sides: &Sides,
    weight_total: i32,
    observed: &Observed<'_>,
) -> Option<i32> {
    match observed {
        Observed::IngressNginx(observed) => ingress::read_weight(split, weight_total, observed),
        Observed::GatewayApi(observed) => {
            let attach = router.gateway_api.as_ref().and_then(|it| it.attach.as_ref());
            gateway::read_weight(split, attach.map(|it| it.rule.as_str()), sides, weight_total, observed)
        }
        Observed::Traefik(observed) => {
            let attached = router.traefik.as_ref().is_some_and(|it| it.attach.is_some());
            traefik::read_weight(split, attached, sides, weight_total, observed)
        }
        Observed::Istio(observed) => {
            let attach = router.istio.as_ref().and_then(|it| it.attach.as_ref());
            istio::read_weight(split, attach.map(|it| it.http.as_str()), sides, weight_total, observed)
        }
        Observed::Alb(observed) => alb::read_weight(split, sides, weight_total, observed),
    }
}

/// The side that the rule of somebody else's does not name which the router attaches to: whatever entry it gets for it is ours.
#[must_use]
pub fn lacks(router: &Router, sides: &Sides, observed: &Observed<'_>) -> Option<Side> {
    match observed {
        Observed::GatewayApi(observed) => {
            gateway::lacks(router.gateway_api.as_ref()?.attach.as_ref()?, sides, observed)
        }
        Observed::Istio(observed) => istio::lacks(router.istio.as_ref()?.attach.as_ref()?, sides, observed),
        Observed::IngressNginx(_) | Observed::Traefik(_) | Observed::Alb(_) => None,
    }
}

/// Takes a side's entry out of the rule that the router attaches to, if it bears no weight and is not the only one: nothing moves, and
/// the route is as it was found but for weights. Nothing to do when done; unknown while the route cannot be read.
#[must_use]
pub fn detach(
    router: &Router,
    side: &SideBackend,
    split: SplitRef<'_>,
    observed: &Observed<'_>,
) -> Known<Option<RouteStep>> {
    match (observed, &router.gateway_api, &router.istio) {
        (Observed::GatewayApi(observed), Some(GatewayApiRouter { attach: Some(attach), .. }), _) => {
            observed.installed.map(|_| gateway::detach(attach, side, observed))
        }
        (Observed::Istio(observed), _, Some(IstioRouter { attach: Some(attach), .. })) => {
            observed.installed.map(|_| istio::detach(attach, side, split, observed))
        }
        _ => Known::Known(None),
    }
}

/// Leaves the split's objects as they are, unmanaged, for a later split of that name to adopt. Empty when done.
#[must_use]
pub fn release(split: SplitRef<'_>, observed: &Observed<'_>) -> Vec<RouteStep> {
    match observed {
        Observed::IngressNginx(observed) => ingress::release(split, observed),
        Observed::GatewayApi(observed) => gateway::release(split, observed),
        Observed::Traefik(observed) => traefik::release(split, observed),
        Observed::Istio(observed) => istio::release(split, observed),
        Observed::Alb(observed) => alb::release(split, observed),
    }
}

/// Removes the split's objects: routes first, and what they lead to once they are gone. Empty when done, or while a route that is being
/// deleted lingers.
#[must_use]
pub fn remove(split: SplitRef<'_>, observed: &Observed<'_>) -> Vec<RouteStep> {
    match observed {
        Observed::IngressNginx(observed) => ingress::remove(split, observed),
        Observed::GatewayApi(observed) => gateway::remove(split, observed),
        Observed::Traefik(observed) => traefik::remove(split, observed),
        Observed::Istio(observed) => istio::remove(split, observed),
        Observed::Alb(observed) => alb::remove(split, observed),
    }
}

/// `weight` of `of`, in parts of `total`, rounded.
fn scale(weight: i64, of: i64, total: i32) -> Option<i32> {
    let scaled = weight.checked_mul(i64::from(total))?.checked_add(of / 2)?.checked_div(of)?;
    i32::try_from(scaled).ok()
}
