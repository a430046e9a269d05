//! The Environment controller: Deployments, Services, EndpointSlices and the ConfigMap of an environment, and its status.

mod apply;
mod memory;
mod names;
mod observe;
#[cfg(test)]
mod tests;
mod triggers;
mod versions;

use std::{sync::Arc, time::Instant};

use cutover_api::{
    conditions::reasons,
    labels::{FINALIZER_ENVIRONMENT, MANAGER_ENVIRONMENT},
    v1alpha1::{Environment, EnvironmentStatus},
};
use cutover_engine::environment::{
    Applied, Identity, Observed, Plan, Verdict, decide, decide_deletion, notes, status, validate,
};
use futures::{FutureExt, stream};
use jiff::Timestamp;
use kube::{Api, Client, Resource, runtime::controller::Action};

use self::{
    memory::Memory,
    names::{Ask, Names},
    observe::{Sources, identity, version_source},
    versions::Versions,
};
use super::{
    Error,
    driver::{self, LOOK_AGAIN, OUTDATED, Reconciler},
    jobs::Jobs,
    newest::Newest,
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

struct Context {
    client: Client,
    sources: Arc<Sources>,
    newest: Newest<Environment>,
    events: Events,
    components: ObjectGauges,
}

/// Makes the controller over shared caches.
///
/// # Errors
/// When its metrics cannot be registered.
pub fn build(runtime: &Runtime, kinds: &Kinds, caches: &Caches) -> anyhow::Result<Controller> {
    let help = "Whether a component can take traffic: yes is 1, no is 0.";
    let components = runtime.metrics.object_gauges("cutover_component_ready", help, &["component", "system"])?;
    let jobs = Jobs::new(runtime.client.clone(), caches.jobs.clone(), MANAGER_ENVIRONMENT);
    let (versions, told) = Versions::new(runtime.probes.clone(), jobs);
    let resolver = runtime.resolver.clone();
    let ask: Ask = Arc::new(move |host, family| {
        let resolver = resolver.clone();
        async move { resolver.ask(&host, family).await }.boxed()
    });
    let (names, resolved) = Names::new(ask, &runtime.args.forbidden_external_cidrs);
    let sources = Arc::new(Sources {
        versions,
        names,
        kinds: kinds.clone(),
        caches: caches.clone(),
        memory: Memory::default(),
        forbidden: runtime.args.forbidden_external_cidrs.clone(),
    });
    let (client, replica) = (runtime.client.clone(), runtime.replica.clone());
    Ok(driver::controller(runtime, &kinds.environments, move || {
        let others = triggers::all(&sources, stream::select(told, resolved));
        let events = Events::start(client.clone(), MANAGER_ENVIRONMENT, &replica);
        (Context { client, sources, newest: Newest::default(), events, components }, others)
    }))
}

impl Reconciler for Context {
    const NAME: &'static str = "environment";
    type Kind = Environment;

    async fn reconcile(&self, cached: Arc<Environment>) -> Result<Action, Error> {
        let environment = self.newest.of(cached);
        if environment.metadata.deletion_timestamp.is_some() {
            return self.take_down(environment).await;
        }
        let identity = identity(&environment);
        let key = Key::new(&identity.namespace, &identity.name);
        let validated = validate(identity.clone(), &environment.spec, &self.sources.forbidden);
        if let Ok(validated) = &validated {
            // Before anything is looked at: an answer that comes meanwhile is news to this environment, too.
            self.sources.names.want(&key, validated);
        }
        let observed = self.sources.observe(&identity, &environment);
        let source = version_source(&identity, &environment);
        let ask_again = self.sources.versions.drive(&key, source.as_ref(), Instant::now());
        let validated = match validated {
            Ok(validated) => validated.with_retired(&observed.retired),
            Err(problems) => {
                let verdict = Verdict::Invalid(&problems);
                self.tell(&environment, &identity, &verdict, &observed, &Applied::default(), None).await?;
                return Ok(Action::await_change());
            }
        };
        let plan = decide(&validated, &observed);
        let environment = self.guard(environment, &plan).await?;
        let (applied, outcome) = apply::apply(&self.client, &self.sources.memory, &identity, &plan).await;
        if outcome.as_ref().is_err_and(Error::is_conflict) {
            // Decided on an outdated copy: there is nothing to tell.
            return outcome.map(|()| Action::await_change());
        }
        // An answer that came meanwhile is not carried out yet: it is the next reconcile's, which it has triggered.
        let observed = Observed { names: observed.names, ..self.sources.observe(&identity, &environment) };
        let verdict = Verdict::Carried { environment: &validated, plan: &plan, applied: &applied };
        self.tell(&environment, &identity, &verdict, &observed, &applied, outcome.as_ref().err()).await?;
        outcome.map(|()| match (ask_again, next(&plan, &applied)) {
            (Some(after), next) if next == Action::await_change() => Action::requeue(after),
            (Some(after), _) => Action::requeue(after.min(LOOK_AGAIN)),
            (None, next) => next,
        })
    }

    fn forget(&self, key: &Key) {
        self.newest.forget(key);
        self.sources.versions.forget(key);
        self.sources.names.forget(key);
        self.components.remove(key);
    }

    async fn finish(&self) {
        self.events.drain().await;
    }
}

impl Context {
    /// The finalizer is on before the first object is made.
    async fn guard(&self, environment: Arc<Environment>, plan: &Plan) -> Result<Arc<Environment>, Error> {
        if finalizer::is_on(&*environment, FINALIZER_ENVIRONMENT) || plan.steps.is_empty() {
            return Ok(environment);
        }
        let guarded = finalizer::put_on(&self.client, MANAGER_ENVIRONMENT, &*environment, FINALIZER_ENVIRONMENT).await;
        Ok(self.newest.put(guarded.map_err(Error::Finalizer)?))
    }

    async fn take_down(&self, environment: Arc<Environment>) -> Result<Action, Error> {
        if !finalizer::is_on(&*environment, FINALIZER_ENVIRONMENT) {
            return Ok(Action::await_change());
        }
        let identity = identity(&environment);
        let observed = self.sources.observe(&identity, &environment);
        let plan = decide_deletion(&identity, &observed);
        let (applied, outcome) = apply::apply(&self.client, &self.sources.memory, &identity, &plan).await;
        if plan.empty && apply::sweep(&self.client, &identity, &observed).await? {
            let freed =
                finalizer::take_off(&self.client, MANAGER_ENVIRONMENT, &*environment, FINALIZER_ENVIRONMENT).await;
            return freed.map(|()| Action::await_change()).map_err(Error::Finalizer);
        }
        let verdict = Verdict::Deleting { plan: &plan };
        self.tell(&environment, &identity, &verdict, &observed, &applied, outcome.as_ref().err()).await?;
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
        if let Written::Written(newer) = write(&api, MANAGER_ENVIRONMENT, environment, current, &next).await? {
            self.newest.put(*newer);
        }
        for note in notes(&previous, &next, applied) {
            self.events.publish(note, environment.object_ref(&()));
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
}

/// Nothing is due by time, unless objects of others or missing rights stand in the way.
fn next(plan: &Plan, applied: &Applied) -> Action {
    let unseen = |reason: &str| reason == reasons::CONFLICTED || reason == reasons::FORBIDDEN;
    let stands_in_the_way = plan.conflicts.iter().chain(&applied.refusals).any(|refusal| unseen(refusal.reason));
    if stands_in_the_way { Action::requeue(LOOK_AGAIN) } else { Action::await_change() }
}
