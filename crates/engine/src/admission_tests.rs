//! The kinds' schemas and rules, judged without an API server: every field is documented and bounded, every rule is
//! tried from both sides. The cases are those of the cluster tests, which ask the API server itself.

use std::collections::BTreeSet;

use kube::core::cel::{ErrorKind, Validator};
use serde::Deserialize;
use serde_json::{Map, Value};

const CASES: &str = include_str!("../../../tests/cluster/admission.yaml");

/// Rules with functions that only the API server has; its own tests cover them.
const BEYOND: [&str; 2] = [
    "newWeight of a split must not fall from step to step: a phase moves forward only",
    "percent of a flag must not fall from step to step: a phase moves forward only",
];

#[derive(Deserialize)]
struct Cases {
    bases: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    kind: String,
    #[serde(default)]
    patch: Value,
    refused: Option<String>,
    #[serde(default)]
    update: bool,
    #[serde(default)]
    schema: bool,
}

/// Each kind with its schema.
fn schemas() -> Vec<(String, Value)> {
    let definitions = cutover_api::definitions().expect("the definitions are JSON");
    let schema = |definition: &Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let kind = |definition: &Value| definition["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let values = definitions.iter().map(|definition| serde_json::to_value(definition).expect("JSON"));
    values.map(|definition| (kind(&definition), schema(&definition))).collect()
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            *target = patch.clone();
        }
        return;
    };
    for (key, change) in patch {
        let Some(fields) = target.as_object_mut() else { return };
        if change.is_null() {
            fields.remove(key);
        } else if change.is_object() && fields.get(key).is_some_and(Value::is_object) {
            merge(&mut fields[key], change);
        } else {
            fields.insert(key.clone(), change.clone());
        }
    }
}

fn rules(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                found.insert(rule["message"].as_str().expect("every rule says in words what is wrong").to_owned());
            }
            fields.values().for_each(|value| rules(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| rules(value, found)),
        _ => {}
    }
}

#[test]
fn rules_accept_and_refuse_as_the_cases_say() {
    let cases: Cases = serde_yaml_ng::from_str(CASES).expect("cases");
    let schemas = schemas();
    let mut tried = BTreeSet::new();
    for case in cases.cases.iter().filter(|case| !case.schema) {
        let (_, schema) = schemas.iter().find(|(kind, _)| *kind == case.kind).expect("one of our kinds");
        let base = &cases.bases[&case.kind];
        let mut object = base.clone();
        merge(&mut object, &case.patch);
        let errors = match Validator::new().validate(schema, &object, case.update.then_some(base)) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_vec(),
        };
        let (beyond, failed): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| error.kind == ErrorKind::UnsupportedReference);
        assert!(beyond.iter().all(|error| error.rule.contains("transformMapEntry")), "{beyond:#?}");
        match &case.refused {
            None => assert!(failed.is_empty(), "{case:?} is refused: {failed:#?}"),
            Some(why) if BEYOND.iter().any(|message| message.contains(why)) => assert!(!beyond.is_empty()),
            Some(why) => {
                let fits = failed.iter().find(|error| error.message.contains(why));
                tried.insert(fits.unwrap_or_else(|| panic!("{case:?} is not refused: {failed:#?}")).message.clone());
            }
        }
    }
    let mut all = BTreeSet::new();
    for (_, schema) in &schemas {
        rules(schema, &mut all);
    }
    let untried: Vec<_> =
        all.iter().filter(|rule| !tried.contains(*rule) && !BEYOND.contains(&rule.as_str())).collect();
    assert!(untried.is_empty(), "rules that no case breaks: {untried:#?}");
}

/// What is wrong with a schema, by path.
fn faults(path: &str, schema: &Value, found: &mut Vec<String>) {
    let mut fault = |what: &str| found.push(format!("{path}: {what}"));
    let has = |key: &str| schema.get(key).is_some();
    let kind = schema["type"].as_str().unwrap_or_default();
    let whole = schema["x-kubernetes-int-or-string"] == true;
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let element = path.ends_with("[]") || path.ends_with("{}");
    if !element && schema["description"].as_str().is_none_or(|text| text.len() < 5 || !text.ends_with(['.', '…'])) {
        fault("no description that is a sentence");
    }
    for key in ["nullable", "oneOf", "anyOf", "allOf", "not", "$ref"].into_iter().filter(|key| has(key)) {
        fault(key);
    }
    match kind {
        "string" => {
            let bounded = has("maxLength") || has("enum") || schema["format"] == "date-time";
            if !bounded {
                fault("a text without maxLength");
            }
            for value in schema["enum"].as_array().into_iter().flatten() {
                if !value.as_str().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase())) {
                    fault("an enum that is not PascalCase");
                }
            }
        }
        "array" if !has("maxItems") => fault("a list without maxItems"),
        "object" if !has("properties") && !has("maxProperties") => fault("a map without maxProperties"),
        "integer" if !matches!(schema["format"].as_str(), Some("int32" | "int64")) => {
            fault("an integer of another format");
        }
        "integer" if path.contains(".spec.") && !(has("minimum") && has("maximum")) => {
            fault("an integer without range");
        }
        "array" | "object" | "integer" | "boolean" => {}
        "" if whole && has("maxLength") => {}
        "" if open && element => {}
        other => fault(&format!("type {other:?}")),
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.push(format!("{path}.{name}: not camelCase"));
        }
        faults(&format!("{path}.{name}"), property, found);
    }
    if has("items") {
        faults(&format!("{path}[]"), &schema["items"], found);
    }
    if schema["additionalProperties"].is_object() {
        faults(&format!("{path}{{}}"), &schema["additionalProperties"], found);
    }
}

#[test]
fn every_field_is_documented_and_bounded() {
    let mut found = Vec::new();
    for (kind, schema) in schemas() {
        assert_eq!(
            schema["required"],
            serde_json::json!(["spec"]),
            "{kind}: a spec that may be absent may be taken away"
        );
        faults(&kind, &schema, &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn definitions_fit_into_the_annotation_of_kubectl_apply() {
    for definition in cutover_api::definitions().expect("definitions") {
        let names = &definition.spec.names;
        let size = serde_json::to_string(&definition).expect("JSON").len();
        // The limit is on all annotations of an object together.
        assert!(size < 200 * 1024, "{} has {size} bytes", names.kind);
        assert_eq!(names.categories.as_deref(), Some(&["cutover".to_owned()][..]));
        assert_eq!(names.short_names.as_ref().map(Vec::len), Some(1), "{}", names.kind);
        let columns = definition.spec.versions[0].additional_printer_columns.as_ref().map_or(0, Vec::len);
        assert!((5..=8).contains(&columns), "{}: {columns} columns", names.kind);
    }
}
