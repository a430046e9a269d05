//! What was visited: state and stage × kind of action × what was being observed. A class that is never visited proves nothing.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::{
    MigrationPhaseStatus,
    migration_phase::{PhaseState, Stage},
    phase_action::ActionKind,
};

use super::world::Metric;
use crate::migration_phase::{ActionView, Probe};

/// A state, and in Running the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    Waiting,
    Preparing,
    Shifting,
    Hooks,
    Soaking,
    AwaitingApproval,
    Paused,
    RollingBack,
    RolledBack,
    Frozen,
    Completed,
    Aborted,
}

impl Situation {
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Preparing,
        Self::Shifting,
        Self::Hooks,
        Self::Soaking,
        Self::AwaitingApproval,
        Self::Paused,
        Self::RollingBack,
        Self::RolledBack,
        Self::Frozen,
        Self::Completed,
        Self::Aborted,
    ];

    pub fn of(state: PhaseState, in_stage: Option<Stage>) -> Self {
        match (state, in_stage) {
            (PhaseState::Waiting, _) => Self::Waiting,
            (PhaseState::Running, None | Some(Stage::Preparing)) => Self::Preparing,
            (PhaseState::Running, Some(Stage::Shifting)) => Self::Shifting,
            (PhaseState::Running, Some(Stage::Hooks)) => Self::Hooks,
            (PhaseState::Running, Some(Stage::Soaking)) => Self::Soaking,
            (PhaseState::Running, Some(Stage::AwaitingApproval)) => Self::AwaitingApproval,
            (PhaseState::Paused, _) => Self::Paused,
            (PhaseState::RollingBack, _) => Self::RollingBack,
            (PhaseState::RolledBack, _) => Self::RolledBack,
            (PhaseState::Frozen, _) => Self::Frozen,
            (PhaseState::Completed, _) => Self::Completed,
            (PhaseState::Aborted, _) => Self::Aborted,
        }
    }
}

/// What is going on in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scene {
    Calm,
    Unread,
    EnvironmentUnread,
    ClockAhead,
    ClockBehind,
    GateClosed,
    OutsideWindow,
    SpecInvalid,
    StepRemoved,
    NewSideDead,
    LegacySideDead,
    CheckFails,
    DataGone,
    SourceDown,
    CapacityShort,
    RouterStuck,
    HookFails,
    HookLost,
    SplitBusy,
    StatusLost,
}

impl Scene {
    pub const ALL: [Self; 20] = [
        Self::Calm,
        Self::Unread,
        Self::EnvironmentUnread,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::GateClosed,
        Self::OutsideWindow,
        Self::SpecInvalid,
        Self::StepRemoved,
        Self::NewSideDead,
        Self::LegacySideDead,
        Self::CheckFails,
        Self::DataGone,
        Self::SourceDown,
        Self::CapacityShort,
        Self::RouterStuck,
        Self::HookFails,
        Self::HookLost,
        Self::SplitBusy,
        Self::StatusLost,
    ];
}

#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pub scene: Option<Scene>,
    pub visited: BTreeMap<Situation, u64>,
    pub heard: BTreeMap<(Situation, ActionKind, Option<Scene>), u64>,
    /// Runs of checks over HTTP, by others and by Job, by what they came to.
    pub answered: BTreeMap<(&'static str, Metric), u64>,
}

impl Coverage {
    pub fn at(&mut self, state: PhaseState, in_stage: Option<Stage>) {
        *self.visited.entry(Situation::of(state, in_stage)).or_default() += 1;
    }

    /// The engine has this action before it, in this status.
    pub fn heard(&mut self, status: &MigrationPhaseStatus, action: &ActionView) {
        let situation = Situation::of(status.state.unwrap_or_default(), status.step.as_ref().map(|step| step.stage));
        *self.heard.entry((situation, action.spec.action, self.scene)).or_default() += 1;
    }

    pub fn answered(&mut self, probe: &Probe, metric: Metric) {
        let kind = match probe {
            Probe::Http { .. } => "http",
            Probe::Webhook { .. } => "webhook",
            Probe::Job { .. } => "job",
            Probe::Prometheus { .. } => return,
        };
        *self.answered.entry((kind, metric)).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.answered {
            *self.answered.entry(*key).or_default() += count;
        }
        for (key, count) in &other.visited {
            *self.visited.entry(*key).or_default() += count;
        }
        for (key, count) in &other.heard {
            *self.heard.entry(*key).or_default() += count;
        }
    }
}
