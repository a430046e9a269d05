//! How many requests one client may send.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::environment::Tier;

/// Requests that one client address may send. Each replica of a proxy counts by itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.tier) || has(self.requestsPerMinute)").message("rateLimit without tier and requestsPerMinute says nothing: set one of them"),
    validation = Rule::new("!has(self.burst) || has(self.requestsPerMinute) || (has(self.tier) && self.tier != 'Development')").message("burst goes with a limit: Development has none, set requestsPerMinute")
)]
pub struct RateLimit {
    /// The limit that is usual in a tier: `Production` 100 requests a minute and 20 at once, `Staging` 500 and 100, `Development` none.
    /// The other two fields go before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Requests in a minute, in the long run. 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<i32>,
    /// Requests that may come at once after a rest. Default: as many as in a minute if `requestsPerMinute` is set, else those of `tier`.
    /// 1 to 10000000; `ingressNginx` takes multiples of the requests in a minute only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub burst: Option<i32>,
}

/// A limit in figures, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In the long run.
    pub requests_per_minute: i32,
    /// At once after a rest.
    pub burst: i32,
}

impl RateLimit {
    /// What a router is to keep to; `None`: nothing is limited.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        let usual = match self.requests_per_minute {
            Some(requests_per_minute) => Limit { requests_per_minute, burst: requests_per_minute },
            None => self.tier.and_then(of_tier)?,
        };
        Some(Limit { burst: self.burst.unwrap_or(usual.burst), ..usual })
    }
}

const fn of_tier(tier: Tier) -> Option<Limit> {
    match tier {
        Tier::Development => None,
        Tier::Staging => Some(Limit { requests_per_minute: 500, burst: 100 }),
        Tier::Production => Some(Limit { requests_per_minute: 100, burst: 20 }),
    }
}
