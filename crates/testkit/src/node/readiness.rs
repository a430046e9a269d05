//! When a pod is ready: probes, judged against what the simulated server would answer. No I/O.
//!
//! Nothing is polled: what a probe would find changes only when a script does, so the time at which
//! the kubelet would have turned the pod follows from the time of the change.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{app::HEALTH_PATH, script::Script};

/// A readiness probe.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) target: Target,
    pub(super) initial_delay: Duration,
    pub(super) period: Duration,
    pub(super) failure_threshold: u32,
    pub(super) success_threshold: u32,
}

/// What a probe asks. A port without a number is one that the container does not declare.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// `GET` a path.
    Http { port: Option<u16>, path: String },
    /// Open a connection.
    Tcp { port: Option<u16> },
    /// Run a command: there is none to run, so it passes.
    Command,
}

impl Target {
    fn passes(&self, script: &Script, ports: &BTreeSet<u16>) -> bool {
        let listens = |port: &Option<u16>| !script.refuse_connections && port.is_some_and(|port| ports.contains(&port));
        match self {
            Self::Http { port, path } => listens(port) && (path == HEALTH_PATH || script.error_rate < 1.0),
            Self::Tcp { port } => listens(port),
            Self::Command => true,
        }
    }
}

/// The readiness of one pod over time.
#[derive(Debug)]
pub(super) struct Readiness {
    started: Instant,
    probes: Vec<State>,
    forced_down: bool,
}

#[derive(Debug)]
struct State {
    probe: Probe,
    passes: bool,
    /// Since when it has had the same outcome.
    since: Instant,
    ready: bool,
}

impl State {
    /// When readiness follows the probe's outcome; none when it has.
    fn flips_at(&self, started: Instant) -> Option<Instant> {
        let Probe { initial_delay, period, failure_threshold, success_threshold, .. } = self.probe;
        match (self.passes, self.ready) {
            (true, false) => Some((started + initial_delay).max(self.since + period * (success_threshold - 1))),
            (false, true) => Some(self.since + period * failure_threshold),
            _ => None,
        }
    }
}

impl Readiness {
    pub(super) fn new(probes: &[Probe], started: Instant) -> Self {
        let state = |probe: &Probe| State { probe: probe.clone(), passes: false, since: started, ready: false };
        Self { started, probes: probes.iter().map(state).collect(), forced_down: false }
    }

    /// Takes in the script as of now, and says whether the pod is ready.
    pub(super) fn observe(&mut self, script: &Script, ports: &BTreeSet<u16>, now: Instant) -> bool {
        self.forced_down = script.not_ready;
        for state in &mut self.probes {
            let passes = state.probe.target.passes(script, ports);
            if passes != state.passes {
                state.passes = passes;
                state.since = now;
            }
            if state.flips_at(self.started).is_some_and(|at| at <= now) {
                state.ready = state.passes;
            }
        }
        !self.forced_down && self.probes.iter().all(|state| state.ready)
    }

    /// When to look again if nothing changes before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.probes.iter().filter_map(|state| state.flips_at(self.started)).min()
    }
}
