//! The end of a migration: legacy is retired when nobody has asked anything of it for long enough, and a person agrees.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::schema::Instant, CheckState};
use crate::HumanDuration;

/// What follows when the phase is completed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finish {
    /// Retires the legacy side of the phase's splits.
    pub retire_legacy: RetireLegacy,
}

/// When legacy may be retired. It is watched from the phase's completion on; when it has been quiet for long enough, the phase waits
/// for a person's Promote. Then its routes lead to the new side alone, the legacy workloads that the operator runs are scaled to
/// nothing, and the way back is closed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.requests.contains('$window')").message("requests must count over $window, as in increase(x[$window])").field_path(".requests"))]
pub struct RetireLegacy {
    /// How long legacy must have been quiet, without a gap in the data. Such as `14d`, at least `1s`.
    #[x_kube(validation = Rule::new("self != '0s'").message("after must be at least 1s"))]
    pub after: HumanDuration,
    /// PromQL for the requests that legacy has served in `[$window]`, probes left out, such as
    /// `sum(increase(http_requests_total{system="$system",path!="/healthz"}[$window]))`. `$system` is `legacy`. Without data nothing is
    /// known: no data is not no requests.
    #[schemars(length(min = 1, max = 4096))]
    pub requests: String,
    /// Requests in one `window` that still count as none. Default 0: a single request begins the count anew. At most 1000000.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_requests: i64,
    /// How far each query looks back, and for how long data may be missing before the count begins anew. Default `1h`, longer than two
    /// intervals.
    #[serde(default = "default_window")]
    #[x_kube(validation = Rule::new("self != '0s'").message("window must be longer than two intervals"))]
    pub window: HumanDuration,
    /// Time between two queries. Default `1m`, at least `1s`.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("self != '0s'").message("interval must be at least 1s"))]
    pub interval: HumanDuration,
}

const fn default_window() -> HumanDuration {
    HumanDuration::from_secs(3_600)
}

const fn default_interval() -> HumanDuration {
    HumanDuration::from_secs(60)
}

/// How far the retirement of legacy is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FinishStatus {
    /// What the last query came to: `Passing` is quiet, `Failing` is in use.
    pub state: CheckState,
    /// Requests that the last query with data found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value: Option<String>,
    /// When it was asked last.
    pub last_run: Instant,
    /// Since when legacy is seen to be quiet. Absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_since: Option<Instant>,
    /// Until when it was seen to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_until: Option<Instant>,
    /// Why nothing is known now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Legacy is retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retired>,
}

/// That legacy is retired.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retired {
    /// When.
    pub at: Instant,
    /// Who agreed.
    #[schemars(length(max = 256))]
    pub by: String,
    /// The splits whose legacy side it was.
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub splits: Vec<String>,
}
