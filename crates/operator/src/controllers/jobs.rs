//! Jobs that the operator makes: creates them, waits for their end in the cache, and reads what they have printed. API I/O.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams, PostParams},
};
use serde_json::Value;

use crate::{
    caches::{JobEnd, JobRecord},
    cluster::stores::Index,
};

/// Lines of an output that are read and shown.
const LINES: usize = 20;
/// Bytes of them that are shown at most.
const BYTES: usize = 2_000;
/// Bytes of output that are read at most.
const READ: i64 = 65_536;
/// How long a request about a Job may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to look for a Job: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The Jobs of one controller. Cheap to clone.
#[derive(Clone)]
pub(super) struct Jobs {
    client: Client,
    cache: Index<JobRecord>,
    manager: &'static str,
}

/// How a Job is.
#[derive(Debug)]
pub(super) enum JobState {
    /// There is none.
    Absent,
    /// It has not ended.
    Active,
    /// It has ended.
    Ended(JobEnd),
}

impl JobState {
    fn of(job: Option<&JobRecord>) -> Self {
        match job.map(|job| job.end.clone()) {
            None => Self::Absent,
            Some(None) => Self::Active,
            Some(Some(end)) => Self::Ended(end),
        }
    }
}

/// What became of a Job that was made.
#[derive(Debug)]
pub(super) enum Ended {
    /// It ended well.
    Well {
        /// Its name.
        job: String,
    },
    /// It did not.
    Badly {
        /// Its name.
        job: String,
        /// What it left behind.
        failure: Failure,
    },
    /// It could not be made, or nothing is known of its end.
    Unknown(String),
}

/// What a failed Job left behind.
#[derive(Debug)]
pub(super) struct Failure {
    /// Exit code of the container that failed.
    pub(super) exit_code: Option<i32>,
    /// The last lines of its output.
    pub(super) log: Option<String>,
    /// Why it failed, in Kubernetes' words, and why more is not known.
    pub(super) message: String,
}

impl Jobs {
    /// Those whose field manager is `manager`; `cache` has to show them.
    pub(super) fn new(client: Client, cache: Index<JobRecord>, manager: &'static str) -> Self {
        Self { client, cache, manager }
    }

    /// What the cache shows of a Job.
    pub(super) fn shown(&self, namespace: &str, job: &str) -> JobState {
        JobState::of(self.cache.get(namespace, job).as_deref())
    }

    /// Makes a Job, in one request. Returns its name.
    pub(super) async fn make(&self, namespace: &str, job: &Job) -> kube::Result<String> {
        let params = PostParams { field_manager: Some(self.manager.to_owned()), dry_run: false };
        Ok(Api::namespaced(self.client.clone(), namespace).create(&params, job).await?.name_any())
    }

    /// Makes a Job, and waits until it has ended. Nobody looks for it again after a restart: it ends by itself and is removed.
    pub(super) async fn run(&self, namespace: &str, body: &Value, timeout: Duration) -> Ended {
        let mut changes = self.cache.changes();
        let made = async {
            let job: Job = serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
            match tokio::time::timeout(PATIENCE, self.make(namespace, &job)).await {
                Ok(made) => made.map_err(|error| error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            }
        };
        let job = match made.await {
            Ok(job) => job,
            Err(why) => return Ended::Unknown(format!("its Job could not be made: {why}")),
        };
        let ended = async {
            loop {
                if let JobState::Ended(end) = self.shown(namespace, &job) {
                    return Some(end);
                }
                changes.next().await?;
            }
        };
        match tokio::time::timeout(timeout.saturating_add(PATIENCE), ended).await {
            Ok(Some(JobEnd::Succeeded)) => Ended::Well { job },
            Ok(Some(JobEnd::Failed(why))) => {
                let failure = self.failure(namespace, &job, &why).await;
                Ended::Badly { job, failure }
            }
            Ok(None) | Err(_) => Ended::Unknown(format!("nothing is known of the end of Job {job}")),
        }
    }

    /// Looks past the cache until there is an answer: how the Job is.
    pub(super) async fn look(&self, namespace: &str, job: &str) -> JobState {
        let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().fields(&format!("metadata.name={job}"));
        let (mut pause, longest) = PAUSES;
        loop {
            match tokio::time::timeout(PATIENCE, api.list(&params)).await {
                Ok(Ok(found)) => return JobState::of(found.items.first().map(JobRecord::of_job).as_ref()),
                Ok(Err(error)) => tracing::warn!(%error, job, "a Job could not be looked for"),
                Err(_) => tracing::warn!(job, "a Job could not be looked for in time"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// What a failed Job left behind. It has failed, whether that can be read or not; `why` is what Kubernetes says.
    pub(super) async fn failure(&self, namespace: &str, job: &str, why: &str) -> Failure {
        let read = tokio::time::timeout(PATIENCE, async {
            let failed = self.pods(namespace, job).await?.into_iter().find_map(|pod| {
                let statuses = pod.status.as_ref()?.container_statuses.as_deref().unwrap_or_default();
                let (container, code) = statuses.iter().find_map(failed_with)?;
                Some((pod.name_any(), container, code))
            });
            let Some((pod, container, code)) = failed else { return Ok((None, Ok(String::new()))) };
            Ok((Some(code), self.log(namespace, &pod, container).await))
        });
        let (exit_code, log) = match read.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                let error: kube::Error = error;
                let message = format!("{why}; its pod could not be read: {error}");
                return Failure { exit_code: None, log: None, message };
            }
            Err(_) => (None, Err("no answer in time".to_owned())),
        };
        match log {
            Ok(log) => Failure { exit_code, log: Some(log).filter(|log| !log.is_empty()), message: why.to_owned() },
            Err(error) => {
                Failure { exit_code, log: None, message: format!("{why}; its output could not be read: {error}") }
            }
        }
    }

    /// What the first container of a Job that ended well has printed, as far as it is read.
    ///
    /// # Errors
    /// Why that cannot be read.
    pub(super) async fn output(&self, namespace: &str, job: &str) -> Result<String, String> {
        let read = tokio::time::timeout(PATIENCE, async {
            let pods = self.pods(namespace, job).await.map_err(|error| error.to_string())?;
            let ended = pods.into_iter().find_map(|pod| {
                let well = pod.status.as_ref()?.phase.as_deref() == Some("Succeeded");
                let container = pod.spec.as_ref()?.containers.first()?.name.clone();
                well.then(|| (pod.name_any(), container))
            });
            let (pod, container) = ended.ok_or_else(|| "its pod is gone".to_owned())?;
            self.log(namespace, &pod, container).await
        });
        let output = read.await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        output.map_err(|why| format!("what Job {job} has printed could not be read: {why}"))
    }

    async fn pods(&self, namespace: &str, job: &str) -> kube::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(pods.list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"))).await?.items)
    }

    async fn log(&self, namespace: &str, pod: &str, container: String) -> Result<String, String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            container: Some(container),
            tail_lines: i64::try_from(LINES).ok(),
            limit_bytes: Some(READ),
            ..LogParams::default()
        };
        pods.logs(pod, &params).await.map(|text| tail(&text)).map_err(|error| error.to_string())
    }
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
