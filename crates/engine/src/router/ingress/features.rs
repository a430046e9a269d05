//! What Ingresses carry.

use crate::router::features::{Carried, Feature};

/// Both Ingresses made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins => Carried::Within("one header; to Legacy only by the value `never`"),
        Feature::CookiePins => Carried::Within("one cookie; `always` to New, `never` to Legacy"),
        Feature::Stickiness => Carried::Within("without pins; who is on legacy stays there until `maxAge` is over"),
        Feature::RateLimit => Carried::Within("`burst` a multiple of `requestsPerMinute`"),
        Feature::Timeouts | Feature::Cors | Feature::Retries | Feature::TlsRedirect => Carried::Wholly,
        Feature::Rewrite => {
            Carried::Within("the same for every path; the host's paths become expressions, in any case of letters")
        }
        Feature::SecurityHeaders => Carried::Within("those in `allowedResponseHeaders`"),
        Feature::RetryBackoff | Feature::TryTimeout => Carried::Not {
            why: "sends a request again at once, and limits all tries together",
            remedy: "take it out, or use istio",
        },
        Feature::CircuitBreaker => Carried::Not {
            why: "has no circuit breaker, for there is no annotation for it",
            remedy: "take it out, or use traefik",
        },
        Feature::Mirror => Carried::Not {
            why: "copies every request or none, those that change something too",
            remedy: "take mirror out, or use istio",
        },
        Feature::BackendTls => Carried::Not {
            why: "speaks to both sides by one protocol and one name",
            remedy: "use gatewayApi or traefik",
        },
    }
}

/// Beside a user's Ingress.
pub(in crate::router) fn carries_attached(feature: Feature) -> Carried {
    match feature {
        Feature::Stickiness => Carried::Not {
            why: "leaves the main Ingress as it is, and who has its cookie would be held by it after a rollback",
            remedy: "remove stickiness, or let Cutover make both (className)",
        },
        Feature::HeaderPins
        | Feature::CookiePins
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::CircuitBreaker
        | Feature::Mirror
        | Feature::BackendTls => carries(feature),
        Feature::RateLimit
        | Feature::Timeouts
        | Feature::SecurityHeaders
        | Feature::Cors
        | Feature::Retries
        | Feature::TlsRedirect
        | Feature::Rewrite => Carried::Not {
            why: "leaves the main Ingress as it is, and the canary goes by what that one says",
            remedy: "say it there, or let Cutover make both (className)",
        },
    }
}
