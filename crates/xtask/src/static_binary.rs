//! The operator as one static file, as the image ships it, without a second build: the libraries of the build that has just
//! been are linked once more. Whether they are linked statically is decided then, not when they are compiled.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::tools::repository;

use crate::cargo::{self, Built};

const OPERATOR: &str = "cutover_operator";

/// Links it beside the dynamic one, unless it is newer than all that it is made of. Gives its path.
pub(crate) fn link(built: &Built) -> Result<PathBuf> {
    let source = repository().join("crates/operator/src/main.rs");
    let library = built.library(OPERATOR).context("the operator's library was not built")?;
    let dependencies = library.parent().context("a library without a folder")?;
    let linked = dependencies.parent().context("a build without a folder")?.join("cutover-operator-static");
    if is_newer(&linked, &[&source, library])? {
        return Ok(linked);
    }
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    rustc.current_dir(repository()).args(["--edition", "2024", "--crate-type", "bin", "--crate-name", OPERATOR]);
    rustc.args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"]);
    for (name, path) in built.libraries() {
        rustc.arg("--extern").arg(format!("{name}={}", path.display()));
    }
    rustc.arg("-L").arg(format!("dependency={}", dependencies.display()));
    cargo::run(rustc.arg("-o").arg(&linked).arg(&source))?;
    ensure!(linked.is_file(), "{} was not linked", linked.display());
    Ok(linked)
}

fn is_newer(file: &Path, sources: &[&Path]) -> Result<bool> {
    let modified = |path: &Path| -> Result<SystemTime> {
        let metadata = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
        Ok(metadata.modified()?)
    };
    if !file.exists() {
        return Ok(false);
    }
    let made = modified(file)?;
    sources.iter().try_fold(true, |newer, source| Ok(newer && made > modified(source)?))
}
