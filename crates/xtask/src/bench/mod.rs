//! `cargo xtask bench`: what the operator costs and how fast it is, on the local control plane without proxy or load.
//!
//! Every split has two Services of three endpoints and both routers; 5,000 foreign Services, EndpointSlices and Ingresses lie
//! around. The operator's connections lead through a forwarder that can cut them. Prints a table, and writes JSON.

mod changes;
mod fleet;
mod forwarder;
mod process;
mod report;
mod routes;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    gateway, namespace,
    operator::{self, NAMESPACE as OPERATOR_NAMESPACE, SERVICE_ACCOUNT},
    tools::{definitions, repository},
};

use self::{changes::Changes, fleet::Fleet, forwarder::Forwarder, process::Replica, report::Report, routes::Routes};
use crate::{cargo, sandbox, say, tools};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what a decision of the phase engine costs, on its own: ten thousand phases from start to completion.
    #[arg(long)]
    engine: bool,
    /// Where the figures go as JSON, besides the table.
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Splits of the full fleet.
    #[arg(long, default_value_t = 1_000)]
    splits: usize,
    /// Foreign objects of each kind.
    #[arg(long, default_value_t = 5_000)]
    foreign: usize,
    /// Changes in the long run, with connections cut now and then.
    #[arg(long, default_value_t = 10_000)]
    changes: usize,
    /// Seconds of rest before memory is read and requests at rest are counted.
    #[arg(long, default_value_t = 120)]
    rest: u64,
}

/// Builds what is missing, then measures inside the namespace.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.engine {
        return engine();
    }
    if namespace::is_inside() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        return runtime.block_on(measure(args));
    }
    say::timed("tools", tools::ensure)?;
    say::timed("build of the operator (release)", || cargo::build(["build", "--release", "-p", "cutover-operator"]))?;
    let mut again = Command::new(std::env::current_exe().context("which program is this?")?);
    again.arg("bench").args(std::env::args_os().skip(2));
    sandbox::enter(&again)
}

/// Measured, not asserted: what a machine needs is that machine's.
fn engine() -> Result<ExitCode> {
    let package = ["-p", "cutover-engine", "--features", "bench", "--bin", "ten-thousand-phases"];
    let built = cargo::build(["build", "--release"].into_iter().chain(package))?;
    let program = built.program("ten-thousand-phases").context("cargo built no ten-thousand-phases")?;
    let status = Command::new(program).status().with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(args: &Args) -> Result<ExitCode> {
    let plane = ControlPlane::start_named("bench").await?;
    plane.install_definitions(definitions("gateway-api")?).await?;
    operator::install(&plane).await?;
    let forwarder = Forwarder::start(plane.url()).await?;
    let account = Identity::ServiceAccount { namespace: OPERATOR_NAMESPACE.into(), name: SERVICE_ACCOUNT.into() };
    let kubeconfig = forwarder.kubeconfig(&plane, &plane.kubeconfig_for(&account).await?)?;
    let mut report = Report::default();
    let mut fleet = Fleet::new(&plane).await?;
    gateway::start(&plane).await?;
    doing(format_args!("making {} foreign Services, EndpointSlices and Ingresses", args.foreign));
    fleet.foreign(args.foreign).await?;

    let mut replica = Replica::start(&plane, &kubeconfig)?;
    replica.leads().await?;
    rest(args, &plane, &replica, 0, &mut report).await?;

    let routes = Routes::watch(&plane.admin().await?);
    doing("one split");
    routes.carried(fleet.grow_to(1).await?, 0).await?;
    let mut changes = Changes::new(&plane, &routes).await?;
    report.floor = changes.floor(300).await?;
    report.latency.push((1, changes.one_by_one(fleet.names(), 300).await?));

    doing("100 splits");
    routes.carried(fleet.grow_to(100.min(args.splits)).await?, 0).await?;
    rest(args, &plane, &replica, 100, &mut report).await?;

    doing(format_args!("{} splits", args.splits));
    routes.carried(fleet.grow_to(args.splits).await?, 0).await?;
    rest(args, &plane, &replica, args.splits, &mut report).await?;
    report.latency.push((args.splits, changes.one_by_one(fleet.names(), 500).await?));

    doing("1,000 changes, their requests and their CPU time");
    let before = (plane.audit().mark()?, replica.cpu()?);
    let many = changes.many(fleet.names(), 1_000, None).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    report.cost = report::Cost {
        changes: many.seen,
        requests: report::requests(&plane.audit().since(before.0)?),
        cpu: replica.cpu()?.saturating_sub(before.1),
    };

    doing(format_args!("{} changes while connections are cut now and then", args.changes));
    report.long_run = changes.many(fleet.names(), args.changes, Some(&forwarder)).await?;
    report.cuts = forwarder.cuts();
    doing("500 changes at once");
    report.burst = changes.burst(fleet.names(), 500.min(args.splits)).await?;
    report.memory_after = replica.memory()?;

    for (how, signal) in [("SIGTERM", process::End::Term), ("SIGKILL", process::End::Kill)] {
        doing(format_args!("restart after {how}"));
        replica.end(signal).await?;
        let awaited = changes.set_next(fleet.names()).await?;
        let started = Instant::now();
        replica = Replica::start(&plane, &kubeconfig)?;
        routes.carries(&awaited.0, awaited.1, Duration::from_secs(120)).await?;
        report.restarts.push((how, started.elapsed()));
    }

    let table = report.table();
    print(&table);
    let json = repository().join(&args.json);
    std::fs::write(&json, report.json()?).with_context(|| format!("cannot write {}", json.display()))?;
    print(&format!("The same as JSON: {}", args.json.display()));
    // Nothing is shown by connections that were never cut.
    let cut = report.cuts > 0 || args.changes < changes::BETWEEN_CUTS;
    Ok(if report.long_run.missed == 0 && cut { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Memory and requests after a rest.
async fn rest(args: &Args, plane: &ControlPlane, replica: &Replica, splits: usize, report: &mut Report) -> Result<()> {
    doing(format_args!("{} quiet seconds with {splits} splits", args.rest));
    // What the last changes still cause does not count.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (mark, started) = (plane.audit().mark()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(args.rest)).await;
    let requests = report::by_user(&plane.audit().since(mark)?, started.elapsed());
    report.rest.push(report::Rest { splits, memory: replica.memory()?, requests_per_minute: requests });
    Ok(())
}

fn doing(what: impl std::fmt::Display) {
    say::line(format_args!("-- {what}"));
}

fn print(text: &str) {
    use std::io::Write;
    // Nobody to tell that nobody listens.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
