//! Which controllers there are, and what each is given.

use std::process::ExitCode;

use crate::{args::Args, process};

/// Runs the operator; see [`process::run`].
///
/// # Errors
/// When the process cannot start, or a part of it ends that should not.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    process::run(args, |_runtime| Ok(Vec::new())).await
}
