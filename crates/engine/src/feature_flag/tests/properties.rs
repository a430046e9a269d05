//! A flag under random phases, spec edits, crashes and outages: who moves it, and that nothing else does.

#![expect(clippy::option_option, reason = "no request, one to hold, and one for a percentage are three cases")]

use cutover_api::v1alpha1::{FeatureFlagSpec, FeatureFlagStatus};
use jiff::Timestamp;
use proptest::prelude::*;

use super::{CHECKOUT, holding::claim, spec};
use crate::{
    Known,
    feature_flag::{
        Claim, ConfigMapView, Flag, Observed, build_config_map, decide, definition::percent_of, document::published,
        intent, status,
    },
};

#[derive(Clone, Debug)]
enum Move {
    /// A phase asks, asks for something else, or lets go.
    Ask(usize, Option<Option<i32>>),
    /// A phase is deleted; one of its name begins anew.
    Delete(usize),
    /// The spec's value is edited.
    Declare(i32),
    /// The spec becomes invalid, or valid again.
    Break(bool),
    /// The status is lost, as after a restore.
    Forget,
    /// Phases cannot be read.
    Outage(bool),
    /// The process ends after so many of its writes.
    Crash(usize),
    /// It sees a phase as it was some time ago.
    Lag(usize),
    Nothing,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..2_usize, prop::option::weighted(0.7, prop::option::weighted(0.8, 0..=100_i32))).prop_map(|(p, r)| Move::Ask(p, r)),
        1 => (0..2_usize).prop_map(Move::Delete),
        2 => (0..=100_i32).prop_map(Move::Declare),
        1 => any::<bool>().prop_map(Move::Break),
        1 => Just(Move::Forget),
        1 => any::<bool>().prop_map(Move::Outage),
        2 => (0..3_usize).prop_map(Move::Crash),
        2 => (0..2_usize).prop_map(Move::Lag),
        2 => Just(Move::Nothing),
    ]
}

struct World {
    spec: FeatureFlagSpec,
    status: FeatureFlagStatus,
    file: Option<String>,
    phases: Vec<Claim>,
    /// What a lagging cache shows of each phase.
    seen: Vec<Claim>,
    incarnation: i64,
    outage: bool,
}

impl World {
    fn view(&self) -> Option<ConfigMapView> {
        self.file.clone().map(|file| ConfigMapView::of(&build_config_map("shop", "production", file)))
    }

    /// What applications see.
    fn percent(&self) -> Option<i32> {
        percent_of(published(&self.view()?.flags(), "checkout")?.1)
    }

    /// One reconcile that ends after at most `writes` writes.
    fn reconcile(&mut self, writes: usize) {
        let mut claims = self.seen.clone();
        let mut absent = Vec::new();
        let plan = loop {
            let plan = decide(&Observed {
                namespace: "shop",
                flag: Flag {
                    name: "checkout",
                    created: None,
                    deleting: false,
                    guarded: true,
                    spec: &self.spec,
                    status: &self.status,
                },
                others: Vec::new(),
                claims: if self.outage { Known::Unknown } else { Known::Known(claims.clone()) },
                absent: absent.clone(),
                environment: Known::Known(true),
                config_map: self.view(),
            });
            let Some(doubt) = &plan.doubt else { break plan };
            claims.retain(|claim| claim.phase != *doubt);
            match self.phases.iter().find(|phase| phase.phase == *doubt) {
                Some(phase) => claims.push(Claim { confirmed: true, ..phase.clone() }),
                None => absent.push(doubt.clone()),
            }
        };
        let mut left = writes;
        let mut write = || left.checked_sub(1).map(|less| left = less).is_some();
        let before = self.status.clone();
        if let Some(granted) = intent(&before, &plan) {
            if !write() {
                return;
            }
            self.status = granted;
        }
        if let Some(step) = &plan.write {
            if !write() {
                return;
            }
            self.file = Some(step.file.clone());
        }
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let next = status(&self.spec, Some(1), &self.status, &plan.decision, Some("1"), None, now);
        if next != self.status && write() {
            self.status = next;
        }
    }
}

/// The flag follows the phase that holds it.
fn asked(world: &World) -> Option<i32> {
    let holder = world.status.held_by.as_ref()?;
    world.phases.iter().find(|phase| phase.uid == holder.uid)?.request.as_ref()?.percent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn only_a_holder_or_a_changed_value_moves_a_flag(moves in prop::collection::vec(a_move(), 1..30)) {
        let phases = vec![claim("a", 1, 0, None, false), claim("b", 1, 0, None, false)];
        let mut world = World {
            spec: spec(CHECKOUT), status: FeatureFlagStatus::default(), file: None,
            seen: phases.clone(), phases, incarnation: 0, outage: false,
        };
        world.reconcile(9);
        for next in moves {
            let (before, epoch) = (world.percent(), world.status.epoch);
            let forgets = matches!(next, Move::Forget);
            // Whether something happened, now or since the last complete reconcile, that may move the flag.
            let mut writes = 9;
            match next {
                Move::Ask(index, request) => {
                    let old = world.phases[index].clone();
                    let percent = claim(&old.phase, old.attempt, old.revision + 1, request, false);
                    world.phases[index] = Claim { uid: old.uid, ..percent };
                    world.seen[index] = world.phases[index].clone();
                }
                Move::Delete(index) => {
                    world.incarnation += 1;
                    let name = world.phases[index].phase.clone();
                    let uid = format!("{name}-uid-{}", world.incarnation);
                    world.phases[index] = Claim { uid, ..claim(&name, 1, 0, None, false) };
                    world.seen[index] = world.phases[index].clone();
                }
                Move::Declare(percent) => {
                    for rule in &mut world.spec.rules {
                        if let Some(rule) = &mut rule.percentage {
                            rule.percent = percent;
                        }
                    }
                }
                Move::Break(broken) => world.spec.default_variant = if broken { "none" } else { "off" }.into(),
                Move::Forget => world.status = FeatureFlagStatus::default(),
                Move::Outage(outage) => world.outage = outage,
                Move::Crash(after) => writes = after,
                Move::Lag(index) => {
                    let real = world.phases[index].clone();
                    world.seen[index] = Claim { revision: real.revision - 1, request: Some(cutover_api::v1alpha1::migration_phase::FlagRequest {
                        flag: "checkout".into(), percent: Some(99),
                    }), ..real };
                }
                Move::Nothing => {}
            }
            let declared = world.spec.rules[1].percentage.as_ref().map(|rule| rule.percent);
            let counts = !world.outage
                && world.status.held_by.is_none()
                && world.status.held_spec_percent.is_some_and(|held| Some(held) != declared);
            world.reconcile(writes);
            let after = world.percent();
            prop_assert!(forgets || world.status.epoch >= epoch, "epochs only grow");
            if after != before && before.is_some() {
                let allowed = asked(&world) == after || (counts && after == declared);
                prop_assert!(allowed, "moved from {before:?} to {after:?}: {:?}", world.status);
            }
            // Seen again without news, it comes to rest at once and stays.
            world.seen = world.phases.clone();
            if !world.outage {
                world.reconcile(9);
                let (rest, file) = (world.status.clone(), world.file.clone());
                world.reconcile(9);
                prop_assert_eq!(&rest, &world.status);
                prop_assert_eq!(&file, &world.file);
                prop_assert_eq!(world.status.percent, world.percent());
                if let Some(asked) = asked(&world) {
                    prop_assert_eq!(world.percent(), Some(asked));
                }
            }
        }
    }
}
