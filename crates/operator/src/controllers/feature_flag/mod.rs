//! The FeatureFlag controller: keeps the ConfigMap of an environment's flags, and each flag's status. Reconciles of one environment's
//! flags come one after another: they write one object.

mod apply;
mod error;
mod observe;
#[cfg(test)]
mod tests;
mod triggers;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cutover_api::{
    conditions::reasons,
    labels::MANAGER_FEATURE_FLAG,
    v1alpha1::{FeatureFlag, FeatureFlagStatus},
};
use cutover_engine::{
    Note, Severity,
    feature_flag::{Finalizer, Obstacle, Plan, Stopped, config_map_name, intent, notes, status},
};
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        controller::{self, Action},
        reflector::ObjectRef,
        watcher,
    },
};

pub use error::Error;

use self::observe::{Sources, Written};
use super::newest::{Newest, key_of};
use crate::{
    caches::Caches,
    cluster::{
        backoff::Backoffs,
        events::{Events, Happening},
        stores::Key,
    },
    metrics::{Metrics, ObjectGauges},
    process::{Controller, Runtime},
    wiring::Kinds,
};

/// The controller's name in logs and metrics.
const NAME: &str = "feature-flag";
/// When the API server found our copy outdated, the newer one is on its way; this is for the case that it is not.
const OUTDATED: Duration = Duration::from_millis(200);
/// ConfigMaps of others are not watched: how long until it is looked again whether the name is free, or a right is there.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

struct Context {
    client: Client,
    sources: Arc<Sources>,
    events: Events,
    metrics: Metrics,
    percents: ObjectGauges,
    backoffs: Backoffs<Key>,
    /// One per environment.
    turns: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

/// Makes the controller over shared caches.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds, caches: &Caches) -> anyhow::Result<Controller> {
    let metrics = runtime.metrics.clone();
    let percents = metrics.object_gauges("cutover_flag_percent", "Percentage of the growing variant in force.", &[])?;
    let sources = Arc::new(Sources {
        kinds: kinds.clone(),
        caches: caches.clone(),
        newest: Newest::default(),
        written: Written::default(),
    });
    let client = runtime.client.clone();
    let replica = runtime.replica.clone();
    let config = controller::Config::default().concurrency(runtime.args.concurrency);
    let stop = runtime.stop.clone();
    Ok(Controller::new(NAME, move || async move {
        let events = Events::start(client.clone(), MANAGER_FEATURE_FLAG, &replica);
        let (backoffs, turns) = (Backoffs::default(), Mutex::default());
        let context = Arc::new(Context { client, sources, events, metrics, percents, backoffs, turns });
        // Subscribed before the first flag is looked at: what changes meanwhile is not missed.
        let others = triggers::all(&context.sources);
        let own = triggers::own(&context.sources);
        let flags = context.sources.kinds.flags.clone();
        let deletions = {
            let context = Arc::clone(&context);
            flags.deletions().for_each(move |key| {
                context.forget(&key);
                std::future::ready(())
            })
        };
        let reconciles = kube::runtime::Controller::for_shared_stream(own, flags.store())
            .with_config(config)
            .reconcile_on(others)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile, error_policy, context)
            .for_each(async |result| log(result));
        tokio::select! {
            () = reconciles => {}
            () = deletions => {}
        }
    }))
}

fn log(result: Result<(ObjectRef<FeatureFlag>, Action), controller::Error<Error, watcher::Error>>) {
    match result {
        Ok((flag, action)) => tracing::debug!(%flag, ?action, "reconciled"),
        Err(controller::Error::ReconcilerFailed(error, flag)) if error.is_conflict() => {
            tracing::debug!(%flag, %error, "decided on an outdated copy");
        }
        Err(controller::Error::ObjectNotFound(flag)) => tracing::debug!(%flag, "is gone"),
        Err(error) => tracing::warn!(%error, "reconcile failed"),
    }
}

async fn reconcile(flag: Arc<FeatureFlag>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let result = context.carry_on(flag).await;
    context.metrics.reconciled(NAME, started.elapsed(), result.as_ref().err().map(Error::reason));
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller runtime asks for")]
fn error_policy(flag: Arc<FeatureFlag>, error: &Error, context: Arc<Context>) -> Action {
    if error.is_conflict() {
        return Action::requeue(OUTDATED);
    }
    if error.is_retryable() {
        return Action::requeue(context.backoffs.failed(key_of(&*flag)));
    }
    Action::requeue(LOOK_AGAIN)
}

impl Context {
    async fn carry_on(&self, cached: Arc<FeatureFlag>) -> Result<Action, Error> {
        let turn = self.turn(&cached);
        let _mine = turn.lock().await;
        let flag = self.sources.newest.of(cached);
        let mut snapshot = self.sources.observe(Arc::clone(&flag));
        let plan = Sources::settle(&self.client, &mut snapshot).await?;
        let before = flag.status.clone().unwrap_or_default();
        let (flag, version, outcome) = self.apply(flag, &plan).await;
        if let Err(error) = &outcome
            && error.is_conflict()
        {
            // Decided on an outdated copy: there is nothing to tell.
            return outcome.map(|()| Action::await_change());
        }
        let stopped = outcome.as_ref().err().map(stopped);
        let gone = plan.finalizer == Finalizer::Remove && stopped.is_none();
        if gone {
            apply::remove_finalizer(&self.client, &flag).await?;
        } else {
            let last = flag.status.clone().unwrap_or_default();
            let (generation, now) = (flag.metadata.generation, Timestamp::now());
            let next = status(&flag.spec, generation, &last, &plan.decision, version.as_deref(), stopped.as_ref(), now);
            self.tell(&flag, &before, &next).await?;
        }
        outcome?;
        self.backoffs.forget(&key_of(&*flag));
        let foreign = matches!(plan.decision.obstacle, Some(Obstacle::ForeignConfigMap(_)));
        Ok(if foreign { Action::requeue(LOOK_AGAIN) } else { Action::await_change() })
    }

    /// Finalizer, grant, ConfigMap: each is there before the next, and whoever comes after a crash goes on from there. Returns the
    /// flag as it is then, and the ConfigMap's version.
    async fn apply(
        &self,
        flag: Arc<FeatureFlag>,
        plan: &Plan,
    ) -> (Arc<FeatureFlag>, Option<String>, Result<(), Error>) {
        let Plan { doubt: _, finalizer, write, decision: _ } = plan;
        let mut flag = flag;
        let mut version = None;
        let outcome = async {
            if *finalizer == Finalizer::Add {
                flag = self.sources.newest.put(apply::add_finalizer(&self.client, &flag).await?);
            }
            if let Some(granted) = intent(&flag.status.clone().unwrap_or_default(), plan)
                && let Some(newer) = apply::write_status(&self.client, &flag, &granted).await?
            {
                flag = self.sources.newest.put(newer);
            }
            let namespace = flag.namespace().unwrap_or_default();
            let environment = &flag.spec.environment;
            if let Some(write) = write {
                let view = apply::publish(&self.client, &namespace, environment, write).await?;
                version = Some(view.version.clone());
                self.sources.written.put(Key::new(&namespace, &write.name), view);
            } else {
                version = self.sources.version(&namespace, &config_map_name(environment));
            }
            Ok(())
        }
        .await;
        (flag, version, outcome)
    }

    /// Writes the status if it changed, and tells of transitions.
    async fn tell(
        &self,
        flag: &FeatureFlag,
        before: &FeatureFlagStatus,
        next: &FeatureFlagStatus,
    ) -> Result<(), Error> {
        let values: Vec<(&[&str], f64)> =
            next.percent.iter().map(|percent| ([].as_slice(), f64::from(*percent))).collect();
        self.percents.set(&key_of(flag), &values);
        if let Some(newer) = apply::write_status(&self.client, flag, next).await? {
            self.sources.newest.put(newer);
        }
        for note in notes(before, next) {
            self.events.publish(happening(note), flag.object_ref(&()));
        }
        Ok(())
    }

    fn turn(&self, flag: &FeatureFlag) -> Arc<tokio::sync::Mutex<()>> {
        let key = Key::new(&flag.namespace().unwrap_or_default(), &flag.spec.environment);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody waits for is not kept.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key).or_default())
    }

    fn forget(&self, key: &Key) {
        self.sources.newest.forget(key);
        self.percents.remove(key);
        self.backoffs.forget(key);
    }
}

fn stopped(error: &Error) -> Stopped {
    match error.code() {
        Some(403) => Stopped::Refused {
            reason: reasons::FORBIDDEN,
            message: format!("{error}: the right or policy that it names is missing"),
        },
        Some(400 | 422) => Stopped::Refused { reason: reasons::INVALID_SPEC, message: error.to_string() },
        _ => Stopped::Failed(error.to_string()),
    }
}

fn happening(note: Note) -> Happening {
    let Note { severity, reason, action, message } = note;
    Happening { warning: severity == Severity::Warning, reason, action, note: message }
}
