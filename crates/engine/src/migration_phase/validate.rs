//! A spec that can be carried out. What CEL has judged at admission is judged here again: an object may have been stored under older
//! rules. References to other objects are not looked at: whether these exist changes, and is a matter of `decide`.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::v1alpha1::{MigrationPhaseSpec, migration_phase::Step, traffic_split::Exposure};

use super::{checks::query, gates::calendar::Calendar, observed::PhaseIdentity};

/// The most splits, and the most flags, that one phase can move: status lists no more.
const MAX_MOVED: usize = 64;

/// A spec in which every field makes sense together with the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    spec: MigrationPhaseSpec,
    calendar: Calendar,
}

impl Validated {
    /// The spec.
    #[must_use]
    pub const fn spec(&self) -> &MigrationPhaseSpec {
        &self.spec
    }

    /// Its windows and freezes.
    pub(super) const fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The step at `index`.
    #[must_use]
    pub fn step(&self, index: usize) -> Option<&Step> {
        self.spec.steps.get(index)
    }

    /// The step of that name, and where it is now.
    #[must_use]
    pub fn step_named(&self, name: &str) -> Option<(usize, &Step)> {
        self.spec.steps.iter().enumerate().find(|(_, step)| step.name == name)
    }

    /// Every split that a step moves.
    #[must_use]
    pub fn splits(&self) -> BTreeSet<&str> {
        self.spec.steps.iter().flat_map(|step| &step.traffic).map(|target| target.split.as_str()).collect()
    }

    /// Every flag that a step moves.
    #[must_use]
    pub fn flags(&self) -> BTreeSet<&str> {
        self.spec.steps.iter().flat_map(|step| &step.flags).map(|target| target.flag.as_str()).collect()
    }
}

/// A spec that cannot be carried out.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", self.summary())]
pub struct Invalid {
    /// What is wrong, in the order of the fields. Never empty.
    pub problems: Vec<Problem>,
}

impl Invalid {
    fn summary(&self) -> String {
        self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {message}")]
pub struct Problem {
    /// Path of the field, such as `spec.steps[1].traffic[0].newWeight`.
    pub field: String,
    /// What is wrong and what to write.
    pub message: String,
}

/// Judges the spec of the phase.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate(phase: &PhaseIdentity, spec: &MigrationPhaseSpec) -> Result<Validated, Invalid> {
    let mut found = Problems(Vec::new());
    if spec.steps.is_empty() {
        found.add("spec.steps", "a phase needs at least one step");
    }
    found.repeated("spec.steps", "step", spec.steps.iter().map(|step| step.name.as_str()));
    found.repeated("spec.checks", "check", spec.checks.iter().map(|check| check.name.as_str()));
    steps(spec, &mut found);
    checks(phase, spec, &mut found);
    if spec.gates.as_ref().is_some_and(|gates| gates.components_ready) && spec.environment.is_none() {
        found.add("spec.gates.componentsReady", "it looks at the components of an environment: set spec.environment");
    }
    for (field, length) in [("shiftTimeout", spec.shift_timeout), ("rollback.timeout", spec.rollback.timeout)] {
        if length.as_secs() == 0 {
            found.add(format!("spec.{field}"), "nothing can follow in no time: write at least 1s");
        }
    }
    let calendar = spec.gates.as_ref().map(Calendar::of).transpose().unwrap_or_else(|problems| {
        found.0.extend(problems);
        None
    });
    if !found.0.is_empty() {
        return Err(Invalid { problems: found.0 });
    }
    Ok(Validated { spec: spec.clone(), calendar: calendar.unwrap_or_default() })
}

fn steps(spec: &MigrationPhaseSpec, found: &mut Problems) {
    let mut weights: BTreeMap<&str, i32> = BTreeMap::new();
    let mut percents: BTreeMap<&str, i32> = BTreeMap::new();
    for (i, step) in spec.steps.iter().enumerate() {
        let path = format!("spec.steps[{i}]");
        if step.traffic.is_empty() && step.flags.is_empty() {
            found.add(&path, "a step moves at least one split or flag");
        }
        found.repeated(format!("{path}.traffic"), "split", step.traffic.iter().map(|t| t.split.as_str()));
        found.repeated(format!("{path}.flags"), "flag", step.flags.iter().map(|t| t.flag.as_str()));
        for (j, target) in step.traffic.iter().enumerate() {
            let path = format!("{path}.traffic[{j}]");
            rising(&mut weights, &target.split, target.new_weight, &format!("{path}.newWeight"), found);
            if target.exposure == Some(Exposure::Hidden) {
                found.add(format!("{path}.exposure"), "a phase moves forward only: write Exposed or leave it out");
            }
        }
        for (j, target) in step.flags.iter().enumerate() {
            rising(&mut percents, &target.flag, target.percent, &format!("{path}.flags[{j}].percent"), found);
            if target.percent > 100 {
                found.add(format!("{path}.flags[{j}].percent"), "a percentage is at most 100");
            }
        }
    }
    for (what, count) in [("splits", weights.len()), ("flags", percents.len())] {
        if count > MAX_MOVED {
            found.add("spec.steps", format!("one phase moves at most {MAX_MOVED} {what}: make several phases of it"));
        }
    }
}

fn rising<'a>(last: &mut BTreeMap<&'a str, i32>, name: &'a str, value: i32, field: &str, found: &mut Problems) {
    if value < 0 {
        found.add(field, "must not be negative");
    }
    if let Some(before) = last.insert(name, value).filter(|before| value < *before) {
        found.add(field, format!("{name} falls from {before} to {value}: a phase moves forward only, use Rollback"));
    }
}

fn checks(phase: &PhaseIdentity, spec: &MigrationPhaseSpec, found: &mut Problems) {
    if !spec.checks.is_empty() && spec.environment.is_none() {
        found.add("spec.environment", "checks ask the Prometheus of an environment: set it");
    }
    for (i, check) in spec.checks.iter().enumerate() {
        let path = format!("spec.checks[{i}]");
        match (&check.min, &check.max) {
            (None, None) => found.add(&path, "a check needs min, max or both: without a bound it cannot fail"),
            (Some(min), Some(max)) if min.value() > max.value() => {
                found.add(format!("{path}.min"), format!("{min} is more than max, {max}: no value could pass"));
            }
            _ => {}
        }
        if check.interval.as_secs() == 0 {
            found.add(format!("{path}.interval"), "write at least 1s");
        }
        let environment = spec.environment.as_deref().unwrap_or("none");
        if let Err(error) = query::substitute(&check.prometheus.query, phase, environment) {
            found.add(format!("{path}.prometheus.query"), error.to_string());
        }
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }

    fn repeated<'a>(&mut self, field: impl Into<String>, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = names.filter(|name| !seen.insert(*name)).collect();
        if let Some(name) = twice.first() {
            self.add(field, format!("there are two of the {what} {name}: each name once"));
        }
    }
}
