//! Which splits have to be looked at when something changed. Our own writes are no news.

use std::sync::Arc;

use cutover_api::v1alpha1::{
    Environment, MigrationPhase, TrafficSplit, TrafficSplitSpec, migration_phase::Retired, traffic_split::RouteKind,
};
use cutover_engine::{
    environment::PolicyView,
    router::{
        Meta, ObjectKind, View as _, alb_name, canary_name, made_prefix, mirror_name, redirect_name, weighted_name,
    },
};
use futures::{Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{
    observe::{self, Sources},
    relations::{self, Referred},
};
use crate::{
    caches::{ConfigMapRecord, MayBeLeftBehind, ServersTransport, Whole, WholeRecord},
    cluster::stores::{Change, Index, Key, presences},
    controllers::driver::Triggers,
};

type Splits = Triggers<TrafficSplit>;

fn references(keys: Vec<Key>) -> stream::Iter<impl Iterator<Item = ObjectRef<TrafficSplit>>> {
    stream::iter(keys.into_iter().map(|key| ObjectRef::new(&key.name).within(&key.namespace)))
}

/// The splits concerned by changes of everything else.
pub(super) fn all(sources: &Arc<Sources>, answered: impl Stream<Item = Key> + Send + 'static) -> Splits {
    stream::select_all([
        rivals(sources),
        phases(sources),
        environments(sources),
        services(sources),
        policies(sources),
        transports(sources),
        slices(sources),
        ingresses(sources),
        wholes(sources, &sources.caches.http_routes),
        wholes(sources, &sources.caches.grpc_routes),
        gateways(sources),
        gateway_api(sources),
        wholes(sources, &sources.caches.ingress_routes),
        wholes(sources, &sources.caches.traefik_services),
        wholes(sources, &sources.caches.middlewares),
        wholes(sources, &sources.caches.servers_transports),
        traefik(sources),
        wholes(sources, &sources.caches.virtual_services),
        istio(sources),
        config_maps(sources),
        answered.flat_map(|split| references(vec![split])).boxed(),
    ])
    .boxed()
}

/// Splits that share a host, or a side, with one whose claims changed.
fn rivals(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.kinds.splits.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let same = match (&before, &after) {
                (Some(before), Some(after)) => same_claims(before, after),
                _ => false,
            };
            let mut keys: Vec<Key> = Vec::new();
            if !same {
                let referred = [&before, &after].into_iter().flatten().flat_map(|split| {
                    let hosts = split.spec.hosts.iter().map(|host| Referred::Host(host).within(&key.namespace));
                    hosts.chain(relations::of_sides(&key.namespace, &split.spec))
                });
                keys = referred.flat_map(|one| sources.relations.of(one)).filter(|other| *other != key).collect();
                keys.sort_unstable();
                keys.dedup();
            }
            references(keys)
        })
        .boxed()
}

/// What is said of the sides.
fn said(spec: &TrafficSplitSpec) -> impl PartialEq + '_ {
    (&spec.edge, &spec.mirror, &spec.legacy, &spec.new, &spec.environment)
}

fn same_claims(before: &TrafficSplit, after: &TrafficSplit) -> bool {
    let deleting = |split: &TrafficSplit| split.metadata.deletion_timestamp.is_some();
    let (old, new) = (&before.spec, &after.spec);
    (&old.hosts, &old.paths, &old.routers) == (&new.hosts, &new.paths, &new.routers)
        && said(old) == said(new)
        && deleting(before) == deleting(after)
}

fn retired(phase: &MigrationPhase) -> Option<&Retired> {
    phase.status.as_ref()?.finish.as_ref()?.retired.as_ref()
}

/// Splits that a phase lists, or listed, or whose legacy side it retires.
fn phases(sources: &Arc<Sources>) -> Splits {
    let listed = |phase: &MigrationPhase| -> Vec<String> {
        let requests = phase.status.as_ref().and_then(|status| status.requests.as_ref());
        let asked = requests.iter().flat_map(|requests| &requests.splits).map(|request| request.split.clone());
        asked.chain(retired(phase).iter().flat_map(|retired| retired.splits.clone())).collect()
    };
    let said = |phase: &MigrationPhase| {
        phase
            .status
            .as_ref()
            .map(|status| (status.state, status.attempt, status.request_revision, status.requests.clone()))
            .zip(Some(retired(phase).cloned()))
    };
    sources
        .kinds
        .phases
        .later_changes()
        .flat_map(move |Change { key, before, after }| {
            let unchanged = matches!((&before, &after), (Some(before), Some(after))
                if before.uid() == after.uid() && said(before) == said(after));
            let mut names: Vec<String> =
                [before, after].iter().flatten().filter(|_| !unchanged).flat_map(|phase| listed(phase)).collect();
            names.sort_unstable();
            names.dedup();
            references(names.iter().map(|name| Key::new(&key.namespace, name)).collect())
        })
        .boxed()
}

/// Splits whose components may be reached by other Services now.
fn environments(sources: &Arc<Sources>) -> Splits {
    let said = |environment: &Environment| -> Vec<(String, Option<(String, i32)>)> {
        let declared = environment.spec.components.iter().map(|component| (component.name.clone(), None));
        let reached = environment.status.iter().flat_map(|status| &status.components).map(|component| {
            (component.name.clone(), component.service.as_ref().map(|service| (service.name.clone(), service.port)))
        });
        declared.chain(reached).collect()
    };
    let sources = Arc::clone(sources);
    let changes = sources.kinds.environments.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let same = before.as_deref().map(said) == after.as_deref().map(said);
            let referred = Referred::Environment(&key.name).within(&key.namespace);
            references(if same { Vec::new() } else { sources.relations.of(referred) })
        })
        .boxed()
}

fn services(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.services.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let owner = after.as_ref().or(before.as_ref()).and_then(|record| record.owner.clone());
            let mut keys = sources.relations.of(Referred::Service(&key.name).within(&key.namespace));
            if let Some(owner) = owner {
                let split = Key::new(&key.namespace, &owner);
                if is_news(
                    &sources,
                    &split,
                    ObjectKind::Service,
                    &key.name,
                    before.map(|it| it.version.clone()),
                    after.map(|it| it.version.clone()),
                ) {
                    keys.push(split);
                }
            }
            references(keys)
        })
        .boxed()
}

/// Splits that lead to the Service that a BackendTLSPolicy of an environment is for. What gateways say of it is said of routes, too.
fn policies(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.backend_tls_policies.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let said =
                |view: &Option<Arc<PolicyView>>| view.as_ref().map(|it| (it.marks.owner.clone(), it.marks.deleting));
            let same = said(&before) == said(&after);
            let referred = Referred::Service(&key.name).within(&key.namespace);
            references(if same { Vec::new() } else { sources.relations.of(referred) })
        })
        .boxed()
}

/// Splits that lead to the Service that a ServersTransport of an environment is for.
fn transports(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.servers_transports.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let said = |record: &Option<Arc<WholeRecord<ServersTransport>>>| {
                record.as_ref().map(|it| (it.meta.owner_uid.clone(), it.meta.deleting, it.spec.clone()))
            };
            let same = said(&before) == said(&after);
            let referred = Referred::Service(&key.name).within(&key.namespace);
            references(if same { Vec::new() } else { sources.relations.of(referred) })
        })
        .boxed()
}

fn slices(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.slices.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let mut keys = Vec::new();
            for service in [&before, &after].into_iter().flatten().map(|slice| slice.service()) {
                keys.extend(sources.relations.of(Referred::Service(service).within(&key.namespace)));
                if let Some(split) = aliased(service)
                    && sources.kinds.splits.get(&key.namespace, split).is_some()
                {
                    keys.push(Key::new(&key.namespace, split));
                }
            }
            keys.sort_unstable();
            keys.dedup();
            references(keys)
        })
        .boxed()
}

/// The split whose alias a Service of this name is.
fn aliased(service: &str) -> Option<&str> {
    observe::aliases("").find_map(|suffix| service.strip_suffix(&suffix))
}

/// Splits that share a host with a route that was left behind, or is so no more.
fn beside<R: MayBeLeftBehind>(sources: &Sources, namespace: &str, before: Option<&R>, after: Option<&R>) -> Vec<Key> {
    let left = [before, after].into_iter().flatten().filter_map(|record| record.left_behind(""));
    let hosts: Vec<String> = left.flat_map(|route| route.hosts).collect();
    hosts.iter().flat_map(|host| sources.relations.of(Referred::Host(host).within(namespace))).collect()
}

fn ingresses(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.ingresses.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let owner = after.as_ref().or(before.as_ref()).and_then(|record| record.owner.clone());
            let mut keys = sources.relations.of(Referred::Ingress(&key.name).within(&key.namespace));
            keys.extend(beside(&sources, &key.namespace, before.as_deref(), after.as_deref()));
            if let Some(owner) = owner {
                let split = Key::new(&key.namespace, &owner);
                if is_news(
                    &sources,
                    &split,
                    ObjectKind::Ingress,
                    &key.name,
                    before.map(|it| it.version.clone()),
                    after.map(|it| it.version.clone()),
                ) {
                    keys.push(split);
                }
            } else {
                keys.extend(sources.relations.of(Referred::AnyIngress.within(&key.namespace)));
                keys.push(unmarked(&key));
            }
            references(keys)
        })
        .boxed()
}

/// Routes of a kind whose spec is kept whole.
fn wholes<K: Whole>(sources: &Arc<Sources>, index: &Index<WholeRecord<K>>) -> Splits {
    let sources = Arc::clone(sources);
    index
        .changes()
        .flat_map(move |Change { key, before, after }| {
            let beside = beside(&sources, &key.namespace, before.as_deref(), after.as_deref());
            let meta = |record: &Arc<WholeRecord<K>>| (***record).meta().clone();
            let (before, after) = (before.as_ref().map(meta), after.as_ref().map(meta));
            let owner = after.as_ref().or(before.as_ref()).and_then(|meta| meta.owner_name.clone());
            let version = |meta: Option<Meta>| meta.map(|it| it.resource_version);
            let (before, after) = (version(before), version(after));
            // One that a split attaches to is written by us too.
            let mut keys = match K::KIND {
                ObjectKind::HttpRoute => {
                    sources.relations.of(Referred::Route(RouteKind::Http, &key.name).within(&key.namespace))
                }
                ObjectKind::GrpcRoute => {
                    sources.relations.of(Referred::Route(RouteKind::Grpc, &key.name).within(&key.namespace))
                }
                ObjectKind::TraefikService => {
                    sources.relations.of(Referred::TraefikService(&key.name).within(&key.namespace))
                }
                ObjectKind::VirtualService => {
                    sources.relations.of(Referred::VirtualService(&key.name).within(&key.namespace))
                }
                _ => Vec::new(),
            };
            keys.extend(match owner {
                Some(owner) => Some(Key::new(&key.namespace, &owner)),
                None if K::KIND.is_accessory() => unmarked_accessory(&key),
                None => Some(unmarked(&key)),
            });
            keys.sort_unstable();
            keys.dedup();
            keys.retain(|split| is_news(&sources, split, K::KIND, &key.name, before.clone(), after.clone()));
            keys.extend(beside);
            references(keys)
        })
        .boxed()
}

/// A route without our mark may lie in the way of the split of its name. kube drops references to what does not exist.
fn unmarked(key: &Key) -> Key {
    let suffixes = [canary_name(""), weighted_name(""), alb_name(""), redirect_name(""), mirror_name("")];
    let name = suffixes.iter().find_map(|suffix| key.name.strip_suffix(suffix.as_str())).unwrap_or(&key.name);
    Key::new(&key.namespace, name)
}

/// So may a Middleware or a ServersTransport; most of them are no concern of ours.
fn unmarked_accessory(key: &Key) -> Option<Key> {
    let (split, _) = key.name.rsplit_once(made_prefix("").as_str())?;
    Some(Key::new(&key.namespace, split))
}

/// ConfigMaps that Ingresses of splits name.
fn config_maps(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.config_maps.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let meta = |record: &Option<Arc<ConfigMapRecord>>| match record.as_deref() {
                Some(ConfigMapRecord::Split(view)) => Some(view.meta.clone()),
                Some(ConfigMapRecord::Environment(_) | ConfigMapRecord::Flags(_)) | None => None,
            };
            let (before, after) = (meta(&before), meta(&after));
            let owner = after.as_ref().or(before.as_ref()).and_then(|meta| meta.owner_name.clone());
            let version = |meta: Option<Meta>| meta.map(|it| it.resource_version);
            let (before, after) = (version(before), version(after));
            let mut keys: Vec<Key> = owner.iter().map(|owner| Key::new(&key.namespace, owner)).collect();
            keys.retain(|split| {
                is_news(&sources, split, ObjectKind::ConfigMap, &key.name, before.clone(), after.clone())
            });
            references(keys)
        })
        .boxed()
}

fn is_news(
    sources: &Sources,
    split: &Key,
    kind: ObjectKind,
    name: &str,
    before: Option<Box<str>>,
    after: Option<Box<str>>,
) -> bool {
    match (before, after) {
        (_, Some(version)) => !sources.memory.route_seen(split, kind, name, &version),
        (Some(version), None) => !sources.memory.route_gone(split, kind, name, &version),
        (None, None) => false,
    }
}

fn gateways(sources: &Arc<Sources>) -> Splits {
    let sources = Arc::clone(sources);
    let changes = sources.caches.gateways.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let said = |record: &Option<Arc<crate::caches::GatewayRecord>>| {
                record.as_ref().map(|it| (it.class_name.clone(), it.programmed.clone(), it.meta.generation))
            };
            let same = said(&before) == said(&after);
            let referred = Referred::Gateway(&key.name).within(&key.namespace);
            references(if same { Vec::new() } else { sources.relations.of(referred) })
        })
        .boxed()
}

/// A class that changed, and the Gateway API that comes or goes, concern every split on it.
fn gateway_api(sources: &Arc<Sources>) -> Splits {
    let classes = sources.caches.gateway_classes.changes().map(|_| ()).boxed();
    let comes_or_goes = presences([
        sources.caches.http_routes.presence_changes(),
        sources.caches.grpc_routes.presence_changes(),
        sources.caches.gateways.presence_changes(),
        sources.caches.gateway_classes.presence_changes(),
    ]);
    let sources = Arc::clone(sources);
    stream::select(comes_or_goes, classes)
        .flat_map(move |()| references(sources.relations.of(Referred::GatewayApi.within(""))))
        .boxed()
}

/// Traefik's kinds that come or go concern every split on them.
fn traefik(sources: &Arc<Sources>) -> Splits {
    let comes_or_goes = presences([
        sources.caches.ingress_routes.presence_changes(),
        sources.caches.traefik_services.presence_changes(),
        sources.caches.middlewares.presence_changes(),
        sources.caches.servers_transports.presence_changes(),
    ]);
    let sources = Arc::clone(sources);
    comes_or_goes.flat_map(move |()| references(sources.relations.of(Referred::Traefik.within("")))).boxed()
}

/// So it is with Istio's.
fn istio(sources: &Arc<Sources>) -> Splits {
    let comes_or_goes = presences([sources.caches.virtual_services.presence_changes()]);
    let sources = Arc::clone(sources);
    comes_or_goes.flat_map(move |()| references(sources.relations.of(Referred::Istio.within("")))).boxed()
}
