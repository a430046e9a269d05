//! Harm: what counts, from when, and what it leads to.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{OnFailure, PhaseState, Stage},
        phase_action::ActionKind,
        traffic_split::Side,
    },
};
use jiff::SignedDuration;
use rstest::rstest;

use super::{
    fixture::{check, secs, spec, step},
    simulator::{Cut, Input, Metric, Situation, World, reach},
};

fn soaking() -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 600), step("all", &[("api", 100)], &[], 600)]);
    spec.checks = vec![check("errors")];
    spec.dead_after = secs(5);
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::Soaking)));
    world.run(3);
    world
}

fn kill(world: &mut World, new: bool) {
    let api = world.splits.get_mut("api").unwrap();
    *(if new { &mut api.new_ready } else { &mut api.legacy_ready }) = 0;
    world.note_dead();
}

#[test]
fn a_side_without_endpoints_is_harm_after_so_long() {
    let mut world = soaking();
    kill(&mut world, true);
    world.run(4);
    assert_eq!(world.state(), PhaseState::Running);
    world.run(4);
    assert_eq!(world.state(), PhaseState::RolledBack);
    assert_eq!(world.stored.failure.as_ref().unwrap().reason, reasons::SIDE_DEAD);
    assert_eq!(world.splits["api"].routed, 0);
}

#[test]
fn a_side_that_comes_back_begins_anew() {
    let mut world = soaking();
    for _ in 0..4 {
        kill(&mut world, true);
        world.run(3);
        world.mend();
        world.note_dead();
        world.run(1);
    }
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn what_cannot_be_read_is_not_dead() {
    let mut world = soaking();
    kill(&mut world, true);
    world.run(3);
    world.blind.insert(Input::Splits);
    world.run(60);
    assert_eq!(world.state(), PhaseState::Running);
    assert!(world.stored.dead_sides.is_empty());
}

#[rstest]
#[case::freeze(OnFailure::Freeze, true)]
#[case::irreversible(OnFailure::Rollback, false)]
fn harm_freezes_where_nothing_may_go_back(#[case] on_failure: OnFailure, #[case] reversible: bool) {
    let mut world = soaking();
    world.edit(|spec| (spec.on_failure, spec.reversible) = (on_failure, reversible));
    world.metric = Metric::Bad;
    assert!(world.run_until(10, |world| world.state() == PhaseState::Frozen));
    world.run(60);
    assert_eq!((world.state(), world.splits["api"].routed), (PhaseState::Frozen, 10));
}

#[test]
fn a_dead_legacy_side_freezes_because_going_back_would_lead_there() {
    let mut world = soaking();
    kill(&mut world, false);
    world.run(8);
    assert_eq!(world.state(), PhaseState::Frozen);
    assert_eq!(world.stored.failure.as_ref().unwrap().reason, reasons::WAY_BACK_CLOSED);
    assert_eq!(world.splits["api"].routed, 10);
}

/// Nothing else would bring the phase up again: legacy may have come back before the new side was dead for long enough.
#[test]
fn a_frozen_phase_is_looked_at_when_a_dead_side_begins_to_count() {
    let mut world = soaking();
    kill(&mut world, false);
    assert!(world.run_until(10, |world| world.state() == PhaseState::Frozen));
    kill(&mut world, true);
    world.round();
    world.splits.get_mut("api").unwrap().legacy_ready = 1;
    world.round();
    assert_eq!(world.state(), PhaseState::Frozen);
    let since = world.stored.dead_sides.iter().find(|dead| dead.side == Side::New).unwrap().since.0;
    let plan = world.plan(&world.observe(&world.stored));
    assert_eq!(plan.requeue_at, Some(since + SignedDuration::from_secs(5)));
    assert!(world.run_until(8, |world| world.state() == PhaseState::RolledBack));
}

/// The clock is measured with each renewal of the lease, and nothing else happens when it is right again.
#[test]
fn a_phase_that_is_held_by_the_clock_looks_at_it_again() {
    let mut world = soaking();
    world.edit(|spec| spec.checks.clear());
    world.offset = SignedDuration::from_secs(3_600);
    world.run(2);
    let plan = world.plan(&world.observe(&world.stored));
    let soon = world.clock() + SignedDuration::from_secs(5);
    assert!(plan.requeue_at.is_some_and(|at| at <= soon), "{:?}", plan.requeue_at);
}

#[test]
fn a_check_fails_after_so_many_failures_in_a_row() {
    let mut world = soaking();
    for _ in 0..3 {
        world.metric = Metric::Bad;
        world.run(4);
        world.metric = Metric::Good;
        world.run(2);
    }
    assert_eq!(world.state(), PhaseState::Running);
    world.metric = Metric::Bad;
    world.run(8);
    assert_eq!(world.state(), PhaseState::RolledBack);
    assert_eq!(world.stored.failure.as_ref().unwrap().reason, reasons::CHECK_FAILED);
}

#[test]
fn old_errors_do_not_fail_a_step() {
    let mut world = soaking();
    world.edit(|spec| spec.checks[0].warmup = Some(secs(30)));
    world.metric = Metric::Bad;
    world.run(25);
    assert_eq!(world.state(), PhaseState::Running);
    assert_eq!(world.stored.checks[0].consecutive_failures, 0);
    assert!(world.run_until(15, |world| world.state() == PhaseState::RolledBack));
}

#[test]
fn the_warm_up_is_as_long_as_the_query_looks_back() {
    let mut world = soaking();
    world.edit(|spec| spec.checks[0].prometheus.as_mut().unwrap().query = "rate(errors[30s])".into());
    world.metric = Metric::Bad;
    world.run(25);
    assert_eq!(world.state(), PhaseState::Running);
    assert!(world.run_until(15, |world| world.state() == PhaseState::RolledBack));
}

#[rstest]
#[case::data_gone(Metric::Nothing, Some(reasons::DATA_VANISHED))]
#[case::not_a_number(Metric::Nan, Some(reasons::DATA_VANISHED))]
#[case::source_down(Metric::Down, None)]
fn missing_data_is_harm_only_where_there_was_some_and_the_source_answers(
    #[case] metric: Metric,
    #[case] reason: Option<&str>,
) {
    let mut world = soaking();
    world.metric = metric;
    world.run(7);
    assert_eq!(world.state(), PhaseState::Running);
    world.run(30);
    assert_eq!(world.stored.failure.as_ref().map(|failure| failure.reason.as_str()), reason);
    assert_eq!(world.state() == PhaseState::RolledBack, reason.is_some());
}

#[test]
fn data_that_was_never_there_has_not_vanished() {
    let mut world = soaking();
    world.stored.checks.clear();
    world.measured.clear();
    world.metric = Metric::Nothing;
    world.run(60);
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn an_outage_of_the_source_is_not_missing_data() {
    let mut world = soaking();
    for _ in 0..5 {
        world.metric = Metric::Down;
        world.run(10);
        world.metric = Metric::Nothing;
        world.run(5);
    }
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn a_pause_disarms_and_a_resume_arms_again() {
    let mut world = soaking();
    world.ask(ActionKind::Pause, "alice");
    world.run(1);
    kill(&mut world, true);
    world.metric = Metric::Bad;
    world.run(60);
    assert_eq!((world.state(), world.splits["api"].routed), (PhaseState::Paused, 10));
    assert_eq!(world.stored.checks[0].consecutive_failures, 0, "checks only show");
    world.ask(ActionKind::Resume, "alice");
    assert!(world.run_until(10, |world| world.state() == PhaseState::RolledBack));
}

#[test]
fn a_pause_ends_by_itself() {
    let mut world = soaking();
    let until = super::simulator::later(&world, 20);
    world.ask_with(ActionKind::Pause, "alice", |action| action.spec.until = Some(until));
    world.run(19);
    assert_eq!(world.state(), PhaseState::Paused);
    world.run(3);
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn a_pause_stops_a_shift_where_it_is() {
    let mut world = reach(Situation::Shifting);
    world.run(1);
    world.ask(ActionKind::Pause, "alice");
    world.run(2);
    world.splits.get_mut("web").unwrap().stuck = false;
    world.run(10);
    assert_eq!((world.splits["api"].routed, world.splits["web"].routed), (10, 0));
    world.ask(ActionKind::Resume, "alice");
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::Soaking)));
    assert_eq!(world.splits["web"].routed, 5);
}

#[test]
fn harm_while_the_next_step_is_prepared_takes_back_what_is_in_force() {
    let mut world = soaking();
    world.edit(|spec| {
        spec.steps[0].soak = secs(5);
        spec.rollback.to = cutover_api::v1alpha1::migration_phase::AutomaticRollbackTo::PreviousStep;
    });
    world.splits.get_mut("api").unwrap().full = 8;
    world.splits.get_mut("api").unwrap().new_ready = 2;
    let preparing = |world: &World| world.stored.step.as_ref().is_some_and(|step| step.index == 1);
    assert!(world.run_until(10, preparing));
    world.metric = Metric::Bad;
    assert!(world.run_until(12, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["api"].routed, 0);
}

#[test]
fn a_check_that_begins_to_fail_while_the_next_step_is_prepared_holds_it() {
    let mut world = soaking();
    world.edit(|spec| {
        spec.steps[0].soak = secs(5);
        spec.checks[0].fail_after = 100;
    });
    world.splits.get_mut("api").unwrap().full = 8;
    world.splits.get_mut("api").unwrap().new_ready = 2;
    let preparing = |world: &World| world.stored.step.as_ref().is_some_and(|step| step.index == 1);
    assert!(world.run_until(10, preparing));
    world.metric = Metric::Bad;
    world.run(4);
    world.splits.get_mut("api").unwrap().new_ready = 8;
    world.run(20);
    assert_eq!((world.stage(), world.splits["api"].routed), (Some(Stage::Preparing), 10));
    world.metric = Metric::Good;
    assert!(world.run_until(5, |world| world.splits["api"].routed == 100));
}

#[test]
fn harm_before_anything_has_moved_only_holds() {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 0)]);
    spec.dead_after = secs(2);
    let mut world = World::new(spec, &[("api", 5, 0)], &[]);
    kill(&mut world, true);
    world.run(30);
    assert_eq!((world.stage(), world.splits["api"].routed), (Some(Stage::Preparing), 5));
    let listed: Vec<_> = world.stored.blocked_by.iter().map(|blocker| blocker.reason.as_str()).collect();
    assert!(listed.contains(&reasons::SIDE_DEAD), "{listed:?}");
}

#[test]
fn harm_is_seen_while_traffic_shifts() {
    let mut world = reach(Situation::Shifting);
    world.spec.shift_timeout = secs(600);
    world.metric = Metric::Bad;
    assert!(
        world
            .run_until(12, |world| world.state() == PhaseState::RolledBack || world.state() == PhaseState::RollingBack)
    );
    assert_eq!(world.stored.failure.as_ref().unwrap().reason, reasons::CHECK_FAILED);
}

#[test]
fn a_crash_between_result_and_write_counts_a_failure_once() {
    let mut world = soaking();
    world.metric = Metric::Bad;
    world.pass(2_000);
    world.run_checks();
    for cut in [Cut::BeforeWrite, Cut::AfterWrite, Cut::Stale, Cut::Never, Cut::Never] {
        world.reconcile(cut);
    }
    assert_eq!(world.stored.checks[0].consecutive_failures, 1);
}
