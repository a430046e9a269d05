//! Makes the Jobs of hooks, and finds out what became of them. Making one is a part of carrying out the plan that records its intent, and
//! is tried once. All else runs beside the reconciles, and triggers one when it is done: whether there is a Job that the cache does
//! not show, and what a failed one has printed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cutover_api::v1alpha1::{MigrationPhaseStatus, migration_phase::HookState};
use cutover_engine::migration_phase::{HookJob, HookView, Measured};
use futures::Stream;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::Value;

use crate::{
    caches::JobEnd,
    cluster::stores::Key,
    controllers::{
        jobs::{Ended, Failure, JobState, Jobs},
        news::News,
    },
};

/// The hooks of all phases. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hooks {
    looks: Arc<Mutex<HashMap<Key, BTreeMap<String, Look>>>>,
    news: News,
    jobs: Jobs,
}

/// What this process knows of a Job apart from the cache.
#[derive(Clone, Debug)]
enum Look {
    UnderWay,
    Known(HookView),
}

impl Hooks {
    /// Nothing is known yet; and the stream of phases of which something new is known.
    pub(super) fn new(jobs: Jobs) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (news, told) = News::new();
        (Self { looks: Arc::default(), news, jobs }, told)
    }

    /// What is known of the Jobs that the phase waits for.
    pub(super) fn views(&self, phase: &Key, status: &MigrationPhaseStatus) -> BTreeMap<String, HookView> {
        let looks = self.lock();
        let own = looks.get(phase);
        let view = |job: &str| {
            let look = match own.and_then(|own| own.get(job)) {
                Some(Look::Known(view)) => Some(view),
                Some(Look::UnderWay) | None => None,
            };
            match self.jobs.shown(&phase.namespace, job) {
                JobState::Active => Some(HookView::Active),
                JobState::Ended(JobEnd::Succeeded) => Some(HookView::Succeeded),
                // It counts when its output has been read, or could not be.
                JobState::Ended(JobEnd::Failed(_)) => {
                    look.filter(|view| matches!(view, HookView::Failed { .. })).cloned()
                }
                JobState::Absent => look.cloned(),
            }
        };
        awaited(status).into_iter().filter_map(|job| Some((job.to_owned(), view(job)?))).collect()
    }

    /// Makes a Job, whose intent has been written. Whatever becomes of it, it is not tried again.
    pub(super) async fn make(&self, phase: &Key, job: &HookJob) {
        let HookJob { name, body } = job;
        let made = match serde_json::from_value::<Job>(body.clone()) {
            Ok(job) => self.create(&phase.namespace, &job).await,
            Err(error) => Some(HookView::Refused(error.to_string())),
        };
        // Without a clear answer it is looked for.
        if let Some(view) = made {
            self.lock().entry(phase.clone()).or_default().insert(name.clone(), Look::Known(view));
        }
    }

    async fn create(&self, namespace: &str, job: &Job) -> Option<HookView> {
        match self.jobs.make(namespace, job).await {
            Ok(_) => Some(HookView::Active),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
                Some(HookView::Refused(status.message))
            }
            Err(error) => {
                tracing::warn!(%error, job = job.name_any(), "whether the Job of a hook was made is not known");
                None
            }
        }
    }

    /// Looks for what is not known of the Jobs that the phase waits for.
    pub(super) fn drive(&self, phase: &Key, status: &MigrationPhaseStatus) {
        let awaited = awaited(status);
        let mut looks = self.lock();
        if awaited.is_empty() {
            looks.remove(phase);
            return;
        }
        let own = looks.entry(phase.clone()).or_default();
        own.retain(|job, _| awaited.contains(job.as_str()));
        for job in awaited {
            let failed = match self.jobs.shown(&phase.namespace, job) {
                JobState::Ended(JobEnd::Failed(why)) => Some(why),
                // The cache tells it; should it cease to, it is looked for.
                JobState::Active | JobState::Ended(JobEnd::Succeeded) => {
                    own.remove(job);
                    continue;
                }
                JobState::Absent => None,
            };
            match own.get(job) {
                Some(Look::UnderWay | Look::Known(HookView::Failed { .. })) => continue,
                Some(Look::Known(_)) if failed.is_none() => continue,
                Some(Look::Known(_)) | None => {}
            }
            own.insert(job.to_owned(), Look::UnderWay);
            let (hooks, phase, job) = (self.clone(), phase.clone(), job.to_owned());
            tokio::spawn(async move {
                let view = match failed {
                    Some(why) => hooks.failed(&phase.namespace, &job, &why).await,
                    None => hooks.look(&phase, &job).await,
                };
                hooks.finish(phase, &job, view);
            });
        }
    }

    /// Makes the Job of a check, and waits until it has ended: what that says.
    pub(super) async fn check(&self, phase: &Key, body: &Value, timeout: Duration) -> Measured {
        match self.jobs.run(&phase.namespace, body, timeout).await {
            Ended::Well { .. } => Measured::Ended { failure: None },
            Ended::Badly { job, failure } => Measured::Ended { failure: Some(said(&job, &failure)) },
            Ended::Unknown(why) => Measured::Erroring(why),
        }
    }

    /// Forgets a deleted phase.
    pub(super) fn forget(&self, phase: &Key) {
        self.lock().remove(phase);
    }

    fn finish(&self, phase: Key, job: &str, view: HookView) {
        let mut looks = self.lock();
        let Some(look) = looks.get_mut(&phase).and_then(|own| own.get_mut(job)) else { return };
        *look = Look::Known(view);
        drop(looks);
        self.news.tell(phase);
    }

    /// What there is past the cache.
    async fn look(&self, phase: &Key, job: &str) -> HookView {
        match self.jobs.look(&phase.namespace, job).await {
            JobState::Absent => HookView::Absent,
            JobState::Active => HookView::Active,
            JobState::Ended(JobEnd::Succeeded) => HookView::Succeeded,
            JobState::Ended(JobEnd::Failed(why)) => self.failed(&phase.namespace, job, &why).await,
        }
    }

    async fn failed(&self, namespace: &str, job: &str, why: &str) -> HookView {
        let Failure { exit_code, log, message } = self.jobs.failure(namespace, job, why).await;
        HookView::Failed { exit_code, log, message }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeMap<String, Look>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Jobs whose end the phase does not know.
fn awaited(status: &MigrationPhaseStatus) -> BTreeSet<&str> {
    let open = |state| matches!(state, HookState::Started | HookState::Unknown);
    status.hooks.iter().filter(|hook| open(hook.state)).map(|hook| hook.job.as_str()).collect()
}

/// How a Job failed, in one line and the last of its own.
fn said(job: &str, failure: &Failure) -> String {
    let Failure { exit_code, log, message } = failure;
    let code = exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let last = log.as_deref().and_then(|log| log.lines().last()).map(|line| format!("; it said: {line}"));
    format!("Job {job} failed{code}: {message}{}", last.unwrap_or_default())
}
