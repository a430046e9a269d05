//! Annotations of the main Ingress: which of a user's are taken over, and what some of them mean.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::IngressNginxRouter};

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

/// An annotation of the spec that cannot be taken over.
pub(super) fn refusal(router: &IngressNginxRouter, intent: &Intent<'_>) -> Option<Problem> {
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

/// Whether clients stick to the backend that they met first. They then do not follow the weight, and a weight of 0 would leave
/// them where they are: at 0 there has to be no canary.
pub(super) fn has_cookie_affinity<'a>(get: impl Fn(&str) -> Option<&'a str>) -> bool {
    get(AFFINITY) == Some("cookie")
}

/// See [`crate::router::names::WRITTEN`].
pub(super) fn written(router: &IngressNginxRouter) -> Option<String> {
    let keys: Vec<&String> = router.annotations.keys().collect();
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
