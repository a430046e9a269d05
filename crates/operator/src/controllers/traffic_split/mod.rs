//! The TrafficSplit controller: observes, lets the engine judge and decide, writes route objects and status.
//!
//! A change of a weight costs one request per route object and one for the status: the API server's answer to a write is
//! the observation that ends it. Routers are written side by side, each in its own order. What a phase asks for is on
//! record (in the status) before any route follows it.

mod apply;
mod contention;
mod memory;
mod observe;
mod problem;
mod relations;
mod report;
mod retire;
mod rounds;
mod sampled;
#[cfg(test)]
mod tests;
mod triggers;
mod watched;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::{labels::MANAGER_TRAFFIC_SPLIT, v1alpha1::TrafficSplit};
use cutover_engine::traffic_split::{has_left, ramp::pause};
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;

use self::{
    apply::Answered,
    memory::{Memory, version_of},
    observe::{Snapshot, Sources, added},
    relations::{Relations, of_spec},
    sampled::Sampled,
    watched::Watched,
};
use super::{
    Error,
    driver::{self, OUTDATED, Reconciler},
};
use crate::{
    caches::{Caches, Kinds},
    cluster::{events::Events, stores::Key},
    metrics::ObjectGauges,
    process::{Controller, Runtime},
};

/// Rounds of writing and looking again in one reconcile; a complete cutover takes four.
const ROUNDS: usize = 8;

struct Context {
    sources: Arc<Sources>,
    events: Events,
    weights: ObjectGauges,
    /// How long proxies may take to act on a written route.
    propagation: Duration,
}

/// Makes the controller over shared caches.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds, caches: &Caches) -> anyhow::Result<Controller> {
    let help = "Weight of the new side, wanted and carried by every route.";
    let weights = runtime.metrics.object_gauges("cutover_split_weight", help, &["weight"])?;
    let (watched, answered) = Watched::new(runtime.probes.clone());
    let (sampled, seen) = Sampled::new(runtime.probes.clone());
    let sources = Arc::new(Sources {
        watched,
        sampled,
        client: runtime.client.clone(),
        kinds: kinds.clone(),
        caches: caches.clone(),
        relations: Relations::default(),
        memory: Memory::default(),
        namespaces: runtime.args.watch_namespaces.clone(),
    });
    let replica = runtime.replica.clone();
    let propagation = runtime.args.route_propagation;
    Ok(driver::controller(runtime, &kinds.splits, move || {
        let others = triggers::all(&sources, stream::select(answered, seen));
        let events = Events::start(sources.client.clone(), MANAGER_TRAFFIC_SPLIT, &replica);
        (Context { sources, events, weights, propagation }, others)
    }))
}

impl Reconciler for Context {
    const NAME: &'static str = "traffic-split";
    type Kind = TrafficSplit;

    async fn reconcile(&self, cached: Arc<TrafficSplit>) -> Result<Action, Error> {
        let key = Key::of(&*cached);
        let split = self.sources.memory.newest(&key, cached);
        if split.metadata.deletion_timestamp.is_some() {
            return self.retire(&key, split).await;
        }
        let mut snapshot = self.sources.observe(&key, split);
        // Validates, decides and applies, until nothing is left to write.
        let mut carried = self.carry_out(&key, &mut snapshot).await?;
        // What was on record before the spec was edited: the entries of rules that it has left.
        let left = added(&snapshot.split).filter(|entry| has_left(entry, &snapshot.split.spec)).cloned().collect();
        let gone = self.detach(&key, &mut snapshot, left).await?;
        carried.plan.added.retain(|added| !gone.contains(added));
        let settling = self.tell(&key, &mut snapshot, &mut carried).await?;
        if let Some(error) = carried.failures.into_iter().flatten().next() {
            return Err(error);
        }
        // Users have let go of legacy just now: the rest of its routes goes without the spec's legacy side.
        let retires = snapshot.retirement.as_ref().is_some_and(|retirement| !retirement.is_done())
            && snapshot.split.status.as_ref().is_some_and(|status| status.legacy_retired.is_some());
        if retires {
            return Ok(Action::requeue(OUTDATED));
        }
        // What proxies do not know yet is named after that.
        let is_paused = carried.plan.routers.iter().any(|router| router.paused);
        let paused = is_paused.then(|| self.sources.memory.unseen(&key, self.propagation, Instant::now()).1);
        let paused = paused.map(Option::unwrap_or_default);
        let resting = self.sources.memory.resting(&key, Instant::now());
        // The step that was just told of may be one of several.
        let status = snapshot.split.status.as_ref();
        let pause = status.and_then(|status| pause(&snapshot.split.spec, status, Timestamp::now()));
        let wait = carried.plan.wanted.wait.into_iter().chain(pause).min().map(SignedDuration::unsigned_abs);
        Ok(resting
            .into_iter()
            .chain(settling)
            .chain(paused)
            .chain(wait)
            .min()
            .map_or_else(Action::await_change, Action::requeue))
    }

    /// Our finalizer is written by us and changes nothing; a status that was lost is looked for in the routes.
    fn matters(before: &TrafficSplit, after: &TrafficSplit) -> bool {
        before.metadata.generation != after.metadata.generation
            || before.metadata.uid != after.metadata.uid
            || before.metadata.deletion_timestamp != after.metadata.deletion_timestamp
            || (before.status.is_some() && after.status.is_none())
    }

    fn seen(&self, key: &Key, split: &Arc<TrafficSplit>) {
        self.sources.relations.add(key, &of_spec(&key.namespace, &split.spec));
        self.sources.memory.split_seen(key, version_of(split));
    }

    fn forget(&self, key: &Key) {
        self.sources.relations.remove(key);
        self.sources.memory.forget(key);
        self.sources.watched.forget(key);
        self.sources.sampled.forget(key);
        self.weights.remove(key);
    }

    async fn finish(&self) {
        self.events.drain().await;
    }
}

impl Context {
    /// Answers to writes of routes are the newest observation there is.
    fn take(&self, key: &Key, snapshot: &mut Snapshot, answers: Vec<Answered>) {
        for Answered { kind, name, answer } in answers {
            self.sources.memory.route_written(key, kind, &name, answer.clone());
            snapshot.replace(kind, &name, answer);
        }
    }

    /// So is the answer to a write of the split itself.
    fn take_split(&self, key: &Key, snapshot: &mut Snapshot, split: TrafficSplit) {
        let split = Arc::new(split);
        self.sources.memory.split_written(key, Arc::clone(&split));
        snapshot.take(split);
    }
}
