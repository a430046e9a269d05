//! What is observed of a split.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::schema::{Instant, conditions},
    DiedSide, Exposure, FailedOver, RouterKind, Side, StickinessStatus, VerifiedWeight,
};

/// What is, as observed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSplitStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `SpecDiverged` and `Overlapped`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Weight of the new side that is wanted now: the holder's request, or the weight in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_weight: Option<i32>,
    /// Weight of the new side that every router's route is observed to carry, and has accepted where it can say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_weight: Option<i32>,
    /// Whether the split has routes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// The phase that moves this split. At most one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Count of grants so far; the next holder's epoch is greater. It only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The value of `spec.newWeight` that was last taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_spec_weight: Option<i32>,
    /// The legacy side is retired: the routes lead to the new side alone, whatever `spec.legacy` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_retired: Option<LegacyRetired>,
    /// The legacy side is to be retired, and a route of a user's own still leads to it. It counts until that has been edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_retiring: Option<LegacyRetiring>,
    /// Per router, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub routers: Vec<RouterStatus>,
    /// Entries that the split added to rules of somebody else's. One goes again once the split has left its rule, by an edit of the spec
    /// or for good, while the entry bears no weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub added: Vec<AddedEntry>,
    /// Ready endpoints per side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// What sides say when they are asked, where `spec.safety.*.probe` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<ProbesStatus>,
    /// Sides that had ready endpoints and have none. Kept where `spec.failover` is `Automatic`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub died: Vec<DiedSide>,
    /// The weight in force is that of a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_over: Option<FailedOver>,
    /// What the cookies that are out say, where `spec.stickiness` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<StickinessStatus>,
    /// The weight as it was seen on the wire, where `spec.verify` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_weight: Option<VerifiedWeight>,
    /// When `appliedWeight` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Instant>,
}

/// By which phase, and when, the legacy side was retired.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LegacyRetired {
    /// Name of the MigrationPhase.
    #[schemars(length(max = 253))]
    pub phase: String,
    /// When a person agreed.
    pub at: Instant,
}

/// By which phase the legacy side is to be retired, and what that waits for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LegacyRetiring {
    /// Name of the MigrationPhase.
    #[schemars(length(max = 253))]
    pub phase: String,
    /// What has to be edited, and by what.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// The phase that a split is granted to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Name of the MigrationPhase.
    #[schemars(length(max = 253))]
    pub phase: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its attempt at the time of the grant.
    pub attempt: i32,
    /// Number of the grant. It only grows.
    pub epoch: i64,
    /// `status.requestRevision` of the phase that was last carried out; an older one is never effective again.
    pub request_revision: i64,
    /// The weight that the holder last asked for: a deleted holder's way back is finished from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_weight: Option<i32>,
}

/// What one router is observed to carry.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RouterStatus {
    /// `IngressNginx`, `GatewayApi`, `Traefik`, `Istio` or `Alb`.
    pub kind: RouterKind,
    /// The route object that carries the weight, `<kind>/<name>`.
    #[schemars(length(max = 320))]
    pub object: String,
    /// Weight of the new side read back from the route object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_weight: Option<i32>,
    /// Whether the router has accepted the route in its present form. Absent where the router cannot say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    /// What is wrong or awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// An entry that the split added to a rule of somebody else's.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddedEntry {
    /// The route object, `<kind>/<name>`.
    #[schemars(length(max = 320))]
    pub object: String,
    /// Name of the rule (HTTPRoute) or of the `http` entry (VirtualService).
    #[schemars(length(max = 253))]
    pub part: String,
    /// The side that the rule did not name before.
    pub side: Side,
}

/// What the sides say when they are asked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProbesStatus {
    /// The legacy side, where `spec.safety.legacy.probe` is set and there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<ProbeStatus>,
    /// The new side, where `spec.safety.new.probe` is set and there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<ProbeStatus>,
}

/// What one side says when it is asked. It is written when `state` changes, not at every probe.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStatus {
    /// `Succeeding`; `Failing`: `failAfter` probes in a row did; `Blind`: it could not be asked, and its endpoints count as they are.
    pub state: ProbeState,
    /// Since when.
    pub since: Instant,
    /// What the last failure was that made the state `Failing` or `Blind`. It stays when the side answers again. Neither answers nor URLs
    /// are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_failure: Option<String>,
}

/// What became of asking a side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// It answers as it should.
    Succeeding,
    /// It does not, so often in a row as counts.
    Failing,
    /// It could not be asked.
    Blind,
}

/// Ready endpoints per side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Of the legacy side; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<ReadyEndpoints>,
    /// Of the new side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<ReadyEndpoints>,
}

/// Endpoints of one side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReadyEndpoints {
    /// Ready endpoints, each counted once across IPv4 and IPv6 slices.
    pub ready: i32,
}
