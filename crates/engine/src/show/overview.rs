//! The state of a migration as one value: environments, their phases, the phases' steps, and what the steps move. It is what
//! `kubectl cutover status -o json` prints.

use cutover_api::v1alpha1::{
    Environment, FeatureFlag, MigrationPhase, TrafficSplit,
    migration_phase::{Blocker, CheckState, Failure, PhaseState, Stage, Step},
    traffic_split::Exposure,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Serialize;

/// The objects of which the state is made.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Environments.
    pub environments: Vec<Environment>,
    /// Phases.
    pub phases: Vec<MigrationPhase>,
    /// Splits.
    pub splits: Vec<TrafficSplit>,
    /// Flags.
    pub flags: Vec<FeatureFlag>,
}

/// The state of everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// By namespace and name; phases without an environment come last in their namespace.
    pub environments: Vec<EnvironmentState>,
}

/// An environment and its phases.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentState {
    /// Namespace.
    pub namespace: String,
    /// Name; absent for phases that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is ready; absent while nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Components that are not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ready: Vec<String>,
    /// Its phases, those that come after others below them.
    pub phases: Vec<PhaseSummary>,
}

/// A phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseSummary {
    /// Name.
    pub name: String,
    /// State.
    pub state: PhaseState,
    /// Attempt.
    pub attempt: i32,
    /// Index of the present step, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// Stage of the present step, while the phase is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Since when it has been in this stage, or at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whether its controller has seen the present spec.
    pub current: bool,
    /// Why it stands where it does, if something failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<Blocker>,
    /// Its checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSummary>,
    /// Its steps.
    pub steps: Vec<StepSummary>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSummary {
    /// Name.
    pub name: String,
    /// How far it is.
    pub progress: Progress,
    /// What it moves.
    pub moves: Vec<Moved>,
    /// Approvals given in this attempt.
    pub approvals: usize,
    /// Approvals asked for.
    pub approvals_required: i32,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Progress {
    /// Its turn was.
    Done,
    /// It is the present one.
    Present,
    /// Its turn comes.
    ToCome,
}

/// A split or flag of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// `TrafficSplit` or `FeatureFlag`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Weight of the new side, or percentage, that the step asks for.
    pub target: i32,
    /// What is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i32>,
    /// What it is a share of.
    pub of: i32,
    /// Whether the split has no routes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Ready endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadySides>,
    /// Why it cannot go on, or that it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Ready endpoints of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadySides {
    /// Of the legacy side; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy: Option<i32>,
    /// Of the new side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<i32>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckSummary {
    /// Name.
    pub name: String,
    /// Outcome of its last run.
    pub state: CheckState,
    /// Value of its last run that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Failures in a row.
    pub consecutive_failures: i32,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The state of everything, or of one phase.
#[must_use]
pub fn overview(objects: &Objects, only: Option<&str>) -> Overview {
    let mut keys: Vec<(String, Option<String>)> = Vec::new();
    if only.is_none() {
        keys.extend(objects.environments.iter().map(|e| (namespace(&e.metadata), e.metadata.name.clone())));
    }
    let phases: Vec<_> =
        objects.phases.iter().filter(|p| only.is_none() || p.metadata.name.as_deref() == only).collect();
    keys.extend(phases.iter().map(|p| (namespace(&p.metadata), p.spec.environment.clone())));
    // Those without a name last.
    keys.sort_by(|a, b| (&a.0, a.1.is_none(), &a.1).cmp(&(&b.0, b.1.is_none(), &b.1)));
    keys.dedup();
    let environments = keys.into_iter().map(|(space, name)| {
        let found = objects.environments.iter().find(|e| namespace(&e.metadata) == space && e.metadata.name == name);
        let status = found.filter(|_| name.is_some()).and_then(|environment| environment.status.as_ref());
        let mine = phases.iter().filter(|p| namespace(&p.metadata) == space && p.spec.environment == name);
        EnvironmentState {
            ready: status.and_then(|status| ready(&status.conditions)),
            not_ready: status
                .map(|status| status.components.iter().filter(|c| !c.ready).map(|c| c.name.clone()).collect())
                .unwrap_or_default(),
            phases: in_order(mine.copied().collect()).into_iter().map(|phase| summary(phase, objects)).collect(),
            namespace: space,
            name,
        }
    });
    Overview { environments: environments.collect() }
}

/// By what they come after, then by name.
fn in_order(mut phases: Vec<&MigrationPhase>) -> Vec<&MigrationPhase> {
    phases.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut ordered: Vec<&MigrationPhase> = Vec::new();
    while !phases.is_empty() {
        let open = |name: &String| phases.iter().any(|phase| phase.metadata.name.as_ref() == Some(name));
        // In a cycle nothing is free: the first by name then.
        let next = phases.iter().position(|phase| !phase.spec.after.iter().any(open)).unwrap_or_default();
        ordered.push(phases.remove(next));
    }
    ordered
}

fn summary(phase: &MigrationPhase, objects: &Objects) -> PhaseSummary {
    let status = phase.status.clone().unwrap_or_default();
    let state = status.state.unwrap_or_default();
    let under_way = matches!(state, PhaseState::Running | PhaseState::Paused | PhaseState::Frozen);
    let step = status.step.as_ref();
    let at = step.and_then(|step| usize::try_from(step.index).ok());
    let steps = phase.spec.steps.iter().enumerate().map(|(i, step)| StepSummary {
        name: step.name.clone(),
        progress: match at {
            _ if state == PhaseState::Completed => Progress::Done,
            Some(at) if i < at => Progress::Done,
            Some(at) if i == at => Progress::Present,
            _ => Progress::ToCome,
        },
        moves: moves(step, namespace(&phase.metadata).as_str(), objects),
        approvals: status.approvals.iter().filter(|record| record.step.as_ref() == Some(&step.name)).count(),
        approvals_required: step.approval.as_ref().map_or(0, |approval| approval.required),
    });
    let since = if state.holds() { step.map(|step| &step.started_at) } else { status.finished_at.as_ref() };
    PhaseSummary {
        name: phase.metadata.name.clone().unwrap_or_default(),
        state,
        attempt: status.attempt.unwrap_or(1),
        step: step.map(|step| step.index),
        stage: step.map(|step| step.stage).filter(|_| under_way),
        since: since.map(|at| at.0),
        current: status.observed_generation.is_some() && status.observed_generation == phase.metadata.generation,
        steps: steps.collect(),
        failure: status.failure,
        blocked_by: status.blocked_by,
        checks: status
            .checks
            .into_iter()
            .map(|check| CheckSummary {
                name: check.name,
                state: check.state,
                value: check.value,
                consecutive_failures: check.consecutive_failures,
                message: check.message,
            })
            .collect(),
    }
}

fn moves(step: &Step, space: &str, objects: &Objects) -> Vec<Moved> {
    let is = |meta: &ObjectMeta, name: &str| meta.name.as_deref() == Some(name) && namespace(meta) == space;
    let splits = step.traffic.iter().map(|target| {
        let split = objects.splits.iter().find(|split| is(&split.metadata, &target.split));
        let status = split.and_then(|split| split.status.as_ref());
        let endpoints = status.and_then(|status| status.endpoints.as_ref());
        Moved {
            kind: "TrafficSplit",
            name: target.split.clone(),
            target: target.new_weight,
            now: status.and_then(|status| status.applied_weight),
            of: split.map_or(100, |split| split.spec.weight_total),
            hidden: status.is_some_and(|status| status.exposure == Some(Exposure::Hidden)),
            ready: endpoints.map(|ends| ReadySides {
                legacy: ends.legacy.map(|side| side.ready),
                new: ends.new.map(|side| side.ready),
            }),
            trouble: trouble(split.is_some(), status.map(|status| status.conditions.as_slice())),
        }
    });
    let flags = step.flags.iter().map(|target| {
        let flag = objects.flags.iter().find(|flag| is(&flag.metadata, &target.flag));
        let status = flag.and_then(|flag| flag.status.as_ref());
        Moved {
            kind: "FeatureFlag",
            name: target.flag.clone(),
            target: target.percent,
            now: status.and_then(|status| status.percent),
            of: 100,
            hidden: false,
            ready: None,
            trouble: trouble(flag.is_some(), status.map(|status| status.conditions.as_slice())),
        }
    });
    splits.chain(flags).collect()
}

fn trouble(there: bool, conditions: Option<&[Condition]>) -> Option<String> {
    if !there {
        return Some("it is not there: create it".to_owned());
    }
    let stalled = conditions?.iter().find(|condition| condition.type_ == "Stalled" && condition.status == "True")?;
    Some(format!("{}: {}", stalled.reason, stalled.message))
}

fn ready(conditions: &[Condition]) -> Option<bool> {
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status == "True")
}

fn namespace(meta: &ObjectMeta) -> String {
    meta.namespace.clone().unwrap_or_default()
}

/// How long ago, or how long to go.
pub(super) fn distance(from: Timestamp, to: Timestamp) -> String {
    super::length(to.duration_since(from).max(SignedDuration::ZERO))
}
