//! What HTTPRoutes carry, and GRPCRoutes.

use cutover_api::v1alpha1::traffic_split::{GatewayApiRouter, RouteKind};

use super::tls;
use crate::router::{
    contract::Intent,
    features::{Carried, Feature},
};

/// The columns of GRPCRoutes in the table of features.
pub(in crate::router) const GRPC: &str = "gatewayApi (GRPCRoute)";
pub(in crate::router) const GRPC_ATTACHED: &str = "gatewayApi.attach (GRPCRoute)";

/// The router's name in refusals, and what it carries.
pub(super) fn of(router: &GatewayApiRouter) -> (&'static str, fn(Feature) -> Carried) {
    match (router.route_kind, router.attach.is_some()) {
        (RouteKind::Http, false) => ("gatewayApi", carries),
        (RouteKind::Http, true) => ("gatewayApi", carries_attached),
        (RouteKind::Grpc, false) => (GRPC, carries_grpc),
        (RouteKind::Grpc, true) => (GRPC, carries_grpc_attached),
    }
}

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
        Feature::BackendTls => Carried::WhereListed(tls::FEATURE),
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
        | Feature::CircuitBreaker
        | Feature::BackendTls => carries(feature),
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

/// A GRPCRoute made by us. Of its filters no GatewayClass says which it supports, and one that it does not support ends every request.
pub(in crate::router) fn carries_grpc(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Wholly,
        Feature::RateLimit | Feature::Timeouts | Feature::CircuitBreaker => carries(feature),
        Feature::Stickiness => Carried::Not {
            why: "deals no cookies, for clients of gRPC keep none",
            remedy: "remove stickiness, or pin clients by a header that they send",
        },
        Feature::SecurityHeaders => Carried::Not {
            why: "sets no headers for browsers, which call no gRPC",
            remedy: "remove securityHeaders, or use routeKind HTTPRoute",
        },
        Feature::Cors => Carried::Not {
            why: "has no CORS, which a GRPCRoute does not know",
            remedy: "remove cors, or use routeKind HTTPRoute for what browsers call",
        },
        Feature::Retries | Feature::RetryBackoff | Feature::TryTimeout => Carried::Not {
            why: "has no retries, which a GRPCRoute does not know",
            remedy: "have clients call again by their service config, or set them at the Gateway's implementation",
        },
        Feature::TlsRedirect => Carried::Not {
            why: "redirects nobody, for clients of gRPC follow no redirects",
            remedy: "remove tlsRedirect, and have clients use the listener with TLS",
        },
        Feature::Rewrite => Carried::Not {
            why: "changes no path, for it names the method that is called",
            remedy: "remove rewrite, and have both sides serve the same services",
        },
        Feature::Mirror => Carried::Not {
            why: "copies nothing, for no GatewayClass says whether it copies what a GRPCRoute takes",
            remedy: "take mirror out, or use istio",
        },
        Feature::BackendTls => Carried::Not {
            why: "is led by gateways (Traefik) that heed no BackendTLSPolicy in a GRPCRoute, and judge no certificate by it",
            remedy: "use routeKind HTTPRoute, or have the side speak h2c",
        },
    }
}

/// One rule of a user's GRPCRoute.
pub(in crate::router) fn carries_grpc_attached(feature: Feature) -> Carried {
    match feature {
        Feature::HeaderPins | Feature::CookiePins => Carried::Not {
            why: "has no room for pins in an attached rule, of which only the backends are changed",
            remedy: "remove the pins, put rules for them into the GRPCRoute, or let Cutover make it (parentRefs)",
        },
        Feature::Stickiness
        | Feature::RateLimit
        | Feature::Timeouts
        | Feature::SecurityHeaders
        | Feature::Cors
        | Feature::Retries
        | Feature::RetryBackoff
        | Feature::TryTimeout
        | Feature::CircuitBreaker
        | Feature::TlsRedirect
        | Feature::Rewrite
        | Feature::Mirror
        | Feature::BackendTls => carries_grpc(feature),
    }
}
