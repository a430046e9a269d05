//! What a simulation came to. Instants are of the virtual clock.

use cutover_api::v1alpha1::migration_phase::{Blocker, PhaseState};
use jiff::Timestamp;
use serde::Serialize;

/// What the phases of one namespace would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The namespace.
    pub namespace: String,
    /// When it begins.
    pub start: Timestamp,
    /// After how many seconds each awaited approval is taken as given.
    pub approval_seconds: i64,
    /// Within how many seconds routes are taken to follow.
    pub propagation_seconds: i64,
    /// What else is assumed, so that gates open which the files alone cannot open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
    /// The phases, in the order in which they start.
    pub phases: Vec<PhaseForecast>,
}

/// What one phase would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseForecast {
    /// Its name.
    pub name: String,
    /// When it leaves Waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
    /// The state that it ends in: `Completed`, if nothing is in its way.
    pub state: PhaseState,
    /// What is in its way for ever, unless somebody changes something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<Blocker>,
    /// What it waits for before it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
    /// Its steps.
    pub steps: Vec<StepForecast>,
}

/// What one step would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepForecast {
    /// Its name.
    pub name: String,
    /// When it asks for its weights. Absent: it is never reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Timestamp>,
    /// When all splits and flags have followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Timestamp>,
    /// When its soak is over and, if it asks for one, an approval is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soaked: Option<Timestamp>,
    /// When it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
    /// How many approvals it awaits after its soak.
    pub approvals: i32,
    /// What it changes.
    pub changes: Vec<Change>,
    /// What it waits for before it asks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
    /// The way back from it, when harm begins the instant it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
}

/// A change of one split or flag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `TrafficSplit` or `FeatureFlag`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Weight of the new side, or percentage, before.
    pub from: i32,
    /// The same after.
    pub to: i32,
    /// What it is a share of.
    pub of: i32,
    /// Whether the split gets its routes with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exposed: bool,
    /// Whether the split loses its routes with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// PascalCase reason.
    pub reason: String,
    /// What is waited for, as the phase's status would say it first.
    pub message: String,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// The way back from a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WayBack {
    /// How the harm shows: a check that fails from the instant the step is in force, a new side without ready endpoints, or nothing that
    /// the phase looks at.
    pub harm: &'static str,
    /// Seconds until the phase has noticed. Absent: it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noticed_after_seconds: Option<i64>,
    /// Whether the phase goes back by itself. `false`: a person has to ask for the rollback.
    pub automatic: bool,
    /// Seconds from the beginning of the way back until everything is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_after_seconds: Option<i64>,
    /// Seconds that harm lasts at most before everything is back or the phase freezes with `WayBackClosed`: the longer of `shiftTimeout` and
    /// the time to notice, and `rollback.timeout`. Absent when a person has to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_worst_seconds: Option<i64>,
    /// The state that the phase comes to rest in.
    pub state: PhaseState,
    /// What is undone.
    pub undoes: Vec<Change>,
}
