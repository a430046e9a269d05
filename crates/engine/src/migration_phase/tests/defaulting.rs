//! The checks of a phase that names none.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{PhaseState, Stage},
};
use rstest::rstest;

use super::{
    fixture::{check, spec, step},
    simulator::{Cut, Input, Metric, World},
};
use crate::migration_phase::{Probe, Queries, defaults, validate};

/// Soaking in its first step, without checks of its own.
fn soaking(monitored: bool, default_checks: bool) -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 600), step("all", &[("api", 100)], &[], 600)]);
    spec.default_checks = default_checks;
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    world.monitored = monitored;
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::Soaking)));
    world
}

fn names(world: &World) -> Vec<String> {
    world.plan(&world.observe(&world.stored)).checks.into_iter().map(|check| check.name).collect()
}

const ALL: [&str; 3] = ["default-error-rate", "default-average", "default-p95"];

#[rstest]
#[case::measured(true, true, &ALL)]
#[case::not_measured(false, true, &[])]
#[case::not_wanted(true, false, &[])]
fn a_phase_without_checks_has_the_default_ones_where_its_environment_is_measured(
    #[case] monitored: bool,
    #[case] default_checks: bool,
    #[case] expected: &[&str],
) {
    assert_eq!(names(&soaking(monitored, default_checks)), expected);
}

#[test]
fn a_phase_with_checks_of_its_own_has_only_these() {
    let mut world = soaking(true, true);
    world.edit(|spec| spec.checks = vec![check("errors")]);
    world.reconcile(Cut::Never);
    assert_eq!(names(&world), ["errors"]);
}

#[test]
fn an_environment_that_cannot_be_read_takes_no_check_away_and_adds_none() {
    let mut world = soaking(true, true);
    world.blind.insert(Input::Environment);
    world.run(2);
    assert_eq!(names(&world), ALL);
    let mut world = soaking(false, true);
    world.monitored = true;
    world.blind.insert(Input::Environment);
    world.run(2);
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn default_checks_lead_back() {
    let mut world = soaking(true, true);
    world.metric = Metric::Bad;
    assert!(world.run_until(600, |world| world.state() == PhaseState::RolledBack), "{:?}", world.stored);
    let failure = world.stored.failure.unwrap();
    assert_eq!(failure.reason, reasons::CHECK_FAILED);
    assert!(failure.message.contains("default-error-rate failed 3 times"), "{}", failure.message);
}

#[test]
fn without_requests_a_step_does_not_end_and_a_quiet_night_is_no_harm() {
    let mut world = soaking(true, true);
    world.metric = Metric::Nothing;
    world.run(1_000);
    assert_eq!(world.stored.step.as_ref().map(|step| step.name.as_str()), Some("some"));
    world.metric = Metric::Good;
    assert!(world.run_until(60, |world| world.stored.step.as_ref().is_some_and(|step| step.name == "all")));
    world.run(60);
    world.metric = Metric::Nothing;
    world.run(3_000);
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn default_checks_can_be_asked() {
    let mut world = soaking(true, true);
    let identity = world.identity();
    world.edit(|spec| spec.checks = defaults());
    assert!(validate(&identity, &world.spec).is_ok());
    for check in world.plan(&world.observe(&world.stored)).checks {
        let Probe::Prometheus { queries: Queries::Value { query, legacy: None }, .. } = check.probe else {
            panic!("{check:?}")
        };
        assert!(query.contains(r#"namespace="shop",system="new""#) && !query.contains('$'), "{query}");
    }
}

#[test]
fn an_approval_is_of_the_default_checks_too() {
    let subject = |monitored| soaking(monitored, true).stored.approval_subject.unwrap();
    assert_ne!(subject(true), subject(false));
}
