//! Runs the checks of phases beside their reconciles: a slow Prometheus delays no rollback. At most one query per check is under
//! way; its result triggers a reconcile of the phase. When a check is due is judged by the monotonic clock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cutover_engine::migration_phase::{ActiveCheck, Measured, Measurement, checks_due};
use futures::{Stream, stream};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    cluster::stores::Key,
    outbound::prometheus::{self, Servers},
};

/// The checks of all phases. Cheap to clone.
#[derive(Clone)]
pub(super) struct Checks {
    runs: Arc<Mutex<HashMap<Key, BTreeMap<String, Run>>>>,
    done: mpsc::UnboundedSender<Key>,
    servers: Servers,
}

#[derive(Debug)]
struct Run {
    query: String,
    started: Instant,
    under_way: bool,
    newest: Option<Measurement>,
}

impl Checks {
    /// No checks yet, and the stream of phases that have a new result.
    pub(super) fn new(servers: Servers) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (done, mut results) = mpsc::unbounded_channel();
        let results = stream::poll_fn(move |context| results.poll_recv(context));
        (Self { runs: Arc::default(), done, servers }, results)
    }

    /// The newest results of a phase's checks.
    pub(super) fn measurements(&self, phase: &Key) -> BTreeMap<String, Measurement> {
        let runs = self.lock();
        let newest = |(name, run): (&String, &Run)| Some((name.clone(), run.newest.clone()?));
        runs.get(phase).map(|checks| checks.iter().filter_map(newest).collect()).unwrap_or_default()
    }

    /// Makes `active` the checks that run: starts those that are due at `now`, forgets those that are not active any more, and says
    /// when the next one is due. `server_of` names the Prometheus of an environment.
    pub(super) fn drive(
        &self,
        phase: &Key,
        active: &[ActiveCheck],
        now: Instant,
        server_of: impl Fn(&str) -> Result<String, String>,
    ) -> Option<Duration> {
        let mut runs = self.lock();
        if active.is_empty() {
            runs.remove(phase);
            return None;
        }
        let checks = runs.entry(phase.clone()).or_default();
        checks.retain(|name, run| active.iter().any(|check| check.name == *name && check.query == run.query));
        // A query that takes longer than its interval is not asked again before it is answered.
        let since = |run: &Run| if run.under_way { Duration::ZERO } else { now.saturating_duration_since(run.started) };
        let since_last_run = checks.iter().map(|(name, run)| (name.clone(), since(run))).collect();
        let (due, next) = checks_due(active, &since_last_run);
        for check in due {
            let newest = checks.remove(&check.name).and_then(|run| run.newest);
            checks
                .insert(check.name.clone(), Run { query: check.query.clone(), started: now, under_way: true, newest });
            self.start(phase.clone(), check, server_of(&check.environment));
        }
        next
    }

    /// Forgets a deleted phase.
    pub(super) fn forget(&self, phase: &Key) {
        self.lock().remove(phase);
    }

    fn start(&self, phase: Key, check: &ActiveCheck, server: Result<String, String>) {
        let checks = self.clone();
        let ActiveCheck { name, query, round, .. } = check.clone();
        let prometheus = server.and_then(|server| {
            checks.servers.get(&server).cloned().ok_or_else(|| {
                format!("the operator knows no Prometheus named {server:?}: start it with --prometheus {server}=URL")
            })
        });
        tokio::spawn(async move {
            let at = Timestamp::now();
            let result = match prometheus {
                Ok(prometheus) => outcome(prometheus.query(&query).await),
                Err(why) => Measured::Erroring(why),
            };
            if checks.finish(&phase, &name, &query, Measurement { result, at, round })
                && checks.done.send(phase).is_err()
            {
                tracing::debug!("the controller of phases has ended");
            }
        });
    }

    /// Whether the result is still wanted: the check was not forgotten or changed meanwhile.
    fn finish(&self, phase: &Key, name: &str, query: &str, measurement: Measurement) -> bool {
        let mut runs = self.lock();
        let Some(run) = runs.get_mut(phase).and_then(|checks| checks.get_mut(name)) else { return false };
        if run.query != query {
            return false;
        }
        run.under_way = false;
        run.newest = Some(measurement);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeMap<String, Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(measured: prometheus::Measured) -> Measured {
    match measured {
        prometheus::Measured::Value(value) => Measured::Value(value),
        prometheus::Measured::NoData => Measured::NoData,
        prometheus::Measured::Erroring(why) => Measured::Erroring(why),
    }
}
