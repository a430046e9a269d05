//! FeatureFlag: one flag of an environment.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    forms::{ATTRIBUTE_PATTERN, KEY_PATTERN, LABEL_PATTERN, NAME_PATTERN},
    schema::{any_object, any_values, conditions},
};

/// One feature flag: variants, rules and a percentage, published in the environment's flag ConfigMap.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "cutover.dev",
    version = "v1alpha1",
    kind = "FeatureFlag",
    plural = "featureflags",
    shortname = "fflag",
    category = "cutover",
    namespaced,
    status = "FeatureFlagStatus",
    derive = "PartialEq",
    doc = "One feature flag: variants, rules and a percentage. All flags of an environment are published in the ConfigMap <environment>-flags, in the flagd definition format.",
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.key"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Percent", type_ = "integer", json_path = ".status.percent"),
    printcolumn(name = "Held By", type_ = "string", json_path = ".status.heldBy.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(has(self.rules) && self.rules.size() > 0 && has(self.targeting))").message("give either rules or targeting, not both").field_path(".targeting"),
    validation = Rule::new("!has(self.rules) || self.rules.filter(r, has(r.percentage)).size() <= 1").message("at most one rule has a percentage: it is what a phase moves").field_path(".rules")
)]
pub struct FeatureFlagSpec {
    /// Environment of the same namespace that the flag belongs to. It cannot be changed.
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("environment cannot be changed: make a FeatureFlag of another name for the other environment"))]
    pub environment: String,
    /// Key that applications ask for. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = KEY_PATTERN))]
    pub key: Option<String>,
    /// `Enabled` (default), or `Disabled`: clients use the default in their code.
    #[serde(default)]
    pub state: FlagState,
    /// Values by name, all of one type: boolean, string, number or object. 1 to 64. Names such as `on` need quotes in YAML.
    #[schemars(schema_with = "any_values")]
    pub variants: BTreeMap<String, Value>,
    /// Variant that is served when no rule matches: one of `variants`.
    #[schemars(length(min = 1, max = 63))]
    pub default_variant: String,
    /// Rules; the first that matches decides. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<FlagRule>,
    /// Instead of rules: targeting as JsonLogic, as flagd's definition format has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub targeting: Option<Value>,
}

/// Whether a flag is evaluated.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlagState {
    /// It is.
    #[default]
    Enabled,
    /// Clients use the default in their code.
    Disabled,
}

/// One rule: who it is for, and what they get (exactly one of `serve` and `percentage`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.serve) != has(self.percentage)").message("a rule is exactly one of serve and percentage"))]
pub struct FlagRule {
    /// Name of the rule, unique in the flag.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// All must hold. Empty: everybody. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub when: Vec<AttributeMatch>,
    /// Variant for those who match: one of `variants`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub serve: Option<String>,
    /// Two variants shared out among those who match, by their targeting key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage: Option<Percentage>,
}

/// A comparison of one attribute of the evaluation context. It holds if one of the values fits.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeMatch {
    /// Attribute, such as `email`; dots reach into objects.
    #[schemars(length(min = 1, max = 253), regex(pattern = ATTRIBUTE_PATTERN))]
    pub attribute: String,
    /// How to compare.
    pub operator: MatchOperator,
    /// Values. 1 to 64.
    #[schemars(length(min = 1, max = 64), inner(length(max = 253)))]
    pub values: Vec<String>,
}

/// Comparisons.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOperator {
    /// Equal to one of the values.
    In,
    /// Equal to none of the values.
    NotIn,
    /// Begins with one of the values.
    StartsWith,
    /// Ends with one of the values.
    EndsWith,
    /// Contains one of the values.
    Contains,
}

/// Two variants shared out by the targeting key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Percentage {
    /// Variant whose share grows: a growing percentage only adds users.
    #[schemars(length(min = 1, max = 63))]
    pub growing: String,
    /// Variant of the others: one of `variants`.
    #[schemars(length(min = 1, max = 63))]
    pub rest: String,
    /// Share of the growing variant, 0 to 100. It counts when the flag is first published and whenever its value changes while no phase
    /// holds the flag; otherwise the percentage in force is held.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
}

/// What is published.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FeatureFlagStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` and `SpecDiverged`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Percentage in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// The value of the rule's `percent` that was last taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_spec_percent: Option<i32>,
    /// The phase that moves this flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<FlagHolder>,
    /// Count of grants so far. It only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Where and in which form it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

/// The phase that a flag is granted to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FlagHolder {
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
    /// `status.requestRevision` of the phase that was last carried out.
    pub request_revision: i64,
}

/// Where a flag is published.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Name of the ConfigMap.
    #[schemars(length(max = 253))]
    pub config_map: String,
    /// Resource version of the ConfigMap that carries the flag.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Hash of the flag's published form.
    #[schemars(length(max = 128))]
    pub hash: String,
}
