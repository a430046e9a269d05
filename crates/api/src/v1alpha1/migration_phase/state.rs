//! The states of a phase, the stages of a step, and the outcomes of a check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// States of a phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseState {
    /// Gates are not all open.
    #[default]
    Waiting,
    /// In a step.
    Running,
    /// Paused by a person.
    Paused,
    /// Going back.
    RollingBack,
    /// At rest where the way back led.
    RolledBack,
    /// Harm was seen; weights are held for a person to decide.
    Frozen,
    /// The last step is reached and soaked.
    Completed,
    /// Given up by a person; weights are held.
    Aborted,
}

impl PhaseState {
    /// The state as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Frozen => "Frozen",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
        }
    }

    /// Whether a phase in this state holds its splits and flags.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::RollingBack | Self::Frozen)
    }
}

/// Stages of a step.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Everything the step needs is checked before anything moves.
    Preparing,
    /// Splits, then flags, follow the step's requests.
    Shifting,
    /// The step's hooks run.
    Hooks,
    /// Checks watch.
    Soaking,
    /// People are asked.
    AwaitingApproval,
}

/// Outcomes of a check's run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckState {
    /// Not run yet in this step.
    Pending,
    /// Inside its bounds.
    Passing,
    /// Outside its bounds, and inside its warm-up: not counted.
    WarmingUp,
    /// Outside its bounds.
    Failing,
    /// Nothing was measured.
    NoData,
    /// The source could not be asked.
    Erroring,
}
