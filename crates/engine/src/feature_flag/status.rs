//! What is told of a flag.

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::{
        FeatureFlagSpec, FeatureFlagStatus,
        feature_flag::{FlagState, Published},
    },
};
use jiff::Timestamp;

use super::{
    decide::{Decision, Obstacle, Plan},
    document::config_map_name,
};
use crate::{
    conditions::{Health, Wanted, merge},
    note::{Note, Severity},
};

/// What has to be written to the status before the ConfigMap is: the grant, so that it is ours alone to carry out. `None`
/// when the status has it.
#[must_use]
pub fn intent(previous: &FeatureFlagStatus, plan: &Plan) -> Option<FeatureFlagStatus> {
    let Decision { holder, epoch, .. } = &plan.decision;
    (previous.held_by != *holder || previous.epoch != *epoch).then(|| FeatureFlagStatus {
        held_by: holder.clone(),
        epoch: *epoch,
        ..previous.clone()
    })
}

/// The status to be. `version`: the ConfigMap's `resourceVersion` after it was written. `failure`: what stopped the plan,
/// to be tried again; then nothing of it counts as done. `refusal`: reason and message of a write that was refused.
#[must_use]
pub fn status(
    spec: &FeatureFlagSpec,
    generation: Option<i64>,
    previous: &FeatureFlagStatus,
    decision: &Decision,
    version: Option<&str>,
    stopped: Option<&Stopped>,
    now: Timestamp,
) -> FeatureFlagStatus {
    let (health, reason, message) = match stopped {
        Some(Stopped::Failed(message)) => (Health::Reconciling, reasons::RETRYING, message.clone()),
        Some(Stopped::Refused { reason, message }) => (Health::Stalled, *reason, message.clone()),
        None => health(spec, decision),
    };
    let done = stopped.is_none();
    let in_force = if done { decision.in_force.percent } else { previous.percent };
    let declared = spec.rules.iter().find_map(|rule| rule.percentage.as_ref()).map(|rule| rule.percent);
    let diverged = match (declared, in_force) {
        (Some(declared), Some(in_force)) if declared != in_force => Some((declared, in_force)),
        _ => None,
    };
    let wanted = health.conditions(reason, &message).into_iter().chain([Wanted {
        type_: types::SPEC_DIVERGED,
        status: diverged.map(|_| true),
        reason: reasons::SPEC_DIVERGED,
        message: diverged.map_or(String::new(), |(declared, in_force)| {
            format!("the spec says {declared} %, and {in_force} % is in force: a change of the spec's value counts while no phase holds the flag")
        }),
    }]);
    FeatureFlagStatus {
        observed_generation: generation,
        conditions: merge(&previous.conditions, wanted, generation, now),
        percent: in_force,
        held_spec_percent: if done { decision.in_force.held_spec } else { previous.held_spec_percent },
        held_by: decision.holder.clone(),
        epoch: decision.epoch,
        published: if done { publication(spec, previous, decision, version) } else { previous.published.clone() },
    }
}

/// What stopped a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It is tried again.
    Failed(String),
    /// Trying again does not help.
    Refused {
        /// A constant of [`reasons`].
        reason: &'static str,
        /// What, why, and what to do.
        message: String,
    },
}

/// The version is that of the ConfigMap when this flag's form last changed: other flags' changes are not told here.
fn publication(
    spec: &FeatureFlagSpec,
    previous: &FeatureFlagStatus,
    decision: &Decision,
    version: Option<&str>,
) -> Option<Published> {
    let hash = decision.form.clone()?;
    let config_map = config_map_name(&spec.environment);
    let same = previous.published.as_ref().filter(|last| last.hash == hash && last.config_map == config_map);
    match (same, version) {
        (Some(last), _) => Some(last.clone()),
        (None, version) => Some(Published { config_map, version: version.unwrap_or_default().to_owned(), hash }),
    }
}

fn health(spec: &FeatureFlagSpec, decision: &Decision) -> (Health, &'static str, String) {
    let environment = &spec.environment;
    let missing = format!(
        "spec.environment: there is no Environment {environment} in this namespace: create it, or correct the name"
    );
    match &decision.obstacle {
        Some(Obstacle::Invalid(problems)) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            (Health::Stalled, reasons::INVALID_SPEC, lines.join("; "))
        }
        Some(Obstacle::KeyTaken { key, by }) => (
            Health::Stalled,
            reasons::CONFLICTED,
            format!("spec.key: {key} is the key of the older FeatureFlag {by}: give this one another key"),
        ),
        Some(Obstacle::ForeignConfigMap(name)) => (
            Health::Stalled,
            reasons::CONFLICTED,
            format!(
                "spec.environment: ConfigMap {name} exists and was not made for the flags of {environment}: it is left alone; delete or rename it"
            ),
        ),
        Some(Obstacle::TooLarge(bytes)) => (
            Health::Stalled,
            reasons::INVALID_SPEC,
            format!(
                "spec.variants: with it the flags of {environment} need {bytes} bytes, more than fit in a ConfigMap ({}): make variants smaller, or remove flags",
                super::document::LARGEST
            ),
        ),
        Some(Obstacle::NoEnvironment) => (Health::Reconciling, reasons::REFERENCE_NOT_FOUND, missing),
        Some(Obstacle::EnvironmentGone) => {
            (Health::Reconciling, reasons::REFERENCE_NOT_FOUND, format!("{missing}; what is published stays"))
        }
        Some(Obstacle::NothingToMove { phase, percent }) => (
            Health::Stalled,
            reasons::INVALID_SPEC,
            format!("spec.rules: MigrationPhase {phase} asks for {percent} %, and no rule has a percentage: add one"),
        ),
        Some(Obstacle::Unknown) => {
            (Health::Reconciling, reasons::UNKNOWN_INPUT, "what phases ask is not known yet; everything stays".into())
        }
        Some(Obstacle::Held(phase)) => (
            Health::Reconciling,
            reasons::HELD_BY_PHASE,
            format!("is deleted when MigrationPhase {phase} lets go of it: it moves it now"),
        ),
        None => (Health::Ready, reasons::AS_DECLARED, resting(spec, decision)),
    }
}

fn resting(spec: &FeatureFlagSpec, decision: &Decision) -> String {
    let state = match spec.state {
        FlagState::Enabled => "published",
        FlagState::Disabled => "published as disabled",
    };
    match (decision.in_force.percent, &decision.holder) {
        (Some(percent), Some(holder)) => format!("{state}, {percent} % as MigrationPhase {} asks", holder.phase),
        (Some(percent), None) => format!("{state}, {percent} %"),
        (None, _) => state.to_owned(),
    }
}

/// The transitions between two states that people are told of.
#[must_use]
pub fn notes(previous: &FeatureFlagStatus, next: &FeatureFlagStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let ready = |status: &FeatureFlagStatus| status.conditions.iter().find(|c| c.type_ == types::READY).cloned();
    if let Some(now) = ready(next) {
        let before = ready(previous).map(|before| (before.status, before.reason));
        if before.as_ref() != Some(&(now.status, now.reason.clone())) {
            let stalled = next.conditions.iter().any(|condition| condition.type_ == types::STALLED);
            notes.push(Note {
                severity: if stalled { Severity::Warning } else { Severity::Normal },
                reason: known_reason(&now.reason),
                action: "Reconcile",
                message: now.message,
            });
        }
    }
    if let (Some(before), Some(after)) = (previous.percent, next.percent)
        && before != after
    {
        let by = next.held_by.as_ref().map_or(String::new(), |holder| format!(" for MigrationPhase {}", holder.phase));
        notes.push(Note {
            severity: Severity::Normal,
            reason: reasons::APPLIED,
            action: if after > before { "Raise" } else { "Lower" },
            message: format!("{before} % → {after} %{by}"),
        });
    }
    notes
}

/// The constant that a condition's reason is.
fn known_reason(reason: &str) -> &'static str {
    [
        reasons::INVALID_SPEC,
        reasons::CONFLICTED,
        reasons::FORBIDDEN,
        reasons::REFERENCE_NOT_FOUND,
        reasons::UNKNOWN_INPUT,
        reasons::HELD_BY_PHASE,
        reasons::RETRYING,
    ]
    .into_iter()
    .find(|known| *known == reason)
    .unwrap_or(reasons::AS_DECLARED)
}
