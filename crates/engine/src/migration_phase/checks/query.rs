//! Queries: variables replaced, and how far back a query looks. Pure text work; assumes nothing of the query but that it is `PromQL`.

use std::{collections::BTreeSet, time::Duration};

use super::super::observed::PhaseIdentity;

/// The variables that every query may use.
const VARIABLES: [&str; 5] = ["system", "namespace", "environment", "phase", "split"];
/// The variable of queries that count, for the time since the step began. It is replaced when the query is asked.
const WINDOW: &str = "window";

/// A query that cannot be asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidQuery {
    /// A variable that does not exist.
    #[error("the query uses ${name}: only $system, $namespace, $environment, $phase and $split are known")]
    UnknownVariable {
        /// Its name.
        name: String,
    },
    /// A value that would not stay inside a label value.
    #[error("${name} cannot be put into a query: {value:?} holds characters other than a-z, 0-9, '-' and '.'")]
    UnsafeValue {
        /// Name of the variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The name of a split is asked for, and there is none.
    #[error("the query uses $split, and the phase moves no split")]
    NoSplit,
    /// One name is asked for, and there are several.
    #[error("the phase moves several splits: write $split where a pattern may stand, as in split=~\"$split\"")]
    SeveralSplits,
    /// What is needed to count since the step began.
    #[error("the query does not use ${name}: {why}")]
    Missing {
        /// Name of the variable.
        name: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
}

/// What the variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The phase.
    pub phase: &'a PhaseIdentity,
    /// Its environment.
    pub environment: &'a str,
    /// The splits that it moves.
    pub splits: &'a BTreeSet<&'a str>,
    /// The side that is asked about.
    pub system: &'static str,
    /// Whether `$window` may be used; it stays as it is.
    pub window: bool,
}

/// The query with its variables replaced. Values that could leave a quoted label value are refused.
///
/// # Errors
/// The query names an unknown variable, or a value is not safe inside a label value.
pub fn substitute(query: &str, variables: &Variables<'_>) -> Result<String, InvalidQuery> {
    let mut text = String::with_capacity(query.len());
    let mut rest = query;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let (name, tail) = after.split_at(identifier(after));
        match VARIABLES.into_iter().find(|known| *known == name) {
            Some("split") => text.push_str(&splits(variables.splits, &text)?),
            Some(known) => {
                let value = match known {
                    "system" => variables.system,
                    "namespace" => &variables.phase.namespace,
                    "environment" => variables.environment,
                    _ => &variables.phase.name,
                };
                text.push_str(safe(known, value)?);
            }
            None if name == WINDOW && variables.window => text.push_str("$window"),
            // The end of a regular expression, as in `status=~"5..$"`.
            None if name.is_empty() => text.push('$'),
            None => return Err(InvalidQuery::UnknownVariable { name: name.to_owned() }),
        }
        rest = tail;
    }
    text.push_str(rest);
    Ok(text)
}

/// Whether a query uses a variable.
pub fn uses(query: &str, variable: &str) -> bool {
    query.split('$').skip(1).any(|after| after.get(..identifier(after)) == Some(variable))
}

/// The query over the time since the step began. No value that was put into it before can hold a `$`.
pub fn over(query: &str, window: Duration) -> String {
    query.replace("$window", &format!("{}s", window.as_secs()))
}

/// The name of the split, or a pattern of all their names; `before` is the query so far.
fn splits(names: &BTreeSet<&str>, before: &str) -> Result<String, InvalidQuery> {
    let names = names.iter().map(|name| safe("split", name)).collect::<Result<Vec<_>, _>>()?;
    match names.as_slice() {
        [] => Err(InvalidQuery::NoSplit),
        [one] => Ok((*one).to_owned()),
        _ => {
            let open = before.rfind(['"', '\'', '`']).and_then(|quote| before.get(..quote));
            let pattern = open.is_some_and(|matcher| matcher.trim_end().ends_with('~'));
            let names: Vec<_> = names.iter().map(|name| name.replace('.', "[.]")).collect();
            if pattern { Ok(format!("({})", names.join("|"))) } else { Err(InvalidQuery::SeveralSplits) }
        }
    }
}

/// Length of the identifier that the text begins with.
fn identifier(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

fn safe<'a>(name: &'static str, value: &'a str) -> Result<&'a str, InvalidQuery> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if !value.is_empty() && value.bytes().all(plain) {
        Ok(value)
    } else {
        Err(InvalidQuery::UnsafeValue { name, value: value.to_owned() })
    }
}

/// How far back the query looks: its longest range, and on top of it the longest range of a subquery, whose inner query looks back
/// from each of its points.
#[must_use]
pub fn look_back(query: &str) -> Duration {
    let (mut plain, mut sub) = (Duration::ZERO, Duration::ZERO);
    for selector in brackets(query) {
        match selector.split_once(':') {
            Some((range, _)) => sub = sub.max(range_of(range)),
            None => plain = plain.max(range_of(selector)),
        }
    }
    plain + sub
}

/// What stands in square brackets outside of quotes.
fn brackets(query: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut quote, mut escaped, mut open) = (None, false, None);
    for (at, c) in query.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            // Back quotes know no escapes.
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(q), _) if q == c => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '[') => open = Some(at + 1),
            (None, ']') => found.extend(open.take().and_then(|from| query.get(from..at))),
            _ => {}
        }
    }
    found
}

/// A `PromQL` duration such as `1h30m` or `500ms`; zero if it is none.
fn range_of(text: &str) -> Duration {
    let mut total = 0_u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_536_000_000,
            _ => return Duration::ZERO,
        };
        let Ok(number) = number.parse::<u64>() else { return Duration::ZERO };
        total = total.saturating_add(number.saturating_mul(millis));
        rest = tail;
    }
    Duration::from_millis(total)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn phase() -> PhaseIdentity {
        PhaseIdentity { namespace: "shop".into(), name: "30-shift".into(), ..PhaseIdentity::default() }
    }

    fn replaced(query: &str, environment: &str, splits: &[&str]) -> Result<String, InvalidQuery> {
        let splits = splits.iter().copied().collect();
        let phase = phase();
        let variables = Variables {
            phase: &phase,
            environment,
            splits: &splits,
            system: "new",
            window: query.contains("increase"),
        };
        substitute(query, &variables)
    }

    #[rstest]
    #[case("up{s=\"$split\"}", &["shop"], "up{s=\"shop\"}")]
    #[case("up{s=~\"$split\"}", &["shop", "a.b"], "up{s=~\"(a[.]b|shop)\"}")]
    #[case("up{s!~ 'x-$split$'}", &["a", "b"], "up{s!~ 'x-(a|b)$'}")]
    #[case("increase(x{s=\"$split\"}[$window])", &["a"], "increase(x{s=\"a\"}[$window])")]
    fn splits_are_named(#[case] query: &str, #[case] splits: &[&str], #[case] expected: &str) {
        assert_eq!(replaced(query, "production", splits).unwrap(), expected);
    }

    #[rstest]
    #[case("up{s=\"$split\"}", &[], InvalidQuery::NoSplit)]
    #[case("up{s=\"$split\"}", &["a", "b"], InvalidQuery::SeveralSplits)]
    #[case("up{x=~\"a\",s=\"$split\"}", &["a", "b"], InvalidQuery::SeveralSplits)]
    #[case("rate(x[$window])", &["a"], InvalidQuery::UnknownVariable { name: "window".into() })]
    #[case("up{s=\"$split\"}", &["a\"}"], InvalidQuery::UnsafeValue { name: "split", value: "a\"}".into() })]
    fn splits_that_cannot_be_named_are_refused(
        #[case] query: &str,
        #[case] splits: &[&str],
        #[case] expected: InvalidQuery,
    ) {
        assert_eq!(replaced(query, "production", splits), Err(expected));
    }

    #[test]
    fn the_window_is_the_time_since_the_step_began() {
        assert_eq!(
            over("increase(x[$window]) / increase(y[$window])", Duration::from_millis(90_900)),
            "increase(x[90s]) / increase(y[90s])"
        );
        assert!(uses("x[$window]", "window") && !uses("x{s=\"$windows$\"}", "window"));
    }

    #[rstest]
    #[case(r#"up{system="$system"}"#, r#"up{system="new"}"#)]
    #[case(
        r#"up{n="$namespace",e="$environment",p="$phase",again="$phase"}"#,
        r#"up{n="shop",e="production",p="30-shift",again="30-shift"}"#
    )]
    #[case(r#"up{s=~"5..$",system="$system"}"#, r#"up{s=~"5..$",system="new"}"#)]
    #[case(r#"up{s=~"a$|b$"}"#, r#"up{s=~"a$|b$"}"#)]
    #[case("up", "up")]
    fn variables_are_replaced(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(replaced(query, "production", &["shop"]).unwrap(), expected);
    }

    #[rstest]
    #[case("up{s=\"$systems\"}", "systems")]
    #[case("up{s=\"$job\"}", "job")]
    #[case("up{s=\"$phase_x\"}", "phase_x")]
    fn unknown_variables_are_refused(#[case] query: &str, #[case] name: &str) {
        let refused = replaced(query, "production", &["shop"]);
        assert_eq!(refused, Err(InvalidQuery::UnknownVariable { name: name.into() }));
    }

    #[rstest]
    #[case("a\"} or vector(0) or up{x=\"")]
    #[case("")]
    #[case("a b")]
    #[case("A")]
    fn a_value_that_could_leave_its_quotes_is_refused(#[case] environment: &str) {
        let refused = replaced("up{e=\"$environment\"}", environment, &["shop"]);
        assert!(matches!(refused, Err(InvalidQuery::UnsafeValue { name: "environment", .. })), "{refused:?}");
    }

    #[rstest]
    #[case("up", 0)]
    #[case("rate(x[5m])", 300)]
    #[case("rate(x[30s]) / rate(y[1h30m])", 5_400)]
    #[case("max_over_time(rate(x[1m])[5m:1m])", 360)]
    #[case("max_over_time(up[5m:])", 300)]
    #[case("rate(x{code=~\"[5m]\"}[10s])", 10)]
    #[case("rate(x{code=~'a\\'[9d]'}[1w])", 604_800)]
    #[case("rate(x{code=~`[9d]\\`}[2d])", 172_800)]
    #[case("x[2y]", 63_072_000)]
    #[case("x[ 5m ]", 300)]
    #[case("x[$range]", 0)]
    fn the_look_back_is_that_of_the_longest_range(#[case] query: &str, #[case] seconds: u64) {
        assert_eq!(look_back(query), Duration::from_secs(seconds));
    }

    #[test]
    fn milliseconds_count() {
        assert_eq!(look_back("x[1500ms]"), Duration::from_millis(1_500));
    }
}
