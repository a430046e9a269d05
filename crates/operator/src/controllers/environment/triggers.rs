//! Which environments have to be looked at again when something else changed. What was seen of our own objects also tells the memory
//! that the cache has caught up.

use std::sync::Arc;

use cutover_api::v1alpha1::Environment;
use cutover_engine::{
    environment::{MigrationEnd, ObjectKind, ObjectRef},
    router::{RouteView, WholeView},
};
use futures::{Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef as Reference};

use super::observe::{Sources, authorities, phase_use, schema_source, selects_components, split_use};
use crate::{
    caches::{ConfigMapRecord, JobRecord, Whole, WholeRecord},
    cluster::stores::{Change, Index, Key, presences},
    controllers::driver::Triggers,
};

type Environments = Triggers<Environment>;

/// The environments concerned by changes of everything else, and those of which a server or a Job has told something.
pub(super) fn all(sources: &Arc<Sources>, told: impl Stream<Item = Key> + Send + 'static) -> Environments {
    stream::select_all([
        deployments(sources),
        config_maps(sources),
        migrations(sources),
        schema_versions(sources),
        named_authorities(sources),
        policies(sources),
        transports(sources),
        ways_to_speak_tls_come_or_go(sources),
        services(sources),
        slices(sources),
        splits(sources),
        phases(sources),
        ingresses(sources),
        routes(sources, &sources.caches.http_routes),
        routes(sources, &sources.caches.grpc_routes),
        wholes(sources, &sources.caches.ingress_routes),
        wholes(sources, &sources.caches.traefik_services),
        wholes(sources, &sources.caches.virtual_services),
        told.map(|key| reference(&key)).boxed(),
    ])
    .boxed()
}

fn reference(key: &Key) -> Reference<Environment> {
    Reference::new(&key.name).within(&key.namespace)
}

fn to(environment: &Environment) -> Reference<Environment> {
    Reference::from_obj(environment)
}

fn deployments(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.deployments.changes();
    changes
        .filter_map(move |Change { key, before, after }| {
            let object = ObjectRef::new(ObjectKind::Deployment, &key.name);
            sources.memory.seen(&key.namespace, &object, after.as_ref().map(|view| view.marks.version));
            let owner = after.or(before).and_then(|view| view.marks.owner.clone());
            let found = owner.and_then(|uid| sources.owner(&key.namespace, &uid));
            std::future::ready(found.as_ref().map(reference))
        })
        .boxed()
}

fn config_maps(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.config_maps.changes();
    changes
        .filter_map(move |Change { key, before, after }| {
            let marks = |record: &Arc<ConfigMapRecord>| match &**record {
                ConfigMapRecord::Environment(view) => Some(view.marks.clone()),
                ConfigMapRecord::Flags(_) | ConfigMapRecord::Split(_) => None,
            };
            let now = after.as_ref().and_then(marks);
            let object = ObjectRef::new(ObjectKind::ConfigMap, &key.name);
            sources.memory.seen(&key.namespace, &object, now.as_ref().map(|marks| marks.version));
            let owner = now.or_else(|| before.as_ref().and_then(marks)).and_then(|marks| marks.owner);
            let found = owner.and_then(|uid| sources.owner(&key.namespace, &uid));
            std::future::ready(found.as_ref().map(reference))
        })
        .boxed()
}

/// The environment whose database a Job migrates.
fn migrations(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.jobs.changes();
    changes
        .filter_map(move |Change { key, before, after }| {
            let migrates = |job: &Arc<JobRecord>| job.migration.as_ref().map(|(environment, _)| environment.clone());
            let uid = after.as_ref().or(before.as_ref()).and_then(migrates);
            let found = uid.and_then(|uid| sources.owner(&key.namespace, &uid));
            std::future::ready(found.as_ref().map(reference))
        })
        .boxed()
}

/// Environments whose database's version is in this ConfigMap.
fn schema_versions(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.schema_versions.changes();
    changes
        .flat_map(move |Change { key, .. }| {
            let mut found = sources.environments(&key.namespace);
            found.retain(|environment| {
                let from = schema_source(environment).and_then(|source| source.config_map.as_ref());
                from.is_some_and(|from| from.name == *key.name)
            });
            stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
        })
        .boxed()
}

/// Environments that judge by the certificates in this ConfigMap.
fn named_authorities(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.authorities.changes();
    changes
        .flat_map(move |Change { key, .. }| {
            let mut found = sources.environments(&key.namespace);
            found.retain(|environment| authorities(environment).any(|name| name == &*key.name));
            stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
        })
        .boxed()
}

fn policies(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.backend_tls_policies.changes();
    changes
        .filter_map(move |Change { key, before, after }| {
            let object = ObjectRef::new(ObjectKind::BackendTlsPolicy, &key.name);
            sources.memory.seen(&key.namespace, &object, after.as_ref().map(|view| view.marks.version));
            let owner = after.or(before).and_then(|view| view.marks.owner.clone());
            let found = owner.and_then(|uid| sources.owner(&key.namespace, &uid));
            std::future::ready(found.as_ref().map(reference))
        })
        .boxed()
}

/// Those of environments; most are not.
fn transports(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.servers_transports.changes();
    changes
        .filter_map(move |Change { key, before, after }| {
            let version = after.as_ref().map(|record| record.meta.resource_version.parse().unwrap_or(u64::MAX));
            let object = ObjectRef::new(ObjectKind::ServersTransport, &key.name);
            sources.memory.seen(&key.namespace, &object, version);
            let owner = after.or(before).and_then(|record| record.meta.owner_uid.clone());
            let found = owner.and_then(|uid| sources.owner(&key.namespace, &uid));
            std::future::ready(found.as_ref().map(reference))
        })
        .boxed()
}

/// BackendTLSPolicies or ServersTransports that come or go as a kind concern every environment with a component that speaks TLS.
fn ways_to_speak_tls_come_or_go(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let kinds =
        [sources.caches.backend_tls_policies.presence_changes(), sources.caches.servers_transports.presence_changes()];
    presences(kinds)
        .flat_map(move |()| {
            let speaks = |environment: &Environment| {
                let mut outside = environment.spec.components.iter().filter_map(|it| it.source.external.as_ref());
                outside.any(|external| external.tls.is_some())
            };
            let found = sources.kinds.environments.filter(speaks);
            stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
        })
        .boxed()
}

/// Our own Services, those that components name, and those that come or go and select pods of components.
fn services(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.services.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let version = after.as_ref().map(|record| record.version.parse().unwrap_or(u64::MAX));
            sources.memory.seen(&key.namespace, &ObjectRef::new(ObjectKind::Service, &key.name), version);
            let selects = [&before, &after].into_iter().flatten().any(|record| selects_components(record));
            let comes_or_goes = before.is_none() || after.is_none();
            let concerned = |environment: &Environment| {
                (selects && comes_or_goes)
                    || environment.spec.components.iter().any(|component| match &component.source.service {
                        Some(service) => service.name == *key.name,
                        None => is_object(environment, &component.name, &key.name),
                    })
                    || last_components(environment).any(|name| is_object(environment, name, &key.name))
            };
            let mut found = sources.environments(&key.namespace);
            found.retain(|environment| concerned(environment));
            stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
        })
        .boxed()
}

fn is_object(environment: &Environment, component: &str, object: &str) -> bool {
    let name = environment.metadata.name.as_deref().unwrap_or_default();
    object.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')) == Some(component)
}

fn last_components(environment: &Environment) -> impl Iterator<Item = &str> {
    environment.status.iter().flat_map(|status| status.components.iter().map(|last| last.name.as_str()))
}

/// Endpoints of Services of others, and the addresses that we publish.
fn slices(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.slices.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let view = after.as_ref().and_then(|record| record.view());
            let version = view.as_ref().map(|view| view.meta.resource_version.parse().unwrap_or(u64::MAX));
            if view.is_some() || after.is_none() {
                sources.memory.seen(&key.namespace, &ObjectRef::new(ObjectKind::EndpointSlice, &key.name), version);
            }
            let Some(record) = after.or(before) else { return stream::iter(Vec::new()) };
            let concerned = |environment: &Environment| {
                environment.spec.components.iter().any(|component| match &component.source {
                    source if source.service.is_some() => {
                        source.service.as_ref().is_some_and(|service| service.name == record.service())
                    }
                    source => source.external.is_some() && is_object(environment, &component.name, record.service()),
                })
            };
            let mut found = sources.environments(&key.namespace);
            found.retain(|environment| concerned(environment));
            stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
        })
        .boxed()
}

/// Splits whose use of components changes; that a weight moves is nothing new.
fn splits(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.kinds.splits.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let of = |split: Option<Arc<_>>| split.map(|split| split_use(&split));
            users_changed(&sources, &key, of(before) != of(after))
        })
        .boxed()
}

/// Phases whose way back changes, or in which a person says that a migration is done.
fn phases(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.kinds.phases.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let of = |phase: Option<Arc<_>>| phase.map(|phase| (phase_use(&phase), MigrationEnd::waived(&phase)));
            users_changed(&sources, &key, of(before) != of(after))
        })
        .boxed()
}

/// Ingresses that no split keeps and that may name a component's Service. Most changes are those of weights, by our own hand: they are
/// passed over before anything is looked at.
fn ingresses(sources: &Arc<Sources>) -> Environments {
    let sources = Arc::clone(sources);
    let changes = sources.caches.ingresses.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let free: Vec<_> = [before, after].into_iter().flatten().filter(|record| record.owner.is_none()).collect();
            let mut found = if free.is_empty() { Vec::new() } else { sources.environments(&key.namespace) };
            found.retain(|environment| {
                let prefix = format!("{}-", environment.name_any());
                free.iter().any(|record| record.mentions(&prefix))
            });
            stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
        })
        .boxed()
}

/// Routes of the Gateway API that no split keeps.
fn routes<K: Whole<View = RouteView>>(sources: &Arc<Sources>, index: &Index<WholeRecord<K>>) -> Environments {
    let sources = Arc::clone(sources);
    index
        .changes()
        .flat_map(move |Change { key, before, after }| {
            let free = [&before, &after].into_iter().flatten().any(|record| record.meta.owner_uid.is_none());
            let same = || match (&before, &after) {
                (Some(before), Some(after)) => {
                    before.spec == after.spec && before.meta.owner_uid == after.meta.owner_uid
                }
                _ => false,
            };
            users_changed(&sources, &key, free && !same())
        })
        .boxed()
}

/// Routes of Traefik's and of Istio's kinds that no split keeps.
fn wholes<K: Whole<View = WholeView>>(sources: &Arc<Sources>, index: &Index<WholeRecord<K>>) -> Environments {
    let sources = Arc::clone(sources);
    index
        .changes()
        .flat_map(move |Change { key, before, after }| {
            let free = [&before, &after].into_iter().flatten().any(|record| record.meta.owner_uid.is_none());
            users_changed(&sources, &key, free)
        })
        .boxed()
}

fn users_changed(
    sources: &Sources,
    key: &Key,
    changed: bool,
) -> stream::Iter<std::vec::IntoIter<Reference<Environment>>> {
    let found = if changed { sources.environments(&key.namespace) } else { Vec::new() };
    stream::iter(found.iter().map(|environment| to(environment)).collect::<Vec<_>>())
}
