//! The whole story on real parts: a sample shop moves from its legacy system to the new one, in four phases, under load,
//! through three routers, while pods are rolled, the leader is killed and the new system fails once.
//!
//! `make demo` shows it, and a cluster test runs it; both fail unless every expectation in [`verdict`] is met.

mod cluster;
mod observer;
mod story;
mod traffic;
pub mod verdict;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Result, bail};

pub use cluster::Cluster;
pub use traffic::ROUTERS;
pub use verdict::{Measured, OnRouter, Outcome, RETURN_LIMIT};

/// One thing that happened, for whoever shows the story.
#[derive(Clone, Debug)]
pub enum Event {
    /// What is done next, in words.
    Doing(String),
    /// A step was measured on every router.
    Step(Measured),
    /// The cluster's state changed: a line about the running phase.
    Phase {
        /// Name of the phase.
        phase: String,
        /// Its state, step and stage.
        state: String,
    },
}

/// How the story is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests per second and router on the main way in.
    pub rate: u32,
    /// Requests that a step is judged by, per router.
    pub sample: u64,
    /// Requests outside the fault that the whole is judged by.
    pub total: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { rate: 140, sample: 1_000, total: 20_000 }
    }
}

impl Options {
    /// The same story at a lower rate: for machines that do something else as well.
    #[must_use]
    pub fn quiet() -> Self {
        Self { rate: 104, sample: 700, total: 7_000 }
    }
}

/// How to reach what runs, for those who want to look around.
#[derive(Clone, Debug)]
pub struct Access {
    /// The administrator's kubeconfig file.
    pub kubeconfig: PathBuf,
    /// Where the shop answers, per router.
    pub entry_points: Vec<(&'static str, SocketAddr)>,
    /// Prometheus.
    pub prometheus: SocketAddr,
    /// A process of the namespace, as the machine's other processes see it; unknown where the namespace is not xtask's.
    pub pid: Option<u32>,
}

/// Starts everything, tells the story, and judges it. The cluster goes on running until the returned value is dropped.
///
/// # Errors
/// When a part cannot be started, or the story comes to a halt: something awaited did not happen.
pub async fn run(options: &Options, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<(Cluster, Outcome)> {
    let cluster = Cluster::start(tell).await?;
    let outcome = story::tell(&cluster, options, tell).await;
    match outcome {
        Ok(outcome) => Ok((cluster, outcome)),
        // What is wrong comes first, and then what may help to see why.
        Err(error) => bail!("{error:#}\n\n{}", cluster.describe().await),
    }
}
