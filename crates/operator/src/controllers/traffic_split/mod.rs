//! The TrafficSplit controller: observes, lets the engine judge and decide, writes route objects and status.
//!
//! A change of a weight costs one request per route object and one for the status: the API server's answer to a write is
//! the observation that ends it. Routers are written side by side, each in its own order. What a phase asks for is on
//! record (in the status) before any route follows it.

mod apply;
mod memory;
mod observe;
mod problem;
mod relations;
#[cfg(test)]
mod tests;
mod triggers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::{
    labels::{FINALIZER_TRAFFIC_SPLIT, MANAGER_TRAFFIC_SPLIT},
    v1alpha1::{
        TrafficSplit, TrafficSplitStatus,
        traffic_split::{GatewayApiRouter, IngressNginxRouter, OnDelete, Router},
    },
};
use cutover_engine::{
    conditions::Health,
    router::{self, ObjectKind, Problem, RouteStep, SplitRef},
    traffic_split::{Observed, Outcome, Plan, Validated, decide, notes, status, validate},
};
use futures::future::join_all;
use jiff::Timestamp;
use kube::{Api, Resource, ResourceExt, runtime::controller::Action};

use self::{
    apply::Answered,
    memory::{Memory, version_of},
    observe::{Snapshot, Sources},
    relations::{Relations, of_spec},
};
use super::{
    Error,
    driver::{self, OUTDATED, Reconciler},
};
use crate::{
    caches::{Caches, Kinds},
    cluster::{
        events::Events,
        finalizer,
        status::{Written, write},
        stores::Key,
    },
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
    let sources = Arc::new(Sources {
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
        let others = triggers::all(&sources);
        let events = Events::start(sources.client.clone(), MANAGER_TRAFFIC_SPLIT, &replica);
        (Context { sources, events, weights, propagation }, others)
    }))
}

impl Reconciler for Context {
    const NAME: &'static str = "traffic-split";
    type Kind = TrafficSplit;

    async fn reconcile(&self, cached: Arc<TrafficSplit>) -> Result<Action, Error> {
        self.carry_on(cached).await
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
        self.weights.remove(key);
    }

    async fn finish(&self) {
        self.events.drain().await;
    }
}

impl Context {
    async fn carry_on(&self, cached: Arc<TrafficSplit>) -> Result<Action, Error> {
        let key = Key::of(&*cached);
        let split = self.sources.memory.newest(&key, cached);
        if split.metadata.deletion_timestamp.is_some() {
            return self.retire(&key, split).await;
        }
        let resting = self.sources.memory.resting(&key, Instant::now());
        let mut snapshot = self.sources.observe(&key, split);
        let mut failures: Vec<Option<Error>> = snapshot.split.spec.routers.iter().map(|_| None).collect();
        let mut repair = true;
        let mut rounds = 0;
        let (validated, mut plan) = loop {
            let (validated, mut plan) = judge(&key, &snapshot);
            if let Some(phase) = plan.ruling.doubt.clone() {
                self.sources.confirm(&key, &phase, &mut snapshot).await?;
                continue;
            }
            let mut steps: Vec<Vec<RouteStep>> =
                plan.routers.iter_mut().map(|router| std::mem::take(&mut router.steps)).collect();
            for (steps, failure) in steps.iter_mut().zip(&failures) {
                if failure.is_some() {
                    steps.clear();
                }
            }
            // A new weight is never held up by somebody else's writes; putting right what they wrote is, for a while.
            if resting.is_some() && !snapshot.backed_off && is_repair(&snapshot.split, &plan, &steps) {
                snapshot.backed_off = true;
                continue;
            }
            let leftovers =
                if failures.iter().any(Option::is_some) { Vec::new() } else { leftovers(&snapshot, &validated) };
            rounds += 1;
            if rounds > ROUNDS || (leftovers.is_empty() && steps.iter().all(Vec::is_empty)) {
                break (validated, plan);
            }
            if !finalizer::is_on(&*snapshot.split, FINALIZER_TRAFFIC_SPLIT) {
                let (client, split) = (&self.sources.client, &*snapshot.split);
                let guarded = finalizer::put_on(client, MANAGER_TRAFFIC_SPLIT, split, FINALIZER_TRAFFIC_SPLIT).await;
                self.take_split(&key, &mut snapshot, guarded.map_err(Error::Finalizer)?);
            }
            if plan.announce {
                self.write_status(&key, &mut snapshot, &validated, &plan, &[]).await?;
            }
            if std::mem::take(&mut repair) && is_repair(&snapshot.split, &plan, &steps) {
                self.sources.memory.repaired(&key, Instant::now());
            }
            self.send(&key, &mut snapshot, steps, &mut failures).await;
            if !leftovers.is_empty() {
                let (answers, result) = apply::apply(&self.sources.client, &key.namespace, leftovers).await;
                self.take(&key, &mut snapshot, answers);
                result?;
            }
        };
        // Decided on what was no longer so: the next look, which is due at once, says what is.
        let outdated = |failure: &Option<Error>| {
            failure.as_ref().is_some_and(|error| error.is_conflict() || error.is_not_leader())
        };
        if let Some(at) = failures.iter().position(outdated)
            && let Some(error) = failures.swap_remove(at)
        {
            return Err(error);
        }
        let problems: Vec<Option<Problem>> = failures
            .iter()
            .zip(snapshot.split.spec.routers.iter().enumerate())
            .map(|(failure, (index, router))| failure.as_ref().map(|error| problem::of(error, &path(index, router))))
            .collect();
        let settling = self.settling(&key, &snapshot.split, &mut plan);
        // What is merely on its way is told once it has arrived: until then the status is about the generation before.
        if settling.is_none() || snapshot.split.status.is_none() || is_noteworthy(&validated, &plan, &problems) {
            self.write_status(&key, &mut snapshot, &validated, &plan, &problems).await?;
        }
        self.measure(&key, &snapshot.split);
        if let Some(error) = failures.into_iter().flatten().next() {
            return Err(error);
        }
        let resting = self.sources.memory.resting(&key, Instant::now());
        Ok(resting.into_iter().chain(settling).min().map_or_else(Action::await_change, Action::requeue))
    }

    /// How long proxies may still take to act on a weight that is written. Until then no router is settled.
    fn settling(&self, key: &Key, split: &TrafficSplit, plan: &mut Plan) -> Option<Duration> {
        let left = self.sources.memory.settling(key, self.propagation, Instant::now())?;
        let status = split.status.as_ref();
        let applied = status.and_then(|status| status.applied_weight);
        let moved = plan.wanted.next.iter().any(|weight| Some(*weight) != applied)
            || status.and_then(|status| status.exposure) != Some(plan.wanted.exposure);
        if !moved {
            return None;
        }
        for router in &mut plan.routers {
            router.settled = false;
            router
                .read_back
                .message
                .get_or_insert_with(|| "is written; the proxy has a moment to act on it".to_owned());
        }
        Some(left)
    }

    /// Sends each router's steps, side by side, and takes the answers in.
    async fn send(
        &self,
        key: &Key,
        snapshot: &mut Snapshot,
        steps: Vec<Vec<RouteStep>>,
        failures: &mut [Option<Error>],
    ) {
        let routers = steps.into_iter().map(|steps| apply::apply(&self.sources.client, &key.namespace, steps));
        for ((answers, result), failure) in join_all(routers).await.into_iter().zip(failures) {
            self.take(key, snapshot, answers);
            if let Err(error) = result {
                failure.get_or_insert(error);
            }
        }
    }

    fn take(&self, key: &Key, snapshot: &mut Snapshot, answers: Vec<Answered>) {
        for Answered { kind, name, answer } in answers {
            self.sources.memory.route_written(key, kind, &name, answer.clone());
            snapshot.replace(kind, &name, answer);
        }
    }

    fn take_split(&self, key: &Key, snapshot: &mut Snapshot, split: TrafficSplit) {
        let split = Arc::new(split);
        self.sources.memory.split_written(key, Arc::clone(&split));
        snapshot.split = split;
    }

    async fn write_status(
        &self,
        key: &Key,
        snapshot: &mut Snapshot,
        validated: &Validated,
        plan: &Plan,
        failures: &[Option<Problem>],
    ) -> Result<(), Error> {
        let split = Arc::clone(&snapshot.split);
        let empty = TrafficSplitStatus::default();
        let previous = split.status.as_ref().unwrap_or(&empty);
        let outcome =
            Outcome { spec: &split.spec, generation: split.metadata.generation, previous, validated, plan, failures };
        let next = status(&outcome, Timestamp::now());
        let api: Api<TrafficSplit> = Api::namespaced(self.sources.client.clone(), &key.namespace);
        match write(&api, MANAGER_TRAFFIC_SPLIT, &*split, split.status.as_ref(), &next).await? {
            Written::Unchanged => {}
            Written::Written(written) => {
                for note in notes(previous, &next, plan) {
                    tracing::info!(split = %key, reason = note.reason, "{}", note.message);
                    self.events.publish(note, split.object_ref(&()));
                }
                self.take_split(key, snapshot, *written);
            }
        }
        Ok(())
    }

    fn measure(&self, key: &Key, split: &TrafficSplit) {
        let status = split.status.as_ref();
        let weights = [
            ("desired", status.and_then(|status| status.desired_weight)),
            ("applied", status.and_then(|status| status.applied_weight)),
        ];
        let values: Vec<(&[&str], f64)> = Vec::new();
        let labels: Vec<([&str; 1], f64)> =
            weights.iter().filter_map(|(label, weight)| Some(([*label], f64::from((*weight)?)))).collect();
        let values = labels.iter().fold(values, |mut values, (label, weight)| {
            values.push((label.as_slice(), *weight));
            values
        });
        self.weights.set(key, &values);
    }

    /// The split is being deleted: its routes are released or removed, then it may go.
    async fn retire(&self, key: &Key, split: Arc<TrafficSplit>) -> Result<Action, Error> {
        if !finalizer::is_on(&*split, FINALIZER_TRAFFIC_SPLIT) {
            return Ok(Action::await_change());
        }
        let mut snapshot = self.sources.observe(key, split);
        for _ in 0..ROUNDS {
            let steps = farewell(&snapshot);
            if steps.is_empty() {
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
}

/// Where the spec has a router.
fn path(index: usize, router: &Router) -> String {
    let kind = if router.gateway_api.is_some() { "gatewayApi" } else { "ingressNginx" };
    format!("spec.routers[{index}].{kind}")
}

/// Whether there is more to tell than that a weight is on its way.
fn is_noteworthy(validated: &Validated, plan: &Plan, problems: &[Option<Problem>]) -> bool {
    validated.problem.is_some()
        || plan.unknown
        || plan.wanted.missing.is_some()
        || plan.wanted.refused.is_some()
        || plan.routers.iter().filter_map(|router| router.problem.as_ref()).any(|it| it.health == Health::Stalled)
        || problems.iter().any(Option::is_some)
}

/// Judges the spec and decides.
fn judge(key: &Key, snapshot: &Snapshot) -> (Validated, Plan) {
    let split = &*snapshot.split;
    let slices = snapshot.slices();
    let (claimant, others) = snapshot.claimants();
    let validated = validate(&claimant, &snapshot.targets, &snapshot.facts(&slices), &others);
    let lists = snapshot.lists(&split.spec.routers);
    let routers: Vec<router::Observed> = lists.iter().map(observe::Lists::observed).collect();
    let empty = TrafficSplitStatus::default();
    let uid = split.uid().unwrap_or_default();
    let observed = Observed {
        split: SplitRef { namespace: &key.namespace, name: &key.name, uid: &uid },
        status: split.status.as_ref().unwrap_or(&empty),
        claims: &snapshot.claims,
        absent: &snapshot.absent,
        routers: &routers,
    };
    let plan = decide(&split.spec, &validated, &observed);
    (validated, plan)
}

/// Whether the steps only put right what somebody else changed.
fn is_repair(split: &TrafficSplit, plan: &Plan, steps: &[Vec<RouteStep>]) -> bool {
    let Some(status) = &split.status else { return false };
    status.observed_generation == split.metadata.generation
        && status.holder == plan.ruling.holder
        && status.exposure == Some(plan.wanted.exposure)
        && plan.wanted.next.iter().all(|weight| Some(*weight) == status.applied_weight)
        && steps.iter().flatten().any(|step| step.kind().is_route() && !matches!(step, RouteStep::Delete { .. }))
}

/// Managed routers of both kinds, to look for what the spec no longer names.
fn managed() -> [(ObjectKind, Router); 2] {
    let ingress = IngressNginxRouter {
        class_name: Some(String::new()),
        tls: None,
        annotations: std::collections::BTreeMap::new(),
        attach: None,
    };
    let gateway = GatewayApiRouter { parent_refs: Some(Vec::new()), attach: None };
    [
        (ObjectKind::Ingress, Router { ingress_nginx: Some(ingress), gateway_api: None }),
        (ObjectKind::HttpRoute, Router { ingress_nginx: None, gateway_api: Some(gateway) }),
    ]
}

/// Routers of which the split has objects, and which its spec does not name.
fn unnamed(snapshot: &Snapshot) -> Vec<Router> {
    let split = &*snapshot.split;
    let uid = split.uid().unwrap_or_default();
    let named = |kind| {
        split.spec.routers.iter().any(|router| match kind {
            ObjectKind::HttpRoute => router.gateway_api.as_ref().is_some_and(|router| router.attach.is_none()),
            _ => router.ingress_nginx.is_some(),
        })
    };
    managed()
        .into_iter()
        .filter(|(kind, _)| !named(*kind) && snapshot.owns(*kind, &uid))
        .map(|(_, router)| router)
        .collect()
}

/// What removes the routes of routers that left the spec; only once everything else is in order.
fn leftovers(snapshot: &Snapshot, validated: &Validated) -> Vec<RouteStep> {
    if validated.problem.is_some() {
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

fn on_each(
    snapshot: &Snapshot,
    routers: &[Router],
    steps: impl Fn(SplitRef, &router::Observed) -> Vec<RouteStep>,
) -> Vec<RouteStep> {
    let split = &*snapshot.split;
    let (namespace, name, uid) =
        (split.namespace().unwrap_or_default(), split.name_any(), split.uid().unwrap_or_default());
    let split = SplitRef { namespace: &namespace, name: &name, uid: &uid };
    snapshot.lists(routers).iter().flat_map(|list| steps(split, &list.observed())).collect()
}
