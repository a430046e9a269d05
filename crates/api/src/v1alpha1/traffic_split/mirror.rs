//! Copies of requests to the new side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Copies of requests that no pin takes, to the new side, whose answers to them are dropped: it sees the load and nobody sees the answer.
/// Copies are taken whichever side answers, so begin at weight 0. There are none while the new side has no ready endpoint, and none once it
/// has every request itself.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// So many requests of a hundred are copied. 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i32,
    /// Whether requests are copied that may change something. Default false: `GET` and `HEAD` only. With true, the new side must not share
    /// with legacy what requests change: an order is placed twice otherwise.
    #[serde(default)]
    pub allow_unsafe: bool,
}
