//! The operator's process: flags in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, error::ErrorKind};
use cutover_operator::{args::Args, telemetry, wiring};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = args.validate() {
        Args::command().error(ErrorKind::ValueValidation, error).exit();
    }
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the operator ended");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::init(args.log_format, &args.log_level)?;
    // The work is waiting for answers: two threads are plenty, and each costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("no threads")?;
    let outcome = runtime.block_on(wiring::run(args));
    // Not waiting for anything: what is still running may not write any more.
    runtime.shutdown_background();
    outcome
}
