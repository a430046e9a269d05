//! The checklist of an environment: what has to be seen to before users are moved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::Instant;

/// What has to be seen to before users are moved.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecklistItem {
    /// Both systems work in a development environment.
    DevelopmentWorks,
    /// The staging environment is validated.
    StagingValidated,
    /// The infrastructure that runs beside legacy's is there.
    InfrastructureProvisioned,
    /// The network connects what it should and isolates the rest.
    NetworkIsolates,
    /// All components are measured.
    MetricsFromAllComponents,
    /// Who may do what has been tested.
    AccessControlsTested,
    /// The documentation has been reviewed.
    DocumentationReviewed,
    /// The load test has passed.
    LoadTestPassed,
    /// The way back has been rehearsed.
    RollbackRehearsed,
    /// The team has been trained.
    TeamTrained,
}

impl ChecklistItem {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DevelopmentWorks,
        Self::StagingValidated,
        Self::InfrastructureProvisioned,
        Self::NetworkIsolates,
        Self::MetricsFromAllComponents,
        Self::AccessControlsTested,
        Self::DocumentationReviewed,
        Self::LoadTestPassed,
        Self::RollbackRehearsed,
        Self::TeamTrained,
    ];
}

/// Somebody's word that an item has been seen to. Who writes it needs the verb `attest` on the environment.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attestation {
    /// The item.
    pub item: ChecklistItem,
    /// Whose word it is, such as `ana@example.com`.
    #[schemars(length(min = 1, max = 253))]
    pub by: String,
    /// Where the evidence is, such as the number of a ticket or the address of a report.
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,
}

/// Where an item stands.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ChecklistStatus {
    /// The item.
    pub item: ChecklistItem,
    /// `Open` or `Attested`.
    pub state: ChecklistState,
    /// What says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub evidence: Option<String>,
    /// Since when it stands so, by this evidence.
    pub at: Instant,
}

/// States of an item.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecklistState {
    /// Nobody has seen to it.
    Open,
    /// Somebody has, and says so.
    Attested,
}
