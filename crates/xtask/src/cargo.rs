//! Calls of cargo.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use cutover_testkit::tools::repository;
use serde::Deserialize;

/// The cargo that runs this, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(repository());
    // What cargo told this program about its own package would look to build scripts (ring's) like a change, and
    // everything above them would be built again each time.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

/// Something that cargo built and that can be run.
pub(crate) struct Executable {
    /// The target's name.
    pub(crate) name: String,
    /// Whether it is a test runner.
    pub(crate) test: bool,
    /// The file.
    pub(crate) path: PathBuf,
    /// The package's folder, where cargo would run it.
    pub(crate) package: PathBuf,
}

/// Builds without running: `cargo <args>`; gives the executables of the build.
pub(crate) fn build<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Vec<Executable>> {
    let mut command = cargo();
    command.args(args).arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let name = describe(&command);
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let mut executables = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no output stream")?).lines() {
        // Other reasons have other fields: they are of no interest here.
        if let Ok(Artifact { executable: Some(path), target, profile, manifest_path }) = serde_json::from_str(&line?) {
            let package = manifest_path.parent().context("a manifest without a folder")?.to_path_buf();
            executables.push(Executable { name: target.name, test: profile.test, path, package });
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(executables)
}

fn describe(command: &Command) -> String {
    let args = command.get_args().take(3).map(OsStr::to_string_lossy).collect::<Vec<_>>();
    format!("{} {}", PathBuf::from(command.get_program()).file_name().unwrap_or_default().display(), args.join(" "))
}

#[derive(Deserialize)]
struct Artifact {
    target: Target,
    profile: Profile,
    manifest_path: PathBuf,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}
