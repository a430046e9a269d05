//! What is to be done, and what became of it.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
    discovery::v1::EndpointSlice,
};

use super::{
    build::{BackendTlsPolicy, ServersTransport},
    observed::{ObjectKind, ObjectRef},
};

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The requests. A step of one component that is refused does not stop those of others.
    pub steps: Vec<Step>,
    /// Components that are not started yet, and what they wait for.
    pub waiting: BTreeMap<String, String>,
    /// Objects of others that have the names of ours, by component; `None` for the ConfigMap.
    pub conflicts: Vec<Refusal>,
    /// What left the spec and stays, and why.
    pub blocked: Vec<Blocked>,
    /// Nothing that was made for the environment is left. Asked only of one that is being deleted.
    pub empty: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A look at what has the name of an object that is made later: if somebody else has it, nothing is made for the component.
    /// Deployments of others are in no cache.
    Claim {
        /// Which.
        object: ObjectRef,
        /// The component it is for.
        component: String,
    },
    /// Server-side apply of an object.
    Apply {
        /// Which.
        object: ObjectRef,
        /// The component it is for; `None` for the ConfigMap.
        component: Option<String>,
        /// UID of what is there and ours: nothing else is written to. `None`: nothing of this name may be there.
        uid: Option<String>,
        /// The object.
        body: Box<Body>,
        /// Hash of the body, to be remembered.
        hash: String,
    },
    /// Deletion of what left the spec.
    Delete {
        /// Which.
        object: ObjectRef,
        /// The component it was for.
        component: Option<String>,
        /// Its UID.
        uid: String,
    },
}

/// An object to be.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a plan holds bodies in boxes")]
pub enum Body {
    /// Runs a component.
    Deployment(Deployment),
    /// Reaches a component.
    Service(Service),
    /// Addresses of an external component.
    EndpointSlice(EndpointSlice),
    /// How gateways speak to an external component.
    BackendTlsPolicy(BackendTlsPolicy),
    /// How Traefik does.
    ServersTransport(ServersTransport),
    /// Configuration and discovery.
    ConfigMap(ConfigMap),
}

impl Body {
    /// Which object it is.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        let (kind, name) = match self {
            Self::Deployment(object) => (ObjectKind::Deployment, &object.metadata.name),
            Self::Service(object) => (ObjectKind::Service, &object.metadata.name),
            Self::EndpointSlice(object) => (ObjectKind::EndpointSlice, &object.metadata.name),
            Self::BackendTlsPolicy(object) => (ObjectKind::BackendTlsPolicy, &object.metadata.name),
            Self::ServersTransport(object) => (ObjectKind::ServersTransport, &object.metadata.name),
            Self::ConfigMap(object) => (ObjectKind::ConfigMap, &object.metadata.name),
        };
        ObjectRef::new(kind, name.as_deref().unwrap_or_default())
    }
}

/// Something that left the spec and is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The component.
    pub component: String,
    /// Why, and what would let it go.
    pub why: String,
}

/// Something that could not be written, and that trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The component; `None` for the ConfigMap.
    pub component: Option<String>,
    /// A constant of [`cutover_api::conditions::reasons`].
    pub reason: &'static str,
    /// What, why, and what to do.
    pub message: String,
}

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Steps that were refused.
    pub refusals: Vec<Refusal>,
    /// What was deleted.
    pub deleted: Vec<ObjectRef>,
}
