//! The repository's own commands: `cargo xtask <command>`.
//!
//! One module per command; `sandbox` and `tools` are what several of them stand on.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod bench;
mod cargo;
mod chart;
mod check;
mod crds;
mod demo;
mod docs;
mod planted_bugs;
mod sandbox;
mod say;
mod static_binary;
mod test;
mod tools;

/// Builds, tests and shows Cutover.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the programs of the test bed into the user's cache folder, where they are missing.
    Tools,
    /// Run the unit tests and, in a network namespace of their own, the cluster tests.
    Test(test::Args),
    /// Write the custom resource definitions from the types in `crates/api`.
    Crds {
        /// Fail when a file is stale instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Render the chart into `deploy/`, for `kubectl apply -k`.
    Chart {
        /// Fail when a file is stale instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Write the tables of the documentation that are made from what the code does.
    Docs {
        /// Fail when one is stale instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Measure what the operator costs and how fast it is.
    Bench(bench::Args),
    /// Migrate a sample shop through a real proxy under load, and judge what came out.
    Demo(demo::Args),
    /// Show that each bug of `tests/planted-bugs` is seen by the property that it names. Takes minutes.
    PlantedBugs {
        /// Only those whose name contains one of these.
        names: Vec<String>,
    },
    /// Formatting, lints, documentation, generated files, dependencies.
    Check,
    /// Run a program in a namespace as tests are run in: `cargo xtask sandbox ip route show table local`.
    Sandbox {
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// The first process of the namespace: sets it up, runs a program, and takes all others along when it ends.
    #[command(hide = true)]
    Inside {
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Tools => tools::run(),
        Command::Test(args) => test::run(&args),
        Command::Crds { check } => crds::run(check).map(|()| ExitCode::SUCCESS),
        Command::Chart { check } => chart::run(check).map(|()| ExitCode::SUCCESS),
        Command::Docs { check } => docs::run(check).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::PlantedBugs { names } => planted_bugs::run(&names),
        Command::Check => check::run(),
        Command::Sandbox { program, args } => sandbox::enter(std::process::Command::new(program).args(args)),
        Command::Inside { program, args } => sandbox::inside(&program, &args),
    };
    done.unwrap_or_else(|error| {
        say::error(&error);
        ExitCode::FAILURE
    })
}
