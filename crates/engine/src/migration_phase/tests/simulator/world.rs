//! A small world around one phase: an API server's stored objects, a clock that can be wrong, and a phase controller that can die
//! between any two writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use cutover_api::v1alpha1::{
    MigrationPhaseSpec, MigrationPhaseStatus, PhaseActionSpec,
    environment::ChecklistItem,
    migration_phase::{Gates, HookState, MigrationDirection, MigrationRun, NotifyOn, PhaseState, Stage},
    phase_action::{ActionKind, ActionState, RollbackTo},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    coverage::Coverage,
    history::Past,
    invariants::holds,
    split::{Asked, SimFlag, SimSplit},
};
use crate::{
    Known,
    migration_phase::{
        ActionView, ActiveCheck, Answer, EnvironmentView, HookView, Measured, Measurement, MigrationView, Notification,
        Observed, PhaseIdentity, Plan, PredecessorView, Probe, PromotionView, Queries, Said, SplitView, Word,
        audit::{Line, audit_lines},
        clock_is_trusted, decide,
        finish::WATCH,
        validate,
    },
};

pub const UID: &str = "uid-of-the-phase";

/// What the phase's controller may be unable to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Splits,
    Flags,
    Environment,
    Predecessors,
    Clock,
    Jobs,
}

/// How the Jobs of hooks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEnd {
    Well,
    Badly,
    Never,
}

/// What a check's source answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    Good,
    Bad,
    Nan,
    Nothing,
    Down,
}

/// Where a pass of the phase's controller is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Never,
    /// The status write did not arrive.
    BeforeWrite,
    /// The status write arrived, and nothing after it.
    AfterWrite,
    /// It decides by an old status; its write is refused.
    Stale,
}

#[derive(Clone)]
pub struct World {
    /// The API server's time.
    pub time: Timestamp,
    /// This machine's clock minus the API server's.
    pub offset: SignedDuration,
    /// Since when this process leads.
    pub led_since: Timestamp,
    pub spec: MigrationPhaseSpec,
    pub generation: i64,
    pub stored: MigrationPhaseStatus,
    /// The audit log.
    pub log: Vec<Rc<Line>>,
    /// Hash of the record that this process has logged last.
    logged: Option<String>,
    pub older: MigrationPhaseStatus,
    pub splits: BTreeMap<String, SimSplit>,
    pub flags: BTreeMap<String, SimFlag>,
    pub environment_ready: bool,
    pub images: BTreeMap<String, String>,
    pub calls: BTreeSet<(String, String)>,
    pub predecessor: PhaseState,
    pub promotion: PromotionView,
    pub schema: Option<Result<i64, String>>,
    pub monitored: bool,
    pub attested: BTreeSet<ChecklistItem>,
    pub metric: Metric,
    /// What the source says of legacy's requests: how many there were, or nothing.
    pub legacy_source: Metric,
    pub measured: BTreeMap<String, Measurement>,
    pub ran: BTreeMap<String, Timestamp>,
    /// The checks of the plan that was last carried out.
    pub checks: Vec<ActiveCheck>,
    /// The Jobs of hooks that exist, and when each was made.
    pub jobs: BTreeMap<String, Timestamp>,
    /// How those ended that have ended.
    pub ends: BTreeMap<String, HookEnd>,
    /// Which of them migrate what, and for which phase.
    pub runs: BTreeMap<String, (MigrationRun, String)>,
    /// Nobody records for the environment now.
    pub unrecorded: bool,
    /// What the environment has recorded.
    pub migrations: BTreeMap<i64, MigrationView>,
    /// The versions that the database really has.
    pub applied: BTreeSet<i64>,
    pub hooks_end: HookEnd,
    pub actions: Vec<ActionView>,
    pub sinks: BTreeMap<String, BTreeSet<NotifyOn>>,
    /// What sinks were told.
    pub told: Vec<Notification>,
    pub blind: BTreeSet<Input>,
    pub past: Past,
    pub coverage: Coverage,
    /// What the last pass of the controller rested on, apart from what changes without anybody telling: the clocks.
    seen: Option<Observed>,
    /// When the plan that was last carried out asked to be looked at again.
    wake: Option<Timestamp>,
}

impl World {
    pub fn new(spec: MigrationPhaseSpec, weights: &[(&str, i32, i32)], percents: &[(&str, i32)]) -> Self {
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        let splits = weights.iter().map(|(name, at, full)| ((*name).to_owned(), SimSplit::new(name, *at, *full)));
        let flags = percents.iter().map(|(name, at)| ((*name).to_owned(), SimFlag::new(name, *at)));
        Self {
            time,
            offset: SignedDuration::ZERO,
            led_since: time,
            spec,
            generation: 1,
            stored: MigrationPhaseStatus::default(),
            log: Vec::new(),
            logged: None,
            older: MigrationPhaseStatus::default(),
            splits: splits.collect(),
            flags: flags.collect(),
            environment_ready: true,
            images: BTreeMap::new(),
            calls: BTreeSet::new(),
            predecessor: PhaseState::Completed,
            promotion: PromotionView {
                state: Some(PhaseState::Completed),
                finished_at: Some(time),
                images: BTreeMap::new(),
                visible: true,
            },
            schema: Some(Ok(43)),
            monitored: false,
            attested: ChecklistItem::ALL.into(),
            metric: Metric::Good,
            legacy_source: Metric::Good,
            measured: BTreeMap::new(),
            ran: BTreeMap::new(),
            checks: Vec::new(),
            jobs: BTreeMap::new(),
            ends: BTreeMap::new(),
            runs: BTreeMap::new(),
            unrecorded: false,
            migrations: BTreeMap::new(),
            applied: BTreeSet::new(),
            hooks_end: HookEnd::Well,
            actions: Vec::new(),
            sinks: BTreeMap::new(),
            told: Vec::new(),
            blind: BTreeSet::new(),
            past: Past::default(),
            coverage: Coverage::default(),
            seen: None,
            wake: None,
        }
    }

    pub fn clock(&self) -> Timestamp {
        self.time + self.offset
    }

    pub fn identity(&self) -> PhaseIdentity {
        PhaseIdentity {
            namespace: "shop".into(),
            name: "phase".into(),
            uid: UID.into(),
            generation: self.generation,
            deleting: false,
        }
    }

    pub fn state(&self) -> PhaseState {
        self.stored.state.unwrap_or_default()
    }

    pub fn stage(&self) -> Option<Stage> {
        self.stored.step.as_ref().map(|step| step.stage)
    }

    fn seen<T>(&self, input: Input, value: T) -> Known<T> {
        if self.blind.contains(&input) { Known::Unknown } else { Known::Known(value) }
    }

    pub fn observe(&self, status: &MigrationPhaseStatus) -> Observed {
        let splits = self.splits.iter().map(|(name, split)| {
            (
                name.clone(),
                self.seen(Input::Splits, {
                    // As the controller does: the second copy is read while there is no first one.
                    let view = split.view();
                    Some(SplitView {
                        route_baseline: view.route_baseline.filter(|_| status.baseline.is_none()),
                        ..view
                    })
                }),
            )
        });
        let flags = self.flags.iter().map(|(name, flag)| (name.clone(), self.seen(Input::Flags, Some(flag.view()))));
        let not_ready = if self.environment_ready { vec![] } else { vec!["api".to_owned()] };
        let environment = EnvironmentView {
            not_ready,
            current: true,
            images: self.images.clone(),
            schema: self.schema.clone(),
            uid: "uid-of-the-environment".into(),
            migrations: self.migration_views(),
            monitored: self.monitored,
            attested: self.attested.clone(),
            calls: self.calls.clone(),
        };
        let before = PredecessorView { state: Some(self.predecessor), after: vec![] };
        Observed {
            phase: self.identity(),
            status: status.clone(),
            splits: splits.collect(),
            flags: flags.collect(),
            environment: self.seen(Input::Environment, Some(environment)),
            predecessors: BTreeMap::from([("before".into(), self.seen(Input::Predecessors, Some(before)))]),
            promotion: self.seen(Input::Predecessors, Some(self.promotion.clone())),
            measurements: self.measured.clone(),
            hooks: self.hook_views(status),
            actions: self.actions.clone(),
            watched_for: self.time.duration_since(self.led_since).unsigned_abs(),
            clock_skew: self.seen(Input::Clock, self.offset),
            policies_enforced: Known::Known(true),
            sinks: self.sinks.clone(),
        }
    }

    fn hook_views(&self, status: &MigrationPhaseStatus) -> BTreeMap<String, HookView> {
        if self.blind.contains(&Input::Jobs) {
            return BTreeMap::new();
        }
        let view = |job: &str| match self.jobs.get(job) {
            None => HookView::Absent,
            Some(_) => match self.ends.get(job).unwrap_or(&HookEnd::Never) {
                HookEnd::Well => HookView::Succeeded,
                HookEnd::Badly => HookView::Failed {
                    exit_code: Some(3),
                    log: Some("no".into()),
                    message: "BackoffLimitExceeded".into(),
                },
                HookEnd::Never => HookView::Active,
            },
        };
        status.hooks.iter().map(|hook| (hook.job.clone(), view(&hook.job))).collect()
    }

    /// There is one Job of a name: whoever makes it again is told that it exists, and goes by what became of it.
    fn make_job(&mut self, name: &str) {
        if !self.jobs.contains_key(name) {
            self.note_start(name);
            self.jobs.insert(name.to_owned(), self.time);
        }
    }

    /// Jobs that have run for long enough end.
    fn end_jobs(&mut self) {
        let (time, end) = (self.time, self.hooks_end);
        let over = |job: &String, made: &Timestamp| {
            time.duration_since(*made).as_secs() >= 2 && end != HookEnd::Never && !self.ends.contains_key(job)
        };
        let ended: Vec<_> =
            self.jobs.iter().filter(|(job, made)| over(job, made)).map(|(job, _)| job.clone()).collect();
        for job in ended {
            if let (HookEnd::Well, Some((run, _))) = (end, self.runs.get(&job)) {
                match run.direction {
                    MigrationDirection::Up => _ = self.applied.insert(run.version),
                    MigrationDirection::Down => _ = self.applied.remove(&run.version),
                }
            }
            self.ends.insert(job, end);
        }
    }

    /// The environment's controller records what it sees: ends of Jobs, and what people waived.
    pub fn record_migrations(&mut self) {
        self.end_jobs();
        if self.unrecorded {
            return;
        }
        let ended = self.runs.iter().filter_map(|(job, (run, uid))| {
            self.jobs.contains_key(job).then_some(())?;
            Some((job.clone(), *run, uid.clone(), *self.ends.get(job)? == HookEnd::Well))
        });
        let waived = self.stored.hooks.iter().filter(|hook| hook.state == HookState::Waived);
        let waived = waived.filter_map(|hook| Some((hook.job.clone(), hook.migration?, UID.to_owned(), true)));
        let mut ends: Vec<_> = ended.chain(waived).collect();
        ends.sort_by_key(|(_, run, _, well)| (run.round, *well));
        for (job, run, uid, well) in ends {
            let view = self.migrations.entry(run.version).or_default();
            if run.round > view.round || (run.round == view.round && well) {
                (view.round, view.job) = (run.round, job);
                if well {
                    view.applied = run.direction == MigrationDirection::Up;
                    view.phase_uid = Some(uid);
                }
            }
        }
    }

    /// Of what was not recorded nobody knows any more whether it ran: that is for people to find out.
    pub fn lose_jobs(&mut self) {
        self.jobs.clear();
        self.forget_starts();
        for (run, _) in self.runs.values() {
            if self.migrations.get(&run.version).is_none_or(|view| view.round < run.round) {
                self.applied.remove(&run.version);
            }
        }
    }

    /// Of what neither a Job nor the status tells nobody can know that it was started.
    pub fn forget_starts(&mut self) {
        let (jobs, hooks) = (&self.jobs, &self.stored.hooks);
        self.past.starts.retain(|_, job| jobs.contains_key(job) || hooks.iter().any(|hook| hook.job == *job));
    }

    fn migration_views(&self) -> BTreeMap<i64, MigrationView> {
        let mut views = self.migrations.clone();
        for (job, (run, _)) in self.runs.iter().filter(|(job, _)| self.jobs.contains_key(*job)) {
            let view = views.entry(run.version).or_default();
            if run.round > view.round {
                view.open = Some(job.clone());
            }
        }
        views
    }

    pub fn plan(&self, observed: &Observed) -> Plan {
        let validated = validate(&self.identity(), &self.spec);
        decide(validated.as_ref(), observed, self.clock())
    }

    /// One pass of the phase's controller.
    pub fn reconcile(&mut self, cut: Cut) {
        self.end_jobs();
        let basis = if cut == Cut::Stale { self.older.clone() } else { self.stored.clone() };
        self.log_records(&basis);
        let observed = self.observe(&basis);
        for action in observed.actions.iter().filter(|action| !action.settled) {
            self.coverage.heard(&basis, action);
        }
        let plan = self.plan(&observed);
        self.check_plan(&observed, &plan);
        // Whoever was refused, or died, looks again.
        self.seen = None;
        let refused = cut == Cut::Stale && self.older != self.stored && plan.status != basis;
        if cut == Cut::BeforeWrite || refused || (cut == Cut::Stale && self.older != self.stored) {
            return;
        }
        self.store(&plan);
        if cut != Cut::AfterWrite {
            self.log_records(&plan.status);
            for job in &plan.hook_jobs {
                self.make_job(&job.name);
            }
            for settled in &plan.settle {
                if let Some(action) = self.actions.iter_mut().find(|action| action.uid == settled.uid) {
                    action.settled = true;
                    self.past.settled(&settled.uid, settled.status.state);
                }
            }
            self.seen = Some(told(observed));
            let ahead = plan.requeue_at.map(|at| at.duration_since(self.clock()));
            self.wake = ahead.map(|ahead| self.time + ahead);
        }
    }

    /// A pass of the phase's controller if somebody has told it of a change, or a timer that it asked for has ended. Whether there was one.
    pub fn reconcile_when_due(&mut self) -> bool {
        let woken = self.wake.is_some_and(|at| self.time >= at);
        let due = woken || self.seen.as_ref() != Some(&told(self.observe(&self.stored)));
        if due {
            self.reconcile(Cut::Never);
        }
        due
    }

    /// The audit log is written from the status that is stored, by a process that remembers what it has logged last.
    fn log_records(&mut self, status: &MigrationPhaseStatus) {
        let Some(chain) = status.audit.as_ref().filter(|chain| self.logged.as_ref() != Some(&chain.hash)) else {
            return;
        };
        self.log.extend(audit_lines(&self.identity(), status).into_iter().map(Rc::new));
        self.logged = Some(chain.hash.clone());
    }

    fn store(&mut self, plan: &Plan) {
        if plan.status.audit != self.stored.audit {
            let missing = self.stored.audit.iter().flat_map(|chain| &chain.records);
            let missing = missing
                .filter(|record| !self.log.iter().rev().take(64).any(|line| line.record.hash == record.hash))
                .count();
            holds("records_are_logged_before_there_are_others", missing == 0, || {
                format!("{missing} of {:#?}", self.stored.audit)
            });
        }
        let (changed, stage) = (plan.status != self.stored, self.past.stage);
        self.check_transition(plan);
        self.told.extend(plan.notifications.iter().cloned());
        self.checks.clone_from(&plan.checks);
        if changed {
            self.past.older_stage = stage;
            self.older = std::mem::replace(&mut self.stored, plan.status.clone());
        }
        self.coverage.at(self.state(), self.stage());
    }

    pub fn sync_split(&mut self, name: &str, cut_off: bool) {
        let asked = Asked { uid: UID, status: &self.stored };
        let Some(split) = self.splits.get_mut(name) else { return };
        let before = split.clone();
        split.sync(&asked, cut_off);
        let after = split.clone();
        self.check_weight(&before, &after);
    }

    pub fn sync_all(&mut self) {
        self.record_migrations();
        for name in self.splits.keys().cloned().collect::<Vec<_>>() {
            self.sync_split(&name, false);
        }
        let asked = Asked { uid: UID, status: &self.stored };
        self.flags.values_mut().for_each(|flag| flag.sync(&asked));
    }

    /// Runs the checks that are due.
    pub fn run_checks(&mut self) {
        for check in self.checks.clone() {
            let watches_legacy = check.name == WATCH;
            let due = self
                .ran
                .get(&check.name)
                .is_none_or(|ran| self.time.duration_since(*ran) >= SignedDuration::try_from(check.interval).unwrap());
            if due {
                self.ran.insert(check.name.clone(), self.time);
                let metric = if watches_legacy { self.legacy_source } else { self.metric };
                let result = match metric {
                    Metric::Good | Metric::Bad if watches_legacy => self.asked_of_legacy(),
                    Metric::Good => Measured::Value(0.01),
                    // Out of all bounds, those of the default checks too.
                    Metric::Bad => Measured::Value(5.0),
                    Metric::Nan => Measured::Value(f64::NAN),
                    Metric::Nothing => Measured::NoData,
                    Metric::Down => Measured::Erroring("connection refused".into()),
                };
                // A Job either ends or cannot be made: there is no number, and no lack of one.
                let metric = match (self.metric, &check.probe) {
                    (Metric::Nan, Probe::Job { .. }) => Metric::Good,
                    (Metric::Nothing, Probe::Job { .. }) => Metric::Down,
                    (metric, _) => metric,
                };
                let word = |status| Measured::Said(Word { status, message: None });
                let given = |value| Answer::Given { status: 200, seconds: 0.01, value };
                let result = match (result, &check.probe) {
                    (_, Probe::Job { .. }) => match metric {
                        Metric::Down => Measured::Erroring("the quota is used up".into()),
                        Metric::Bad => Measured::Ended { failure: Some("exit code 3".into()) },
                        _ => Measured::Ended { failure: None },
                    },
                    (Measured::Value(value), Probe::Webhook { .. }) if value.is_nan() => word(Said::NoData),
                    (Measured::Value(value), Probe::Webhook { .. }) => {
                        word(if value > 0.1 { Said::Fail } else { Said::Pass })
                    }
                    (Measured::NoData, Probe::Webhook { .. }) => word(Said::NoData),
                    // Sometimes nobody answers, and sometimes with too high a number.
                    (Measured::Value(value), Probe::Http { .. })
                        if value > 0.1 && self.time.as_second() / 2 % 2 == 0 =>
                    {
                        Measured::Answers { legacy: None, new: Answer::Silence("connection refused".into()) }
                    }
                    (Measured::Value(value), Probe::Http { .. }) => {
                        Measured::Answers { legacy: None, new: given(Some(value).filter(|value| !value.is_nan())) }
                    }
                    (Measured::NoData, Probe::Http { .. }) => Measured::Answers { legacy: None, new: given(None) },
                    (
                        Measured::Value(new),
                        Probe::Prometheus { queries: Queries::Value { legacy: Some(_), .. }, .. },
                    ) => Measured::Sides { legacy: 0.01, new },
                    (result, _) => result,
                };
                if !watches_legacy {
                    self.past.measured(&check.name, metric);
                    self.coverage.answered(&check.probe, metric);
                } else if matches!(result, Measured::Value(value) if !value.is_nan()) {
                    self.past.legacy_seen.push(self.time);
                }
                self.measured.insert(check.name, Measurement { result, at: self.clock(), round: check.round });
            }
        }
    }

    /// How many requests legacy has had lately, at most one.
    fn asked_of_legacy(&self) -> Measured {
        let window = self.spec.finish.as_ref().map_or(SignedDuration::ZERO, |it| it.retire_legacy.window.signed());
        let lately = self.past.legacy_asked.iter().any(|at| self.time.duration_since(*at) <= window);
        Measured::Value(if lately { 1.0 } else { 0.0 })
    }

    pub fn pass(&mut self, millis: i64) {
        self.time += SignedDuration::from_millis(millis);
        if self.state() == PhaseState::Running && self.stage() == Some(Stage::Soaking) {
            self.past.soaked += millis;
        }
        self.past.pass(millis, self.blind_or_skewed());
    }

    pub fn blind_or_skewed(&self) -> bool {
        !self.blind.is_empty() || self.offset.abs() > SignedDuration::from_secs(5)
    }

    /// Everything runs undisturbed for a while, in steps of a second. The phase's controller looks when it is told to, or has asked to.
    pub fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.round();
            self.pass(1_000);
        }
    }

    pub fn round(&mut self) {
        for _ in 0..2 {
            self.reconcile_when_due();
            self.sync_all();
        }
        self.run_checks();
        self.reconcile_when_due();
    }

    /// Runs until `there`, for at most so many seconds; whether it got there.
    pub fn run_until(&mut self, seconds: u32, there: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..seconds {
            if there(self) {
                return true;
            }
            self.round();
            if there(self) {
                return true;
            }
            self.pass(1_000);
        }
        there(self)
    }

    pub fn restart(&mut self) {
        self.led_since = self.time;
        self.seen = None;
        self.logged = None;
        self.measured.clear();
        self.ran.clear();
        self.checks.clear();
    }

    pub fn edit(&mut self, edit: impl FnOnce(&mut MigrationPhaseSpec)) {
        edit(&mut self.spec);
        self.generation += 1;
    }

    /// A person asks something of the present attempt.
    pub fn ask(&mut self, kind: ActionKind, by: &str) -> String {
        self.ask_with(kind, by, |_| {})
    }

    pub fn ask_with(&mut self, kind: ActionKind, by: &str, change: impl FnOnce(&mut ActionView)) -> String {
        let uid = format!("action-{:03}", self.actions.len());
        let step = self.stored.step.as_ref().map_or_else(|| "none".to_owned(), |step| step.name.clone());
        let mut action = ActionView {
            uid: uid.clone(),
            name: format!("{kind:?}-{uid}").to_lowercase(),
            created: self.time,
            spec: PhaseActionSpec {
                phase: "phase".into(),
                phase_uid: UID.into(),
                attempt: self.stored.attempt.unwrap_or(1),
                action: kind,
                step: (kind == ActionKind::Approve).then_some(step),
                subject_hash: None,
                to: None,
                force: None,
                until: None,
                requested_by: by.into(),
                groups: vec!["owners".into()],
                reason: "a reason".into(),
                expires_at: None,
            },
            settled: false,
        };
        change(&mut action);
        self.actions.push(action);
        uid
    }

    /// A person approves the start of what is there to be seen.
    pub fn approve_start(&mut self, by: &str) -> String {
        let seen = self.stored.approval_subject.clone();
        self.ask_with(ActionKind::Approve, by, |action| (action.spec.step, action.spec.subject_hash) = (None, seen))
    }

    pub fn roll_back(&mut self, to: RollbackTo) -> String {
        self.ask_with(ActionKind::Rollback, "alice", |action| action.spec.to = Some(to))
    }

    pub fn outcome(&self, uid: &str) -> Option<ActionState> {
        self.past.outcome(uid)
    }

    /// The phase that this one is promoted from completes now, with the images that are here.
    pub fn promote_elsewhere(&mut self) {
        self.promotion = PromotionView {
            state: Some(PhaseState::Completed),
            finished_at: Some(self.time),
            images: self.images.clone(),
            visible: true,
        };
    }

    /// Everything that can be mended without a person's decision is mended.
    pub fn mend(&mut self) {
        self.blind.clear();
        self.offset = SignedDuration::ZERO;
        self.environment_ready = true;
        self.schema = Some(Ok(43));
        self.attested = ChecklistItem::ALL.into();
        self.predecessor = PhaseState::Completed;
        self.promote_elsewhere();
        self.metric = Metric::Good;
        self.legacy_source = Metric::Good;
        let closing = |gates: &Gates| !gates.windows.is_empty() || !gates.freezes.is_empty();
        if self.spec.gates.as_ref().is_some_and(closing) {
            self.edit(|spec| {
                let gates = spec.gates.get_or_insert_default();
                gates.windows.clear();
                gates.freezes.clear();
            });
        }
        self.hooks_end = HookEnd::Well;
        self.unrecorded = false;
        for split in self.splits.values_mut() {
            (split.legacy_ready, split.new_ready) = (8, 8);
            (split.stuck, split.wanted_by_other) = (false, false);
        }
        self.flags.values_mut().for_each(|flag| flag.stuck = false);
    }
}

/// Without what nobody tells of: for how long it has been watched, and by how much the clocks differ; only that they do too much is told.
fn told(observed: Observed) -> Observed {
    let clock_skew =
        if clock_is_trusted(observed.clock_skew) { Known::Known(SignedDuration::ZERO) } else { Known::Unknown };
    Observed { watched_for: std::time::Duration::ZERO, clock_skew, ..observed }
}

pub fn later(world: &World, seconds: i64) -> Time {
    Time(world.time + SignedDuration::from_secs(seconds))
}
