//! `cargo xtask test`: unit tests where they are, cluster tests in the namespace.
//!
//! Everything is built first. The last lines are the test runners' own.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{
    cargo::{self, Executable},
    sandbox, say, static_binary, tools,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose names contain one of these.
    filters: Vec<String>,
    /// Leave the cluster tests out.
    #[arg(long, conflicts_with = "cluster")]
    unit: bool,
    /// Leave the unit tests out.
    #[arg(long)]
    cluster: bool,
    /// Show the tests' output, also of those that pass.
    #[arg(long)]
    nocapture: bool,
    /// Where the random cases begin. Another number looks at other cases; `PROPTEST_CASES` says how many.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One build of everything: each choice of packages would have features of its own, and dependencies built again.
/// Not of this program, which is running.
const BUILD: [&str; 6] = ["build", "--workspace", "--exclude", "xtask", "--bins", "--tests"];

/// The test runners: at most three in the workspace.
const UNIT_TESTS: [&str; 2] = ["cutover_engine", "cutover_operator"];
const CLUSTER_TESTS: &str = "cluster";
/// In the names of tests that measure, and for which the others would be noise.
const ALONE: &str = "undisturbed_";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.unit {
        say::timed("tools", tools::ensure)?;
    }
    let built = say::timed("build", || cargo::build(BUILD))?;
    let find = |name: &str| built.tests(name).with_context(|| format!("there are no tests named {name}"));
    let mut passed = true;
    if !args.cluster {
        for name in UNIT_TESTS {
            passed &= say::timed(name, || unit(find(name)?, args))?;
        }
    }
    if !args.unit {
        say::timed("static operator", || static_binary::link(&built))?;
        let runner = find(CLUSTER_TESTS)?;
        let mut together = as_cargo_would(runner, args);
        if args.filters.is_empty() {
            together.args(["--skip", ALONE]);
        }
        passed &= sandbox::enter(&together)? == ExitCode::SUCCESS;
        if args.filters.is_empty() {
            let mut alone = as_cargo_would(runner, args);
            alone.args([ALONE, "--test-threads=1"]);
            passed &= sandbox::enter(&alone)? == ExitCode::SUCCESS;
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unit(runner: &Executable, args: &Args) -> Result<bool> {
    let status = as_cargo_would(runner, args).status();
    Ok(status.with_context(|| format!("cannot run {}", runner.path.display()))?.success())
}

fn as_cargo_would(runner: &Executable, args: &Args) -> Command {
    let mut command = Command::new(&runner.path);
    command
        .args(&args.filters)
        .current_dir(&runner.package)
        .env("CARGO_MANIFEST_DIR", &runner.package)
        .env("PROPTEST_RNG_SEED", args.seed.to_string());
    if args.nocapture {
        command.arg("--nocapture");
    }
    command
}
