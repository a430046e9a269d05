//! What the edge does about a side that fails: ask again, and cease to ask.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// Requests that are sent again when a side cannot be reached, breaks off, or answers 502, 503 or 504. Those that HTTP allows to repeat
/// only: `POST` and `PATCH` are never sent twice.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// How many times more a request is sent at most, after the first. 1 to 10.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// Milliseconds before the first repetition; later ones wait longer. Default: what the router does by itself. 1 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub backoff_milliseconds: Option<i32>,
    /// How long each try may take. `1s` to `1h`; default: as long as `timeouts` allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("!self.contains('d') && duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("perTryTimeout must be from 1s to 1h"))]
    pub per_try_timeout: Option<HumanDuration>,
}

/// When a side is not asked for a while. Each side is counted by itself: what one answers closes nothing to the other.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// While more than this share of a side's answers of the last seconds is an error (500 and more, or none), that side is not asked, and the
    /// edge answers 503 in its place. In percent, 1 to 99.
    #[schemars(range(min = 1, max = 99))]
    pub error_percent: i32,
    /// For how long it is not asked. `1s` to `1h`, default `30s`.
    #[serde(default = "default_open_for")]
    #[x_kube(validation = Rule::new("!self.contains('d') && duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("openFor must be from 1s to 1h"))]
    pub open_for: HumanDuration,
}

const fn default_open_for() -> HumanDuration {
    HumanDuration::from_secs(30)
}
