//! Tells what became of a split: its status, Events for transitions, and gauges.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cutover_api::{
    labels::MANAGER_TRAFFIC_SPLIT,
    v1alpha1::{TrafficSplit, TrafficSplitStatus, traffic_split::Router},
};
use cutover_engine::{
    conditions::Health,
    router::Problem,
    traffic_split::{Outcome, Plan, Validated, notes, overlap, status},
};
use jiff::Timestamp;
use kube::{Api, Resource};

use super::{Context, observe::Snapshot, problem, rounds::Carried};
use crate::{
    cluster::{
        status::{Written, write},
        stores::Key,
    },
    controllers::Error,
};

impl Context {
    /// Writes the status, unless all there is to tell is that a weight is on its way: that is told once it has arrived, and until then
    /// the status is about the generation before. Returns how long it is still on its way.
    pub(super) async fn tell(
        &self,
        key: &Key,
        snapshot: &mut Snapshot,
        carried: &mut Carried,
    ) -> Result<Option<Duration>, Error> {
        let Carried { validated, plan, failures } = carried;
        let problems = problems(&snapshot.split.spec.routers, failures);
        let settling = self.settling(key, &snapshot.split, plan);
        if settling.is_none() || snapshot.split.status.is_none() || is_noteworthy(validated, plan, &problems) {
            self.write_status(key, snapshot, validated, plan, &problems).await?;
        }
        self.measure(key, &snapshot.split);
        Ok(settling)
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

    /// Writes the status if it changed, and tells of transitions.
    pub(super) async fn write_status(
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
        let seen = self.sources.sampled.look(key, &split);
        let overlap = overlap(&key.namespace, &split.spec, &snapshot.left_behind);
        let outcome = Outcome {
            spec: &split.spec,
            retirement: snapshot.retirement.as_ref(),
            generation: split.metadata.generation,
            previous,
            validated,
            plan,
            failures,
            probed: &snapshot.probed,
            overlap: overlap.as_deref(),
            verified: seen.as_ref(),
        };
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
                // A weight that is in force from now on is looked at from now on.
                self.sources.sampled.look(key, &snapshot.split);
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
        let labelled: Vec<([&str; 1], f64)> =
            weights.iter().filter_map(|(label, weight)| Some(([*label], f64::from((*weight)?)))).collect();
        let values: Vec<(&[&str], f64)> = labelled.iter().map(|(label, weight)| (label.as_slice(), *weight)).collect();
        self.weights.set(key, &values);
    }
}

/// By router, in the spec's order: what the failed writes of its routes mean.
fn problems(routers: &[Router], failures: &[Option<Error>]) -> Vec<Option<Problem>> {
    let routers = routers.iter().enumerate().map(|(index, router)| path(index, router));
    let problem = |(failure, path): (&Option<Error>, String)| Some(problem::of(failure.as_ref()?, &path));
    failures.iter().zip(routers).map(problem).collect()
}

/// Where the spec has a router.
fn path(index: usize, router: &Router) -> String {
    format!("spec.routers[{index}].{}", router.kind().field())
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
