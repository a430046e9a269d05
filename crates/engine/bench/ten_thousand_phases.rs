//! What a decision costs: ten thousand phases, each over two splits and a flag in three steps with a check and an approval, from their
//! start to their completion. The world around the engine follows at once, and its clock jumps to the next timer.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

use cutover_api::v1alpha1::{
    MigrationPhaseSpec, MigrationPhaseStatus, PhaseActionSpec,
    feature_flag::FlagHolder,
    migration_phase::{PhaseState, Requests, Stage},
    phase_action::ActionKind,
    traffic_split::{Exposure, Holder},
};
use cutover_engine::{
    Known,
    migration_phase::{
        ActionView, ActiveCheck, EnvironmentView, FlagView, Measured, Measurement, Observed, PhaseIdentity, SplitView,
        decide, validate,
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

type Failure = Box<dyn std::error::Error>;

struct World {
    now: Timestamp,
    phase: PhaseIdentity,
    status: MigrationPhaseStatus,
    splits: BTreeMap<String, SplitView>,
    flag: FlagView,
    checks: Vec<ActiveCheck>,
    actions: Vec<ActionView>,
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
        Self {
            now,
            phase,
            status: MigrationPhaseStatus::default(),
            splits: ["api", "storefront"].map(|name| (name.to_owned(), split.clone())).into(),
            flag,
            checks: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn observed(&self) -> Observed {
        let measured = |check: &ActiveCheck| Measurement {
            result: Measured::Value(0.01),
            at: self.now,
            round: check.round.clone(),
        };
        Observed {
            phase: self.phase.clone(),
            status: self.status.clone(),
            splits: self.splits.iter().map(|(name, view)| (name.clone(), Known::Known(Some(view.clone())))).collect(),
            flags: [("checkout".to_owned(), Known::Known(Some(self.flag.clone())))].into(),
            environment: Known::Known(Some(EnvironmentView { current: true, ..EnvironmentView::default() })),
            measurements: self.checks.iter().map(|check| (check.name.clone(), measured(check))).collect(),
            actions: self.actions.clone(),
            watched_for: Duration::from_secs(3_600),
            clock_skew: Known::Known(SignedDuration::ZERO),
            policies_enforced: Known::Known(true),
            sinks: BTreeMap::new(),
            predecessors: BTreeMap::new(),
            promotion: Known::Unknown,
            hooks: BTreeMap::new(),
        }
    }

    fn follow(&mut self) {
        let held = self.status.state.is_some_and(PhaseState::holds);
        let requests = self.status.requests.clone().filter(|_| held).unwrap_or_default();
        let Requests { splits, flags } = requests;
        let (attempt, revision) = (self.status.attempt.unwrap_or(1), self.status.request_revision.unwrap_or(0));
        let (phase, uid) = (&self.phase.name, &self.phase.uid);
        for (name, view) in &mut self.splits {
            let request = splits.iter().find(|request| request.split == *name);
            view.holder = request.map(|request| Holder {
                phase: phase.clone(),
                uid: uid.clone(),
                attempt,
                epoch: 1,
                request_revision: revision,
                new_weight: request.new_weight,
            });
            let weight = request.and_then(|request| request.new_weight).or(view.applied);
            (view.desired, view.applied) = (weight, weight);
        }
        let request = flags.first();
        self.flag.holder = request.map(|_| FlagHolder {
            phase: phase.clone(),
            uid: uid.clone(),
            attempt,
            epoch: 1,
            request_revision: revision,
        });
        self.flag.percent = request.and_then(|request| request.percent).or(self.flag.percent);
    }

    fn approve(&mut self) {
        let awaits = self.status.step.as_ref().filter(|step| step.stage == Stage::AwaitingApproval);
        if let Some(step) = awaits.filter(|_| self.actions.is_empty()) {
            let spec = PhaseActionSpec {
                phase: self.phase.name.clone(),
                phase_uid: self.phase.uid.clone(),
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
            self.actions.push(ActionView { name: uid.clone(), uid, created: self.now, spec, settled: false });
        }
    }
}

fn main() -> Result<(), Failure> {
    let spec: MigrationPhaseSpec = serde_json::from_str(SPEC)?;
    let start = Timestamp::from_second(1_800_000_000)?;
    let began = Instant::now();
    let (mut decisions, mut slowest) = (0_u64, Duration::ZERO);
    for number in 0..PHASES {
        let mut world = World::new(number, start);
        let valid = validate(&world.phase, &spec);
        while world.status.state != Some(PhaseState::Completed) {
            let observed = world.observed();
            let asked = Instant::now();
            let plan = decide(valid.as_ref(), &observed, world.now);
            slowest = slowest.max(asked.elapsed());
            decisions += 1;
            let same = plan.status == world.status;
            (world.status, world.checks) = (plan.status, plan.checks);
            for settled in &plan.settle {
                world.actions.iter_mut().filter(|action| action.uid == settled.uid).for_each(|it| it.settled = true);
            }
            world.follow();
            world.approve();
            if same {
                world.now = plan.requeue_at.ok_or("the phase waits for nothing")?;
            }
        }
    }
    let took = began.elapsed();
    let each = took / u32::try_from(decisions)?;
    let line =
        format!("{PHASES} phases, {decisions} decisions in {took:.2?}: {each:.2?} each, the slowest {slowest:.2?}\n");
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
