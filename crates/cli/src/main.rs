//! `kubectl cutover`: a migration at a glance, decisions by people, and what the phases in a folder would do.
//!
//! A kubectl plugin: `kubectl-cutover` on the path is `kubectl cutover`. What it shows and finds is worked out in the engine
//! (`show`, `simulate`); here are its flags, files, the cluster, and the exit codes.

mod act;
mod args;
mod cluster;
mod exit;
mod files;
mod output;
mod plan;
mod status;
mod verify;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use self::{
    args::{Args, Command},
    exit::Exit,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = run(args).unwrap_or_else(|error| exit::explain(&error));
    outcome.into()
}

fn run(args: Args) -> anyhow::Result<Exit> {
    let connection = args.connection;
    match args.command {
        Command::Plan(what) => plan::plan(&what, connection.namespace.as_deref()),
        Command::Lint(what) => plan::lint(&what, connection.namespace.as_deref()),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            // What is completed is the plugin's own name: kubectl asks it by way of kubectl_complete-cutover.
            clap_complete::generate(shell, &mut Args::command(), "kubectl-cutover", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
        Command::Status(what) => on_cluster(status::run(connection, what)),
        Command::History(what) => match (what.verify, what.phase) {
            (Some(log), None) => verify::all(&log, what.output),
            (Some(log), Some(phase)) => on_cluster(verify::one(connection, log, phase, what.output)),
            (None, phase) => on_cluster(status::history(connection, phase.unwrap_or_default(), what.output)),
        },
        Command::Approve(what) => on_cluster(act::approve(connection, what)),
        Command::Promote(what) => on_cluster(act::promote(connection, what)),
        Command::Pause(what) => on_cluster(act::pause(connection, what)),
        Command::Resume(what) => on_cluster(act::resume(connection, what)),
        Command::Abort(what) => on_cluster(act::abort(connection, what)),
        Command::Rollback(what) => on_cluster(act::rollback(connection, what)),
        Command::Retry(what) => on_cluster(act::retry(connection, what)),
    }
}

fn on_cluster(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    // Another provider can only be there if this program put it there.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime for requests")?.block_on(work)
}
