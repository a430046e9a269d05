//! Raw targeting against the rules of the published schema (`targeting.json`): known operators, their number of
//! arguments, weights of `fractional`, and the names of variants where they stand as such.
//!
//! The schema's newest operators are left out where clients in the field do not know them (`rollout`): such a client
//! would fail the whole flag.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::validate::Problem;

/// How deep an expression may be.
const DEEPEST: usize = 64;

type Variants = BTreeMap<String, Value>;

/// Adds what is wrong with the targeting of a flag with these variants.
pub fn check(targeting: &Value, variants: &Variants, problems: &mut Vec<Problem>) {
    let field = "spec.targeting";
    match targeting.as_object() {
        None => problems.push(Problem::new(field, "must be a JsonLogic expression: an object with one operator")),
        Some(empty) if empty.is_empty() => {}
        Some(_) => result(targeting, variants, field, 0, problems),
    }
}

/// An expression whose value is the name of a variant, or null for the default.
fn result(value: &Value, variants: &Variants, field: &str, depth: usize, problems: &mut Vec<Problem>) {
    match value {
        Value::Null => {}
        Value::String(name) => variant(name, variants, field, problems),
        // Clients turn it into the text true or false.
        Value::Bool(flag) => variant(&flag.to_string(), variants, field, problems),
        Value::Number(_) | Value::Array(_) => {
            problems.push(Problem::new(field, "is not the name of a variant: a result is a name in quotes, or null"));
        }
        Value::Object(rule) => {
            let Some((operator, arguments, field)) = operation(rule, field, depth, problems) else { return };
            match (operator, arguments) {
                ("if", Value::Array(arguments)) => {
                    for (index, argument) in arguments.iter().enumerate() {
                        let field = format!("{field}[{index}]");
                        let is_condition = index % 2 == 0 && index + 1 < arguments.len();
                        if is_condition {
                            expression(argument, variants, &field, depth + 1, problems);
                        } else {
                            result(argument, variants, &field, depth + 1, problems);
                        }
                    }
                }
                _ => operands(operator, arguments, variants, &field, depth, problems),
            }
        }
    }
}

fn variant(name: &str, variants: &Variants, field: &str, problems: &mut Vec<Problem>) {
    if !variants.contains_key(name) {
        let known: Vec<&str> = variants.keys().map(String::as_str).collect();
        problems.push(Problem::new(field, format!("{name} is not one of the variants ({})", known.join(", "))));
    }
}

/// Any expression.
fn expression(value: &Value, variants: &Variants, field: &str, depth: usize, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(rule) => {
            if let Some((operator, arguments, field)) = operation(rule, field, depth, problems) {
                operands(operator, arguments, variants, &field, depth, problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                expression(item, variants, &format!("{field}[{index}]"), depth + 1, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How many arguments an operator takes; `None` for one that is not known.
fn arity(operator: &str) -> Option<(usize, usize)> {
    const MANY: usize = usize::MAX;
    Some(match operator {
        "==" | "===" | "!=" | "!==" | ">" | ">=" | "%" | "/" | "map" | "filter" | "all" | "none" | "some" | "in"
        | "starts_with" | "ends_with" | "missing_some" => (2, 2),
        "substr" | "<" | "<=" => (2, 3),
        "reduce" | "sem_ver" => (3, 3),
        "*" => (2, MANY),
        "!" | "!!" => (1, 1),
        "if" | "or" | "and" | "+" | "-" | "max" | "min" | "merge" | "cat" | "fractional" => (1, MANY),
        "missing" => (0, MANY),
        "var" => (1, 2),
        _ => return None,
    })
}

/// The one operator of a rule and its arguments, if both are as they should be.
fn operation<'a>(
    rule: &'a Map<String, Value>,
    field: &str,
    depth: usize,
    problems: &mut Vec<Problem>,
) -> Option<(&'a str, &'a Value, String)> {
    let mut problem = |field: &str, message: String| {
        problems.push(Problem::new(field, message));
        None
    };
    if depth > DEEPEST {
        return problem(field, format!("is more than {DEEPEST} expressions deep"));
    }
    let mut entries = rule.iter();
    let (Some((operator, arguments)), None) = (entries.next(), entries.next()) else {
        return problem(field, "must have exactly one operator".into());
    };
    let inner = format!("{field}.{operator}");
    if operator == "$ref" {
        return problem(&inner, "shared evaluators are not published: write the expression out".into());
    }
    let Some((least, most)) = arity(operator) else {
        return problem(&inner, "is not an operator that flagd's clients know".into());
    };
    let unwrapped = matches!(operator.as_str(), "!" | "!!" | "var");
    let count = match arguments {
        Value::Array(items) => items.len(),
        _ if unwrapped => 1,
        _ => return problem(&inner, "its arguments must be a list".into()),
    };
    if count < least || count > most {
        let wanted = match (least, most) {
            (least, most) if least == most => format!("{least}"),
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        return problem(&inner, format!("takes {wanted} arguments and has {count}"));
    }
    Some((operator, arguments, inner))
}

fn operands(
    operator: &str,
    arguments: &Value,
    variants: &Variants,
    field: &str,
    depth: usize,
    problems: &mut Vec<Problem>,
) {
    let items = match arguments {
        Value::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    match operator {
        "var" => var(items, field, problems),
        "fractional" => fractional(items, variants, field, depth, problems),
        "sem_ver" => sem_ver(items, field, problems),
        "starts_with" | "ends_with" => {
            for (index, item) in items.iter().enumerate() {
                let field = format!("{field}[{index}]");
                if item.is_string() || item.is_object() {
                    expression(item, variants, &field, depth + 1, problems);
                } else {
                    problems.push(Problem::new(field, "must be a text or an expression"));
                }
            }
        }
        "missing" if !items.iter().all(Value::is_string) => {
            problems.push(Problem::new(field, "takes names of attributes"));
        }
        "missing_some" => {
            let names = items.get(1).and_then(Value::as_array);
            if !items.first().is_some_and(Value::is_number) || !names.is_some_and(|n| n.iter().all(Value::is_string)) {
                problems.push(Problem::new(field, "takes a number and a list of names of attributes"));
            }
        }
        _ => {
            for (index, item) in items.iter().enumerate() {
                expression(item, variants, &format!("{field}[{index}]"), depth + 1, problems);
            }
        }
    }
}

fn var(items: &[Value], field: &str, problems: &mut Vec<Problem>) {
    match items.first() {
        Some(Value::String(name)) => {
            let ours = name.strip_prefix("$flagd.").is_none_or(|own| matches!(own, "timestamp" | "flagKey"));
            if !ours {
                problems.push(Problem::new(
                    field,
                    format!("{name} does not exist: flagd gives $flagd.timestamp and $flagd.flagKey"),
                ));
            }
        }
        _ => problems.push(Problem::new(field, "takes the name of an attribute")),
    }
    if items.get(1).is_some_and(|fallback| fallback.is_object() || fallback.is_array()) {
        problems.push(Problem::new(field, "its default must be a plain value"));
    }
}

/// `[bucketing expression?, [variant, weight]…]`.
fn fractional(items: &[Value], variants: &Variants, field: &str, depth: usize, problems: &mut Vec<Problem>) {
    let bucketed = items.first().is_some_and(|first| !first.is_array());
    if let Some(first) = items.first().filter(|_| bucketed) {
        if first.is_object() {
            expression(first, variants, &format!("{field}[0]"), depth + 1, problems);
        } else {
            problems
                .push(Problem::new(format!("{field}[0]"), "must be an expression, or a share such as [\"on\", 50]"));
        }
    }
    let shares: Vec<_> = items.iter().enumerate().skip(usize::from(bucketed)).collect();
    if shares.is_empty() {
        problems.push(Problem::new(field, "needs at least one share, such as [\"on\", 50]"));
    }
    for (index, share) in shares {
        let field = format!("{field}[{index}]");
        let Some(parts) = share.as_array().filter(|parts| (1..=2).contains(&parts.len())) else {
            problems.push(Problem::new(field, "must be a variant and its weight, such as [\"on\", 50]"));
            continue;
        };
        if let Some(name) = parts.first() {
            result(name, variants, &format!("{field}[0]"), depth + 1, problems);
        }
        match parts.get(1) {
            Some(weight @ Value::Object(_)) => {
                expression(weight, variants, &format!("{field}[1]"), depth + 1, problems);
            }
            Some(weight) if !weight.as_i64().is_some_and(|weight| (0..=i64::from(i32::MAX)).contains(&weight)) => {
                problems.push(Problem::new(format!("{field}[1]"), "a weight is a whole number, not negative"));
            }
            None | Some(_) => {}
        }
    }
}

fn sem_ver(items: &[Value], field: &str, problems: &mut Vec<Problem>) {
    for index in [0, 2] {
        let fits = match items.get(index) {
            Some(Value::String(version)) => is_version(version),
            Some(Value::Object(rule)) => rule.len() == 1 && rule.contains_key("var"),
            _ => false,
        };
        if !fits {
            problems.push(Problem::new(format!("{field}[{index}]"), "must be a version such as 1.4.2, or a var"));
        }
    }
    let known = ["=", "!=", ">", "<", ">=", "<=", "~", "^"];
    if !items.get(1).and_then(Value::as_str).is_some_and(|operator| known.contains(&operator)) {
        problems.push(Problem::new(format!("{field}[1]"), format!("must be one of {}", known.join(" "))));
    }
}

/// `major.minor.patch`, with the pre-release and build parts that semver.org allows.
fn is_version(text: &str) -> bool {
    let (core, build) = text.split_once('+').map_or((text, None), |(core, build)| (core, Some(build)));
    let (numbers, pre) = core.split_once('-').map_or((core, None), |(numbers, pre)| (numbers, Some(pre)));
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let identifier = |part: &str| word(part) && (number(part) || part.bytes().any(|byte| !byte.is_ascii_digit()));
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && pre.is_none_or(|pre| pre.split('.').all(identifier))
        && build.is_none_or(|build| build.split('.').all(word))
}
