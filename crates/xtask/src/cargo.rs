//! Calls of cargo.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
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

/// What a build made.
#[derive(Default)]
pub(crate) struct Built {
    executables: Vec<Executable>,
    /// By name; several where one crate was built with several sets of features.
    libraries: BTreeMap<String, Vec<PathBuf>>,
}

impl Built {
    /// The test runner of that name.
    pub(crate) fn tests(&self, name: &str) -> Option<&Executable> {
        self.executables.iter().find(|executable| executable.test && executable.name == name)
    }

    /// The program of that name.
    pub(crate) fn program(&self, name: &str) -> Option<&Path> {
        let found = self.executables.iter().find(|executable| !executable.test && executable.name == name)?;
        Some(&found.path)
    }

    /// The library crates that there is one of, by the names that programs know them by.
    pub(crate) fn libraries(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.libraries.iter().filter_map(|(name, paths)| match paths.as_slice() {
            [one] => Some((name.as_str(), one.as_path())),
            _ => None,
        })
    }

    /// One of those.
    pub(crate) fn library(&self, name: &str) -> Option<&Path> {
        self.libraries().find(|(other, _)| *other == name).map(|(_, path)| path)
    }

    fn add(&mut self, artifact: Artifact) -> Result<()> {
        let Artifact { executable, filenames, target, profile, manifest_path } = artifact;
        let name = target.name.replace('-', "_");
        if let Some(path) = executable {
            let package = manifest_path.parent().context("a manifest without a folder")?.to_path_buf();
            self.executables.push(Executable { name: target.name, test: profile.test, path, package });
        } else {
            let library = filenames.into_iter().find(|path| path.extension().is_some_and(|it| it == "rlib"));
            self.libraries.entry(name).or_default().extend(library);
        }
        Ok(())
    }
}

/// Builds without running: `cargo <args>`.
pub(crate) fn build<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Built> {
    let mut command = cargo();
    command.args(args).arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let name = describe(&command);
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let mut built = Built::default();
    for line in BufReader::new(child.stdout.take().context("no output stream")?).lines() {
        // Other reasons have other fields: they are of no interest here.
        if let Ok(artifact) = serde_json::from_str(&line?) {
            built.add(artifact)?;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(built)
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
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}
