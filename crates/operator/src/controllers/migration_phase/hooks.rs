//! Makes the Jobs of hooks, and finds out what became of them. Making one is a part of carrying out the plan that records its intent, and
//! is tried once. All else runs beside the reconciles, and triggers one when it is done: whether there is a Job that the cache does
//! not show, and what a failed one has printed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cutover_api::{
    labels::MANAGER_MIGRATION_PHASE,
    v1alpha1::{MigrationPhaseStatus, migration_phase::HookState},
};
use cutover_engine::migration_phase::{HookJob, HookView, Measured};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams, PostParams},
};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    caches::{JobEnd, JobRecord},
    cluster::stores::{Index, Key},
};

/// Lines of a failed hook's output that are shown.
const LINES: usize = 20;
/// Bytes of them at most.
const BYTES: usize = 2_000;
/// Bytes of output that are read at most.
const READ: i64 = 65_536;
/// How long a request about a Job may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to look for a Job: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The hooks of all phases. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hooks {
    looks: Arc<Mutex<HashMap<Key, BTreeMap<String, Look>>>>,
    done: mpsc::UnboundedSender<Key>,
    client: Client,
    jobs: Index<JobRecord>,
}

/// What this process knows of a Job apart from the cache.
#[derive(Clone, Debug)]
enum Look {
    UnderWay,
    Known(HookView),
}

impl Hooks {
    /// Nothing is known yet; and the stream of phases of which something new is known.
    pub(super) fn new(client: Client, jobs: Index<JobRecord>) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (done, mut results) = mpsc::unbounded_channel();
        let results = stream::poll_fn(move |context| results.poll_recv(context));
        (Self { looks: Arc::default(), done, client, jobs }, results)
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
            match self.jobs.get(&phase.namespace, job).map(|record| record.end.clone()) {
                Some(None) => Some(HookView::Active),
                Some(Some(JobEnd::Succeeded)) => Some(HookView::Succeeded),
                // It counts when its output has been read, or could not be.
                Some(Some(JobEnd::Failed(_))) => look.filter(|view| matches!(view, HookView::Failed { .. })).cloned(),
                None => look.cloned(),
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
        let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams { field_manager: Some(MANAGER_MIGRATION_PHASE.to_owned()), dry_run: false };
        match api.create(&params, job).await {
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
            let failed = match self.jobs.get(&phase.namespace, job).map(|record| record.end.clone()) {
                Some(Some(JobEnd::Failed(why))) => Some(why),
                // The cache tells it; should it cease to, it is looked for.
                Some(_) => {
                    own.remove(job);
                    continue;
                }
                None => None,
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
                    Some(why) => hooks.failure(&phase.namespace, &job, &why).await,
                    None => hooks.look(&phase, &job).await,
                };
                hooks.finish(phase, &job, view);
            });
        }
    }

    /// Makes the Job of a check, and waits until it has ended: what that says. Nobody looks for it again after a restart: it ends by
    /// itself and is removed.
    pub(super) async fn check(&self, phase: &Key, body: &Value, timeout: Duration) -> Measured {
        let namespace = &*phase.namespace;
        let mut changes = self.jobs.changes();
        let name = match self.make_for_check(namespace, body).await {
            Ok(name) => name,
            Err(why) => return Measured::Erroring(format!("its Job could not be made: {why}")),
        };
        let ended = async {
            loop {
                if let Some(end) = self.jobs.get(namespace, &name).and_then(|record| record.end.clone()) {
                    return Some(end);
                }
                changes.next().await?;
            }
        };
        match tokio::time::timeout(timeout.saturating_add(PATIENCE), ended).await {
            Ok(Some(JobEnd::Succeeded)) => Measured::Ended { failure: None },
            Ok(Some(JobEnd::Failed(why))) => {
                Measured::Ended { failure: Some(said(&name, self.failure(namespace, &name, &why).await)) }
            }
            Ok(None) | Err(_) => Measured::Erroring(format!("nothing is known of the end of Job {name}")),
        }
    }

    async fn make_for_check(&self, namespace: &str, body: &Value) -> Result<String, String> {
        let job: Job = serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
        let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams { field_manager: Some(MANAGER_MIGRATION_PHASE.to_owned()), dry_run: false };
        match tokio::time::timeout(PATIENCE, api.create(&params, &job)).await {
            Ok(Ok(made)) => Ok(made.name_any()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
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
        if self.done.send(phase).is_err() {
            tracing::debug!("the controller of phases has ended");
        }
    }

    /// Looks past the cache until there is an answer.
    async fn look(&self, phase: &Key, job: &str) -> HookView {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &phase.namespace);
        let params = ListParams::default().fields(&format!("metadata.name={job}"));
        let (mut pause, longest) = PAUSES;
        loop {
            match tokio::time::timeout(PATIENCE, api.list(&params)).await {
                Ok(Ok(found)) => {
                    let Some(found) = found.items.first() else { return HookView::Absent };
                    return match JobRecord::of_job(found).end {
                        None => HookView::Active,
                        Some(JobEnd::Succeeded) => HookView::Succeeded,
                        Some(JobEnd::Failed(why)) => self.failure(&phase.namespace, job, &why).await,
                    };
                }
                Ok(Err(error)) => tracing::warn!(%error, job, "a hook's Job could not be looked for"),
                Err(_) => tracing::warn!(job, "a hook's Job could not be looked for in time"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// What a failed Job left behind. It has failed, whether that can be read or not.
    async fn failure(&self, namespace: &str, job: &str, why: &str) -> HookView {
        let read = tokio::time::timeout(PATIENCE, self.last_words(namespace, job)).await;
        let (exit_code, log) = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                let message = format!("{why}; its pod could not be read: {error}");
                return HookView::Failed { exit_code: None, log: None, message };
            }
            Err(_) => (None, Err("no answer in time".to_owned())),
        };
        match log {
            Ok(log) => HookView::Failed { exit_code, log, message: why.to_owned() },
            Err(error) => HookView::Failed {
                exit_code,
                log: None,
                message: format!("{why}; its output could not be read: {error}"),
            },
        }
    }

    async fn last_words(
        &self,
        namespace: &str,
        job: &str,
    ) -> kube::Result<(Option<i32>, Result<Option<String>, String>)> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        let found = pods.list(&params).await?;
        let failed = found.iter().find_map(|pod| {
            let statuses = pod.status.as_ref()?.container_statuses.as_deref().unwrap_or_default();
            let (name, code) = statuses.iter().find_map(failed_with)?;
            Some((pod.name_any(), name, code))
        });
        let Some((pod, container, code)) = failed else { return Ok((None, Ok(None))) };
        let lines = i64::try_from(LINES).ok();
        let params = LogParams {
            container: Some(container),
            tail_lines: lines,
            limit_bytes: Some(READ),
            ..LogParams::default()
        };
        let log = pods.logs(&pod, &params).await.map_err(|error| error.to_string());
        Ok((Some(code), log.map(|text| Some(tail(&text)).filter(|text| !text.is_empty()))))
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
fn said(job: &str, view: HookView) -> String {
    let HookView::Failed { exit_code, log, message } = view else { return format!("Job {job} failed") };
    let code = exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let last = log.as_deref().and_then(|log| log.lines().last()).map(|line| format!("; it said: {line}"));
    format!("Job {job} failed{code}: {message}{}", last.unwrap_or_default())
}

fn failed_with(status: &ContainerStatus) -> Option<(String, i32)> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    (ended.exit_code != 0).then(|| (status.name.clone(), ended.exit_code))
}

/// The end of a text, as much as is shown of it, without what would disturb a terminal.
fn tail(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let skip = clean.lines().count().saturating_sub(LINES);
    let lines = clean.lines().skip(skip).collect::<Vec<_>>().join("\n");
    let from = lines.len().saturating_sub(BYTES);
    let from = (from..=lines.len()).find(|at| lines.is_char_boundary(*at)).unwrap_or(from);
    lines.get(from..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_output_is_bounded_and_harmless() {
        assert_eq!(tail("one\ntwo\n"), "one\ntwo");
        let long = (0..100).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
        assert_eq!(tail(&long).lines().next(), Some("line 80"));
        let wide = "ä".repeat(5_000);
        assert_eq!((tail(&wide).len(), tail(&wide).chars().all(|c| c == 'ä')), (BYTES, true));
        assert_eq!(tail("\u{1b}[31mred\r\n"), "[31mred");
    }
}
