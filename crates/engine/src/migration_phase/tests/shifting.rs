//! Shifting and the way back: the order of traffic and flags, and what is made of delays.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{AutomaticRollbackTo, OnFailure, PhaseState, Stage},
        phase_action::RollbackTo,
        traffic_split::VerifiedWeight,
    },
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::{
    fixture::{secs, spec, step},
    simulator::{Cut, Input, Situation, World, reach},
};
use crate::migration_phase::Sight;

fn world() -> World {
    let steps = vec![
        step("few", &[("api", 10), ("web", 10)], &[("basket", 10)], 2),
        step("half", &[("api", 50), ("web", 50)], &[("basket", 50)], 60),
    ];
    let mut spec = spec(steps);
    spec.shift_timeout = secs(10);
    spec.rollback.timeout = secs(15);
    World::new(spec, &[("api", 0, 0), ("web", 0, 0)], &[("basket", 0)])
}

fn percents(world: &World) -> Vec<Option<i32>> {
    world.stored.requests.iter().flat_map(|r| &r.flags).map(|r| r.percent).collect()
}

fn weights(world: &World) -> Vec<Option<i32>> {
    world.stored.requests.iter().flat_map(|r| &r.splits).map(|r| r.new_weight).collect()
}

#[test]
fn flags_are_asked_for_when_all_traffic_is_in_force() {
    let mut world = world();
    while world.stage() != Some(Stage::Shifting) {
        world.sync_all();
        world.reconcile(Cut::Never);
    }
    world.sync_split("api", false);
    world.reconcile(Cut::Never);
    assert_eq!(percents(&world), [None], "web has not followed");
    world.sync_split("web", true);
    world.reconcile(Cut::Never);
    assert_eq!(percents(&world), [None], "web's answer was cut off");
    world.sync_split("web", false);
    world.reconcile(Cut::Never);
    assert_eq!(percents(&world), [Some(10)]);
    assert_eq!(world.stage(), Some(Stage::Shifting));
    world.sync_all();
    world.reconcile(Cut::Never);
    assert_eq!(world.stage(), Some(Stage::Soaking));
}

#[test]
fn a_split_that_carries_the_weight_by_an_older_request_has_not_followed() {
    let mut world = world();
    world.spec.steps[0].flags.clear();
    while world.stage() != Some(Stage::Shifting) {
        world.sync_all();
        world.reconcile(Cut::Never);
    }
    for split in world.splits.values_mut() {
        (split.routed, split.applied, split.desired) = (10, 10, 10);
    }
    world.reconcile(Cut::Never);
    assert_eq!(world.stage(), Some(Stage::Shifting));
    world.sync_all();
    world.reconcile(Cut::Never);
    assert_eq!(world.stage(), Some(Stage::Soaking));
}

#[rstest]
#[case::back_to_the_step_before(OnFailure::Rollback, true, PhaseState::RolledBack, 10)]
#[case::freeze(OnFailure::Freeze, true, PhaseState::Frozen, 50)]
#[case::irreversible(OnFailure::Rollback, false, PhaseState::Frozen, 50)]
fn a_split_that_does_not_follow_in_time_is_a_failure(
    #[case] on_failure: OnFailure,
    #[case] reversible: bool,
    #[case] state: PhaseState,
    #[case] api: i32,
) {
    let mut world = world();
    world.spec.on_failure = on_failure;
    world.spec.reversible = reversible;
    let second = |world: &World| world.stored.step.as_ref().is_some_and(|s| s.index == 1 && s.stage == Stage::Shifting);
    while !second(&world) {
        world.pass(500);
        world.sync_all();
        world.reconcile(Cut::Never);
    }
    world.splits.get_mut("web").unwrap().stuck = true;
    world.run(9);
    assert_eq!(world.state(), PhaseState::Running);
    assert!(world.run_until(6, |world| world.state() == state), "{:?}", world.state());
    let failure = world.stored.failure.clone().unwrap();
    assert_eq!(failure.reason, reasons::SHIFT_TIMED_OUT);
    assert!(failure.message.contains("web"), "{failure:?}");
    assert_eq!((world.splits["api"].routed, world.splits["web"].routed), (api, 10));
}

#[rstest]
#[case(Input::Splits)]
#[case(Input::Clock)]
fn time_in_which_nothing_can_be_read_is_no_failure(#[case] input: Input) {
    let mut world = reach(Situation::Shifting);
    world.blind.insert(input);
    world.run(60);
    assert_eq!(world.state(), PhaseState::Running);
    assert_eq!(world.stage(), Some(Stage::Shifting));
    world.blind.clear();
    world.run(3);
    assert_eq!(world.state(), PhaseState::Running, "what stood still goes on where it was");
    world.run(30);
    assert_eq!(world.stored.failure.as_ref().unwrap().reason, reasons::SHIFT_TIMED_OUT);
}

/// It is judged by what was to be seen of that status, not of the stage that has begun since; its write is refused.
#[test]
fn who_decides_by_the_status_from_before_a_timeout_comes_to_the_same_and_changes_nothing() {
    let mut world = reach(Situation::Shifting);
    world.edit(|spec| spec.on_failure = OnFailure::Freeze);
    for _ in 0..120 {
        if world.state() == PhaseState::Running {
            world.pass(500);
            world.reconcile(Cut::Never);
        }
    }
    assert_eq!(world.state(), PhaseState::Frozen);
    let frozen = world.stored.clone();
    assert_eq!(frozen.failure.as_ref().unwrap().reason, reasons::SHIFT_TIMED_OUT);
    world.reconcile(Cut::Stale);
    assert_eq!(world.stored, frozen);
}

#[test]
fn time_in_which_nobody_watched_is_no_failure() {
    let mut world = reach(Situation::Shifting);
    world.pass(3_600_000);
    world.restart();
    world.run(15);
    assert_eq!(world.stage(), Some(Stage::Shifting));
    world.splits.get_mut("web").unwrap().stuck = false;
    world.run(1);
    assert_eq!(world.stage(), Some(Stage::Soaking));
}

#[test]
fn a_gate_that_closes_holds_the_flags_back_and_is_no_failure() {
    let mut world = reach(Situation::Shifting);
    world.environment_ready = false;
    world.splits.get_mut("web").unwrap().stuck = false;
    world.run(60);
    assert_eq!(world.stage(), Some(Stage::Shifting));
    assert_eq!(percents(&world), [None]);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::COMPONENTS_NOT_READY);
    world.environment_ready = true;
    world.run(2);
    assert_eq!(world.stage(), Some(Stage::Soaking));
}

fn in_force() -> World {
    let mut world = world();
    let there = |world: &World| world.stored.step.as_ref().is_some_and(|s| s.index == 1 && s.stage == Stage::Soaking);
    assert!(world.run_until(20, there));
    world
}

#[test]
fn on_the_way_back_flags_go_first() {
    let mut world = in_force();
    world.roll_back(RollbackTo::Baseline);
    world.reconcile(Cut::Never);
    assert_eq!((weights(&world), percents(&world)), (vec![Some(50), Some(50)], vec![Some(0)]));
    world.sync_all();
    world.reconcile(Cut::Never);
    assert_eq!(weights(&world), [Some(0), Some(0)]);
    world.sync_all();
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::RolledBack);
}

#[test]
fn a_flag_that_does_not_follow_keeps_the_traffic_for_ten_seconds_only() {
    let mut world = in_force();
    world.flags.get_mut("basket").unwrap().stuck = true;
    world.roll_back(RollbackTo::Baseline);
    world.run(10);
    assert_eq!(world.splits["api"].routed, 50);
    world.run(2);
    assert_eq!(world.splits["api"].routed, 0);
    assert_eq!(world.state(), PhaseState::RollingBack, "the flag is still to follow");
}

#[test]
fn the_way_back_goes_as_far_as_legacy_can_take_it_and_on_as_it_can_take_more() {
    let mut world = in_force();
    let api = world.splits.get_mut("api").unwrap();
    (api.full, api.legacy_ready) = (10, 7);
    world.roll_back(RollbackTo::Baseline);
    world.run(4);
    assert_eq!((world.splits["api"].routed, world.splits["web"].routed), (30, 0));
    assert_eq!(world.stored.blocked_by[0].reason, reasons::INSUFFICIENT_CAPACITY);
    world.splits.get_mut("api").unwrap().legacy_ready = 10;
    assert!(world.run_until(3, |world| world.state() == PhaseState::RolledBack));
}

#[test]
fn force_does_not_wait_for_capacity() {
    let mut world = in_force();
    let api = world.splits.get_mut("api").unwrap();
    (api.full, api.legacy_ready) = (10, 1);
    world.ask_with(cutover_api::v1alpha1::phase_action::ActionKind::Rollback, "alice", |action| {
        action.spec.force = Some(true);
    });
    assert!(world.run_until(4, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["api"].routed, 0);
}

#[test]
fn a_way_back_that_takes_too_long_freezes_where_it_is_and_goes_on_by_itself_only_for_harm() {
    let mut world = in_force();
    let api = world.splits.get_mut("api").unwrap();
    (api.full, api.legacy_ready) = (10, 7);
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(20, |world| world.state() == PhaseState::Frozen));
    assert_eq!(world.stored.failure.as_ref().unwrap().reason, reasons::WAY_BACK_CLOSED);
    world.splits.get_mut("api").unwrap().legacy_ready = 10;
    world.run(30);
    assert_eq!(
        (world.state(), world.splits["api"].routed),
        (PhaseState::Frozen, 30),
        "a person asked, a person decides"
    );
    world.splits.get_mut("api").unwrap().new_ready = 0;
    world.note_dead();
    assert!(world.run_until(25, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["api"].routed, 0);
}

#[rstest]
#[case(RollbackTo::Baseline, 0)]
#[case(RollbackTo::PreviousStep, 10)]
#[case(RollbackTo::Legacy, 0)]
fn a_rollback_leads_where_it_says(#[case] to: RollbackTo, #[case] weight: i32) {
    let mut world = in_force();
    world.roll_back(to);
    assert!(world.run_until(5, |world| world.state() == PhaseState::RolledBack));
    assert_eq!((world.splits["api"].routed, world.flags["basket"].percent), (weight, weight));
    assert_eq!(world.stored.way_back.as_ref().unwrap().to, to);
}

#[test]
fn without_to_a_rollback_leads_where_the_spec_says() {
    let mut world = in_force();
    world.edit(|spec| spec.rollback.to = AutomaticRollbackTo::PreviousStep);
    world.ask(cutover_api::v1alpha1::phase_action::ActionKind::Rollback, "alice");
    assert!(world.run_until(5, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["api"].routed, 10);
}

#[test]
fn going_back_never_raises_what_has_become_lower_meanwhile() {
    let mut world = reach(Situation::Completed);
    let api = world.splits.get_mut("api").unwrap();
    (api.routed, api.applied, api.desired) = (0, 0, 0);
    world.stored.baseline.as_mut().unwrap().splits[0].new_weight = Some(40);
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(15, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["api"].routed, 0);
}

#[test]
fn a_step_that_is_to_be_verified_waits_until_its_weight_is_seen() {
    let mut half = step("half", &[("api", 50)], &[("basket", 30)], 0);
    half.verified = true;
    let mut world = World::new(spec(vec![half]), &[("api", 0, 8)], &[("basket", 0)]);
    world.run(6);
    assert_eq!(world.stage(), Some(Stage::Preparing), "nobody looks");
    assert!(world.stored.blocked_by.iter().any(|it| it.message.contains("the split has no spec.verify")));

    let seen = |applied_weight, confirmed| {
        Sight::Seen(VerifiedWeight {
            applied_weight,
            new_weight: Some(10),
            low: Some(5),
            high: Some(17),
            samples: 200,
            confirmed,
            at: Time(Timestamp::UNIX_EPOCH),
            message: (!confirmed).then(|| "of 200 answers".to_owned()),
        })
    };
    for (sight, why) in [
        (Sight::Pending, "nobody has looked yet"),
        (seen(0, true), "nobody has looked yet"),
        (seen(50, false), "of 200 answers"),
    ] {
        world.splits.get_mut("api").unwrap().sight = sight;
        world.run(6);
        assert_eq!((world.stage(), world.splits["api"].applied), (Some(Stage::Shifting), 50));
        assert!(world.stored.blocked_by.iter().any(|it| it.message.contains(why)), "{:?}", world.stored.blocked_by);
        assert_eq!(world.flags["basket"].percent, 0, "flags follow traffic that is seen");
    }
    world.splits.get_mut("api").unwrap().sight = seen(50, true);
    world.run(6);
    assert_eq!(world.state(), PhaseState::Completed);
}
