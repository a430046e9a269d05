//! Follows the shop's splits and phases by watching them, so that what status says is seen as soon as it says so.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use cutover_api::v1alpha1::{
    Environment, MigrationPhase, TrafficSplit,
    migration_phase::{CheckState, MigrationPhaseStatus, PhaseState, Stage},
    traffic_split::TrafficSplitStatus,
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinSet};

use super::cluster::NAMESPACE;

/// What the statuses say now.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    splits: BTreeMap<String, TrafficSplitStatus>,
    phases: BTreeMap<String, (MigrationPhaseStatus, String)>,
    environments: BTreeMap<String, (bool, Option<String>)>,
}

impl State {
    pub(super) fn applied(&self, split: &str) -> Option<i32> {
        self.splits.get(split)?.applied_weight
    }

    pub(super) fn phase(&self, name: &str) -> Option<&MigrationPhaseStatus> {
        self.phases.get(name).map(|(status, _)| status)
    }

    pub(super) fn uid(&self, phase: &str) -> Option<&str> {
        self.phases.get(phase).map(|(_, uid)| uid.as_str())
    }

    pub(super) fn state(&self, phase: &str) -> Option<PhaseState> {
        self.phase(phase)?.state
    }

    pub(super) fn attempt(&self, phase: &str) -> Option<i32> {
        self.phase(phase)?.attempt
    }

    /// Whether the phase runs and is in this step.
    pub(super) fn is_at(&self, phase: &str, step: &str) -> bool {
        self.state(phase) == Some(PhaseState::Running)
            && self.phase(phase).and_then(|status| status.step.as_ref()).is_some_and(|at| at.name == step)
    }

    /// Whether all checks of the phase have passed this long after the present step's shift.
    pub(super) fn watched_for(&self, phase: &str, warmup: Duration) -> bool {
        let Some(status) = self.phase(phase) else { return false };
        let Some(shifted) = status.step.as_ref().and_then(|step| step.shifted_at.as_ref()) else { return false };
        let past = |run: &Time| run.0.duration_since(shifted.0).unsigned_abs() >= warmup && run.0 > shifted.0;
        !status.checks.is_empty()
            && status
                .checks
                .iter()
                .all(|check| check.state == CheckState::Passing && check.last_run.as_ref().is_some_and(past))
    }

    /// Whether the phase is in this step and at this stage of it, or past that stage.
    pub(super) fn reached(&self, phase: &str, step: &str, stage: Stage) -> bool {
        let present = self.phase(phase).and_then(|status| status.step.as_ref());
        self.is_at(phase, step) && present.is_some_and(|at| at.stage >= stage)
    }

    pub(super) fn is_ready(&self, environment: &str, version: Option<&str>) -> bool {
        self.environments
            .get(environment)
            .is_some_and(|(ready, deployed)| *ready && (version.is_none() || deployed.as_deref() == version))
    }

    /// `30-shift: Running quarter/Soaking, blocked by …` for each phase that does not rest.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        self.phases.iter().map(|(name, (status, _))| (name.clone(), line(status))).collect()
    }
}

fn line(status: &MigrationPhaseStatus) -> String {
    let state = status.state.map_or_else(|| "new".to_owned(), |state| format!("{state:?}"));
    let step = status.step.as_ref().map_or_else(String::new, |step| format!(" {}/{:?}", step.name, step.stage));
    let failure = status.failure.as_ref().map_or_else(String::new, |failure| format!(" ({})", failure.message));
    match status.state {
        Some(PhaseState::Running) => format!("{state}{step}"),
        Some(PhaseState::RollingBack | PhaseState::RolledBack | PhaseState::Frozen) => format!("{state}{failure}"),
        _ => state,
    }
}

/// A running observer. Dropping it ends the watches.
#[derive(Debug)]
pub(super) struct Observer {
    state: watch::Receiver<State>,
    _watches: JoinSet<()>,
}

impl Observer {
    pub(super) fn start(client: &Client) -> Self {
        let (sender, state) = watch::channel(State::default());
        let mut watches = JoinSet::new();
        watches.spawn(follow(client.clone(), sender.clone(), |state, split: TrafficSplit| {
            state.splits.insert(split.name_any(), split.status.unwrap_or_default());
        }));
        watches.spawn(follow(client.clone(), sender.clone(), |state, phase: MigrationPhase| {
            let uid = phase.uid().unwrap_or_default();
            state.phases.insert(phase.name_any(), (phase.status.unwrap_or_default(), uid));
        }));
        watches.spawn(follow(client.clone(), sender, |state, environment: Environment| {
            let status = environment.status.clone().unwrap_or_default();
            let current = status.observed_generation == environment.metadata.generation;
            let ready = current && status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            let version = status.manifest.and_then(|manifest| manifest.version);
            state.environments.insert(environment.name_any(), (ready, version));
        }));
        Self { state, _watches: watches }
    }

    pub(super) fn now(&self) -> State {
        self.state.borrow().clone()
    }

    /// The present state, then every later one.
    pub(super) fn changes(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The instant at which `condition` was seen to hold.
    pub(super) async fn until(
        &self,
        what: &str,
        within: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> Result<Instant> {
        let mut state = self.state.clone();
        let seen = tokio::time::timeout(within, state.wait_for(|state| condition(state)))
            .await
            .map_err(|_| anyhow!("not within {within:?}: {what}"))?;
        seen.context("the watches ended")?;
        Ok(Instant::now())
    }
}

async fn follow<K>(client: Client, state: watch::Sender<State>, put: fn(&mut State, K))
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client, NAMESPACE);
    let mut objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    loop {
        match objects.try_next().await {
            Ok(Some(object)) => state.send_modify(|state| put(state, object)),
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "watch interrupted"),
        }
    }
}
