//! Brings the routes of a split to where its plan wants them, round by round: judge what is observed, write, take the answers in, and
//! judge again, until nothing is left to write.

use std::time::Instant;

use cutover_api::{
    labels::{FINALIZER_TRAFFIC_SPLIT, MANAGER_TRAFFIC_SPLIT},
    v1alpha1::TrafficSplitStatus,
};
use cutover_engine::{
    router::{self, RouteStep, SplitRef},
    traffic_split::{Observed, Plan, Validated, decide, validate},
};
use futures::future::join_all;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context, ROUNDS, apply,
    contention::Write,
    observe::{self, Snapshot},
    retire::leftovers,
};
use crate::{
    cluster::{finalizer, stores::Key},
    controllers::Error,
};

/// What was judged last, when nothing more was to be written.
pub(super) struct Carried {
    pub(super) validated: Validated,
    pub(super) plan: Plan,
    /// By router, in the spec's order: why its routes could not be written.
    pub(super) failures: Vec<Option<Error>>,
}

/// What one round writes.
struct Writes {
    /// By router, in the spec's order.
    routers: Vec<Vec<RouteStep>>,
    /// For routers that left the spec.
    leftovers: Vec<RouteStep>,
}

impl Writes {
    fn is_empty(&self) -> bool {
        self.leftovers.is_empty() && self.routers.iter().all(Vec::is_empty)
    }
}

impl Context {
    /// Validates, decides and applies, again and again. An error is about the split as a whole, or says that it was decided on what was
    /// no longer so: the next look, which is due at once, says what is.
    pub(super) async fn carry_out(&self, key: &Key, snapshot: &mut Snapshot) -> Result<Carried, Error> {
        let mut failures: Vec<Option<Error>> = snapshot.split.spec.routers.iter().map(|_| None).collect();
        let resting = self.sources.memory.resting(key, Instant::now()).is_some();
        let mut round = 0;
        let (validated, plan) = loop {
            let (validated, plan, writes) = self.judge(key, snapshot, resting, &failures).await?;
            if round == ROUNDS || writes.is_empty() {
                break (validated, plan);
            }
            self.guard(key, snapshot).await?;
            if plan.announce {
                self.write_status(key, snapshot, &validated, &plan, &[]).await?;
            }
            let said: Vec<Vec<Write>> = said(&plan, &writes.routers).collect();
            self.send(key, snapshot, writes.routers, &mut failures).await;
            let taken = said.into_iter().zip(&failures).filter(|(_, failure)| failure.is_none());
            self.sources.memory.wrote(key, taken.flat_map(|(writes, _)| writes).collect(), Instant::now());
            self.clear(key, snapshot, writes.leftovers).await?;
            round += 1;
        };
        let outdated = |error: &mut Error| error.is_conflict() || error.is_not_leader();
        match failures.iter_mut().find_map(|failure| failure.take_if(outdated)) {
            Some(error) => Err(error),
            None => Ok(Carried { validated, plan, failures }),
        }
    }

    /// Decides until nothing is in doubt, and says what is to be written; nothing more for routers that failed.
    async fn judge(
        &self,
        key: &Key,
        snapshot: &mut Snapshot,
        resting: bool,
        failures: &[Option<Error>],
    ) -> Result<(Validated, Plan, Writes), Error> {
        loop {
            snapshot.unseen = self.sources.memory.unseen(key, self.propagation, Instant::now()).0;
            let (validated, mut plan) = validate_and_decide(key, snapshot);
            if let Some(phase) = &plan.ruling.doubt {
                self.sources.confirm(key, phase, snapshot).await?;
                continue;
            }
            let mut routers: Vec<Vec<RouteStep>> =
                plan.routers.iter_mut().map(|router| std::mem::take(&mut router.steps)).collect();
            for (steps, _) in routers.iter_mut().zip(failures).filter(|(_, failure)| failure.is_some()) {
                steps.clear();
            }
            // A new weight is never held up by somebody else's writes; putting right what they wrote is, for a while.
            let repeated =
                || self.sources.memory.are_repeated(key, &said(&plan, &routers).flatten().collect::<Vec<_>>());
            if resting && !snapshot.backed_off && repeated() {
                snapshot.backed_off = true;
                continue;
            }
            let in_order = failures.iter().all(Option::is_none);
            let leftovers = if in_order { leftovers(snapshot, &validated, &plan) } else { Vec::new() };
            return Ok((validated, plan, Writes { routers, leftovers }));
        }
    }

    /// The finalizer is on before the first route is made.
    async fn guard(&self, key: &Key, snapshot: &mut Snapshot) -> Result<(), Error> {
        let (client, split) = (&self.sources.client, &*snapshot.split);
        if !finalizer::is_on(split, FINALIZER_TRAFFIC_SPLIT) {
            let guarded = finalizer::put_on(client, MANAGER_TRAFFIC_SPLIT, split, FINALIZER_TRAFFIC_SPLIT).await;
            self.take_split(key, snapshot, guarded.map_err(Error::Finalizer)?);
        }
        Ok(())
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

    /// Removes the routes of routers that left the spec, one after the other.
    async fn clear(&self, key: &Key, snapshot: &mut Snapshot, leftovers: Vec<RouteStep>) -> Result<(), Error> {
        let (answers, result) = apply::apply(&self.sources.client, &key.namespace, leftovers).await;
        self.take(key, snapshot, answers);
        result
    }
}

/// The spec, judged.
pub(super) fn validated(snapshot: &Snapshot) -> Validated {
    let slices = snapshot.slices();
    let (claimant, others) = snapshot.claimants();
    let validated = validate(&claimant, &snapshot.targets, &snapshot.facts(&slices), &others);
    validated.heeding(&snapshot.probed)
}

/// Two pure steps over what is observed.
fn validate_and_decide(key: &Key, snapshot: &Snapshot) -> (Validated, Plan) {
    let split = &*snapshot.split;
    let validated = validated(snapshot);
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
        now: Timestamp::now(),
    };
    let plan = decide(&split.spec, &validated, &observed);
    (validated, plan)
}

/// What the steps say, by router.
fn said(plan: &Plan, steps: &[Vec<RouteStep>]) -> impl Iterator<Item = Vec<Write>> {
    let routers = steps.iter().zip(&plan.wanted.next);
    routers.map(|(steps, weight)| steps.iter().filter_map(|step| Write::of(step, *weight)).collect())
}
