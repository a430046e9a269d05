//! Promote: what it ends, and what it does not.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Gates, PhaseState, Stage},
        phase_action::{ActionKind, ActionState},
    },
};
use rstest::rstest;

use super::{
    fixture::{approved, check, spec, step},
    simulator::{Cut, Metric, Situation, World, reach},
};

const ACCEPTED: (ActionState, &str) = (ActionState::Accepted, reasons::APPLIED);
const NOT_NOW: (ActionState, &str) = (ActionState::Rejected, reasons::NOT_APPLICABLE);

/// What becomes of a Promote, and what is said of it.
fn promote(world: &mut World) -> ((ActionState, String), String) {
    world.ask(ActionKind::Promote, "carol");
    let plan = world.plan(&world.observe(&world.stored));
    let status = &plan.settle.last().unwrap().status;
    let said = (status.state.unwrap(), status.reason.clone().unwrap());
    let message = status.message.clone().unwrap();
    world.reconcile(Cut::Never);
    (said, message)
}

fn is(outcome: &((ActionState, String), String), expected: (ActionState, &str)) {
    assert_eq!((outcome.0.0, outcome.0.1.as_str()), expected, "{}", outcome.1);
}

/// Two steps of ten minutes, the first approved by two; in the soak of the first.
fn soaking() -> World {
    let first = approved(step("some", &[("api", 10)], &[], 600), 2, &[]);
    let mut spec = spec(vec![first, step("more", &[("api", 20)], &[], 600)]);
    spec.checks = vec![check("errors")];
    spec.gates = Some(Gates { components_ready: true, ..Gates::default() });
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    assert!(world.run_until(10, |world| world.stage() == Some(Stage::Soaking)));
    world.run(4);
    world
}

#[test]
fn promote_ends_the_soak_then_the_approval_then_the_last_soak() {
    let mut world = soaking();
    is(&promote(&mut world), ACCEPTED);
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
    is(&promote(&mut world), ACCEPTED);
    assert!(world.run_until(10, |world| world.splits["api"].routed == 20));
    world.run(4);
    is(&promote(&mut world), ACCEPTED);
    assert_eq!(world.state(), PhaseState::Completed);
    let told = world.stored.history.iter().filter(|entry| entry.reason == "Promoted");
    assert!(told.map(|entry| entry.by.as_deref()).eq([Some("carol"); 3]));
    assert!(world.stored.approvals.is_empty(), "a promotion is nobody's approval");
}

#[rstest]
#[case::failing(Metric::Bad, reasons::CHECK_FAILING)]
#[case::nothing(Metric::Nothing, reasons::NO_DATA)]
#[case::down(Metric::Down, reasons::CHECKS_UNAVAILABLE)]
fn promote_passes_no_check(#[case] metric: Metric, #[case] reason: &str) {
    let mut world = soaking();
    world.spec.checks[0].fail_after = 100;
    world.metric = metric;
    world.run(3);
    let outcome = promote(&mut world);
    is(&outcome, NOT_NOW);
    assert!(outcome.1.contains(reason), "{}", outcome.1);
    assert_eq!(world.stage(), Some(Stage::Soaking));
}

#[test]
fn promote_opens_no_gate() {
    let mut world = soaking();
    promote(&mut world);
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
    world.environment_ready = false;
    let outcome = promote(&mut world);
    is(&outcome, NOT_NOW);
    assert!(outcome.1.contains(reasons::COMPONENTS_NOT_READY), "{}", outcome.1);
    assert_eq!(world.splits["api"].routed, 10);
}

#[test]
fn promote_is_for_the_step_that_it_names() {
    let mut world = soaking();
    let uid = world.ask_with(ActionKind::Promote, "carol", |action| action.spec.step = Some("more".into()));
    world.reconcile(Cut::Never);
    assert_eq!(world.outcome(&uid), Some(ActionState::Rejected));
    let uid = world.ask_with(ActionKind::Promote, "carol", |action| action.spec.step = Some("some".into()));
    world.reconcile(Cut::Never);
    assert_eq!(world.outcome(&uid), Some(ActionState::Accepted));
}

#[test]
fn without_proof_of_who_asked_nothing_is_promoted() {
    let mut world = soaking();
    world.ask(ActionKind::Promote, "carol");
    let mut observed = world.observe(&world.stored);
    observed.policies_enforced = crate::Known::Known(false);
    let plan = world.plan(&observed);
    assert_eq!(plan.settle[0].status.reason.as_deref(), Some(reasons::POLICIES_NOT_ENFORCED));
    assert_eq!(plan.status.step, world.stored.step);
}

/// Given up at the second of three steps and tried again: the first would lower.
fn would_lower() -> World {
    let mut world = reach(Situation::Aborted);
    world.ask(ActionKind::Retry, "carol");
    world.run(5);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::STEP_WOULD_LOWER);
    world
}

#[test]
fn promote_goes_on_at_the_step_that_is_in_force() {
    let mut world = would_lower();
    is(&promote(&mut world), ACCEPTED);
    assert_eq!(world.stored.step.as_ref().map(|step| step.name.as_str()), Some("half"));
    assert!(world.run_until(20, |world| world.stage() == Some(Stage::AwaitingApproval)));
    assert!(world.splits.values().all(|split| split.routed == 50));
    world.ask(ActionKind::Approve, "alice");
    world.ask(ActionKind::Approve, "bob");
    assert!(world.run_until(20, |world| world.state() == PhaseState::Completed));
}

#[rstest]
#[case::another_weight(10, 60)]
#[case::a_step_before_is_not_reached(55, 50)]
fn promote_adopts_nothing_that_is_not_there(#[case] first_api: i32, #[case] second_web: i32) {
    let mut world = would_lower();
    world.edit(|spec| {
        spec.steps[0].traffic[0].new_weight = first_api;
        spec.steps[1].traffic.remove(0);
        spec.steps[1].traffic[0].new_weight = second_web;
    });
    world.run(2);
    let outcome = promote(&mut world);
    is(&outcome, NOT_NOW);
    assert!(outcome.1.contains("no later step asks for just that"), "{}", outcome.1);
}
