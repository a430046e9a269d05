//! A second IngressRoute, on the entry points without TLS, whose rules send requests to `https`. Pure.
//!
//! It is there before the way in leaves one of these entry points, and goes after that is back: proxies see writes of one kind in their order.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::TraefikRouter};

use super::{build, edge::Edge};
use crate::router::{
    contract::{Intent, ObjectKind, Problem, RouteStep, TraefikObserved},
    marks,
    view::Meta,
};

fn is_asked(intent: &Intent<'_>) -> bool {
    intent.edge.is_some_and(|edge| edge.tls_redirect)
}

/// Without names of entry points the way in may be any, those without TLS too.
pub(super) fn refusal(router: &TraefikRouter, intent: &Intent<'_>) -> Option<Problem> {
    let is_named = router.redirect_from.is_some() && router.entry_points.is_some();
    if is_named || !is_asked(intent) {
        return None;
    }
    let message = format!(
        "spec.edge.tlsRedirect: traefik has to know the entry points without TLS: name them in spec.routers[{}].traefik.redirectFrom, and those \
         with TLS in entryPoints beside it",
        intent.router_index
    );
    Some(marks::stalled(reasons::UNSUPPORTED_BY_ROUTER, message))
}

/// Why it cannot be made.
pub(super) fn problem(intent: &Intent<'_>, observed: &TraefikObserved<'_>) -> Option<Problem> {
    let found = observed.redirect.filter(|_| is_asked(intent))?;
    marks::unusable(ObjectKind::IngressRoute, &found.meta, &intent.split)
}

/// What makes it be what is asked for.
pub(super) fn made(
    router: &TraefikRouter,
    intent: &Intent<'_>,
    edge: &Edge<'_>,
    copied: bool,
    observed: &TraefikObserved<'_>,
) -> Option<RouteStep> {
    let from = router.redirect_from.as_deref().filter(|_| is_asked(intent))?;
    build::redirect(from, intent, edge, copied, observed.redirect)
}

/// It, when nobody asks for it.
pub(super) fn stray<'a>(intent: &Intent<'_>, observed: &TraefikObserved<'a>) -> Option<(ObjectKind, &'a Meta)> {
    let meta = &observed.redirect?.meta;
    let goes = !is_asked(intent) && marks::is_ours(meta, &intent.split);
    goes.then_some((ObjectKind::IngressRoute, meta))
}
