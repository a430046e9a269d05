//! Whether components can take traffic.

use std::collections::BTreeSet;

use cutover_api::{
    conditions::reasons,
    v1alpha1::environment::{ComponentStatus, ServiceSource},
};

use super::{
    names::Identity,
    observed::{DeploymentView, Observed, ServiceView},
    resolve,
    status::in_use,
    tls,
    validate::{Component, Outside, Source, Validated},
};
use crate::Known;

/// What the readiness of an external component leaves open.
const UNPROBED: &str = "its addresses are published, not probed: whether anything answers there is not known";

/// How a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it can take traffic.
    pub ready: bool,
    /// Whether it is as declared; a component scaled to nothing is, without being ready.
    pub settled: bool,
    /// Ready pods or addresses.
    pub have: Option<i32>,
    /// Pods or addresses that are wanted.
    pub want: Option<i32>,
    /// Constant of [`reasons`] when it is not settled.
    pub reason: &'static str,
    /// Why it is not ready or not settled, or what its readiness leaves open.
    pub message: Option<String>,
}

impl Readiness {
    pub(super) fn not(reason: &'static str, message: String) -> Self {
        Self { ready: false, settled: false, have: None, want: None, reason, message: Some(message) }
    }
}

/// How one component is.
#[must_use]
pub fn readiness(environment: &Validated, component: &Component, observed: &Observed) -> Readiness {
    let identity = &environment.identity;
    match &component.source {
        Source::Workload(workload) => {
            let view = observed.deployments.get(&identity.object(&component.name));
            match view.filter(|view| view.marks.is_of(&identity.uid)) {
                Some(view) => of_deployment(view),
                None => Readiness {
                    want: Some(workload.replicas),
                    ..Readiness::not(reasons::COMPONENTS_NOT_READY, "is not started yet".into())
                },
            }
        }
        Source::Service { name, port } => {
            let field = format!("spec.components[{}].source.service", index(environment, component));
            of_service(observed.services.get(name), name, *port, &field)
        }
        Source::External { at, tls, .. } => {
            let readiness = of_outside(identity, component, at, observed);
            match tls {
                Some(tls) => {
                    let field = format!("spec.components[{}].source.external.tls", index(environment, component));
                    tls::judged(readiness, tls, &identity.object(&component.name), &field, observed)
                }
                None => readiness,
            }
        }
    }
}

fn of_outside(identity: &Identity, component: &Component, at: &Outside, observed: &Observed) -> Readiness {
    let known = observed.names.get(&component.name);
    let name = at.host().map(|(name, _)| known.map_or_else(String::new, |known| resolve::said(name, known)));
    let Some(addresses) = resolve::wanted(component, observed) else {
        let message = name.filter(|said| !said.is_empty()).unwrap_or_else(|| "its host name is being resolved".into());
        return Readiness::not(reasons::NAME_NOT_RESOLVED, message);
    };
    let reached =
        observed.services.get(&identity.object(&component.name)).filter(|view| view.marks.is_of(&identity.uid));
    if let Outside::Alias { name: host, .. } = at {
        let ready = reached.is_some_and(|view| view.is_alias);
        let message = if ready {
            format!("another name of {host}: no split leads to it")
        } else {
            "its Service is not there yet".into()
        };
        return Readiness {
            ready,
            settled: ready,
            have: None,
            want: None,
            reason: reasons::COMPONENTS_NOT_READY,
            message: Some(message),
        };
    }
    let published: BTreeSet<&str> = resolve::published(identity, &component.name, observed)
        .flat_map(|(_, view)| view.addresses.iter().map(String::as_str))
        .collect();
    let have = addresses.iter().filter(|address| published.contains(address.to_string().as_str())).count();
    let service = reached.is_some_and(|view| !view.selects && !view.is_alias);
    let ready = service && have == addresses.len();
    let state = if ready { UNPROBED } else { "its addresses are not published yet" };
    let said = name.filter(|said| !said.is_empty()).map(|said| format!("{said}; {state}"));
    Readiness {
        ready,
        settled: ready,
        have: Some(i32::try_from(have).unwrap_or(i32::MAX)),
        want: Some(i32::try_from(addresses.len()).unwrap_or(i32::MAX)),
        reason: reasons::COMPONENTS_NOT_READY,
        message: Some(said.unwrap_or_else(|| state.to_owned())),
    }
}

fn of_deployment(view: &DeploymentView) -> Readiness {
    let ready = view.replicas > 0 && view.ready >= view.replicas && !view.marks.deleting;
    let settled = view.is_rolled_out() && !view.marks.deleting;
    let message = if view.marks.deleting {
        Some("its Deployment is being deleted".into())
    } else if let (Some(stuck), false) = (&view.stuck, settled) {
        Some(stuck.clone())
    } else if view.replicas == 0 {
        Some("is scaled to no pods".into())
    } else if !ready {
        Some(format!("{} of {} pods are ready", view.ready, view.replicas))
    } else if !settled {
        Some(format!("{} of {} pods are of the present form", view.updated.min(view.replicas), view.replicas))
    } else {
        None
    };
    Readiness {
        ready,
        settled,
        have: Some(view.ready),
        want: Some(view.replicas),
        reason: reasons::COMPONENTS_NOT_READY,
        message,
    }
}

fn of_service(view: Option<&ServiceView>, name: &str, port: i32, field: &str) -> Readiness {
    let Some(view) = view else {
        let message =
            format!("{field}.name: there is no Service {name} in this namespace: create it, or correct the name");
        return Readiness::not(reasons::REFERENCE_NOT_FOUND, message);
    };
    if !view.ports.contains(&port) {
        let has: Vec<String> = view.ports.iter().map(ToString::to_string).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        let message = format!("{field}.port: Service {name} has no port {port} (it has {has}): correct the number");
        return Readiness::not(reasons::REFERENCE_NOT_FOUND, message);
    }
    let (have, message) = match view.ready {
        Known::Known(ready) if ready > 0 => (Some(ready), None),
        Known::Known(ready) => (Some(ready), Some(format!("Service {name} has no ready endpoint"))),
        Known::Unknown => (None, Some(format!("the endpoints of Service {name} are not known yet"))),
    };
    let ready = message.is_none();
    Readiness { ready, settled: ready, have, want: None, reason: reasons::COMPONENTS_NOT_READY, message }
}

fn index(environment: &Validated, component: &Component) -> usize {
    environment.components.iter().position(|other| other.name == component.name).unwrap_or_default()
}

/// A component's status as it was last told, with readiness as it is: for a spec that cannot be read.
#[must_use]
pub fn refreshed(identity: &Identity, last: &ComponentStatus, observed: &Observed) -> ComponentStatus {
    let own = observed.deployments.get(&identity.object(&last.name)).filter(|view| view.marks.is_of(&identity.uid));
    let in_use = in_use(identity, &last.name, Some(last), observed);
    let readiness = match (own, &last.service) {
        (Some(view), _) => of_deployment(view),
        (None, Some(ServiceSource { name, port }))
            if observed.services.get(name).is_some_and(|view| view.ready != Known::Unknown) =>
        {
            of_service(observed.services.get(name), name, *port, "")
        }
        (None, _) => return ComponentStatus { in_use, ..last.clone() },
    };
    ComponentStatus {
        in_use,
        ready: readiness.ready,
        ready_replicas: readiness.have,
        replicas: readiness.want,
        message: readiness.message,
        ..last.clone()
    }
}
