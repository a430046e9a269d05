//! The escape hatch `podTemplate`: merged over the built pod template the way a strategic merge patch is, then read as a
//! typed object, so that a misspelt field is told by its path and not dropped.
//!
//! `null` removes what is there, as in any merge patch; `$patch` directives are refused.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

/// What is wrong with a pod template, and where (relative to it, such as `spec.containers[0].imag`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Path inside the template.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Lists of a pod whose items are told apart by a key; all others are replaced as a whole. The same as the API server's
/// `x-kubernetes-patch-merge-key`.
const KEYED: [(&str, &str); 11] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// `base` with `overlay` over it.
///
/// # Errors
/// When the result is not a pod template, or `overlay` has a field that pod templates do not have.
pub fn merged(base: &PodTemplateSpec, overlay: &Value) -> Result<PodTemplateSpec, Invalid> {
    let mut value = serde_json::to_value(base).map_err(|error| invalid("", &error.to_string()))?;
    merge(&mut value, overlay, "", "")?;
    let template: PodTemplateSpec = serde_path_to_error::deserialize(&value)
        .map_err(|error| invalid(&error.path().to_string(), &error.inner().to_string()))?;
    let understood = serde_json::to_value(&template).map_err(|error| invalid("", &error.to_string()))?;
    match unknown(&value, &understood, "") {
        Some(path) => Err(invalid(&path, "is not a field of a pod template: correct its name")),
        None => Ok(template),
    }
}

fn invalid(path: &str, message: &str) -> Invalid {
    Invalid { path: path.to_owned(), message: message.to_owned() }
}

fn merge(base: &mut Value, overlay: &Value, field: &str, path: &str) -> Result<(), Invalid> {
    match (&mut *base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => merge_objects(base, overlay, path),
        (Value::Array(base), Value::Array(overlay)) if key_of(field).is_some() => {
            merge_lists(base, overlay, field, path)
        }
        _ => {
            *base = Value::Null;
            graft(base, overlay, field, path)
        }
    }
}

fn merge_objects(base: &mut Map<String, Value>, overlay: &Map<String, Value>, path: &str) -> Result<(), Invalid> {
    for (name, value) in overlay {
        let path = join(path, name);
        if name.starts_with('$') {
            return Err(invalid(&path, "is a patch directive, which is not supported: use null to remove a field"));
        }
        if value.is_null() {
            base.remove(name);
        } else {
            merge(base.entry(name.clone()).or_insert(Value::Null), value, name, &path)?;
        }
    }
    Ok(())
}

fn merge_lists(base: &mut Vec<Value>, overlay: &[Value], field: &str, path: &str) -> Result<(), Invalid> {
    let key = key_of(field).unwrap_or_default();
    for (index, item) in overlay.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(id) = item.get(key).filter(|id| !id.is_null() && id.as_str() != Some("")) else {
            return Err(invalid(&join(&path, key), "is missing: it tells which item is meant"));
        };
        if let Some(present) = base.iter_mut().find(|present| present.get(key) == Some(id)) {
            merge(present, item, "", &path)?;
        } else {
            let mut new = Value::Null;
            graft(&mut new, item, "", &path)?;
            base.push(new);
        }
    }
    Ok(())
}

/// Puts `overlay` where nothing was, without its nulls and with its lists checked as when merging.
fn graft(base: &mut Value, overlay: &Value, field: &str, path: &str) -> Result<(), Invalid> {
    match overlay {
        Value::Object(overlay) => {
            let mut object = Map::new();
            merge_objects(&mut object, overlay, path)?;
            *base = Value::Object(object);
        }
        Value::Array(items) if key_of(field).is_some() => {
            let mut list = Vec::new();
            merge_lists(&mut list, items, field, path)?;
            *base = Value::Array(list);
        }
        other => *base = quantity(other, path),
    }
    Ok(())
}

/// Quantities may be written as numbers (`cpu: 1`); in an object of the API they are texts.
fn quantity(value: &Value, path: &str) -> Value {
    let is_quantity = [".limits.", ".requests."].iter().any(|under| {
        path.rsplit_once(under).is_some_and(|(before, resource)| {
            !resource.contains('[') && (before.ends_with("resources") || before == "resources")
        })
    });
    match value {
        Value::Number(number) if is_quantity => Value::String(number.to_string()),
        other => other.clone(),
    }
}

fn key_of(field: &str) -> Option<&'static str> {
    KEYED.iter().find(|(list, _)| *list == field).map(|(_, key)| *key)
}

/// The first field of `given` that `understood` does not have.
fn unknown(given: &Value, understood: &Value, path: &str) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(name, value)| {
            let path = join(path, name);
            match understood.get(name) {
                Some(there) => unknown(value, there, &path),
                // Empty values are left out when written.
                None => (!is_empty(value)).then_some(path),
            }
        }),
        (Value::Array(given), Value::Array(understood)) => given
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(index, (given, there))| unknown(given, there, &format!("{path}[{index}]"))),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
