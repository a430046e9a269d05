//! Forecasts and findings as text for people.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::{
    Change, Forecast, PhaseForecast, StepForecast, Wait, WayBack,
    lint::{Finding, Level},
};
use crate::show::{Paint, ink::Ink, length, table};

/// The forecast of one namespace.
#[must_use]
pub fn forecast(forecast: &Forecast, paint: Paint) -> String {
    let seconds = |seconds| length(SignedDuration::from_secs(seconds));
    let mut text = format!(
        "namespace {}, from {}; assumed: routes follow within {}, people approve after {}, checks pass, capacity is there\n",
        paint.ink(Ink::Strong, &forecast.namespace),
        forecast.start,
        seconds(forecast.propagation_seconds),
        seconds(forecast.approval_seconds),
    );
    for assumed in &forecast.assumed {
        let _ = writeln!(text, "  also assumed: {assumed}");
    }
    for phase in &forecast.phases {
        text.push('\n');
        text.push_str(&self::phase(phase, forecast.start, paint));
    }
    text
}

fn phase(phase: &PhaseForecast, start: Timestamp, paint: Paint) -> String {
    let end = match (phase.started, phase.completed) {
        (Some(from), Some(to)) => {
            format!("{} → {}, {} long", at(start, from), at(start, to), length(to.duration_since(from)))
        }
        (Some(from), None) => {
            let stuck = paint.ink(Ink::Bad, "does not end");
            format!("{} → {stuck}", at(start, from))
        }
        (None, _) => paint.ink(Ink::Bad, "never starts"),
    };
    let mut text = format!("{}  {end}\n", paint.ink(Ink::Strong, &phase.name));
    waits(&mut text, &phase.waits, start, paint);
    let rows: Vec<_> = phase.steps.iter().map(|step| row(step, start, paint)).collect();
    let header = ["STEP", "ASKED", "IN FORCE", "DONE", "CHANGES"].map(|title| paint.ink(Ink::Faint, title));
    let mut lines = table(std::iter::once(header.to_vec()).chain(rows)).into_iter();
    let mut line = |text: &mut String| {
        let _ = writeln!(text, "  {}", lines.next().unwrap_or_default());
    };
    line(&mut text);
    for step in &phase.steps {
        waits(&mut text, &step.waits, start, paint);
        line(&mut text);
        if let Some(way) = &step.way_back {
            let _ = writeln!(text, "      {}", paint.ink(Ink::Faint, &way_back(way)));
        }
    }
    for hold in &phase.blocked_by {
        let _ = writeln!(text, "  {} {}", paint.ink(Ink::Bad, "stuck:"), hold.message);
    }
    text
}

fn row(step: &StepForecast, start: Timestamp, paint: Paint) -> Vec<String> {
    let when =
        |instant: Option<Timestamp>| instant.map_or_else(|| paint.ink(Ink::Bad, "never"), |instant| at(start, instant));
    let mut what: Vec<_> = step.changes.iter().map(change).collect();
    if step.approvals > 0 {
        what.push(format!("{} approval(s) after the soak", step.approvals));
    }
    vec![step.name.clone(), when(step.asked), when(step.in_force), when(step.done), what.join(", ")]
}

fn waits(text: &mut String, waits: &[Wait], start: Timestamp, paint: Paint) {
    for wait in waits {
        let (from, until) = (at(start, wait.from), at(start, wait.until));
        let line = format!("waits {from} → {until}: {}", wait.message);
        let _ = writeln!(text, "    {}", paint.ink(Ink::Warn, &line));
    }
}

fn change(change: &Change) -> String {
    if change.hidden {
        return format!("{} hidden again", change.name);
    }
    let of =
        if change.kind == "FeatureFlag" || change.of == 100 { " %".to_owned() } else { format!(" of {}", change.of) };
    let exposed = if change.exposed { "exposed, " } else { "" };
    format!("{} {exposed}{} → {}{of}", change.name, change.from, change.to)
}

fn way_back(way: &WayBack) -> String {
    let seconds = |seconds: i64| length(SignedDuration::from_secs(seconds));
    let undone: Vec<_> = way.undoes.iter().map(change).collect();
    let undone = if undone.is_empty() { "nothing".to_owned() } else { undone.join(", ") };
    let back = way
        .back_after_seconds
        .map_or_else(|| "not back by itself".to_owned(), |s| format!("back {} later", seconds(s)));
    let noticed = way.noticed_after_seconds.map(|s| format!("seen after {}", seconds(s)));
    let course = match (noticed, way.automatic, way.at_worst_seconds) {
        (Some(noticed), true, Some(worst)) => {
            format!("way back if {}: {noticed}, {back}; at worst after {} in all", way.harm, seconds(worst))
        }
        (Some(noticed), ..) => {
            format!("way back if {}: {noticed}, then frozen until a person asks for Rollback, {back}", way.harm)
        }
        (None, ..) => format!("way back: {}; after a person's Rollback {back}", way.harm),
    };
    format!("{course}; undoes {undone}")
}

/// What was found, one line each, and how much of it.
#[must_use]
pub fn findings(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Error => paint.ink(Ink::Bad, "error"),
            Level::Warning => paint.ink(Ink::Warn, "warning"),
        };
        let _ = writeln!(text, "{level} {}: {}", finding.rule, finding.object);
        let _ = writeln!(text, "  {}: {}", finding.field, finding.message);
        let _ = writeln!(text, "  {}", paint.ink(Ink::Faint, &format!("in {}", finding.origin)));
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let _ = writeln!(text, "{} error(s), {} warning(s)", count(Level::Error), count(Level::Warning));
    text
}

fn at(start: Timestamp, instant: Timestamp) -> String {
    format!("+{}", length(instant.duration_since(start)))
}
