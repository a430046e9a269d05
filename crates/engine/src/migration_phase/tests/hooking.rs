//! Hooks: started once, in order, after their intent is written; and what their end leads to.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{HookPoint, HookState, OnFailure, PhaseHooks, PhaseState, Stage},
        phase_action::{ActionKind, ActionState},
    },
};
use rstest::rstest;

use super::{
    fixture::{hook, spec, step},
    simulator::{Cut, HookEnd, World},
};
use crate::migration_phase::validate;

fn world() -> World {
    let mut first = step("few", &[("api", 10)], &[], 2);
    first.hooks = vec![hook("smoke"), hook("load")];
    let mut spec = spec(vec![first, step("all", &[("api", 100)], &[], 2)]);
    let hooks = |name: &str| vec![hook(name)];
    spec.hooks = Some(PhaseHooks { before: hooks("backup"), after: hooks("clean"), on_rollback: hooks("undo") });
    World::new(spec, &[("api", 0, 8)], &[])
}

fn started(world: &World) -> Vec<(&str, HookState)> {
    world.stored.hooks.iter().map(|hook| (hook.name.as_str(), hook.state)).collect()
}

/// The intent of the next hook is written, and the process dies before it makes the Job.
fn crash_at_next_intent(world: &mut World) {
    let before = world.stored.hooks.len();
    for _ in 0..40 {
        world.reconcile(Cut::AfterWrite);
        if world.stored.hooks.len() > before {
            return;
        }
        world.sync_all();
        world.pass(1_000);
    }
    panic!("no hook is due: {:#?}", world.stored);
}

#[test]
fn hooks_run_in_order_and_the_weights_wait_for_them() {
    let mut world = world();
    assert!(world.run_until(5, |world| !world.stored.hooks.is_empty()));
    assert_eq!((started(&world), world.splits["api"].routed), (vec![("backup", HookState::Started)], 0));
    assert_eq!(world.stored.blocked_by[0].reason, reasons::HOOK_RUNNING);
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed));
    let all = ["backup", "smoke", "load", "clean"].map(|name| (name, HookState::Succeeded));
    assert_eq!(started(&world), all);
    assert_eq!(world.past.starts.len(), 4);
}

#[test]
fn a_crash_between_intent_and_job_asks_a_person_and_starts_nothing() {
    let mut world = world();
    crash_at_next_intent(&mut world);
    world.run(60);
    assert_eq!(started(&world), [("backup", HookState::Unknown)]);
    assert!(world.jobs.is_empty() && world.splits["api"].routed == 0);
    let asked = world.stored.blocked_by.iter().find(|blocker| blocker.reason == reasons::HOOK_UNKNOWN).unwrap();
    assert!(asked.message.contains("Resume") && asked.message.contains("Retry"), "{asked:?}");
    let uid = world.ask(ActionKind::Resume, "alice");
    world.run(3);
    assert_eq!(world.outcome(&uid), Some(ActionState::Accepted));
    assert_eq!(world.stored.hooks[0].state, HookState::Waived);
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed));
}

#[test]
fn what_is_unknown_of_the_way_forward_does_not_bar_the_way_back() {
    let mut world = world();
    assert!(world.run_until(20, |world| world.stage() == Some(Stage::Hooks)));
    crash_at_next_intent(&mut world);
    world.run(3);
    assert!(world.stored.hooks.iter().any(|hook| hook.state == HookState::Unknown), "{:?}", world.stored.hooks);
    world.roll_back(cutover_api::v1alpha1::phase_action::RollbackTo::Baseline);
    assert!(world.run_until(20, |world| world.state() == PhaseState::RolledBack), "{:?}", world.stored.failure);
}

#[test]
fn a_job_that_turns_up_late_is_no_longer_unknown() {
    let mut world = world();
    crash_at_next_intent(&mut world);
    world.run(2);
    assert_eq!(world.stored.hooks[0].state, HookState::Unknown);
    world.jobs.insert(world.stored.hooks[0].job.clone(), world.time);
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed));
    assert_eq!(world.stored.hooks[0].state, HookState::Succeeded);
}

#[test]
fn a_hook_of_a_step_that_fails_is_harm() {
    let mut world = world();
    assert!(world.run_until(20, |world| world.stage() == Some(Stage::Hooks)));
    world.hooks_end = HookEnd::Badly;
    assert!(world.run_until(10, |world| world.state() == PhaseState::RollingBack));
    let failure = world.stored.failure.clone().unwrap();
    assert_eq!(failure.reason, reasons::HOOK_FAILED);
    assert!(failure.message.contains("exit code 3"), "{failure:?}");
    let smoke = world.stored.hooks.iter().find(|hook| hook.name == "smoke").unwrap();
    assert_eq!((smoke.state, smoke.exit_code, smoke.log.as_deref()), (HookState::Failed, Some(3), Some("no")));
    world.hooks_end = HookEnd::Well;
    assert!(world.run_until(20, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["api"].routed, 0);
    let undo = world.stored.hooks.iter().find(|hook| hook.point == HookPoint::OnRollback).unwrap();
    assert_eq!(undo.state, HookState::Succeeded);
    // The next attempt runs them anew.
    world.ask(ActionKind::Retry, "alice");
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed));
}

#[test]
fn a_hook_that_does_not_end_in_time_has_failed() {
    let mut world = world();
    world.spec.on_failure = OnFailure::Freeze;
    assert!(world.run_until(20, |world| world.stage() == Some(Stage::Hooks)));
    world.hooks_end = HookEnd::Never;
    world.run(25);
    assert_eq!(world.state(), PhaseState::Running);
    assert!(world.run_until(10, |world| world.state() == PhaseState::Frozen));
    assert!(world.stored.failure.as_ref().unwrap().message.contains("did not end"), "{:?}", world.stored.failure);
    // Whoever resumes has looked at it: it is not started again, and what comes after it is.
    world.hooks_end = HookEnd::Well;
    world.ask(ActionKind::Resume, "alice");
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed));
    assert_eq!(started(&world)[1], ("smoke", HookState::Waived));
}

#[test]
fn a_hook_that_fails_before_anything_moved_freezes() {
    let mut world = world();
    world.hooks_end = HookEnd::Badly;
    assert!(world.run_until(10, |world| world.state() == PhaseState::Frozen));
    assert!(world.stored.blocked_by[0].message.contains("nothing has moved"), "{:?}", world.stored.blocked_by);
    world.hooks_end = HookEnd::Well;
    world.ask(ActionKind::Retry, "alice");
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed));
}

#[test]
fn a_hook_that_fails_on_the_way_back_freezes_at_the_target_and_a_rollback_runs_it_again() {
    let mut world = world();
    assert!(world.run_until(30, |world| world.stage() == Some(Stage::Soaking)));
    world.ask(ActionKind::Rollback, "alice");
    world.hooks_end = HookEnd::Badly;
    assert!(world.run_until(20, |world| world.state() == PhaseState::Frozen));
    assert_eq!(world.splits["api"].routed, 0, "the traffic is back all the same");
    world.hooks_end = HookEnd::Well;
    world.ask(ActionKind::Rollback, "alice");
    assert!(world.run_until(20, |world| world.state() == PhaseState::RolledBack));
}

#[test]
fn the_job_is_one_pod_that_is_started_once() {
    let mut world = world();
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
#[case("/backoffLimit", 3.into(), "spec.steps[0].hooks[0].job.backoffLimit")]
#[case("/template/spec/restartPolicy", "OnFailure".into(), "spec.steps[0].hooks[0].job.template.spec.restartPolicy")]
#[case("/completions", 2.into(), "spec.steps[0].hooks[0].job.parallelism")]
#[case("/suspend", true.into(), "spec.steps[0].hooks[0].job.suspend")]
#[case("/ttlSecondsAfterFinished", 5.into(), "spec.steps[0].hooks[0].job.ttlSecondsAfterFinished")]
fn a_job_that_could_start_twice_is_refused(#[case] path: &str, #[case] value: serde_json::Value, #[case] field: &str) {
    let mut world = world();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let job = &mut world.spec.steps[0].hooks[0].job;
    job.pointer_mut(parent).unwrap()[name] = value;
    let invalid = validate(&world.identity(), &world.spec).unwrap_err();
    assert_eq!(invalid.problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), [field]);
}

#[test]
fn who_asks_in_time_that_nothing_goes_on_sees_no_hook_start() {
    let mut world = world();
    assert!(world.run_until(60, |world| {
        world.stage() == Some(Stage::Soaking) && world.stored.step.as_ref().is_some_and(|step| step.name == "all")
    }));
    // The soak is over, and the next decision sees that and the action at once.
    world.pass(5_000);
    let before = world.jobs.len();
    let uid = world.ask(ActionKind::Abort, "alice");
    world.run(3);
    assert_eq!(world.outcome(&uid), Some(ActionState::Accepted));
    assert_eq!((world.state(), world.jobs.len()), (PhaseState::Aborted, before), "{:?}", world.stored.hooks);
}
