//! `history --verify`: whether the audit records of a log are complete and unchanged.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use cutover_engine::{
    migration_phase::audit::verify::{Log, Verified},
    show::{Ink, Paint},
};
use serde::Serialize;

use crate::{
    args::{Connection, Format},
    cluster::Cluster,
    exit::Exit,
    output::{self, paint},
};

/// The phases that a log has records of, each by itself.
pub(crate) fn all(file: &Path, format: Option<Format>) -> Result<Exit> {
    let log = read(file)?;
    report(&log, &log.verify(), format)
}

/// One phase's records, which have to end where its status does. The log is read first, so that the status is not older.
pub(crate) async fn one(connection: Connection, file: PathBuf, phase: String, format: Option<Format>) -> Result<Exit> {
    let log = read(&file)?;
    let phase = Cluster::connect(connection).await?.phase(&phase).await?;
    let verified = log.verify_phase(&phase);
    report(&log, &[verified], format)
}

fn read(file: &Path) -> Result<Log> {
    let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    Ok(Log::read(&text.with_context(|| file.display().to_string())?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    phases: &'a [Verified],
    /// Numbers of lines.
    unreadable: &'a [usize],
}

fn report(log: &Log, phases: &[Verified], format: Option<Format>) -> Result<Exit> {
    let unreadable = log.unreadable();
    if let Some(format) = format {
        output::data(&Report { phases, unreadable }, format)?;
    } else {
        output::print(&text(phases, unreadable, paint()))?;
    }
    let good = unreadable.is_empty() && phases.iter().all(|phase| phase.findings.is_empty());
    Ok(if good { Exit::Done } else { Exit::Findings })
}

fn text(phases: &[Verified], unreadable: &[usize], paint: Paint) -> String {
    let mut text = String::new();
    for phase in phases {
        let Verified { namespace, phase, uid, records, repeated, last, hash, findings } = phase;
        let name = paint.ink(Ink::Strong, &format!("{namespace}/{phase}"));
        let repeated = if *repeated == 0 { String::new() } else { format!(", {repeated} more say the same again") };
        let _ = writeln!(text, "{name} ({uid}): {records} records{repeated}");
        if findings.is_empty() && *records > 0 {
            let good = paint.ink(Ink::Good, "complete and unchanged");
            let _ = writeln!(text, "  {good}, up to record {last}: {hash}");
        }
        for finding in findings {
            let _ = writeln!(text, "  {}", paint.ink(Ink::Bad, finding));
        }
    }
    for line in unreadable {
        text.push_str(&paint.ink(Ink::Bad, &format!("line {line} is of the audit log and is no record\n")));
    }
    if text.is_empty() {
        text.push_str("there is no audit record in it\n");
    }
    text
}
