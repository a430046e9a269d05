//! Decimal numbers in a spec. CRDs have no floats (their round trips differ between clients), so a
//! decimal is a string with a pattern.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the API server checks of a [`Decimal`].
pub const DECIMAL_PATTERN: &str = r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$";

/// A decimal number that keeps the text it was written as, such as `"0.05"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decimal {
    text: String,
    value: f64,
}

impl Decimal {
    /// The number.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }
}

/// A text that is not a decimal number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a decimal number: write digits with an optional point, such as \"0.05\"")]
pub struct InvalidDecimal {
    /// What was read.
    pub text: String,
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(value) if plain(whole) && plain(fraction) => Ok(Self { text: text.to_owned(), value }),
            _ => Err(InvalidDecimal { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": DECIMAL_PATTERN, "maxLength": 32 })
    }
}
