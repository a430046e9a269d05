//! What a result says by the check's own bounds: passed, failed, no data, or no answer. Pure.

use cutover_api::v1alpha1::migration_phase::{Check, CompareCheck};

use super::{
    super::observed::{Answer, Measured},
    compare::{Counts, log_evidence},
    condition::{Condition, Values},
    http,
    webhook::{self, Said, Word},
};

/// The longest value that is shown.
const LONGEST_VALUE: usize = 24;
/// What a comparison may fail of healthy steps, unless the check says otherwise.
const SIGNIFICANCE: f64 = 0.01;
/// Requests that a comparison needs of each side, unless the check says otherwise.
const MIN_SAMPLES: i32 = 200;

/// What a result says.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Within bounds; the value to show.
    Passes(String),
    /// Out of bounds: the value to show, and why.
    Fails(String, String),
    /// There is nothing to judge, and why.
    NoData(String),
    /// It could not be judged, and why.
    Erroring(String),
}

/// Judges a result.
pub fn judge(check: &Check, measured: &Measured) -> Verdict {
    match measured {
        Measured::Answers { legacy, new } => match &check.http {
            Some(asked) => http::judge(check, asked, legacy.as_ref(), new),
            None => other_kind(),
        },
        Measured::Said(word) if check.webhook.is_some() => webhook::judge(word),
        Measured::Said(_) => other_kind(),
        Measured::Value(_) | Measured::Sides { .. }
            if check.http.is_some() || check.webhook.is_some() || check.job.is_some() =>
        {
            other_kind()
        }
        Measured::Value(value) => number(check, Values { value: *value, legacy: None, new: Some(*value) }),
        Measured::Sides { legacy, new } => {
            number(check, Values { value: *new, legacy: Some(*legacy), new: Some(*new) })
        }
        Measured::Counts { legacy, new } => match &check.compare {
            Some(compare) => compared(check, compare, *legacy, *new),
            None => other_kind(),
        },
        Measured::Ended { .. } if check.job.is_none() => other_kind(),
        Measured::Ended { failure: None } => Verdict::Passes("succeeded".to_owned()),
        Measured::Ended { failure: Some(why) } => Verdict::Fails("failed".to_owned(), why.clone()),
        Measured::NoData => nothing(),
        Measured::Erroring(why) => Verdict::Erroring(why.clone()),
    }
}

/// A result that the check passes with, or fails by; for simulations. No data if none is found.
#[must_use]
pub fn sample(check: &Check, passes: bool) -> Measured {
    let bound = |bound: &Option<cutover_api::Decimal>| bound.as_ref().map(cutover_api::Decimal::value);
    let (min, max) = (bound(&check.min), bound(&check.max));
    let over = max.map(|max| max + max.abs() + 1.0);
    let under = min.map(|min| min - min.abs() - 1.0);
    let numbers = [min, max, over, under].into_iter().flatten().chain([0.0, 1e-6, 1e-3, 0.1, 1.0, 1e3, 1e9]);
    let side = |errors: f64| Counts { errors, requests: 1e9 };
    let counts = [0.0, 1e9].map(|errors| Measured::Counts { legacy: side(0.0), new: side(errors) });
    let numbers: Vec<_> = numbers.collect();
    let expected = check.http.as_ref().and_then(|asked| u16::try_from(asked.expect_status.min).ok());
    let status = expected.unwrap_or_default();
    let given = |number: f64| Answer::Given { status, seconds: number, value: Some(number) };
    let sides = check.http.as_ref().is_some_and(|_| http::asks_legacy(check));
    let answered =
        numbers.iter().map(|number| Measured::Answers { legacy: sides.then(|| given(1.0)), new: given(*number) });
    let silent =
        Measured::Answers { legacy: sides.then(|| given(1.0)), new: Answer::Silence("connection refused".to_owned()) };
    let said = [Said::Pass, Said::Fail].map(|status| Measured::Said(Word { status, message: None }));
    let ended = [None, Some("it failed".to_owned())].map(|failure| Measured::Ended { failure });
    let alone = numbers.iter().map(|value| Measured::Value(*value));
    let both =
        [1.0, 1e-3].into_iter().flat_map(|legacy| numbers.iter().map(move |new| Measured::Sides { legacy, new: *new }));
    let wanted = |measured: &Measured| match judge(check, measured) {
        Verdict::Passes(_) => passes,
        Verdict::Fails(..) => !passes,
        Verdict::NoData(_) | Verdict::Erroring(_) => false,
    };
    let others = [silent].into_iter().chain(said).chain(ended);
    alone.chain(both).chain(counts).chain(answered).chain(others).find(wanted).unwrap_or(Measured::NoData)
}

fn other_kind() -> Verdict {
    Verdict::Erroring("the result is of another kind of check".to_owned())
}

fn nothing() -> Verdict {
    Verdict::NoData("the query answers, and there is nothing".to_owned())
}

/// Judges a number by the check's bounds or condition.
pub(super) fn number(check: &Check, values: Values) -> Verdict {
    let Values { value, legacy, .. } = values;
    if value.is_nan() || legacy.is_some_and(f64::is_nan) {
        return nothing();
    }
    let shown = show(value);
    let below = check.min.as_ref().filter(|min| value < min.value()).map(|min| format!("{shown} is below min {min}"));
    let above =
        || check.max.as_ref().filter(|max| value > max.value()).map(|max| format!("{shown} is above max {max}"));
    if let Some(why) = below.or_else(above) {
        return Verdict::Fails(shown, why);
    }
    let Some(text) = &check.condition else { return Verdict::Passes(shown) };
    match Condition::compile(text).and_then(|condition| condition.holds(values)) {
        Ok(true) => Verdict::Passes(shown),
        Ok(false) => {
            let beside = legacy.map(|legacy| format!(" and legacy {}", show(legacy))).unwrap_or_default();
            let why = format!("{text} is false: value is {shown}{beside}");
            Verdict::Fails(shown, why)
        }
        Err(why) => Verdict::Erroring(format!("condition: {why}")),
    }
}

fn compared(check: &Check, compare: &CompareCheck, legacy: Counts, new: Counts) -> Verdict {
    let least = f64::from(check.min_samples.unwrap_or(MIN_SAMPLES));
    if legacy.requests < least || new.requests < least {
        let why = format!(
            "too few requests to tell: {:.0} of legacy and {:.0} of the new side, {least} of each are needed",
            legacy.requests, new.requests
        );
        return Verdict::NoData(why);
    }
    let margin = compare.margin.as_ref().map_or(0.0, cutover_api::Decimal::value);
    let significance = check.significance.as_ref().map_or(SIGNIFICANCE, cutover_api::Decimal::value);
    let shown = format!("{:.6}", new.rate() - legacy.rate());
    if log_evidence(legacy, new, margin) < -significance.ln() {
        return Verdict::Passes(shown);
    }
    let why = format!(
        "{:.4} of {:.0} requests to the new side fail, {:.4} of {:.0} to legacy: more than {margin} above it, at significance {significance}",
        new.rate(),
        new.requests,
        legacy.rate(),
        legacy.requests
    );
    Verdict::Fails(shown, why)
}

fn show(value: f64) -> String {
    let plain = value.to_string();
    if plain.len() > LONGEST_VALUE { format!("{value:e}") } else { plain }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{super::super::tests::fixture, *};

    fn conditional(text: &str) -> Check {
        Check { max: None, condition: Some(text.into()), ..fixture::check("c") }
    }

    fn comparing() -> Check {
        let query = |of: &str| format!("sum(increase({of}{{system=\"$system\"}}[$window]))");
        let compare = CompareCheck { errors: query("e"), requests: query("r"), margin: Some("0.002".parse().unwrap()) };
        Check { max: None, prometheus: None, compare: Some(compare), ..fixture::check("c") }
    }

    #[rstest]
    #[case(Measured::Sides { legacy: 0.1, new: 0.11 }, Verdict::Passes("0.11".into()))]
    #[case(
        Measured::Sides { legacy: 0.1, new: 0.2 },
        Verdict::Fails("0.2".into(), "new <= 1.2 * legacy is false: value is 0.2 and legacy 0.1".into())
    )]
    #[case(Measured::Sides { legacy: f64::NAN, new: 0.2 }, nothing())]
    #[case(Measured::Sides { legacy: 0.1, new: f64::NAN }, nothing())]
    #[case(Measured::Erroring("down".into()), Verdict::Erroring("down".into()))]
    fn a_condition_looks_at_both_sides(#[case] measured: Measured, #[case] expected: Verdict) {
        assert_eq!(judge(&conditional("new <= 1.2 * legacy"), &measured), expected);
    }

    #[test]
    fn a_condition_without_an_answer_is_an_error() {
        let verdict = judge(&conditional("new <= 1.2 * legacy"), &Measured::Value(1.0));
        assert!(matches!(verdict, Verdict::Erroring(_)), "{verdict:?}");
    }

    fn counts(errors: f64, requests: f64) -> Counts {
        Counts::new(errors, requests).unwrap()
    }

    #[rstest]
    #[case(fixture::check("bounded"))]
    #[case(Check { min: Some("5".parse().unwrap()), max: None, ..fixture::check("bounded below") })]
    #[case(conditional("value < 0.05"))]
    #[case(conditional("new <= legacy * 1.2 && value > 0.0"))]
    #[case(comparing())]
    #[case(fixture::job_check("probing"))]
    #[case(fixture::http_check("timed"))]
    #[case(fixture::webhook_check("asked"))]
    #[case(Check { max: None, ..fixture::http_check("answering") })]
    #[case(Check { max: None, condition: Some("new <= legacy * 1.2".into()), ..fixture::http_check("compared") })]
    fn samples_pass_and_fail(#[case] check: Check) {
        assert!(matches!(judge(&check, &sample(&check, true)), Verdict::Passes(_)));
        assert!(matches!(judge(&check, &sample(&check, false)), Verdict::Fails(..)));
    }

    #[test]
    fn too_few_requests_are_no_data() {
        let verdict = |legacy, new| judge(&comparing(), &Measured::Counts { legacy, new });
        assert!(matches!(verdict(counts(0.0, 199.0), counts(100.0, 200.0)), Verdict::NoData(_)));
        assert!(matches!(verdict(counts(0.0, 9_000.0), counts(100.0, 199.0)), Verdict::NoData(_)));
        assert!(matches!(verdict(counts(0.0, 200.0), counts(100.0, 200.0)), Verdict::Fails(..)));
    }

    #[test]
    fn a_comparison_fails_on_evidence_alone() {
        let verdict = |new| judge(&comparing(), &Measured::Counts { legacy: counts(100.0, 10_000.0), new });
        assert_eq!(verdict(counts(120.0, 10_000.0)), Verdict::Passes("0.002000".into()));
        assert_eq!(verdict(counts(50.0, 10_000.0)), Verdict::Passes("-0.005000".into()));
        let Verdict::Fails(value, why) = verdict(counts(300.0, 10_000.0)) else { panic!("no failure") };
        assert_eq!(value, "0.020000");
        assert!(why.contains("0.0300 of 10000 requests to the new side"), "{why}");
    }
}
