//! The audit log of a phase: a chain of records, each with the hash of the one before it. Pure: the records of a decision are stored with
//! it, in the phase's status; the controller logs them from there.
//!
//! A record's hash is the SHA-256 of the JSON array of its other fields, in the order of [`Line::expected_hash`], without spaces. No text in it
//! has a control character, so that every JSON library writes the same bytes.

pub mod verify;

use std::fmt::Write;

use cutover_api::v1alpha1::{
    MigrationPhaseStatus,
    migration_phase::{AuditChain, AuditRecord},
};
use serde::{Deserialize, Serialize};

use super::{machine::Machine, observed::PhaseIdentity};
use crate::hash::full_hash;

/// The longest text of a record, in bytes, give or take what an escaped character needs.
const LONGEST: usize = 1024;
/// Records that the status has room for.
const RECORDS: usize = 32;
/// When a decision has made so many, further actions are left to the next one.
const FULL: usize = 16;

/// One record as it is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Namespace of the phase.
    pub namespace: String,
    /// Name of the phase.
    pub phase: String,
    /// UID of the phase.
    pub uid: String,
    /// What the phase's status has of it. Its fields are beside the others.
    #[serde(flatten)]
    pub record: AuditRecord,
}

impl Line {
    /// The hash that belongs to what the record says.
    #[must_use]
    pub fn expected_hash(&self) -> String {
        let Self { namespace, phase, uid, record } = self;
        let AuditRecord { previous, generation, attempt, sequence, at, who, what, why, before, after, hash: _ } =
            record;
        let content =
            (previous, namespace, phase, uid, generation, attempt, sequence, at, who, what, why, before, after);
        // Texts and numbers are always JSON.
        full_hash(&serde_json::to_string(&content).unwrap_or_default())
    }
}

/// The records of the last decision about a phase, as they are logged, oldest first.
#[must_use]
pub fn audit_lines(phase: &PhaseIdentity, status: &MigrationPhaseStatus) -> Vec<Line> {
    let records = status.audit.iter().flat_map(|chain| &chain.records);
    records.map(|record| line(phase, record.clone())).collect()
}

fn line(phase: &PhaseIdentity, record: AuditRecord) -> Line {
    let PhaseIdentity { namespace, name: phase, uid, .. } = phase.clone();
    Line { namespace, phase, uid, record }
}

/// The record, with its hash.
fn sealed(phase: &PhaseIdentity, record: AuditRecord) -> AuditRecord {
    let line = line(phase, record);
    AuditRecord { hash: line.expected_hash(), ..line.record }
}

impl Machine<'_> {
    /// Adds a record of what has just been decided.
    pub(super) fn record(&mut self, (who, what, why): (&str, &str, &str), before: &str, after: &str) {
        let phase = &self.observed.phase;
        let last = self.status.audit.take().unwrap_or_default();
        let record = AuditRecord {
            previous: last.hash,
            generation: phase.generation,
            attempt: self.attempt(),
            sequence: last.sequence.saturating_add(1),
            at: self.clock.record().0.to_string(),
            who: plain(who),
            what: what.to_owned(),
            why: plain(why),
            before: plain(before),
            after: plain(after),
            hash: String::new(),
        };
        let record = sealed(phase, record);
        // Those of an earlier decision have been logged: nothing is decided before that.
        let mut records = if self.recorded { last.records } else { Vec::new() };
        self.recorded = true;
        let surplus = (records.len() + 1).saturating_sub(RECORDS);
        records.drain(..surplus);
        let (sequence, hash) = (record.sequence, record.hash.clone());
        records.push(record);
        self.status.audit = Some(AuditChain { sequence, hash, records });
    }

    /// Whether this decision has as many records as should be stored at once.
    pub(super) fn recorded_enough(&self) -> bool {
        self.recorded && self.status.audit.as_ref().is_some_and(|chain| chain.records.len() >= FULL)
    }
}

/// The text, no longer than a record's may be, and with nothing in it that a terminal or a log viewer would act on.
pub(super) fn plain(text: &str) -> String {
    if text.len() < LONGEST && !text.chars().any(|c| c.is_control() || reorders(c)) {
        return text.to_owned();
    }
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if written.len() >= LONGEST {
            written.push('…');
            break;
        }
        match character {
            '\n' => written.push_str("\\n"),
            // Writing to a string does not fail.
            c if c.is_control() || reorders(c) => drop(write!(written, "\\u{{{:x}}}", u32::from(c))),
            c => written.push(c),
        }
    }
    written
}

/// Characters that change the order or the lines in which text is shown.
const fn reorders(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_writes_is_one_bounded_line_of_text() {
        assert_eq!(plain("a\nb\u{1b}[31m\u{202e}\u{7f}ü\t"), "a\\nb\\u{1b}[31m\\u{202e}\\u{7f}ü\\u{9}");
        let long = plain(&"ü".repeat(5_000));
        assert!(long.len() <= LONGEST + 16 && long.ends_with('…'), "{}", long.len());
    }
}
