//! Whether a route's spec is what we would write. The API server adds defaults, newer versions of an API more of them: a field
//! that we did not write is only drift if it changes where requests go or what happens to them.

use serde_json::{Map, Value};

/// Whether `observed` says what `wanted` says, and nothing else that matters: none of the fields `meaningful` that it does not say.
pub(super) fn is_same(observed: &Value, wanted: &Value, meaningful: &[&str]) -> bool {
    match (observed, wanted) {
        (Value::Object(observed), Value::Object(wanted)) => {
            let said = wanted.iter().all(|(key, value)| match observed.get(key) {
                Some(found) => is_same(found, value, meaningful),
                // Rules of the Gateway API have no name in older versions of it; the field is dropped there.
                None => key == "name" && wanted.contains_key("backendRefs"),
            });
            let more = meaningful.iter().any(|key| !wanted.contains_key(*key) && observed.get(*key).is_some_and(says));
            said && !more
        }
        (Value::Array(observed), Value::Array(wanted)) => {
            observed.len() == wanted.len()
                && observed.iter().zip(wanted).all(|(observed, wanted)| is_same(observed, wanted, meaningful))
        }
        (observed, wanted) => observed == wanted,
    }
}

/// What others have put beside what `wanted` says, and matters, as a merge patch that takes it out: an apply leaves fields that it does not
/// name to their owners. Lists are replaced as a whole, so nothing in them is left.
pub(super) fn strays(observed: &Value, wanted: &Value, meaningful: &[&str]) -> Option<Value> {
    let (Value::Object(observed), Value::Object(wanted)) = (observed, wanted) else { return None };
    let more = meaningful.iter().filter(|key| !wanted.contains_key(**key) && observed.get(**key).is_some_and(says));
    let mut patch: Map<String, Value> = more.map(|key| ((*key).to_owned(), Value::Null)).collect();
    let inner =
        wanted.iter().filter_map(|(key, value)| Some((key.clone(), strays(observed.get(key)?, value, meaningful)?)));
    patch.extend(inner);
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
