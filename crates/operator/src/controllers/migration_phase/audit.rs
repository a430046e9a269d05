//! The audit log. What is logged are the records of the stored status: with what was decided, so that there is none about a decision that
//! was not made; and whenever a process first sees them, so that none is missing because another ended, or lost its connection, right after
//! the write. Nothing is decided before what is stored has been logged.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cutover_api::v1alpha1::{MigrationPhase, migration_phase::AuditRecord};
use cutover_engine::migration_phase::{
    PhaseIdentity,
    audit::{Line, audit_lines},
};

use crate::cluster::stores::Key;

/// By phase, the hash of the record that this process has logged last.
#[derive(Debug, Default)]
pub(super) struct AuditLog(Mutex<HashMap<Key, String>>);

impl AuditLog {
    /// Logs what the phase's status has and this process has not logged.
    pub(super) fn catch_up(&self, key: &Key, phase: &MigrationPhase) {
        let Some(status) = &phase.status else { return };
        let Some(chain) = &status.audit else { return };
        if self.lock().insert(key.clone(), chain.hash.clone()).as_ref() == Some(&chain.hash) {
            return;
        }
        for line in audit_lines(&PhaseIdentity::of(phase), status) {
            log(&line);
        }
    }

    /// Forgets a deleted phase.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(line: &Line) {
    let Line { namespace, phase, uid, record } = line;
    let AuditRecord { previous, generation, attempt, sequence, at, who, what, why, before, after, hash } = record;
    tracing::info!(
        target: crate::telemetry::AUDIT,
        previous, namespace, phase, uid, generation, attempt, sequence, at, who, what, why, before, after, hash,
    );
}
