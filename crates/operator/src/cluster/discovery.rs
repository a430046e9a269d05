//! Which optional kinds this cluster serves, learned by watching the definitions of kinds (CRDs): no polling, no restart when
//! a CRD is installed later, and no crash when one is missing or removed.
//!
//! The watch reads metadata only and keeps nothing; that a kind is really served, in the version we speak, is then asked
//! once of the discovery API. Where the operator may not watch CRDs (a namespaced installation), it asks once at start.

use std::{collections::HashMap, time::Duration};

use cutover_engine::router::ObjectKind;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backoff::{WatchBackoff, watch_delay};

/// An optional kind in the version we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Optional {
    /// Such as `gateway.networking.k8s.io`.
    pub group: &'static str,
    /// Such as `v1`.
    pub version: &'static str,
    /// Such as `httproutes`.
    pub plural: &'static str,
}

/// Gateway API routes.
pub const HTTP_ROUTES: Optional = Optional::of(ObjectKind::HttpRoute);
/// Those for gRPC.
pub const GRPC_ROUTES: Optional = Optional::of(ObjectKind::GrpcRoute);
/// Gateway API gateways.
pub const GATEWAYS: Optional = Optional { group: "gateway.networking.k8s.io", version: "v1", plural: "gateways" };
/// Gateway API classes.
pub const GATEWAY_CLASSES: Optional =
    Optional { group: "gateway.networking.k8s.io", version: "v1", plural: "gatewayclasses" };
/// How gateways speak TLS to Services.
pub const BACKEND_TLS_POLICIES: Optional =
    Optional { group: "gateway.networking.k8s.io", version: "v1", plural: "backendtlspolicies" };
/// Traefik's routes.
pub const INGRESS_ROUTES: Optional = Optional::of(ObjectKind::IngressRoute);
/// Traefik's weighted services.
pub const TRAEFIK_SERVICES: Optional = Optional::of(ObjectKind::TraefikService);
/// What Traefik's routes pass requests through.
pub const MIDDLEWARES: Optional = Optional::of(ObjectKind::Middleware);
/// How Traefik speaks to servers.
pub const SERVERS_TRANSPORTS: Optional = Optional::of(ObjectKind::ServersTransport);

/// Istio's routes.
pub const VIRTUAL_SERVICES: Optional = Optional::of(ObjectKind::VirtualService);

/// All of them.
pub const OPTIONAL: [Optional; 10] = [
    HTTP_ROUTES,
    GRPC_ROUTES,
    GATEWAYS,
    GATEWAY_CLASSES,
    BACKEND_TLS_POLICIES,
    INGRESS_ROUTES,
    TRAEFIK_SERVICES,
    MIDDLEWARES,
    SERVERS_TRANSPORTS,
    VIRTUAL_SERVICES,
];

impl Optional {
    const fn of(kind: ObjectKind) -> Self {
        Self { group: kind.group(), version: kind.version(), plural: kind.plural() }
    }

    fn crd(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// The optional kinds and whether they are served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Discovery {
    kinds: HashMap<Optional, watch::Receiver<Option<bool>>>,
}

impl Discovery {
    /// Starts to follow `kinds` until `shutdown`.
    #[must_use]
    pub fn start(client: Client, kinds: &[Optional], shutdown: CancellationToken) -> Self {
        let mut receivers = HashMap::new();
        let mut chosen = HashMap::new();
        for kind in kinds {
            let (sender, receiver) = watch::channel(None);
            receivers.insert(*kind, receiver);
            chosen.insert(kind.crd(), (*kind, sender));
        }
        let follower = Follower { client, kinds: chosen };
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = follower.run() => {}
            }
        });
        Self { kinds: receivers }
    }

    /// Whether a kind is served: `None` while it is not known, and for ever for a kind that is not chosen.
    #[must_use]
    pub fn served(&self, kind: Optional) -> watch::Receiver<Option<bool>> {
        self.kinds.get(&kind).cloned().unwrap_or_else(|| watch::channel(None).1)
    }

    /// Whether a kind is served now.
    #[must_use]
    pub fn is_served(&self, kind: Optional) -> Option<bool> {
        self.kinds.get(&kind).and_then(|served| *served.borrow())
    }
}

type Kinds = HashMap<String, (Optional, watch::Sender<Option<bool>>)>;

struct Follower {
    client: Client,
    kinds: Kinds,
}

impl Follower {
    async fn run(self) {
        let crds: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(self.client.clone());
        let config = watcher::Config::default().page_size(50);
        let mut events = watcher(crds, config).backoff(WatchBackoff::default()).boxed();
        let mut listed: Vec<String> = Vec::new();
        // Questions under way, at most one per kind: a newer event replaces the older one's.
        let mut rounds: HashMap<String, u64> = HashMap::new();
        let mut questions: FuturesUnordered<BoxFuture<'static, (String, u64, bool)>> = FuturesUnordered::new();
        loop {
            let event = tokio::select! {
                Some((crd, round, served)) = questions.next() => {
                    if rounds.get(&crd) == Some(&round) {
                        self.publish(&crd, served);
                    }
                    continue;
                }
                event = events.next() => event,
            };
            let changed = match event {
                Some(Ok(Event::Init)) => {
                    listed.clear();
                    None
                }
                Some(Ok(Event::InitApply(crd))) => {
                    listed.push(crd.name_any());
                    Some(crd.name_any())
                }
                Some(Ok(Event::Apply(crd))) => Some(crd.name_any()),
                Some(Ok(Event::Delete(crd))) => {
                    *rounds.entry(crd.name_any()).or_default() += 1;
                    self.publish(&crd.name_any(), false);
                    None
                }
                Some(Ok(Event::InitDone)) => {
                    for crd in self.kinds.keys().filter(|crd| !listed.contains(crd)) {
                        *rounds.entry(crd.clone()).or_default() += 1;
                        self.publish(crd, false);
                    }
                    None
                }
                Some(Err(error)) if is_forbidden(&error) => {
                    tracing::warn!("CRDs may not be watched: kinds installed later are noticed after a restart");
                    return self.ask_once().await;
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "watch of CRDs interrupted");
                    None
                }
                None => return,
            };
            if let Some(crd) = changed
                && let Some((kind, _)) = self.kinds.get(&crd)
            {
                let round = rounds.entry(crd.clone()).or_default();
                *round += 1;
                let (client, kind, round) = (self.client.clone(), *kind, *round);
                questions.push(async move { (crd, round, settle(&client, kind).await) }.boxed());
            }
        }
    }

    async fn ask_once(&self) {
        for (crd, (kind, _)) in &self.kinds {
            self.publish(crd, answer(&self.client, *kind).await);
        }
    }

    fn publish(&self, crd: &str, served: bool) {
        if let Some((kind, sender)) = self.kinds.get(crd) {
            let changed = sender.send_if_modified(|known| known.replace(served) != Some(served));
            if changed {
                tracing::info!(
                    kind = kind.plural,
                    group = kind.group,
                    version = kind.version,
                    served,
                    "kind discovered"
                );
            }
        }
    }
}

/// Asks whether a kind whose CRD exists is served. A CRD is announced before it is served, so a "no" is asked again a
/// few times; after that the next change of the CRD (its `Established` condition, say) asks anew.
async fn settle(client: &Client, kind: Optional) -> bool {
    for attempt in 0..6 {
        if answer(client, kind).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
    }
    false
}

/// Asks until there is an answer: an error is neither a yes nor a no. Nothing is ready before there is one, so it is asked as a watch is.
async fn answer(client: &Client, kind: Optional) -> bool {
    let mut failures = 0;
    loop {
        match ask(client, kind).await {
            Ok(served) => return served,
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, kind = kind.plural, "discovery failed");
                tokio::time::sleep(watch_delay(failures, fastrand::f64())).await;
            }
        }
    }
}

async fn ask(client: &Client, kind: Optional) -> kube::Result<bool> {
    match client.list_api_group_resources(&format!("{}/{}", kind.group, kind.version)).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == kind.plural)),
        Err(error) if super::is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
