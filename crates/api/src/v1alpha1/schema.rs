//! Schema helpers shared by the kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Any JSON object, fields unknown to us kept.
#[must_use]
pub fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": true })
}

/// A map of names to any JSON value.
#[must_use]
pub fn any_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 64,
        "additionalProperties": { "x-kubernetes-preserve-unknown-fields": true },
    })
}

/// A map of names to texts of at most 4096 characters.
#[must_use]
pub fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "string", "maxLength": 4096 } })
}

/// `metav1.Condition`, bounded, as a list-map by type.
#[must_use]
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    let text = |description: &str, bounds: Value| {
        let mut schema = json_schema!({ "type": "string", "description": description });
        schema
            .as_object_mut()
            .into_iter()
            .for_each(|object| object.extend(bounds.as_object().cloned().unwrap_or_default()));
        schema
    };
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": text("What it is about, such as `Ready`.", json!({"minLength": 1, "maxLength": 316})),
                "status": text("`True`, `False` or `Unknown`.", json!({"enum": ["True", "False", "Unknown"]})),
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "Generation of the spec that it is about.",
                },
                "lastTransitionTime": text("When the status last changed.", json!({"format": "date-time"})),
                "reason": text("Why, in one PascalCase word.", json!({"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z][A-Za-z0-9]*$"})),
                "message": text("Why, for people, and what to do.", json!({"maxLength": 32768})),
            },
        },
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// An instant, as the API server writes it.
pub type Instant = Time;
