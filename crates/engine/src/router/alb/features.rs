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
        Feature::Stickiness => Carried::Not {
            why: "gives its cookie one name for good, so that a rollback would not move everybody",
            remedy: "remove stickiness, or use a router that carries it",
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
        Feature::Cors => Carried::Not {
            why: "answers for other origins by whole listeners, not for a split's hosts and paths",
            remedy: "set the headers by the annotation listener-attributes, have the application answer, or use ingressNginx",
        },
        Feature::Retries | Feature::RetryBackoff | Feature::TryTimeout => {
            Carried::Not { why: "never sends a request again", remedy: "have clients ask again, or use ingressNginx" }
        }
        Feature::CircuitBreaker => Carried::Not {
            why: "leaves out endpoints by its health checks alone",
            remedy: "set those by the annotations healthcheck-*, or take this router out",
        },
        Feature::TlsRedirect => {
            Carried::Within("with ports of both kinds in `listen-ports`; for every Ingress of its group alike")
        }
        Feature::Rewrite => Carried::Not {
            why: "is written without transforms of paths",
            remedy: "have both sides answer to the path that clients ask for, or use ingressNginx",
        },
        Feature::Mirror => Carried::Not { why: "copies no request", remedy: "take mirror out, or use istio" },
        Feature::BackendTls => Carried::Not {
            why: "judges no certificate of a side that it speaks TLS to",
            remedy: "use gatewayApi or traefik",
        },
    }
}
