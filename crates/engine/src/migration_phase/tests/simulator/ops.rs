//! What can happen to the world, and how a scene is set.

use cutover_api::v1alpha1::{
    MigrationPhaseStatus,
    environment::ChecklistItem,
    migration_phase::{Freeze, PhaseState, Window},
    phase_action::{ActionKind, RollbackTo},
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::{super::super::validate, Cut, HookEnd, Input, Metric, Scene, World, later, world::UID};

/// How long ago the phase that a phase of the simulation is promoted from may have completed.
pub const PROMOTED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Op {
    Run(u32),
    Pass(i64),
    Reconcile(u8),
    SyncSplit(u8, bool),
    SyncFlags,
    Checks,
    Ask(ActionKind, u8),
    Blind(Input, bool),
    Metric(Metric),
    SetClock(i64),
    Endpoints(u8, bool, i32),
    Stuck(u8, bool),
    /// A user's own Ingress, which a split attaches to, leads to legacy or no more.
    UsersLeadToLegacy(u8, bool),
    Other(u8, bool),
    Environment(bool),
    Image(u8),
    Schema(u8),
    Attested(bool),
    Calendar(u8),
    Predecessor(bool),
    Promotion(u8),
    LegacyAsked,
    LegacySource(Metric),
    Edit(u8),
    LoseStatus(u8),
    HooksEnd(u8),
    LoseJobs,
    Unrecorded(bool),
    Restart,
    Mend,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Splits),
        Just(Input::Flags),
        Just(Input::Environment),
        Just(Input::Predecessors),
        Just(Input::Clock),
        Just(Input::Jobs)
    ]
}

fn metric() -> impl Strategy<Value = Metric> {
    prop_oneof![
        4 => Just(Metric::Good), 2 => Just(Metric::Bad), 1 => Just(Metric::Nan), 1 => Just(Metric::Nothing), 1 => Just(Metric::Down)
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let kind = proptest::sample::select(ActionKind::ALL.to_vec());
    let time = prop_oneof![
        12 => (1_u32..25).prop_map(Op::Run),
        2 => (100_i64..20_000).prop_map(Op::Pass),
        1 => (-4_000_i64..4_000).prop_map(Op::SetClock),
    ];
    let passes = prop_oneof![
        4 => (0_u8..8).prop_map(Op::Reconcile),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(split, cut)| Op::SyncSplit(split, cut)),
        1 => Just(Op::SyncFlags),
        1 => Just(Op::Checks),
        1 => Just(Op::Restart),
        1 => (0_u8..4).prop_map(Op::LoseStatus),
    ];
    let sides = (any::<u8>(), any::<bool>(), prop_oneof![Just(0), Just(1), Just(3), Just(8)]);
    let surroundings = prop_oneof![
        2 => (input(), any::<bool>()).prop_map(|(input, blind)| Op::Blind(input, blind)),
        3 => metric().prop_map(Op::Metric),
        3 => sides.prop_map(|(split, new, ready)| Op::Endpoints(split, new, ready)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(split, stuck)| Op::Stuck(split, stuck)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(split, users)| Op::UsersLeadToLegacy(split, users)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(split, other)| Op::Other(split, other)),
        1 => any::<bool>().prop_map(Op::Environment),
        1 => (0_u8..3).prop_map(Op::Image),
        1 => (0_u8..4).prop_map(Op::Calendar),
        1 => (0_u8..4).prop_map(Op::Schema),
        1 => any::<bool>().prop_map(Op::Attested),
        1 => any::<bool>().prop_map(Op::Predecessor),
        1 => (0_u8..5).prop_map(Op::Promotion),
        1 => Just(Op::LegacyAsked),
        1 => metric().prop_map(Op::LegacySource),
        2 => (0_u8..8).prop_map(Op::Edit),
        2 => (0_u8..4).prop_map(Op::HooksEnd),
        1 => Just(Op::LoseJobs),
        1 => any::<bool>().prop_map(Op::Unrecorded),
        3 => Just(Op::Mend),
    ];
    prop_oneof![
        15 => time,
        11 => passes,
        16 => surroundings,
        8 => (kind, any::<u8>()).prop_map(|(kind, how)| Op::Ask(kind, how)),
    ]
}

impl World {
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Run(seconds) => self.run(*seconds),
            Op::Pass(millis) => self.pass(*millis),
            Op::Reconcile(how) => self.reconcile(match how {
                0 => Cut::BeforeWrite,
                1 | 2 => Cut::AfterWrite,
                3 | 4 => Cut::Stale,
                _ => Cut::Never,
            }),
            Op::SyncSplit(which, cut_off) => {
                let name = self.pick(*which);
                self.sync_split(&name, *cut_off);
            }
            Op::SyncFlags => self.sync_all(),
            Op::Checks => self.run_checks(),
            Op::Ask(kind, how) => self.ask_somehow(*kind, *how),
            Op::Blind(input, true) => _ = self.blind.insert(*input),
            Op::Blind(input, false) => _ = self.blind.remove(input),
            Op::Metric(metric) => self.metric = *metric,
            Op::SetClock(seconds) => self.set_clock(*seconds),
            Op::Endpoints(which, new, ready) => {
                let name = self.pick(*which);
                let split = self.splits.get_mut(&name).unwrap();
                *(if *new { &mut split.new_ready } else { &mut split.legacy_ready }) = *ready;
            }
            Op::Stuck(which, stuck) => {
                let name = self.pick(*which);
                self.splits.get_mut(&name).unwrap().stuck = *stuck;
            }
            Op::UsersLeadToLegacy(which, users) => {
                let name = self.pick(*which);
                self.splits.get_mut(&name).unwrap().users_lead_to_legacy = *users;
            }
            Op::Other(which, wanted) => {
                let name = self.pick(*which);
                self.splits.get_mut(&name).unwrap().wanted_by_other = *wanted;
            }
            Op::Environment(ready) => self.environment_ready = *ready,
            Op::Image(which) => _ = self.images.insert("api".into(), format!("api:{which}")),
            Op::Schema(which) => {
                let versions = [Some(Ok(43)), Some(Ok(46)), Some(Err("it is gone".to_owned())), None];
                self.schema = versions[usize::from(*which)].clone();
            }
            Op::Attested(all) => {
                self.attested = ChecklistItem::ALL.into();
                if !all {
                    self.attested.remove(&ChecklistItem::LoadTestPassed);
                }
            }
            Op::Calendar(which) => self.set_calendar(*which),
            Op::Predecessor(done) => {
                self.predecessor = if *done { PhaseState::Completed } else { PhaseState::RolledBack };
            }
            Op::Promotion(how) => self.change_promotion(*how),
            Op::LegacyAsked => self.past.legacy_asked.push(self.time),
            Op::LegacySource(metric) => self.legacy_source = *metric,
            Op::Edit(how) => self.edit_somehow(*how),
            Op::LoseStatus(how) => self.lose_status(*how),
            Op::HooksEnd(how) => {
                self.hooks_end = match how {
                    0 => HookEnd::Badly,
                    1 => HookEnd::Never,
                    _ => HookEnd::Well,
                }
            }
            Op::LoseJobs => self.lose_jobs(),
            Op::Unrecorded(unrecorded) => self.unrecorded = *unrecorded,
            Op::Restart => self.restart(),
            Op::Mend => self.mend(),
        }
        self.note_dead();
    }

    fn pick(&self, which: u8) -> String {
        let at = usize::from(which) % self.splits.len();
        self.splits.keys().nth(at).unwrap().clone()
    }

    pub fn set_clock(&mut self, seconds: i64) {
        self.offset = SignedDuration::from_secs(seconds);
        self.past.set_clock();
    }

    fn ask_somehow(&mut self, kind: ActionKind, how: u8) {
        let by = ["alice", "bob", "carol"][usize::from(how) % 3];
        let to = [None, Some(RollbackTo::Baseline), Some(RollbackTo::PreviousStep), Some(RollbackTo::Legacy)];
        let until = later(self, i64::from(how) * 2);
        let time = self.time;
        let seen = self.stored.approval_subject.clone();
        self.ask_with(kind, by, |action| {
            match kind {
                ActionKind::Rollback => {
                    action.spec.to = to[usize::from(how / 3) % 4];
                    action.spec.force = (how.is_multiple_of(5)).then_some(true);
                }
                ActionKind::Approve if how.is_multiple_of(3) => {
                    (action.spec.step, action.spec.subject_hash) = (None, seen);
                }
                ActionKind::Pause => action.spec.until = (how.is_multiple_of(2)).then_some(until.clone()),
                _ => {}
            }
            match how % 16 {
                1 => action.spec.phase_uid = "uid-of-a-phase-before".into(),
                2 => action.spec.attempt += 1,
                3 => action.created = time - SignedDuration::from_mins(16),
                4 => action.spec.expires_at = Some(Time(time + SignedDuration::from_secs(3))),
                5 => action.spec.groups.clear(),
                _ => {}
            }
        });
    }

    /// It completes now, goes back, is hidden, had another image, or completed too long ago.
    pub fn change_promotion(&mut self, how: u8) {
        let time = self.time;
        let promotion = &mut self.promotion;
        match how {
            0 => self.promote_elsewhere(),
            1 => promotion.state = Some(PhaseState::RolledBack),
            2 => promotion.visible = false,
            3 => _ = promotion.images.insert("api".into(), "api:another".into()),
            _ => promotion.finished_at = Some(time - PROMOTED_WITHIN),
        }
    }

    /// Nothing, a window that closes soon, a window that is closed, or a freeze.
    fn set_calendar(&mut self, which: u8) {
        let minute = |minutes: i64| (self.clock() + SignedDuration::from_mins(minutes)).strftime("%H:%M").to_string();
        let window = |from: String, to: String| vec![Window { days: vec![], from, to, time_zone: "UTC".into() }];
        let day = self.clock().strftime("%Y-%m-%d").to_string();
        let (windows, freezes) = match which {
            0 => (vec![], vec![]),
            1 => (window(minute(-1), minute(1)), vec![]),
            2 => (window(minute(3), minute(60)), vec![]),
            _ => (vec![], vec![Freeze { from: day.clone(), to: day, time_zone: "UTC".into() }]),
        };
        self.edit(|spec| {
            let gates = spec.gates.get_or_insert_default();
            (gates.windows, gates.freezes) = (windows, freezes);
        });
    }

    fn edit_somehow(&mut self, how: u8) {
        match how {
            0 => self.edit(|spec| spec.steps[0].traffic.clear()),
            1 => self.edit(|spec| spec.checks.iter_mut().for_each(|check| check.max = None)),
            2 => {
                let present = self.stored.step.as_ref().map(|step| step.name.clone());
                self.edit(|spec| {
                    if let Some(step) = spec.steps.iter_mut().find(|step| Some(&step.name) == present.as_ref()) {
                        step.name = format!("{}-renamed", step.name.chars().take(20).collect::<String>());
                    }
                });
            }
            3 => self.edit(|spec| spec.reversible = !spec.reversible),
            4 => self.edit(|spec| {
                for target in spec.steps.iter_mut().flat_map(|step| &mut step.traffic) {
                    target.new_weight = (target.new_weight + 3).min(100);
                }
            }),
            5 => self.edit(|spec| {
                for target in spec.steps.iter_mut().flat_map(|step| &mut step.traffic) {
                    target.new_weight = (target.new_weight - 3).max(0);
                }
            }),
            _ => self.mend_spec(),
        }
    }

    /// Puts back what an edit took away.
    pub fn mend_spec(&mut self) {
        let present = self.stored.step.as_ref().map(|step| (step.index, step.name.clone()));
        let first = self.splits.keys().next().unwrap().clone();
        self.edit(|spec| {
            let max = Some("0.1".parse().unwrap());
            spec.checks.iter_mut().filter(|check| check.job.is_none()).for_each(|check| check.max.clone_from(&max));
            if spec.steps[0].traffic.is_empty() && spec.steps[0].flags.is_empty() {
                let target = cutover_api::v1alpha1::migration_phase::TrafficTarget {
                    split: first,
                    new_weight: 0,
                    exposure: None,
                };
                spec.steps[0].traffic.push(target);
            }
            if let Some((index, name)) = present
                && spec.steps.iter().all(|step| step.name != name)
                && let Some(step) = spec.steps.get_mut(usize::try_from(index).unwrap())
            {
                step.name = name;
            }
        });
        if let Err(problems) = validate(&self.identity(), &self.spec) {
            panic!("nothing is wrong with a mended spec: {problems:?}");
        }
    }

    fn lose_status(&mut self, how: u8) {
        match how {
            0 => {
                let moved = self.splits.values().any(|split| split.remembers.is_some());
                let acted = self.actions.iter().any(|action| action.settled && action.spec.phase_uid == UID);
                self.past.undecided |= moved || acted;
                self.stored = MigrationPhaseStatus::default();
                self.forget_starts();
            }
            1 => self.stored.baseline = None,
            2 => self.stored.history.clear(),
            _ => self.stored.way_back = None,
        }
        self.older = self.stored.clone();
        self.past.older_stage = self.past.stage;
        self.past.set_clock();
    }

    /// Sets a scene in the world as it is.
    pub fn set(&mut self, scene: Scene) {
        self.coverage.scene = Some(scene);
        let split = self.splits.values_mut().next().unwrap();
        match scene {
            Scene::Calm => {}
            Scene::Unread => self.blind.extend([Input::Splits, Input::Flags, Input::Environment]),
            Scene::EnvironmentUnread => _ = self.blind.insert(Input::Environment),
            Scene::ClockAhead => self.set_clock(3_600),
            Scene::ClockBehind => self.set_clock(-3_600),
            Scene::GateClosed => self.environment_ready = false,
            Scene::OutsideWindow => return self.set_calendar(2),
            Scene::SpecInvalid => self.edit_somehow(1),
            Scene::StepRemoved => self.edit_somehow(2),
            Scene::NewSideDead => split.new_ready = 0,
            Scene::LegacySideDead => split.legacy_ready = 0,
            Scene::CheckFails => self.metric = Metric::Bad,
            Scene::DataGone => self.metric = Metric::Nothing,
            Scene::SourceDown => self.metric = Metric::Down,
            Scene::CapacityShort => (split.legacy_ready, split.new_ready) = (1, 1),
            Scene::RouterStuck => split.stuck = true,
            Scene::HookFails => self.hooks_end = HookEnd::Badly,
            Scene::HookLost => self.lose_jobs(),
            Scene::SplitBusy => split.wanted_by_other = true,
            Scene::StatusLost => self.lose_status(0),
        }
        self.note_dead();
    }
}
