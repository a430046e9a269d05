//! What a VirtualService carries.

use crate::router::features::{Carried, Feature};

/// A VirtualService made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins
        | Feature::CookiePins
        | Feature::Stickiness
        | Feature::SecurityHeaders
        | Feature::Cors
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::Rewrite
        | Feature::Mirror => Carried::Wholly,
        Feature::RateLimit => Carried::Not {
            why: "has no rate limit, for a VirtualService knows none",
            remedy: "limit by an EnvoyFilter of yours at the gateway, or use ingressNginx",
        },
        Feature::Timeouts => Carried::Not {
            why: "has no such timeouts: that of a VirtualService is about whole requests",
            remedy: "set them by a DestinationRule of yours, or use ingressNginx",
        },
        Feature::CircuitBreaker => Carried::Not {
            why: "has no share of errors to go by: it leaves out single endpoints, after so many errors in a row",
            remedy: "set outlierDetection (consecutive5xxErrors, baseEjectionTime) by a DestinationRule of yours for the Service of each side",
        },
        Feature::TlsRedirect => Carried::Not {
            why: "has no redirect for one of several routes, for it is the Gateway's",
            remedy: "set tls.httpsRedirect on the Gateway's server without TLS",
        },
        Feature::BackendTls => Carried::Not {
            why: "takes TLS from a DestinationRule, of which Cutover makes none",
            remedy: "use gatewayApi or traefik; or leave tls out of the component, and write a DestinationRule for its Service first",
        },
    }
}

/// One entry of somebody else's VirtualService.
pub(in crate::router) fn carries_attached(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Not {
            why: "has no room for pins in an attached entry, of which only the destinations are changed",
            remedy: "remove the pins, put entries for them into the VirtualService, or let Cutover make it (gateways)",
        },
        Feature::Stickiness => Carried::Not {
            why: "changes only the destinations of an attached entry",
            remedy: "remove stickiness, or let Cutover make the VirtualService (gateways)",
        },
        Feature::RateLimit
        | Feature::Timeouts
        | Feature::CircuitBreaker
        | Feature::TlsRedirect
        | Feature::BackendTls => carries(feature),
        Feature::SecurityHeaders => Carried::Not {
            why: "changes only the destinations of an attached entry",
            remedy: "add headers.response.set to that entry, or let Cutover make the VirtualService (gateways)",
        },
        Feature::Cors
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::Rewrite
        | Feature::Mirror => Carried::Not {
            why: "changes only the destinations of an attached entry",
            remedy: "add it to that entry, or let Cutover make the VirtualService (gateways)",
        },
    }
}
