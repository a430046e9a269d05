//! Soaking: how long, and what keeps it from ending.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{PhaseState, Stage},
        phase_action::ActionKind,
    },
};
use rstest::rstest;

use super::{
    fixture::{check, spec, step},
    simulator::{Cut, Metric, World},
};

/// Soaks for ten seconds, from now on.
fn soaking(checks: bool) -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 10)]);
    if checks {
        spec.checks = vec![check("errors")];
    }
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    while world.stage() != Some(Stage::Soaking) {
        world.sync_all();
        world.reconcile(Cut::Never);
    }
    world
}

fn reasons_of(world: &World) -> Vec<&str> {
    world.stored.blocked_by.iter().map(|blocker| blocker.reason.as_str()).collect()
}

#[test]
fn a_soak_ends_when_its_time_is_over_and_says_when() {
    let mut world = soaking(false);
    assert_eq!(reasons_of(&world), [reasons::SOAKING]);
    assert_eq!(world.stored.blocked_by[0].until.as_ref().unwrap().0, world.time + jiff::SignedDuration::from_secs(10));
    let plan = world.plan(&world.observe(&world.stored));
    assert_eq!(plan.requeue_at, Some(world.time + jiff::SignedDuration::from_secs(10)));
    world.pass(9_900);
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::Running);
    world.pass(100);
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::Completed);
}

#[test]
fn a_restart_neither_shortens_nor_lengthens_a_soak() {
    let mut world = soaking(false);
    world.pass(6_000);
    world.restart();
    world.pass(3_900);
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::Running);
    world.pass(100);
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::Completed);
}

#[rstest]
#[case::ahead(6)]
#[case::behind(-6)]
fn a_soak_does_not_end_under_clock_skew(#[case] seconds: i64) {
    let mut world = soaking(false);
    world.set_clock(seconds);
    world.run(30);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert!(reasons_of(&world).contains(&reasons::CLOCK_SKEW), "{:?}", reasons_of(&world));
    world.set_clock(0);
    assert!(world.run_until(12, |world| world.state() == PhaseState::Completed));
}

#[test]
fn a_pause_is_not_part_of_the_soak() {
    let mut world = soaking(false);
    world.run(4);
    world.ask(ActionKind::Pause, "alice");
    world.run(60);
    assert_eq!(world.state(), PhaseState::Paused);
    world.ask(ActionKind::Resume, "alice");
    world.run(4);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert!(world.run_until(5, |world| world.state() == PhaseState::Completed));
}

#[rstest]
#[case::failing(Metric::Bad, reasons::CHECK_FAILING)]
#[case::nothing(Metric::Nothing, reasons::NO_DATA)]
#[case::not_a_number(Metric::Nan, reasons::NO_DATA)]
#[case::down(Metric::Down, reasons::CHECKS_UNAVAILABLE)]
fn a_check_that_does_not_pass_keeps_the_soak_from_ending(#[case] metric: Metric, #[case] reason: &str) {
    let mut world = soaking(true);
    world.spec.checks[0].fail_after = 100;
    world.metric = metric;
    world.run(20);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert_eq!(reasons_of(&world), [reason]);
    world.metric = Metric::Good;
    assert!(world.run_until(3, |world| world.state() == PhaseState::Completed));
}

#[test]
fn a_check_that_has_not_run_keeps_the_soak_from_ending() {
    let mut world = soaking(true);
    world.pass(60_000);
    world.reconcile(Cut::Never);
    assert_eq!(reasons_of(&world), [reasons::CHECKS_PENDING]);
}

#[test]
fn a_result_of_long_ago_does_not_end_a_soak() {
    let mut world = soaking(true);
    world.run(3);
    world.pass(60_000);
    world.restart();
    world.reconcile(Cut::Never);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert_eq!(reasons_of(&world), [reasons::CHECKS_PENDING]);
}
