//! One pod from its creation to its removal, as the kubelet and a container would do it. API and network I/O.
//!
//! A pod is one future. All that it holds (address, listeners, the entry in the list of targets) is given
//! back when the future ends or is dropped, so a pod that vanishes from the API needs no clean-up of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::DropGuard, task::TaskTracker};

use super::{
    World,
    addresses::Lease,
    app::App,
    facts::{self, Facts, Restart},
    readiness::Readiness,
    script::{ANNOTATION_PREFIX, Script, Told},
    server::{self, Stop},
    status::{self, CREATING, Status},
    targets::TargetGuard,
};

/// First pause after a failed API call; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// From the end of a failed container to its next start.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// What connections get to finish in after the drain, at least.
const CLOSING: Duration = Duration::from_secs(1);

/// A pod's life. Never returns before the pod is gone from the API: the caller drops it then.
pub(super) async fn live(world: Arc<World>, pod: watch::Receiver<Arc<Pod>>, facts: Facts) {
    let api = Api::namespaced(world.client.clone(), &facts.namespace);
    let annotations = watch::Sender::new(BTreeMap::new());
    let script = world.scripts.component(&facts.namespace, &facts.identity.component);
    let told = script.told_with(annotations.subscribe());
    let mut life = Life { world, api, facts, pod, told, annotations };
    life.take_in();
    if life.run().await.is_some() {
        life.remove().await;
    }
    std::future::pending::<()>().await;
}

struct Life {
    world: Arc<World>,
    api: Api<Pod>,
    facts: Facts,
    pod: watch::Receiver<Arc<Pod>>,
    told: Told,
    /// Those of the pod that script it.
    annotations: watch::Sender<BTreeMap<String, String>>,
}

/// A pod's servers, and what they hold. Dropping it cuts every connection.
struct Serving {
    lease: Lease,
    stop: Stop,
    _cut: DropGuard,
    tasks: TaskTracker,
    target: Option<TargetGuard>,
}

impl Life {
    /// Until the pod is to be removed. None when that is another's business.
    async fn run(&mut self) -> Option<()> {
        self.bind().await?;
        if facts::is_finished(&self.current()) {
            self.until(facts::is_terminating).await?;
            return Some(());
        }
        self.hold_while_stuck().await?;
        if facts::is_terminating(&self.current()) {
            return Some(());
        }
        if self.facts.restart == Restart::Always { self.serve().await } else { self.run_to_end().await }
    }

    fn current(&self) -> Arc<Pod> {
        Arc::clone(&self.pod.borrow())
    }

    fn told(&self) -> Script {
        self.told.now()
    }

    /// Hands the pod's annotations on to its servers.
    fn take_in(&mut self) {
        let pod = Arc::clone(&self.pod.borrow_and_update());
        let ours = pod.annotations().iter().filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX));
        let ours: BTreeMap<_, _> = ours.map(|(key, value)| (key.clone(), value.clone())).collect();
        if *self.annotations.borrow() == ours {
            return;
        }
        let (_, unreadable) = Script::default().with_annotations(&ours);
        if !unreadable.is_empty() {
            tracing::warn!(pod = %self.facts.name, ?unreadable, "annotations that cannot be read");
        }
        self.annotations.send_replace(ours);
    }

    /// The next change of the pod or of what it is told.
    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.pod.changed() => self.take_in(),
            Some(()) = self.told.changed() => {}
            // Nobody can change either: the simulator ends.
            else => std::future::pending().await,
        }
    }

    async fn until(&mut self, condition: impl Fn(&Pod) -> bool) -> Option<()> {
        while !condition(&self.current()) {
            self.changed().await;
        }
        Some(())
    }

    /// Waits for the time to pass, less if the pod is to end before.
    async fn pass(&mut self, time: impl Fn(&Script) -> Duration) {
        let began = tokio::time::Instant::now();
        while !facts::is_terminating(&self.current()) {
            let end = began + time(&self.told());
            tokio::select! {
                () = self.changed() => {}
                () = sleep_until(end) => return,
            }
        }
    }

    async fn bind(&mut self) -> Option<()> {
        self.until(|pod| facts::node(pod).is_some() || !facts::is_gated(pod)).await?;
        let pod = self.current();
        if let Some(node) = facts::node(&pod) {
            return (node == self.world.node).then_some(());
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": self.facts.name, "uid": self.facts.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.world.node},
        });
        let (api, name) = (&self.api, &self.facts.name);
        let parameters = PostParams::default();
        // A conflict: bound already, by this simulator's predecessor or by somebody else.
        let call = || api.create_subresource::<_, Value>("binding", name, &parameters, &binding);
        insist("bind", name, &[404, 409], call).await;
        self.until(|pod| facts::node(pod).is_some()).await?;
        (facts::node(&self.current()) == Some(&self.world.node)).then_some(())
    }

    fn status(&self, restarts: i32) -> Status<'_> {
        Status { facts: &self.facts, node: self.world.node_address, restarts }
    }

    async fn write(&self, patch: Value) -> Option<()> {
        let (api, name) = (&self.api, &self.facts.name);
        // With the UID, a patch meant for this pod cannot reach a later one of its name.
        let mut patch = patch;
        if let Some(object) = patch.as_object_mut() {
            object.insert("metadata".to_owned(), json!({"uid": self.facts.uid}));
        }
        let (parameters, patch) = (PatchParams::default(), Patch::Strategic(patch));
        insist("write status", name, &[404], || api.patch_status(name, &parameters, &patch)).await.map(drop)
    }

    async fn hold_while_stuck(&mut self) -> Option<()> {
        let mut shown = None;
        while let Some(reason) = self.told().stuck
            && !facts::is_terminating(&self.current())
        {
            if shown.as_ref() != Some(&reason) {
                self.write(self.status(0).waiting(&reason)).await?;
                shown = Some(reason);
            }
            self.changed().await;
        }
        Some(())
    }

    /// A pod that serves until it is deleted.
    async fn serve(&mut self) -> Option<()> {
        let adopted = facts::address(&self.current());
        if adopted.is_none() && !self.told().start_delay.is_zero() {
            self.write(self.status(0).waiting(CREATING)).await?;
            self.pass(|script| script.start_delay).await;
            if facts::is_terminating(&self.current()) {
                return Some(());
            }
        }
        let mut serving = self.open(adopted).await?;
        let (began, started) = (Instant::now(), status::now());
        let mut readiness = Readiness::new(&self.facts.probes, began);
        let mut written = None;
        while !facts::is_terminating(&self.current()) {
            self.keep_ready(&mut readiness, &serving, started, &mut written).await?;
            let next = readiness.next();
            tokio::select! {
                () = self.changed() => {}
                () = at(next) => {}
            }
        }
        self.drain(&mut serving).await;
        Some(())
    }

    /// Writes readiness when it has changed.
    async fn keep_ready(
        &self,
        readiness: &mut Readiness,
        serving: &Serving,
        started: Timestamp,
        written: &mut Option<(bool, bool)>,
    ) -> Option<()> {
        let containers = readiness.observe(&self.told(), &self.facts.ports, Instant::now());
        let ready = (containers, containers && facts::gates_are_met(&self.current()));
        if *written != Some(ready) {
            self.write(self.status(0).running(serving.lease.address, started, ready.0, ready.1)).await?;
            *written = Some(ready);
            self.world.note(&self.facts, Some(serving.lease.address), ready.1);
        }
        Some(())
    }

    /// Serves on until a proxy must have learned, then lets requests finish and closes.
    async fn drain(&mut self, serving: &mut Serving) {
        let began = tokio::time::Instant::now();
        self.world.note(&self.facts, Some(serving.lease.address), false);
        let end = |life: &Self| {
            let grace = facts::grace(&life.current());
            (began + grace, began + life.told().drain.max(life.facts.pre_stop_sleep).min(grace))
        };
        loop {
            let (_, drained) = end(self);
            tokio::select! {
                () = self.changed() => {}
                () = sleep_until(drained) => break,
            }
        }
        serving.target = None;
        self.world.note(&self.facts, None, false);
        serving.stop.drain.cancel();
        serving.tasks.close();
        let left = end(self).0.saturating_duration_since(tokio::time::Instant::now());
        // A kubelet kills at the end of the grace period; what is cut then shows as lost, as it should.
        if timeout(left.max(CLOSING), serving.tasks.wait()).await.is_err() {
            serving.stop.cut.cancel();
        }
    }

    /// Takes an address and listens on all ports.
    async fn open(&self, adopted: Option<Ipv4Addr>) -> Option<Serving> {
        let mut wanted = adopted.and_then(|address| self.world.pool.take_again(address));
        let (lease, listeners) = loop {
            let Some(lease) = wanted.take().or_else(|| self.world.pool.take(Instant::now())) else {
                tracing::error!(pod = %self.facts.name, "no address is free");
                sleep(MAX_PAUSE).await;
                continue;
            };
            match listen(lease.address, &self.facts.ports).await {
                Ok(listeners) => break (lease, listeners),
                Err(error) => {
                    tracing::warn!(%error, pod = %self.facts.name, address = %lease.address, "trying another address");
                    sleep(FIRST_PAUSE).await;
                }
            }
        };
        let first = self.facts.ports.first().map(|port| SocketAddr::from((lease.address, *port)));
        let target = first.map(|first| self.world.targets.add(first, &self.facts.namespace, &self.facts.name));
        let app = Arc::new(App::new(self.facts.identity.clone(), self.told.clone()));
        let (stop, tasks) = (Stop::new(), TaskTracker::new());
        for listener in listeners {
            tasks.spawn(server::serve(listener, Arc::clone(&app), self.told.clone(), stop.clone()));
        }
        Some(Serving { lease, _cut: stop.cut.clone().drop_guard(), stop, tasks, target })
    }

    /// A pod of a task: runs for a while, then ends as told.
    async fn run_to_end(&mut self) -> Option<()> {
        self.pass(|script| script.start_delay).await;
        let adopted = facts::address(&self.current());
        let serving = self.open(adopted).await?;
        let address = serving.lease.address;
        let mut restarts = 0;
        while !facts::is_terminating(&self.current()) {
            let started = status::now();
            self.write(self.status(restarts).running(address, started, true, true)).await?;
            self.world.note(&self.facts, Some(address), true);
            self.pass(|script| script.run_time).await;
            let exit_code = self.told().exit_code;
            if facts::is_terminating(&self.current()) {
                // Ended from outside: the Job counts it as failed.
                self.write(self.status(restarts).ended(started, 143)).await?;
                return Some(());
            }
            if exit_code == 0 || self.facts.restart == Restart::Never {
                self.write(self.status(restarts).ended(started, exit_code)).await?;
                self.world.note(&self.facts, None, false);
                drop(serving);
                return self.until(facts::is_terminating).await;
            }
            restarts += 1;
            self.pass(|_| RESTART_PAUSE).await;
        }
        Some(())
    }

    /// Tells the API server that nothing is left of the pod.
    async fn remove(&self) {
        let uid = Some(self.facts.uid.clone());
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        let (api, name) = (&self.api, &self.facts.name);
        insist("delete", name, &[404], || api.delete(name, &parameters)).await;
    }
}

async fn listen(address: Ipv4Addr, ports: &BTreeSet<u16>) -> std::io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for port in ports {
        listeners.push(server::listen((address, *port).into()).await?);
    }
    Ok(listeners)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Repeats an API call until it succeeds, or fails with a status that no repetition will change. A pod that is
/// another one by now shows as a conflict; its predecessor's life ends with the news of its deletion.
async fn insist<T, Fut>(what: &str, pod: &str, last: &[u16], call: impl Fn() -> Fut) -> Option<T>
where
    Fut: Future<Output = kube::Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match call().await {
            Ok(done) => return Some(done),
            Err(kube::Error::Api(status)) if last.contains(&status.code) => {
                tracing::debug!(pod, what, message = %status.message, "left alone");
                return None;
            }
            Err(error) => tracing::warn!(pod, what, %error, "trying again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
