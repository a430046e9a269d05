//! What the API server could not judge of a flag: the rules of the published schema, and those that follow from the
//! flag itself.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::feature_flag::{FeatureFlagSpec, FlagRule, FlagState, Percentage};
use serde_json::Value;

use super::targeting;

/// Largest integer that every client reads as it was written (2^53 - 1).
const LARGEST_INTEGER: u64 = 9_007_199_254_740_991;

/// A flag that can be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Name of the FeatureFlag.
    pub name: String,
    /// Key that applications ask for.
    pub key: String,
    /// Whether it is evaluated.
    pub state: FlagState,
    /// Values by name.
    pub variants: BTreeMap<String, Value>,
    /// The variant when no rule matches.
    pub default_variant: String,
    /// Who gets what.
    pub logic: Logic,
}

/// Who gets what.
#[derive(Clone, Debug, PartialEq)]
pub enum Logic {
    /// Rules, in order.
    Rules(Vec<FlagRule>),
    /// As the user wrote it.
    Raw(Value),
}

impl Validated {
    /// The rule that a phase moves.
    #[must_use]
    pub fn percentage(&self) -> Option<&Percentage> {
        match &self.logic {
            Logic::Rules(rules) => rules.iter().find_map(|rule| rule.percentage.as_ref()),
            Logic::Raw(_) => None,
        }
    }
}

/// Something in a spec that a person has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.rules[1].serve`.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// The key of a flag: as given, else the object's name.
#[must_use]
pub fn key(name: &str, spec: &FeatureFlagSpec) -> String {
    spec.key.clone().unwrap_or_else(|| name.to_owned())
}

/// Judges a spec.
///
/// # Errors
/// With every problem found; the flag then keeps its last published form.
pub fn validate(name: &str, spec: &FeatureFlagSpec) -> Result<Validated, Vec<Problem>> {
    let mut problems = Vec::new();
    variants(spec, &mut problems);
    rules(spec, &mut problems);
    if let Some(raw) = &spec.targeting {
        if !spec.rules.is_empty() {
            problems.push(Problem::new("spec.targeting", "give either rules or targeting, not both"));
        }
        targeting::check(raw, &spec.variants, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Validated {
        name: name.to_owned(),
        key: key(name, spec),
        state: spec.state,
        variants: spec.variants.clone(),
        default_variant: spec.default_variant.clone(),
        logic: match &spec.targeting {
            Some(raw) => Logic::Raw(raw.clone()),
            None => Logic::Rules(spec.rules.clone()),
        },
    })
}

/// Types that all variants of a flag may have.
fn type_of(value: &Value) -> Option<&'static str> {
    match value {
        Value::Bool(_) => Some("boolean"),
        Value::String(_) => Some("string"),
        Value::Number(_) => Some("number"),
        Value::Object(_) => Some("object"),
        Value::Null | Value::Array(_) => None,
    }
}

fn variants(spec: &FeatureFlagSpec, problems: &mut Vec<Problem>) {
    if spec.variants.is_empty() {
        problems.push(Problem::new("spec.variants", "give at least one variant"));
    }
    let mut first: Option<(&String, &'static str)> = None;
    for (name, value) in &spec.variants {
        let field = format!("spec.variants.{name}");
        if name.is_empty() {
            problems.push(Problem::new("spec.variants", "the name of a variant must not be empty"));
        }
        let Some(type_) = type_of(value) else {
            problems.push(Problem::new(field, "must be a boolean, a string, a number or an object"));
            continue;
        };
        let (other, wanted) = *first.get_or_insert((name, type_));
        if type_ != wanted {
            problems.push(Problem::new(
                field,
                format!("is a {type_}, and {other} is a {wanted}: all variants must be of one type"),
            ));
        } else if !is_safe(value) {
            problems.push(Problem::new(
                field,
                format!("is beyond ±{LARGEST_INTEGER}: clients would read another number; use a string"),
            ));
        }
    }
    is_variant(spec, "spec.defaultVariant", &spec.default_variant, problems);
}

fn is_safe(value: &Value) -> bool {
    let Value::Number(number) = value else { return true };
    let magnitude = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
    magnitude.is_none_or(|magnitude| magnitude <= LARGEST_INTEGER)
}

fn is_variant(spec: &FeatureFlagSpec, field: &str, name: &str, problems: &mut Vec<Problem>) {
    if !spec.variants.contains_key(name) {
        let known: Vec<&str> = spec.variants.keys().map(String::as_str).collect();
        problems.push(Problem::new(field, format!("{name} is not one of the variants ({})", known.join(", "))));
    }
}

fn rules(spec: &FeatureFlagSpec, problems: &mut Vec<Problem>) {
    let mut everybody: Option<&str> = None;
    let mut percentages = 0;
    for (index, rule) in spec.rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        if spec.rules.iter().take(index).any(|other| other.name == rule.name) {
            problems.push(Problem::new(format!("{field}.name"), format!("{} is the name of another rule", rule.name)));
        }
        if let Some(before) = everybody {
            problems.push(Problem::new(
                &field,
                format!("nobody would ever get it: rule {before} is for everybody; put it last or give it a when"),
            ));
        } else if rule.when.is_empty() {
            everybody = Some(&rule.name);
        }
        match (&rule.serve, &rule.percentage) {
            (Some(serve), None) => is_variant(spec, &format!("{field}.serve"), serve, problems),
            (None, Some(percentage)) => {
                percentages += 1;
                percentage_rule(spec, percentage, &format!("{field}.percentage"), problems);
            }
            _ => problems.push(Problem::new(&field, "give exactly one of serve and percentage")),
        }
        conditions(rule, &field, problems);
    }
    if percentages > 1 {
        problems.push(Problem::new("spec.rules", "at most one rule may have a percentage: it is what a phase moves"));
    }
}

fn percentage_rule(spec: &FeatureFlagSpec, rule: &Percentage, field: &str, problems: &mut Vec<Problem>) {
    is_variant(spec, &format!("{field}.growing"), &rule.growing, problems);
    is_variant(spec, &format!("{field}.rest"), &rule.rest, problems);
    if rule.growing == rule.rest {
        problems.push(Problem::new(format!("{field}.rest"), "must differ from growing: nothing would grow"));
    }
    if !(0..=100).contains(&rule.percent) {
        problems.push(Problem::new(format!("{field}.percent"), "must be from 0 to 100"));
    }
}

fn conditions(rule: &FlagRule, field: &str, problems: &mut Vec<Problem>) {
    for (index, condition) in rule.when.iter().enumerate() {
        let field = format!("{field}.when[{index}]");
        if condition.values.is_empty() {
            problems.push(Problem::new(format!("{field}.values"), "give at least one value"));
        }
        if condition.attribute.split('.').any(str::is_empty) {
            problems.push(Problem::new(
                format!("{field}.attribute"),
                format!("{} has an empty part: dots reach into objects, as in user.email", condition.attribute),
            ));
        }
    }
}
