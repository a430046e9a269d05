//! A check by a Job.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::job::job;
use crate::HumanDuration;

/// A Job that is made once per interval: the check passes when it ends well, and fails when it does not. At most one at a time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobCheck {
    /// Spec of a Job, as of a hook: one pod that is not restarted. It may run at any time while the new side has traffic, also twice:
    /// it must do no harm. When it fails, the last lines of its output are shown in the phase's status: it must not print secrets.
    #[schemars(schema_with = "job")]
    pub spec: Value,
    /// How long the Job may take; longer is a failure. At least `1s`, at most the check's `interval`. Default `1m`.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = Rule::new("self != '0s'").message("timeout must be at least 1s"))]
    pub timeout: HumanDuration,
}

const fn default_timeout() -> HumanDuration {
    HumanDuration::from_secs(60)
}
