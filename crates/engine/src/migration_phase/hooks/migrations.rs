//! Migrations of the environment's shared database: hooks that must not be carried out twice, by whichever phase. The Environment records
//! in its status which versions are applied; a migration is started only when its record is known and no other run of its version is
//! open, and counts as done only when it is recorded.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Blocker, Hook, HookPoint, HookState, HookStatus, MigrationDirection, MigrationRun},
        phase_action::RollbackTo,
    },
};

use super::{super::machine::unknown, Hooks, Machine, blocker, describe};
use crate::{Known, Severity, migration_phase::observed::MigrationView};

impl Machine<'_> {
    /// Leads the schema to the version of the hook.
    pub(super) fn migrate(&mut self, point: HookPoint, hook: &Hook, version: i64) -> Hooks {
        if let Some(so_far) = self.migrated(version, MigrationDirection::Up) {
            return so_far;
        }
        let view = match self.closed_record(version) {
            Ok(view) => view,
            Err(hold) => return self.hold_hook(hold),
        };
        if view.applied {
            self.skip(point, hook, version, &view);
            return Hooks::Done;
        }
        self.start(point, hook, version, MigrationDirection::Up, &view)
    }

    /// Undoes the migrations of this phase, later versions first, when the way back leads to where none of them was applied.
    pub fn undo_migrations(&mut self) -> Hooks {
        if self.status.way_back.as_ref().is_none_or(|way| way.to == RollbackTo::PreviousStep) {
            return Hooks::Done;
        }
        let mut undone: Vec<Hook> = self.guards().map(|guards| guards.migrations.clone()).unwrap_or_default();
        undone.sort_by_key(|hook| std::cmp::Reverse(hook.migration.as_ref().map(|migration| migration.version)));
        for hook in undone {
            let Some(version) = hook.migration.as_ref().map(|migration| migration.version) else { continue };
            match self.migrated(version, MigrationDirection::Down) {
                Some(Hooks::Done) => continue,
                Some(so_far) => return so_far,
                None => {}
            }
            let view = match self.closed_record(version) {
                Ok(view) => view,
                Err(hold) => return self.hold_hook(hold),
            };
            let ours = view.phase_uid.as_deref() == Some(self.observed.phase.uid.as_str());
            if view.applied && ours {
                return self.start(HookPoint::OnRollback, &hook, version, MigrationDirection::Down, &view);
            }
        }
        Hooks::Done
    }

    /// A way back that begins runs anew what an earlier one tried.
    pub fn forget_undoing(&mut self) {
        let down = |hook: &HookStatus| hook.migration.is_some_and(|run| run.direction == MigrationDirection::Down);
        self.status.hooks.retain(|hook| !down(hook) || hook.state == HookState::Started);
    }

    /// The hook whose migration to this version can be undone.
    pub(super) fn undone_by(&self, version: i64) -> Option<Hook> {
        let migrations = &self.guards()?.migrations;
        migrations.iter().find(|hook| hook.migration.as_ref().is_some_and(|it| it.version == version)).cloned()
    }

    /// UID of the environment whose database is migrated.
    pub(super) fn environment_uid(&self) -> Option<String> {
        Some(self.observed.environment.as_ref().ok()?.as_ref()?.uid.clone())
    }

    /// How far our own run is, if there is one.
    fn migrated(&mut self, version: i64, direction: MigrationDirection) -> Option<Hooks> {
        let same =
            |hook: &&HookStatus| hook.migration.is_some_and(|run| (run.version, run.direction) == (version, direction));
        let found = self.status.hooks.iter().rev().find(same)?;
        let round = found.migration.map_or(0, |run| run.round);
        Some(match found.state {
            HookState::Skipped => Hooks::Done,
            HookState::Started | HookState::Unknown => Hooks::Pending,
            HookState::Failed => Hooks::Failed(describe(found)),
            HookState::Succeeded | HookState::Waived => match self.recorded(version) {
                Ok(view) if view.round >= round => Hooks::Done,
                Ok(_) => {
                    let message = format!("the Environment has not recorded yet how {} ended", found.job);
                    self.hold_hook(blocker(reasons::MIGRATION_UNDER_WAY, message))
                }
                Err(hold) => self.hold_hook(hold),
            },
        })
    }

    /// What is recorded of a version.
    fn recorded(&self, version: i64) -> Result<MigrationView, Blocker> {
        let name = self.spec.ok().and_then(|valid| valid.spec().environment.clone()).unwrap_or_default();
        match &self.observed.environment {
            Known::Unknown => Err(unknown(&format!("Environment {name}"))),
            Known::Known(None) => {
                let message = format!("Environment {name} does not exist: create it, it records what is migrated");
                Err(blocker(reasons::REFERENCE_NOT_FOUND, message))
            }
            Known::Known(Some(view)) => Ok(view.migrations.get(&version).cloned().unwrap_or_default()),
        }
    }

    /// The same when no run of the version is open, whoever started it.
    fn closed_record(&self, version: i64) -> Result<MigrationView, Blocker> {
        let view = self.recorded(version)?;
        if let Some(job) = &view.open {
            let message =
                format!("Job {job} migrates version {version}: it is waited for until it is recorded how it ended");
            return Err(blocker(reasons::MIGRATION_UNDER_WAY, message));
        }
        Ok(view)
    }

    fn hold_hook(&mut self, hold: Blocker) -> Hooks {
        self.hook_hold = Some(hold);
        Hooks::Pending
    }

    fn start(
        &mut self,
        point: HookPoint,
        hook: &Hook,
        version: i64,
        direction: MigrationDirection,
        view: &MigrationView,
    ) -> Hooks {
        // Past whatever is known of: the name of a Job is never used again.
        let known = self.observed.status.hooks.iter().chain(&self.status.hooks).filter_map(|hook| hook.migration);
        let last = known.filter(|run| run.version == version).map(|run| run.round).max().unwrap_or(0);
        let round = view.round.max(last).saturating_add(1);
        let run = MigrationRun { version, direction, round };
        let uid = self.environment_uid().unwrap_or_default();
        let job = crate::job::name(&self.observed.phase.name, &("migration", uid, version, round));
        self.intend(point, hook, job, Some(run));
        Hooks::Pending
    }

    fn skip(&mut self, point: HookPoint, hook: &Hook, version: i64, view: &MigrationView) {
        self.make_room();
        let now = self.clock.stamp();
        let message = format!("hook {}: version {version} of the schema is applied already", hook.name);
        self.status.hooks.push(HookStatus {
            name: hook.name.clone(),
            point,
            step: self.status.step.as_ref().map(|step| step.name.clone()),
            migration: Some(MigrationRun { version, direction: MigrationDirection::Up, round: view.round }),
            job: view.job.clone(),
            state: HookState::Skipped,
            deadline: now.clone(),
            started_at: now.clone(),
            finished_at: Some(now),
            exit_code: None,
            message: Some("it is recorded as applied".to_owned()),
            log: None,
        });
        self.tell(Severity::Normal, "HookSkipped", "Hook", message);
    }
}
