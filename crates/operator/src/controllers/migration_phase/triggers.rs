//! Which phases have to be looked at again when something else changed.

use std::collections::BTreeSet;

use cutover_api::v1alpha1::{MigrationPhase, MigrationPhaseSpec, MigrationPhaseStatus};
use cutover_engine::migration_phase::{flag_names, split_names};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::observe::Sources;
use crate::cluster::stores::{Kept, Key, Objects};

type Phases = BoxStream<'static, ObjectRef<MigrationPhase>>;

/// The phases concerned by changes of splits, flags, environments, other phases and actions, and by `results` of checks.
pub(super) fn all(sources: &Sources, results: BoxStream<'static, Key>) -> Phases {
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
        acted_on.boxed(),
        results.map(|key| ObjectRef::new(&key.name).within(&key.namespace)).boxed(),
    ])
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

fn names(
    phase: &MigrationPhase,
    of: fn(&MigrationPhaseSpec, &MigrationPhaseStatus) -> BTreeSet<String>,
) -> BTreeSet<String> {
    of(&phase.spec, phase.status.as_ref().unwrap_or(&MigrationPhaseStatus::default()))
}
