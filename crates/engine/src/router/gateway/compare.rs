//! Whether a route's spec is what we would write. The API server adds defaults, newer versions of the API more of them: a field
//! that we did not write is only drift if it changes where requests go or what happens to them.

use serde_json::Value;

/// Fields that we do not write and that nobody else should.
const MEANINGFUL: [&str; 9] = [
    "filters",
    "timeouts",
    "retry",
    "sessionPersistence",
    "queryParams",
    "method",
    "headers",
    "namespace",
    "sectionName",
];

/// Whether `observed` says what `wanted` says, and nothing else that matters.
pub(super) fn is_same(observed: &Value, wanted: &Value) -> bool {
    match (observed, wanted) {
        (Value::Object(observed), Value::Object(wanted)) => {
            let said = wanted.iter().all(|(key, value)| match observed.get(key) {
                Some(found) => is_same(found, value),
                // Rules have no name in older versions of the API; the field is dropped there.
                None => key == "name" && wanted.contains_key("backendRefs"),
            });
            let more = MEANINGFUL.iter().any(|key| !wanted.contains_key(*key) && observed.get(*key).is_some_and(says));
            said && !more
        }
        (Value::Array(observed), Value::Array(wanted)) => {
            observed.len() == wanted.len()
                && observed.iter().zip(wanted).all(|(observed, wanted)| is_same(observed, wanted))
        }
        (observed, wanted) => observed == wanted,
    }
}

fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
