//! Which flags have to be looked at again when something else changed.

use std::{collections::BTreeSet, sync::Arc};

use cutover_api::{
    conditions::types,
    v1alpha1::{FeatureFlag, MigrationPhase},
};
use cutover_engine::feature_flag::{Claim, config_map_name};
use futures::{StreamExt, stream};
use kube::runtime::reflector::ObjectRef;

use super::observe::Sources;
use crate::{caches::ConfigMapRecord, cluster::stores::Change, controllers::driver::Triggers};

type Flags = Triggers<FeatureFlag>;

/// The flags concerned by changes of everything else.
pub(super) fn all(sources: &Arc<Sources>) -> Flags {
    stream::select_all([phases(sources), environments(sources), neighbours(sources), config_maps(sources)]).boxed()
}

fn references(
    flags: impl IntoIterator<Item = Arc<FeatureFlag>>,
) -> stream::Iter<std::vec::IntoIter<ObjectRef<FeatureFlag>>> {
    let found: Vec<_> = flags.into_iter().map(|flag| ObjectRef::from_obj(&*flag)).collect();
    stream::iter(found)
}

/// The flags of which a phase says something else now.
fn phases(sources: &Arc<Sources>) -> Flags {
    let sources = Arc::clone(sources);
    let changes = sources.kinds.phases.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let states: [&Option<Arc<MigrationPhase>>; 2] = [&before, &after];
            let requested = states.into_iter().flatten().filter_map(|phase| phase.status.as_ref()?.requests.as_ref());
            let mut names: BTreeSet<String> =
                requested.flat_map(|requests| requests.flags.iter().map(|request| request.flag.clone())).collect();
            let uids: Vec<&String> =
                states.into_iter().flatten().filter_map(|phase| phase.metadata.uid.as_ref()).collect();
            let held = sources.kinds.flags.filter(|flag| {
                let holder = flag.status.as_ref().and_then(|status| status.held_by.as_ref());
                holder.is_some_and(|holder| uids.contains(&&holder.uid))
            });
            names.extend(held.iter().filter_map(|flag| flag.metadata.name.clone()));
            names.retain(|name| {
                let says =
                    |phase: &Option<Arc<MigrationPhase>>| phase.as_ref().map(|phase| Claim::of(phase, name, false));
                says(&before) != says(&after)
            });
            let flags: Vec<_> = names.iter().filter_map(|name| sources.kinds.flags.get(&key.namespace, name)).collect();
            references(flags)
        })
        .boxed()
}

/// The flags of an environment that comes or goes.
fn environments(sources: &Arc<Sources>) -> Flags {
    let sources = Arc::clone(sources);
    let changes = sources.kinds.environments.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let comes_or_goes = before.is_none() != after.is_none();
            references(sources.kinds.flags.filter(|flag| {
                comes_or_goes
                    && flag.spec.environment == *key.name
                    && flag.metadata.namespace.as_deref() == Some(&*key.namespace)
            }))
        })
        .boxed()
}

/// The flags that may get what another one gave up: its key, or the room it took.
fn neighbours(sources: &Arc<Sources>) -> Flags {
    let sources = Arc::clone(sources);
    let changes = sources.kinds.flags.later_changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let spec_changed = match (&before, &after) {
                (Some(before), Some(after)) => before.metadata.generation != after.metadata.generation,
                _ => true,
            };
            let environment = before.or(after).map(|flag| flag.spec.environment.clone());
            references(sources.kinds.flags.filter(|flag| {
                spec_changed
                    && Some(&flag.spec.environment) == environment.as_ref()
                    && flag.metadata.namespace.as_deref() == Some(&*key.namespace)
                    && flag.metadata.name.as_deref() != Some(&*key.name)
                    && is_stalled(flag)
            }))
        })
        .boxed()
}

fn is_stalled(flag: &FeatureFlag) -> bool {
    let conditions = flag.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == types::STALLED && condition.status == "True")
}

/// The flags of a ConfigMap that somebody else changed.
fn config_maps(sources: &Arc<Sources>) -> Flags {
    let sources = Arc::clone(sources);
    let changes = sources.caches.config_maps.changes();
    changes
        .flat_map(move |Change { key, before, after }| {
            let flags = |record: &Arc<ConfigMapRecord>| matches!(&**record, ConfigMapRecord::Flags(_));
            let of_flags = [&before, &after].into_iter().flatten().any(flags);
            let shown = after.as_deref().and_then(|record| match record {
                ConfigMapRecord::Flags(view) => Some(view),
                ConfigMapRecord::Environment(_) | ConfigMapRecord::Split(_) => None,
            });
            let ours = of_flags && sources.written.seen(&key, shown);
            references(sources.kinds.flags.filter(|flag| {
                of_flags
                    && !ours
                    && flag.metadata.namespace.as_deref() == Some(&*key.namespace)
                    && config_map_name(&flag.spec.environment) == *key.name
            }))
        })
        .boxed()
}
