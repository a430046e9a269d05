//! Whether an audit log is complete and unchanged. Pure: text in, findings out. The order of the lines does not matter, for those of
//! several replicas may have been put one after the other.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::v1alpha1::{
    MigrationPhase,
    migration_phase::{AuditChain, AuditRecord},
};
use serde::Serialize;
use serde_json::Value;

use super::Line;

/// What an audit log has of one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Namespace of the phase.
    pub namespace: String,
    /// Name of the phase.
    pub phase: String,
    /// UID of the phase.
    pub uid: String,
    /// How many records there are, each counted once.
    pub records: usize,
    /// How many lines say again what another says: a replica that takes over logs the last decision again.
    pub repeated: usize,
    /// Number of the last record.
    pub last: i64,
    /// Hash of the last record.
    pub hash: String,
    /// What is not as it should be. None: nothing is missing between the records, none was changed, and, if the phase was asked, they
    /// end where its status does.
    pub findings: Vec<String>,
}

/// Records out of a log: JSON objects, one in each line, maybe with something before the brace. Lines that are not of the target `audit` are
/// passed over.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: Vec<Line>,
    unreadable: Vec<usize>,
}

impl Log {
    /// Reads a log.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut log = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let Some((_, object)) = line.find('{').and_then(|at| line.split_at_checked(at)) else { continue };
            let read = serde_json::from_str::<Value>(object);
            // The half of a line may have been a record.
            let about = read.as_ref().map_or_else(
                |_| object.contains("\"target\":\"audit\""),
                |value| value.get("target").is_some_and(|target| target == "audit"),
            );
            match read.and_then(serde_json::from_value) {
                _ if !about => {}
                Ok(record) => log.lines.push(record),
                Err(_) => log.unreadable.push(number),
            }
        }
        log
    }

    /// Numbers of the lines that are of the target `audit` and are no records.
    #[must_use]
    pub fn unreadable(&self) -> &[usize] {
        &self.unreadable
    }

    /// What the log has of every phase in it, without knowledge of where each should end.
    #[must_use]
    pub fn verify(&self) -> Vec<Verified> {
        let uids: BTreeSet<_> = self.lines.iter().map(|line| (&line.namespace, &line.phase, &line.uid)).collect();
        let one = |(namespace, phase, uid): (&String, &String, &String)| self.chain(namespace, phase, uid, None);
        uids.into_iter().map(one).collect()
    }

    /// What the log has of one phase, which has to end where the phase's status does.
    #[must_use]
    pub fn verify_phase(&self, phase: &MigrationPhase) -> Verified {
        let metadata = phase.metadata.clone();
        let end = phase.status.as_ref().and_then(|status| status.audit.clone()).unwrap_or_default();
        let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
        self.chain(&namespace, &name, &metadata.uid.unwrap_or_default(), Some(&end))
    }

    fn chain(&self, namespace: &str, phase: &str, uid: &str, end: Option<&AuditChain>) -> Verified {
        let of_phase: Vec<_> = self.lines.iter().filter(|line| line.uid == uid).collect();
        let mut findings = Vec::new();
        let mut records: BTreeMap<&str, &Line> = BTreeMap::new();
        let mut repeated = 0;
        for line in of_phase {
            if line.expected_hash() != line.record.hash {
                findings.push(format!(
                    "record {} of {} was changed: its hash does not fit",
                    line.record.sequence, line.record.at
                ));
            } else if records.insert(&line.record.hash, line).is_some() {
                repeated += 1;
            }
        }
        links(&records, &mut findings);
        let followed: BTreeSet<_> = records.values().map(|line| line.record.previous.as_str()).collect();
        let mut last = records
            .values()
            .filter(|line| !followed.contains(line.record.hash.as_str()))
            .max_by_key(|line| (&line.record.at, line.record.sequence))
            .copied();
        if let Some(end) = end {
            last = last_of(&records, &followed, end, last, &mut findings);
        }
        Verified {
            namespace: namespace.to_owned(),
            phase: phase.to_owned(),
            uid: uid.to_owned(),
            records: records.len(),
            repeated,
            last: last.map_or(0, |line| line.record.sequence),
            hash: last.map(|line| line.record.hash.clone()).unwrap_or_default(),
            findings,
        }
    }
}

/// Whether each record follows another, and no two the same.
fn links(records: &BTreeMap<&str, &Line>, findings: &mut Vec<String>) {
    let mut sorted: Vec<_> = records.values().collect();
    sorted.sort_by_key(|line| (line.record.sequence, &line.record.at, &line.record.hash));
    let mut followers: BTreeMap<&str, i64> = BTreeMap::new();
    for line in sorted {
        let AuditRecord { previous, sequence, at, .. } = &line.record;
        let before = match records.get(previous.as_str()) {
            Some(before) => before.record.sequence,
            None if previous.is_empty() => 0,
            None => {
                findings.push(format!("the records before {sequence} of {at} are missing"));
                sequence - 1
            }
        };
        if before != sequence - 1 {
            findings.push(format!("record {sequence} of {at} follows record {before}"));
        }
        let count = followers.entry(previous).or_default();
        *count += 1;
        if *count == 2 && previous.is_empty() {
            findings.push(
                "the chain begins more than once: the phase's status was lost in between, or records were added"
                    .to_owned(),
            );
        } else if *count == 2 {
            let why = "a status was restored from a backup, or records were added";
            findings.push(format!("record {before} is followed by more than one: {why}"));
        }
    }
}

/// The last record of a phase whose status ends in `end`.
fn last_of<'a>(
    records: &BTreeMap<&str, &'a Line>,
    followed: &BTreeSet<&str>,
    end: &AuditChain,
    last: Option<&'a Line>,
    findings: &mut Vec<String>,
) -> Option<&'a Line> {
    let AuditChain { sequence, hash, records: _ } = end;
    let found = records.get(hash.as_str()).copied();
    if found.is_none() && *sequence > 0 {
        let present = last.map_or(0, |line| line.record.sequence);
        findings.push(format!(
            "the last records are missing: the phase's status ends in record {sequence}, and the log in {present}"
        ));
    } else if found.is_none() && last.is_some() {
        findings.push("the phase's status has no record at all: it was lost".to_owned());
    } else if found.is_some_and(|line| followed.contains(line.record.hash.as_str())) {
        findings.push(format!("the log goes on after record {sequence}, where the phase's status ends: it was restored from a backup, or records were added"));
    }
    found.or(last)
}
