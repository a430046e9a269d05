//! The MigrationPhase controller: observes caches, lets the engine decide, writes the phase's status. The splits and flags carry out
//! what is published there; this controller writes no route and no flag.

mod apply;
mod audit;
mod checks;
mod hooks;
mod observe;
mod settled;
#[cfg(test)]
mod tests;
mod triggers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::{labels::MANAGER_MIGRATION_PHASE, v1alpha1::MigrationPhase};
use cutover_engine::migration_phase::{decide, validate};
use jiff::Timestamp;
use kube::runtime::controller::Action;

use self::{apply::Sink, checks::Checks, hooks::Hooks, observe::Sources, settled::Settled};
use super::{
    Error,
    driver::{self, Reconciler},
    jobs::Jobs,
    newest::Newest,
};
use crate::{
    caches::{Caches, Kinds},
    cluster::{events::Events, policies, stores::Key},
    metrics::ObjectGauges,
    outbound::notify::{Notifier, Timing},
    process::{Controller, Runtime},
};

/// How long notifications that wait may take when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

struct Context {
    sources: Sources,
    sink: Sink,
    newest: Newest<MigrationPhase>,
    states: ObjectGauges,
}

/// Makes the controller over shared caches.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds, caches: &Caches) -> anyhow::Result<Controller> {
    let states =
        runtime.metrics.object_gauges("cutover_phase_state", "1 for the phase's present state.", &["state"])?;
    let (kinds, caches) = (kinds.clone(), caches.clone());
    let (hooks, ended) = Hooks::new(Jobs::new(runtime.client.clone(), caches.jobs.clone(), MANAGER_MIGRATION_PHASE));
    let (checks, results) = Checks::new(runtime.prometheus.clone(), runtime.probes.clone(), hooks.clone());
    let phases = kinds.phases.clone();
    let skew = runtime.skew.clone();
    let clock_is_compared = runtime.args.leader_elect;
    let trust_unenforced_policies = runtime.args.trust_unenforced_policies;
    let (client, replica) = (runtime.client.clone(), runtime.replica.clone());
    let (http, sinks) = runtime.sinks.clone();
    let deliveries = runtime.metrics.notifications.clone();
    let policy_namespace = runtime.own_namespace.clone();
    Ok(driver::controller(runtime, &phases, move || {
        let notifier = Notifier::start(&http, sinks, deliveries, Timing::default());
        let sources = Sources {
            notifier: notifier.clone(),
            kinds,
            caches,
            checks,
            hooks: hooks.clone(),
            settled: Settled::default(),
            watching_since: Instant::now(),
            skew,
            clock_is_compared,
            policies: policies::prove(client.clone(), policy_namespace),
            trust_unenforced_policies,
        };
        let others = triggers::all(&sources, results, ended);
        let events = Events::start(client.clone(), MANAGER_MIGRATION_PHASE, &replica);
        let sink = Sink { client, events, hooks, notifier, audit: Arc::default() };
        (Context { sources, sink, newest: Newest::default(), states }, others)
    }))
}

impl Reconciler for Context {
    const NAME: &'static str = "migration-phase";
    type Kind = MigrationPhase;

    async fn reconcile(&self, cached: Arc<MigrationPhase>) -> Result<Action, Error> {
        let phase = self.newest.of(cached);
        let key = Key::of(&*phase);
        self.sink.audit.catch_up(&key, &phase);
        let (plan, now) = loop {
            let now = Timestamp::now();
            let observed = self.sources.observe(&phase);
            let validated = validate(&observed.phase, &phase.spec);
            let plan = decide(validated.as_ref(), &observed, now);
            // What a settled action asked for is neither done nor turned down once more.
            match self.sink.no_longer_open(&phase, &plan).await? {
                closed if closed.is_empty() => break (plan, now),
                closed => self.sources.settled.put(&key, closed),
            }
        };
        // The status is what is carried out: splits and flags follow it.
        if let Some(written) = self.sink.apply(&phase, &plan).await? {
            self.newest.put(written);
        }
        self.sources.hooks.drive(&key, &plan.status);
        self.sources.settled.put(&key, plan.settle.iter().map(|settlement| settlement.uid.clone()));

        let state = plan.status.state.unwrap_or_default();
        self.states.set(&key, &[(&[state.as_str()], 1.0)]);
        let server_of = |environment: &str| self.sources.server_of(&key.namespace, environment);
        let next_check = self.sources.checks.drive(&key, &plan.checks, Instant::now(), server_of);
        let next_timer = plan.requeue_after(now);
        Ok([next_check, next_timer].into_iter().flatten().min().map_or_else(Action::await_change, Action::requeue))
    }

    /// Its status too: a decision rests on it.
    fn matters(_before: &MigrationPhase, _after: &MigrationPhase) -> bool {
        true
    }

    fn forget(&self, key: &Key) {
        self.sources.checks.forget(key);
        self.sources.hooks.forget(key);
        self.sink.audit.forget(key);
        self.states.remove(key);
        self.newest.forget(key);
        self.sources.settled.forget(key);
    }

    async fn finish(&self) {
        let notifier = &self.sink.notifier;
        tokio::join!(self.sink.events.drain(), notifier.finish(LAST_WORDS));
    }
}
