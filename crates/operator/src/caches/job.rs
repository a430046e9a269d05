//! Jobs of hooks. Others are not even sent.

use cutover_api::labels;
use k8s_openapi::api::batch::v1::Job;

use crate::cluster::stores::View;

/// What tells the API server which Jobs are wanted.
pub(super) const SELECTOR: &str = "cutover.dev/owner-kind=MigrationPhase";

/// What is kept of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Name of the phase that it was made for.
    pub phase: Option<Box<str>>,
    /// How it ended, if it has.
    pub end: Option<JobEnd>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Well.
    Succeeded,
    /// Not well; why, in the words of the Job's controller.
    Failed(Box<str>),
}

impl JobRecord {
    /// What is to be known of a Job.
    #[must_use]
    pub fn of_job(job: &Job) -> Self {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let end =
            conditions.iter().filter(|condition| condition.status == "True").find_map(|condition| {
                match condition.type_.as_str() {
                    "Complete" => Some(JobEnd::Succeeded),
                    "Failed" => {
                        let parts = [condition.reason.as_deref(), condition.message.as_deref()];
                        let why = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
                        Some(JobEnd::Failed(why.into()))
                    }
                    _ => None,
                }
            });
        let phase = job.metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::OWNER_NAME));
        Self { phase: phase.map(|name| name.as_str().into()), end }
    }
}

impl View for JobRecord {
    type Object = Job;

    fn of(object: Job) -> Option<Self> {
        Some(Self::of_job(&object))
    }
}
