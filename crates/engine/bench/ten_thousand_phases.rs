//! What a decision costs: ten thousand phases, each over two splits and a flag in three steps with a check and an approval, from their
//! start to their completion. The world around the engine follows at once; where nothing is left to follow, its clock jumps to the
//! instant that the engine asks to be woken at. How many decisions that takes is not the bench's to choose.

use std::{
    collections::BTreeMap,
    io::Write,
    ops::Range,
    time::{Duration, Instant},
};

use cutover_api::v1alpha1::{
    MigrationPhaseSpec, MigrationPhaseStatus, PhaseActionSpec,
    feature_flag::FlagHolder,
    migration_phase::{PhaseState, Stage},
    phase_action::ActionKind,
    traffic_split::{Exposure, Holder},
};
use cutover_engine::{
    Known,
    migration_phase::{
        ActionView, ActiveCheck, EnvironmentView, FlagView, Measured, Measurement, Observed, PhaseIdentity, Plan,
        SplitView, decide, validate,
    },
};
use jiff::{SignedDuration, Timestamp};

const PHASES: usize = 10_000;
const SPEC: &str = r#"{
    "environment": "production",
    "steps": [
        {"name": "few", "soak": "30m", "traffic": [{"split": "api", "newWeight": 5}, {"split": "storefront", "newWeight": 5}],
         "flags": [{"flag": "checkout", "percent": 5}]},
        {"name": "half", "soak": "2h", "traffic": [{"split": "api", "newWeight": 50}, {"split": "storefront", "newWeight": 50}],
         "flags": [{"flag": "checkout", "percent": 50}], "approval": {"required": 1}},
        {"name": "all", "soak": "24h", "traffic": [{"split": "api", "newWeight": 100}, {"split": "storefront", "newWeight": 100}],
         "flags": [{"flag": "checkout", "percent": 100}]}
    ],
    "checks": [{"name": "errors", "prometheus": {"query": "errors{system=\"$system\"}"}, "max": "0.05", "interval": "30s"}]
}"#;

struct World {
    now: Timestamp,
    observed: Observed,
    checks: Vec<ActiveCheck>,
}

impl World {
    fn new(number: usize, now: Timestamp) -> Self {
        let split = SplitView {
            weight_total: 100,
            has_legacy: true,
            desired: Some(0),
            applied: Some(0),
            exposure: Some(Exposure::Exposed),
            legacy_ready: Some(3),
            new_ready: Some(3),
            current: true,
            ..SplitView::default()
        };
        let phase = PhaseIdentity {
            namespace: "shop".to_owned(),
            name: format!("phase-{number}"),
            uid: format!("uid-{number}"),
            generation: 1,
            deleting: false,
        };
        let flag = FlagView { percent: Some(0), has_percentage: true, current: true, ..FlagView::default() };
        let observed = Observed {
            phase,
            status: MigrationPhaseStatus::default(),
            splits: ["api", "storefront"].map(|name| (name.to_owned(), Known::Known(Some(split.clone())))).into(),
            flags: [("checkout".to_owned(), Known::Known(Some(flag)))].into(),
            environment: Known::Known(Some(EnvironmentView { current: true, ..EnvironmentView::default() })),
            measurements: BTreeMap::new(),
            actions: Vec::new(),
            watched_for: Duration::from_secs(3_600),
            clock_skew: Known::Known(SignedDuration::ZERO),
            policies_enforced: Known::Known(true),
            sinks: BTreeMap::new(),
            predecessors: BTreeMap::new(),
            promotion: Known::Unknown,
            hooks: BTreeMap::new(),
        };
        Self { now, observed, checks: Vec::new() }
    }

    /// Carries out what was decided. Whether that leads to another decision: a split or flag has followed, or a person. That our own
    /// status was written leads to none.
    fn carry_out(&mut self, plan: Plan) -> bool {
        self.observed.status = plan.status;
        for settled in &plan.settle {
            self.observed.actions.retain(|action| action.uid != settled.uid);
        }
        self.checks = plan.checks;
        let followed = self.follow();
        self.approve() || followed
    }

    fn follow(&mut self) -> bool {
        let Observed { phase, status, splits, flags, .. } = &mut self.observed;
        let held = status.state.is_some_and(PhaseState::holds);
        let requests = status.requests.as_ref().filter(|_| held);
        let (attempt, revision) = (status.attempt.unwrap_or(1), status.request_revision.unwrap_or(0));
        let mut changed = false;
        for (name, view) in splits {
            let Known::Known(Some(view)) = view else { continue };
            let request = requests.and_then(|requests| requests.splits.iter().find(|request| request.split == *name));
            let new_weight = request.and_then(|request| request.new_weight);
            let seen = view.holder.as_ref().map(|holder| holder.request_revision);
            if seen == request.map(|_| revision) {
                continue;
            }
            view.holder = request.map(|_| Holder {
                phase: phase.name.clone(),
                uid: phase.uid.clone(),
                attempt,
                epoch: 1,
                request_revision: revision,
                new_weight,
            });
            let weight = new_weight.or(view.applied);
            (view.desired, view.applied) = (weight, weight);
            changed = true;
        }
        for (name, view) in flags {
            let Known::Known(Some(view)) = view else { continue };
            let request = requests.and_then(|requests| requests.flags.iter().find(|request| request.flag == *name));
            let seen = view.holder.as_ref().map(|holder| holder.request_revision);
            if seen == request.map(|_| revision) {
                continue;
            }
            view.holder = request.map(|_| FlagHolder {
                phase: phase.name.clone(),
                uid: phase.uid.clone(),
                attempt,
                epoch: 1,
                request_revision: revision,
            });
            view.percent = request.and_then(|request| request.percent).or(view.percent);
            changed = true;
        }
        changed
    }

    /// The clock jumps; the checks have run until then, and the last run of each counts.
    fn wait_until(&mut self, at: Timestamp) {
        self.now = at;
        for ActiveCheck { name, round, .. } in self.checks.drain(..) {
            self.observed.measurements.insert(name, Measurement { result: Measured::Value(0.01), at, round });
        }
    }

    fn approve(&mut self) -> bool {
        let Observed { phase, status, actions, .. } = &mut self.observed;
        let awaits = status.step.as_ref().filter(|step| step.stage == Stage::AwaitingApproval);
        let Some(step) = awaits.filter(|_| actions.is_empty() && status.applied_actions.is_empty()) else {
            return false;
        };
        let spec = PhaseActionSpec {
            phase: phase.name.clone(),
            phase_uid: phase.uid.clone(),
            attempt: 1,
            action: ActionKind::Approve,
            step: Some(step.name.clone()),
            subject_hash: None,
            to: None,
            force: None,
            until: None,
            requested_by: "ana".to_owned(),
            groups: Vec::new(),
            reason: "it has soaked".to_owned(),
            expires_at: None,
        };
        let uid = "approval".to_owned();
        actions.push(ActionView { name: uid.clone(), uid, created: self.now, spec, settled: false });
        true
    }
}

/// What some of the phases took.
#[derive(Default)]
struct Cost {
    decisions: u64,
    deciding: Duration,
    slowest: Duration,
}

fn complete(numbers: Range<usize>) -> Result<Cost, String> {
    let spec: MigrationPhaseSpec = serde_json::from_str(SPEC).map_err(|error| error.to_string())?;
    let start = Timestamp::from_second(1_800_000_000).map_err(|error| error.to_string())?;
    let mut cost = Cost::default();
    for number in numbers {
        let mut world = World::new(number, start);
        let valid = validate(&world.observed.phase, &spec);
        while world.observed.status.state != Some(PhaseState::Completed) {
            let asked = Instant::now();
            let plan = decide(valid.as_ref(), &world.observed, world.now);
            let took = asked.elapsed();
            cost.decisions += 1;
            cost.deciding += took;
            cost.slowest = cost.slowest.max(took);
            let timer = plan.requeue_at;
            let done = plan.status.state == Some(PhaseState::Completed);
            if !world.carry_out(plan) && !done {
                world.wait_until(timer.ok_or("the phase waits for nothing")?);
            }
        }
    }
    Ok(cost)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Phases have nothing to do with each other, nor have the decisions about them: a thread for each processor takes its share.
    let threads = std::thread::available_parallelism()?.get();
    let share = PHASES.div_ceil(threads);
    let began = Instant::now();
    let costs = std::thread::scope(|scope| {
        let shares = (0..threads).map(|i| i * share..PHASES.min((i + 1) * share));
        let running: Vec<_> = shares.map(|numbers| scope.spawn(|| complete(numbers))).collect();
        let ended =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread ended early".into())));
        ended.collect::<Result<Vec<Cost>, String>>()
    })?;
    let took = began.elapsed();
    let decisions: u64 = costs.iter().map(|cost| cost.decisions).sum();
    let deciding: Duration = costs.iter().map(|cost| cost.deciding).sum();
    let slowest = costs.iter().map(|cost| cost.slowest).max().unwrap_or_default();
    let each = deciding / u32::try_from(decisions)?;
    let line = format!(
        "{PHASES} phases on {threads} threads in {took:.2?}: {decisions} decisions, {each:.2?} each, the slowest {slowest:.2?}\n"
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
