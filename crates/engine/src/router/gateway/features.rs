//! What HTTPRoutes carry.

use crate::router::features::{Carried, Feature};

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
        Feature::SecurityHeaders => Carried::WhereListed("HTTPRouteResponseHeaderModification"),
        Feature::Retries | Feature::RetryBackoff | Feature::TryTimeout => Carried::Not {
            why: "has no retries, for those of the API are an experiment of which no GatewayClass says whether it supports them",
            remedy: "set them at the Gateway's implementation, or use ingressNginx",
        },
        Feature::ConsecutiveErrors | Feature::ErrorPercent => Carried::Not {
            why: "has no circuit breaker, for the API knows none",
            remedy: "set one at the Gateway's implementation, or use istio or traefik",
        },
        Feature::Cors | Feature::TlsRedirect | Feature::Rewrite | Feature::Mirror => Carried::Not {
            why: "is written without filters other than that of headers",
            remedy: "set this at the Gateway's implementation, or use another router",
        },
    }
}

/// One rule of a user's HTTPRoute.
pub(in crate::router) fn carries_attached(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Not {
            why: "has no room for pins in an attached rule, of which only the backends are changed",
            remedy: "remove the pins, put rules for them into the HTTPRoute, or let Cutover make it (parentRefs)",
        },
        Feature::RateLimit
        | Feature::Timeouts
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::ConsecutiveErrors
        | Feature::ErrorPercent => carries(feature),
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
