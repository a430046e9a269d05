//! One flag in the flagd definition format.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::feature_flag::{AttributeMatch, FlagRule, FlagState, MatchOperator, Percentage};
use serde_json::{Map, Value, json};

use super::validate::{Logic, Validated};

/// Metadata of a published flag: the name of its FeatureFlag.
pub const OWNER: &str = "featureFlag";
/// What weights add up to.
const TOTAL: i32 = 100;

/// The published form. `percent` replaces the one of the percentage rule; without one the rule's own is taken.
#[must_use]
pub fn build_flag(flag: &Validated, percent: Option<i32>) -> Value {
    let targeting = match &flag.logic {
        Logic::Raw(raw) => Some(raw.clone()).filter(|raw| raw.as_object().is_some_and(|rule| !rule.is_empty())),
        Logic::Rules(rules) => from_rules(rules, percent),
    };
    let mut definition = Map::new();
    definition.insert("state".into(), state(flag.state).into());
    definition.insert("variants".into(), json!(flag.variants));
    // Optional in the schema, and demanded by some of its readers.
    definition.insert("defaultVariant".into(), flag.default_variant.as_str().into());
    definition.extend(targeting.map(|targeting| ("targeting".to_owned(), targeting)));
    definition.insert("metadata".into(), json!({ OWNER: flag.name }));
    sorted(&Value::Object(definition))
}

const fn state(state: FlagState) -> &'static str {
    match state {
        FlagState::Enabled => "ENABLED",
        FlagState::Disabled => "DISABLED",
    }
}

/// Nested `if`s of three arguments each: the form that every generation of the schema and of its clients takes. The
/// innermost else is null, which is the default variant.
fn from_rules(rules: &[FlagRule], percent: Option<i32>) -> Option<Value> {
    let mut otherwise = Value::Null;
    for rule in rules.iter().rev() {
        let outcome = match (&rule.percentage, &rule.serve) {
            (Some(percentage), _) => shares(percentage, percent.unwrap_or(percentage.percent)),
            (None, serve) => json!(serve),
        };
        otherwise = match condition(&rule.when) {
            Some(condition) => json!({ "if": [condition, outcome, otherwise] }),
            // A result by itself is not an expression: targeting has to be one.
            None if outcome.is_object() => outcome,
            None => json!({ "if": [true, outcome, null] }),
        };
    }
    otherwise.is_object().then_some(otherwise)
}

/// The growing variant first, so that its part of the range only grows; both always, so that the total never changes.
fn shares(percentage: &Percentage, percent: i32) -> Value {
    let percent = percent.clamp(0, TOTAL);
    json!({ "fractional": [[percentage.growing, percent], [percentage.rest, TOTAL - percent]] })
}

fn condition(when: &[AttributeMatch]) -> Option<Value> {
    let mut all: Vec<Value> = when.iter().map(compare).collect();
    match all.len() {
        0 => None,
        1 => all.pop(),
        _ => Some(json!({ "and": all })),
    }
}

fn compare(of: &AttributeMatch) -> Value {
    let attribute = json!({ "var": of.attribute });
    match of.operator {
        MatchOperator::In => json!({ "in": [attribute, of.values] }),
        MatchOperator::NotIn => json!({ "!": [{ "in": [attribute, of.values] }] }),
        MatchOperator::StartsWith => any(of, |value| json!({ "starts_with": [attribute, value] })),
        MatchOperator::EndsWith => any(of, |value| json!({ "ends_with": [attribute, value] })),
        MatchOperator::Contains => any(of, |value| json!({ "in": [value, attribute] })),
    }
}

fn any(of: &AttributeMatch, compare: impl Fn(&str) -> Value) -> Value {
    let mut all: Vec<Value> = of.values.iter().map(|value| compare(value)).collect();
    match all.len() {
        1 => all.pop().unwrap_or_default(),
        _ => json!({ "or": all }),
    }
}

/// The percentage of a published form: the first share of its one `fractional` of two that add up to 100.
#[must_use]
pub fn percent_of(definition: &Value) -> Option<i32> {
    let weight = |share: &Value| i32::try_from(share.get(1)?.as_i64()?).ok();
    match find(definition.get("targeting")?)?.as_slice() {
        [growing, rest] => weight(growing).filter(|growing| weight(rest).is_some_and(|rest| growing + rest == TOTAL)),
        _ => None,
    }
}

/// A published form with another percentage; `None` if it has none.
#[must_use]
pub fn with_percent(definition: &Value, percent: i32) -> Option<Value> {
    percent_of(definition)?;
    let percent = percent.clamp(0, TOTAL);
    let mut changed = definition.clone();
    let shares = find_mut(changed.get_mut("targeting")?)?;
    for (share, weight) in shares.iter_mut().zip([percent, TOTAL - percent]) {
        *share.get_mut(1)? = weight.into();
    }
    Some(changed)
}

fn find(expression: &Value) -> Option<&Vec<Value>> {
    match expression {
        Value::Object(rule) => match rule.get("fractional") {
            Some(shares) => shares.as_array(),
            None => rule.values().find_map(find),
        },
        Value::Array(items) => items.iter().find_map(find),
        _ => None,
    }
}

fn find_mut(expression: &mut Value) -> Option<&mut Vec<Value>> {
    match expression {
        Value::Object(rule) => {
            if rule.contains_key("fractional") {
                return rule.get_mut("fractional")?.as_array_mut();
            }
            rule.values_mut().find_map(find_mut)
        }
        Value::Array(items) => items.iter_mut().find_map(find_mut),
        _ => None,
    }
}

/// The name of the FeatureFlag that a published form is of.
#[must_use]
pub fn owner_of(definition: &Value) -> Option<&str> {
    definition.get("metadata")?.get(OWNER)?.as_str()
}

/// The same value with the fields of all objects in order of name, so that equal flags are equal bytes.
#[must_use]
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, Value> = fields.iter().map(|(name, value)| (name, sorted(value))).collect();
            ordered.into_iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
