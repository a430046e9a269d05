//! Decisions: a PhaseAction about what the phase is now, by who asks, and what becomes of it.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use cutover_api::v1alpha1::{
    MigrationPhase, PhaseAction,
    migration_phase::{PhaseState, StepApproval},
    phase_action::{ActionKind, ActionState, PhaseActionStatus},
};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::{ResourceExt, api::PostParams, runtime::wait::await_condition};
use serde_json::{Map, Value, json};

use crate::{
    args::{Act, Approve, Connection, Pause, Promote, Rollback, Target},
    cluster::{Cluster, unreadable},
    exit::{Exit, Failure},
    output,
};

pub(crate) async fn approve(connection: Connection, what: Approve) -> Result<Exit> {
    let asking = Asking::about(connection, ActionKind::Approve, what.act).await?;
    let status = asking.phase.status.as_ref();
    let present = status.and_then(|status| status.step.as_ref()).map(|step| step.name.clone());
    let name = asking.phase.name_any();
    let mut more = Map::new();
    let step = if what.start { None } else { what.step.or(present) };
    let asked = match &step {
        Some(step) => {
            more.insert("step".to_owned(), json!(step));
            asking.phase.spec.steps.iter().find(|known| known.name == *step).and_then(|step| step.approval.as_ref())
        }
        // Before the first step it is the start that is approved.
        None => asking.phase.spec.gates.as_ref().and_then(|gates| gates.approvals.as_ref()),
    };
    let subject = status.and_then(|status| status.approval_subject.as_ref());
    if step.is_none() && (subject.is_none() || asked.is_none()) {
        return Err(Failure::rejected(format!(
            "phase {name} is in no step, and its start awaits no approval: see `kubectl cutover status {name}`"
        )));
    }
    // What is approved is what is there now: should it change before the approval arrives, that one is rejected.
    if let Some(subject) = subject {
        more.insert("subjectHash".to_owned(), json!(subject));
    }
    let what_for = step.map_or_else(|| "the start".to_owned(), |step| format!("step {step}"));
    let groups = if what.groups.is_empty() { asking.groups_for(&what_for, asked)? } else { what.groups };
    more.insert("groups".to_owned(), json!(groups));
    if let Some(length) = what.valid_for {
        more.insert("expiresAt".to_owned(), json!(whole(Timestamp::now().checked_add(length.signed())?)?));
    }
    asking.ask(more).await.map(|()| Exit::Done)
}

pub(crate) async fn promote(connection: Connection, what: Promote) -> Result<Exit> {
    let asking = Asking::about(connection, ActionKind::Promote, what.act).await?;
    let status = asking.phase.status.as_ref();
    // The step is named, so that none but the one that was looked at is promoted; of a completed phase none is, to retire legacy.
    let under_way = status.filter(|status| status.state != Some(PhaseState::Completed));
    let present = under_way.and_then(|status| status.step.as_ref()).map(|step| step.name.clone());
    let more = what.step.or(present).map(|step| ("step".to_owned(), json!(step)));
    asking.ask(more.into_iter().collect()).await.map(|()| Exit::Done)
}

pub(crate) async fn pause(connection: Connection, what: Pause) -> Result<Exit> {
    let until = match (what.until, what.length) {
        (Some(until), _) => Some(until),
        (None, Some(length)) => Some(Timestamp::now().checked_add(length.signed())?),
        (None, None) => None,
    };
    let mut more = Map::new();
    if let Some(until) = until {
        more.insert("until".to_owned(), json!(whole(until)?));
    }
    Asking::about(connection, ActionKind::Pause, what.act).await?.ask(more).await.map(|()| Exit::Done)
}

pub(crate) async fn resume(connection: Connection, what: Act) -> Result<Exit> {
    Asking::about(connection, ActionKind::Resume, what).await?.ask(Map::new()).await.map(|()| Exit::Done)
}

pub(crate) async fn abort(connection: Connection, what: Act) -> Result<Exit> {
    Asking::about(connection, ActionKind::Abort, what).await?.ask(Map::new()).await.map(|()| Exit::Done)
}

pub(crate) async fn retry(connection: Connection, what: Act) -> Result<Exit> {
    Asking::about(connection, ActionKind::Retry, what).await?.ask(Map::new()).await.map(|()| Exit::Done)
}

pub(crate) async fn rollback(connection: Connection, what: Rollback) -> Result<Exit> {
    let mut more = Map::new();
    if let Some(to) = what.to {
        let to = match to {
            Target::Baseline => "Baseline",
            Target::PreviousStep => "PreviousStep",
            Target::Legacy => "Legacy",
        };
        more.insert("to".to_owned(), json!(to));
    }
    if what.force {
        more.insert("force".to_owned(), json!(true));
    }
    let asking = Asking::about(connection, ActionKind::Rollback, what.act).await?;
    asking.ask(more).await?;
    if what.until_done { asking.until_back().await } else { Ok(Exit::Done) }
}

/// A decision in the making.
struct Asking {
    cluster: Cluster,
    phase: MigrationPhase,
    who: UserInfo,
    action: ActionKind,
    act: Act,
    reason: String,
}

impl Asking {
    async fn about(connection: Connection, action: ActionKind, act: Act) -> Result<Self> {
        let cluster = Cluster::connect(connection).await?;
        let phase = cluster.phase(&act.phase).await?;
        let who = cluster.whoami().await?;
        let reason = match &act.reason {
            Some(reason) => reason.trim().to_owned(),
            None => prompt(action, &act.phase)?,
        };
        if reason.is_empty() {
            return Err(Failure::usage(
                "a reason is needed, for the record: --reason \"dashboards looked at, ticket 4711\"",
            ));
        }
        Ok(Self { cluster, phase, who, action, act, reason })
    }

    /// Those of the caller's groups that the approval asks for.
    fn groups_for(&self, what: &str, approval: Option<&StepApproval>) -> Result<Vec<String>> {
        let Some(wanted) = approval.map(|approval| &approval.groups).filter(|groups| !groups.is_empty()) else {
            return Ok(Vec::new());
        };
        let mine = self.who.groups.clone().unwrap_or_default();
        let common: Vec<_> = wanted.iter().filter(|group| mine.contains(group)).cloned().collect();
        if common.is_empty() {
            let (who, wanted) = (self.user(), wanted.join(" or "));
            return Err(Failure::rejected(format!(
                "{what} is approved by members of {wanted}, and {who} is in none of them: ask one of them"
            )));
        }
        Ok(common)
    }

    fn user(&self) -> &str {
        self.who.username.as_deref().unwrap_or_default()
    }

    /// Creates the action, waits, and says what became of it.
    async fn ask(&self, more: Map<String, Value>) -> Result<()> {
        let verb = self.action.verb();
        let status = self.phase.status.clone().unwrap_or_default();
        let mut spec = json!({
            "phase": self.phase.name_any(),
            "phaseUID": self.phase.uid().unwrap_or_default(),
            "attempt": status.attempt.unwrap_or(1),
            "action": self.action,
            "requestedBy": self.user(),
            "reason": self.reason,
        });
        if let Some(spec) = spec.as_object_mut() {
            spec.extend(more);
        }
        let action: PhaseAction = serde_json::from_value(json!({
            "apiVersion": "cutover.dev/v1alpha1",
            "kind": "PhaseAction",
            "metadata": {"generateName": format!("{verb}-")},
            "spec": spec,
        }))?;
        let actions = self.cluster.api::<PhaseAction>(false);
        let made = actions.create(&PostParams::default(), &action).await.map_err(|error| refused(&error))?;
        let name = made.name_any();
        if self.act.timeout.is_zero() {
            return self.tell(&made, &format!("phaseaction.cutover.dev/{name} is made; its outcome is not awaited"));
        }
        let settled = |action: Option<&PhaseAction>| action.is_some_and(|action| outcome(action).is_some());
        let waiting = await_condition(actions, &name, settled);
        let Ok(seen) = tokio::time::timeout(self.act.timeout, waiting).await else {
            return Err(Failure::timed_out(format!(
                "phaseaction.cutover.dev/{name}: no outcome after {:?}: does the operator run? It may still take effect: `kubectl get paction {name}`",
                self.act.timeout
            )));
        };
        let seen = seen.context("what becomes of it cannot be watched")?.unwrap_or(made);
        let PhaseActionStatus { state, reason, message, .. } = seen.status.clone().unwrap_or_default();
        let (reason, message) = (reason.unwrap_or_default(), message.unwrap_or_default());
        match state {
            Some(ActionState::Accepted) => self.tell(&seen, &format!("{verb} {}: {message}", self.act.phase)),
            state => {
                if let Some(format) = self.act.output {
                    output::data(&seen, format)?;
                }
                let state = state.map(|state| format!("{state:?}")).unwrap_or_default();
                Err(Failure::rejected(format!("{verb} {} is {state} ({reason}): {message}", self.act.phase)))
            }
        }
    }

    fn tell(&self, action: &PhaseAction, text: &str) -> Result<()> {
        match self.act.output {
            Some(format) => output::data(action, format),
            None => output::print(&format!("{text}\n")),
        }
    }

    /// Waits until the way back is over.
    async fn until_back(&self) -> Result<Exit> {
        let name = &self.act.phase;
        let over = |phase: Option<&MigrationPhase>| state(phase).is_none_or(|state| state != PhaseState::RollingBack);
        let timeout = if self.act.timeout.is_zero() { Duration::from_secs(600) } else { self.act.timeout };
        let waiting = await_condition(self.cluster.api::<MigrationPhase>(false), name, over);
        let Ok(phase) = tokio::time::timeout(timeout, waiting).await else {
            return Err(Failure::timed_out(format!(
                "phase {name} is still on its way back after {timeout:?}: `kubectl cutover status -w {name}`"
            )));
        };
        let phase = phase.context("the phase cannot be watched")?;
        match state(phase.as_ref()) {
            Some(PhaseState::RolledBack) => {
                if self.act.output.is_none() {
                    output::print(&format!("phase {name} is rolled back\n"))?;
                }
                Ok(Exit::Done)
            }
            Some(other) => {
                let holds = phase.and_then(|phase| phase.status).map(|status| status.blocked_by).unwrap_or_default();
                let why: Vec<_> = holds.into_iter().map(|hold| hold.message).collect();
                Err(anyhow!("phase {name} is {}, not back: {}", other.as_str(), why.join("; ")))
            }
            None => Err(anyhow!("phase {name} is no more")),
        }
    }
}

fn state(phase: Option<&MigrationPhase>) -> Option<PhaseState> {
    phase.map(|phase| phase.status.as_ref().and_then(|status| status.state).unwrap_or_default())
}

fn outcome(action: &PhaseAction) -> Option<ActionState> {
    action.status.as_ref().and_then(|status| status.state)
}

/// Refusals by policy or by rights are rejections; everything else is an error.
fn refused(error: &kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if matches!(status.code, 403 | 422) => Failure::rejected(status.message.clone()),
        other => unreadable(other),
    }
}

/// The API server's instants have no fractions.
fn whole(instant: Timestamp) -> Result<String> {
    Ok(Timestamp::from_second(instant.as_second())?.to_string())
}

fn prompt(action: ActionKind, phase: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("--reason is needed where nobody can be asked for it"));
    }
    let mut err = io::stderr().lock();
    write!(err, "Why {} {phase}? ", action.verb())?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("no reason was read")?;
    Ok(line.trim().to_owned())
}
