//! JSON kept as text: a tree of values takes ten times the memory.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A JSON value kept as compact text, with its keys in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The value.
    #[must_use]
    pub fn value(&self) -> Value {
        // The text was written from a value, so it is JSON.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for Json {
    fn default() -> Self {
        Self("null".into())
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into_boxed_str())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&Value::deserialize(deserializer)?))
    }
}
