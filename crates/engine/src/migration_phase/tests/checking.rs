//! Which checks run, and what their status shows.

use cutover_api::v1alpha1::{
    migration_phase::{Check, CheckState, PhaseState, Stage},
    phase_action::ActionKind,
};
use rstest::rstest;

use super::{
    fixture::{check, http_check, job_check, spec, step, webhook_check},
    simulator::{Cut, Metric, Situation, World, reach},
};
use crate::migration_phase::{Answer, Measured, Measurement, Probe, Queries};

fn soaking() -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 600)]);
    spec.checks = vec![check("errors")];
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::Soaking)));
    world
}

#[rstest]
#[case(Situation::Waiting, false)]
#[case(Situation::Preparing, false)]
#[case(Situation::Shifting, true)]
#[case(Situation::Soaking, true)]
#[case(Situation::AwaitingApproval, true)]
#[case(Situation::Paused, true)]
#[case(Situation::Frozen, true)]
#[case(Situation::RolledBack, false)]
#[case(Situation::Completed, false)]
#[case(Situation::Aborted, false)]
fn checks_run_while_the_new_side_has_traffic_that_the_phase_answers_for(#[case] at: Situation, #[case] runs: bool) {
    let world = reach(at);
    let plan = world.plan(&world.observe(&world.stored));
    assert_eq!(!plan.checks.is_empty(), runs);
}

#[test]
fn queries_are_asked_with_their_variables_replaced() {
    let world = soaking();
    let plan = world.plan(&world.observe(&world.stored));
    let query = "errors{system=\"new\"}".to_owned();
    assert_eq!(
        plan.checks[0].probe,
        Probe::Prometheus { environment: "production".into(), queries: Queries::Value { query, legacy: None } }
    );
}

#[rstest]
#[case::inside(Measured::Value(0.1), CheckState::Passing)]
#[case::above(Measured::Value(0.100_001), CheckState::Failing)]
#[case::infinite(Measured::Value(f64::INFINITY), CheckState::Failing)]
#[case::below(Measured::Value(-1.0), CheckState::Failing)]
#[case::nan(Measured::Value(f64::NAN), CheckState::NoData)]
#[case::nothing(Measured::NoData, CheckState::NoData)]
#[case::down(Measured::Erroring("refused".into()), CheckState::Erroring)]
fn a_result_is_judged_by_its_bounds(#[case] result: Measured, #[case] state: CheckState) {
    let mut world = soaking();
    world.edit(|spec| spec.checks[0].min = Some("0".parse().unwrap()));
    world.pass(5_000);
    let round = world.plan(&world.observe(&world.stored)).checks[0].round.clone();
    world.measured.insert("errors".into(), Measurement { result, at: world.clock(), round });
    world.past.measured("errors", Metric::Bad);
    world.reconcile(Cut::Never);
    assert_eq!(world.stored.checks[0].state, state);
}

/// A world in which a check over HTTP comes to this again and again, until something is made of it.
fn answered(answer: &Measured, times: usize) -> World {
    let mut world = soaking();
    world.edit(|spec| spec.checks = vec![http_check("health")]);
    world.reconcile(Cut::Never);
    for _ in 0..times {
        world.pass(2_000);
        let round = world.plan(&world.observe(&world.stored)).checks[0].round.clone();
        world.measured.insert("health".into(), Measurement { result: answer.clone(), at: world.clock(), round });
        world.past.measured("health", Metric::Bad);
        world.reconcile(Cut::Never);
    }
    world
}

#[test]
fn a_new_side_that_does_not_answer_is_harm() {
    let silence = Measured::Answers { legacy: None, new: Answer::Silence("connection refused".into()) };
    assert_eq!(answered(&silence, 2).state(), PhaseState::Running);
    let world = answered(&silence, 3);
    let failure = world.stored.failure.unwrap();
    assert_eq!(failure.message, "check health failed 3 times in a row: connection refused");
}

/// A world in which a check by Job comes to this again and again, until something is made of it.
fn ended(result: &Measured, times: usize) -> World {
    let mut world = soaking();
    world.edit(|spec| spec.checks = vec![job_check("smoke")]);
    world.reconcile(Cut::Never);
    for _ in 0..times {
        world.pass(2_000);
        let round = world.plan(&world.observe(&world.stored)).checks[0].round.clone();
        world.measured.insert("smoke".into(), Measurement { result: result.clone(), at: world.clock(), round });
        world.past.measured("smoke", Metric::Bad);
        world.reconcile(Cut::Never);
    }
    world
}

#[test]
fn a_job_that_fails_often_enough_is_harm_and_says_what_it_said() {
    let failed = Measured::Ended { failure: Some("Job smoke-x failed with exit code 3".into()) };
    assert_eq!(ended(&failed, 2).state(), PhaseState::Running);
    let failure = ended(&failed, 3).stored.failure.unwrap();
    assert_eq!(failure.message, "check smoke failed 3 times in a row: Job smoke-x failed with exit code 3");
}

#[test]
fn a_job_that_cannot_be_made_is_no_harm() {
    let world = ended(&Measured::Erroring("its Job could not be made: exceeded quota".into()), 6);
    assert_eq!((world.state(), world.stored.checks[0].state), (PhaseState::Running, CheckState::Erroring));
    assert_eq!(ended(&Measured::Ended { failure: None }, 2).stored.checks[0].state, CheckState::Passing);
}

#[test]
fn a_job_is_started_when_the_weights_are_in_force_and_not_before() {
    let mut world = soaking();
    world.edit(|spec| spec.checks = vec![job_check("smoke")]);
    let since = world.stored.step.as_ref().unwrap().shifted_at.clone().unwrap().0;
    let at = |world: &mut World, time| {
        world.time = time;
        let plan = world.plan(&world.observe(&world.stored));
        (plan.checks.len(), plan.requeue_at)
    };
    let (active, next) = at(&mut world, since);
    assert_eq!((active, next.map(|next| next.duration_since(since).as_secs())), (0, Some(1)));
    assert_eq!(at(&mut world, since + jiff::SignedDuration::from_millis(1)).0, 1);
    let mut world = reach(Situation::Shifting);
    world.edit(|spec| spec.checks = vec![job_check("smoke")]);
    let plan = world.plan(&world.observe(&world.stored));
    let shifting = plan.status.step.is_some_and(|step| step.stage == Stage::Shifting);
    assert_eq!((shifting, plan.checks), (true, vec![]));
}

#[test]
fn the_job_of_a_check_is_one_pod_and_goes_by_itself() {
    let mut world = soaking();
    world.edit(|spec| spec.checks = vec![job_check("smoke")]);
    world.pass(1_000);
    let plan = world.plan(&world.observe(&world.stored));
    let Probe::Job { body, timeout } = &plan.checks[0].probe else { panic!("{:?}", plan.checks) };
    assert_eq!(timeout.as_secs(), 1);
    insta::assert_json_snapshot!(body);
}

#[test]
fn somebody_elses_word_is_harm_when_it_says_so() {
    let mut world = soaking();
    world.edit(|spec| spec.checks = vec![webhook_check("orders")]);
    world.run(3);
    assert_eq!(world.stored.checks[0].state, CheckState::Passing);
    world.metric = Metric::Down;
    world.run(30);
    assert_eq!((world.state(), world.stored.checks[0].state), (PhaseState::Running, CheckState::Erroring));
    world.metric = Metric::Bad;
    assert!(world.run_until(10, |world| world.state() == PhaseState::RolledBack), "{:?}", world.stored);
    let failure = world.stored.failure.unwrap();
    assert_eq!(failure.message, "check orders failed 3 times in a row: no reason was given");
}

#[test]
fn what_the_operator_cannot_ask_is_no_harm() {
    let world = answered(&Measured::Erroring("the name cannot be resolved".into()), 6);
    assert_eq!((world.state(), world.stored.checks[0].state), (PhaseState::Running, CheckState::Erroring));
}

#[test]
fn a_condition_over_both_sides_asks_for_both() {
    let mut world = soaking();
    world.edit(|spec| {
        spec.checks[0].max = None;
        spec.checks[0].condition = Some("new <= legacy * 2.0".into());
    });
    world.reconcile(Cut::Never);
    let Probe::Prometheus { queries: Queries::Value { query, legacy }, .. } =
        &world.plan(&world.observe(&world.stored)).checks[0].probe
    else {
        panic!("another kind of check");
    };
    assert_eq!(query, "errors{system=\"new\"}");
    assert_eq!(legacy.as_deref(), Some("errors{system=\"legacy\"}"));
}

#[test]
fn where_legacy_has_no_traffic_nothing_is_compared() {
    let mut spec = spec(vec![step("half", &[("api", 50)], &[], 0), step("all", &[("api", 100)], &[], 600)]);
    let condition = Some("new <= legacy * 2.0".to_owned());
    spec.checks = vec![Check { max: None, condition, ..check("errors") }];
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    let on_to = |step: &'static str| move |world: &World| world.stored.step.as_ref().is_some_and(|at| at.name == step);
    assert!(world.run_until(20, on_to("all")), "{:?}", world.stored);
    assert!(world.run_until(20, |world| world.stage() == Some(Stage::Soaking)));
    let runs = world.past.results["errors"].len();
    assert!(runs > 0 && world.plan(&world.observe(&world.stored)).checks.is_empty());
    assert!(world.run_until(700, |world| world.state() == PhaseState::Completed), "{:?}", world.stored);
    assert_eq!(world.past.results["errors"].len(), runs);
}

#[test]
fn a_dry_run_reports_fails_nothing_and_holds_nothing_up() {
    let mut world = soaking();
    world.edit(|spec| spec.checks[0].dry_run = true);
    world.metric = Metric::Bad;
    world.past.measured("errors", Metric::Good);
    world.run(30);
    let status = &world.stored.checks[0];
    assert!(status.state == CheckState::Failing && status.consecutive_failures > 3, "{status:?}");
    assert_eq!(world.state(), PhaseState::Running);
    world.metric = Metric::Down;
    assert!(world.run_until(700, |world| world.state() == PhaseState::Completed), "{:?}", world.stored);
}

#[test]
fn a_result_of_another_round_is_not_taken() {
    let mut world = soaking();
    world.stored.checks.clear();
    world.pass(5_000);
    let at = world.clock();
    world.measured.insert("errors".into(), Measurement { result: Measured::Value(0.5), at, round: "1/1".into() });
    world.reconcile(Cut::Never);
    assert!(world.stored.checks.is_empty());
}

#[test]
fn counters_begin_anew_with_each_attempt() {
    let mut world = soaking();
    world.metric = Metric::Bad;
    world.run(3);
    assert!(world.stored.checks[0].consecutive_failures > 0);
    world.ask(ActionKind::Rollback, "alice");
    assert!(world.run_until(5, |world| world.state() == PhaseState::RolledBack));
    world.ask(ActionKind::Retry, "alice");
    world.reconcile(Cut::Never);
    assert!(world.stored.checks.is_empty());
}

#[test]
fn after_a_freeze_that_a_person_ended_everything_is_watched_anew() {
    let mut world = reach(Situation::Frozen);
    world.metric = Metric::Good;
    world.ask(ActionKind::Resume, "alice");
    world.run(1);
    assert_eq!(world.state(), PhaseState::Running);
    assert!(world.stored.failure.is_none());
    world.run(10);
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
}
