//! What the readiness of a component whose port speaks TLS hangs on besides its addresses: that whoever judges its certificate has by whom to
//! judge it.

use cutover_api::{conditions::reasons, labels};

use super::{
    observed::Observed,
    readiness::Readiness,
    validate::{Authority, Tls},
};
use crate::Known;

/// How such a component is. `service`: what it is reached by, and what its policy is called.
pub(super) fn judged(readiness: Readiness, tls: &Tls, service: &str, field: &str, observed: &Observed) -> Readiness {
    if let Authority::ConfigMap(name) = &tls.authority {
        let label = labels::AUTHORITY;
        let missing = match observed.authorities.get(name) {
            Some(true) => None,
            Some(false) => Some(format!("ConfigMap {name} has no certificate in PEM as ca.crt: put one there")),
            None => Some(format!(
                "there is no ConfigMap {name} with the label {label}=true in this namespace: create it, or give it that label"
            )),
        };
        if let Some(missing) = missing {
            let message = format!("{field}.caConfigMap: {missing}; until then its certificate cannot be judged");
            return Readiness {
                have: readiness.have,
                want: readiness.want,
                ..Readiness::not(reasons::REFERENCE_NOT_FOUND, message)
            };
        }
    }
    let policy = observed.policies.get(service);
    let refused: Vec<&str> = policy.iter().flat_map(|policy| &policy.refused).map(String::as_str).collect();
    if !refused.is_empty() {
        let message = format!("BackendTLSPolicy {service}: {}", refused.join("; "));
        return Readiness {
            have: readiness.have,
            want: readiness.want,
            ..Readiness::not(reasons::COMPONENTS_NOT_READY, message)
        };
    }
    let open = match (&observed.policies_served, policy) {
        (Known::Known(true), Some(_)) => match &tls.authority {
            Authority::Secret(name) => {
                format!("whether Secret {name} has a ca.crt is for routers to say")
            }
            Authority::System | Authority::ConfigMap(_) => return readiness,
        },
        // What makes it says why it is not there.
        (Known::Known(true), None) => return readiness,
        (Known::Known(false) | Known::Unknown, _) => {
            "the cluster does not serve BackendTLSPolicies of gateway.networking.k8s.io/v1, or the operator may not list them: gatewayApi does not \
             lead to it"
                .to_owned()
        }
    };
    let message = readiness.message.map_or_else(|| open.clone(), |said| format!("{said}; {open}"));
    Readiness { message: Some(message), ..readiness }
}
