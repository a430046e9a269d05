//! Approval of the start, and what approvals are about.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        MigrationPhaseSpec,
        migration_phase::{Blocker, Check, StepApproval},
    },
};

use super::super::{
    machine::{Machine, blocker, unknown},
    stages::speaks_for,
};
use crate::{Known, hash::short_hash};

impl Machine<'_> {
    /// What an approval is about now: what is to be done, and what is to get the traffic. `None` while that cannot be read.
    pub fn subject(&self) -> Option<String> {
        let valid = self.spec.ok()?;
        let images = short_hash(self.images()?);
        Some(match valid.work() {
            Some(work) => format!("{work}-{images}"),
            None => format!("{}-{images}", work(valid.spec(), &self.checks_of(valid.spec()))),
        })
    }

    /// The images of the environment's new components; `None` while they cannot be read.
    pub fn images(&self) -> Option<&BTreeMap<String, String>> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let none = self.spec.ok()?.spec().environment.is_none();
        match &self.observed.environment {
            _ if none => Some(&NONE),
            Known::Unknown => None,
            Known::Known(view) => Some(view.as_ref().map_or(&NONE, |view| &view.images)),
        }
    }

    /// The gate: so many people have approved the start.
    pub(super) fn unapproved(&self) -> Option<Blocker> {
        let spec = self.spec.ok()?.spec();
        let approval = spec.gates.as_ref()?.approvals.as_ref()?;
        let Some(subject) = self.subject() else {
            return Some(unknown(&format!("Environment {}", spec.environment.as_deref().unwrap_or_default())));
        };
        let given = self.start_approvers(approval).len();
        let required = usize::try_from(approval.required).unwrap_or(1);
        (given < required).then(|| {
            let whose = match approval.groups.as_slice() {
                [] => String::new(),
                groups => format!(" by members of {}", groups.join(" or ")),
            };
            let of = match self.status.started_at {
                None => "the start",
                Some(_) => "the steps, checks and failure policy as they are now",
            };
            let message = format!("{given} of {required} approvals of {of}{whose}: Approve with subjectHash {subject}");
            blocker(reasons::AWAITING_APPROVAL, message)
        })
    }

    /// The different people whose approval of the start counts now. Once the phase has started with an approval, that it ends and that
    /// another image is deployed change nothing; other steps, checks or another failure policy do.
    pub fn start_approvers(&self, approval: &StepApproval) -> BTreeSet<&str> {
        let present = self.subject();
        let started = self.status.started_at.as_ref().map(|at| at.0);
        let at = started.unwrap_or(self.clock.now).min(self.clock.now);
        let about = |subject: Option<&str>| match started {
            None => subject == present.as_deref(),
            Some(_) => todo(subject) == todo(present.as_deref()),
        };
        let counting = self.status.approvals.iter().filter(|record| {
            record.step.is_none()
                && speaks_for(approval, &record.groups)
                && record.subject.is_some()
                && about(record.subject.as_deref())
                && record.expires_at.as_ref().is_none_or(|until| at < until.0)
        });
        counting.map(|record| record.by.as_str()).collect()
    }

    /// Why an approval of `asked` is not one of what is there now.
    pub fn another_subject(&self, asked: &str) -> Option<(&'static str, String)> {
        let Some(present) = self.subject() else {
            let message = "what it is about cannot be read now, or the spec is not valid: ask again when it can";
            return Some((reasons::UNKNOWN_INPUT, message.to_owned()));
        };
        if asked == present {
            return None;
        }
        let what = if todo(Some(asked)) == todo(Some(&present)) {
            "the images of the new components"
        } else {
            "the steps, the checks or the failure policy"
        };
        let message = format!(
            "{what} are others than those that were approved: look again, and approve {present} if it is right"
        );
        Some((reasons::SUBJECT_CHANGED, message))
    }
}

/// What is to be done by the spec with these checks, as a hash.
pub(in super::super) fn work(spec: &MigrationPhaseSpec, checks: &[Check]) -> String {
    short_hash(&(
        (&spec.environment, &spec.steps, &spec.hooks, checks),
        (&spec.on_failure, &spec.rollback, &spec.reversible, &spec.dead_after, &spec.shift_timeout),
    ))
}

/// The part of a subject that is about what is to be done.
fn todo(subject: Option<&str>) -> Option<&str> {
    Some(subject?.split_once('-')?.0)
}
