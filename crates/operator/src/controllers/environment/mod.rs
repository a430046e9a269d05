//! The Environment controller: Deployments, Services, EndpointSlices and the ConfigMap of an environment, and its status.

mod apply;
mod error;
mod memory;
mod observe;
#[cfg(test)]
mod tests;
mod triggers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::{
    conditions::reasons,
    labels::{FINALIZER_ENVIRONMENT, MANAGER_ENVIRONMENT},
    v1alpha1::{Environment, EnvironmentStatus},
};
use cutover_engine::{
    Note, Severity,
    environment::{Applied, Identity, Observed, Plan, Verdict, decide, decide_deletion, notes, status, validate},
};
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        controller::{self, Action},
        reflector::ObjectRef,
        watcher,
    },
};

pub use error::Error;

use self::{
    memory::Memory,
    observe::{Sources, identity},
};
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
const NAME: &str = "environment";
/// When the API server found our copy outdated, the newer one is on its way; this is for the case that it is not.
const OUTDATED: Duration = Duration::from_millis(200);
/// Objects of others are not watched: how long until it is looked again whether a name is free, or a right is there.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

struct Context {
    client: Client,
    sources: Arc<Sources>,
    newest: Newest<Environment>,
    events: Events,
    metrics: Metrics,
    components: ObjectGauges,
    backoffs: Backoffs<Key>,
}

/// Makes the controller over shared caches.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds, caches: &Caches) -> anyhow::Result<Controller> {
    let metrics = runtime.metrics.clone();
    let help = "Whether a component can take traffic: yes is 1, no is 0.";
    let components = metrics.object_gauges("cutover_component_ready", help, &["component", "system"])?;
    let sources = Arc::new(Sources {
        kinds: kinds.clone(),
        caches: caches.clone(),
        memory: Memory::default(),
        forbidden: runtime.args.forbidden_external_cidrs.clone(),
    });
    let client = runtime.client.clone();
    let replica = runtime.replica.clone();
    let config = controller::Config::default().concurrency(runtime.args.concurrency);
    let stop = runtime.stop.clone();
    Ok(Controller::new(NAME, move || async move {
        let events = Events::start(client.clone(), MANAGER_ENVIRONMENT, &replica);
        let (newest, backoffs) = (Newest::default(), Backoffs::default());
        let context = Arc::new(Context { client, sources, newest, events, metrics, components, backoffs });
        // Subscribed before the first environment is looked at: what changes meanwhile is not missed.
        let others = triggers::all(&context.sources);
        let own = triggers::own(&context.sources);
        let environments = context.sources.kinds.environments.clone();
        let deletions = {
            let context = Arc::clone(&context);
            environments.deletions().for_each(move |key| {
                context.forget(&key);
                std::future::ready(())
            })
        };
        let reconciles = kube::runtime::Controller::for_shared_stream(own, environments.store())
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

fn log(result: Result<(ObjectRef<Environment>, Action), controller::Error<Error, watcher::Error>>) {
    match result {
        Ok((environment, action)) => tracing::debug!(%environment, ?action, "reconciled"),
        Err(controller::Error::ReconcilerFailed(error, environment)) if error.is_conflict() => {
            tracing::debug!(%environment, %error, "decided on an outdated copy");
        }
        Err(controller::Error::ObjectNotFound(environment)) => tracing::debug!(%environment, "is gone"),
        Err(error) => tracing::warn!(%error, "reconcile failed"),
    }
}

async fn reconcile(environment: Arc<Environment>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let result = context.carry_on(environment).await;
    context.metrics.reconciled(NAME, started.elapsed(), result.as_ref().err().map(Error::reason));
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller runtime asks for")]
fn error_policy(environment: Arc<Environment>, error: &Error, context: Arc<Context>) -> Action {
    if error.is_conflict() {
        return Action::requeue(OUTDATED);
    }
    if error.is_retryable() {
        return Action::requeue(context.backoffs.failed(key_of(&*environment)));
    }
    Action::requeue(LOOK_AGAIN)
}

impl Context {
    async fn carry_on(&self, cached: Arc<Environment>) -> Result<Action, Error> {
        let environment = self.newest.of(cached);
        if environment.metadata.deletion_timestamp.is_some() {
            return self.take_down(environment).await;
        }
        let identity = identity(&environment);
        let observed = self.sources.observe(&identity, &environment);
        let action = match validate(identity.clone(), &environment.spec, &self.sources.forbidden) {
            Err(problems) => {
                let verdict = Verdict::Invalid(&problems);
                self.tell(&environment, &identity, &verdict, &observed, &Applied::default(), None).await?;
                Action::await_change()
            }
            Ok(validated) => {
                let plan = decide(&validated, &observed);
                let environment = self.guard(environment, &plan).await?;
                let (applied, outcome) = apply::apply(&self.client, &self.sources.memory, &identity, &plan).await;
                if let Err(error) = &outcome
                    && error.is_conflict()
                {
                    // Decided on an outdated copy: there is nothing to tell.
                    return outcome.map(|()| Action::await_change());
                }
                let observed = self.sources.observe(&identity, &environment);
                let verdict = Verdict::Carried { environment: &validated, plan: &plan, applied: &applied };
                let failure = outcome.as_ref().err();
                self.tell(&environment, &identity, &verdict, &observed, &applied, failure).await?;
                outcome?;
                next(&plan, &applied)
            }
        };
        self.backoffs.forget(&Key::new(&identity.namespace, &identity.name));
        Ok(action)
    }

    /// The finalizer is on before the first object is made.
    async fn guard(&self, environment: Arc<Environment>, plan: &Plan) -> Result<Arc<Environment>, Error> {
        let guarded = environment.finalizers().iter().any(|name| name == FINALIZER_ENVIRONMENT);
        if guarded || plan.steps.is_empty() {
            return Ok(environment);
        }
        Ok(self.newest.put(apply::add_finalizer(&self.client, &environment).await?))
    }

    async fn take_down(&self, environment: Arc<Environment>) -> Result<Action, Error> {
        if !environment.finalizers().iter().any(|name| name == FINALIZER_ENVIRONMENT) {
            return Ok(Action::await_change());
        }
        let identity = identity(&environment);
        let observed = self.sources.observe(&identity, &environment);
        let plan = decide_deletion(&identity, &observed);
        let (applied, outcome) = apply::apply(&self.client, &self.sources.memory, &identity, &plan).await;
        if plan.empty && apply::sweep(&self.client, &identity).await? {
            apply::remove_finalizer(&self.client, &environment).await?;
            return Ok(Action::await_change());
        }
        let verdict = Verdict::Deleting { plan: &plan };
        let failure = outcome.as_ref().err();
        self.tell(&environment, &identity, &verdict, &observed, &applied, failure).await?;
        outcome?;
        // What the sweep found is gone soon, and no cache will say so.
        Ok(if plan.empty { Action::requeue(OUTDATED) } else { Action::await_change() })
    }

    /// Writes the status if it changed, and tells of transitions.
    async fn tell(
        &self,
        environment: &Environment,
        identity: &Identity,
        verdict: &Verdict<'_>,
        observed: &Observed,
        applied: &Applied,
        failure: Option<&Error>,
    ) -> Result<(), Error> {
        let previous = environment.status.clone().unwrap_or_default();
        let failure = failure.map(ToString::to_string);
        let generation = environment.metadata.generation;
        let next = status(identity, generation, &previous, verdict, observed, failure.as_deref(), Timestamp::now());
        self.measure(identity, &next);
        let api: Api<Environment> = Api::namespaced(self.client.clone(), &identity.namespace);
        let current = environment.status.as_ref();
        let written = crate::cluster::status::write(&api, MANAGER_ENVIRONMENT, environment, current, &next).await?;
        if let crate::cluster::status::Written::Written(newer) = written {
            self.newest.put(*newer);
        }
        for note in notes(&previous, &next, applied) {
            self.events.publish(happening(note), environment.object_ref(&()));
        }
        Ok(())
    }

    fn measure(&self, identity: &Identity, status: &EnvironmentStatus) {
        let labels: Vec<([&str; 2], f64)> = status
            .components
            .iter()
            .map(|component| {
                ([component.name.as_str(), component.system.as_str()], if component.ready { 1.0 } else { 0.0 })
            })
            .collect();
        let values: Vec<(&[&str], f64)> = labels.iter().map(|(labels, value)| (labels.as_slice(), *value)).collect();
        self.components.set(&Key::new(&identity.namespace, &identity.name), &values);
    }

    fn forget(&self, key: &Key) {
        self.newest.forget(key);
        self.components.remove(key);
        self.backoffs.forget(key);
    }
}

/// Nothing is due by time, unless objects of others or missing rights stand in the way.
fn next(plan: &Plan, applied: &Applied) -> Action {
    let unseen = |reason: &str| reason == reasons::CONFLICTED || reason == reasons::FORBIDDEN;
    let stands_in_the_way = plan.conflicts.iter().chain(&applied.refusals).any(|refusal| unseen(refusal.reason));
    if stands_in_the_way { Action::requeue(LOOK_AGAIN) } else { Action::await_change() }
}

fn happening(note: Note) -> Happening {
    let Note { severity, reason, action, message } = note;
    Happening { warning: severity == Severity::Warning, reason, action, note: message }
}
