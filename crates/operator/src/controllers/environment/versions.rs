//! Asks for the versions of schemas that an HTTP server tells or a Job prints, beside the reconciles of their environments. At most one
//! question per environment is under way; its answer triggers a reconcile. When the next one is due is judged by the monotonic clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cutover_api::v1alpha1::{
    environment::HttpVersion,
    migration_phase::{HttpCheck, HttpMethod, StatusRange},
};
use cutover_engine::{
    environment::{VersionSource, version_job_failed, version_printed, version_told},
    migration_phase::Answer,
};
use futures::Stream;
use serde_json::Value;

use crate::{
    cluster::stores::Key,
    controllers::{
        jobs::{Ended, Failure, Jobs},
        news::News,
    },
    outbound::http_probe::Probes,
};

/// The versions of all environments. Cheap to clone.
#[derive(Clone)]
pub(super) struct Versions {
    asked: Arc<Mutex<HashMap<Key, Asked>>>,
    news: News,
    probes: Probes,
    jobs: Jobs,
}

struct Asked {
    source: VersionSource,
    started: Instant,
    under_way: bool,
    told: Option<Result<i64, String>>,
}

impl Versions {
    /// Nothing was asked yet, and the stream of environments of which there is something new.
    pub(super) fn new(probes: Probes, jobs: Jobs) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (news, told) = News::new();
        (Self { asked: Arc::default(), news, probes, jobs }, told)
    }

    /// What was told last by the source that the environment names now.
    pub(super) fn told(&self, environment: &Key, source: &VersionSource) -> Option<Result<i64, String>> {
        self.lock().get(environment).filter(|asked| asked.source == *source).and_then(|asked| asked.told.clone())
    }

    /// Asks the source, if there is one and it is due at `now`; says when it is due next.
    pub(super) fn drive(&self, environment: &Key, source: Option<&VersionSource>, now: Instant) -> Option<Duration> {
        let mut all = self.lock();
        let Some(source) = source else {
            all.remove(environment);
            return None;
        };
        let interval = source.interval().max(Duration::from_secs(1));
        let known = all.remove(environment).filter(|asked| asked.source == *source);
        let wait = |asked: &Asked| interval.saturating_sub(now.saturating_duration_since(asked.started));
        let next = match known {
            // It is told when it comes.
            Some(asked) if asked.under_way => asked,
            Some(asked) if !wait(&asked).is_zero() => asked,
            other => {
                self.start(environment.clone(), source.clone());
                let told = other.and_then(|asked| asked.told);
                Asked { source: source.clone(), started: now, under_way: true, told }
            }
        };
        let due = wait(&next);
        all.insert(environment.clone(), next);
        Some(if due.is_zero() { interval } else { due })
    }

    /// Forgets a deleted environment.
    pub(super) fn forget(&self, environment: &Key) {
        self.lock().remove(environment);
    }

    fn start(&self, environment: Key, source: VersionSource) {
        let versions = self.clone();
        tokio::spawn(async move {
            let told = match &source {
                VersionSource::Http(http) => version_told(http, versions.ask(http).await),
                VersionSource::Job { body, timeout, .. } => versions.run(&environment.namespace, body, *timeout).await,
            };
            if versions.finish(&environment, &source, told) {
                versions.news.tell(environment);
            }
        });
    }

    async fn ask(&self, source: &HttpVersion) -> Result<Answer, String> {
        let asked = HttpCheck {
            url: source.url.clone(),
            legacy_url: None,
            method: HttpMethod::Get,
            headers: Vec::new(),
            expect_status: StatusRange::default(),
            pointer: Some(source.pointer.clone()),
            timeout: source.timeout,
            ca_bundle: source.ca_bundle.clone(),
        };
        self.probes.ask(&asked, &source.url).await
    }

    async fn run(&self, namespace: &str, body: &Value, timeout: Duration) -> Result<i64, String> {
        match self.jobs.run(namespace, body, timeout).await {
            Ended::Well { job } => version_printed(&job, &self.jobs.output(namespace, &job).await?),
            Ended::Badly { job, failure: Failure { exit_code, log, message } } => {
                Err(version_job_failed(&job, exit_code, &message, log.as_deref()))
            }
            Ended::Unknown(why) => Err(why),
        }
    }

    /// Whether somebody still wants to know.
    fn finish(&self, environment: &Key, source: &VersionSource, told: Result<i64, String>) -> bool {
        let mut all = self.lock();
        let Some(asked) = all.get_mut(environment).filter(|asked| asked.source == *source) else { return false };
        asked.under_way = false;
        asked.told = Some(told);
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
