//! Builds the two clients of the process: the controllers', behind the [`guard`](super::guard), and the lease's own.

use std::time::Duration;

use kube::{Client, Config, client::ClientBuilder};
use prometheus::IntCounterVec;

use super::{
    guard::{GuardLayer, Limiter},
    lease::Leadership,
};

/// Longer than the minute between two bookmarks, by which the API server shows on a quiet watch that it is there.
const SILENCE: Duration = Duration::from_secs(150);

/// What limits the controllers' client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second, watches aside; 0 for no limit.
    pub qps: u32,
    /// Requests at once after a rest.
    pub burst: u32,
    /// For one request with its answer.
    pub timeout: Duration,
}

/// Where the API server is, and how to make clients for it.
#[derive(Clone)]
pub struct Clients {
    config: Config,
    requests: IntCounterVec,
}

impl Clients {
    /// Reads the kubeconfig (`KUBECONFIG`, `~/.kube/config`) or, in a pod, its service account.
    ///
    /// # Errors
    /// When there is neither, or it cannot be read.
    pub async fn infer(requests: IntCounterVec) -> Result<Self, kube::config::InferConfigError> {
        Ok(Self::new(Config::infer().await?, requests))
    }

    /// For the API server named in `config`; `requests` counts by `client`, `verb`, `code`.
    #[must_use]
    pub fn new(mut config: Config, requests: IntCounterVec) -> Self {
        // kube would retry 429, 503 and 504 for minutes inside one call; the controllers' backoff does it in the open.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        // A connection that went silent is noticed by the missing bookmarks.
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        Self { config, requests }
    }

    /// The namespace of the kubeconfig's context or of the pod.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// The lease's client: neither throttled nor guarded.
    ///
    /// # Errors
    /// When the configuration's credentials or certificates cannot be used.
    pub fn lease(&self, timeout: Duration) -> kube::Result<Client> {
        self.build(&GuardLayer::new("lease", None, None, timeout, self.requests.clone()))
    }

    /// The controllers' client: writes only while `leadership` holds.
    ///
    /// # Errors
    /// As [`Self::lease`].
    pub fn guarded(&self, leadership: Leadership, limits: Limits) -> kube::Result<Client> {
        let limiter = Limiter::new(limits.qps, limits.burst);
        self.build(&GuardLayer::new("controllers", Some(leadership), limiter, limits.timeout, self.requests.clone()))
    }

    fn build(&self, layer: &GuardLayer) -> kube::Result<Client> {
        Ok(ClientBuilder::try_from(self.config.clone())?.with_layer(layer).build())
    }
}
