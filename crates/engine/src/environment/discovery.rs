//! What components are told: the configuration, and the addresses of each other.
//!
//! The ConfigMap holds all of it; a component's pods read only the configuration and the variables of what they call, so
//! that they are rolled when that changes and not when something else does.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::v1alpha1::environment::{Role, System};

use super::{
    names::Identity,
    validate::{Component, Validated},
};

/// The variables that tell of one component: `API_HOST`, `API_PORT` and, unless it is spoken to in a protocol of its own,
/// `API_URL`. Without the last for databases and caches: frameworks read `DATABASE_URL` as a connection string with
/// credentials, which this is not.
#[must_use]
pub fn variables(identity: &Identity, component: &Component) -> BTreeMap<String, String> {
    let prefix = prefix(&component.name);
    let (service, port) = component.address(identity);
    let mut all = BTreeMap::from([
        (format!("{prefix}_HOST"), identity.host(&service)),
        (format!("{prefix}_PORT"), port.to_string()),
    ]);
    if speaks_http(component.role) {
        all.insert(format!("{prefix}_URL"), url(identity, component));
    }
    all
}

/// The address of a component inside the cluster, such as `http://production-api.shop.svc:8080`.
#[must_use]
pub fn url(identity: &Identity, component: &Component) -> String {
    let (service, port) = component.address(identity);
    let host = identity.host(&service);
    match (speaks_http(component.role), port) {
        (true, 80) if !component.speaks_tls() => format!("http://{host}"),
        (true, 443) => format!("https://{host}"),
        (true, port) if component.speaks_tls() => format!("https://{host}:{port}"),
        (true, port) => format!("http://{host}:{port}"),
        (false, port) => format!("tcp://{host}:{port}"),
    }
}

/// All that the ConfigMap holds.
#[must_use]
pub fn all(environment: &Validated) -> BTreeMap<String, String> {
    let mut all = environment.config.clone();
    for component in &environment.components {
        all.extend(variables(&environment.identity, component));
    }
    all
}

/// What the pods of a component read of it. The configuration goes to what is new or shared: a legacy system is given
/// nothing that it did not ask for by `callsTo`.
#[must_use]
pub fn read_by(environment: &Validated, component: &Component) -> BTreeMap<String, String> {
    let mut read = if component.system == System::Legacy { BTreeMap::new() } else { environment.config.clone() };
    let called: BTreeSet<&str> = component.calls_to.iter().map(String::as_str).collect();
    for other in environment.components.iter().filter(|other| called.contains(other.name.as_str())) {
        read.extend(variables(&environment.identity, other));
    }
    read
}

/// Whether a component of this role answers HTTP.
#[must_use]
pub const fn speaks_http(role: Role) -> bool {
    !matches!(role, Role::Database | Role::Cache)
}

fn prefix(component: &str) -> String {
    component.to_ascii_uppercase().replace('-', "_")
}
