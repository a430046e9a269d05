//! What the API server could not judge of a spec.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use cutover_api::v1alpha1::environment::{self as api, EnvironmentSpec, Role, System, Via};
use ipnet::IpNet;
use serde_json::json;

use super::{addresses, build, discovery, names::Identity, pod_template};

/// A spec that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Which environment it is.
    pub identity: Identity,
    /// Version of the whole.
    pub version: Option<String>,
    /// Components, in the order of the spec.
    pub components: Vec<Component>,
    /// Configuration.
    pub config: BTreeMap<String, String>,
    /// Where the version of the shared database's schema is.
    pub schema: Option<api::SchemaSource>,
    /// What people have seen to.
    pub attestations: Vec<api::Attestation>,
}

/// A component that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Name.
    pub name: String,
    /// System.
    pub system: System,
    /// Role.
    pub role: Role,
    /// Components that it calls.
    pub calls_to: Vec<String>,
    /// Components that it is started after.
    pub depends_on: Vec<String>,
    /// How it is run or reached.
    pub source: Source,
    /// Whether it is a legacy component that is retired.
    pub retired: bool,
}

/// How a component is run or reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The operator runs it.
    Workload(Box<api::Workload>),
    /// A Service of somebody else.
    Service {
        /// Its name.
        name: String,
        /// Its port.
        port: i32,
    },
    /// Outside the cluster.
    External {
        /// What it is reached by.
        at: Outside,
        /// The port.
        port: i32,
        /// How TLS is spoken to it, if it is.
        tls: Option<Tls>,
    },
}

/// How TLS is spoken to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name that is asked for and that the certificate must have.
    pub server_name: String,
    /// Whose word on it counts.
    pub authority: Authority,
}

/// Who is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Those whom the system of whoever speaks trusts.
    System,
    /// Those in a ConfigMap.
    ConfigMap(String),
    /// Those in a Secret.
    Secret(String),
}

impl Tls {
    /// For the annotation [`cutover_api::labels::TLS`], which is read as an [`api::ExternalTls`].
    #[must_use]
    pub fn text(&self) -> String {
        let (ca_config_map, ca_secret) = match &self.authority {
            Authority::System => (None, None),
            Authority::ConfigMap(name) => (Some(name.clone()), None),
            Authority::Secret(name) => (None, Some(name.clone())),
        };
        json!(api::ExternalTls { server_name: Some(self.server_name.clone()), ca_config_map, ca_secret }).to_string()
    }
}

/// What something outside the cluster is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Addresses, all of one family.
    Addresses(BTreeSet<IpAddr>),
    /// A host name.
    Host {
        /// The full name, without a final dot.
        name: String,
        /// The families of its addresses that are used.
        families: BTreeSet<api::IpFamily>,
    },
    /// A host name that callers ask for themselves.
    Alias {
        /// The full name, without a final dot.
        name: String,
        /// The families of its addresses that are asked for, to tell whether there are any.
        families: BTreeSet<api::IpFamily>,
    },
}

impl Outside {
    /// The host name, and the families of its addresses.
    #[must_use]
    pub const fn host(&self) -> Option<(&String, &BTreeSet<api::IpFamily>)> {
        match self {
            Self::Addresses(_) => None,
            Self::Host { name, families } | Self::Alias { name, families } => Some((name, families)),
        }
    }
}

impl Component {
    /// The Service and port that it is reached by.
    #[must_use]
    pub fn address(&self, identity: &Identity) -> (String, i32) {
        match &self.source {
            Source::Workload(workload) => (identity.object(&self.name), main_port(workload)),
            Source::Service { name, port } => (name.clone(), *port),
            Source::External { port, .. } => (identity.object(&self.name), *port),
        }
    }

    /// Whether whoever calls it has to speak TLS.
    #[must_use]
    pub const fn speaks_tls(&self) -> bool {
        matches!(self.source, Source::External { tls: Some(_), .. })
    }

    /// The host name that it is reached by outside the cluster.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match &self.source {
            Source::External { at, .. } => at.host().map(|(name, _)| name.as_str()),
            Source::Workload(_) | Source::Service { .. } => None,
        }
    }
}

impl Validated {
    /// With the legacy workloads among these components scaled to nothing. What the operator does not run is left alone.
    #[must_use]
    pub fn with_retired(mut self, retired: &BTreeSet<String>) -> Self {
        for component in &mut self.components {
            component.retired = component.system == System::Legacy && retired.contains(&component.name);
            if let (true, Source::Workload(workload)) = (component.retired, &mut component.source) {
                workload.replicas = 0;
            }
        }
        self
    }
}

/// The port of a workload's Service that traffic goes to: the first one's.
fn main_port(workload: &api::Workload) -> i32 {
    workload.ports.first().map_or(80, service_port)
}

/// The port of the Service that leads to a port of the pods.
#[must_use]
pub fn service_port(port: &api::WorkloadPort) -> i32 {
    port.service_port.unwrap_or(port.container_port)
}

/// Something in a spec that a person has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.components[2].dependsOn`.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Longest time between two questions for health: a pod that is slower to be noticed is not guarded at all.
const LONGEST_INTERVAL: i64 = 300;

/// Judges a spec. `forbidden`: networks that external addresses must not be in, such as the cluster's own.
///
/// # Errors
/// With every problem found; then nothing is written.
pub fn validate(identity: Identity, spec: &EnvironmentSpec, forbidden: &[IpNet]) -> Result<Validated, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut components = Vec::new();
    for (index, component) in spec.components.iter().enumerate() {
        let field = format!("spec.components[{index}]");
        references(spec, component, &field, &mut problems);
        if let Some(source) = source(component, &field, forbidden, &mut problems) {
            components.push(Component {
                name: component.name.clone(),
                system: component.system,
                role: component.role,
                calls_to: component.calls_to.clone(),
                depends_on: component.depends_on.clone(),
                source,
                retired: false,
            });
        }
    }
    cycle(spec, &mut problems);
    let schema = spec.shared.as_ref().map(|shared| shared.database.schema.from.clone());
    if let Some(source) = &schema {
        super::schema::usable(source, &mut problems);
    }
    let validated = Validated {
        identity,
        version: spec.version.clone(),
        components,
        config: spec.config.clone(),
        schema,
        attestations: spec.attestations.clone(),
    };
    collisions(&validated, &mut problems);
    if problems.is_empty() {
        templates(&validated, &mut problems);
    }
    if problems.is_empty() { Ok(validated) } else { Err(problems) }
}

fn references(spec: &EnvironmentSpec, component: &api::Component, field: &str, problems: &mut Vec<Problem>) {
    for (list, named) in [("callsTo", &component.calls_to), ("dependsOn", &component.depends_on)] {
        for (index, name) in named.iter().enumerate() {
            let message = if *name == component.name {
                format!("{name} is the component itself: name others")
            } else if spec.components.iter().any(|other| other.name == *name) {
                continue;
            } else {
                format!("there is no component {name}: add it, or correct the name")
            };
            problems.push(Problem { field: format!("{field}.{list}[{index}]"), message });
        }
    }
    if spec.components.iter().filter(|other| other.name == component.name).count() > 1 {
        problems.push(Problem {
            field: format!("{field}.name"),
            message: format!("there is another component {}: names are unique in an environment", component.name),
        });
    }
}

fn source(component: &api::Component, field: &str, forbidden: &[IpNet], problems: &mut Vec<Problem>) -> Option<Source> {
    let api::Source { workload: run, service, external } = &component.source;
    match (run, service, external) {
        (Some(run), None, None) => {
            workload(run, &format!("{field}.source.workload"), problems);
            Some(Source::Workload(Box::new(run.clone())))
        }
        (None, Some(service), None) => Some(Source::Service { name: service.name.clone(), port: service.port }),
        (None, None, Some(external)) => {
            let field = format!("{field}.source.external");
            let at = outside(external, &field, forbidden, problems)?;
            let tls = match &external.tls {
                Some(tls) => Some(spoken(tls, component.role, &at, &format!("{field}.tls"), problems)?),
                None => None,
            };
            Some(Source::External { at, port: external.port, tls })
        }
        _ => {
            problems.push(Problem {
                field: format!("{field}.source"),
                message: "give exactly one of workload, service and external".into(),
            });
            None
        }
    }
}

fn outside(
    external: &api::ExternalSource,
    field: &str,
    forbidden: &[IpNet],
    problems: &mut Vec<Problem>,
) -> Option<Outside> {
    let api::ExternalSource { addresses, host, ip_families, via, port: _, tls } = external;
    if *via == Via::ExternalName && (host.is_none() || !ip_families.is_empty() || tls.is_some()) {
        problems.push(Problem {
            field: format!("{field}.via"),
            message: "an ExternalName is another name of host, and nothing else can be said of it: remove addresses, ipFamilies and tls, or via"
                .into(),
        });
        return None;
    }
    match host {
        None if !addresses.is_empty() => {
            let addresses = addresses::judge(addresses, &format!("{field}.addresses"), forbidden, problems)?;
            Some(Outside::Addresses(addresses))
        }
        Some(host) if addresses.is_empty() => {
            if let Some(message) = addresses::refused_name(host) {
                problems.push(Problem { field: format!("{field}.host"), message });
                return None;
            }
            let (name, families) = (host.clone(), external.families());
            Some(match via {
                Via::Addresses => Outside::Host { name, families },
                Via::ExternalName => Outside::Alias { name, families },
            })
        }
        _ => {
            problems
                .push(Problem { field: field.to_owned(), message: "give exactly one of addresses and host".into() });
            None
        }
    }
}

fn spoken(tls: &api::ExternalTls, role: Role, at: &Outside, field: &str, problems: &mut Vec<Problem>) -> Option<Tls> {
    let api::ExternalTls { server_name, ca_config_map, ca_secret } = tls;
    let host = at.host().map(|(name, _)| name);
    let mut problem = |field: String, message: &str| {
        problems.push(Problem { field, message: message.to_owned() });
        None
    };
    if !discovery::speaks_http(role) {
        return problem(
            field.to_owned(),
            "is how routers speak HTTPS to a component: remove it, what calls a database or a cache speaks TLS to it by itself",
        );
    }
    let Some(server_name) = server_name.as_ref().or(host) else {
        return problem(format!("{field}.serverName"), "is required with addresses: certificates are judged by a name");
    };
    let authority = match (ca_config_map, ca_secret) {
        (None, None) => Authority::System,
        (Some(name), None) => Authority::ConfigMap(name.clone()),
        (None, Some(name)) => Authority::Secret(name.clone()),
        (Some(_), Some(_)) => return problem(field.to_owned(), "give one of caConfigMap and caSecret"),
    };
    Some(Tls { server_name: server_name.clone(), authority })
}

fn workload(workload: &api::Workload, field: &str, problems: &mut Vec<Problem>) {
    let mut problem =
        |path: String, message: String| problems.push(Problem { field: format!("{field}.{path}"), message });
    if workload.ports.is_empty() {
        problem("ports".into(), "give at least one port: the first is the one that traffic goes to".into());
    }
    for (index, port) in workload.ports.iter().enumerate() {
        let others = || workload.ports.iter().take(index);
        if others().any(|other| other.name == port.name) {
            problem(format!("ports[{index}].name"), format!("{} is the name of another port", port.name));
        }
        if others().any(|other| service_port(other) == service_port(port)) {
            problem(
                format!("ports[{index}].servicePort"),
                format!("the Service has another port {}: give this one a servicePort of its own", service_port(port)),
            );
        }
    }
    if let Some(name) = &workload.health.port
        && !workload.ports.iter().any(|port| port.name == *name)
    {
        problem(
            "health.port".into(),
            format!("there is no port {name}: name one of ports, or leave it out for the first"),
        );
    }
    if !(1..=LONGEST_INTERVAL).contains(&workload.health.interval.as_secs()) {
        problem("health.interval".into(), "must be from 1s to 5m".into());
    }
}

/// A dependency that leads back to where it began could never be started.
fn cycle(spec: &EnvironmentSpec, problems: &mut Vec<Problem>) {
    let edges: BTreeMap<&str, &[String]> =
        spec.components.iter().map(|component| (component.name.as_str(), component.depends_on.as_slice())).collect();
    let mut finished: BTreeSet<&str> = BTreeSet::new();
    for (index, component) in spec.components.iter().enumerate() {
        let mut path = Vec::new();
        if let Some(found) = walk(&component.name, &edges, &mut path, &mut finished) {
            problems.push(Problem {
                field: format!("spec.components[{index}].dependsOn"),
                message: format!("leads back to itself: {}; remove one of these", found.join(" → ")),
            });
            return;
        }
    }
}

fn walk<'a>(
    name: &'a str,
    edges: &BTreeMap<&'a str, &'a [String]>,
    path: &mut Vec<&'a str>,
    finished: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(from) = path.iter().position(|before| *before == name) {
        let mut found: Vec<&str> = path.iter().skip(from).copied().collect();
        found.push(name);
        return Some(found);
    }
    if finished.contains(name) {
        return None;
    }
    path.push(name);
    for next in edges.get(name).copied().unwrap_or_default() {
        if let Some(found) = walk(next, edges, path, finished) {
            return Some(found);
        }
    }
    path.pop();
    finished.insert(name);
    None
}

/// A configuration key that is also the name of a discovery variable.
fn collisions(environment: &Validated, problems: &mut Vec<Problem>) {
    for component in &environment.components {
        for name in discovery::variables(&environment.identity, component).into_keys() {
            if environment.config.contains_key(&name) {
                problems.push(Problem {
                    field: format!("spec.config.{name}"),
                    message: format!(
                        "is the variable that tells where component {} is: rename the key, or set it in the env of the workloads that need another value",
                        component.name
                    ),
                });
            }
        }
    }
}

fn templates(environment: &Validated, problems: &mut Vec<Problem>) {
    for (index, component) in environment.components.iter().enumerate() {
        let Source::Workload(workload) = &component.source else { continue };
        let Some(patch) = &workload.pod_template else { continue };
        let field = format!("spec.components[{index}].source.workload.podTemplate");
        let base = build::pod_template(environment, component, workload);
        let problem = match pod_template::merged(&base, patch) {
            Err(pod_template::Invalid { path, message }) => Some((path, message)),
            Ok(_) => changed_label(&environment.identity, component, patch),
        };
        if let Some((path, message)) = problem {
            let field = if path.is_empty() { field } else { format!("{field}.{path}") };
            problems.push(Problem { field, message });
        }
    }
}

/// A label that the selector or others of ours rest on cannot be changed.
fn changed_label(identity: &Identity, component: &Component, patch: &serde_json::Value) -> Option<(String, String)> {
    let labels = patch.pointer("/metadata/labels")?.as_object()?;
    let ours = identity.pod_labels(&component.name, component.system, component.role);
    let changed = labels.iter().find(|(name, value)| {
        let reserved = name.starts_with("cutover.dev/");
        match ours.get(*name) {
            Some(own) => **value != json!(own),
            None => reserved,
        }
    })?;
    Some((
        format!("metadata.labels[{}]", changed.0),
        "is a label of the operator's: Services and routes rest on it; use a name of your own".into(),
    ))
}
