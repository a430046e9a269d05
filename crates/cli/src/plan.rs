//! `plan` and `lint`: what the engine makes of some files. No cluster.

use anyhow::Result;
use cutover_engine::simulate::{
    Assumptions, Forecast, Manifests,
    lint::{self, Finding, Level},
    render, simulate,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    args::{Lint, Plan},
    exit::Exit,
    files,
    output::{self, paint},
};

#[derive(Serialize)]
struct Report<'a> {
    forecasts: &'a [Forecast],
    findings: &'a [Finding],
}

pub(crate) fn plan(what: &Plan, namespace: Option<&str>) -> Result<Exit> {
    let assumptions = Assumptions {
        approval: what.assume_approval.signed(),
        propagation: what.route_propagation.signed(),
        ..Assumptions::from(what.start.unwrap_or_else(Timestamp::now))
    };
    let manifests = files::read(&what.lint.files, namespace)?;
    let (forecasts, findings) = judge(&manifests, &assumptions);
    if let Some(format) = what.lint.output {
        output::data(&Report { forecasts: &forecasts, findings: &findings }, format)?;
    } else {
        if forecasts.is_empty() {
            output::complain("there is no MigrationPhase in these files");
        }
        for forecast in &forecasts {
            output::print(&format!("{}\n", render::forecast(forecast, paint())))?;
        }
        output::print(&render::findings(&findings, paint()))?;
    }
    Ok(verdict(&findings, what.lint.strict))
}

pub(crate) fn lint(what: &Lint, namespace: Option<&str>) -> Result<Exit> {
    let manifests = files::read(&what.files, namespace)?;
    let (_, findings) = judge(&manifests, &Assumptions::from(Timestamp::now()));
    match what.output {
        Some(format) => output::data(&findings, format)?,
        None => output::print(&render::findings(&findings, paint()))?,
    }
    Ok(verdict(&findings, what.strict))
}

fn judge(manifests: &Manifests, assumptions: &Assumptions) -> (Vec<Forecast>, Vec<Finding>) {
    let forecasts = simulate(manifests, assumptions);
    let findings = lint::lint(manifests, &forecasts, assumptions);
    (forecasts, findings)
}

fn verdict(findings: &[Finding], strict: bool) -> Exit {
    let counts = |finding: &Finding| strict || finding.level == Level::Error;
    if findings.iter().any(counts) { Exit::Findings } else { Exit::Done }
}
