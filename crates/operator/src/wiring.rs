//! Which controllers there are, and what each is given.

use std::process::ExitCode;

use cutover_api::v1alpha1::{Environment, FeatureFlag, MigrationPhase, PhaseAction, TrafficSplit};

use crate::{
    args::Args,
    caches::Caches,
    cluster::stores::{Objects, Stores},
    controllers,
    process::{self, Controller, Runtime},
};

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

/// Runs the operator; see [`process::run`].
///
/// # Errors
/// When the process cannot start, or a part of it ends that should not.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    process::run(args, all).await
}

/// Every controller, over one set of caches.
fn all(runtime: &mut Runtime) -> anyhow::Result<Vec<Controller>> {
    let kinds = Kinds::register(&mut runtime.stores);
    let caches = Caches::register(&mut runtime.stores, &runtime.discovery);
    Ok(vec![
        controllers::traffic_split::build(runtime, &kinds, &caches)?,
        controllers::migration_phase::build(runtime, &kinds)?,
        controllers::environment::build(runtime, &kinds, &caches)?,
        controllers::feature_flag::build(runtime, &kinds, &caches)?,
    ])
}
