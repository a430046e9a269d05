//! Reads what a split is decided by: from the caches, and what a cache must not be believed in, from the API server.

mod lists;

use std::{collections::HashMap, sync::Arc};

use cutover_api::v1alpha1::{
    MigrationPhase, TrafficSplit,
    migration_phase::{MigrationPhaseStatus, PhaseState, SplitRequest},
    traffic_split::{AddedEntry, RouteKind, Router, Side},
};
use cutover_engine::{
    Known,
    router::{
        self, EndpointSliceView, GatewayClassView, GatewayView, IngressView, Meta, ObjectKind, RouteView, ServiceView,
        Unseen, WholeView, alb_name, alias_name, canary_name, made_prefix, mirror_name, redirect_name, route_name,
        sticky_name, weighted_name,
    },
    traffic_split::{
        Claim, Claimant, LeftBehind, Probed, Retirement, RouteBaseline, ServiceFacts, SliceFacts, Target, retirement,
        targets, without_legacy,
    },
};
use kube::{Api, Client, ResourceExt};

use super::{
    Error,
    memory::{Answer, Memory},
    relations::{self, Referred, Relations},
    sampled::Sampled,
    watched::Watched,
};
use crate::{
    caches::{Caches, Kinds, SliceRecord},
    cluster::stores::{Key, Presence},
};

pub(super) use lists::Lists;

/// Where a split is observed.
pub(super) struct Sources {
    pub(super) client: Client,
    pub(super) kinds: Kinds,
    pub(super) caches: Caches,
    pub(super) relations: Relations,
    pub(super) memory: Memory,
    pub(super) watched: Watched,
    pub(super) sampled: Sampled,
    /// The namespaces that are watched; none named: all.
    pub(super) namespaces: Vec<String>,
}

/// What was observed of a split and around it, owned. Answers to our writes are put in their place.
pub(super) struct Snapshot {
    /// Without a legacy side when that is retired.
    pub(super) split: Arc<TrafficSplit>,
    pub(super) retirement: Option<Retirement>,
    pub(super) claims: Vec<Claim>,
    pub(super) absent: Vec<String>,
    pub(super) targets: [Known<Target>; 2],
    sides: [SideSnapshot; 2],
    /// What they say when they are asked.
    pub(super) probed: [Probed; 2],
    others: Vec<Arc<TrafficSplit>>,
    ingresses: Vec<IngressView>,
    /// Routes of the Gateway API.
    routes: Vec<(ObjectKind, RouteView)>,
    services: Vec<ServiceView>,
    alias_slices: Vec<EndpointSliceView>,
    /// By alias Service, whether it has ready endpoints.
    alias_ready: HashMap<Box<str>, bool>,
    gateways: Vec<GatewayView>,
    classes: Vec<GatewayClassView>,
    /// Objects of the kinds whose spec is kept whole.
    wholes: Vec<(ObjectKind, WholeView)>,
    /// Routes that deleted splits of other names left behind.
    pub(super) left_behind: Vec<LeftBehind>,
    /// Which of our writes proxies may not have seen yet.
    pub(super) unseen: Unseen,
    http_routes_served: Served,
    grpc_routes_served: Served,
    traefik_served: Served,
    accessories_served: Served,
    istio_served: Served,
    gateways_readable: bool,
    /// Others keep writing the routes: what they changed is left as it is for a while.
    pub(super) backed_off: bool,
}

/// Whether the kinds that a router needs are there to be read.
#[derive(Clone, Copy)]
struct Served {
    installed: Known<bool>,
    forbidden: bool,
}

impl Served {
    /// All of them are needed.
    fn of(presences: &[Presence]) -> Self {
        let any = |presence| presences.contains(&presence);
        let forbidden = any(Presence::Forbidden);
        let installed = if any(Presence::Missing) {
            Known::Known(false)
        } else if forbidden || any(Presence::Unknown) {
            Known::Unknown
        } else {
            Known::Known(true)
        };
        Self { installed, forbidden }
    }
}

struct SideSnapshot {
    service: Known<Option<ServiceView>>,
    /// UID of the Environment that made the BackendTLSPolicy of its name.
    policy_of: Option<String>,
    /// The ServersTransport of its name.
    transport: Option<WholeView>,
    slices: Vec<(Arc<SliceRecord>, Option<EndpointSliceView>)>,
}

impl Sources {
    /// Observes a split as it is known best.
    pub(super) fn observe(&self, key: &Key, split: Arc<TrafficSplit>) -> Snapshot {
        let retirement = self.retirement(key, &split);
        let split = in_force(split, retirement.as_ref());
        let (namespace, spec) = (&*key.namespace, &split.spec);
        let environment = spec.environment.as_deref().map(|name| self.kinds.environments.get(namespace, name));
        let environment = match (&environment, self.kinds.environments.presence()) {
            (Some(None), Presence::Unknown) => Known::Unknown,
            (Some(found), _) => Known::Known(found.as_deref()),
            (None, _) => Known::Known(None),
        };
        let targets = targets(spec, environment);
        // Before the Services are read, so that a change of theirs that is not seen here is a change to come.
        let mut referred = relations::of_spec(namespace, spec);
        referred.extend(relations::of_targets(namespace, &targets));
        self.relations.set(key, referred);
        let sides = [self.side(namespace, &targets[0]), self.side(namespace, &targets[1])];
        let mut snapshot = Snapshot {
            claims: self.claims(key, &split),
            absent: Vec::new(),
            sides,
            probed: self.watched.ask(key, spec),
            others: self.others(key, &split),
            ingresses: Vec::new(),
            routes: Vec::new(),
            services: Vec::new(),
            alias_slices: Vec::new(),
            alias_ready: HashMap::new(),
            gateways: Vec::new(),
            classes: Vec::new(),
            wholes: Vec::new(),
            left_behind: self.caches.left_behind(&key.namespace, &key.name),
            unseen: Unseen::default(),
            http_routes_served: Served::of(&[self.caches.http_routes.presence()]),
            grpc_routes_served: Served::of(&[self.caches.grpc_routes.presence()]),
            traefik_served: Served::of(&self.caches.traefik()),
            accessories_served: Served::of(&self.caches.traefik_accessories()),
            istio_served: Served::of(&[self.caches.virtual_services.presence()]),
            gateways_readable: self.caches.gateways.presence() == Presence::Listed
                && self.caches.gateway_classes.presence() == Presence::Listed,
            backed_off: false,
            targets,
            split,
            retirement,
        };
        self.routes(key, &mut snapshot);
        snapshot
    }

    fn side(&self, namespace: &str, target: &Known<Target>) -> SideSnapshot {
        let Known::Known(Target::Service { name, .. }) = target else {
            let service = Known::Known(None);
            return SideSnapshot { service, policy_of: None, transport: None, slices: Vec::new() };
        };
        let service = self.caches.services.get(namespace, name).map(|record| record.view());
        let service = if service.is_none() && self.caches.services.presence() != Presence::Listed {
            Known::Unknown
        } else {
            Known::Known(service)
        };
        let slices = self.caches.slices.group(namespace, name);
        let policy = self.caches.backend_tls_policies.get(namespace, name).filter(|policy| !policy.marks.deleting);
        SideSnapshot {
            service,
            policy_of: policy.and_then(|policy| policy.marks.owner.clone()),
            transport: self.caches.whole(ObjectKind::ServersTransport, namespace, name),
            slices: slices
                .into_iter()
                .map(|(_, slice)| {
                    let view = slice.view();
                    (slice, view)
                })
                .collect(),
        }
    }

    /// Other splits of the namespace that share a host, or a side.
    fn others(&self, key: &Key, split: &TrafficSplit) -> Vec<Arc<TrafficSplit>> {
        let mut keys: Vec<Key> = split
            .spec
            .hosts
            .iter()
            .map(|host| Referred::Host(host).within(&key.namespace))
            .chain(split.spec.routers.iter().filter_map(|router| {
                let router = router.gateway_api.as_ref()?;
                Some(Referred::Route(router.route_kind, &router.attach.as_ref()?.route).within(&key.namespace))
            }))
            .chain(split.spec.routers.iter().filter_map(|router| {
                let attach = router.traefik.as_ref()?.attach.as_ref()?;
                Some(Referred::TraefikService(&attach.service).within(&key.namespace))
            }))
            .chain(split.spec.routers.iter().filter_map(|router| {
                let attach = router.istio.as_ref()?.attach.as_ref()?;
                Some(Referred::VirtualService(&attach.virtual_service).within(&key.namespace))
            }))
            .chain(relations::of_sides(&key.namespace, &split.spec))
            .flat_map(|referred| self.relations.of(referred))
            .filter(|other| other != key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.iter()
            .filter_map(|other| self.kinds.splits.get(&other.namespace, &other.name))
            .filter(|other| other.metadata.deletion_timestamp.is_none())
            .collect()
    }

    /// What phases say: those that hold the split, and the one that is on record as its holder.
    fn claims(&self, key: &Key, split: &TrafficSplit) -> Vec<Claim> {
        let holder = split.status.as_ref().and_then(|status| status.holder.as_ref()).map(|holder| holder.uid.as_str());
        self.kinds
            .phases
            .filter(|phase| {
                phase.metadata.namespace.as_deref() == Some(&*key.namespace)
                    && (request_of(phase, &key.name).is_some() || phase.metadata.uid.as_deref() == holder)
            })
            .iter()
            .map(|phase| claim_of(phase, &key.name, false))
            .collect()
    }

    /// Whether the legacy side is retired, or to be, by the split's own record or that of a phase.
    fn retirement(&self, key: &Key, split: &TrafficSplit) -> Option<Retirement> {
        let status = split.status.as_ref()?;
        let finished = |phase: &MigrationPhase| {
            phase.metadata.namespace.as_deref() == Some(&*key.namespace)
                && phase.status.as_ref().is_some_and(|status| status.finish.is_some())
        };
        let phases = self.kinds.phases.filter(finished);
        let said = phases.iter().filter_map(|phase| {
            let status = phase.status.as_ref()?;
            Some((phase.metadata.name.as_deref()?, status.state, status.finish.as_ref()?))
        });
        retirement(&key.name, &split.spec, status, said)
    }

    /// Reads the phase in doubt from the API server itself.
    pub(super) async fn confirm(&self, key: &Key, phase: &str, snapshot: &mut Snapshot) -> Result<(), Error> {
        let api: Api<MigrationPhase> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = api.get_opt(phase).await.map_err(|source| Error::ReadPhase { phase: phase.to_owned(), source })?;
        snapshot.claims.retain(|claim| claim.phase != phase);
        match found {
            Some(found) => snapshot.claims.push(claim_of(&found, &key.name, true)),
            None => snapshot.absent.push(phase.to_owned()),
        }
        Ok(())
    }

    /// The routes of all routers, ours and those that the split attaches to, and what they hang on.
    fn routes(&self, key: &Key, snapshot: &mut Snapshot) {
        let split = Arc::clone(&snapshot.split);
        let (namespace, name) = (&*key.namespace, &*key.name);
        let attached = |router: &Router| Some(router.ingress_nginx.as_ref()?.attach.as_ref()?.ingress.clone());
        for name in [route_name(name), canary_name(name), alb_name(name)]
            .into_iter()
            .chain(split.spec.routers.iter().filter_map(attached))
        {
            let cached = self.caches.ingresses.get(namespace, &name).map(|record| record.view());
            snapshot.ingresses.extend(self.newest(key, ObjectKind::Ingress, &name, cached, |answer| match answer {
                Answer::Ingress(view) => Some(view),
                _ => None,
            }));
        }
        if split.spec.routers.iter().any(|router| attached(router).is_some()) {
            self.neighbours(namespace, snapshot);
        }
        let attached = |router: &Router| {
            let router = router.gateway_api.as_ref()?;
            Some((router.route_kind, router.attach.as_ref()?.route.clone()))
        };
        let mut names = vec![
            (RouteKind::Http, route_name(name)),
            (RouteKind::Http, redirect_name(name)),
            (RouteKind::Grpc, route_name(name)),
        ];
        names.extend(split.spec.routers.iter().filter_map(attached));
        names.extend(added_to(&split, "HTTPRoute/").map(|name| (RouteKind::Http, name)));
        names.extend(added_to(&split, "GRPCRoute/").map(|name| (RouteKind::Grpc, name)));
        names.sort_unstable();
        names.dedup();
        for (kind, name) in names {
            let cached = self.caches.route(kind, namespace, &name);
            let found = self.newest(key, kind.into(), &name, cached, |answer| match answer {
                Answer::Route(view) => Some(view),
                _ => None,
            });
            snapshot.routes.extend(found.map(|view| (kind.into(), view)));
        }
        let mut wholes = vec![
            (ObjectKind::IngressRoute, route_name(name)),
            (ObjectKind::IngressRoute, redirect_name(name)),
            (ObjectKind::TraefikService, weighted_name(name)),
            (ObjectKind::TraefikService, mirror_name(name)),
            (ObjectKind::VirtualService, route_name(name)),
        ];
        let attached = |router: &Router| Some(router.traefik.as_ref()?.attach.as_ref()?.service.clone());
        let services = split.spec.routers.iter().filter_map(attached);
        wholes.extend(services.map(|name| (ObjectKind::TraefikService, name)));
        let prefix = made_prefix(name);
        wholes.extend(
            self.caches.accessories(namespace, &prefix).into_iter().map(|(kind, name)| (kind, name.to_string())),
        );
        // Just made, they are not in the caches yet.
        for kind in [ObjectKind::Middleware, ObjectKind::ServersTransport, ObjectKind::ConfigMap] {
            wholes.extend(self.memory.names(key, kind, &prefix).into_iter().map(|name| (kind, name.into_string())));
        }
        let attached = |router: &Router| Some(router.istio.as_ref()?.attach.as_ref()?.virtual_service.clone());
        let services = split.spec.routers.iter().filter_map(attached).chain(added_to(&split, "VirtualService/"));
        wholes.extend(services.map(|name| (ObjectKind::VirtualService, name)));
        wholes.sort_unstable();
        wholes.dedup();
        for (kind, name) in wholes {
            let cached = self.caches.whole(kind, namespace, &name);
            let found = self.newest(key, kind, &name, cached, |answer| match answer {
                Answer::Whole(view) => Some(view),
                _ => None,
            });
            snapshot.wholes.extend(found.map(|view| (kind, view)));
        }
        self.aliases(key, snapshot);
        self.gateways(namespace, &split, snapshot);
    }

    /// What the cache shows, or the answer to our own write if that is newer.
    fn newest<V: router::View>(
        &self,
        key: &Key,
        kind: ObjectKind,
        name: &str,
        cached: Option<V>,
        take: impl Fn(Answer) -> Option<V>,
    ) -> Option<V> {
        match self.memory.route(key, kind, name, cached.as_ref().map(router::View::meta)) {
            Some(answer) => take(answer),
            None => cached,
        }
    }

    /// Ingresses that share the legacy Service or a host with an attached split.
    fn neighbours(&self, namespace: &str, snapshot: &mut Snapshot) {
        let legacy = match &snapshot.targets[0] {
            Known::Known(Target::Service { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        let words: Vec<&str> = snapshot.split.spec.hosts.iter().map(String::as_str).chain(legacy).collect();
        let known = |name: &str| snapshot.ingresses.iter().any(|ingress| &*ingress.meta.name == name);
        let found: Vec<IngressView> = self
            .caches
            .ingresses
            .in_namespace(namespace)
            .into_iter()
            .filter(|(name, record)| !known(name) && words.iter().any(|word| record.mentions(word)))
            .map(|(_, record)| record.view())
            .collect();
        snapshot.ingresses.extend(found);
    }

    fn aliases(&self, key: &Key, snapshot: &mut Snapshot) {
        let (namespace, split) = (&*key.namespace, &*key.name);
        for name in aliases(split) {
            let cached = self.caches.services.get(namespace, &name).map(|record| record.view());
            let service = self.newest(key, ObjectKind::Service, &name, cached, |answer| match answer {
                Answer::Service(view) => Some(view),
                _ => None,
            });
            let Some(service) = service else { continue };
            let slices = self.caches.slices.group(namespace, &name);
            let mut ready = slices.iter().any(|(_, slice)| slice.ready > 0);
            // Ours are those made by hand; the others are made from the pods of an alias with a selector.
            let mut names: Vec<Box<str>> = self.memory.names(key, ObjectKind::EndpointSlice, &name);
            names.extend(slices.iter().filter(|(_, slice)| slice.view().is_some()).map(|(name, _)| Box::from(&**name)));
            names.sort_unstable();
            names.dedup();
            for slice_name in names {
                let cached =
                    slices.iter().find(|(slice, _)| **slice == *slice_name).and_then(|(_, slice)| slice.view());
                let slice = self.newest(key, ObjectKind::EndpointSlice, &slice_name, cached, |answer| match answer {
                    Answer::EndpointSlice(view) => Some(view),
                    _ => None,
                });
                ready |= slice.iter().flat_map(|slice| &slice.endpoints).any(|endpoint| endpoint.ready);
                snapshot.alias_slices.extend(slice);
            }
            snapshot.services.push(service);
            snapshot.alias_ready.insert(name.into(), ready);
        }
    }

    fn gateways(&self, namespace: &str, split: &TrafficSplit, snapshot: &mut Snapshot) {
        let declared = split.spec.routers.iter().filter_map(|router| router.gateway_api.as_ref());
        let mut wanted: Vec<(String, String)> = declared
            .flat_map(|router| router.parent_refs.iter().flatten())
            .map(|parent| (parent.namespace.clone().unwrap_or_else(|| namespace.to_owned()), parent.name.clone()))
            .collect();
        // Those of a route that is attached to, by its spec: its status names none before one of them has spoken.
        wanted.extend(snapshot.routes.iter().flat_map(|(_, route)| {
            let spec = route.spec.value();
            let parents = spec.get("parentRefs").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
            parents.into_iter().filter_map(|parent| {
                let text = |field: &str| parent.get(field).and_then(serde_json::Value::as_str).map(str::to_owned);
                Some((text("namespace").unwrap_or_else(|| namespace.to_owned()), text("name")?))
            })
        }));
        wanted.sort_unstable();
        wanted.dedup();
        for (namespace, name) in wanted {
            // What is not watched cannot be missed.
            snapshot.gateways_readable &= self.namespaces.is_empty() || self.namespaces.contains(&namespace);
            let Some(gateway) = self.caches.gateways.get(&namespace, &name) else { continue };
            if let Some(class) = self.caches.gateway_classes.get("", &gateway.class_name)
                && !snapshot.classes.iter().any(|known| known.meta.name == class.meta.name)
            {
                snapshot.classes.push((**class).clone());
            }
            snapshot.gateways.push((**gateway).clone());
        }
    }
}

/// Entries that the split has added to rules of others.
pub(super) fn added(split: &TrafficSplit) -> impl Iterator<Item = &AddedEntry> {
    split.status.iter().flat_map(|status| &status.added)
}

/// The names of the objects of a kind, given as `Kind/`, that have them.
fn added_to(split: &TrafficSplit, kind: &str) -> impl Iterator<Item = String> {
    added(split).filter_map(move |entry| entry.object.strip_prefix(kind).map(str::to_owned))
}

/// The alias Services that a split may have.
pub(super) fn aliases(split: &str) -> impl Iterator<Item = String> {
    let sides = [Side::Legacy, Side::New].into_iter();
    let of_sides = sides.flat_map(move |side| [alias_name(split, side), sticky_name(split, side)]);
    of_sides.chain([mirror_name(split)])
}

/// What a phase asks of a split, if its state holds anything and it lists the split.
pub(super) fn request_of<'a>(phase: &'a MigrationPhase, split: &str) -> Option<&'a SplitRequest> {
    let status = phase.status.as_ref().filter(|status| status.state.is_some_and(PhaseState::holds))?;
    status.requests.as_ref()?.splits.iter().find(|request| request.split == split)
}

fn claim_of(phase: &MigrationPhase, split: &str, confirmed: bool) -> Claim {
    let empty = MigrationPhaseStatus::default();
    let status = phase.status.as_ref().unwrap_or(&empty);
    let uid = phase.uid().unwrap_or_default();
    let baseline = status.baseline.as_ref().and_then(|baseline| baseline.splits.iter().find(|it| it.split == split));
    let baseline = baseline.and_then(|baseline| baseline.new_weight);
    let baseline = baseline.and_then(|new_weight| RouteBaseline { phase_uid: uid.clone(), new_weight }.text());
    Claim {
        phase: phase.name_any(),
        uid,
        attempt: status.attempt.unwrap_or_default(),
        revision: status.request_revision.unwrap_or_default(),
        request: request_of(phase, split).cloned(),
        baseline,
        confirmed,
    }
}

/// The split as it counts: without a legacy side when that is retired.
fn in_force(split: Arc<TrafficSplit>, retirement: Option<&Retirement>) -> Arc<TrafficSplit> {
    if !retirement.is_some_and(Retirement::is_done) {
        return split;
    }
    let spec = without_legacy(&split.spec, &split.status.clone().unwrap_or_default());
    Arc::new(TrafficSplit { spec, ..(*split).clone() })
}

impl Snapshot {
    /// The split as the API server has it now.
    pub(super) fn take(&mut self, split: Arc<TrafficSplit>) {
        self.split = in_force(split, self.retirement.as_ref());
    }

    /// This split among the others, and the others.
    pub(super) fn claimants(&self) -> (Claimant<'_>, Vec<Claimant<'_>>) {
        (claimant(&self.split), self.others.iter().map(|other| claimant(other)).collect())
    }

    /// What is observed of the sides' EndpointSlices: as [`Self::facts`] wants them.
    pub(super) fn slices<'a>(&'a self) -> [Vec<SliceFacts<'a>>; 2] {
        let [legacy, new] = &self.sides;
        [legacy, new].map(|side| {
            let facts = |(record, view): &'a (Arc<SliceRecord>, Option<EndpointSliceView>)| SliceFacts {
                address_type: record.address_type(),
                ready: record.ready,
                ports: view.as_ref().map(|view| &*view.ports).unwrap_or_default(),
                endpoints: view.as_ref().map(|view| &*view.endpoints).unwrap_or_default(),
            };
            side.slices.iter().map(facts).collect()
        })
    }

    /// What is observed of the sides' Services.
    pub(super) fn facts<'a>(&'a self, slices: &'a [Vec<SliceFacts<'a>>; 2]) -> [ServiceFacts<'a>; 2] {
        let facts = |side: &'a SideSnapshot, slices: &'a Vec<SliceFacts<'a>>| ServiceFacts {
            service: side.service.as_ref().map(Option::as_ref),
            slices: Known::Known(slices.as_slice()),
            policy_of: side.policy_of.as_deref(),
            transport: side.transport.as_ref(),
        };
        let ([legacy, new], [legacy_slices, new_slices]) = (&self.sides, slices);
        [facts(legacy, legacy_slices), facts(new, new_slices)]
    }

    /// Whether a managed object of this kind is there and was made for the split.
    pub(super) fn owns(&self, kind: ObjectKind, uid: &str) -> bool {
        let owned = |meta: &Meta| meta.is_owned_by(uid);
        match kind {
            ObjectKind::Ingress => self.ingresses.iter().any(|view| owned(&view.meta)),
            ObjectKind::HttpRoute | ObjectKind::GrpcRoute => {
                self.routes.iter().any(|(of, view)| *of == kind && owned(&view.meta))
            }
            ObjectKind::Service => self.services.iter().any(|view| owned(&view.meta)),
            ObjectKind::EndpointSlice => self.alias_slices.iter().any(|view| owned(&view.meta)),
            ObjectKind::IngressRoute
            | ObjectKind::TraefikService
            | ObjectKind::VirtualService
            | ObjectKind::Middleware
            | ObjectKind::ServersTransport
            | ObjectKind::ConfigMap => self.wholes.iter().any(|(of, view)| *of == kind && owned(&view.meta)),
        }
    }

    /// Puts an answer of the API server in the place of what was observed.
    pub(super) fn replace(&mut self, kind: ObjectKind, name: &str, answer: Answer) {
        match kind {
            ObjectKind::Ingress => self.ingresses.retain(|view| &*view.meta.name != name),
            ObjectKind::HttpRoute | ObjectKind::GrpcRoute => {
                self.routes.retain(|(of, view)| *of != kind || &*view.meta.name != name);
            }
            ObjectKind::Service => self.services.retain(|view| &*view.meta.name != name),
            ObjectKind::EndpointSlice => self.alias_slices.retain(|view| &*view.meta.name != name),
            ObjectKind::IngressRoute
            | ObjectKind::TraefikService
            | ObjectKind::VirtualService
            | ObjectKind::Middleware
            | ObjectKind::ServersTransport
            | ObjectKind::ConfigMap => {
                self.wholes.retain(|(of, view)| *of != kind || &*view.meta.name != name);
            }
        }
        match answer {
            Answer::Ingress(view) => self.ingresses.push(view),
            Answer::Route(view) => self.routes.push((kind, view)),
            Answer::Whole(view) => self.wholes.push((kind, view)),
            Answer::Service(view) => {
                // Just made: it has no endpoints of its own until a cache shows them.
                self.alias_ready.entry(view.meta.name.clone()).or_default();
                self.services.push(view);
            }
            Answer::EndpointSlice(view) => {
                *self.alias_ready.entry(view.service.clone()).or_default() |=
                    view.endpoints.iter().any(|endpoint| endpoint.ready);
                self.alias_slices.push(view);
            }
            Answer::Deleted(_) => {}
        }
    }
}

fn claimant(split: &TrafficSplit) -> Claimant<'_> {
    Claimant {
        name: split.metadata.name.as_deref().unwrap_or_default(),
        created: split.metadata.creation_timestamp.as_ref().map(|created| created.0),
        spec: &split.spec,
    }
}
