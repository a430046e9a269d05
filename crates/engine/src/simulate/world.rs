//! The simulated world of one namespace: a virtual clock that jumps from one instant at which something happens to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        MigrationPhaseSpec, MigrationPhaseStatus, PhaseActionSpec,
        migration_phase::{Check, HookState, MigrationDirection, PhaseState, Stage, Step, StepApproval},
        phase_action::ActionKind,
        traffic_split::Exposure,
    },
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Assumptions, Manifests,
    actors::{Asking, SimFlag, SimSplit},
    checks,
    forecast::{Change, Forecast, PhaseForecast, StepForecast, Wait},
    gates::Surroundings,
    meta::{name_of, namespace_of},
};
use crate::{
    Known,
    conditions::whole_seconds,
    migration_phase::{
        ActionView, ActiveCheck, EnvironmentView, HookView, Invalid, Measurement, MigrationView, Observed,
        PhaseIdentity, PredecessorView, Validated, WATCH, decide, validate,
    },
};

/// Passes within one instant: far more than a world that comes to rest needs.
const MOST_PASSES: usize = 1_000;
/// Instants of one simulation.
const MOST_INSTANTS: usize = 100_000;

fn in_force(status: &MigrationPhaseStatus) -> &[Check] {
    status.last_valid.as_ref().map(|guards| guards.checks.as_slice()).unwrap_or_default()
}

#[derive(Clone)]
pub(super) struct SimPhase {
    pub identity: PhaseIdentity,
    pub spec: MigrationPhaseSpec,
    pub status: MigrationPhaseStatus,
    pub actions: Vec<ActionView>,
    pub forecast: PhaseForecast,
    pub checks: Vec<ActiveCheck>,
    valid: Result<Validated, Invalid>,
    after: Vec<String>,
    measured: BTreeMap<String, Measurement>,
    /// Per check, what it watches and since when it runs.
    rounds: BTreeMap<String, (String, Timestamp)>,
    timer: Option<Timestamp>,
    approval_due: Option<Timestamp>,
    waiting: BTreeMap<String, Wait>,
}

impl SimPhase {
    fn new(namespace: &str, name: String, spec: &MigrationPhaseSpec) -> Self {
        let uid = format!("simulated-{name}");
        let identity = PhaseIdentity { namespace: namespace.to_owned(), name, uid, generation: 1, deleting: false };
        let steps = spec.steps.iter().map(|step| StepForecast {
            name: step.name.clone(),
            approvals: step.approval.as_ref().map_or(0, |approval| approval.required),
            ..StepForecast::default()
        });
        let forecast = PhaseForecast {
            name: identity.name.clone(),
            started: None,
            completed: None,
            state: PhaseState::Waiting,
            blocked_by: Vec::new(),
            waits: Vec::new(),
            steps: steps.collect(),
        };
        Self {
            valid: validate(&identity, spec),
            after: spec.after.clone(),
            identity,
            spec: spec.clone(),
            status: MigrationPhaseStatus::default(),
            actions: Vec::new(),
            forecast,
            checks: Vec::new(),
            measured: BTreeMap::new(),
            rounds: BTreeMap::new(),
            timer: None,
            approval_due: None,
            waiting: BTreeMap::new(),
        }
    }

    pub fn state(&self) -> PhaseState {
        self.status.state.unwrap_or_default()
    }

    /// The checks that watch the phase: its own, or the default ones.
    pub fn checks_in_force(&self) -> &[Check] {
        in_force(&self.status)
    }

    fn asking(&self) -> Asking<'_> {
        Asking { name: &self.identity.name, uid: &self.identity.uid, status: &self.status }
    }

    /// A person asks something.
    pub fn ask(&mut self, action: ActionKind, by: &str, groups: Vec<String>, now: Timestamp) {
        let uid = format!("simulated-action-{}", self.actions.len());
        let approves = action == ActionKind::Approve;
        let spec = PhaseActionSpec {
            phase: self.identity.name.clone(),
            phase_uid: self.identity.uid.clone(),
            attempt: self.status.attempt.unwrap_or(1),
            action,
            step: self.awaiting_step().map(|step| step.name.clone()).filter(|_| approves),
            subject_hash: self.status.approval_subject.clone().filter(|_| approves),
            to: None,
            force: None,
            until: None,
            requested_by: by.to_owned(),
            groups,
            reason: "simulated".to_owned(),
            expires_at: None,
        };
        self.actions.push(ActionView { name: uid.clone(), uid, created: now, spec, settled: false });
    }

    /// The step whose approval is awaited.
    fn awaiting_step(&self) -> Option<&Step> {
        let step = self.status.step.as_ref().filter(|step| step.stage == Stage::AwaitingApproval)?;
        self.spec.steps.get(usize::try_from(step.index).ok()?)
    }

    /// The approval that is awaited: of a step, or of the start.
    fn awaited(&self) -> Option<&StepApproval> {
        let asked = self.status.blocked_by.iter().any(|hold| hold.reason == reasons::AWAITING_APPROVAL);
        let gates = || self.spec.gates.as_ref().and_then(|gates| gates.approvals.as_ref());
        self.awaiting_step().map_or_else(gates, |step| step.approval.as_ref()).filter(|_| asked)
    }
}

/// What goes wrong, in a copy of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// Every check of this phase is outside its bounds.
    Checks(String),
    /// The new side of every split with traffic has no ready endpoint.
    DeadSide,
}

#[derive(Clone)]
pub(super) struct World {
    pub now: Timestamp,
    pub phases: Vec<SimPhase>,
    pub splits: BTreeMap<String, SimSplit>,
    pub flags: BTreeMap<String, SimFlag>,
    pub harm: Harm,
    /// Ways back are looked for; not in a copy that is on one.
    pub forks: bool,
    pub assumed: Assumptions,
    namespace: String,
    surroundings: Surroundings,
    /// Phases that others name and that are not there: taken as completed.
    outside: BTreeSet<String>,
}

impl World {
    pub fn new(namespace: &str, manifests: &Manifests, assumed: &Assumptions) -> Self {
        let here = |meta| namespace_of(meta) == namespace;
        let mut phases: Vec<_> = manifests
            .phases
            .iter()
            .filter(|phase| here(&phase.object.metadata))
            .map(|phase| SimPhase::new(namespace, name_of(&phase.object.metadata), &phase.object.spec))
            .collect();
        phases.sort_by(|a, b| a.identity.name.cmp(&b.identity.name));
        phases.dedup_by(|a, b| a.identity.name == b.identity.name);
        let splits = manifests.splits.iter().filter(|split| here(&split.object.metadata));
        let mut splits: BTreeMap<_, _> =
            splits.map(|split| (name_of(&split.object.metadata), SimSplit::of(&split.object))).collect();
        let flags = manifests.flags.iter().filter(|flag| here(&flag.object.metadata));
        let mut flags: BTreeMap<_, _> =
            flags.map(|flag| (name_of(&flag.object.metadata), SimFlag::of(&flag.object))).collect();
        let steps = || phases.iter().flat_map(|phase| &phase.spec.steps);
        for target in steps().flat_map(|step| &step.traffic) {
            let all = steps().flat_map(|step| &step.traffic).filter(|other| other.split == target.split);
            splits.entry(target.split.clone()).or_insert_with(|| SimSplit::assumed(0, all));
        }
        for target in steps().flat_map(|step| &step.flags) {
            flags.entry(target.flag.clone()).or_insert_with(SimFlag::assumed);
        }
        let known: BTreeSet<_> = phases.iter().map(|phase| phase.identity.name.as_str()).collect();
        let named = phases.iter().flat_map(|phase| &phase.after);
        let outside = named.filter(|name| !known.contains(name.as_str())).cloned().collect();
        Self {
            now: whole_seconds(assumed.start),
            phases,
            splits,
            flags,
            harm: Harm::None,
            forks: true,
            assumed: *assumed,
            namespace: namespace.to_owned(),
            surroundings: Surroundings::new(namespace, manifests),
            outside,
        }
    }

    /// Runs until nothing happens any more.
    pub fn run(mut self) -> Forecast {
        let start = self.now;
        let end = start.checked_add(self.assumed.horizon).unwrap_or(Timestamp::MAX);
        for _ in 0..MOST_INSTANTS {
            self.settle();
            let Some(next) = self.next_instant().filter(|next| *next <= end) else { break };
            self.note_waits(next);
            self.now = next;
        }
        let assumed = |phase: &SimPhase| self.surroundings.assumptions(&phase.identity.name, &phase.spec, &self.phases);
        let assumed = self.phases.iter().flat_map(assumed).collect();
        let mut phases: Vec<_> = self.phases.into_iter().map(finished).collect();
        phases.sort_by_key(|phase| phase.started.unwrap_or(Timestamp::MAX));
        Forecast {
            namespace: self.namespace,
            start,
            approval_seconds: self.assumed.approval.as_secs(),
            propagation_seconds: self.assumed.propagation.as_secs(),
            assumed,
            phases,
        }
    }

    /// Everything that happens at this instant.
    pub fn settle(&mut self) {
        for _ in 0..MOST_PASSES {
            let mut changed = false;
            for index in 0..self.phases.len() {
                changed |= self.reconcile(index);
            }
            changed |= self.sync();
            changed |= self.approve();
            changed |= self.measure();
            if !changed {
                return;
            }
        }
    }

    fn reconcile(&mut self, index: usize) -> bool {
        let Some(phase) = self.phases.get(index) else { return false };
        let observed = self.observe(phase);
        let plan = decide(phase.valid.as_ref(), &observed, self.now);
        let changed = plan.status != phase.status;
        let reached = changed.then(|| self.record(index, &plan.status)).flatten();
        let now = self.now;
        let Some(phase) = self.phases.get_mut(index) else { return false };
        let settled: BTreeSet<_> = plan.settle.iter().map(|settlement| settlement.uid.as_str()).collect();
        phase.actions.retain(|action| !settled.contains(action.uid.as_str()));
        phase.timer = plan.requeue_at;
        // What follows a completion is not foretold: it is a person's to end.
        phase.checks = plan.checks.into_iter().filter(|active| active.name != WATCH).collect();
        phase.status = plan.status;
        let asked = matches!(phase.state(), PhaseState::Waiting | PhaseState::Running) && phase.awaited().is_some();
        phase.approval_due =
            asked.then(|| phase.approval_due.unwrap_or(now.checked_add(self.assumed.approval).unwrap_or(now)));
        if let Some(step) = reached.filter(|_| self.forks) {
            let way_back = super::way_back::follow(self, index);
            if let Some(step) = self.step_forecast(index, step) {
                step.way_back = way_back;
            }
        }
        changed
    }

    fn observe(&self, phase: &SimPhase) -> Observed {
        let splits = self.splits.iter().map(|(name, split)| (name.clone(), Known::Known(Some(split.view()))));
        let flags = self.flags.iter().map(|(name, flag)| (name.clone(), Known::Known(Some(flag.view()))));
        let others = self.phases.iter().map(|other| {
            let view = PredecessorView { state: Some(other.state()), after: other.after.clone() };
            (other.identity.name.clone(), Known::Known(Some(view)))
        });
        let done = PredecessorView { state: Some(PhaseState::Completed), after: Vec::new() };
        let outside = self.outside.iter().map(|name| (name.clone(), Known::Known(Some(done.clone()))));
        Observed {
            phase: phase.identity.clone(),
            status: phase.status.clone(),
            splits: splits.collect(),
            flags: flags.collect(),
            environment: Known::Known(Some(EnvironmentView {
                migrations: self.migrations(&phase.spec),
                ..self.surroundings.environment(&phase.spec)
            })),
            predecessors: others.chain(outside).collect(),
            promotion: Known::Known(self.surroundings.promotion(&phase.spec, &self.phases, self.now)),
            measurements: phase.measured.clone(),
            // Hooks are taken to end well, and at once.
            hooks: phase.status.hooks.iter().map(|hook| (hook.job.clone(), HookView::Succeeded)).collect(),
            actions: phase.actions.clone(),
            watched_for: Duration::from_secs(86_400)
                .saturating_add(Duration::try_from(self.now.duration_since(self.assumed.start)).unwrap_or_default()),
            clock_skew: Known::Known(SignedDuration::ZERO),
            policies_enforced: Known::Known(true),
            sinks: BTreeMap::new(),
        }
    }

    /// What an environment has recorded of the migrations of its phases.
    fn migrations(&self, spec: &MigrationPhaseSpec) -> BTreeMap<i64, MigrationView> {
        let mut found: BTreeMap<i64, MigrationView> = BTreeMap::new();
        let phases = self.phases.iter().filter(|phase| phase.spec.environment == spec.environment);
        for (phase, hook) in phases.flat_map(|phase| phase.status.hooks.iter().map(move |hook| (phase, hook))) {
            let Some(run) = hook.migration else { continue };
            let view = found.entry(run.version).or_default();
            if hook.state == HookState::Succeeded && run.round > view.round {
                let applied = run.direction == MigrationDirection::Up;
                let phase_uid = Some(phase.identity.uid.clone());
                *view = MigrationView { applied, round: run.round, job: hook.job.clone(), phase_uid, open: None };
            }
        }
        found
    }

    fn sync(&mut self) -> bool {
        let asking: Vec<_> = self.phases.iter().map(SimPhase::asking).collect();
        let mut changed = false;
        for (name, split) in &mut self.splits {
            let before = split.view();
            split.sync(name, &asking, self.now, self.assumed.propagation);
            changed |= split.view() != before;
        }
        for (name, flag) in &mut self.flags {
            let before = flag.view();
            flag.sync(name, &asking);
            changed |= flag.view() != before;
        }
        changed
    }

    /// Approvals whose time has come.
    fn approve(&mut self) -> bool {
        let now = self.now;
        let mut given = false;
        for phase in &mut self.phases {
            if phase.approval_due.is_none_or(|due| due > now) || !phase.actions.is_empty() {
                continue;
            }
            let Some(approval) = phase.awaited().cloned() else { continue };
            for person in 1..=approval.required {
                phase.ask(ActionKind::Approve, &format!("person-{person}"), approval.groups.clone(), now);
                given = true;
            }
            phase.approval_due = None;
        }
        given
    }

    /// Runs the checks: each at once when there is something new to watch, and then at its interval. Of runs since the last instant only
    /// the last one is looked at: while nothing is wrong they are all alike, and what is wrong is looked at interval by interval.
    fn measure(&mut self) -> bool {
        let now = self.now;
        let mut changed = false;
        for phase in &mut self.phases {
            let fails = self.harm == Harm::Checks(phase.identity.name.clone());
            for active in &phase.checks {
                let round = phase.rounds.entry(active.name.clone()).or_insert_with(|| (active.round.clone(), now));
                if round.0 != active.round {
                    *round = (active.round.clone(), now);
                }
                let at = last_run(round.1, now, active.interval);
                let known = phase.measured.get(&active.name);
                let news = known.is_none_or(|known| known.round != active.round || known.at < at);
                let Some(check) =
                    in_force(&phase.status).iter().find(|check| check.name == active.name).filter(|_| news)
                else {
                    continue;
                };
                let result = checks::sample(check, fails);
                phase.measured.insert(active.name.clone(), Measurement { result, at, round: active.round.clone() });
                changed = true;
            }
        }
        changed
    }

    /// The next instant at which something happens.
    pub fn next_instant(&self) -> Option<Timestamp> {
        let mut instants: Vec<Timestamp> = self.splits.values().filter_map(|split| split.due).collect();
        for phase in &self.phases {
            instants.extend(phase.timer);
            instants.extend(phase.approval_due);
            instants.extend(phase.status.blocked_by.iter().filter_map(|hold| hold.until.as_ref()).map(|at| at.0));
            let pending = phase.status.blocked_by.iter().any(|hold| hold.reason == reasons::CHECKS_PENDING);
            if pending || self.harm != Harm::None {
                instants.extend(phase.checks.iter().filter_map(|check| {
                    let last = phase.measured.get(&check.name)?.at;
                    last.checked_add(SignedDuration::try_from(check.interval).ok()?).ok()
                }));
            }
        }
        // Timers of the status are in whole seconds.
        let instants = instants.into_iter().map(|at| {
            let floor = whole_seconds(at);
            if floor == at { at } else { floor.checked_add(SignedDuration::from_secs(1)).unwrap_or(at) }
        });
        instants.filter(|at| *at > self.now).min()
    }

    /// Records what a new status says of the phase's course; the step that has just come into force.
    fn record(&mut self, index: usize, next: &MigrationPhaseStatus) -> Option<usize> {
        let now = self.now;
        let (state, step) = (next.state.unwrap_or_default(), next.step.as_ref());
        let completed = state == PhaseState::Completed;
        let at = step.and_then(|step| usize::try_from(step.index).ok());
        let asks = step.filter(|step| step.moved).and(at);
        let changes = asks.filter(|asked| self.never_asked(index, *asked)).map(|asked| self.changes(index, asked));
        let phase = self.phases.get_mut(index)?;
        let forecast = &mut phase.forecast;
        forecast.state = state;
        if state.holds() && forecast.started.is_none() {
            forecast.started = Some(now);
            forecast.waits = phase.waiting.values().cloned().collect();
            phase.waiting.clear();
        }
        if completed {
            forecast.completed = Some(now);
        }
        let mut reached = None;
        for (i, forecast) in forecast.steps.iter_mut().enumerate() {
            let over = at.is_some_and(|at| i < at) || completed;
            let stage = step.filter(|step| at == Some(i) && step.moved).map(|step| step.stage);
            if asks == Some(i) && forecast.asked.is_none() {
                forecast.asked = Some(now);
                forecast.changes = changes.clone().unwrap_or_default();
                forecast.waits = phase.waiting.values().cloned().collect();
                phase.waiting.clear();
            }
            if (over || stage > Some(Stage::Shifting)) && forecast.in_force.is_none() {
                forecast.in_force = Some(now);
                reached = Some(i);
            }
            if (over || stage == Some(Stage::AwaitingApproval)) && forecast.soaked.is_none() {
                forecast.soaked = Some(now);
            }
            if over && forecast.done.is_none() {
                forecast.done = Some(now);
            }
        }
        reached
    }

    fn step_forecast(&mut self, phase: usize, step: usize) -> Option<&mut StepForecast> {
        self.phases.get_mut(phase)?.forecast.steps.get_mut(step)
    }

    fn never_asked(&self, phase: usize, step: usize) -> bool {
        let step = self.phases.get(phase).and_then(|phase| phase.forecast.steps.get(step));
        step.is_some_and(|step| step.asked.is_none())
    }

    /// What a step changes, seen from now.
    fn changes(&self, phase: usize, step: usize) -> Vec<Change> {
        let Some(step) = self.phases.get(phase).and_then(|phase| phase.spec.steps.get(step)) else { return Vec::new() };
        let splits = step.traffic.iter().filter_map(|target| {
            let split = self.splits.get(&target.split)?;
            let exposed = target.exposure == Some(Exposure::Exposed) && split.exposure == Exposure::Hidden;
            Some(Change {
                kind: "TrafficSplit",
                name: target.split.clone(),
                from: if split.exposure == Exposure::Hidden { 0 } else { split.weight },
                to: target.new_weight,
                of: split.weight_total,
                exposed,
                hidden: false,
            })
        });
        let flags = step.flags.iter().filter_map(|target| {
            let from = self.flags.get(&target.flag)?.percent;
            let name = target.flag.clone();
            Some(Change { kind: "FeatureFlag", name, from, to: target.percent, of: 100, exposed: false, hidden: false })
        });
        splits.chain(flags).filter(|change| change.from != change.to || change.exposed).collect()
    }

    /// Notes what keeps phases from starting a step until the next instant.
    fn note_waits(&mut self, next: Timestamp) {
        for phase in &mut self.phases {
            let preparing = phase.status.step.as_ref().is_none_or(|step| step.stage == Stage::Preparing);
            let waits = match phase.state() {
                PhaseState::Waiting => true,
                PhaseState::Running => preparing,
                _ => false,
            };
            let holds = phase.status.blocked_by.iter().filter(|hold| hold.reason != reasons::PREPARE_TIMED_OUT);
            for hold in holds.filter(|_| waits) {
                let wait = phase.waiting.entry(hold.reason.clone()).or_insert_with(|| Wait {
                    reason: hold.reason.clone(),
                    message: hold.message.clone(),
                    from: self.now,
                    until: next,
                });
                wait.until = next;
            }
        }
    }
}

fn finished(phase: SimPhase) -> PhaseForecast {
    let completed = phase.state() == PhaseState::Completed;
    let mut blocked_by = if completed { Vec::new() } else { phase.status.blocked_by };
    // That it takes long is no reason of its own.
    if blocked_by.len() > 1 {
        blocked_by.retain(|hold| hold.reason != reasons::PREPARE_TIMED_OUT);
    }
    PhaseForecast { blocked_by, ..phase.forecast }
}

/// When a check that has run since `first` ran last.
fn last_run(first: Timestamp, now: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1);
    let over = now.duration_since(first).as_secs();
    now.checked_sub(SignedDuration::from_secs(over % interval)).unwrap_or(now)
}
