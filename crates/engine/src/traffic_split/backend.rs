//! From what the spec names to the Services that answer: resolves components, finds ports, counts endpoints.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        Environment, TrafficSplitSpec,
        environment::ExternalTls,
        traffic_split::{self as api, Side},
    },
};
use serde_json::Value;

use crate::{
    Known,
    conditions::Health,
    router::{
        Backend, BackendTls, EndpointCopy, Problem, SideBackend,
        view::{EndpointView, ServicePortView, ServiceView, WholeView},
    },
};

/// What a side of the spec comes down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The spec has no such side.
    Absent,
    /// A Service, which may or may not exist.
    Service {
        /// Its name.
        name: String,
        /// Number of its port.
        port: i32,
        /// What it was found by, such as `spec.new.component`.
        field: &'static str,
    },
    /// No Service can be named.
    Unresolved(Problem),
}

/// The Services that both sides come down to, legacy first. `environment` is the one that `spec.environment` names.
#[must_use]
pub fn targets(spec: &TrafficSplitSpec, environment: Known<Option<&Environment>>) -> [Known<Target>; 2] {
    let one = |side, backend| resolve(spec.environment.as_deref(), environment, side, backend);
    [spec.legacy.as_ref().map_or(Known::Known(Target::Absent), |it| one(Side::Legacy, it)), one(Side::New, &spec.new)]
}

fn resolve(
    environment_name: Option<&str>,
    environment: Known<Option<&Environment>>,
    side: Side,
    backend: &api::Backend,
) -> Known<Target> {
    let [service_field, component_field] = match side {
        Side::Legacy => ["spec.legacy.service", "spec.legacy.component"],
        Side::New => ["spec.new.service", "spec.new.component"],
    };
    if let Some(service) = &backend.service {
        let (name, port) = (service.name.clone(), service.port);
        return Known::Known(Target::Service { name, port, field: service_field });
    }
    let wanted = backend.component.as_deref().unwrap_or_default();
    environment.map(|environment| component(environment_name.unwrap_or_default(), environment, wanted, component_field))
}

fn component(name: &str, environment: Option<&Environment>, wanted: &str, field: &'static str) -> Target {
    let missing = |message| {
        Target::Unresolved(Problem { reason: reasons::REFERENCE_NOT_FOUND, message, health: Health::Stalled })
    };
    let Some(environment) = environment else {
        return missing(format!(
            "spec.environment: there is no Environment {name} in this namespace: create it, or name another"
        ));
    };
    let reached_by = environment
        .status
        .iter()
        .flat_map(|status| &status.components)
        .find(|component| component.name == wanted)
        .and_then(|component| component.service.as_ref());
    if let Some(service) = reached_by {
        return Target::Service { name: service.name.clone(), port: service.port, field };
    }
    let declared: Vec<&str> = environment.spec.components.iter().map(|component| component.name.as_str()).collect();
    if declared.contains(&wanted) {
        return Target::Unresolved(Problem {
            reason: reasons::COMPONENTS_NOT_READY,
            message: format!(
                "{field}: component {wanted} of Environment {name} has no Service yet: see the status of the Environment"
            ),
            health: Health::Reconciling,
        });
    }
    missing(format!("{field}: Environment {name} has no component {wanted}: name one of {}", declared.join(", ")))
}

/// What is observed of a Service that a side names.
#[derive(Clone, Debug)]
pub struct ServiceFacts<'a> {
    /// The Service; `None` if there is none of that name.
    pub service: Known<Option<&'a ServiceView>>,
    /// Its EndpointSlices.
    pub slices: Known<&'a [SliceFacts<'a>]>,
    /// UID of the Environment that made the BackendTLSPolicy of its name, if one did.
    pub policy_of: Option<&'a str>,
    /// The ServersTransport of its name, if there is one.
    pub transport: Option<&'a WholeView>,
}

/// What is observed of one EndpointSlice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceFacts<'a> {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: &'a str,
    /// How many of its endpoints are ready.
    pub ready: i32,
    /// Names and numbers of its ports.
    pub ports: &'a [(Box<str>, i32)],
    /// Its endpoints, if they are to be copied: those of a Service without selector.
    pub endpoints: &'a [EndpointView],
}

/// A side, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What routers are given.
    pub backend: SideBackend,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}

/// The side that a target and what is observed of its Service make.
#[must_use]
pub fn assemble(target: &Target, facts: &ServiceFacts) -> Known<Resolved> {
    let resolved = |backend, problem| Known::Known(Resolved { backend, problem });
    let (name, port, field) = match target {
        Target::Absent => return resolved(SideBackend::Absent, None),
        Target::Unresolved(problem) => {
            return resolved(SideBackend::Missing { service: None }, Some(problem.clone()));
        }
        Target::Service { name, port, field } => (name, *port, field),
    };
    let gone = |message| {
        let problem = Problem { reason: reasons::REFERENCE_NOT_FOUND, message, health: Health::Stalled };
        resolved(SideBackend::Missing { service: Some((name.clone(), port)) }, Some(problem))
    };
    let Known::Known(service) = facts.service else { return Known::Unknown };
    let Some(service) = service else {
        return gone(format!("{field}: there is no Service {name} in this namespace: create it, or name another"));
    };
    let Some(found) = service.ports.iter().find(|candidate| candidate.port == port) else {
        let ports: Vec<String> = service.ports.iter().map(|port| port.port.to_string()).collect();
        return gone(format!("{field}: Service {name} has no port {port}: name one of {}", ports.join(", ")));
    };
    let Known::Known(slices) = facts.slices else { return Known::Unknown };
    let mut backend = backend(name, service, found, slices);
    let is_of_environment = |owner: Option<&str>| owner.is_some() && owner == service.meta.owner_uid.as_deref();
    backend.tls = service.tls.as_ref().map(|tls| BackendTls {
        policy: is_of_environment(facts.policy_of),
        transport: facts.transport.is_some_and(|it| {
            is_of_environment(it.meta.owner_uid.as_deref()) && !it.meta.deleting && judges(&it.spec.value(), tls)
        }),
    });
    resolved(SideBackend::Present(backend), None)
}

/// Whether Traefik judges a certificate by whom the Environment says. A definition of the kind that is older than `rootCAs` leaves them out.
fn judges(transport: &Value, tls: &ExternalTls) -> bool {
    let is_told = |what: &str| transport.get(what).and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    let is_open = transport.get("insecureSkipVerify").and_then(Value::as_bool).unwrap_or(false);
    !is_open && (is_told("rootCAs") || tls.ca_config_map.is_none())
}

fn backend(name: &str, service: &ServiceView, port: &ServicePortView, slices: &[SliceFacts]) -> Backend {
    let selector = service.selector.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let endpoints = if service.selector.is_empty() { copies(port, slices) } else { Vec::new() };
    Backend {
        service: name.to_owned(),
        port: port.port,
        port_name: port.name.as_deref().map(str::to_owned),
        target_port: port.target_port.clone(),
        app_protocol: port.app_protocol.as_deref().map(str::to_owned),
        selector,
        publish_not_ready_addresses: service.publish_not_ready_addresses,
        tls: None,
        external_name: service.external_name,
        endpoints,
        ready: Known::Known(ready(slices)),
    }
}

/// Ready endpoints, each counted once: the families of a dual-stack Service repeat the same pods.
#[must_use]
pub fn ready(slices: &[SliceFacts]) -> i32 {
    let of = |family: &str| slices.iter().filter(|slice| slice.address_type == family).map(|slice| slice.ready).sum();
    slices.iter().map(|slice| of(slice.address_type)).max().unwrap_or(0)
}

fn copies(port: &ServicePortView, slices: &[SliceFacts]) -> Vec<EndpointCopy> {
    let wanted = port.name.as_deref().unwrap_or_default();
    let mut copies: Vec<EndpointCopy> = slices
        .iter()
        .filter_map(|slice| Some((slice, slice.ports.iter().find(|(name, _)| &**name == wanted)?.1)))
        .flat_map(|(slice, number)| {
            slice.endpoints.iter().map(move |endpoint| EndpointCopy {
                address_type: slice.address_type.to_owned(),
                address: endpoint.address.to_string(),
                port: number,
                ready: endpoint.ready,
            })
        })
        .collect();
    copies.sort_unstable();
    copies.dedup();
    copies
}
