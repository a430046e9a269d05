//! The alias Services of the two Ingresses, so that a canary is attached to this split's main backend and to no other's.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::Side};

use crate::router::{
    alias::{Aliases, MAX_ENDPOINTS, TOO_MANY},
    contract::{Backend, IngressObserved, Intent, ObjectKind, Problem, RouteStep, SideBackend, SplitRef},
    marks, names,
    view::IngressView,
};

/// A side that this router cannot lead to.
pub(super) fn refusal(intent: &Intent<'_>) -> Option<Problem> {
    for (field, backend) in intent.sides.present() {
        let why = if backend.external_name {
            "is of type ExternalName, whose endpoints cannot be counted or copied: make it an external component that is found by \
             addresses, or a Service with EndpointSlices"
        } else if backend.endpoints.len() > MAX_ENDPOINTS {
            TOO_MANY
        } else {
            continue;
        };
        return Some(marks::stalled(
            reasons::UNSUPPORTED_BY_ROUTER,
            format!("{field}: Service {} {why}", backend.service),
        ));
    }
    let (legacy, new) = (intent.sides.legacy.present()?, intent.sides.new.present()?);
    (is_encrypted(legacy) != is_encrypted(new)).then(|| {
        marks::stalled(
            reasons::UNSUPPORTED_BY_ROUTER,
            format!(
                "spec.routers[{}].ingressNginx: one backend protocol serves both sides, but the appProtocol of Service {} is {} and \
                 that of Service {} is {}: give both the same, or use the router gatewayApi",
                intent.router_index,
                legacy.service,
                legacy.app_protocol.as_deref().unwrap_or("http"),
                new.service,
                new.app_protocol.as_deref().unwrap_or("http"),
            ),
        )
    })
}

fn is_encrypted(backend: &Backend) -> bool {
    matches!(backend.app_protocol.as_deref(), Some("https" | "HTTPS" | "kubernetes.io/wss" | "grpcs" | "GRPCS"))
}

fn aliases<'a>(observed: &IngressObserved<'a>) -> Aliases<'a> {
    Aliases { name: names::alias_name, addressed: false, services: observed.aliases, slices: observed.alias_slices }
}

/// See [`Aliases::steps`]. Beside a user's main Ingress only the canary names one.
pub(super) fn steps(intent: &Intent<'_>, observed: &IngressObserved<'_>, managed: bool) -> Vec<RouteStep> {
    let sides: &[Side] = if managed { &[Side::Legacy, Side::New] } else { &[Side::New] };
    aliases(observed).steps(intent, sides)
}

/// See [`Aliases::removals`].
pub(super) fn removals(split: &SplitRef<'_>, observed: &IngressObserved<'_>) -> Vec<RouteStep> {
    let routes: Vec<&IngressView> = [observed.main, observed.canary].into_iter().flatten().collect();
    aliases(observed).removals(split, |alias| routes.iter().any(|route| names_service(route, alias)))
}

fn names_service(ingress: &IngressView, service: &str) -> bool {
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths).filter_map(|path| path.backend.as_ref());
    paths.chain(&ingress.default_backend).any(|(name, _)| **name == *service)
}

/// Aliases, and a main Ingress, that nothing needs any more: of a side that left the spec, or from before the split was attached.
pub(super) fn leftovers(intent: &Intent<'_>, observed: &IngressObserved<'_>, managed: bool) -> Vec<RouteStep> {
    let split = &intent.split;
    let main = observed.main.filter(|_| !managed).map(|it| (ObjectKind::Ingress, &it.meta));
    let is_unused = !managed || intent.sides.legacy == SideBackend::Absent;
    let unused = if is_unused { aliases(observed).of(split.name, Side::Legacy) } else { Vec::new() };
    marks::delete_ours(*split, main.into_iter().chain(unused))
}
