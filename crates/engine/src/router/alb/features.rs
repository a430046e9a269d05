//! What the rules of a load balancer of AWS carry.

use crate::router::features::{Carried, Feature};

/// An Ingress made by us.
pub(in crate::router) fn carries(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins => Carried::Within("values whatever their case"),
        Feature::CookiePins => Carried::Not {
            why: "cannot look for one cookie among others",
            remedy: "pin by a header, or take this router out",
        },
        Feature::RateLimit => Carried::Not {
            why: "has no rate limit in its rules",
            remedy: "limit by a web ACL of yours (wafv2-acl-arn), or use ingressNginx",
        },
        Feature::Timeouts => Carried::Not {
            why: "knows one time only, that of idle connections, and for the whole load balancer",
            remedy: "set it by the annotation load-balancer-attributes, or use ingressNginx",
        },
        Feature::SecurityHeaders => Carried::Not {
            why: "sets headers for whole listeners, not for a split's hosts and paths",
            remedy: "set them by the annotation listener-attributes, have the application set them, or use gatewayApi",
        },
    }
}
