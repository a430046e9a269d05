//! Two phases that want one split, again and again: both controllers and that of the split look at copies of different ages, are
//! refused by resource versions, and die between two writes; people abort, go back and try again in between. Whoever holds the split
//! moves it, and nobody else.

use cutover_api::v1alpha1::{
    MigrationPhaseSpec, MigrationPhaseStatus, PhaseActionSpec,
    migration_phase::PhaseState,
    phase_action::{ActionKind, RollbackTo},
    traffic_split::{Exposure, Holder, TrafficSplitStatus},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    fixture::{spec, step},
    simulator::{World, holds},
};
use crate::{
    Known,
    migration_phase::{ActionView, Observed, PhaseIdentity, SplitView, decide, validate},
    traffic_split::{
        Claim,
        holder::{Ruling, arbitrate},
    },
};

const RACES: u64 = 1_000;
const OPS: usize = 60;
const NAMES: [&str; 2] = ["a", "b"];
const SPLIT: &str = "storefront";

/// `SplitMix64`: a race can be run again by its seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// An object that is stored: all of its versions. The last one is the present one, its place is the resource version.
struct Stored<T>(Vec<T>);

impl<T: Clone + PartialEq> Stored<T> {
    fn version(&self) -> usize {
        self.0.len() - 1
    }

    fn now(&self) -> &T {
        self.0.last().unwrap()
    }

    /// Refused when it was decided on an older version.
    fn write(&mut self, version: usize, value: T) -> bool {
        let accepted = version == self.version();
        if accepted && *self.now() != value {
            self.0.push(value);
        }
        accepted
    }
}

struct Phase {
    identity: PhaseIdentity,
    spec: MigrationPhaseSpec,
    stored: Stored<MigrationPhaseStatus>,
    actions: Vec<ActionView>,
    /// Version of the split that this phase's controller sees.
    split_seen: usize,
    /// Version of this phase that the split's controller sees.
    shown: usize,
}

/// What the split's controller is about to write.
enum Work {
    Look,
    /// The holder is on record; now the route.
    Route {
        holder: Holder,
        weight: i32,
        route: usize,
    },
    Done {
        applied: i32,
    },
}

#[derive(Default)]
struct Tally {
    grants: u64,
    moves: u64,
    refused: u64,
    waited: u64,
}

struct Race {
    now: Timestamp,
    dice: Dice,
    phases: [Phase; 2],
    split: Stored<TrafficSplitStatus>,
    route: Stored<i32>,
    work: Work,
    asked: u64,
    tally: Tally,
}

fn phase(name: &str, weights: [i32; 2]) -> Phase {
    let steps = weights.map(|weight| step(&format!("to-{weight}"), &[(SPLIT, weight)], &[], 1));
    Phase {
        identity: PhaseIdentity {
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
            generation: 1,
            deleting: false,
        },
        spec: spec(steps.to_vec()),
        stored: Stored(vec![MigrationPhaseStatus::default()]),
        actions: Vec::new(),
        split_seen: 0,
        shown: 0,
    }
}

impl Race {
    fn new(seed: u64) -> Self {
        let split = TrafficSplitStatus {
            desired_weight: Some(0),
            applied_weight: Some(0),
            exposure: Some(Exposure::Exposed),
            ..TrafficSplitStatus::default()
        };
        Self {
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            dice: Dice(seed),
            phases: [phase("a", [40, 60]), phase("b", [40, 60])],
            split: Stored(vec![split]),
            route: Stored(vec![0]),
            work: Work::Look,
            asked: 0,
            tally: Tally::default(),
        }
    }

    /// A version between the one that was seen last and the present one.
    fn newer(&mut self, seen: usize, present: usize) -> usize {
        seen + self.dice.below(present - seen + 1)
    }

    fn observed(&self, at: usize, basis: &MigrationPhaseStatus) -> Observed {
        let phase = &self.phases[at];
        let split = &self.split.0[phase.split_seen];
        let view = SplitView {
            weight_total: 100,
            has_legacy: true,
            desired: split.desired_weight,
            applied: split.applied_weight,
            exposure: split.exposure,
            holder: split.holder.clone(),
            legacy_ready: Some(1),
            new_ready: Some(1),
            current: true,
            ..SplitView::default()
        };
        Observed {
            phase: phase.identity.clone(),
            splits: [(SPLIT.to_owned(), Known::Known(Some(view)))].into(),
            actions: phase.actions.clone(),
            watched_for: std::time::Duration::from_secs(3_600),
            ..World::new(phase.spec.clone(), &[], &[]).observe(basis)
        }
    }

    /// A pass of one phase's controller; `back`: by how many versions its own status is out of date.
    fn decide(&mut self, at: usize, back: usize) {
        self.phases[at].split_seen = self.newer(self.phases[at].split_seen, self.split.version());
        let phase = &self.phases[at];
        let version = phase.stored.version().saturating_sub(back);
        let basis = phase.stored.0[version].clone();
        let validated = validate(&phase.identity, &phase.spec);
        let plan = decide(validated.as_ref(), &self.observed(at, &basis), self.now);
        self.tally.waited += u64::from(plan.status.blocked_by.iter().any(|hold| hold.reason == "SplitBusy"));
        let asked = |status: &MigrationPhaseStatus| status.requests.as_ref().and_then(|r| r.splits.first()?.new_weight);
        let moves = asked(&plan.status).filter(|weight| asked(&basis) != Some(*weight));
        let uid = self.phases[at].identity.uid.clone();
        if !self.phases[at].stored.write(version, plan.status.clone()) {
            self.tally.refused += 1;
            return;
        }
        if let Some(weight) = moves.filter(|_| plan.status.state == Some(PhaseState::Running)) {
            let holder = self.split.now().holder.clone();
            let is_it = holder.as_ref().is_some_and(|holder| holder.uid == uid);
            holds("only_who_holds_a_split_asks_it_to_move", is_it, || format!("{uid} asks {weight}: {holder:?}"));
        }
        for settled in plan.settle {
            self.phases[at].actions.retain(|action| action.uid != settled.uid);
        }
    }

    fn claim(&self, at: usize, version: usize, confirmed: bool) -> Claim {
        let phase = &self.phases[at];
        let status = &phase.stored.0[version];
        let held = status.state.is_some_and(PhaseState::holds);
        Claim {
            phase: phase.identity.name.clone(),
            uid: phase.identity.uid.clone(),
            attempt: status.attempt.unwrap_or(1),
            revision: status.request_revision.unwrap_or(0),
            request: status.requests.iter().filter(|_| held).flat_map(|r| &r.splits).next().cloned(),
            baseline: None,
            confirmed,
        }
    }

    /// The next request of the split's controller.
    fn split(&mut self) {
        match std::mem::replace(&mut self.work, Work::Look) {
            Work::Look => self.look(),
            Work::Route { holder, weight, route } => {
                let present = self.split.now().holder.clone();
                if !self.route.write(route, weight) {
                    self.tally.refused += 1;
                    return;
                }
                let of = |holder: &Holder| (holder.uid.clone(), holder.epoch);
                let holds_it = present.as_ref().map(of) == Some(of(&holder));
                holds("a_former_holder_never_moves_a_split", holds_it, || format!("{holder:?} moved it: {present:?}"));
                self.tally.moves += 1;
                self.work = Work::Done { applied: weight };
            }
            Work::Done { applied } => {
                let status = TrafficSplitStatus { applied_weight: Some(applied), ..self.split.now().clone() };
                self.split.write(self.split.version(), status);
            }
        }
    }

    fn look(&mut self) {
        let began: Vec<_> = self.phases.iter().map(|phase| phase.stored.version()).collect();
        for at in 0..2 {
            self.phases[at].shown = self.newer(self.phases[at].shown, self.phases[at].stored.version());
        }
        let (status, version, route) = (self.split.now().clone(), self.split.version(), self.route.version());
        let mut versions = [self.phases[0].shown, self.phases[1].shown];
        let mut confirmed = [false; 2];
        let ruling = loop {
            let claims = [0, 1].map(|at| self.claim(at, versions[at], confirmed[at]));
            let ruling = arbitrate(&status, &claims, &[]);
            let Some(doubt) = &ruling.doubt else { break ruling };
            let at = NAMES.iter().position(|name| name == doubt).unwrap();
            assert!(!confirmed[at], "{doubt} is in doubt after it was read");
            (versions[at], confirmed[at]) = (self.phases[at].stored.version(), true);
            // Somebody else does something meanwhile.
            self.others();
        };
        let Ruling { holder, epoch, order, .. } = ruling;
        let weight = order.and_then(|order| order.new_weight);
        let next = TrafficSplitStatus {
            holder: holder.clone(),
            epoch,
            desired_weight: weight.or(Some(*self.route.now())),
            ..status.clone()
        };
        holds("epochs_only_grow", next.epoch >= status.epoch, || format!("{:?} → {:?}", status.epoch, next.epoch));
        let granted = holder.as_ref().filter(|holder| status.epoch != Some(holder.epoch));
        if !self.split.write(version, next) {
            self.tally.refused += 1;
            return;
        }
        if let Some(holder) = granted {
            let at = NAMES.iter().position(|name| *name == holder.phase).unwrap();
            holds("a_split_is_granted_on_a_present_word", versions[at] >= began[at], || {
                format!("{} was granted it for what it said {} writes ago", holder.phase, began[at] - versions[at])
            });
            self.tally.grants += 1;
        } else if let (Some(before), Some(after)) = (&status.holder, &holder) {
            let same = before.uid == after.uid && before.epoch == after.epoch;
            holds("who_holds_a_split_keeps_it", same, || format!("{before:?} → {after:?}"));
            let newer = after.request_revision >= before.request_revision && after.attempt >= before.attempt;
            holds("an_older_request_never_counts_again", newer, || format!("{before:?} → {after:?}"));
        }
        if let Some((holder, weight)) = holder.zip(weight).filter(|(_, weight)| weight != self.route.now()) {
            self.work = Work::Route { holder, weight, route };
        } else if self.split.now().applied_weight != Some(*self.route.now()) {
            self.work = Work::Done { applied: *self.route.now() };
        }
    }

    /// One thing that is not the split's controller's.
    fn others(&mut self) {
        let at = self.dice.below(2);
        match self.dice.below(12) {
            0 => self.act(at, ActionKind::Abort),
            1 => self.act(at, ActionKind::Rollback),
            2 => self.act(at, ActionKind::Retry),
            3 => self.now += SignedDuration::from_secs(1),
            4 => {
                let back = 1 + self.dice.below(3);
                self.decide(at, back);
            }
            _ => self.decide(at, 0),
        }
    }

    fn act(&mut self, at: usize, action: ActionKind) {
        self.asked += 1;
        let phase = &mut self.phases[at];
        let uid = format!("action-{:04}", self.asked);
        let spec = PhaseActionSpec {
            phase: phase.identity.name.clone(),
            phase_uid: phase.identity.uid.clone(),
            attempt: phase.stored.now().attempt.unwrap_or(1),
            action,
            step: None,
            subject_hash: None,
            to: (action == ActionKind::Rollback).then_some(RollbackTo::Legacy),
            force: None,
            until: None,
            requested_by: "alice".into(),
            groups: Vec::new(),
            reason: "a race".into(),
            expires_at: None,
        };
        phase.actions.push(ActionView { name: uid.clone(), uid, created: self.now, spec, settled: false });
    }

    /// Everybody sees all that there is, again and again.
    fn calm_down(&mut self) {
        for _ in 0..8 {
            for at in 0..2 {
                self.phases[at].split_seen = self.split.version();
                self.decide(at, 0);
                self.phases[at].shown = self.phases[at].stored.version();
            }
            self.split();
            self.now += SignedDuration::from_secs(2);
        }
    }

    fn run(mut self) -> Tally {
        for _ in 0..OPS {
            match self.dice.below(20) {
                // It dies; the next one lists what is stored, and may be shown phases as they were.
                0 => self.work = Work::Look,
                1..=9 => self.split(),
                _ => self.others(),
            }
        }
        self.calm_down();
        for at in 0..2 {
            self.act(at, ActionKind::Abort);
        }
        self.calm_down();
        let free = self.split.now().holder.is_none();
        holds("at_rest_nobody_holds_a_split", free, || format!("{:?}", self.split.now()));
        self.tally
    }
}

#[test]
fn a_thousand_races_for_one_split_have_one_winner_at_a_time() {
    let mut total = Tally::default();
    for seed in 0..RACES {
        let run = std::panic::catch_unwind(|| Race::new(seed).run());
        let Tally { grants, moves, refused, waited } = run.unwrap_or_else(|_| panic!("race {seed}"));
        total.grants += grants;
        total.moves += moves;
        total.refused += refused;
        total.waited += waited;
    }
    let Tally { grants, moves, refused, waited } = total;
    println!("{RACES} races: {grants} grants, {moves} moves, {refused} writes refused, {waited} looks at a busy split");
    assert!(grants > RACES && moves > RACES && refused > RACES && waited > RACES);
}
