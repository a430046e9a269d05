//! What a component whose port speaks TLS hangs on besides its addresses: that whoever judges its certificate has by whom to judge it.

use cutover_api::{conditions::reasons, labels};

use super::{
    build::{ServersTransport, build_servers_transport},
    decide::blocked,
    names::Identity,
    observed::{ObjectKind, ObjectRef, Observed},
    readiness::Readiness,
    validate::{Authority, Component, Source, Tls},
};
use crate::Known;

/// What becomes of the component's ServersTransport.
pub(super) enum Transport {
    /// It is to be like this.
    Made(Box<ServersTransport>),
    /// It stays as it is, if it is there.
    Kept(ObjectRef),
    /// There is none to be.
    None,
}

/// Of an authority that it does not find Traefik takes its system's in the place. So it is not told of one that is not seen to be there,
/// and goes on with what it was told before.
pub(super) fn transport(identity: &Identity, component: &Component, observed: &Observed) -> Transport {
    let Source::External { tls: Some(tls), .. } = &component.source else { return Transport::None };
    if observed.transports_served != Known::Known(true) {
        return Transport::None;
    }
    let object = ObjectRef::new(ObjectKind::ServersTransport, &identity.object(&component.name));
    match (&tls.authority, build_servers_transport(identity, component)) {
        (Authority::ConfigMap(name), _) if observed.authorities.get(name) != Some(&true) => Transport::Kept(object),
        (_, Some(transport)) => Transport::Made(Box::new(transport)),
        // Whoever leads there names it.
        (_, None) if blocked(identity, &component.name, observed).is_some() => Transport::Kept(object),
        (_, None) => Transport::None,
    }
}

/// How such a component is. `service`: what it is reached by, and what its policy is called.
pub(super) fn judged(readiness: Readiness, tls: &Tls, service: &str, field: &str, observed: &Observed) -> Readiness {
    let not =
        |reason, message| Readiness { have: readiness.have, want: readiness.want, ..Readiness::not(reason, message) };
    if let Authority::ConfigMap(name) = &tls.authority
        && let Some(missing) = missing(name, observed)
    {
        let message = format!("{field}.caConfigMap: {missing}; until then its certificate cannot be judged");
        return not(reasons::REFERENCE_NOT_FOUND, message);
    }
    let policy = observed.policies.get(service);
    let refused: Vec<&str> = policy.iter().flat_map(|policy| &policy.refused).map(String::as_str).collect();
    if !refused.is_empty() {
        let message = format!("BackendTLSPolicy {service}: {}", refused.join("; "));
        return not(reasons::COMPONENTS_NOT_READY, message);
    }
    let Some(open) = open(tls, service, observed) else { return readiness };
    let message = readiness.message.map_or_else(|| open.clone(), |said| format!("{said}; {open}"));
    Readiness { message: Some(message), ..readiness }
}

/// What an authority's ConfigMap lacks.
fn missing(name: &str, observed: &Observed) -> Option<String> {
    let label = labels::AUTHORITY;
    match observed.authorities.get(name) {
        Some(true) => None,
        Some(false) => Some(format!("ConfigMap {name} has no certificate in PEM as ca.crt: put one there")),
        None => Some(format!(
            "there is no ConfigMap {name} with the label {label}=true in this namespace: create it, or give it that label"
        )),
    }
}

/// What is left for others to say, or to do, before a router leads to it.
fn open(tls: &Tls, service: &str, observed: &Observed) -> Option<String> {
    let is_there = Known::Known(true);
    match &tls.authority {
        // What makes the policy says why it is not there.
        Authority::Secret(name) if observed.policies_served == is_there => {
            observed.policies.contains_key(service).then(|| format!("whether Secret {name} has a ca.crt is for routers to say"))
        }
        Authority::Secret(_) if observed.transports_served == is_there => Some(
            "traefik does not lead to it: where it finds no such Secret it would trust its system's authorities; use caConfigMap".to_owned(),
        ),
        _ if observed.policies_served == is_there || observed.transports_served == is_there => None,
        _ => Some(
            "the cluster serves neither BackendTLSPolicies of gateway.networking.k8s.io/v1 nor ServersTransports of traefik.io/v1alpha1, or the \
             operator may not list them: no router leads to it"
                .to_owned(),
        ),
    }
}
