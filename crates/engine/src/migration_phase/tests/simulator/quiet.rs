//! Worlds in which nothing happens by itself: no check runs and every other timeout is far away. Whoever looks again has asked to be woken.

use cutover_api::v1alpha1::{
    MigrationPhaseSpec,
    migration_phase::{Gates, PhaseState, Promotion, Stage},
    phase_action::ActionKind,
};
use rstest::rstest;

use super::{
    super::fixture::{approved, secs, spec, step},
    Cut, World, later,
    ops::PROMOTED_WITHIN,
    yaml,
};

const DAY: u64 = 24 * 3_600;
/// For how long a side may be dead.
const DEAD_AFTER: u32 = 7;
/// How long the world takes to follow, once somebody has looked.
const PASSES: u32 = 3;
/// How far flags are ahead of traffic on the way back.
const FLAGS: u32 = 10;

fn quiet(soak: u64) -> MigrationPhaseSpec {
    let steps = vec![
        approved(step("few", &[("api", 10), ("web", 5)], &[("basket", 5)], soak), 1, &[]),
        step("all", &[("api", 100), ("web", 100)], &[("basket", 100)], soak),
    ];
    let mut spec = spec(steps);
    spec.default_checks = false;
    spec.gates = Some(Gates { components_ready: true, ..Gates::default() });
    spec.dead_after = secs(u64::from(DEAD_AFTER));
    (spec.shift_timeout, spec.prepare_timeout, spec.rollback.timeout) = (secs(DAY), secs(DAY), secs(DAY));
    spec
}

fn world(spec: MigrationPhaseSpec) -> World {
    World::new(spec, &[("api", 0, 0), ("web", 0, 0)], &[("basket", 0)])
}

fn reaches(world: &mut World, seconds: u32, what: &str, there: impl Fn(&World) -> bool) {
    assert!(world.run_until(seconds, there), "{what} after {seconds} s:\n{}", yaml(&world.stored));
}

/// A world that is in this stage for a day, with traffic on the new side.
fn resting_in(stage: Stage) -> World {
    let mut world = world(quiet(if stage == Stage::Soaking { DAY } else { 0 }));
    if matches!(stage, Stage::Preparing | Stage::Shifting) {
        reaches(&mut world, 60, "no approval is asked for", |world| world.stage() == Some(Stage::AwaitingApproval));
        if stage == Stage::Preparing {
            let web = world.splits.get_mut("web").unwrap();
            (web.full, web.new_ready) = (8, 1);
        }
        world.ask(ActionKind::Approve, "alice");
    }
    if stage == Stage::Shifting {
        shifts_for_ever(&mut world);
    }
    let second = matches!(stage, Stage::Preparing | Stage::Shifting);
    reaches(&mut world, 60, "the stage is not reached", |world| {
        world.stage() == Some(stage) && world.stored.step.as_ref().is_some_and(|step| (step.index == 1) == second)
    });
    world.run(PASSES);
    assert_eq!(world.stage(), Some(stage), "it does not stay there");
    world
}

/// Goes on until the next step shifts, and then a router takes no change any more.
fn shifts_for_ever(world: &mut World) {
    for _ in 0..10 {
        world.reconcile(Cut::Never);
        if world.stage() == Some(Stage::Shifting) {
            world.splits.get_mut("web").unwrap().stuck = true;
            return;
        }
        world.sync_all();
    }
    panic!("nothing shifts:\n{}", yaml(&world.stored));
}

#[rstest]
fn a_side_that_stays_dead_is_left_in_its_time(
    #[values(Stage::Preparing, Stage::Shifting, Stage::Soaking, Stage::AwaitingApproval)] stage: Stage,
) {
    let mut world = resting_in(stage);
    world.splits.get_mut("api").unwrap().new_ready = 0;
    world.note_dead();
    world.run(DEAD_AFTER - 1);
    assert_eq!(world.state(), PhaseState::Running, "a side may be dead for a while");
    let leaves = |world: &World| matches!(world.state(), PhaseState::RollingBack | PhaseState::RolledBack);
    reaches(&mut world, 1 + PASSES, "the dead side is not left", leaves);
    world.splits.get_mut("web").unwrap().stuck = false;
    reaches(&mut world, FLAGS + PASSES, "it is not back", |world| world.state() == PhaseState::RolledBack);
}

#[rstest]
fn a_soak_that_nothing_disturbs_ends_in_its_time(#[values(1, 90, 3_600)] soak: u32) {
    let mut world = world(quiet(u64::from(soak)));
    let awaits = |world: &World| world.stage() == Some(Stage::AwaitingApproval);
    reaches(&mut world, soak + 2 * PASSES, "the soak has not ended", awaits);
}

#[test]
fn a_shift_that_takes_too_long_is_taken_back_in_its_time() {
    let mut spec = quiet(0);
    spec.shift_timeout = secs(30);
    let mut world = world(spec);
    shifts_for_ever(&mut world);
    let gives_up = |world: &World| matches!(world.state(), PhaseState::RollingBack | PhaseState::RolledBack);
    reaches(&mut world, 30 + PASSES, "it still waits", gives_up);
}

#[test]
fn a_pause_ends_in_its_time() {
    let mut world = resting_in(Stage::AwaitingApproval);
    let until = later(&world, 40);
    world.ask_with(ActionKind::Pause, "alice", |action| action.spec.until = Some(until));
    reaches(&mut world, PASSES, "it is not paused", |world| world.state() == PhaseState::Paused);
    reaches(&mut world, 40 + PASSES, "it is still paused", |world| world.state() == PhaseState::Running);
}

/// It went back, is hidden, had another image, or completed too long ago.
#[rstest]
fn what_was_not_tried_elsewhere_is_not_begun(#[values(1, 2, 3, 4)] how: u8) {
    let mut spec = quiet(0);
    let promoted_from = Promotion {
        namespace: Some("shop-staging".into()),
        phase: "phase".into(),
        within: secs(PROMOTED_WITHIN.as_secs().unsigned_abs()),
    };
    spec.gates = Some(Gates { promoted_from: Some(promoted_from), ..Gates::default() });
    let mut world = world(spec);
    world.images.insert("api".into(), "api:0".into());
    world.promote_elsewhere();
    world.change_promotion(how);
    // That nothing rises is looked at in each pass.
    world.run(20);
    assert_eq!(world.state(), PhaseState::Waiting);
    world.promote_elsewhere();
    reaches(&mut world, 10, "it does not begin", |world| world.splits["api"].routed == 10);
}
