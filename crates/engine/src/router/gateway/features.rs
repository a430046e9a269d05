//! What HTTPRoutes carry.

use crate::router::{
    contract::Intent,
    features::{Carried, Feature},
};

/// An HTTPRoute made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Wholly,
        Feature::RateLimit => Carried::Not {
            why: "has no rate limit, for the API knows none",
            remedy: "limit at the Gateway by what its implementation has for it, or use ingressNginx",
        },
        Feature::Timeouts => Carried::Not {
            why: "has no such timeouts: those of the API are about whole requests",
            remedy: "set them at the Gateway's implementation, or use ingressNginx",
        },
        Feature::Stickiness | Feature::SecurityHeaders => Carried::WhereListed("HTTPRouteResponseHeaderModification"),
        Feature::Retries | Feature::RetryBackoff | Feature::TryTimeout => Carried::Not {
            why: "has no retries, for those of the API are an experiment of which no GatewayClass says whether it supports them",
            remedy: "set them at the Gateway's implementation, or use ingressNginx",
        },
        Feature::CircuitBreaker => Carried::Not {
            why: "has no circuit breaker, for the API knows none",
            remedy: "set one at the Gateway's implementation, or use traefik",
        },
        Feature::Cors => Carried::WhereListed("HTTPRouteCORS"),
        Feature::Rewrite => Carried::WhereListed("HTTPRoutePathRewrite"),
        Feature::Mirror => Carried::WhereListed("HTTPRouteRequestMirror"),
        Feature::TlsRedirect => Carried::WhereListed("HTTPRouteSchemeRedirect"),
    }
}

/// What a part of the intent needs to be listed besides, and the field that asks for it.
pub(super) fn listed_besides(intent: &Intent<'_>) -> impl Iterator<Item = (String, &'static str)> {
    let part = intent.mirror.filter(|it| it.percent < 100);
    let by_method = intent.mirror.filter(|it| !it.allow_unsafe);
    let part = part.map(|_| ("spec.mirror.percent".to_owned(), "HTTPRouteRequestPercentageMirror"));
    part.into_iter().chain(by_method.map(|_| ("spec.mirror.allowUnsafe".to_owned(), "HTTPRouteMethodMatching")))
}

/// One rule of a user's HTTPRoute.
pub(in crate::router) fn carries_attached(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Not {
            why: "has no room for pins in an attached rule, of which only the backends are changed",
            remedy: "remove the pins, put rules for them into the HTTPRoute, or let Cutover make it (parentRefs)",
        },
        Feature::Stickiness => Carried::Not {
            why: "changes only the backends of an attached rule",
            remedy: "remove stickiness, or let Cutover make the HTTPRoute (parentRefs)",
        },
        Feature::RateLimit
        | Feature::Timeouts
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::CircuitBreaker => carries(feature),
        Feature::SecurityHeaders => Carried::Not {
            why: "changes only the backends of an attached rule",
            remedy: "add a ResponseHeaderModifier to that rule, or let Cutover make the HTTPRoute (parentRefs)",
        },
        Feature::Cors | Feature::TlsRedirect | Feature::Rewrite | Feature::Mirror => Carried::Not {
            why: "changes only the backends of an attached rule",
            remedy: "add a filter to that rule, or let Cutover make the HTTPRoute (parentRefs)",
        },
    }
}
