//! Our own kinds, kept whole.

use cutover_api::v1alpha1::{Environment, FeatureFlag, MigrationPhase, PhaseAction, TrafficSplit};

use crate::cluster::stores::{Objects, Stores};

/// The caches of our own kinds: one watch each, shared by all controllers. Cheap to clone.
#[derive(Clone)]
pub struct Kinds {
    /// Environments.
    pub environments: Objects<Environment>,
    /// Splits.
    pub splits: Objects<TrafficSplit>,
    /// Flags.
    pub flags: Objects<FeatureFlag>,
    /// Phases.
    pub phases: Objects<MigrationPhase>,
    /// Actions on phases.
    pub actions: Objects<PhaseAction>,
}

impl Kinds {
    /// Registers a watch for each kind.
    pub fn register(stores: &mut Stores) -> Self {
        Self {
            environments: stores.objects(),
            splits: stores.objects(),
            flags: stores.objects(),
            phases: stores.objects(),
            actions: stores.objects(),
        }
    }
}
