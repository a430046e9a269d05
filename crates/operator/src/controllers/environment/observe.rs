//! What is seen of an environment. Reads caches only.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::{
    conditions::types,
    labels,
    v1alpha1::{
        Environment, MigrationPhase, TrafficSplit,
        environment::{MigrationOutcome, SchemaSource},
        traffic_split::{Backend, Exposure},
    },
};
use cutover_engine::{
    Known,
    environment::{
        Identity, Marks, MigrationEnd, Observed, ServiceView, SliceView, Usage, VersionSource,
        in_use::{BackendUse, PhaseUse, RouteUse, SelectingService, SplitUse, retired_components},
        resolve::{self, Published},
    },
    router::{self, view as route},
};
use ipnet::IpNet;
use kube::ResourceExt;
use serde_json::Value;

use super::{memory::Memory, names::Names, versions::Versions};
use crate::{
    caches::{Caches, ConfigMapRecord, JobEnd, Kinds, ServiceRecord},
    cluster::stores::{Key, Presence},
};

/// What is read.
pub(super) struct Sources {
    pub(super) kinds: Kinds,
    pub(super) caches: Caches,
    pub(super) memory: Memory,
    /// What servers and Jobs tell of schemas.
    pub(super) versions: Versions,
    /// What name servers tell of host names.
    pub(super) names: Names,
    /// Networks that external addresses must not be in.
    pub(super) forbidden: Vec<IpNet>,
}

/// Which environment an object is.
pub(super) fn identity(environment: &Environment) -> Identity {
    Identity {
        namespace: environment.namespace().unwrap_or_default(),
        name: environment.name_any(),
        uid: environment.uid().unwrap_or_default(),
    }
}

/// Where the version of the shared database's schema is.
pub(super) fn schema_source(environment: &Environment) -> Option<&SchemaSource> {
    environment.spec.shared.as_ref().map(|shared| &shared.database.schema.from)
}

/// Who is asked for that version.
pub(super) fn version_source(identity: &Identity, environment: &Environment) -> Option<VersionSource> {
    VersionSource::of(identity, schema_source(environment)?)
}

impl Sources {
    /// Everything that the engine looks at.
    pub(super) fn observe(&self, identity: &Identity, environment: &Environment) -> Observed {
        let namespace = identity.namespace.as_str();
        let mut observed =
            Observed { usage: self.usage(identity), retired: self.retired(identity), ..Observed::default() };
        for (name, view) in self.caches.deployments.group(namespace, &identity.uid) {
            observed.deployments.insert(name.to_string(), (*view).clone());
        }
        for (name, record) in self.caches.config_maps.group(namespace, &identity.uid) {
            if let ConfigMapRecord::Environment(view) = &*record {
                observed.config_maps.insert(name.to_string(), view.clone());
            }
        }
        for (name, view) in self.caches.backend_tls_policies.group(namespace, &identity.uid) {
            observed.policies.insert(name.to_string(), (*view).clone());
        }
        observed.policies_served = served(self.caches.backend_tls_policies.presence());
        for (name, record) in self.caches.servers_transports.in_namespace(namespace) {
            if record.meta.owner_uid.as_deref() == Some(&identity.uid) {
                observed.transports.insert(name.to_string(), component_marks(identity, &record.meta));
            }
        }
        observed.transports_served = served(self.caches.servers_transports.presence());
        for name in authorities(environment) {
            let found = self.caches.authorities.get(namespace, name);
            observed.authorities.extend(found.map(|record| (name.to_owned(), record.holds)));
        }
        observed.migrations = self.migrations(identity);
        if let Some(key) = schema_source(environment).and_then(|source| source.config_map.as_ref()) {
            observed.schema = self.caches.schema_versions.get(namespace, &key.name).map(|record| record.data.clone());
        }
        if let Some(source) = version_source(identity, environment) {
            observed.schema_told = self.versions.told(&Key::new(namespace, &identity.name), &source);
        }
        self.services(identity, environment, &mut observed);
        self.slices(identity, environment, &mut observed);
        // Deployments and ConfigMaps of other environments that have a name of ours.
        for component in &environment.spec.components {
            let name = identity.object(&component.name);
            if let (false, Some(view)) =
                (observed.deployments.contains_key(&name), self.caches.deployments.get(namespace, &name))
            {
                observed.deployments.insert(name, (*view).clone());
            }
        }
        self.memory.overlay(namespace, &identity.uid, &mut observed);
        self.resolved(identity, environment, &mut observed);
        observed
    }

    /// What is known of components' host names: by what is published, and by what was told since the process started.
    fn resolved(&self, identity: &Identity, environment: &Environment, observed: &mut Observed) {
        for component in &environment.spec.components {
            let Some(external) = &component.source.external else { continue };
            let Some(host) = &external.host else { continue };
            let last = environment.status.iter().flat_map(|status| &status.components);
            let last = last.filter(|last| last.name == component.name).find_map(|last| last.resolved.as_ref());
            let shown = resolve::published(identity, &component.name, observed);
            let published = Published {
                addresses: shown.flat_map(|(_, view)| &view.addresses).filter_map(|it| it.parse().ok()).collect(),
                seen: last.map(|last| last.last_seen.0),
            };
            let told = self.names.told(host, &external.families());
            observed.names.insert(component.name.clone(), resolve::next(&published, &told, &self.forbidden));
        }
    }

    /// Runs of migrations that have ended, and those of which people say so.
    fn migrations(&self, identity: &Identity) -> Vec<MigrationEnd> {
        let namespace = identity.namespace.as_str();
        let jobs = self.caches.jobs.group(namespace, &identity.uid);
        let ended = jobs.iter().filter_map(|(name, job)| {
            let (_, run) = job.migration.as_ref()?;
            let outcome = match job.end.as_ref()? {
                JobEnd::Succeeded => MigrationOutcome::Succeeded,
                JobEnd::Failed(_) => MigrationOutcome::Failed,
            };
            let (phase, phase_uid) = (job.phase.as_deref()?.to_owned(), job.phase_uid.as_deref()?.to_owned());
            Some(MigrationEnd { run: *run, outcome, job: name.to_string(), phase, phase_uid })
        });
        let asks = |phase: &MigrationPhase| {
            phase.namespace().as_deref() == Some(namespace)
                && phase.spec.environment.as_deref() == Some(identity.name.as_str())
        };
        let phases = self.kinds.phases.filter(asks);
        ended.chain(phases.iter().flat_map(|phase| MigrationEnd::waived(phase))).collect()
    }

    fn services(&self, identity: &Identity, environment: &Environment, observed: &mut Observed) {
        let namespace = identity.namespace.as_str();
        for (name, record) in self.caches.services.in_namespace(namespace) {
            if record.owner.as_deref() == Some(&identity.name) {
                let view = service_view(identity, &record.view());
                observed.services.insert(name.to_string(), view);
            }
        }
        for component in &environment.spec.components {
            let made = (component.source.service.is_none()).then(|| identity.object(&component.name));
            let named = component.source.service.as_ref().map(|service| service.name.clone());
            for name in made.into_iter().chain(named) {
                let Some(record) = self.caches.services.get(namespace, &name) else { continue };
                let ready = self.ready(namespace, &name);
                let view = ServiceView { ready: Known::Known(ready), ..service_view(identity, &record.view()) };
                observed.services.insert(name, view);
            }
        }
    }

    /// Ready endpoints of a Service, each counted once when there are slices of both families.
    fn ready(&self, namespace: &str, service: &str) -> i32 {
        let mut families: BTreeMap<&'static str, i32> = BTreeMap::new();
        for (_, slice) in self.caches.slices.group(namespace, service) {
            let count = families.entry(slice.address_type()).or_default();
            *count = count.saturating_add(slice.ready);
        }
        families.into_values().max().unwrap_or(0)
    }

    fn slices(&self, identity: &Identity, environment: &Environment, observed: &mut Observed) {
        let last = environment.status.iter().flat_map(|status| status.components.iter().map(|last| &last.name));
        let present = environment.spec.components.iter().map(|component| &component.name);
        let mut services: BTreeSet<String> = present.chain(last).map(|name| identity.object(name)).collect();
        services.extend(
            observed.services.iter().filter(|(_, view)| view.marks.is_of(&identity.uid)).map(|(n, _)| n.clone()),
        );
        for service in services {
            for (name, record) in self.caches.slices.group(&identity.namespace, &service) {
                // Those that are made from pods have no view; they copy the Service's labels.
                let Some(view) = record.view() else { continue };
                let addresses = view.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
                let component = service.strip_prefix(&format!("{}-", identity.name)).map(str::to_owned);
                let marks = Marks { component, ..marks(&view.meta) };
                observed.slices.insert(name.to_string(), SliceView { marks, addresses });
            }
        }
    }

    /// The components whose legacy sides are retired and that no split leads to.
    fn retired(&self, identity: &Identity) -> BTreeSet<String> {
        let inside = |split: &TrafficSplit| split.metadata.namespace.as_deref() == Some(&identity.namespace);
        let splits: Vec<SplitUse> = self.kinds.splits.filter(inside).iter().map(|split| split_use(split)).collect();
        retired_components(identity, &splits)
    }

    /// Who uses what in the namespace.
    fn usage(&self, identity: &Identity) -> Known<Usage> {
        let namespace = identity.namespace.as_str();
        let [ingress_routes, traefik_services] = self.caches.traefik();
        let unread = |presence| matches!(presence, Presence::Unknown | Presence::Forbidden);
        let istio = self.caches.virtual_services.presence();
        let gateway_api = [self.caches.http_routes.presence(), self.caches.grpc_routes.presence()];
        if gateway_api.into_iter().chain([ingress_routes, traefik_services, istio]).any(unread) {
            return Known::Unknown;
        }
        let inside = |other: Option<String>| other.as_deref() == Some(namespace);
        let prefix = format!("{}-", identity.name);
        let splits = self.kinds.splits.filter(|split| inside(split.namespace()));
        let phases = self.kinds.phases.filter(|phase| inside(phase.namespace()));
        let mut usage = Usage {
            splits: splits.iter().map(|split| split_use(split)).collect(),
            phases: phases.iter().filter_map(|phase| phase_use(phase)).collect(),
            ..Usage::default()
        };
        for (name, record) in self.caches.ingresses.in_namespace(namespace) {
            // What belongs to a split goes and comes with the split.
            if record.owner.is_none() && record.mentions(&prefix) {
                let services = ingress_services(&record.view());
                usage.routes.push(RouteUse { route: format!("Ingress {name}"), services });
            }
        }
        for (kind, name, view) in self.caches.users_routes(namespace) {
            let services = route_services(&view);
            usage.routes.push(RouteUse { route: format!("{} {name}", kind.kind()), services });
        }
        let ingress_routes = self.caches.ingress_routes.in_namespace(namespace);
        let ingress_routes = ingress_routes.iter().map(|(name, record)| ("IngressRoute", name, &***record));
        let traefik_services = self.caches.traefik_services.in_namespace(namespace);
        let traefik_services = traefik_services.iter().map(|(name, record)| ("TraefikService", name, &***record));
        for (kind, name, view) in ingress_routes.chain(traefik_services).filter(|(.., it)| it.meta.owner_uid.is_none())
        {
            usage
                .routes
                .push(RouteUse { route: format!("{kind} {name}"), services: traefik_names(&view.spec.value()) });
        }
        for (name, record) in self.caches.virtual_services.in_namespace(namespace) {
            if record.meta.owner_uid.is_none() {
                let services = destination_hosts(&record.spec.value());
                usage.routes.push(RouteUse { route: format!("VirtualService {name}"), services });
            }
        }
        for (name, record) in self.caches.services.in_namespace(namespace) {
            if !selects_components(&record) {
                continue;
            }
            let view = record.view();
            if view.meta.owner_uid.as_deref() != Some(&identity.uid) {
                let selector = view.selector.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
                usage.selecting.push(SelectingService { name: name.to_string(), selector });
            }
        }
        Known::Known(usage)
    }

    /// The environments of a namespace.
    pub(super) fn environments(&self, namespace: &str) -> Vec<std::sync::Arc<Environment>> {
        self.kinds.environments.filter(|environment| environment.metadata.namespace.as_deref() == Some(namespace))
    }

    /// The environment with this UID.
    pub(super) fn owner(&self, namespace: &str, uid: &str) -> Option<Key> {
        let found =
            self.environments(namespace).into_iter().find(|environment| environment.uid().as_deref() == Some(uid))?;
        Some(Key::new(namespace, &found.name_any()))
    }
}

/// The ConfigMaps by whose certificates those of components are judged.
pub(super) fn authorities(environment: &Environment) -> impl Iterator<Item = &str> {
    let spoken = environment.spec.components.iter().filter_map(|it| it.source.external.as_ref()?.tls.as_ref());
    spoken.filter_map(|tls| tls.ca_config_map.as_deref())
}

/// Whether a Service may select pods of components.
pub(super) fn selects_components(record: &ServiceRecord) -> bool {
    record.mentions(labels::COMPONENT)
}

fn marks(meta: &router::Meta) -> Marks {
    Marks {
        uid: meta.uid.to_string(),
        version: meta.resource_version.parse().unwrap_or_default(),
        owner: meta.owner_uid.as_deref().map(str::to_owned),
        component: None,
        revision: meta.resource_version.to_string(),
        deleting: meta.deleting,
    }
}

/// Whether the cluster has a kind.
fn served(presence: Presence) -> Known<bool> {
    match presence {
        Presence::Listed => Known::Known(true),
        Presence::Missing => Known::Known(false),
        Presence::Unknown | Presence::Forbidden => Known::Unknown,
    }
}

/// The marks of an object that is called after a component.
fn component_marks(identity: &Identity, meta: &router::Meta) -> Marks {
    let component = meta.name.strip_prefix(&format!("{}-", identity.name)).map(str::to_owned);
    Marks { component, ..marks(meta) }
}

/// The view of a Service from the shared cache; that of an answer to a write is [`ServiceView::of`].
fn service_view(identity: &Identity, view: &route::ServiceView) -> ServiceView {
    ServiceView {
        marks: component_marks(identity, &view.meta),
        selects: !view.selector.is_empty(),
        is_alias: view.external_name,
        speaks_tls: view.tls.is_some(),
        ports: view.ports.iter().map(|port| port.port).collect(),
        ready: Known::Unknown,
    }
}

/// What a split uses.
pub(super) fn split_use(split: &TrafficSplit) -> SplitUse {
    let spec = &split.spec;
    let backend = |backend: &Backend| match (&backend.component, &backend.service, &spec.environment) {
        (Some(component), None, Some(environment)) => {
            Some(BackendUse::Component { environment: environment.clone(), component: component.clone() })
        }
        (None, Some(service), _) => Some(BackendUse::Service(service.name.clone())),
        _ => None,
    };
    let idle = split
        .status
        .as_ref()
        .is_some_and(|status| status.exposure == Some(Exposure::Hidden) && status.holder.is_none());
    let status = split.status.clone().unwrap_or_default();
    let retired = status.legacy_retired.is_some();
    let at_rest =
        status.conditions.iter().any(|condition| condition.type_ == types::READY && condition.status == "True");
    SplitUse {
        name: split.name_any(),
        backends: spec.legacy.iter().filter(|_| !retired).chain([&spec.new]).filter_map(backend).collect(),
        retired: spec.legacy.as_ref().filter(|_| retired && at_rest).and_then(backend),
        idle,
    }
}

/// The splits that a phase moves or could move back; `None` if it has never held one.
pub(super) fn phase_use(phase: &MigrationPhase) -> Option<PhaseUse> {
    let status = phase.status.as_ref()?;
    if status.finish.as_ref().is_some_and(|finish| finish.retired.is_some()) {
        return None;
    }
    let way_back = status.way_back.as_ref().map(|way_back| &way_back.target);
    let known = [status.baseline.as_ref(), status.requests.as_ref(), way_back];
    let splits: BTreeSet<&String> =
        known.into_iter().flatten().flat_map(|requests| requests.splits.iter().map(|request| &request.split)).collect();
    (!splits.is_empty()).then(|| PhaseUse { name: phase.name_any(), splits: splits.into_iter().cloned().collect() })
}

fn ingress_services(view: &route::IngressView) -> Vec<String> {
    let paths = view.rules.iter().flat_map(|rule| rule.paths.iter()).filter_map(|path| path.backend.as_ref());
    let named = paths.chain(&view.default_backend).map(|(service, _)| service.to_string());
    named.chain(router::alb_service_names(view)).collect()
}

fn route_services(view: &route::RouteView) -> Vec<String> {
    let spec = view.spec.value();
    let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    list(&spec, "rules")
        .iter()
        .flat_map(|rule| list(rule, "backendRefs"))
        .filter_map(|backend| backend.get("name").and_then(Value::as_str).map(str::to_owned))
        .collect()
}

/// Whatever is named anywhere in an object of Traefik's: Services are named in many places, and one too many does no harm.
fn traefik_names(spec: &Value) -> Vec<String> {
    match spec {
        Value::Object(fields) => {
            let name = fields.get("name").and_then(Value::as_str).map(str::to_owned);
            name.into_iter().chain(fields.values().flat_map(traefik_names)).collect()
        }
        Value::Array(list) => list.iter().flat_map(traefik_names).collect(),
        _ => Vec::new(),
    }
}

/// The Services that a VirtualService leads to, in whatever way: hosts are names of Services, perhaps with their domain.
fn destination_hosts(spec: &Value) -> Vec<String> {
    match spec {
        Value::Object(fields) => {
            let host = fields.get("host").and_then(Value::as_str).and_then(|host| host.split('.').next());
            host.map(str::to_owned).into_iter().chain(fields.values().flat_map(destination_hosts)).collect()
        }
        Value::Array(list) => list.iter().flat_map(destination_hosts).collect(),
        _ => Vec::new(),
    }
}
