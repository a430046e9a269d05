//! Which migrations of the shared database were carried out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{migration_phase::MigrationDirection, schema::Instant};

/// What is recorded of one version of the schema. It is what keeps it from being migrated to twice, whichever phase asks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRecord {
    /// Version of the schema.
    pub version: i64,
    /// Whether it is applied: the last run that ended well led up.
    pub applied: bool,
    /// How often this version was migrated to or back from.
    pub round: i32,
    /// Which way the last run led.
    pub direction: MigrationDirection,
    /// How the last run ended.
    pub outcome: MigrationOutcome,
    /// Job of the last run.
    #[schemars(length(max = 63))]
    pub job: String,
    /// The phase that applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub phase: Option<String>,
    /// UID of that phase.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "phaseUID")]
    #[schemars(length(max = 64))]
    pub phase_uid: Option<String>,
    /// When this was recorded.
    pub at: Instant,
}

/// How a migration ended.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigrationOutcome {
    /// Well.
    Succeeded,
    /// Not well: what was in force before still counts.
    Failed,
    /// It failed or nobody knows, and a person says that it is done.
    Waived,
}
