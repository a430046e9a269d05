//! The network and process namespace that tests, the demo and the benchmark run in.
//!
//! Outside: [`enter`] starts `unshare`, which starts this program again as [`inside`], the first process of the new
//! namespace. When that one ends, for whatever reason, the kernel ends all others in it, so no daemon survives.
//! It ends with its program, on a signal, and when [`enter`]'s process is gone (its input is a pipe from there).

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_testkit::{bed, namespace, tools::repository};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command as AsyncCommand},
    signal::unix::{SignalKind, signal},
};

use crate::{cargo, say};

/// How long programs may take to end after a signal.
const GRACE: Duration = Duration::from_secs(15);

/// How many runs' logs are kept.
const KEPT_RUNS: usize = 8;

/// Exit code after Ctrl-C, by custom.
const INTERRUPTED: u8 = 130;

/// Runs a program in a fresh namespace (or right here, when this already is one). What it needs must be built before:
/// there is no way out. It gets no input; the daemons' logs go to a folder that is named when it fails.
pub(crate) fn enter(program: &Command) -> Result<ExitCode> {
    let logs = new_log_folder()?;
    let code = runtime()?.block_on(async {
        let mut command = if namespace::is_inside() { AsyncCommand::new(program.get_program()) } else { unshare() };
        if !namespace::is_inside() {
            command.arg(env::current_exe()?).arg("inside").arg(program.get_program());
        }
        command.args(program.get_args()).env("CUTOVER_BED_LOGS", &logs).stdin(Stdio::piped());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(program.get_current_dir().unwrap_or(&repository()));
        watch_over(command.spawn().context("cannot run unshare: is util-linux installed?")?).await
    })?;
    if code != 0 && code != INTERRUPTED {
        say::line(format_args!("Logs of the daemons: {}", logs.display()));
    }
    Ok(ExitCode::from(code))
}

/// The first process of the namespace.
pub(crate) fn inside(program: &Path, args: &[OsString]) -> Result<ExitCode> {
    set_up()?;
    let runtime = runtime()?;
    let code = runtime.block_on(async {
        let mut child = AsyncCommand::new(program)
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            status = child.wait() => return Ok::<_, anyhow::Error>(code_of(status?)),
            // A terminal sends it to the program as well.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => terminate_child(&child),
            () = end_of_input() => terminate_child(&child),
        }
        tokio::select! {
            _ = tokio::time::timeout(GRACE, child.wait()) => {}
            _ = interrupt.recv() => {}
        }
        Ok(INTERRUPTED)
    });
    // Dropping the runtime, or returning, would wait for the thread that reads the input.
    std::process::exit(match code {
        Ok(code) => code.into(),
        Err(error) => {
            say::error(&error);
            1
        }
    })
}

async fn watch_over(mut child: Child) -> Result<u8> {
    // Held until the program is to end: waiting for the child would close it.
    let input = child.stdin.take();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        status = child.wait() => return Ok(code_of(status?)),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    drop(input);
    match tokio::time::timeout(GRACE + Duration::from_secs(1), child.wait()).await {
        Ok(status) => drop(status?),
        Err(_) => child.kill().await?,
    }
    Ok(INTERRUPTED)
}

fn terminate_child(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
        say::line(format_args!("the program cannot be told to end: {error}"));
    }
}

async fn end_of_input() {
    let mut nothing = [0_u8; 64];
    while matches!(tokio::io::stdin().read(&mut nothing).await, Ok(1..)) {}
}

fn unshare() -> AsyncCommand {
    // The shell becomes unshare, which is in the namespace itself: its id is how others get in.
    let mut command = AsyncCommand::new("sh");
    command.args(["-c", &format!("{}=$$ exec unshare \"$@\"", namespace::PID_VARIABLE), "unshare"]);
    command.args(["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

/// Makes the addresses local, and the folder for data in memory our own, so that it goes with the namespace.
fn set_up() -> Result<()> {
    // The machine's own network and folders are not to be touched, should somebody call this by hand.
    ensure!(std::process::id() == 1, "this command is for the first process of a namespace");
    for args in [&["link", "set", "lo", "up"][..], &["route", "add", "local", namespace::RANGE, "dev", "lo"]] {
        cargo::run(Command::new("ip").args(args)).context("is iproute2 installed?")?;
    }
    if Path::new("/dev/shm").is_dir() {
        cargo::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=1777", "cutover", "/dev/shm"]))?;
    }
    namespace::is_inside().then_some(()).ok_or_else(|| anyhow!("the namespace is not as it should be"))
}

/// A new folder under `target/bed`; the oldest runs' are removed.
fn new_log_folder() -> Result<PathBuf> {
    let root = bed::log_root();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let mut runs: Vec<_> = fs::read_dir(&root)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    runs.sort();
    for old in runs.iter().rev().skip(KEPT_RUNS - 1) {
        // Two runs may meet here; what cannot be removed stays until the next one.
        drop(fs::remove_dir_all(old));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let folder = root.join(format!("{now}-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn code_of(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
