//! Watches all pods and gives each its life. API I/O.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config, ResourceExt,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    addresses::Pool,
    facts::Facts,
    kubelet, lifecycle, machine,
    protocol::System,
    reactor::Reactor,
    script::{ComponentScript, FaultSpan, Scripts},
    targets::Targets,
};

/// How soon a broken watch is tried again: tests stop the API server and want to go on when it is back.
const RETRY: Duration = Duration::from_millis(250);

/// What a simulator may be told at its start.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Name of the Node object. Default: `simulated`.
    pub name: String,
    /// Address of the node. Default: 198.18.0.1. Its own server listens there, at any port.
    pub address: Ipv4Addr,
    /// Where to write the list of live pods for Prometheus (`file_sd`, JSON). Default: nowhere.
    pub targets: Option<PathBuf>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { name: "simulated".to_owned(), address: Ipv4Addr::new(198, 18, 0, 1), targets: None }
    }
}

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInfo {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its component.
    pub component: String,
    /// Its system.
    pub system: System,
    /// Its address.
    pub address: Ipv4Addr,
    /// Ready, and not terminating.
    pub ready: bool,
}

/// A running simulator; everything it serves ends when it is dropped. The API objects stay.
#[derive(Debug)]
pub struct NodeSimulator {
    world: Arc<World>,
    _reactor: Reactor,
}

/// What all pods share.
pub(super) struct World {
    pub(super) client: Client,
    pub(super) node: String,
    pub(super) node_address: Ipv4Addr,
    pub(super) scripts: Scripts,
    pub(super) targets: Targets,
    pub(super) pool: Pool,
    /// By UID.
    live: Mutex<BTreeMap<String, PodInfo>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("node", &self.node).finish_non_exhaustive()
    }
}

impl World {
    /// Remembers that a pod runs at an address, or no more.
    pub(super) fn note(&self, facts: &Facts, address: Option<Ipv4Addr>, ready: bool) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(address) = address else {
            live.remove(&facts.uid);
            return;
        };
        let info = PodInfo {
            namespace: facts.namespace.clone(),
            name: facts.name.clone(),
            component: facts.identity.component.clone(),
            system: facts.identity.system,
            address,
            ready,
        };
        live.insert(facts.uid.clone(), info);
    }

    fn forget(&self, uid: &str) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

impl NodeSimulator {
    /// Starts one for the API server that `config` leads to, and waits until its Node object is there.
    ///
    /// Takes a configuration, not a client: a client's connections belong to the runtime that made it, and
    /// the simulator has its own.
    ///
    /// # Errors
    /// When the API server refuses, or the list of targets cannot be written.
    pub async fn start(config: Config, options: NodeOptions) -> Result<Self> {
        let NodeOptions { name, address, targets } = options;
        let targets = Targets::new(targets.as_deref()).context("list of scrape targets")?;
        let reactor = Reactor::start("node")?;
        let world = async move {
            let client = Client::try_from(config)?;
            let (listener, acceptor) = kubelet::listen(address).await?;
            machine::ensure(client.clone(), &name, address, listener.local_addr()?.port()).await?;
            let world = Arc::new(World {
                client,
                node: name,
                node_address: address,
                scripts: Scripts::default(),
                targets,
                pool: Pool::shared(),
                live: Mutex::default(),
            });
            tokio::spawn(kubelet::serve(listener, acceptor, Arc::clone(&world)));
            tokio::spawn(watch_pods(Arc::clone(&world)));
            anyhow::Ok(world)
        };
        let world = reactor.handle().spawn(world).await??;
        Ok(Self { world, _reactor: reactor })
    }

    /// To make a component's pods fail, and well again.
    #[must_use]
    pub fn component(&self, namespace: &str, component: &str) -> ComponentScript {
        self.world.scripts.component(namespace, component)
    }

    /// When components were told to fail. Annotations are not in here.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultSpan> {
        self.world.scripts.spans()
    }

    /// The pods that run now.
    #[must_use]
    pub fn pods(&self) -> Vec<PodInfo> {
        self.world.live.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The list of scrape targets, to add backends outside the cluster.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.world.targets
    }
}

/// A pod's life and the way to tell it news. Dropping it ends the life.
struct Tracked {
    pod: watch::Sender<Arc<Pod>>,
    life: AbortHandle,
    uid: String,
    world: Arc<World>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.life.abort();
        self.world.forget(&self.uid);
    }
}

/// Always the same pause.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RETRY)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

async fn watch_pods(world: Arc<World>) {
    let api: Api<Pod> = Api::all(world.client.clone());
    let events = watcher::watcher(api, watcher::Config::default())
        .backoff(Steady)
        .modify(|pod| pod.managed_fields_mut().clear());
    let mut events = std::pin::pin!(events);
    let mut pods: HashMap<String, Tracked> = HashMap::new();
    let mut listed: HashMap<String, Tracked> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod)) => hear(&world, &mut pods, pod),
            Ok(Event::Delete(pod)) => {
                pods.remove(pod.metadata.uid.as_deref().unwrap_or_default());
            }
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                if let Some(known) = pods.remove(&uid) {
                    listed.insert(uid, known);
                }
                hear(&world, &mut listed, pod);
            }
            // Whatever the list does not hold was deleted while nobody watched.
            Ok(Event::InitDone) => pods = std::mem::take(&mut listed),
            Err(error) => tracing::warn!(%error, "watch of pods"),
        }
    }
}

fn hear(world: &Arc<World>, pods: &mut HashMap<String, Tracked>, pod: Pod) {
    let Some(facts) = Facts::of(&pod) else { return };
    let pod = Arc::new(pod);
    if let Some(known) = pods.get(&facts.uid) {
        known.pod.send_replace(pod);
        return;
    }
    let uid = facts.uid.clone();
    let (sender, receiver) = watch::channel(pod);
    let life = tokio::spawn(lifecycle::live(Arc::clone(world), receiver, facts)).abort_handle();
    pods.insert(uid.clone(), Tracked { pod: sender, life, uid, world: Arc::clone(world) });
}
