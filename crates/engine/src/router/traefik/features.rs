//! What Traefik's own kinds carry.

use crate::router::features::{Carried, Feature};

/// An IngressRoute and a TraefikService made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::Stickiness => Carried::Within("who is on legacy stays there until `maxAge` is over"),
        Feature::HeaderPins
        | Feature::CookiePins
        | Feature::SecurityHeaders
        | Feature::Cors
        | Feature::RetryBackoff
        | Feature::Rewrite => Carried::Wholly,
        Feature::RateLimit => Carried::Within("a client that pauses for some seconds has its whole burst again"),
        Feature::Timeouts => Carried::Within("`read` for the beginning of an answer; sides that speak plain HTTP/1.1"),
        Feature::Retries => Carried::Within("where a side cannot be reached; what it breaks off or answers counts"),
        Feature::CircuitBreaker => {
            Carried::Within("each side by itself, and each pin; after `openFor` it asks more and more for 10s")
        }
        Feature::TryTimeout => Carried::Not {
            why: "has no time for a single try",
            remedy: "set edge.timeouts, which hold for each try, or use istio",
        },
        Feature::TlsRedirect => Carried::Within("from the entry points in `redirectFrom`"),
        Feature::Mirror => Carried::Within("`GET` and `HEAD`, without bodies; by a cluster address"),
        Feature::BackendTls => Carried::Within("not with `caSecret`"),
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
        Feature::BackendTls => Carried::Not {
            why: "changes only the weights of an attached TraefikService, and not how its members are spoken to",
            remedy: "let Cutover make both (remove attach)",
        },
    }
}
