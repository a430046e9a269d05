//! Who is told of what happens to a phase.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::LABEL_PATTERN;

/// One receiver of notifications, and what it is told of.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    /// Name of a sink of the operator's configuration. One that is not there, or not for this namespace, is listed in `status.unknownSinks`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub sink: String,
    /// What it is told of. At least one.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub events: Vec<NotifyOn>,
}

/// What can happen to a phase.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotifyOn {
    /// The phase left Waiting.
    Started,
    /// A step is done, and another follows.
    StepDone,
    /// A step has soaked, and people are asked.
    AwaitingApproval,
    /// A person approved.
    Approved,
    /// A person ended a soak or an approval.
    Promoted,
    /// A person paused it.
    Paused,
    /// A pause or freeze has ended.
    Resumed,
    /// A step could not be prepared within `prepareTimeout`; it goes on when it can.
    PrepareTimedOut,
    /// It is not known whether the Job of a hook has run: a person has to look.
    HookUnknown,
    /// Something went wrong: it goes back by itself, or is frozen.
    Failed,
    /// It goes back, by itself or because a person said so.
    RollingBack,
    /// It is back.
    RolledBack,
    /// Weights are held until a person decides.
    Frozen,
    /// The last step is done.
    Completed,
    /// A person gave it up.
    Aborted,
    /// A new attempt begins.
    Retried,
}

impl NotifyOn {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::StepDone => "StepDone",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Approved => "Approved",
            Self::Promoted => "Promoted",
            Self::Paused => "Paused",
            Self::Resumed => "Resumed",
            Self::PrepareTimedOut => "PrepareTimedOut",
            Self::HookUnknown => "HookUnknown",
            Self::Failed => "Failed",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Frozen => "Frozen",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
            Self::Retried => "Retried",
        }
    }
}
