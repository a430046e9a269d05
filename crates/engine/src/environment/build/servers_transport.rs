//! Traefik's word on TLS to a Service: under which name, and by whose authority. A small view of our own: nothing else of the kind is written
//! or looked at.
//!
//! It is the Environment's and not a split's: Traefik keeps how a Service's port is spoken to by the Service's name and port, whoever leads
//! there, so that of two splits with one legacy side each would get what the other says.

use k8s_openapi::{Metadata, NamespaceResourceScope, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Serialize};

use super::metadata;
use crate::environment::{
    names::Identity,
    validate::{Authority, Component, Source},
};

/// `traefik.io/v1alpha1` ServersTransport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServersTransport {
    #[serde(default = "api_version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    /// Metadata.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    server_name: String,
    #[serde(rename = "rootCAs")]
    root_cas: Vec<RootCa>,
    /// Written so that nobody else can say that nothing is judged.
    insecure_skip_verify: bool,
    max_idle_conns_per_host: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RootCa {
    config_map: String,
}

impl Resource for ServersTransport {
    const API_VERSION: &'static str = "traefik.io/v1alpha1";
    const GROUP: &'static str = "traefik.io";
    const KIND: &'static str = "ServersTransport";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "serverstransports";
    type Scope = NamespaceResourceScope;
}

impl Metadata for ServersTransport {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn api_version() -> String {
    ServersTransport::API_VERSION.to_owned()
}

fn kind() -> String {
    ServersTransport::KIND.to_owned()
}

/// The ServersTransport of a component whose port speaks TLS, called after its Service. None with an authority in a Secret: Traefik trusts its
/// system's authorities in the place of one that it does not find, and nobody here could see that it does not.
#[must_use]
pub fn build_servers_transport(identity: &Identity, component: &Component) -> Option<ServersTransport> {
    let Source::External { tls: Some(tls), .. } = &component.source else { return None };
    let root_cas = match &tls.authority {
        Authority::System => Vec::new(),
        Authority::ConfigMap(name) => vec![RootCa { config_map: name.clone() }],
        Authority::Secret(_) => return None,
    };
    Some(ServersTransport {
        api_version: api_version(),
        kind: kind(),
        metadata: metadata(identity, component, identity.object(&component.name)),
        spec: Spec {
            server_name: tls.server_name.clone(),
            root_cas,
            insecure_skip_verify: false,
            max_idle_conns_per_host: crate::router::IDLE_CONNECTIONS,
        },
    })
}
