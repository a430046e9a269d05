use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::{CHECKOUT, spec};
use crate::feature_flag::{
    build_config_map,
    definition::{build_flag, percent_of, with_percent},
    document::{Flags, document},
    validate,
};

fn form(yaml: &str, percent: Option<i32>) -> Value {
    build_flag(&validate("new-checkout", &spec(yaml)).unwrap(), percent)
}

const PLAIN: &str = "{environment: production, variants: {small: 1, large: 2.5}, defaultVariant: small";

#[test]
fn a_flag_with_rules_is_nested_ifs_and_the_growing_share_first() {
    insta::assert_json_snapshot!("checkout", form(CHECKOUT, Some(25)));
}

#[rstest]
#[case::no_rules("}", None)]
#[case::everybody(", rules: [{name: all, serve: large}]}", Some(json!({"if": [true, "large", null]})))]
#[case::share_of_everybody(
    ", rules: [{name: all, percentage: {growing: large, rest: small, percent: 0}}]}",
    Some(json!({"fractional": [["large", 0], ["small", 100]]}))
)]
#[case::then_everybody(
    ", rules: [{name: a, when: [{attribute: x, operator: Contains, values: [y]}], serve: large}, {name: b, serve: small}]}",
    Some(json!({"if": [{"in": ["y", {"var": "x"}]}, "large", {"if": [true, "small", null]}]}))
)]
#[case::raw(", targeting: {if: [{'==': [{var: a}, 1]}, large, null]}}", Some(json!({"if": [{"==": [{"var": "a"}, 1]}, "large", null]})))]
#[case::raw_empty(", targeting: {}}", None)]
fn targeting_is_always_an_expression(#[case] rest: &str, #[case] wanted: Option<Value>) {
    let form = form(&format!("{PLAIN}{rest}"), None);
    assert_eq!(form.get("targeting"), wanted.as_ref());
    assert_eq!(form["defaultVariant"], "small");
    assert_eq!(form["state"], "ENABLED");
}

#[test]
fn numbers_and_objects_are_published_as_they_are() {
    let numbers = form(&format!("{PLAIN}, state: Disabled}}"), None);
    assert_eq!((&numbers["variants"], &numbers["state"]), (&json!({"small": 1, "large": 2.5}), &json!("DISABLED")));
    let objects = form("{environment: e, variants: {a: {z: 1, b: {y: 2, x: 3}}}, defaultVariant: a}", None);
    assert_eq!(serde_json::to_string(&objects["variants"]).unwrap(), r#"{"a":{"b":{"x":3,"y":2},"z":1}}"#);
}

#[rstest]
#[case(0)]
#[case(37)]
#[case(100)]
fn the_percentage_is_read_back_from_what_is_published(#[case] percent: i32) {
    let published = form(CHECKOUT, Some(percent));
    assert_eq!(percent_of(&published), Some(percent));
    let moved = with_percent(&published, 64).unwrap();
    assert_eq!(moved, form(CHECKOUT, Some(64)));
}

#[rstest]
#[case(json!({"targeting": {"if": [true, "on", null]}}))]
#[case(json!({"targeting": {"fractional": [["a", 10], ["b", 10], ["c", 80]]}}))]
#[case(json!({"targeting": {"fractional": [["a", 10], ["b", 10]]}}))]
#[case(json!({"targeting": {"fractional": [{"var": "x"}, ["b", 10]]}}))]
#[case(json!({}))]
fn a_form_without_a_percentage_of_ours_has_none(#[case] form: Value) {
    assert_eq!(percent_of(&form), None);
    assert_eq!(with_percent(&form, 50), None);
}

#[test]
fn equal_flags_are_equal_bytes() {
    let flags = |order: [&str; 3]| -> Flags {
        order.iter().map(|key| ((*key).to_owned(), form(CHECKOUT, None))).collect::<BTreeMap<_, _>>()
    };
    let one = document("shop", "production", &flags(["a", "b", "c"]));
    assert_eq!(one, document("shop", "production", &flags(["c", "a", "b"])));
    assert_ne!(one, document("shop", "production", &flags(["a", "b", "d"])));
    insta::assert_yaml_snapshot!(
        "config_map",
        build_config_map("shop", "production", document("shop", "production", &flags(["a", "a", "a"])))
    );
}
