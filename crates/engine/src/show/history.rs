//! What happened to a phase: what its status keeps, and what people asked of it.

use cutover_api::v1alpha1::{MigrationPhase, PhaseAction, phase_action::ActionState};
use jiff::Timestamp;
use serde::Serialize;

use super::{Paint, ink::Ink, table};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// In which attempt.
    pub attempt: i32,
    /// PascalCase reason of a transition, or what was asked.
    pub what: String,
    /// Step, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Who decided it; absent if the operator did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What happened, and what became of it.
    pub message: String,
    /// Whether it was turned down, or came too late.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
}

/// Everything known of a phase, oldest first. Actions of an earlier object of the same name are not its own.
#[must_use]
pub fn history(phase: &MigrationPhase, actions: &[PhaseAction]) -> Vec<Happened> {
    let kept = phase.status.iter().flat_map(|status| &status.history).map(|entry| Happened {
        at: entry.at.0,
        attempt: entry.attempt,
        what: entry.reason.clone(),
        step: entry.step.clone(),
        by: entry.by.clone(),
        message: entry.message.clone(),
        rejected: false,
    });
    let mine = actions.iter().filter(|action| {
        action.metadata.namespace == phase.metadata.namespace
            && Some(&action.spec.phase_uid) == phase.metadata.uid.as_ref()
    });
    let asked = mine.map(|action| {
        let status = action.status.clone().unwrap_or_default();
        let outcome = match status.state {
            None => "not looked at yet".to_owned(),
            Some(ActionState::Accepted) => "accepted".to_owned(),
            Some(state) => format!("{state:?}: {}", status.message.unwrap_or_default()),
        };
        Happened {
            at: action.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            attempt: action.spec.attempt,
            what: format!("{:?} asked", action.spec.action),
            step: action.spec.step.clone(),
            by: Some(action.spec.requested_by.clone()),
            message: format!("“{}”: {outcome}", action.spec.reason),
            rejected: matches!(status.state, Some(ActionState::Rejected | ActionState::Expired)),
        }
    });
    // Times are in whole seconds: what was asked comes before what it led to.
    let mut all: Vec<_> = asked.chain(kept).collect();
    all.sort_by_key(|entry| entry.at);
    all
}

/// The same as a table.
#[must_use]
pub fn text(history: &[Happened], paint: Paint) -> String {
    let header = ["WHEN", "ATTEMPT", "WHAT", "STEP", "BY", ""].map(|title| paint.ink(Ink::Faint, title)).to_vec();
    let rows = history.iter().map(|entry| {
        let ink = if entry.rejected { Ink::Bad } else { Ink::Strong };
        vec![
            entry.at.to_string(),
            entry.attempt.to_string(),
            paint.ink(ink, &entry.what),
            entry.step.clone().unwrap_or_default(),
            entry.by.clone().unwrap_or_else(|| "-".to_owned()),
            entry.message.clone(),
        ]
    });
    table(std::iter::once(header).chain(rows)).join("\n") + "\n"
}
