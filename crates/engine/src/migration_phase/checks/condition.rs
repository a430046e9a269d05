//! Conditions: what a check's CEL expression may hold, and whether it is true of values. Pure.
//!
//! A condition knows numbers, comparisons, arithmetic and logic, and three names. Without texts, lists, maps, functions and macros there
//! is nothing in it that could take longer than it is long.

use cel::{Context, Program, Value};

/// The longest condition, in bytes: a bound on the work it makes, and on how deep it nests.
const LONGEST: usize = 256;
/// How deep parentheses nest. The parser takes a tenth of a megabyte of stack for each in a debug build.
const DEEPEST: usize = 4;
/// Signs and negations in a row, and choices by `?`.
const MOST_IN_A_ROW: usize = 4;
/// The names that a condition may use.
const NAMES: [&str; 3] = ["value", "legacy", "new"];

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    /// The query's value, with `$system` as `new`.
    pub value: f64,
    /// The same with `$system` as `legacy`.
    pub legacy: Option<f64>,
    /// The same with `$system` as `new`.
    pub new: Option<f64>,
}

/// A condition that can be judged.
#[derive(Debug)]
pub struct Condition(Program);

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn compile(text: &str) -> Result<Self, String> {
        plain(text)?;
        let condition = Program::compile(text)
            .map(Self)
            .map_err(|_| "it is no expression: write one such as value < 0.05 && new <= legacy * 1.2".to_owned())?;
        // CEL does not say before it is asked that types do not go together, and not of a part that it skips.
        let samples = [f64::MIN, 0.5, f64::MAX];
        for value in samples {
            for legacy in samples {
                for new in samples {
                    condition.holds(Values { value, legacy: Some(legacy), new: Some(new) })?;
                }
            }
        }
        Ok(condition)
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// It has no answer for these values.
    pub fn holds(&self, values: Values) -> Result<bool, String> {
        let mut context = Context::default();
        let Values { value, legacy, new } = values;
        for (name, value) in NAMES.into_iter().zip([Some(value), legacy, new]) {
            if let Some(value) = value {
                context.add_variable_from_value(name, value);
            }
        }
        match self.0.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it yields a number: compare it with something, as in value < 0.05".to_owned()),
            Err(_) => Err("its types do not go together: write numbers in arithmetic with a point, as in new <= 2.0 * legacy, and \
                           join comparisons by && and ||"
                .to_owned()),
        }
    }
}

/// Whether a condition uses a name.
pub fn mentions(condition: &str, name: &str) -> bool {
    words(condition).any(|word| word == name)
}

/// Names and numbers: what is between other characters.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).filter(|word| !word.is_empty())
}

/// Only what a condition may hold, and not too much of it: the parser is asked nothing else.
fn plain(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} characters"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.()<>=!&|+-*/%?: \n".contains(c);
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "it may not hold {c:?}: it is made of value, legacy, new, numbers, comparisons, arithmetic and logic"
        ));
    }
    let known = |word: &str| {
        NAMES.contains(&word) || ["true", "false"].contains(&word) || word.starts_with(|c: char| c.is_ascii_digit())
    };
    if let Some(word) = words(text).find(|word| !known(word)) {
        return Err(format!("it uses {word}: only value, legacy and new are known"));
    }
    let (mut depth, mut prefixes, mut choices) = (0_usize, 0_usize, 0_usize);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '?' => choices += 1,
            _ => {}
        }
        prefixes = if matches!(c, '!' | '-') { prefixes + 1 } else { 0 };
        if depth > DEEPEST || prefixes.max(choices) > MOST_IN_A_ROW {
            return Err("it nests too deep: write it simpler".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn holds(text: &str, value: f64, legacy: f64) -> bool {
        let values = Values { value, legacy: Some(legacy), new: Some(value) };
        Condition::compile(text).unwrap().holds(values).unwrap()
    }

    #[rstest]
    #[case("value < 0.05", 0.01, 0.0, true)]
    #[case("value < 0.05", 0.05, 0.0, false)]
    #[case("value < 1", 0.5, 0.0, true)]
    #[case("value <= 1 && new <= legacy * 1.2", 0.12, 0.1, true)]
    #[case("value <= 1 && new <= legacy * 1.2", 0.13, 0.1, false)]
    #[case("new <= legacy + 0.01 || value == 1.0", 1.0, 0.1, true)]
    #[case("!(value > 3.0)", f64::INFINITY, 0.0, false)]
    #[case("legacy > 0.0 ? new / legacy < 2.0 : new < 0.01", 0.009, 0.0, true)]
    #[case("-value < 0.0", 1.0, 0.0, true)]
    #[case("value < 1e-3", 0.0001, 0.0, true)]
    #[case("true", 0.0, 0.0, true)]
    fn conditions_are_judged(#[case] text: &str, #[case] value: f64, #[case] legacy: f64, #[case] expected: bool) {
        assert_eq!(holds(text, value, legacy), expected);
    }

    #[rstest]
    #[case("", "no expression")]
    #[case("value <", "no expression")]
    #[case("value", "yields a number")]
    #[case("value + 1.0", "yields a number")]
    #[case("value < legacy * 2", "with a point")]
    #[case("value && true", "do not go together")]
    #[case("value < 9.0e9 || legacy * 2 > 1", "with a point")]
    #[case("vlaue < 1.0", "vlaue")]
    #[case("value.foo < 1.0", "value.foo")]
    #[case("size(value) < 1", "size")]
    #[case("[1,2].all(x, x < 3)", "'['")]
    #[case("'a' == 'a'", "'\\''")]
    #[case("value < 1.0 // so", "so")]
    fn what_cannot_be_judged_is_refused(#[case] text: &str, #[case] why: &str) {
        let refused = Condition::compile(text).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }

    /// On a thread as small as those that reconcile.
    #[rstest]
    #[case(format!("{}value{}", "(".repeat(125), ")".repeat(125)))]
    #[case(format!("{}true", "!".repeat(250)))]
    #[case(format!("{}true", "! ".repeat(120)))]
    #[case(format!("{}value < 1.0", "- ".repeat(120)))]
    #[case(format!("{}false", "true?false:".repeat(22)))]
    #[case(format!("{}true", "true?".repeat(50)))]
    #[case(format!("value{}", "-value".repeat(41)))]
    #[case(format!("true{}", "&&true".repeat(41)))]
    #[case(format!("true{}", "==true".repeat(41)))]
    #[case(format!("{}((((!!!!true)))){}", "!!!!true?false:".repeat(4), "&&true".repeat(20)))]
    #[case("((((true))))&&".repeat(18) + "true")]
    #[case("9".repeat(256))]
    #[case(format!("0x{}", "f".repeat(200)))]
    fn an_expression_made_to_break_the_parser_does_not(#[case] text: String) {
        let judged = std::thread::Builder::new().stack_size(2 << 20).spawn(move || Condition::compile(&text).is_ok());
        judged.unwrap().join().unwrap();
    }

    #[test]
    fn names_are_found_as_words() {
        assert!(mentions("new <= legacy", "legacy"));
        assert!(!mentions("value < 1.0", "new"));
    }
}
