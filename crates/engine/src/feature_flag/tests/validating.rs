use rstest::rstest;

use super::{CHECKOUT, spec};
use crate::feature_flag::validate;

fn told(yaml: &str) -> Vec<String> {
    let spec = spec(yaml);
    validate("flag", &spec).map_or_else(|problems| problems.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn the_example_is_valid() {
    assert_eq!(told(CHECKOUT), Vec::<String>::new());
}

#[rstest]
#[case::default(
    "defaultVariant: \"off\"",
    "defaultVariant: of",
    "spec.defaultVariant: of is not one of the variants (off, on)"
)]
#[case::mixed(
    "\"off\": false",
    "\"off\": \"no\"",
    "spec.variants.on: is a boolean, and off is a string: all variants must be of one type"
)]
#[case::null(
    "\"off\": false",
    "\"off\": null",
    "spec.variants.off: must be a boolean, a string, a number or an object"
)]
#[case::list("\"off\": false", "\"off\": []", "spec.variants.off: must be a boolean, a string, a number or an object")]
#[case::serve("serve: \"on\"", "serve: yes", "spec.rules[0].serve: yes is not one of the variants")]
#[case::growing("growing: \"on\"", "growing: new", "spec.rules[1].percentage.growing: new is not one of the variants")]
#[case::rest("rest: \"off\"", "rest: \"on\"", "spec.rules[1].percentage.rest: must differ from growing")]
#[case::percent("percent: 10", "percent: 101", "spec.rules[1].percentage.percent: must be from 0 to 100")]
#[case::both(
    "serve: \"on\"}",
    "serve: \"on\", percentage: {growing: \"on\", rest: \"off\", percent: 1}}",
    "spec.rules[0]: give exactly one of serve and percentage"
)]
#[case::name("name: rollout", "name: staff", "spec.rules[1].name: staff is the name of another rule")]
#[case::values("values: [legacy]", "values: []", "spec.rules[1].when[1].values: give at least one value")]
#[case::attribute("user.plan", "user..plan", "spec.rules[1].when[1].attribute: user..plan has an empty part")]
#[case::unreachable(
    "when: [{attribute: email, operator: EndsWith, values: [\"@example.com\", \"@example.org\"]}], ",
    "",
    "spec.rules[1]: nobody would ever get it: rule staff is for everybody"
)]
#[case::two_logics(
    "defaultVariant: \"off\"",
    "defaultVariant: \"off\"\ntargeting: {}",
    "spec.targeting: give either rules or targeting"
)]
fn a_problem_is_told_by_its_path(#[case] from: &str, #[case] to: &str, #[case] wanted: &str) {
    assert!(CHECKOUT.contains(from), "{from}");
    let told = told(&CHECKOUT.replace(from, to));
    assert!(told.iter().any(|line| line.starts_with(wanted)), "{told:#?}");
}

#[rstest]
#[case("9007199254740991", true)]
#[case("-9007199254740991", true)]
#[case("9007199254740992", false)]
#[case("-9007199254740992", false)]
#[case("18446744073709551615", false)]
#[case("1e300", true)]
fn numbers_are_such_that_every_client_reads_the_same(#[case] number: &str, #[case] valid: bool) {
    let told = told(&format!("{{environment: e, variants: {{a: {number}}}, defaultVariant: a}}"));
    assert_eq!(told.is_empty(), valid, "{told:?}");
}

fn targeting(expression: &str) -> Vec<String> {
    told(&format!(
        "{{environment: e, variants: {{\"on\": 1, \"off\": 0, \"true\": 2}}, defaultVariant: \"off\", targeting: {expression}}}"
    ))
}

/// What the published schema takes.
#[rstest]
#[case("{}")]
#[case(r#"{"if": [{"in": ["a", {"var": "x"}]}, "on", "off"]}"#)]
#[case(r#"{"if": [{"var": "beta"}, "on"]}"#)]
#[case(r#"{"if": [{"==": [1, 1]}, "on", {"!": {"var": "y"}}, "off", null]}"#)]
#[case(r#"{"if": [{"==": [1, 1]}, true, null]}"#)]
#[case(r#"{"fractional": [["on", 10], ["off", 90]]}"#)]
#[case(r#"{"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]}, ["on", 10], ["off"]]}"#)]
#[case(r#"{"fractional": [["on", {"*": [{"var": "share"}, 2]}], ["off", 3]]}"#)]
#[case(r#"{"if": [{"sem_ver": [{"var": "version"}, ">=", "1.4.2-rc.1+b7"]}, "on", null]}"#)]
#[case(r#"{"if": [{"<": [1, {"var": "$flagd.timestamp"}, 3]}, "on", null]}"#)]
#[case(r#"{"if": [{"missing_some": [1, ["a", "b"]]}, "on", null]}"#)]
#[case(r#"{"if": [{"some": [{"var": "roles"}, {"==": [{"var": ""}, "admin"]}]}, "on", null]}"#)]
#[case(r#"{"if": [{"var": ["a", 1]}, "on", null]}"#)]
#[case(r#"{"var": "variant"}"#)]
fn targeting_that_the_schema_takes_is_taken(#[case] expression: &str) {
    assert_eq!(targeting(expression), Vec::<String>::new());
}

/// What it does not, or what would be an error for every client.
#[rstest]
#[case::unknown(r#"{"iff": [true, "on", "off"]}"#, ".iff: is not an operator that flagd's clients know")]
#[case::newest(r#"{"rollout": [0, 1, "on"]}"#, ".rollout: is not an operator")]
#[case::two(r#"{"and": [true], "or": [true]}"#, ": must have exactly one operator")]
#[case::few(r#"{"if": [{"==": [1]}, "on", "off"]}"#, ".if[0].==: takes 2 arguments and has 1")]
#[case::many(r#"{"if": [{"!": [1, 2]}, "on", "off"]}"#, ".if[0].!: takes 1 arguments and has 2")]
#[case::not_a_list(r#"{"if": true}"#, ".if: its arguments must be a list")]
#[case::reference(r#"{"if": [{"$ref": "staff"}, "on", "off"]}"#, ".if[0].$ref: shared evaluators are not published")]
#[case::unknown_variant(r#"{"if": [true, "up", "off"]}"#, ".if[1]: up is not one of the variants")]
#[case::unknown_bool(r#"{"if": [true, false, "off"]}"#, ".if[1]: false is not one of the variants")]
#[case::number_as_result(r#"{"if": [true, 1, "off"]}"#, ".if[1]: is not the name of a variant")]
#[case::nested(r#"{"if": [true, {"if": [true, "on", "up"]}, "off"]}"#, ".if[1].if[2]: up is not one of the variants")]
#[case::flagd(r#"{"if": [{"var": "$flagd.user"}, "on", "off"]}"#, ".if[0].var: $flagd.user does not exist")]
#[case::decimal_weight(
    r#"{"fractional": [["on", 10.5], ["off", 90]]}"#,
    ".fractional[0][1]: a weight is a whole number"
)]
#[case::negative_weight(r#"{"fractional": [["on", -1], ["off", 1]]}"#, ".fractional[0][1]: a weight is a whole number")]
#[case::no_share(r#"{"fractional": [{"var": "x"}]}"#, ".fractional: needs at least one share")]
#[case::share_of_unknown(
    r#"{"fractional": [["up", 1], ["off", 1]]}"#,
    ".fractional[0][0]: up is not one of the variants"
)]
#[case::bucketing(r#"{"fractional": ["email", ["on", 1]]}"#, ".fractional[0]: must be an expression")]
#[case::starts_with(
    r#"{"if": [{"starts_with": [{"var": "x"}, 1]}, "on", "off"]}"#,
    ".if[0].starts_with[1]: must be a text or an expression"
)]
#[case::version(
    r#"{"if": [{"sem_ver": [{"var": "v"}, ">=", "1.4"]}, "on", "off"]}"#,
    ".if[0].sem_ver[2]: must be a version"
)]
#[case::version_zero(
    r#"{"if": [{"sem_ver": [{"var": "v"}, ">=", "01.4.0"]}, "on", "off"]}"#,
    ".if[0].sem_ver[2]: must be a version"
)]
#[case::comparison(
    r#"{"if": [{"sem_ver": [{"var": "v"}, "=>", "1.4.0"]}, "on", "off"]}"#,
    ".if[0].sem_ver[1]: must be one of"
)]
fn targeting_that_would_fail_is_told_by_its_path(#[case] expression: &str, #[case] wanted: &str) {
    let told = targeting(expression);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with(&format!("spec.targeting{wanted}")), "{told:#?}");
}

#[test]
fn targeting_is_not_followed_without_end() {
    let deep = format!("{}{}{}", "{\"!\": ".repeat(80), "1", "}".repeat(80));
    let told = targeting(&format!("{{\"if\": [{deep}, \"on\", \"off\"]}}"));
    assert!(told.len() == 1 && told[0].ends_with("is more than 64 expressions deep"), "{told:?}");
}
