//! Routes that go: those of a split that is deleted, and those of routers that left its spec.

use std::{collections::BTreeMap, sync::Arc};

use cutover_api::{
    labels::{FINALIZER_TRAFFIC_SPLIT, MANAGER_TRAFFIC_SPLIT},
    v1alpha1::{
        TrafficSplit,
        traffic_split::{
            AddedEntry, AlbRouter, GatewayApiRouter, IngressNginxRouter, IstioRouter, OnDelete, RouteKind, Router,
            RouterKind, TraefikRouter,
        },
    },
};
use cutover_engine::{
    Known,
    router::{self, ObjectKind, RouteStep, SplitRef},
    traffic_split::{Plan, Validated, router_of},
};
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context, ROUNDS, apply,
    observe::{Snapshot, added},
    rounds,
};
use crate::{
    cluster::{finalizer, stores::Key},
    controllers::{Error, driver::OUTDATED},
};

impl Context {
    /// The split is being deleted: its routes are released or removed, then it may go.
    pub(super) async fn retire(&self, key: &Key, split: Arc<TrafficSplit>) -> Result<Action, Error> {
        if !finalizer::is_on(&*split, FINALIZER_TRAFFIC_SPLIT) {
            return Ok(Action::await_change());
        }
        let mut snapshot = self.sources.observe(key, split);
        for _ in 0..ROUNDS {
            let steps = farewell(&snapshot);
            if steps.is_empty() {
                let uid = snapshot.split.uid().unwrap_or_default();
                if snapshot.lingers(&uid) && snapshot.owns(ObjectKind::Service, &uid) {
                    // What it leads to goes after it.
                    return Ok(Action::await_change());
                }
                let all = added(&snapshot.split).cloned().collect();
                self.detach(key, &mut snapshot, all).await?;
                let (client, split) = (&self.sources.client, &*snapshot.split);
                let freed = finalizer::take_off(client, MANAGER_TRAFFIC_SPLIT, split, FINALIZER_TRAFFIC_SPLIT).await;
                return freed.map(|()| Action::await_change()).map_err(Error::Finalizer);
            }
            let (answers, result) = apply::apply(&self.sources.client, &key.namespace, steps).await;
            self.take(key, &mut snapshot, answers);
            result?;
        }
        Ok(Action::requeue(OUTDATED))
    }

    /// Takes out of rules of others what the split added to them, where nothing moves by it, and says of which entries nothing is left to
    /// be done. What refuses that keeps neither the split nor its other routes.
    pub(super) async fn detach(
        &self,
        key: &Key,
        snapshot: &mut Snapshot,
        entries: Vec<AddedEntry>,
    ) -> Result<Vec<AddedEntry>, Error> {
        let mut done = Vec::new();
        for entry in entries {
            match detached(snapshot, &entry) {
                Known::Unknown => {}
                Known::Known(None) => done.push(entry),
                Known::Known(Some(step)) => {
                    let (answers, result) = apply::apply(&self.sources.client, &key.namespace, vec![step]).await;
                    self.take(key, snapshot, answers);
                    match result {
                        Ok(()) => done.push(entry),
                        Err(error) if !error.is_retryable() => {
                            tracing::warn!(split = %key, %error, "an attached route keeps an entry without weight");
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(done)
    }
}

/// What takes an entry of the split's out of a rule of somebody else's.
fn detached(snapshot: &Snapshot, added: &AddedEntry) -> Known<Option<RouteStep>> {
    let Known::Known(sides) = rounds::validated(snapshot).sides else { return Known::Unknown };
    let Some(router) = router_of(added) else { return Known::Known(None) };
    let routers = [router];
    let steps = |split: SplitRef<'_>, observed: &router::Observed<'_>| {
        routers.iter().map(|router| router::detach(router, sides.get(added.side), split, observed)).collect()
    };
    on_each(snapshot, &routers, steps).into_iter().next().unwrap_or(Known::Known(None))
}

/// Managed routers of every kind, to look for what the spec no longer names, with the kinds of route that each makes.
fn managed() -> [(&'static [ObjectKind], Router); 6] {
    let ingress = IngressNginxRouter {
        class_name: Some(String::new()),
        tls: None,
        annotations: BTreeMap::new(),
        allowed_response_headers: Vec::new(),
        attach: None,
    };
    let gateway = |route_kind| {
        let router = GatewayApiRouter { route_kind, parent_refs: Some(Vec::new()), attach: None };
        Router { gateway_api: Some(router), ..Router::default() }
    };
    let istio = IstioRouter { gateways: Some(Vec::new()), attach: None };
    [
        (&[ObjectKind::Ingress, ObjectKind::ConfigMap], Router { ingress_nginx: Some(ingress), ..Router::default() }),
        (&[ObjectKind::HttpRoute], gateway(RouteKind::Http)),
        (&[ObjectKind::GrpcRoute], gateway(RouteKind::Grpc)),
        (
            &[
                ObjectKind::IngressRoute,
                ObjectKind::TraefikService,
                ObjectKind::Middleware,
                ObjectKind::ServersTransport,
            ],
            Router { traefik: Some(TraefikRouter::default()), ..Router::default() },
        ),
        (&[ObjectKind::VirtualService], Router { istio: Some(istio), ..Router::default() }),
        (&[ObjectKind::Ingress], Router { alb: Some(AlbRouter::default()), ..Router::default() }),
    ]
}

/// Whether the router removes by itself what is left of such a managed one.
fn minds_its_own(router: &Router, managed: &Router) -> bool {
    match managed.kind() {
        RouterKind::IngressNginx => router.ingress_nginx.is_some(),
        RouterKind::GatewayApi => router.gateway_api.as_ref().is_some_and(|router| {
            let kind = managed.gateway_api.as_ref().map(|managed| managed.route_kind);
            router.attach.is_none() && Some(router.route_kind) == kind
        }),
        RouterKind::Traefik => router.traefik.as_ref().is_some_and(|router| router.attach.is_none()),
        RouterKind::Alb => router.alb.is_some(),
        RouterKind::Istio => router.istio.as_ref().is_some_and(|router| router.attach.is_none()),
    }
}

/// Routers of which the split has objects, and which its spec does not name.
fn unnamed(snapshot: &Snapshot) -> Vec<Router> {
    let split = &*snapshot.split;
    let uid = split.uid().unwrap_or_default();
    let named = |managed: &Router| split.spec.routers.iter().any(|router| minds_its_own(router, managed));
    managed()
        .into_iter()
        .filter(|(kinds, router)| {
            // Its routes go first: there may be nothing left but what they led to.
            let is_there = || kinds.iter().any(|kind| snapshot.owns(*kind, &uid)) || snapshot.owns_alias(router, &uid);
            !named(router) && is_there()
        })
        .map(|(_, router)| router)
        .collect()
}

/// What removes the routes of routers that left the spec; only once those that it names carry the traffic.
pub(super) fn leftovers(snapshot: &Snapshot, validated: &Validated, plan: &Plan) -> Vec<RouteStep> {
    if validated.problem.is_some() || plan.routers.iter().any(|router| !router.settled) {
        return Vec::new();
    }
    on_each(snapshot, &unnamed(snapshot), router::remove)
}

/// What releases or removes all routes of a split that is deleted.
fn farewell(snapshot: &Snapshot) -> Vec<RouteStep> {
    let mut routers = snapshot.split.spec.routers.clone();
    routers.extend(unnamed(snapshot));
    match snapshot.split.spec.on_delete {
        OnDelete::Release => on_each(snapshot, &routers, router::release),
        OnDelete::Delete => on_each(snapshot, &routers, router::remove),
    }
}

fn on_each<T>(
    snapshot: &Snapshot,
    routers: &[Router],
    steps: impl Fn(SplitRef, &router::Observed) -> Vec<T>,
) -> Vec<T> {
    let split = &*snapshot.split;
    let (namespace, name, uid) =
        (split.namespace().unwrap_or_default(), split.name_any(), split.uid().unwrap_or_default());
    let split = SplitRef { namespace: &namespace, name: &name, uid: &uid };
    snapshot.lists(routers).iter().flat_map(|list| steps(split, &list.observed())).collect()
}
