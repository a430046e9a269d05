//! Runs the checks of phases beside their reconciles: a slow Prometheus delays no rollback. At most one query per check is under
//! way; its result triggers a reconcile of the phase. When a check is due is judged by the monotonic clock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cutover_api::v1alpha1::migration_phase::HttpCheck;
use cutover_engine::migration_phase::{ActiveCheck, Counts, Measured, Measurement, Probe, Queries, checks_due};
use futures::{
    FutureExt, Stream,
    future::{BoxFuture, join, ready},
};
use jiff::Timestamp;

use super::hooks::Hooks;
use crate::{
    cluster::stores::Key,
    controllers::news::News,
    outbound::{
        http_probe::Probes,
        prometheus::{self, Prometheus, Servers},
    },
};

/// The checks of all phases. Cheap to clone.
#[derive(Clone)]
pub(super) struct Checks {
    runs: Arc<Mutex<HashMap<Key, BTreeMap<String, Run>>>>,
    news: News,
    servers: Servers,
    probes: Probes,
    jobs: Hooks,
}

#[derive(Debug)]
struct Run {
    probe: Probe,
    started: Instant,
    under_way: bool,
    newest: Option<Measurement>,
}

impl Checks {
    /// No checks yet, and the stream of phases that have a new result.
    pub(super) fn new(
        servers: Servers,
        probes: Probes,
        jobs: Hooks,
    ) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (news, told) = News::new();
        (Self { runs: Arc::default(), news, servers, probes, jobs }, told)
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
        checks.retain(|name, run| active.iter().any(|check| check.name == *name && check.probe == run.probe));
        // A query that takes longer than its interval is not asked again before it is answered.
        let since = |run: &Run| if run.under_way { Duration::ZERO } else { now.saturating_duration_since(run.started) };
        let since_last_run = checks.iter().map(|(name, run)| (name.clone(), since(run))).collect();
        let (due, next) = checks_due(active, &since_last_run);
        for check in due {
            let newest = checks.remove(&check.name).and_then(|run| run.newest);
            checks
                .insert(check.name.clone(), Run { probe: check.probe.clone(), started: now, under_way: true, newest });
            self.start(phase.clone(), check, &server_of);
        }
        next
    }

    /// Forgets a deleted phase.
    pub(super) fn forget(&self, phase: &Key) {
        self.lock().remove(phase);
    }

    fn start(&self, phase: Key, check: &ActiveCheck, server_of: &impl Fn(&str) -> Result<String, String>) {
        let checks = self.clone();
        let ActiveCheck { name, probe, round, .. } = check.clone();
        let at = Timestamp::now();
        let asked = self.ask(&phase, &probe, at, server_of);
        tokio::spawn(async move {
            let result = asked.await;
            if checks.finish(&phase, &name, &probe, Measurement { result, at, round }) {
                checks.news.tell(phase);
            }
        });
    }

    /// Asks what a check asks; `at` is now. Which server an environment names is known now; where another request goes, once it is made.
    fn ask(
        &self,
        phase: &Key,
        probe: &Probe,
        at: Timestamp,
        server_of: &impl Fn(&str) -> Result<String, String>,
    ) -> BoxFuture<'static, Measured> {
        let probes = self.probes.clone();
        match probe.clone() {
            Probe::Prometheus { environment, queries } => {
                match server_of(&environment).and_then(|server| self.server(&server)) {
                    Ok(prometheus) => async move { query(&prometheus, &queries, at).await }.boxed(),
                    Err(why) => ready(Measured::Erroring(why)).boxed(),
                }
            }
            Probe::Http { asked } => async move { answers(&probes, &asked).await }.boxed(),
            Probe::Webhook { asked, question } => async move {
                match probes.question(&asked, &question).await {
                    Ok(word) => Measured::Said(word),
                    Err(why) => Measured::Erroring(why),
                }
            }
            .boxed(),
            Probe::Job { body, timeout } => {
                let (jobs, phase) = (self.jobs.clone(), phase.clone());
                async move { jobs.check(&phase, &body, timeout).await }.boxed()
            }
        }
    }

    fn server(&self, name: &str) -> Result<Prometheus, String> {
        self.servers.get(name).cloned().ok_or_else(|| {
            format!("the operator knows no Prometheus named {name:?}: start it with --prometheus {name}=URL")
        })
    }

    /// Whether the result is still wanted: the check was not forgotten or changed meanwhile.
    fn finish(&self, phase: &Key, name: &str, probe: &Probe, measurement: Measurement) -> bool {
        let mut runs = self.lock();
        let Some(run) = runs.get_mut(phase).and_then(|checks| checks.get_mut(name)) else { return false };
        if run.probe != *probe {
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

/// Asks a Prometheus; `at` is now.
async fn query(prometheus: &Prometheus, queries: &Queries, at: Timestamp) -> Measured {
    match queries {
        Queries::Value { query, legacy: None } => match prometheus.query(query).await {
            prometheus::Measured::Value(value) => Measured::Value(value),
            other => without_value(other),
        },
        Queries::Value { query, legacy: Some(legacy) } => {
            match join(prometheus.query(legacy), prometheus.query(query)).await {
                (prometheus::Measured::Value(legacy), prometheus::Measured::Value(new)) => {
                    Measured::Sides { legacy, new }
                }
                (prometheus::Measured::Value(_), other) | (other, _) => without_value(other),
            }
        }
        Queries::Counts { legacy, new, since } => {
            let window = Duration::try_from(at.duration_since(*since)).unwrap_or_default();
            if window < Duration::from_secs(1) {
                return Measured::NoData;
            }
            let counts = |queries: [String; 2]| async move {
                let [errors, requests] = &queries;
                counts(join(prometheus.query(errors), prometheus.query(requests)).await)
            };
            match join(counts(legacy.over(window)), counts(new.over(window))).await {
                (Ok(legacy), Ok(new)) => Measured::Counts { legacy, new },
                (Err(other), _) | (_, Err(other)) => other,
            }
        }
    }
}

/// Asks the new side, and legacy where the check looks at both.
async fn answers(probes: &Probes, asked: &HttpCheck) -> Measured {
    let legacy = async {
        match &asked.legacy_url {
            Some(url) => probes.ask(asked, url).await.map(Some).map_err(|why| format!("legacy: {why}")),
            None => Ok(None),
        }
    };
    match join(legacy, probes.ask(asked, &asked.url)).await {
        (Ok(legacy), Ok(new)) => Measured::Answers { legacy, new },
        (_, Err(why)) | (Err(why), _) => Measured::Erroring(why),
    }
}

/// What one side did. Where requests are counted and errors are not, there were none.
fn counts(asked: (prometheus::Measured, prometheus::Measured)) -> Result<Counts, Measured> {
    let (errors, requests) = match asked {
        (prometheus::Measured::Value(errors), prometheus::Measured::Value(requests)) => (errors, requests),
        (prometheus::Measured::NoData, prometheus::Measured::Value(requests)) => (0.0, requests),
        (error @ prometheus::Measured::Erroring(_), _) | (_, error) => return Err(without_value(error)),
    };
    Counts::new(errors, requests).ok_or_else(|| {
        Measured::Erroring(format!("{errors} errors of {requests} requests are no counts: the queries must count"))
    })
}

fn without_value(measured: prometheus::Measured) -> Measured {
    match measured {
        prometheus::Measured::Value(_) | prometheus::Measured::NoData => Measured::NoData,
        prometheus::Measured::Erroring(why) => Measured::Erroring(why),
    }
}
