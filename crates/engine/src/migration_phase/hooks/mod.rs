//! Hooks: which Job is to be made when, and what its end means. Pure: the controller makes the Jobs and looks after them.
//!
//! The intent is recorded in the status first; only the plan that records it asks for the Job. A Job is therefore asked for once at
//! most: what a crash between the two leaves behind is an intent without a Job, of which nobody knows whether it ran.

pub(super) mod job;
mod migrations;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, Hook, HookPoint, HookState, HookStatus, MigrationDirection, MigrationRun},
};

use super::{
    clock::after,
    machine::{Machine, blocker, blocker_until},
    plan::HookJob,
};
use crate::{Severity, conditions::bounded};

/// Hooks that the status holds.
const MOST_HOOKS: usize = 32;

/// How far the hooks of a point are.
pub(super) enum Hooks {
    /// There are none, or all have ended well.
    Done,
    /// One is under way, or was just started, or a person has to decide.
    Pending,
    /// One failed; this is what is said of it.
    Failed(String),
}

/// What is known of the Job of a hook that was to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookView {
    /// There is no such Job: it was looked for past every cache, and nobody is about to make it.
    Absent,
    /// The API server refused to make it, for this reason.
    Refused(String),
    /// It has not ended.
    Active,
    /// It ended well.
    Succeeded,
    /// It ended, and not well.
    Failed {
        /// Exit code of the container that failed.
        exit_code: Option<i32>,
        /// The last lines of its output.
        log: Option<String>,
        /// Why, in the words of the Job's controller.
        message: String,
    },
}

impl Machine<'_> {
    /// Notes what became of the hooks that were started, whatever the state.
    pub fn take_hooks(&mut self) {
        let (clock, observed) = (self.clock, self.observed);
        let mut told = Vec::new();
        for hook in &mut self.status.hooks {
            if !matches!(hook.state, HookState::Started | HookState::Unknown) {
                continue;
            }
            let before = hook.state;
            match observed.hooks.get(&hook.job) {
                None => continue,
                Some(HookView::Active) if clock.now < hook.deadline.0 => hook.state = HookState::Started,
                Some(HookView::Active) => {
                    hook.state = HookState::Failed;
                    hook.message = Some(format!("it did not end until {}", hook.deadline.0));
                }
                Some(HookView::Absent) => {
                    hook.state = HookState::Unknown;
                    hook.message = Some(format!("there is no Job {}, and nobody knows whether it ran", hook.job));
                }
                Some(HookView::Refused(why)) => {
                    hook.state = HookState::Failed;
                    hook.message = Some(bounded(format!("its Job could not be made: {why}")));
                }
                Some(HookView::Succeeded) => {
                    hook.state = HookState::Succeeded;
                    hook.message = None;
                }
                Some(HookView::Failed { exit_code, log, message }) => {
                    hook.state = HookState::Failed;
                    hook.exit_code = *exit_code;
                    hook.log.clone_from(log);
                    hook.message = Some(bounded(message.clone()));
                }
            }
            if hook.state == before {
                continue;
            }
            hook.finished_at = (hook.state != HookState::Started).then(|| clock.record());
            told.push((hook.state, describe(hook)));
        }
        for (state, what) in told {
            match state {
                HookState::Succeeded => self.tell(Severity::Normal, "HookSucceeded", "Hook", what),
                HookState::Unknown => self.tell(Severity::Warning, reasons::HOOK_UNKNOWN, "Hook", what),
                HookState::Failed => self.tell(Severity::Warning, reasons::HOOK_FAILED, "Hook", what),
                HookState::Started | HookState::Waived | HookState::Skipped => {}
            }
        }
    }

    /// Starts the next hook of the point if it is time for it.
    pub fn run_hooks(&mut self, point: HookPoint) -> Hooks {
        for hook in self.hooks_of(point) {
            let so_far = match &hook.migration {
                Some(migration) => self.migrate(point, &hook, migration.version),
                None => self.run_hook(point, &hook),
            };
            if !matches!(so_far, Hooks::Done) {
                return so_far;
            }
        }
        Hooks::Done
    }

    fn run_hook(&mut self, point: HookPoint, hook: &Hook) -> Hooks {
        let job = self.job_name(point, &hook.name);
        let Some(found) = self.status.hooks.iter().find(|status| status.job == job) else {
            self.intend(point, hook, job, None);
            return Hooks::Pending;
        };
        match found.state {
            HookState::Succeeded | HookState::Waived | HookState::Skipped => Hooks::Done,
            HookState::Started | HookState::Unknown => Hooks::Pending,
            HookState::Failed => Hooks::Failed(describe(found)),
        }
    }

    /// What hooks are waited for.
    pub fn hooks_awaited(&self) -> Vec<Blocker> {
        let awaited = self.status.hooks.iter().filter_map(|hook| match hook.state {
            HookState::Started => {
                let message = format!("hook {} runs as Job {}", hook.name, hook.job);
                Some(blocker_until(reasons::HOOK_RUNNING, message, Some(hook.deadline.0)))
            }
            HookState::Unknown => {
                let remedy = "find out; Resume goes on as if it had succeeded, Rollback goes back, and a Retry after that runs it anew";
                Some(blocker(reasons::HOOK_UNKNOWN, format!("{}: {remedy}", describe(hook))))
            }
            HookState::Succeeded | HookState::Failed | HookState::Waived | HookState::Skipped => None,
        });
        awaited.chain(self.hook_hold.clone()).collect()
    }

    /// A person goes on without the success of what failed or is unknown; whether there was anything.
    pub fn waive_hooks(&mut self) -> bool {
        let now = self.clock.record();
        let open = |hook: &&mut HookStatus| matches!(hook.state, HookState::Failed | HookState::Unknown);
        let mut any = false;
        for hook in self.status.hooks.iter_mut().filter(open) {
            hook.state = HookState::Waived;
            hook.finished_at = Some(now.clone());
            any = true;
        }
        any
    }

    /// Whether nobody knows of some hook whether it ran.
    pub fn hook_unknown(&self) -> bool {
        self.status.hooks.iter().any(|hook| hook.state == HookState::Unknown)
    }

    /// The same of those of the way back: what was unknown on the way forward does not bar it.
    pub fn undoing_unknown(&self) -> bool {
        let unknown = |hook: &HookStatus| hook.point == HookPoint::OnRollback && hook.state == HookState::Unknown;
        self.status.hooks.iter().any(unknown)
    }

    /// The Jobs to be made once this plan's status is written: those whose intent it records.
    pub fn hook_jobs(&self) -> Vec<HookJob> {
        let known = |job: &str| self.observed.status.hooks.iter().any(|hook| hook.job == job);
        let intended = self.status.hooks.iter().filter(|hook| hook.state == HookState::Started && !known(&hook.job));
        let jobs = intended.filter_map(|status| {
            let down = status.migration.is_some_and(|run| run.direction == MigrationDirection::Down);
            let hook = if down {
                self.undone_by(status.migration?.version)?
            } else {
                self.hooks_of(status.point).into_iter().find(|hook| hook.name == status.name)?
            };
            let environment = self.spec.ok().and_then(|valid| valid.spec().environment.clone()).unwrap_or_default();
            let database = self.environment_uid().map(|uid| (environment, uid));
            let body = job::build(&self.observed.phase, self.attempt(), status, &hook, database);
            Some(HookJob { name: status.job.clone(), body })
        });
        jobs.collect()
    }

    /// Not before people have been heard: one may want the phase elsewhere, and what was started cannot be taken back.
    fn intend(&mut self, point: HookPoint, hook: &Hook, job: String, migration: Option<MigrationRun>) {
        if self.unheard {
            return;
        }
        self.make_room();
        let started_at = self.clock.stamp();
        let deadline = after(started_at.0, hook.timeout.signed());
        let status = HookStatus {
            name: hook.name.clone(),
            point,
            step: self.status.step.as_ref().map(|step| step.name.clone()),
            migration,
            job,
            state: HookState::Started,
            deadline: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(deadline),
            started_at,
            finished_at: None,
            exit_code: None,
            message: None,
            log: None,
        };
        let message = format!("hook {} is started as Job {}", status.name, status.job);
        self.status.hooks.push(status);
        self.tell(Severity::Normal, reasons::HOOK_RUNNING, "Hook", message);
    }

    fn make_room(&mut self) {
        if self.status.hooks.len() >= MOST_HOOKS {
            let ended = |hook: &HookStatus| !matches!(hook.state, HookState::Started | HookState::Unknown);
            if let Some(oldest) = self.status.hooks.iter().position(ended) {
                self.status.hooks.remove(oldest);
            }
        }
    }

    /// The hooks of a point, in order. Those of the way back are kept in status, for when the spec is not valid.
    fn hooks_of(&self, point: HookPoint) -> Vec<Hook> {
        let of_phase = self.spec.ok().and_then(|valid| valid.spec().hooks.as_ref());
        let hooks = match point {
            HookPoint::Before => of_phase.map(|hooks| &hooks.before),
            HookPoint::Step => self.step().map(|(_, step)| &step.hooks),
            HookPoint::After => of_phase.map(|hooks| &hooks.after),
            HookPoint::OnRollback => self.guards().map(|guards| &guards.on_rollback),
        };
        hooks.cloned().unwrap_or_default()
    }

    /// Always the same for the same hook at the same point of the same attempt, so that whoever comes later finds its Job.
    fn job_name(&self, point: HookPoint, hook: &str) -> String {
        let phase = &self.observed.phase;
        let place = match point {
            HookPoint::Before | HookPoint::After => None,
            HookPoint::Step => self.status.step.as_ref().map(|step| step.name.clone()),
            HookPoint::OnRollback => self.status.way_back.as_ref().map(|way| way.started_at.0.to_string()),
        };
        crate::job::name(&phase.name, &(&phase.uid, self.attempt(), point, place, hook))
    }
}

/// What became of a hook, for people.
fn describe(hook: &HookStatus) -> String {
    let how = match hook.state {
        HookState::Started => "runs",
        HookState::Succeeded => "has succeeded",
        HookState::Failed => "failed",
        HookState::Unknown => "is unknown",
        HookState::Waived => "is waived",
        HookState::Skipped => "had nothing to do",
    };
    let code = hook.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let why = hook.message.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("hook {} (Job {}) {how}{code}{why}", hook.name, hook.job)
}
