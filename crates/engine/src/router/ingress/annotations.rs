//! Annotations of the main Ingress: which of a user's are taken over, and what some of them mean.

use std::collections::BTreeMap;

use cutover_api::{
    conditions::reasons,
    v1alpha1::traffic_split::{IngressNginxRouter, RateLimit},
};

use crate::{
    hash::short_hash,
    router::{
        contract::{Intent, Problem},
        marks::stalled,
    },
};

pub(super) const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
pub(super) const CANARY_WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
pub(super) const CANARY_WEIGHT_TOTAL: &str = "nginx.ingress.kubernetes.io/canary-weight-total";
/// The class as it was said before `spec.ingressClassName`.
pub(super) const CLASS: &str = "kubernetes.io/ingress.class";
const SERVICE_UPSTREAM: &str = "nginx.ingress.kubernetes.io/service-upstream";
const AFFINITY: &str = "nginx.ingress.kubernetes.io/affinity";
const LIMIT_RPM: &str = "nginx.ingress.kubernetes.io/limit-rpm";
const BURST_MULTIPLIER: &str = "nginx.ingress.kubernetes.io/limit-burst-multiplier";
const CONNECT_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-connect-timeout";
const READ_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-read-timeout";

/// What annotations cannot say, and an annotation of the spec that cannot be taken over.
pub(super) fn refusal(router: &IngressNginxRouter, intent: &Intent<'_>) -> Option<Problem> {
    let limit = intent.edge.and_then(|edge| edge.rate_limit);
    if let Some(limit) = limit.filter(|limit| multiplier(limit).is_none()) {
        let per_minute = limit.requests_per_minute;
        let message = format!(
            "spec.edge.rateLimit.burst: ingressNginx takes whole multiples of requestsPerMinute only: use {per_minute}, or {} instead",
            per_minute.saturating_mul(2)
        );
        return Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
    }
    let edge = of_edge(intent);
    if let Some(key) = router.annotations.keys().find(|key| edge.contains_key(key.as_str())) {
        let field = format!("spec.routers[{}].ingressNginx.annotations[{key}]", intent.router_index);
        let message = format!("{field}: spec.edge says the same: remove one of them");
        return Some(stalled(reasons::UNSUPPORTED_BY_ROUTER, message));
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

/// What the main Ingress says: the spec's annotations, and `spec.edge`.
pub(super) fn of_main<'a>(router: &'a IngressNginxRouter, intent: &Intent<'_>) -> BTreeMap<&'a str, String> {
    let mut said: BTreeMap<&str, String> = of_edge(intent);
    said.extend(router.annotations.iter().map(|(key, value)| (key.as_str(), value.clone())));
    said
}

/// `spec.edge` as annotations. The canary takes them over with everything else of the main Ingress's location.
fn of_edge(intent: &Intent<'_>) -> BTreeMap<&'static str, String> {
    let Some(edge) = intent.edge else { return BTreeMap::new() };
    let limit = edge.rate_limit.as_ref();
    let said = [
        (LIMIT_RPM, limit.map(|limit| limit.requests_per_minute.to_string())),
        (BURST_MULTIPLIER, limit.and_then(multiplier).map(|times| times.to_string())),
        (CONNECT_TIMEOUT, edge.timeouts.and_then(|it| it.connect).map(|it| it.as_secs().to_string())),
        (READ_TIMEOUT, edge.timeouts.and_then(|it| it.read).map(|it| it.as_secs().to_string())),
    ];
    said.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// How many minutes' worth of requests may come at once; `None` if that is no whole number.
fn multiplier(limit: &RateLimit) -> Option<i32> {
    let burst = limit.burst.unwrap_or(limit.requests_per_minute);
    let times = burst.checked_div(limit.requests_per_minute)?;
    (times.checked_mul(limit.requests_per_minute) == Some(burst) && times > 0).then_some(times)
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
