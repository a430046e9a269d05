//! What Ingresses carry.

use crate::router::features::{Carried, Feature};

/// Both Ingresses made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins => Carried::Within("one header; to Legacy only by the value `never`"),
        Feature::CookiePins => Carried::Within("one cookie; `always` to New, `never` to Legacy"),
        Feature::RateLimit => Carried::Within("`burst` a multiple of `requestsPerMinute`"),
        Feature::Timeouts => Carried::Wholly,
        Feature::SecurityHeaders => Carried::Not {
            why: "takes headers of answers from a ConfigMap that its administrator has to allow",
            remedy: "have the application set them, or use gatewayApi",
        },
    }
}

/// Beside a user's Ingress.
pub(in crate::router) fn carries_attached(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => carries(feature),
        Feature::RateLimit | Feature::Timeouts | Feature::SecurityHeaders => Carried::Not {
            why: "leaves the main Ingress as it is, and the canary goes by what that one says",
            remedy: "say it there, or let Cutover make both (className)",
        },
    }
}
