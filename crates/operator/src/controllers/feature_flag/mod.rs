//! The FeatureFlag controller: keeps the ConfigMap of an environment's flags, and each flag's status. Reconciles of one environment's
//! flags come one after another: they write one object.

mod apply;
mod observe;
#[cfg(test)]
mod tests;
mod triggers;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cutover_api::{
    conditions::reasons,
    labels::{FINALIZER_FEATURE_FLAG, MANAGER_FEATURE_FLAG},
    v1alpha1::{FeatureFlag, FeatureFlagStatus},
};
use cutover_engine::feature_flag::{Finalizer, Obstacle, Plan, Stopped, config_map_name, intent, notes, status};
use jiff::Timestamp;
use kube::{Client, Resource, ResourceExt, runtime::controller::Action};

use self::observe::{Sources, Written};
use super::{
    Error,
    driver::{self, LOOK_AGAIN, Reconciler},
    newest::Newest,
};
use crate::{
    caches::{Caches, Kinds},
    cluster::{events::Events, finalizer, stores::Key},
    metrics::ObjectGauges,
    process::{Controller, Runtime},
};

struct Context {
    client: Client,
    sources: Arc<Sources>,
    events: Events,
    percents: ObjectGauges,
    turns: Turns,
}

/// One at a time for each environment.
#[derive(Default)]
struct Turns {
    locks: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

/// Makes the controller over shared caches.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds, caches: &Caches) -> anyhow::Result<Controller> {
    let help = "Percentage of the growing variant in force.";
    let percents = runtime.metrics.object_gauges("cutover_flag_percent", help, &[])?;
    let sources = Arc::new(Sources {
        kinds: kinds.clone(),
        caches: caches.clone(),
        newest: Newest::default(),
        written: Written::default(),
    });
    let (client, replica) = (runtime.client.clone(), runtime.replica.clone());
    Ok(driver::controller(runtime, &kinds.flags, move || {
        let others = triggers::all(&sources);
        let events = Events::start(client.clone(), MANAGER_FEATURE_FLAG, &replica);
        (Context { client, sources, events, percents, turns: Turns::default() }, others)
    }))
}

impl Reconciler for Context {
    const NAME: &'static str = "feature-flag";
    type Kind = FeatureFlag;

    async fn reconcile(&self, cached: Arc<FeatureFlag>) -> Result<Action, Error> {
        let turn = self.turns.of(&cached);
        let _mine = turn.lock().await;
        let flag = self.sources.newest.of(cached);
        let mut snapshot = self.sources.observe(Arc::clone(&flag));
        // Validates too: an invalid flag is one of the plan's obstacles.
        let plan = Sources::settle(&self.client, &mut snapshot).await?;
        let before = flag.status.clone().unwrap_or_default();
        let (flag, version, outcome) = self.apply(flag, &plan).await;
        if outcome.as_ref().is_err_and(Error::is_conflict) {
            // Decided on an outdated copy: there is nothing to tell.
            return outcome.map(|()| Action::await_change());
        }
        let stopped = outcome.as_ref().err().map(stopped);
        if plan.finalizer == Finalizer::Remove && stopped.is_none() {
            let freed = finalizer::take_off(&self.client, MANAGER_FEATURE_FLAG, &*flag, FINALIZER_FEATURE_FLAG);
            freed.await.map_err(Error::Finalizer)?;
        } else {
            let last = flag.status.clone().unwrap_or_default();
            let (generation, now) = (flag.metadata.generation, Timestamp::now());
            let next = status(&flag.spec, generation, &last, &plan.decision, version.as_deref(), stopped.as_ref(), now);
            self.tell(&flag, &before, &next).await?;
        }
        let foreign = matches!(plan.decision.obstacle, Some(Obstacle::ForeignConfigMap(_)));
        outcome.map(|()| if foreign { Action::requeue(LOOK_AGAIN) } else { Action::await_change() })
    }

    fn forget(&self, key: &Key) {
        self.sources.newest.forget(key);
        self.percents.remove(key);
    }

    async fn finish(&self) {
        self.events.drain().await;
    }
}

impl Context {
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
                let guarded = finalizer::put_on(&self.client, MANAGER_FEATURE_FLAG, &*flag, FINALIZER_FEATURE_FLAG);
                flag = self.sources.newest.put(guarded.await.map_err(Error::Finalizer)?);
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
        self.percents.set(&Key::of(flag), &values);
        if let Some(newer) = apply::write_status(&self.client, flag, next).await? {
            self.sources.newest.put(newer);
        }
        for note in notes(before, next) {
            self.events.publish(note, flag.object_ref(&()));
        }
        Ok(())
    }
}

impl Turns {
    fn of(&self, flag: &FeatureFlag) -> Arc<tokio::sync::Mutex<()>> {
        let key = Key::new(&flag.namespace().unwrap_or_default(), &flag.spec.environment);
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody waits for is not kept.
        locks.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(locks.entry(key).or_default())
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
