//! What Traefik's own kinds carry.

use crate::router::features::{Carried, Feature};

/// An IngressRoute and a TraefikService made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Wholly,
        Feature::Stickiness => Carried::Within("who is on legacy stays there until `maxAge` is over"),
        Feature::RateLimit
        | Feature::Timeouts
        | Feature::SecurityHeaders
        | Feature::Cors
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::CircuitBreaker
        | Feature::TlsRedirect
        | Feature::Rewrite
        | Feature::Mirror => Carried::Not {
            why: "is written without Middlewares and ServersTransports",
            remedy: "put a Middleware or a ServersTransport of yours on the entry point, or use a router that carries it",
        },
    }
}

/// Somebody else's TraefikService.
pub(in crate::router) fn carries_attached(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Not {
            why: "has no room for pins in an attached TraefikService, of which only the weights are changed",
            remedy: "remove the pins, put rules for them into the IngressRoute, or let Cutover make both (remove attach)",
        },
        Feature::Stickiness => Carried::Not {
            why: "changes only the weights of an attached TraefikService",
            remedy: "remove stickiness, or let Cutover make both (remove attach)",
        },
        Feature::RateLimit
        | Feature::Timeouts
        | Feature::SecurityHeaders
        | Feature::Cors
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::CircuitBreaker
        | Feature::TlsRedirect
        | Feature::Rewrite
        | Feature::Mirror => Carried::Not {
            why: "changes only the weights of an attached TraefikService",
            remedy: "put a Middleware or a ServersTransport on the IngressRoute that leads to it",
        },
    }
}
