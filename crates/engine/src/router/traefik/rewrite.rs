//! Rewritten paths: the Middleware that says one, and what it says read back. Pure.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType};
use serde_json::{Value, json};

/// What is behind a prefix, in a replacement.
const REST: &str = "${1}";

/// The Middleware that rewrites this path, if it is rewritten.
pub(super) fn spec(path: &PathMatch) -> Option<Value> {
    let to = path.rewrite.as_deref()?;
    if path.type_ == PathType::Exact {
        return Some(json!({"replacePath": {"path": to}}));
    }
    let prefix = escaped(path.value.trim_end_matches('/'));
    // `/` stands for nothing before what is left, and for itself where nothing is.
    let regex = if to == "/" { format!("^{prefix}/?(.*)$") } else { format!("^{prefix}(/.*)?$") };
    Some(json!({"replacePathRegex": {"regex": regex, "replacement": format!("{to}{REST}")}}))
}

/// What a Middleware of ours rewrites to.
pub(super) fn read(spec: &Value) -> Option<String> {
    let exact = spec.pointer("/replacePath/path").and_then(Value::as_str);
    let prefix = spec.pointer("/replacePathRegex/replacement").and_then(Value::as_str);
    exact.or_else(|| prefix?.strip_suffix(REST)).map(str::to_owned)
}

fn escaped(path: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/_~-".contains(it);
    path.chars().fold(String::with_capacity(path.len()), |mut text, it| {
        if !is_plain(it) {
            text.push('\\');
        }
        text.push(it);
        text
    })
}
