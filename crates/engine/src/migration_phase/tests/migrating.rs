//! Migrations of the shared database: carried out once, recorded before anything goes on, undone on the way back.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{HookPoint, HookState, MigrationDirection, MigrationRun, PhaseHooks, PhaseState, Stage},
        phase_action::{ActionKind, RollbackTo},
    },
};
use rstest::rstest;

use super::{
    fixture::{hook, migration, spec, step},
    simulator::{Cut, HookEnd, Input, World},
};
use crate::migration_phase::{MigrationView, validate};

/// Version 44 before the first step, 45 in it.
fn world(undone: bool) -> World {
    let mut first = step("few", &[("api", 10)], &[], 2);
    first.hooks = vec![migration("backfill", 45, undone)];
    let mut spec = spec(vec![first, step("all", &[("api", 100)], &[], 60)]);
    let before = vec![migration("expand", 44, undone)];
    spec.hooks = Some(PhaseHooks { before, after: vec![], on_rollback: vec![hook("undo")] });
    World::new(spec, &[("api", 0, 8)], &[])
}

fn runs(world: &World) -> Vec<(i64, MigrationDirection, i32, HookState)> {
    let runs = world.stored.hooks.iter().filter_map(|hook| {
        let MigrationRun { version, direction, round } = hook.migration?;
        Some((version, direction, round, hook.state))
    });
    runs.collect()
}

fn applied(world: &World) -> Vec<i64> {
    world.migrations.iter().filter(|(_, view)| view.applied).map(|(version, _)| *version).collect()
}

use HookState::{Skipped, Succeeded};
use MigrationDirection::{Down, Up};

#[test]
fn a_version_is_migrated_to_before_anything_moves_and_not_again_in_the_next_attempt() {
    let mut world = world(false);
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
    assert_eq!(runs(&world), [(44, Up, 1, Succeeded), (45, Up, 1, Succeeded)]);
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(30, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(applied(&world), [44, 45], "without a down the schema stays");
    world.ask(ActionKind::Retry, "alice");
    assert!(world.run_until(30, |world| world.stored.attempt == Some(2) && world.stage() == Some(Stage::Soaking)));
    assert_eq!(runs(&world), [(44, Up, 1, Skipped), (45, Up, 1, Skipped)]);
}

#[test]
fn the_way_back_to_the_baseline_undoes_later_versions_first() {
    let mut world = world(true);
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(40, |world| world.state() == PhaseState::RolledBack));
    let expected = [(44, Up, 1, Succeeded), (45, Up, 1, Succeeded), (45, Down, 2, Succeeded), (44, Down, 2, Succeeded)];
    assert_eq!(runs(&world), expected);
    assert_eq!(world.stored.hooks.last().unwrap().name, "undo", "hooks of the way back come after it");
    assert!(applied(&world).is_empty() && world.applied.is_empty());
    world.ask(ActionKind::Retry, "alice");
    assert!(world.run_until(30, |world| world.stored.attempt == Some(2) && world.stage() == Some(Stage::Soaking)));
    assert_eq!(runs(&world), [(44, Up, 3, Succeeded), (45, Up, 3, Succeeded)]);
}

#[test]
fn the_way_back_to_the_step_before_undoes_nothing() {
    let mut world = world(true);
    let second = |world: &World| world.stored.step.as_ref().is_some_and(|step| step.index == 1);
    assert!(world.run_until(60, |world| second(world) && world.stage() == Some(Stage::Soaking)));
    world.roll_back(RollbackTo::PreviousStep);
    assert!(world.run_until(40, |world| world.state() == PhaseState::RolledBack));
    assert_eq!((applied(&world), world.splits["api"].routed), (vec![44, 45], 10));
}

#[test]
fn what_another_phase_migrates_is_waited_for_and_not_undone() {
    let mut world = world(true);
    let other =
        MigrationView { round: 1, job: "other".into(), phase_uid: Some("another".into()), ..Default::default() };
    world.migrations.insert(44, MigrationView { open: Some("other".into()), ..other.clone() });
    world.run(20);
    let waits = world.stored.blocked_by.iter().any(|blocker| blocker.reason == reasons::MIGRATION_UNDER_WAY);
    assert!(waits && runs(&world).is_empty(), "{:?}", world.stored.blocked_by);
    world.migrations.insert(44, MigrationView { applied: true, ..other });
    world.applied.insert(44);
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
    assert_eq!(runs(&world), [(44, Up, 1, Skipped), (45, Up, 1, Succeeded)]);
    world.roll_back(RollbackTo::Legacy);
    assert!(world.run_until(40, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(applied(&world), [44]);
}

#[test]
fn nothing_moves_before_the_record_is_known() {
    let mut world = world(false);
    assert!(world.run_until(10, |world| world.stored.hooks.iter().any(|hook| hook.state == HookState::Started)));
    world.blind.insert(Input::Environment);
    world.run(20);
    assert_eq!((runs(&world), world.splits["api"].routed), (vec![(44, Up, 1, Succeeded)], 0));
    assert!(world.stored.blocked_by.iter().any(|blocker| blocker.reason == reasons::UNKNOWN_INPUT));
    world.blind.clear();
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
}

#[test]
fn what_is_not_recorded_yet_is_waited_for() {
    let mut world = world(false);
    world.unrecorded = true;
    world.run(20);
    assert_eq!((runs(&world), world.splits["api"].routed), (vec![(44, Up, 1, Succeeded)], 0));
    let blocked = &world.stored.blocked_by;
    assert!(blocked.iter().any(|blocker| blocker.reason == reasons::MIGRATION_UNDER_WAY), "{blocked:?}");
    world.unrecorded = false;
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
}

#[test]
fn a_migration_of_which_nobody_knows_is_recorded_as_a_person_says() {
    let mut world = world(true);
    for _ in 0..20 {
        world.reconcile(Cut::AfterWrite);
        if !world.stored.hooks.is_empty() {
            break;
        }
        world.sync_all();
        world.pass(1_000);
    }
    world.run(10);
    assert_eq!(runs(&world), [(44, Up, 1, HookState::Unknown)]);
    world.ask(ActionKind::Resume, "alice");
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
    assert_eq!(runs(&world), [(44, Up, 1, HookState::Waived), (45, Up, 1, Succeeded)]);
    assert_eq!(applied(&world), [44, 45]);
}

#[test]
fn a_down_that_fails_freezes_with_the_traffic_back_and_a_rollback_runs_it_again() {
    let mut world = world(true);
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
    world.hooks_end = HookEnd::Badly;
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(30, |world| world.state() == PhaseState::Frozen));
    assert_eq!((world.splits["api"].routed, applied(&world)), (0, vec![44, 45]));
    world.hooks_end = HookEnd::Well;
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(40, |world| world.state() == PhaseState::RolledBack));
    let downs: Vec<_> = runs(&world).into_iter().filter(|run| run.1 == Down).collect();
    assert_eq!(downs, [(45, Down, 3, Succeeded), (44, Down, 2, Succeeded)]);
}

#[test]
fn the_job_of_a_migration_belongs_to_the_environment_and_stays() {
    let mut world = world(true);
    let plan = loop {
        let plan = world.plan(&world.observe(&world.stored));
        if !plan.hook_jobs.is_empty() {
            break plan;
        }
        world.reconcile(Cut::Never);
        world.sync_all();
    };
    insta::assert_json_snapshot!(plan.hook_jobs[0].body);
}

#[rstest]
#[case(HookPoint::After, "spec.hooks.after[0].migration")]
#[case(HookPoint::OnRollback, "spec.hooks.onRollback[0].migration")]
fn a_migration_elsewhere_is_refused(#[case] point: HookPoint, #[case] field: &str) {
    let mut world = world(false);
    let hooks = world.spec.hooks.as_mut().unwrap();
    *(if point == HookPoint::After { &mut hooks.after } else { &mut hooks.on_rollback }) =
        vec![migration("late", 46, false)];
    let invalid = validate(&world.identity(), &world.spec).unwrap_err();
    assert_eq!(invalid.problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), [field]);
}

#[test]
fn one_version_is_named_once_and_belongs_to_an_environment() {
    let mut world = world(false);
    world.spec.steps[0].hooks[0].migration.as_mut().unwrap().version = 44;
    world.spec.environment = None;
    let invalid = validate(&world.identity(), &world.spec).unwrap_err();
    let fields: Vec<_> = invalid.problems.iter().map(|problem| problem.field.as_str()).collect();
    let step = "spec.steps[0].hooks[0].migration";
    assert_eq!(fields, ["spec.hooks.before[0].migration", step, &format!("{step}.version")]);
}
