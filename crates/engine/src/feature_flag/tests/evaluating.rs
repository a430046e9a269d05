//! What is published, evaluated by the official engine.

use std::collections::BTreeSet;

use flagd_evaluation_engine::{FlagParser, Operator};
use open_feature::{EvaluationContext, EvaluationContextFieldValue, StructValue, Value as FlagValue};
use rstest::rstest;

use super::{CHECKOUT, spec};
use crate::feature_flag::{
    definition::build_flag,
    document::{Flags, document},
    validate,
};

fn published(yaml: &str, percent: i32) -> String {
    let valid = validate("new-checkout", &spec(yaml)).unwrap();
    let flags = Flags::from([("new-checkout".to_owned(), build_flag(&valid, Some(percent)))]);
    document("shop", "production", &flags)
}

/// What is published, parsed once.
struct Evaluator {
    operator: Operator,
    targeting: String,
    default_variant: String,
    variants: BTreeSet<String>,
}

impl Evaluator {
    fn of(file: &str) -> Self {
        let mut parsed = FlagParser::parse_string(file).unwrap();
        let flag = parsed.flags.remove("new-checkout").unwrap();
        Self {
            operator: Operator::new(),
            targeting: flag.get_targeting(),
            default_variant: flag.default_variant,
            variants: flag.variants.into_keys().collect(),
        }
    }

    /// The variant that a context gets: by targeting, else the default.
    fn evaluate(&self, context: &EvaluationContext) -> String {
        let targeted = self.operator.apply("new-checkout", &self.targeting, context).unwrap();
        let variant = targeted.unwrap_or_else(|| self.default_variant.clone());
        assert!(self.variants.contains(&variant), "{variant}");
        variant
    }
}

fn evaluate(file: &str, context: &EvaluationContext) -> String {
    Evaluator::of(file).evaluate(context)
}

fn user(key: &str) -> EvaluationContext {
    EvaluationContext::default().with_targeting_key(key)
}

fn with(context: EvaluationContext, pairs: &[(&str, &str)]) -> EvaluationContext {
    pairs.iter().fold(context, |context, (name, value)| match name.split_once('.') {
        None => context.with_custom_field(*name, (*value).to_owned()),
        Some((object, field)) => {
            let inner = StructValue { fields: [(field.to_owned(), FlagValue::String((*value).to_owned()))].into() };
            context.with_custom_field(object, EvaluationContextFieldValue::Struct(std::sync::Arc::new(inner)))
        }
    })
}

/// With everybody or nobody of those in the rollout's reach, so that only the rules decide.
#[rstest]
#[case::staff(0, &[("email", "ann@example.com")], "on")]
#[case::second_domain(0, &[("email", "ann@example.org")], "on")]
#[case::stranger(0, &[("email", "ann@example.net"), ("region", "eu")], "off")]
#[case::in_reach(100, &[("region", "eu")], "on")]
#[case::in_reach_with_plan(100, &[("region", "us"), ("user.plan", "pro")], "on")]
#[case::excluded_plan(100, &[("region", "us"), ("user.plan", "legacy")], "off")]
#[case::out_of_reach(100, &[("region", "br")], "off")]
#[case::no_attributes(100, &[], "off")]
fn the_first_rule_that_matches_decides(
    #[case] percent: i32,
    #[case] attributes: &[(&str, &str)],
    #[case] wanted: &str,
) {
    assert_eq!(evaluate(&published(CHECKOUT, percent), &with(user("u-1"), attributes)), wanted);
}

#[rstest]
#[case::starts("StartsWith", "[ab, cd]", "cde", true)]
#[case::starts_not("StartsWith", "[ab, cd]", "xcd", false)]
#[case::ends("EndsWith", "[ab]", "xab", true)]
#[case::contains("Contains", "[zz, b]", "abc", true)]
#[case::contains_not("Contains", "[zz]", "abc", false)]
#[case::is_in("In", "[abc, d]", "abc", true)]
#[case::is_in_whole("In", "[abcd]", "abc", false)]
#[case::not_in("NotIn", "[abcd]", "abc", true)]
#[case::not_in_not("NotIn", "[abc]", "abc", false)]
fn operators_compare_as_they_say(
    #[case] operator: &str,
    #[case] values: &str,
    #[case] given: &str,
    #[case] matches: bool,
) {
    let yaml = format!(
        "{{environment: e, variants: {{\"on\": 1, \"off\": 0}}, defaultVariant: \"off\", rules: [{{name: r, serve: \"on\", when: [{{attribute: a, operator: {operator}, values: {values}}}]}}]}}"
    );
    let file = published(&yaml, 0);
    assert_eq!(evaluate(&file, &with(user("u"), &[("a", given)])) == "on", matches);
    // Who lacks the attribute differs from every value, and is like none.
    assert_eq!(evaluate(&file, &user("u")) == "on", operator == "NotIn");
}

const EVERYBODY: &str = r#"{environment: e, variants: {"on": true, "off": false}, defaultVariant: "off", rules: [{name: r, percentage: {growing: "on", rest: "off", percent: 0}}]}"#;

fn reached(percent: i32, users: &[String]) -> BTreeSet<String> {
    let flag = Evaluator::of(&published(EVERYBODY, percent));
    users.iter().filter(|key| flag.evaluate(&user(key)) == "on").cloned().collect()
}

#[test]
fn a_growing_percentage_only_adds_users() {
    let users: Vec<String> = (0..1000).map(|number| format!("user-{number}")).collect();
    let mut before = BTreeSet::new();
    for percent in [0, 1, 5, 10, 25, 50, 75, 99, 100] {
        let now = reached(percent, &users);
        assert!(before.is_subset(&now), "{percent} % lost users");
        let share = f64::from(u32::try_from(now.len()).unwrap()) / 10.0;
        assert!((share - f64::from(percent)).abs() < 5.0, "{percent} % reached {share} %");
        before = now;
    }
    assert_eq!(reached(0, &users).len(), 0);
    assert_eq!(before.len(), users.len(), "at 100 % everybody is reached");
}

#[test]
fn who_has_no_targeting_key_gets_the_default() {
    assert_eq!(evaluate(&published(EVERYBODY, 100), &EvaluationContext::default()), "off");
}
