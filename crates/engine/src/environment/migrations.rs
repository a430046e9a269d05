//! The record of migrations of the shared database: what phases have carried out is written down once, by the one writer of the
//! environment's status, so that no version is migrated to twice.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::{
    MigrationPhase,
    environment::{MigrationOutcome, MigrationRecord},
    migration_phase::{HookState, MigrationDirection, MigrationRun},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::whole_seconds;

/// Versions that are recorded at most; a phase waits in vain for the record of more.
const MOST_RECORDS: usize = 256;

/// How one run of a migration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationEnd {
    /// Which run.
    pub run: MigrationRun,
    /// How it ended.
    pub outcome: MigrationOutcome,
    /// Its Job.
    pub job: String,
    /// Name of the phase that it was made for.
    pub phase: String,
    /// UID of that phase.
    pub phase_uid: String,
}

impl MigrationEnd {
    /// The runs of which a person has said in this phase that they are done.
    #[must_use]
    pub fn waived(phase: &MigrationPhase) -> Vec<Self> {
        let hooks = phase.status.iter().flat_map(|status| &status.hooks);
        let waived = hooks.filter(|hook| hook.state == HookState::Waived).filter_map(|hook| {
            Some(Self {
                run: hook.migration?,
                outcome: MigrationOutcome::Waived,
                job: hook.job.clone(),
                phase: phase.metadata.name.clone().unwrap_or_default(),
                phase_uid: phase.metadata.uid.clone().unwrap_or_default(),
            })
        });
        waived.collect()
    }
}

/// What is recorded, together with what has ended since.
pub(super) fn recorded(previous: &[MigrationRecord], ends: &[MigrationEnd], now: Timestamp) -> Vec<MigrationRecord> {
    let mut records: BTreeMap<i64, MigrationRecord> =
        previous.iter().map(|record| (record.version, record.clone())).collect();
    let mut ends: Vec<&MigrationEnd> = ends.iter().collect();
    // Of one run it is its Job's end that counts, unless that was bad and a person knew better.
    let rank = |outcome| match outcome {
        MigrationOutcome::Failed => 0,
        MigrationOutcome::Waived => 1,
        MigrationOutcome::Succeeded => 2,
    };
    ends.sort_by_key(|end| (end.run.version, end.run.round, rank(end.outcome)));
    for MigrationEnd { run: MigrationRun { version, direction, round }, outcome, job, phase, phase_uid } in ends {
        let last = records.get(version);
        let news = last.is_none_or(|last| (*round, rank(*outcome)) > (last.round, rank(last.outcome)));
        if !news || (last.is_none() && records.len() >= MOST_RECORDS) {
            continue;
        }
        let well = *outcome != MigrationOutcome::Failed;
        let up = *direction == MigrationDirection::Up;
        let applied = if well { up } else { last.is_some_and(|last| last.applied) };
        let by = if well && up { Some((phase, phase_uid)) } else { None };
        let record = MigrationRecord {
            version: *version,
            applied,
            round: *round,
            direction: *direction,
            outcome: *outcome,
            job: job.clone(),
            phase: by.map_or_else(|| last.and_then(|last| last.phase.clone()), |(name, _)| Some(name.clone())),
            phase_uid: by.map_or_else(|| last.and_then(|last| last.phase_uid.clone()), |(_, uid)| Some(uid.clone())),
            at: Time(whole_seconds(now)),
        };
        records.insert(*version, record);
    }
    records.into_values().collect()
}
