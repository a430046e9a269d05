//! A spec that can be carried out. What CEL has judged at admission is judged here again: an object may have been stored under older
//! rules. References to other objects are not looked at: whether these exist changes, and is a matter of `decide`.

use std::collections::{BTreeMap, BTreeSet};

use cutover_api::v1alpha1::{
    MigrationPhaseSpec,
    migration_phase::{Check, Step},
    traffic_split::Exposure,
};
use jiff::Timestamp;

use super::{
    checks::{
        condition::Condition,
        defaults::by_default,
        probe::{self, Unusable},
    },
    finish::window_is_long_enough,
    gates::{approvals, calendar::Calendar},
    observed::PhaseIdentity,
};
use crate::job::unfit;

/// The most splits, and the most flags, that one phase can move: status lists no more.
const MAX_MOVED: usize = 64;

/// A spec in which every field makes sense together with the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    spec: MigrationPhaseSpec,
    calendar: Calendar,
    work: Option<String>,
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

    /// What is to be done, as a hash; `None` where that depends on the environment, which has the checks.
    pub(super) fn work(&self) -> Option<&str> {
        self.work.as_deref()
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
    hooks(spec, &mut found);
    finish(phase, spec, &mut found);
    if spec.gates.as_ref().is_some_and(|gates| gates.components_ready) && spec.environment.is_none() {
        found.add("spec.gates.componentsReady", "it looks at the components of an environment: set spec.environment");
    }
    let schema = spec.gates.as_ref().and_then(|gates| gates.schema);
    if schema.is_some() && spec.environment.is_none() {
        found.add("spec.gates.schema", "it is about the database of an environment: set spec.environment");
    }
    if schema.is_some_and(|range| range.min.zip(range.max).is_some_and(|(min, max)| max < min)) {
        found.add("spec.gates.schema.min", "more than max: no version fits");
    }
    if spec.gates.as_ref().is_some_and(|gates| !gates.checklist.is_empty()) && spec.environment.is_none() {
        found.add("spec.gates.checklist", "it is that of an environment: set spec.environment");
    }
    let promoted = spec.gates.as_ref().and_then(|gates| gates.promoted_from.as_ref());
    if promoted.is_some() && spec.environment.is_none() {
        found.add("spec.gates.promotedFrom", "it compares images of an environment: set spec.environment");
    }
    if promoted.is_some_and(|from| {
        from.phase == phase.name && from.namespace.as_ref().is_none_or(|namespace| *namespace == phase.namespace)
    }) {
        found.add("spec.gates.promotedFrom.phase", "a phase cannot wait for itself: name another");
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
    // Where the environment has the checks, that is hashed when they are known.
    let work = (!by_default(spec)).then(|| approvals::work(spec, &spec.checks));
    Ok(Validated { spec: spec.clone(), calendar: calendar.unwrap_or_default(), work })
}

fn finish(phase: &PhaseIdentity, spec: &MigrationPhaseSpec, found: &mut Problems) {
    let Some(retire) = spec.finish.as_ref().map(|finish| &finish.retire_legacy) else { return };
    if spec.environment.is_none() {
        found.add("spec.finish", "it asks the Prometheus of an environment: set spec.environment");
    }
    if !window_is_long_enough(retire) {
        let message = format!("it has to be longer than two intervals of {}", retire.interval);
        found.add("spec.finish.retireLegacy.window", message);
    }
    let splits = spec.steps.iter().flat_map(|step| &step.traffic).map(|target| target.split.as_str()).collect();
    let sources = probe::Sources {
        phase,
        environment: spec.environment.as_deref(),
        splits: &splits,
        since: Timestamp::UNIX_EPOCH,
        attempt: 1,
        step: "",
    };
    if let Err(Unusable { field, why }) = sources.counted(&retire.requests) {
        found.add(format!("spec.finish.retireLegacy.{field}"), why);
    }
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
    let asks = |check: &Check| check.prometheus.is_some() || check.compare.is_some();
    if spec.checks.iter().any(asks) && spec.environment.is_none() {
        found.add("spec.environment", "checks ask the Prometheus of an environment: set it");
    }
    let splits = spec.steps.iter().flat_map(|step| &step.traffic).map(|target| target.split.as_str()).collect();
    let environment = Some(spec.environment.as_deref().unwrap_or("none"));
    let sources =
        probe::Sources { phase, environment, splits: &splits, since: Timestamp::UNIX_EPOCH, attempt: 1, step: "" };
    for (i, check) in spec.checks.iter().enumerate() {
        let path = format!("spec.checks[{i}]");
        bounds(check, &path, found);
        if check.interval.as_secs() == 0 {
            found.add(format!("{path}.interval"), "write at least 1s");
        }
        if let Err(Unusable { field, why }) = sources.probe(check) {
            let dot = if field.is_empty() { "" } else { "." };
            found.add(format!("{path}{dot}{field}"), why);
        }
    }
}

fn bounds(check: &Check, path: &str, found: &mut Problems) {
    let given = check.min.is_some() || check.max.is_some() || check.condition.is_some();
    if check.prometheus.is_some() && !given {
        found.add(path, "a check needs min, max or both, or a condition: without a bound it cannot fail");
    }
    if check.compare.is_some() && given {
        found.add(path, "compare takes no min, max or condition: its bound is margin");
    }
    if check.webhook.is_some() && given {
        found.add(path, "webhook takes no min, max or condition: who is asked judges");
    }
    if check.job.is_some() && given {
        found.add(path, "job takes no min, max or condition: it passes when it ends well");
    }
    for (field, why) in check.job.iter().flat_map(|asked| unfit(&asked.spec)) {
        found.add(format!("{path}.job.spec.{field}"), why);
    }
    if let (Some(min), Some(max)) = (&check.min, &check.max)
        && min.value() > max.value()
    {
        found.add(format!("{path}.min"), format!("{min} is more than max, {max}: no value could pass"));
    }
    if let Some(condition) = &check.condition {
        if check.min.is_some() || check.max.is_some() {
            found.add(path, "give either a condition, or min and max");
        }
        if let Err(why) = Condition::compile(condition) {
            found.add(format!("{path}.condition"), why);
        }
    }
    if check.compare.is_none() && (check.significance.is_some() || check.min_samples.is_some()) {
        found.add(path, "significance and minSamples belong to compare");
    }
    if let Some(significance) = check.significance.as_ref().filter(|s| s.value() <= 0.0 || s.value() > 0.5) {
        found.add(format!("{path}.significance"), format!("{significance} is not more than 0 and at most 0.5"));
    }
    let margin = check.compare.as_ref().and_then(|compare| compare.margin.as_ref());
    if let Some(margin) = margin.filter(|margin| !(0.0..1.0).contains(&margin.value())) {
        found.add(format!("{path}.compare.margin"), format!("{margin} is not a share: at least 0, less than 1"));
    }
}

fn hooks(spec: &MigrationPhaseSpec, found: &mut Problems) {
    let phase = spec.hooks.clone().unwrap_or_default();
    let of_phase = [("before", &phase.before), ("after", &phase.after), ("onRollback", &phase.on_rollback)];
    let lists = of_phase.map(|(point, list)| (format!("spec.hooks.{point}"), list));
    let of_steps = spec.steps.iter().enumerate().map(|(i, step)| (format!("spec.steps[{i}].hooks"), &step.hooks));
    let mut versions = BTreeSet::new();
    for (path, list) in lists.into_iter().chain(of_steps) {
        found.repeated(&path, "hook", list.iter().map(|hook| hook.name.as_str()));
        for (i, hook) in list.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if hook.timeout.as_secs() == 0 {
                found.add(format!("{path}.timeout"), "nothing can run in no time: write at least 1s");
            }
            for (field, why) in unfit(&hook.job) {
                found.add(format!("{path}.job.{field}"), why);
            }
            let Some(migration) = &hook.migration else { continue };
            let path = format!("{path}.migration");
            if spec.environment.is_none() {
                found.add(&path, "it is about the database of an environment: set spec.environment");
            }
            if path.starts_with("spec.hooks.after") || path.starts_with("spec.hooks.onRollback") {
                found.add(&path, "a migration belongs before the first step or into a step");
            }
            if !versions.insert(migration.version) {
                found.add(format!("{path}.version"), "another hook leads to this version: each is migrated to once");
            }
            for (field, why) in migration.down.iter().flat_map(unfit) {
                found.add(format!("{path}.down.{field}"), why);
            }
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
