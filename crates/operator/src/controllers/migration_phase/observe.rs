//! Collects what one decision rests on, from the caches alone: no request is made. Returns only once every store is listed, which
//! the process guarantees before controllers start.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use cutover_api::v1alpha1::{MigrationPhase, PhaseAction, TrafficSplit, traffic_split::RouteKind};
use cutover_engine::{
    Known,
    migration_phase::{
        ActionView, EnvironmentView, FlagView, Observed, PhaseIdentity, PredecessorView, PromotionView, SplitView,
        flag_names, split_names,
    },
    router::{alb_name, canary_name, route_name, weighted_name},
    traffic_split::RouteBaseline,
};
use jiff::SignedDuration;
use kube::ResourceExt;
use tokio::sync::watch;

use super::{checks::Checks, hooks::Hooks, settled::Settled};
use crate::{
    caches::{Caches, Kinds},
    cluster::{lease::Skew, policies::Enforcement, stores::Key},
    outbound::notify::Notifier,
};

/// Everything a phase's decisions are read from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) kinds: Kinds,
    pub(super) caches: Caches,
    pub(super) checks: Checks,
    pub(super) hooks: Hooks,
    /// Actions of which the cache may not show yet that all is said about them.
    pub(super) settled: Settled,
    /// When the controller started: this replica led, and every store was listed.
    pub(super) watching_since: Instant,
    pub(super) skew: watch::Receiver<Option<Skew>>,
    /// Without an election there is nothing to compare clocks by.
    pub(super) clock_is_compared: bool,
    pub(super) policies: watch::Receiver<Enforcement>,
    pub(super) trust_unenforced_policies: bool,
    pub(super) notifier: Notifier,
}

impl Sources {
    /// What is known of everything that concerns `phase`.
    pub(super) fn observe(&self, phase: &MigrationPhase) -> Observed {
        let identity = PhaseIdentity::of(phase);
        let status = phase.status.clone().unwrap_or_default();
        let namespace = identity.namespace.as_str();
        let key = Key::new(namespace, &identity.name);
        Observed {
            splits: named(
                split_names(&phase.spec, &status),
                |name| self.kinds.splits.get(namespace, name),
                |split| {
                    let lost = status.baseline.is_none();
                    let route_baseline = lost.then(|| self.route_baseline(split, &identity)).flatten();
                    SplitView { route_baseline, ..SplitView::of(split) }
                },
            ),
            flags: named(flag_names(&phase.spec, &status), |name| self.kinds.flags.get(namespace, name), FlagView::of),
            environment: phase.spec.environment.as_deref().map_or(Known::Unknown, |name| {
                let found = self.kinds.environments.get(namespace, name);
                Known::Known(found.map(|environment| {
                    let mut view = EnvironmentView::of(&environment);
                    self.open_migrations(namespace, &mut view);
                    view
                }))
            }),
            predecessors: self.predecessors(phase),
            promotion: promoted_from(phase).map_or(Known::Unknown, |(from, name)| {
                let found = self.kinds.phases.get(from, name);
                Known::Known(found.as_deref().map(|found| PromotionView::of(found, namespace)))
            }),
            measurements: self.checks.measurements(&key),
            hooks: self.hooks.views(&key, &status),
            actions: self.actions_on(&key),
            watched_for: self.watching_since.elapsed(),
            clock_skew: self.clock_skew(),
            policies_enforced: self.policies_enforced(),
            sinks: self.notifier.of_namespace(&identity.namespace),
            phase: identity,
            status,
        }
    }

    /// Adds the Jobs of migrations that the environment has not recorded yet.
    fn open_migrations(&self, namespace: &str, environment: &mut EnvironmentView) {
        for (name, job) in self.caches.jobs.group(namespace, &environment.uid) {
            let Some((_, run)) = &job.migration else { continue };
            let view = environment.migrations.entry(run.version).or_default();
            if run.round > view.round {
                view.open = Some(name.to_string());
            }
        }
    }

    /// The Prometheus that an environment of `namespace` names.
    pub(super) fn server_of(&self, namespace: &str, environment: &str) -> Result<String, String> {
        match self.kinds.environments.get(namespace, environment) {
            Some(environment) => Ok(environment.spec.monitoring.clone().unwrap_or_default().prometheus),
            None => Err(format!("Environment {environment:?} does not exist, so that no Prometheus is known to ask")),
        }
    }

    /// The phases that `after` leads to, and on from there: as far as a cycle could reach.
    fn predecessors(&self, phase: &MigrationPhase) -> BTreeMap<String, Known<Option<PredecessorView>>> {
        let namespace = phase.namespace().unwrap_or_default();
        let mut found = BTreeMap::new();
        let mut open = phase.spec.after.clone();
        while let Some(name) = open.pop() {
            if found.contains_key(&name) {
                continue;
            }
            let view = self.kinds.phases.get(&namespace, &name).as_deref().map(PredecessorView::of);
            open.extend(view.iter().flat_map(|view| view.after.iter().cloned()));
            found.insert(name, Known::Known(view));
        }
        found
    }

    /// What the split's routes remember for the phase; any one of them will do.
    fn route_baseline(&self, split: &TrafficSplit, phase: &PhaseIdentity) -> Option<i32> {
        let (namespace, name, uid) = (phase.namespace.as_str(), split.name_any(), split.uid()?);
        let ingresses = [route_name(&name), canary_name(&name), alb_name(&name)];
        let ingresses = ingresses.iter().filter_map(|name| self.caches.ingresses.get(namespace, name));
        let kinds = [RouteKind::Http, RouteKind::Grpc].into_iter();
        let gateway_routes = kinds.filter_map(|kind| self.caches.route(kind, namespace, &route_name(&name)));
        let weighted = self.caches.traefik_services.get(namespace, &weighted_name(&name));
        let virtual_service = self.caches.virtual_services.get(namespace, &route_name(&name));
        let routes = ingresses
            .map(|record| record.view().meta)
            .chain(gateway_routes.map(|route| route.meta))
            .chain(weighted.map(|record| record.meta.clone()))
            .chain(virtual_service.map(|record| record.meta.clone()));
        routes
            .filter(|meta| meta.is_owned_by(&uid))
            .find_map(|meta| RouteBaseline::read(meta.baseline.as_deref()?, &phase.uid))
    }

    fn actions_on(&self, phase: &Key) -> Vec<ActionView> {
        let about = |action: &PhaseAction| {
            action.spec.phase == *phase.name && action.metadata.namespace.as_deref() == Some(&*phase.namespace)
        };
        let cached = self.kinds.actions.filter(about);
        let mut actions: Vec<_> = cached.iter().map(|action| ActionView::of(action)).collect();
        self.settled.mark(phase, &mut actions);
        actions
    }

    fn policies_enforced(&self) -> Known<bool> {
        match *self.policies.borrow() {
            Enforcement::Enforced => Known::Known(true),
            _ if self.trust_unenforced_policies => Known::Known(true),
            Enforcement::Absent => Known::Known(false),
            Enforcement::Unknown => Known::Unknown,
        }
    }

    pub(super) fn clock_skew(&self) -> Known<SignedDuration> {
        if !self.clock_is_compared {
            return Known::Known(SignedDuration::ZERO);
        }
        self.skew.borrow().map_or(Known::Unknown, |skew| {
            // Only what is surely off counts: the measurement's own uncertainty does not.
            let surely = skew.offset.unsigned_abs().saturating_sub(skew.uncertainty);
            let surely = SignedDuration::try_from(surely).unwrap_or(SignedDuration::MAX);
            Known::Known(if skew.offset.is_positive() { -surely } else { surely })
        })
    }
}

/// Namespace and name of the phase that this one is promoted from.
pub(super) fn promoted_from(phase: &MigrationPhase) -> Option<(&str, &str)> {
    let from = phase.spec.gates.as_ref()?.promoted_from.as_ref()?;
    let own = phase.metadata.namespace.as_deref().unwrap_or_default();
    Some((from.namespace.as_deref().unwrap_or(own), &from.phase))
}

fn named<K, V>(
    names: impl IntoIterator<Item = String>,
    get: impl Fn(&str) -> Option<Arc<K>>,
    view: impl Fn(&K) -> V,
) -> BTreeMap<String, Known<Option<V>>> {
    names
        .into_iter()
        .map(|name| {
            let found = get(&name).map(|object| view(&object));
            (name, Known::Known(found))
        })
        .collect()
}
