//! The custom resource definitions, as they are installed.
//!
//! What `kube` derives is taken as it is but for optional fields: a derived schema says `nullable` of each and drops the
//! field's own description where its type has one. Here an optional field is simply not required: a `null` that
//! somebody writes is pruned by the API server, so that "absent" has one form only and `has()` in rules means what it
//! says. And a pattern is asked for in words.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::{CustomResourceExt, core::schema::StructuralSchemaRewriter};
use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use crate::v1alpha1::{self as api, forms::WORDS};

/// Every definition, in the order in which they are installed.
///
/// # Errors
/// When a schema is not one that the API server's type can carry; a test shows that none is.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    Ok(vec![
        definition::<api::Environment, api::EnvironmentSpec, api::EnvironmentStatus>()?,
        definition::<api::TrafficSplit, api::TrafficSplitSpec, api::TrafficSplitStatus>()?,
        definition::<api::FeatureFlag, api::FeatureFlagSpec, api::FeatureFlagStatus>()?,
        definition::<api::MigrationPhase, api::MigrationPhaseSpec, api::MigrationPhaseStatus>()?,
        definition::<api::PhaseAction, api::PhaseActionSpec, api::PhaseActionStatus>()?,
    ])
}

/// The schema of each kind's status, by kind.
///
/// # Errors
/// As [`definitions`].
pub fn status_schemas() -> Result<Vec<(&'static str, JSONSchemaProps)>, serde_json::Error> {
    Ok(vec![
        ("Environment", schema::<api::EnvironmentStatus>(false)?),
        ("TrafficSplit", schema::<api::TrafficSplitStatus>(false)?),
        ("FeatureFlag", schema::<api::FeatureFlagStatus>(false)?),
        ("MigrationPhase", schema::<api::MigrationPhaseStatus>(false)?),
        ("PhaseAction", schema::<api::PhaseActionStatus>(false)?),
    ])
}

fn definition<K: CustomResourceExt, Spec: JsonSchema, Status: JsonSchema>()
-> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = K::crd();
    for version in &mut definition.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(properties) = root.and_then(|root| root.properties.as_mut()) {
            properties.insert("spec".to_owned(), schema::<Spec>(true)?);
            properties.insert("status".to_owned(), schema::<Status>(false)?);
        }
    }
    Ok(definition)
}

/// A spec is written by people, a status is not.
fn schema<T: JsonSchema>(for_people: bool) -> Result<JSONSchemaProps, serde_json::Error> {
    let mut settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.transforms.insert(0, Box::new(AbsentNotNull));
    if for_people {
        settings.transforms.insert(1, Box::new(FormsInWords));
    }
    let schema = settings.with_transform(StructuralSchemaRewriter).into_generator().into_root_schema_for::<T>();
    serde_json::from_value(schema.to_value())
}

/// Makes `T` of each "`T` or null".
#[derive(Clone, Debug)]
struct AbsentNotNull;

impl Transform for AbsentNotNull {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            drop_null_type(object);
            hoist_only_alternative(object);
        }
        transform_subschemas(self, schema);
    }
}

/// Makes a rule that says in words what is expected of each pattern.
#[derive(Clone, Debug)]
struct FormsInWords;

impl Transform for FormsInWords {
    fn transform(&mut self, schema: &mut Schema) {
        let pattern = schema.get("pattern").and_then(Value::as_str);
        let known = WORDS.iter().find(|(form, _)| Some(*form) == pattern);
        if let (Some((pattern, words)), Some(object)) = (known, schema.as_object_mut()) {
            object.remove("pattern");
            let quoted = pattern.replace('\\', r"\\");
            let rule = json!({"rule": format!("self.matches(\"{quoted}\")"), "message": words});
            if let Value::Array(rules) = object.entry("x-kubernetes-validations").or_insert_with(|| json!([])) {
                rules.insert(0, rule);
            }
        }
        transform_subschemas(self, schema);
    }
}

fn drop_null_type(object: &mut Map<String, Value>) {
    if let Some(types) = object.get_mut("type") {
        let kept: Vec<Value> =
            types.as_array().into_iter().flatten().filter(|name| **name != "null").cloned().collect();
        if let [only] = kept.as_slice() {
            *types = only.clone();
        }
    }
    if let Some(values) = object.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
}

fn hoist_only_alternative(object: &mut Map<String, Value>) {
    let is_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
    let Some(Value::Array(alternatives)) = object.get("anyOf") else { return };
    let (nulls, kept): (Vec<_>, Vec<_>) = alternatives.iter().partition(|schema| is_null(schema));
    let ([_], [Value::Object(only)]) = (nulls.as_slice(), kept.as_slice()) else { return };
    let only = only.clone();
    object.remove("anyOf");
    for (key, value) in only {
        // The field's own words win over its type's.
        object.entry(key).or_insert(value);
    }
}
