//! The state of a migration as a tree.

use std::fmt::Write as _;

use cutover_api::v1alpha1::migration_phase::{CheckState, PhaseState};
use jiff::Timestamp;

use super::{
    Overview, Paint,
    ink::Ink,
    overview::{CheckSummary, EnvironmentState, Moved, PhaseSummary, Progress, StepSummary, distance},
};

struct Node {
    text: String,
    below: Vec<Node>,
}

impl Node {
    const fn leaf(text: String) -> Self {
        Self { text, below: Vec::new() }
    }
}

/// The tree, as it is at `now`. `spaces`: namespaces are named.
#[must_use]
pub fn tree(overview: &Overview, now: Timestamp, spaces: bool, paint: Paint) -> String {
    let mut text = String::new();
    for state in &overview.environments {
        draw(&environment(state, now, spaces, paint), "", "", &mut text);
    }
    text
}

fn draw(node: &Node, first: &str, rest: &str, text: &mut String) {
    text.push_str(first);
    text.push_str(&node.text);
    text.push('\n');
    for (i, below) in node.below.iter().enumerate() {
        let (branch, trunk) = if i + 1 == node.below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(below, &format!("{rest}{branch}"), &format!("{rest}{trunk}"), text);
    }
}

fn environment(state: &EnvironmentState, now: Timestamp, spaces: bool, paint: Paint) -> Node {
    let name = state.name.as_deref().unwrap_or("no environment");
    let name = if spaces { format!("{}/{name}", state.namespace) } else { name.to_owned() };
    let health = match (&state.name, state.ready) {
        (None, _) => String::new(),
        (Some(_), Some(true)) => paint.ink(Ink::Good, "Ready"),
        (Some(_), Some(false)) if state.not_ready.is_empty() => paint.ink(Ink::Warn, "not ready"),
        (Some(_), Some(false)) => paint.ink(Ink::Warn, &format!("not ready: {}", state.not_ready.join(", "))),
        (Some(_), None) => paint.ink(Ink::Faint, "unknown"),
    };
    let text = format!("{}  {health}", paint.ink(Ink::Strong, &name)).trim_end().to_owned();
    Node { text, below: state.phases.iter().map(|phase| self::phase(phase, now, paint)).collect() }
}

fn phase(phase: &PhaseSummary, now: Timestamp, paint: Paint) -> Node {
    let mut words = vec![paint.ink(Ink::Strong, &phase.name), paint.ink(tone(phase.state), phase.state.as_str())];
    if let (Some(stage), Some(index)) = (phase.stage, phase.step) {
        words.push(format!("step {} of {}, {stage:?}", index.saturating_add(1), phase.steps.len()));
    }
    if let Some(since) = phase.since {
        words.push(paint.ink(Ink::Faint, &format!("for {}", distance(since, now))));
    }
    if phase.attempt > 1 {
        words.push(format!("attempt {}", phase.attempt));
    }
    if !phase.current {
        words.push(paint.ink(Ink::Warn, "spec not looked at yet"));
    }
    let resting = matches!(phase.state, PhaseState::Completed);
    let mut below: Vec<_> =
        phase.steps.iter().filter(|_| !resting).map(|step| self::step(step, phase, paint)).collect();
    if let Some(failure) = &phase.failure {
        let step = failure.step.as_ref().map(|step| format!(" in step {step}")).unwrap_or_default();
        let text = format!("failed{step}: {}: {}", failure.reason, failure.message);
        below.push(Node::leaf(paint.ink(Ink::Bad, &text)));
    }
    below.extend(phase.blocked_by.iter().map(|hold| {
        let until = hold.until.as_ref().map(|at| format!(" ({} to go, until {})", distance(now, at.0), at.0));
        let text = format!("waits: {}: {}{}", hold.reason, hold.message, until.unwrap_or_default());
        Node::leaf(paint.ink(Ink::Warn, &text))
    }));
    Node { text: words.join("  "), below }
}

fn step(step: &StepSummary, phase: &PhaseSummary, paint: Paint) -> Node {
    let (sign, ink) = match step.progress {
        Progress::Done => ("✔", Ink::Good),
        Progress::Present => ("▶", Ink::Strong),
        Progress::ToCome => ("·", Ink::Faint),
    };
    let mut text = format!("{} {}", paint.ink(ink, sign), paint.ink(ink, &step.name));
    if step.approvals_required > 0 {
        let _ = write!(text, "  {} of {} approvals", step.approvals, step.approvals_required);
    }
    let present = step.progress == Progress::Present;
    if !present {
        let targets: Vec<_> = step.moves.iter().map(target).collect();
        let text = format!("{text}  {}", paint.ink(Ink::Faint, &targets.join(", ")));
        return Node::leaf(text);
    }
    let moves = step.moves.iter().map(|moved| Node::leaf(self::moved(moved, paint)));
    let checks = phase.checks.iter().map(|check| Node::leaf(self::check(check, paint)));
    Node { text, below: moves.chain(checks).collect() }
}

fn target(moved: &Moved) -> String {
    format!("{} {}", moved.name, share(moved.target, moved))
}

fn share(value: i32, moved: &Moved) -> String {
    if moved.of == 100 { format!("{value} %") } else { format!("{value} of {}", moved.of) }
}

fn moved(moved: &Moved, paint: Paint) -> String {
    let kind = if moved.kind == "FeatureFlag" { "flag" } else { "split" };
    let now = match moved.now {
        _ if moved.hidden => "hidden".to_owned(),
        Some(now) if now == moved.target => paint.ink(Ink::Good, &share(now, moved)),
        Some(now) => paint.ink(Ink::Warn, &format!("{} → {}", share(now, moved), share(moved.target, moved))),
        None => paint.ink(Ink::Warn, &format!("? → {}", share(moved.target, moved))),
    };
    let count = |ready: Option<i32>| ready.map_or_else(|| "-".to_owned(), |ready| ready.to_string());
    let ready = moved.ready.map(|sides| format!("  ready: legacy {}, new {}", count(sides.legacy), count(sides.new)));
    let trouble = moved.trouble.as_ref().map(|why| format!("  {}", paint.ink(Ink::Bad, why)));
    format!(
        "{kind} {}  {now}{}{}",
        moved.name,
        paint.ink(Ink::Faint, &ready.unwrap_or_default()),
        trouble.unwrap_or_default()
    )
}

fn check(check: &CheckSummary, paint: Paint) -> String {
    let ink = match check.state {
        CheckState::Passing => Ink::Good,
        CheckState::Failing => Ink::Bad,
        CheckState::Pending | CheckState::WarmingUp | CheckState::NoData | CheckState::Erroring => Ink::Warn,
    };
    let state = paint.ink(ink, &format!("{:?}", check.state));
    let value = check.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
    let times =
        if check.consecutive_failures > 0 { format!(" ×{}", check.consecutive_failures) } else { String::new() };
    let why = check.message.as_ref().map(|why| format!("  {}", paint.ink(Ink::Faint, why))).unwrap_or_default();
    format!("check {}  {state}{times}{value}{why}", check.name)
}

const fn tone(state: PhaseState) -> Ink {
    match state {
        PhaseState::Running | PhaseState::Completed => Ink::Good,
        PhaseState::Waiting => Ink::Faint,
        PhaseState::Paused | PhaseState::RollingBack | PhaseState::RolledBack | PhaseState::Aborted => Ink::Warn,
        PhaseState::Frozen => Ink::Bad,
    }
}
