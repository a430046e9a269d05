//! Jobs that the operator makes: of phases, and of environments. Others are not even sent.

use cutover_api::{
    labels,
    v1alpha1::migration_phase::{MigrationDirection, MigrationRun},
};
use k8s_openapi::api::batch::v1::Job;

use crate::cluster::stores::View;

/// What tells the API server which Jobs are wanted.
pub(super) const SELECTOR: &str = "cutover.dev/owner-kind in (MigrationPhase,Environment)";

/// What is kept of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Name of the phase that it was made for, if it was.
    pub phase: Option<Box<str>>,
    /// UID of that phase.
    pub phase_uid: Option<Box<str>>,
    /// How it ended, if it has.
    pub end: Option<JobEnd>,
    /// UID of the environment whose database it migrates, if it is a migration, and which run that is.
    pub migration: Option<(Box<str>, MigrationRun)>,
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
        let annotation = |name: &str| job.metadata.annotations.as_ref()?.get(name).map(String::as_str);
        let label = |name: &str| job.metadata.labels.as_ref()?.get(name).map(String::as_str);
        let of_phase = label(labels::OWNER_KIND) == Some("MigrationPhase");
        let run = annotation(labels::MIGRATION).and_then(run);
        Self {
            phase: annotation(labels::OWNER_NAME).filter(|_| of_phase).map(Into::into),
            phase_uid: label(labels::OWNER_UID).filter(|_| of_phase).map(Into::into),
            end,
            migration: annotation(labels::MIGRATES).map(Into::into).zip(run),
        }
    }
}

/// Version, direction and round, as in `44.Up.1`.
fn run(text: &str) -> Option<MigrationRun> {
    let mut parts = text.split('.');
    let version = parts.next()?.parse().ok()?;
    let direction = match parts.next()? {
        "Up" => MigrationDirection::Up,
        "Down" => MigrationDirection::Down,
        _ => return None,
    };
    let round = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(MigrationRun { version, direction, round })
}

impl View for JobRecord {
    type Object = Job;

    fn of(object: Job) -> Option<Self> {
        Some(Self::of_job(&object))
    }

    /// By the UID of the Environment that it migrates.
    fn group(&self) -> Option<&str> {
        self.migration.as_ref().map(|(environment, _)| &**environment)
    }
}
