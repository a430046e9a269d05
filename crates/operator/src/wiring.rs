//! Which controllers there are, and what each is given.

use std::process::ExitCode;

use crate::{
    args::Args,
    caches::{Caches, Kinds},
    controllers,
    process::{self, Controller, Runtime},
};

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
        controllers::migration_phase::build(runtime, &kinds, &caches)?,
        controllers::environment::build(runtime, &kinds, &caches)?,
        controllers::feature_flag::build(runtime, &kinds, &caches)?,
    ])
}
