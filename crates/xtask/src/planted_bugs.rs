//! Proves that the engine's properties can fail: every patch of `tests/planted-bugs` is applied to a copy of the sources, and the
//! property that it names must fail there. Takes minutes (a build per bug), so it is no part of `cargo xtask test`; that each patch
//! still fits the sources is a test of the engine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::tools::repository;

use crate::{cargo, say};

/// One patch: what it breaks, the property that must fail, and the tests that are run to see it.
struct Bug {
    name: String,
    patch: PathBuf,
    what: String,
    property: String,
    tests: String,
}

/// Runs those whose name contains one of `names`, or all.
pub(crate) fn run(names: &[String]) -> Result<ExitCode> {
    let bugs: Vec<_> = bugs()?.into_iter().filter(|bug| named(bug, names)).collect();
    ensure!(!bugs.is_empty(), "no planted bug is named so");
    let tree = copy_sources()?;
    for tests in bugs.iter().map(|bug| bug.tests.as_str()).collect::<BTreeSet<_>>() {
        let clean = test(&tree, tests)?;
        ensure!(clean.passed, "without a planted bug the tests must pass:\n{}", clean.output);
    }
    let mut missed = Vec::new();
    for bug in &bugs {
        apply(&tree, &bug.patch, false)?;
        let outcome = test(&tree, &bug.tests);
        apply(&tree, &bug.patch, true)?;
        let seen = fails(&outcome?.output, &bug.property);
        let verdict = if seen { "seen  " } else { "MISSED" };
        say::line(format_args!("{verdict} {}: {} ({})", bug.name, bug.what, bug.property));
        if !seen {
            missed.push(bug.name.as_str());
        }
    }
    ensure!(missed.is_empty(), "not seen by their property: {}", missed.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn named(bug: &Bug, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| bug.name.contains(name.as_str()))
}

fn bugs() -> Result<Vec<Bug>> {
    let folder = repository().join("tests/planted-bugs");
    let mut bugs = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let patch = entry?.path();
        if patch.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let text = fs::read_to_string(&patch)?;
        let header = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            found.map(str::to_owned).with_context(|| format!("{} has no line {name}:", patch.display()))
        };
        let (what, property, tests) = (header("Bug")?, header("Property")?, header("Run")?);
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        bugs.push(Bug { name, patch, what, property, tests });
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

/// The sources as they are now, in a folder of their own: nobody else's build sees a planted bug.
fn copy_sources() -> Result<PathBuf> {
    let tree = repository().join("target/planted-bugs/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .context("cannot run git")?;
    ensure!(listed.status.success(), "git ls-files: {}", listed.status);
    for file in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (from, to) = (repository().join(file), tree.join(file));
        if from.is_file() {
            fs::create_dir_all(to.parent().unwrap_or(&tree))?;
            fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(tree)
}

fn apply(tree: &Path, patch: &Path, back: bool) -> Result<()> {
    let mut git = Command::new("git");
    // The copy lies inside the repository, whose own files are not meant.
    git.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree)).current_dir(tree).arg("apply");
    if back {
        git.arg("--reverse");
    }
    cargo::run(git.arg(patch))
}

struct Outcome {
    passed: bool,
    output: String,
}

/// Runs the engine's tests of that name, built in a folder of their own: cargo would take what is built here for a build of the repository.
fn test(tree: &Path, tests: &str) -> Result<Outcome> {
    let output = cargo::cargo()
        .args(["test", "--package", "cutover-engine", "--lib", "--", tests])
        .env("CARGO_TARGET_DIR", repository().join("target/planted-bugs/build"))
        .env("RUST_BACKTRACE", "0")
        .current_dir(tree)
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat();
    ensure!(text.contains("test result:"), "the tests were not built:\n{text}");
    ensure!(!text.contains("running 0 tests"), "there are no tests called {tests}");
    Ok(Outcome { passed: output.status.success(), output: text })
}

/// Whether the property is among what failed: an invariant by its name, or a test.
fn fails(output: &str, property: &str) -> bool {
    let (invariant, table, alone) =
        (format!("violated: {property}:"), format!("::{property}::"), format!("::{property} "));
    output.lines().any(|line| {
        let test = line.starts_with("test ") && line.ends_with("FAILED");
        line.contains(&invariant) || (test && (line.contains(&table) || line.contains(&alone)))
    })
}
