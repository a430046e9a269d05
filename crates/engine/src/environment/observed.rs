//! What is seen of an environment's surroundings: slim views, made from whole objects by pure functions, so that a cache
//! and the answer to a write give the same view.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::labels;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{build::BackendTlsPolicy, in_use::Usage, migrations::MigrationEnd, names::CONTAINER, resolve::Resolution};
use crate::{Known, hash::short_hash};

/// Kinds of what is made for an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Runs a component.
    Deployment,
    /// Reaches a component.
    Service,
    /// Addresses of a component outside the cluster.
    EndpointSlice,
    /// How gateways speak TLS to one.
    BackendTlsPolicy,
    /// How Traefik speaks TLS to one.
    ServersTransport,
    /// Configuration and discovery.
    ConfigMap,
}

impl ObjectKind {
    /// The kind as the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ServersTransport => "ServersTransport",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// One object of the environment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The object of this kind and name.
    #[must_use]
    pub fn new(kind: ObjectKind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// What tells objects and their versions apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// UID.
    pub uid: String,
    /// `resourceVersion`, as a number: later versions are greater.
    pub version: u64,
    /// UID of the Environment that it was made for, if it was made for one.
    pub owner: Option<String>,
    /// Component that it was made for.
    pub component: Option<String>,
    /// Changes whenever a field changes that is ours to write, and not with mere status where that can be told apart.
    pub revision: String,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Marks {
    /// The marks of an object. `by_generation`: the kind counts changes of its spec in `metadata.generation`.
    #[must_use]
    pub fn of(meta: &ObjectMeta, by_generation: bool) -> Self {
        let label = |key: &str| meta.labels.as_ref().and_then(|all| all.get(key)).cloned();
        let version = meta.resource_version.clone().unwrap_or_default();
        let revision = match meta.generation {
            Some(generation) if by_generation => {
                let annotated = meta.annotations.as_ref().and_then(|all| all.get(labels::OWNER_NAME));
                format!("{generation}.{}", short_hash(&(&meta.labels, annotated)))
            }
            _ => version.clone(),
        };
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            version: version.parse().unwrap_or_default(),
            owner: label(labels::OWNER_KIND).filter(|kind| kind == super::names::KIND).and(label(labels::OWNER_UID)),
            component: label(labels::COMPONENT),
            revision,
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

    /// Whether it was made for the Environment with this UID.
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        self.owner.as_deref() == Some(uid)
    }
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentView {
    /// Which it is.
    pub marks: Marks,
    /// Pods that are wanted.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods of the present template.
    pub updated: i32,
    /// Pods in all, those of former templates among them.
    pub total: i32,
    /// Whether the Deployment's controller has seen its present form.
    pub observed: bool,
    /// Image of the container `app`.
    pub image: Option<String>,
    /// Why it does not get on, in the words of its controller.
    pub stuck: Option<String>,
}

impl DeploymentView {
    /// The view of a Deployment.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let meta = &deployment.metadata;
        let spec = deployment.spec.as_ref();
        let status = deployment.status.clone().unwrap_or_default();
        let containers = spec.and_then(|spec| spec.template.spec.as_ref()).map(|pod| pod.containers.as_slice());
        let image = containers
            .unwrap_or_default()
            .iter()
            .find(|container| container.name == CONTAINER)
            .and_then(|container| container.image.clone());
        let failing = |condition: &&k8s_openapi::api::apps::v1::DeploymentCondition| {
            (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True")
        };
        let stuck = status.conditions.as_deref().unwrap_or_default().iter().find(failing);
        Self {
            marks: Marks::of(meta, true),
            replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            total: status.replicas.unwrap_or(0),
            observed: status.observed_generation >= meta.generation,
            image,
            stuck: stuck.map(|condition| condition.message.clone().unwrap_or_else(|| condition.type_.clone())),
        }
    }

    /// Whether every pod is of the present template, and ready.
    #[must_use]
    pub fn is_rolled_out(&self) -> bool {
        self.observed && self.updated == self.replicas && self.total == self.replicas && self.ready >= self.replicas
    }
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// Which it is.
    pub marks: Marks,
    /// Whether it selects pods.
    pub selects: bool,
    /// Whether it is another name of a host, and no more.
    pub is_alias: bool,
    /// Whether it says that its port speaks TLS.
    pub speaks_tls: bool,
    /// Numbers of its ports.
    pub ports: Vec<i32>,
    /// Ready endpoints, counted by its EndpointSlices; not known for a Service whose slices are not looked at.
    pub ready: Known<i32>,
}

impl ServiceView {
    /// The view of a Service, without its endpoints.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        Self {
            marks: Marks::of(&service.metadata, false),
            selects: spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty()),
            is_alias: spec.and_then(|spec| spec.type_.as_deref()) == Some(EXTERNAL_NAME),
            speaks_tls: service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(labels::TLS)),
            ports: spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default().iter().map(|p| p.port).collect(),
            ready: Known::Unknown,
        }
    }
}

/// The type of a Service that is another name of a host.
pub const EXTERNAL_NAME: &str = "ExternalName";
/// The label that says who keeps an EndpointSlice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Its value on those that the operator keeps.
pub const SLICE_MANAGER: &str = "cutover.dev";

/// An EndpointSlice that was made for an external component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceView {
    /// Which it is.
    pub marks: Marks,
    /// Its addresses.
    pub addresses: BTreeSet<String>,
}

impl SliceView {
    /// The view of an EndpointSlice.
    #[must_use]
    pub fn of(slice: &EndpointSlice) -> Self {
        let mut marks = Marks::of(&slice.metadata, false);
        let manager = slice.metadata.labels.as_ref().and_then(|all| all.get(MANAGED_BY));
        if manager.is_none_or(|manager| manager != SLICE_MANAGER) {
            // Made by the cluster for a Service of ours: it copies the Service's labels.
            marks.owner = None;
        }
        Self {
            marks,
            addresses: slice.endpoints.iter().flat_map(|endpoint| endpoint.addresses.iter().cloned()).collect(),
        }
    }
}

/// A BackendTLSPolicy that was made for an external component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyView {
    /// Which it is.
    pub marks: Marks,
    /// What gateways have against it as it is now.
    pub refused: BTreeSet<String>,
}

impl PolicyView {
    /// The view of a policy.
    #[must_use]
    pub fn of(policy: &BackendTlsPolicy) -> Self {
        let generation = policy.metadata.generation;
        let said = policy.status.ancestors.iter().flat_map(|ancestor| {
            let gateway = ancestor.ancestor_ref.name.as_str();
            ancestor.conditions.iter().map(move |condition| (gateway, condition))
        });
        let refused = said.filter(|(_, condition)| {
            matches!(condition.type_.as_str(), "Accepted" | "ResolvedRefs")
                && condition.status == "False"
                && condition.observed_generation == generation
        });
        let words = refused.map(|(gateway, condition)| {
            let colon = if condition.message.is_empty() { "" } else { ": " };
            let (type_, reason, message) = (&condition.type_, &condition.reason, &condition.message);
            format!("Gateway {gateway} says {type_}=False, {reason}{colon}{message}")
        });
        Self { marks: Marks::of(&policy.metadata, true), refused: words.collect() }
    }
}

/// The environment's ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapView {
    /// Which it is.
    pub marks: Marks,
    /// What is in it.
    pub data: BTreeMap<String, String>,
}

impl ConfigMapView {
    /// The view of a ConfigMap.
    #[must_use]
    pub fn of(config_map: &ConfigMap) -> Self {
        Self { marks: Marks::of(&config_map.metadata, false), data: config_map.data.clone().unwrap_or_default() }
    }
}

/// What an object was after our last write of it. While it still is, nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// UID of the object.
    pub uid: String,
    /// [`Marks::revision`] after the write.
    pub revision: String,
    /// Hash of what was written.
    pub hash: String,
}

/// What is seen. Names are those of the environment's namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Components that were a legacy side and are retired.
    pub retired: BTreeSet<String>,
    /// Deployments made for the environment.
    pub deployments: BTreeMap<String, DeploymentView>,
    /// Services made for the environment, those that have the names of such, and those that components name.
    pub services: BTreeMap<String, ServiceView>,
    /// EndpointSlices made for the environment.
    pub slices: BTreeMap<String, SliceView>,
    /// BackendTLSPolicies made for the environment.
    pub policies: BTreeMap<String, PolicyView>,
    /// Whether the cluster has that kind.
    pub policies_served: Known<bool>,
    /// ServersTransports made for the environment.
    pub transports: BTreeMap<String, Marks>,
    /// Whether the cluster has that kind.
    pub transports_served: Known<bool>,
    /// ConfigMaps that are marked as those of an authority, and whether they hold certificates.
    pub authorities: BTreeMap<String, bool>,
    /// What is known of components' host names, by component.
    pub names: BTreeMap<String, Resolution>,
    /// ConfigMaps made for the environment.
    pub config_maps: BTreeMap<String, ConfigMapView>,
    /// What is in the ConfigMap that holds the version of the shared database's schema, if it is there and has its label.
    pub schema: Option<BTreeMap<String, String>>,
    /// What a server or a Job told of that version, or why it did not, if it was asked already.
    pub schema_told: Option<Result<i64, String>>,
    /// How migrations of the shared database ended, as far as it can still be seen.
    pub migrations: Vec<MigrationEnd>,
    /// What our last writes left behind, as far as this process remembers.
    pub settled: BTreeMap<ObjectRef, Settled>,
    /// Who uses the components.
    pub usage: Known<Usage>,
}

impl Observed {
    /// The marks of an object, if it is there.
    #[must_use]
    pub fn marks(&self, object: &ObjectRef) -> Option<&Marks> {
        match object.kind {
            ObjectKind::Deployment => self.deployments.get(&object.name).map(|view| &view.marks),
            ObjectKind::Service => self.services.get(&object.name).map(|view| &view.marks),
            ObjectKind::EndpointSlice => self.slices.get(&object.name).map(|view| &view.marks),
            ObjectKind::BackendTlsPolicy => self.policies.get(&object.name).map(|view| &view.marks),
            ObjectKind::ServersTransport => self.transports.get(&object.name),
            ObjectKind::ConfigMap => self.config_maps.get(&object.name).map(|view| &view.marks),
        }
    }

    /// Every object that was made for the Environment with this UID, kinds in the order of removal: pods end before what
    /// leads to them and what they read goes, and how they are spoken to is said for as long as there are addresses.
    pub fn owned<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (ObjectRef, &'a Marks)> {
        use ObjectKind::{BackendTlsPolicy, ConfigMap, Deployment, EndpointSlice, ServersTransport, Service};
        fn of<'a, V>(
            kind: ObjectKind,
            views: &'a BTreeMap<String, V>,
            marks: impl Fn(&'a V) -> &'a Marks + 'a,
        ) -> impl Iterator<Item = (ObjectRef, &'a Marks)> {
            views.iter().map(move |(name, view)| (ObjectRef::new(kind, name), marks(view)))
        }
        of(Deployment, &self.deployments, |view| &view.marks)
            .chain(of(Service, &self.services, |view| &view.marks))
            .chain(of(EndpointSlice, &self.slices, |view| &view.marks))
            .chain(of(BackendTlsPolicy, &self.policies, |view| &view.marks))
            .chain(of(ServersTransport, &self.transports, |marks| marks))
            .chain(of(ConfigMap, &self.config_maps, |view| &view.marks))
            .filter(move |(_, marks)| marks.is_of(uid))
    }
}
