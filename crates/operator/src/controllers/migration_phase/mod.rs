//! The MigrationPhase controller: observes caches, lets the engine decide, writes the phase's status. The splits and flags carry out
//! what is published there; this controller writes no route and no flag.

mod apply;
mod checks;
mod error;
mod observe;
mod triggers;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cutover_api::{labels::MANAGER_MIGRATION_PHASE, v1alpha1::MigrationPhase};
use cutover_engine::migration_phase::{decide, validate};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Resource, ResourceExt,
    runtime::controller::{self, Action},
};

pub use error::Error;
use observe::Sources;

use self::{apply::Sink, checks::Checks};
use crate::{
    cluster::{backoff::Backoffs, events::Events, policies, stores::Key},
    metrics::{Metrics, ObjectGauges},
    process::{Controller, Runtime},
    wiring::Kinds,
};

/// The controller's name in logs and metrics.
const NAME: &str = "migration-phase";

struct Context {
    sources: Sources,
    sink: Sink,
    metrics: Metrics,
    states: ObjectGauges,
    backoffs: Backoffs<Key>,
    /// The phase as last written, by the version it was written over: the cache may lag behind our own writes.
    written: Mutex<HashMap<Key, (String, Arc<MigrationPhase>)>>,
}

/// Registers what the controller reads, and makes it.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds) -> anyhow::Result<Controller> {
    let (checks, results) = Checks::new(runtime.prometheus.clone());
    let sources = Sources {
        kinds: kinds.clone(),
        checks,
        watching_since: Instant::now(),
        skew: runtime.skew.clone(),
        clock_is_compared: runtime.args.leader_elect,
        policies: policies::unproven(),
        trust_unenforced_policies: runtime.args.trust_unenforced_policies,
    };
    let metrics = runtime.metrics.clone();
    let states = metrics.object_gauges("cutover_phase_state", "1 for the phase's present state.", &["state"])?;
    let client = runtime.client.clone();
    let replica = runtime.replica.clone();
    let policy_namespace = runtime.own_namespace.clone();
    let config = controller::Config::default().concurrency(runtime.args.concurrency);
    let stop = runtime.stop.clone();
    Ok(Controller::new(NAME, move || async move {
        let mut sources = sources;
        sources.watching_since = Instant::now();
        sources.policies = policies::prove(client.clone(), policy_namespace);
        let sink = Sink { events: Events::start(client.clone(), MANAGER_MIGRATION_PHASE, &replica), client };
        let (phases, proven) = (sources.kinds.phases.clone(), sources.policies.clone());
        let triggers = triggers::all(&sources, results.boxed());
        let context = Arc::new(Context {
            sources,
            sink,
            metrics,
            states,
            backoffs: Backoffs::default(),
            written: Mutex::default(),
        });
        let deletions = {
            let (phases, context) = (phases.clone(), Arc::clone(&context));
            phases.deletions().for_each(move |key| {
                context.forget(&key);
                std::future::ready(())
            })
        };
        let policies_known =
            stream::unfold(proven, |mut proven| async move { proven.changed().await.is_ok().then_some(((), proven)) });
        let reconciles = kube::runtime::Controller::for_shared_stream(phases.triggers(|_, _| true), phases.store())
            .with_config(config)
            .reconcile_on(triggers)
            .reconcile_all_on(policies_known)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile, error_policy, Arc::clone(&context))
            .for_each(async |result| log(result));
        tokio::select! {
            () = reconciles => {}
            () = deletions => {}
        }
    }))
}

fn log(
    result: Result<
        (kube::runtime::reflector::ObjectRef<MigrationPhase>, Action),
        controller::Error<Error, kube::runtime::watcher::Error>,
    >,
) {
    match result {
        Ok((phase, action)) => tracing::debug!(%phase, ?action, "reconciled"),
        Err(controller::Error::ReconcilerFailed(error, phase)) if error.is_conflict() => {
            tracing::debug!(%phase, %error, "decided on an outdated copy");
        }
        // A phase that was deleted while its reconcile was waiting.
        Err(controller::Error::ObjectNotFound(phase)) => tracing::debug!(%phase, "is gone"),
        Err(error) => tracing::warn!(%error, "reconcile failed"),
    }
}

async fn reconcile(phase: Arc<MigrationPhase>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let result = context.carry_on(phase).await;
    context.metrics.reconciled(NAME, started.elapsed(), result.as_ref().err().map(Error::reason));
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn error_policy(phase: Arc<MigrationPhase>, error: &Error, context: Arc<Context>) -> Action {
    if error.is_conflict() {
        return Action::requeue(Duration::from_millis(100));
    }
    if error.is_retryable() {
        return Action::requeue(context.backoffs.failed(key_of(&phase)));
    }
    Action::await_change()
}

impl Context {
    async fn carry_on(&self, cached: Arc<MigrationPhase>) -> Result<Action, Error> {
        let key = key_of(&cached);
        let phase = self.newest(&key, cached);
        let now = Timestamp::now();

        let observed = self.sources.observe(&phase);
        let validated = validate(&observed.phase, &phase.spec);
        let plan = decide(validated.as_ref(), &observed, now);
        if let Some(written) = self.sink.apply(&phase, &plan).await? {
            self.remember(&key, &phase, written);
        }

        self.backoffs.forget(&key);
        let state = plan.status.state.unwrap_or_default();
        self.states.set(&key, &[(&[state.as_str()], 1.0)]);
        let server_of = |environment: &str| self.sources.server_of(&key.namespace, environment);
        let next_check = self.sources.checks.drive(&key, &plan.checks, Instant::now(), server_of);
        let next_timer = plan.requeue_after(now);
        Ok([next_check, next_timer].into_iter().flatten().min().map_or_else(Action::await_change, Action::requeue))
    }

    /// The phase as it is known best: what we wrote ourselves, while the cache still shows what that was written over.
    fn newest(&self, key: &Key, cached: Arc<MigrationPhase>) -> Arc<MigrationPhase> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(key) {
            Some((over, newer)) if cached.resource_version().as_deref() == Some(over) => Arc::clone(newer),
            Some(_) => {
                written.remove(key);
                cached
            }
            None => cached,
        }
    }

    fn remember(&self, key: &Key, over: &MigrationPhase, now: MigrationPhase) {
        let Some(version) = over.resource_version() else { return };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // Written over our own write: the cache shows what the first of them was written over.
        let version = match written.get(key) {
            Some((first, newer)) if newer.resource_version().as_deref() == Some(&version) => first.clone(),
            _ => version,
        };
        written.insert(key.clone(), (version, Arc::new(now)));
    }

    fn forget(&self, key: &Key) {
        self.sources.checks.forget(key);
        self.states.remove(key);
        self.backoffs.forget(key);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn key_of(phase: &MigrationPhase) -> Key {
    let meta = phase.meta();
    Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}
