//! The Gateway API's word on TLS to a Service: under which name, and by whose authority. A small view of our own: nothing else of the kind is
//! written or looked at.

use k8s_openapi::{Metadata, NamespaceResourceScope, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Serialize};

use super::metadata;
use crate::environment::{
    names::Identity,
    validate::{Authority, Component, Source},
};

/// `gateway.networking.k8s.io/v1` BackendTLSPolicy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicy {
    #[serde(default = "api_version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    /// Metadata.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default, skip_serializing)]
    pub(in crate::environment) status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    target_refs: Vec<LocalRef>,
    validation: Validation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Validation {
    hostname: String,
    #[serde(rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    ca_certificate_refs: Vec<LocalRef>,
    #[serde(rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    well_known: Option<String>,
}

/// Something of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct LocalRef {
    group: String,
    kind: String,
    name: String,
}

/// What gateways say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::environment) struct Status {
    pub(in crate::environment) ancestors: Vec<Ancestor>,
}

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::environment) struct Ancestor {
    pub(in crate::environment) ancestor_ref: AncestorRef,
    pub(in crate::environment) conditions: Vec<Judgement>,
}

/// Which one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::environment) struct AncestorRef {
    pub(in crate::environment) name: String,
}

/// A condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::environment) struct Judgement {
    #[serde(rename = "type")]
    pub(in crate::environment) type_: String,
    pub(in crate::environment) status: String,
    pub(in crate::environment) reason: String,
    pub(in crate::environment) message: String,
    pub(in crate::environment) observed_generation: Option<i64>,
}

impl Resource for BackendTlsPolicy {
    const API_VERSION: &'static str = "gateway.networking.k8s.io/v1";
    const GROUP: &'static str = "gateway.networking.k8s.io";
    const KIND: &'static str = "BackendTLSPolicy";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "backendtlspolicies";
    type Scope = NamespaceResourceScope;
}

impl Metadata for BackendTlsPolicy {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn api_version() -> String {
    BackendTlsPolicy::API_VERSION.to_owned()
}

fn kind() -> String {
    BackendTlsPolicy::KIND.to_owned()
}

/// The policy of a component whose port speaks TLS, called after its Service, for that Service.
#[must_use]
pub fn build_backend_tls_policy(identity: &Identity, component: &Component) -> Option<BackendTlsPolicy> {
    let Source::External { tls: Some(tls), .. } = &component.source else { return None };
    let name = identity.object(&component.name);
    let local =
        |kind: &str, name: &str| LocalRef { group: String::new(), kind: kind.to_owned(), name: name.to_owned() };
    let (ca_certificate_refs, well_known) = match &tls.authority {
        Authority::System => (Vec::new(), Some("System".to_owned())),
        Authority::ConfigMap(name) => (vec![local("ConfigMap", name)], None),
        Authority::Secret(name) => (vec![local("Secret", name)], None),
    };
    Some(BackendTlsPolicy {
        api_version: api_version(),
        kind: kind(),
        spec: Spec {
            target_refs: vec![local("Service", &name)],
            validation: Validation { hostname: tls.server_name.clone(), ca_certificate_refs, well_known },
        },
        metadata: metadata(identity, component, name),
        status: Status::default(),
    })
}
