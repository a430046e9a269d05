//! Annotations of the main Ingress: which of a user's are taken over, and what some of them mean.

use std::collections::BTreeMap;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{Cors, Edge, IngressNginxRouter, Limit},
};
use serde_json::{Map, Value};

use super::{
    custom_headers::CUSTOM_HEADERS,
    rewrite::{self, TARGET, USE_REGEX},
};
use crate::{
    hash::short_hash,
    router::{
        contract::{Intent, Problem},
        marks::stalled,
        sticky::Sticky,
        view::IngressView,
    },
};

pub(super) const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
pub(super) const CANARY_WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
pub(super) const CANARY_WEIGHT_TOTAL: &str = "nginx.ingress.kubernetes.io/canary-weight-total";
/// The class as it was said before `spec.ingressClassName`.
pub(super) const CLASS: &str = "kubernetes.io/ingress.class";
const SERVICE_UPSTREAM: &str = "nginx.ingress.kubernetes.io/service-upstream";
const AFFINITY: &str = "nginx.ingress.kubernetes.io/affinity";
const AFFINITY_OF_CANARIES: &str = "nginx.ingress.kubernetes.io/affinity-canary-behavior";
const COOKIE: &str = "nginx.ingress.kubernetes.io/session-cookie-";
const COOKIE_NAME: &str = "nginx.ingress.kubernetes.io/session-cookie-name";
const COOKIE_MAX_AGE: &str = "nginx.ingress.kubernetes.io/session-cookie-max-age";
const COOKIE_PATH: &str = "nginx.ingress.kubernetes.io/session-cookie-path";
const COOKIE_SAME_SITE: &str = "nginx.ingress.kubernetes.io/session-cookie-samesite";
const LIMIT_RPM: &str = "nginx.ingress.kubernetes.io/limit-rpm";
const BURST_MULTIPLIER: &str = "nginx.ingress.kubernetes.io/limit-burst-multiplier";
const CONNECT_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-connect-timeout";
const READ_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-read-timeout";
const FORCE_SSL_REDIRECT: &str = "nginx.ingress.kubernetes.io/force-ssl-redirect";
const NEXT_UPSTREAM: &str = "nginx.ingress.kubernetes.io/proxy-next-upstream";
const NEXT_UPSTREAM_TRIES: &str = "nginx.ingress.kubernetes.io/proxy-next-upstream-tries";
const ENABLE_CORS: &str = "nginx.ingress.kubernetes.io/enable-cors";
const CORS_ORIGIN: &str = "nginx.ingress.kubernetes.io/cors-allow-origin";
const CORS_METHODS: &str = "nginx.ingress.kubernetes.io/cors-allow-methods";
const CORS_HEADERS: &str = "nginx.ingress.kubernetes.io/cors-allow-headers";
const CORS_EXPOSE: &str = "nginx.ingress.kubernetes.io/cors-expose-headers";
const CORS_CREDENTIALS: &str = "nginx.ingress.kubernetes.io/cors-allow-credentials";
const CORS_MAX_AGE: &str = "nginx.ingress.kubernetes.io/cors-max-age";

/// What annotations cannot say, and an annotation of the spec that cannot be taken over.
pub(super) fn refusal(router: &IngressNginxRouter, intent: &Intent<'_>) -> Option<Problem> {
    let limit = intent.edge.and_then(limit_of);
    if let Some(limit) = limit.filter(|limit| multiplier(*limit).is_none()) {
        let per_minute = limit.requests_per_minute;
        let message = format!(
            "spec.edge.rateLimit.burst: {} is no multiple of {per_minute} requests a minute, and ingressNginx takes no others: say {per_minute}, or {}",
            limit.burst,
            per_minute.saturating_mul(2)
        );
        return Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    }
    let edge = of_edge(intent);
    let sets_headers = intent.edge.is_some_and(|edge| edge.security_headers.is_some());
    let is_said = |key: &&String| edge.contains_key(key.as_str()) || (sets_headers && *key == CUSTOM_HEADERS);
    if let Some(key) = router.annotations.keys().find(is_said) {
        let field = format!("spec.routers[{}].ingressNginx.annotations[{key}]", intent.router_index);
        let message = format!("{field}: the spec says the same elsewhere: remove one of them");
        return Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    }
    if intent.stickiness.is_some() {
        if !intent.pins.is_empty() {
            let message = "spec.stickiness: ingressNginx looks at its cookie before it looks at spec.pins: remove one of the two, or use \
                           gatewayApi, traefik or istio";
            return Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message.to_owned()));
        }
        let says = |key: &&String| key.starts_with(AFFINITY) || key.starts_with(COOKIE);
        if let Some(key) = router.annotations.keys().find(says) {
            let field = format!("spec.routers[{}].ingressNginx.annotations[{key}]", intent.router_index);
            let message = format!("{field}: spec.stickiness says the same: remove one of them");
            return Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
        }
    }
    let (key, why) = router.annotations.iter().find_map(|(key, value)| Some((key, reason(key, value)?)))?;
    let field = format!("spec.routers[{}].ingressNginx.annotations[{key}]", intent.router_index);
    Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, format!("{field}: {why}")))
}

fn reason(key: &str, value: &str) -> Option<&'static str> {
    if key.starts_with(CANARY) {
        Some("canary annotations are Cutover's: use newWeight and pins, and remove it")
    } else if key.starts_with("cutover.dev/") {
        Some("annotations of this domain are Cutover's: remove it")
    } else if key == CLASS {
        Some("the class is in className: remove it")
    } else if key == SERVICE_UPSTREAM && value == "true" {
        Some("the Services that the Ingresses name have no cluster address of their own: remove it")
    } else {
        None
    }
}

/// What the main Ingress says: the spec's annotations, `spec.edge`, and what keeps clients where they are.
pub(super) fn of_main<'a>(
    router: &'a IngressNginxRouter,
    intent: &Intent<'_>,
    sticking: Option<Sticky<'_>>,
) -> BTreeMap<&'a str, String> {
    let mut said: BTreeMap<&'a str, String> = of_edge(intent);
    said.extend(sticking.map(of_sticking).into_iter().flatten());
    said.extend(router.annotations.iter().map(|(key, value)| (key.as_str(), value.clone())));
    said
}

/// The canary takes these over as well, and so both sides know whom they have.
fn of_sticking(sticking: Sticky<'_>) -> [(&'static str, String); 6] {
    [
        (AFFINITY, "cookie".to_owned()),
        (AFFINITY_OF_CANARIES, "sticky".to_owned()),
        (COOKIE_NAME, sticking.cookie()),
        (COOKIE_MAX_AGE, sticking.max_age().to_string()),
        (COOKIE_PATH, "/".to_owned()),
        (COOKIE_SAME_SITE, "Lax".to_owned()),
    ]
}

/// What takes the stickiness out of a main Ingress whose form waits, if cookies of it count there and no longer should.
pub(super) fn outdated(
    main: &IngressView,
    router: &IngressNginxRouter,
    sticking: Option<Sticky<'_>>,
) -> Option<Map<String, Value>> {
    let name = sticking.map(Sticky::cookie);
    let is_ours = main.annotations.contains_key(AFFINITY_OF_CANARIES) && !router.annotations.contains_key(AFFINITY);
    let counts = main.annotations.get(COOKIE_NAME).map(|name| &**name) == name.as_deref();
    let keys = [AFFINITY, AFFINITY_OF_CANARIES, COOKIE_NAME, COOKIE_MAX_AGE, COOKIE_PATH, COOKIE_SAME_SITE];
    (is_ours && !counts).then(|| keys.map(|key| (key.to_owned(), Value::Null)).into_iter().collect())
}

/// `spec.edge` and rewritten paths as annotations. The canary takes them over with everything else of the main Ingress's location.
fn of_edge(intent: &Intent<'_>) -> BTreeMap<&'static str, String> {
    let target = rewrite::target(intent);
    let rewrites = [(USE_REGEX, target.as_ref().map(|_| "true".to_owned())), (TARGET, target)];
    let edge = intent.edge.map(edge_annotations).into_iter().flatten();
    rewrites.into_iter().chain(edge).filter_map(|(key, value)| Some((key, value?))).collect()
}

fn edge_annotations(edge: &Edge) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let limit = limit_of(edge);
    let said = [
        (LIMIT_RPM, limit.map(|limit| limit.requests_per_minute.to_string())),
        (BURST_MULTIPLIER, limit.and_then(multiplier).map(|times| times.to_string())),
        (CONNECT_TIMEOUT, edge.timeouts.and_then(|it| it.connect).map(|it| it.as_secs().to_string())),
        (READ_TIMEOUT, edge.timeouts.and_then(|it| it.read).map(|it| it.as_secs().to_string())),
        (FORCE_SSL_REDIRECT, edge.tls_redirect.then(|| "true".to_owned())),
        // Without the word `non_idempotent`, what HTTP does not allow to repeat is not repeated.
        (NEXT_UPSTREAM, edge.retries.map(|_| "error timeout http_502 http_503 http_504".to_owned())),
        // The first time is one of them.
        (NEXT_UPSTREAM_TRIES, edge.retries.map(|it| it.attempts.saturating_add(1).to_string())),
    ];
    said.into_iter().chain(edge.cors.iter().flat_map(cors))
}

/// All of them, since each has a default of its own.
fn cors(cors: &Cors) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let methods: Vec<&str> = cors.allow_methods.iter().map(|it| it.as_str()).collect();
    let exposed = (!cors.expose_headers.is_empty()).then(|| cors.expose_headers.join(", "));
    [
        (ENABLE_CORS, Some("true".to_owned())),
        (CORS_ORIGIN, Some(cors.allow_origins.join(", "))),
        (CORS_METHODS, Some(methods.join(", "))),
        (CORS_HEADERS, Some(cors.allow_headers.join(", "))),
        (CORS_EXPOSE, exposed),
        (CORS_CREDENTIALS, Some(cors.allow_credentials.to_string())),
        (CORS_MAX_AGE, Some(cors.max_age.as_secs().to_string())),
    ]
    .into_iter()
}

/// How many minutes' worth of requests may come at once; `None` if that is no whole number.
fn multiplier(limit: Limit) -> Option<i32> {
    let times = limit.burst.checked_div(limit.requests_per_minute)?;
    (times.checked_mul(limit.requests_per_minute) == Some(limit.burst) && times > 0).then_some(times)
}

fn limit_of(edge: &Edge) -> Option<Limit> {
    edge.rate_limit.and_then(|it| it.limit())
}

/// Whether clients stick to the backend that they met first. They then do not follow the weight, and a weight of 0 would leave
/// them where they are: at 0 there has to be no canary.
pub(super) fn has_cookie_affinity<'a>(get: impl Fn(&str) -> Option<&'a str>) -> bool {
    get(AFFINITY) == Some("cookie")
}

/// See [`crate::router::names::WRITTEN`].
pub(super) fn written(said: &BTreeMap<&str, String>) -> Option<String> {
    let keys: Vec<&&str> = said.keys().collect();
    (!keys.is_empty()).then(|| short_hash(&keys))
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn a_cluster_address_may_be_declined() {
        assert!(reason(super::SERVICE_UPSTREAM, "false").is_none());
        assert!(reason(super::SERVICE_UPSTREAM, "true").is_some());
    }
}
