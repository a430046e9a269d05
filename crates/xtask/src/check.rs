//! `cargo xtask check`: everything that can be said without running anything.

use std::process::{ExitCode, Stdio};

use anyhow::Result;
use cutover_testkit::tools;

use crate::{
    cargo::{cargo, run as must},
    chart, crds, docs, say,
};

pub(crate) fn run() -> Result<ExitCode> {
    say::timed("formatting", || must(cargo().args(["fmt", "--all", "--check"])))?;
    say::timed("lints", || {
        must(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    say::timed("documentation", || {
        must(cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    say::timed("generated files", || crds::run(true).and_then(|()| docs::run(true)))?;
    if tools::find("helm").is_ok() {
        say::timed("rendered chart", || chart::run(true))?;
    } else {
        say::line("== rendered chart: not checked, helm is not built: `cargo xtask tools`");
    }
    if has_deny() {
        // Advisories need a database from elsewhere.
        say::timed("dependencies", || must(cargo().args(["deny", "check", "licenses", "bans", "sources"])))?;
    } else {
        say::line("== dependencies: not checked, cargo-deny is not installed");
    }
    Ok(ExitCode::SUCCESS)
}

fn has_deny() -> bool {
    let status = cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
