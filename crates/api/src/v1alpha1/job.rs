//! Jobs that the operator makes: what a spec may say of one.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema of a Job that is one pod, started once.
pub(super) fn job(_: &mut SchemaGenerator) -> Schema {
    let one = || json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 1, "description": "It is one pod." });
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["template"],
        "properties": {
            "template": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "The pod.",
                "required": ["spec"],
                "properties": {
                    "spec": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["containers"],
                        "description": "Its spec, as in any Job.",
                        "properties": {
                            "containers": {
                                "type": "array", "minItems": 1, "maxItems": 16, "description": "Its containers.",
                                "items": { "type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": true },
                            },
                            "restartPolicy": {
                                "type": "string", "enum": ["Never"], "description": "It is started once.",
                            },
                        },
                    },
                },
            },
            "backoffLimit": {
                "type": "integer", "format": "int32", "minimum": 0, "maximum": 0, "description": "It is started once.",
            },
            "parallelism": one(),
            "completions": one(),
            "suspend": { "type": "boolean", "enum": [false], "description": "It runs at once." },
            "ttlSecondsAfterFinished": {
                "type": "integer", "format": "int32", "minimum": 600, "maximum": 31_536_000,
                "description": "When the Job is removed; not before it is known how it ended.",
            },
        },
    })
}
