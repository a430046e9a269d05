//! `cargo xtask demo`: the sample shop's migration on real parts, told live, and judged.

use std::{
    io::{IsTerminal, Write},
    process::{Command, ExitCode},
    sync::Mutex,
    time::Instant,
};

use anyhow::{Context, Result};
use cutover_testkit::{
    namespace,
    scenario::{self, Access, Event, Measured, Options},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{cargo, sandbox, say, tools};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, and say how to reach it; Ctrl-C ends it.
    #[arg(long, env = "KEEP", num_args = 0..=1, default_missing_value = "1", default_value = "",
        value_parser = |text: &str| Ok::<_, String>(!matches!(text, "" | "0" | "false")))]
    keep: bool,
}

/// Builds what is missing, then tells the story inside the namespace.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if namespace::is_inside() {
        return tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(tell(args));
    }
    say::timed("tools", tools::ensure)?;
    say::timed("build of the operator", || cargo::build(["build", "-p", "cutover-operator"]))?;
    let mut again = Command::new(std::env::current_exe().context("which program is this?")?);
    again.arg("demo").args(args.keep.then_some("--keep"));
    sandbox::enter(&again)
}

async fn tell(args: &Args) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let screen = Screen::new();
    let show = |event: Event| screen.show(event);
    let story = async {
        let (cluster, outcome) = scenario::run(&Options::default(), &show).await?;
        anyhow::Ok((cluster, outcome))
    };
    let (cluster, outcome) = tokio::select! {
        told = story => told?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(130)),
    };
    print(format_args!("\n{outcome}"));
    let problems = outcome.problems();
    let code = if problems.is_empty() {
        print(format_args!("\nThe shop is on the new system, and nothing was lost."));
        ExitCode::SUCCESS
    } else {
        print(format_args!("\nThis should not have happened:"));
        for problem in &problems {
            print(format_args!("- {problem}"));
        }
        print(format_args!("\nIn detail, {}", outcome.report));
        if outcome.report.was_late() {
            print("This machine was too busy for the load. Try again when it has less to do.");
        }
        ExitCode::FAILURE
    };
    if args.keep {
        explain(&cluster.access());
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            failed = cluster.keep_replicas(&show) => match failed? {},
        }
    }
    Ok(code)
}

/// How to look around, from another terminal.
fn explain(access: &Access) {
    let Access { kubeconfig, entry_points, prometheus, pid } = access;
    let user = if rustix::process::geteuid().is_root() { "" } else { "--user --preserve-credentials " };
    let pid = pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    let enter = format!("nsenter {user}--net --mount --target {pid}");
    print(format_args!("\nEverything goes on running in a network of its own. From another terminal:"));
    print(format_args!("  {enter} kubectl --kubeconfig {} get cutover -n shop", kubeconfig.display()));
    for (router, address) in entry_points {
        print(format_args!("  {enter} curl -s -H 'host: shop.example.com' http://{address}/   # by {router}"));
    }
    print(format_args!("  {enter} curl -s 'http://{prometheus}/api/v1/query?query=up'"));
    print(format_args!("Ctrl-C ends it."));
}

/// What the demo shows goes to standard output: there is no other program that it would belong to.
fn print(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // Nobody to tell that nobody listens.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// The live table.
struct Screen {
    started: Instant,
    color: bool,
    header: Mutex<bool>,
}

impl Screen {
    fn new() -> Self {
        Self { started: Instant::now(), color: std::io::stdout().is_terminal(), header: Mutex::new(false) }
    }

    fn show(&self, event: Event) {
        let at = self.started.elapsed().as_secs_f64();
        match event {
            Event::Doing(what) => print(format_args!("{at:6.1} s  {}", self.bold(&what))),
            Event::Phase { phase, state } => print(format_args!("{at:6.1} s    {phase}: {state}")),
            Event::Step(step) => {
                self.head();
                let row = format!("{at:6.1} s  {step}");
                print(format_args!("{}", if step.problems().is_empty() { row } else { self.bold(&row) }));
            }
        }
    }

    fn head(&self) {
        let mut shown = self.header.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !*shown {
            print(format_args!("{}", self.bold(&format!("{:8}  {}", "", Measured::titles()))));
            *shown = true;
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.color { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
