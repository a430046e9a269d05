//! Which phases have to be looked at again when something else changed.

use std::collections::BTreeSet;

use cutover_api::v1alpha1::{MigrationPhase, MigrationPhaseSpec, MigrationPhaseStatus};
use cutover_engine::migration_phase::{clock_is_trusted, flag_names, split_names};
use futures::{Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::sync::watch;

use super::observe::{Sources, promoted_from};
use crate::{
    cluster::{
        policies::Enforcement,
        stores::{Kept, Key, Objects},
    },
    controllers::driver::Triggers,
};

type Phases = Triggers<MigrationPhase>;

/// The phases concerned by changes of splits, flags, environments, other phases and actions, by `results` of checks and by hooks that `ended`; all of them
/// once the policies are proven.
pub(super) fn all(
    sources: &Sources,
    results: impl Stream<Item = Key> + Send + 'static,
    ended: impl Stream<Item = Key> + Send + 'static,
) -> Phases {
    let kinds = &sources.kinds;
    let phases = &kinds.phases;
    let acted_on = kinds.actions.later_changes().filter_map(async |change| {
        let action = change.after.or(change.before)?;
        Some(ObjectRef::new(&action.spec.phase).within(&action.namespace()?))
    });
    stream::select_all([
        concerned(phases, &kinds.splits, |phase, name| names(phase, split_names).contains(name)),
        concerned(phases, &kinds.flags, |phase, name| names(phase, flag_names).contains(name)),
        concerned(phases, &kinds.environments, |phase, name| phase.spec.environment.as_deref() == Some(name)),
        concerned(phases, phases, |phase, name| phase.spec.after.iter().any(|after| after == name)),
        promoted(phases),
        acted_on.boxed(),
        results.map(|key| ObjectRef::new(&key.name).within(&key.namespace)).boxed(),
        ended.map(|key| ObjectRef::new(&key.name).within(&key.namespace)).boxed(),
        made_for(sources),
        judged_anew(phases, sources.policies.clone()),
        clocks(sources),
    ])
    .boxed()
}

/// The phases whose Jobs changed.
fn made_for(sources: &Sources) -> Phases {
    let changes = sources.caches.jobs.changes();
    changes
        .filter_map(async |change| {
            let job = change.after.or(change.before)?;
            Some(ObjectRef::new(job.phase.as_deref()?).within(&change.key.namespace))
        })
        .boxed()
}

/// The phases of the same namespace of which `concerns` says that they look at the changed object.
fn concerned<K: Kept>(
    phases: &Objects<MigrationPhase>,
    others: &Objects<K>,
    concerns: fn(&MigrationPhase, &str) -> bool,
) -> Phases {
    let phases = phases.clone();
    others
        .later_changes()
        .flat_map(move |change| {
            let Key { namespace, name } = change.key;
            let found = phases
                .filter(|phase| phase.metadata.namespace.as_deref() == Some(&*namespace) && concerns(phase, &name));
            stream::iter(found.into_iter().map(|phase| ObjectRef::from_obj(&*phase)))
        })
        .boxed()
}

/// The phases, of any namespace, that are promoted from a phase that changed.
fn promoted(phases: &Objects<MigrationPhase>) -> Phases {
    let all = phases.clone();
    phases
        .later_changes()
        .flat_map(move |change| {
            let from = (&*change.key.namespace, &*change.key.name);
            let found = all.filter(|phase| promoted_from(phase) == Some(from));
            stream::iter(found.into_iter().map(|phase| ObjectRef::from_obj(&*phase)))
        })
        .boxed()
}

/// All phases, whenever the clock begins or ceases to be trusted: what moves forward hangs on it, and timers stand still meanwhile.
pub(super) fn clocks(sources: &Sources) -> Phases {
    let phases = sources.kinds.phases.clone();
    let before = clock_is_trusted(sources.clock_skew());
    let turns = stream::unfold((sources.clone(), before), |(mut sources, before)| async move {
        loop {
            sources.skew.changed().await.ok()?;
            let now = clock_is_trusted(sources.clock_skew());
            if now != before {
                return Some(((), (sources, now)));
            }
        }
    });
    turns
        .flat_map(move |()| stream::iter(phases.filter(|_| true).into_iter().map(|phase| ObjectRef::from_obj(&*phase))))
        .boxed()
}

/// All phases, whenever it turns out whether policies are enforced: what actions count for hangs on it.
fn judged_anew(phases: &Objects<MigrationPhase>, policies: watch::Receiver<Enforcement>) -> Phases {
    let phases = phases.clone();
    let outcomes =
        stream::unfold(
            policies,
            |mut policies| async move { policies.changed().await.is_ok().then_some(((), policies)) },
        );
    outcomes
        .flat_map(move |()| stream::iter(phases.filter(|_| true).into_iter().map(|phase| ObjectRef::from_obj(&*phase))))
        .boxed()
}

fn names(
    phase: &MigrationPhase,
    of: fn(&MigrationPhaseSpec, &MigrationPhaseStatus) -> BTreeSet<String>,
) -> BTreeSet<String> {
    of(&phase.spec, phase.status.as_ref().unwrap_or(&MigrationPhaseStatus::default()))
}
