//! Approvals: who counts, and how often.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        environment::ChecklistItem,
        migration_phase::{Gates, PhaseState, SchemaRange, Stage},
        phase_action::{ActionKind, ActionState},
    },
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::{
    fixture::{approved, spec, step},
    simulator::World,
};

fn awaiting(required: i32, groups: &[&str]) -> World {
    let spec = spec(vec![approved(step("some", &[("api", 10)], &[], 0), required, groups)]);
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::AwaitingApproval)));
    world
}

fn approve(world: &mut World, by: &str, groups: &[&str]) -> Option<ActionState> {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let uid = world.ask_with(ActionKind::Approve, by, |action| action.spec.groups = groups);
    world.run(1);
    world.outcome(&uid)
}

#[test]
fn one_person_counts_once() {
    let mut world = awaiting(2, &[]);
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Accepted));
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Rejected));
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
    assert_eq!(approve(&mut world, "bob", &[]), Some(ActionState::Accepted));
    assert_eq!(world.state(), PhaseState::Completed);
}

#[rstest]
#[case::components(|world: &mut World| world.environment_ready = false, reasons::COMPONENTS_NOT_READY)]
#[case::schema(|world: &mut World| world.schema = Some(Ok(46)), reasons::SCHEMA_OUT_OF_RANGE)]
#[case::checklist(|world: &mut World| _ = world.attested.remove(&ChecklistItem::LoadTestPassed), reasons::CHECKLIST_INCOMPLETE)]
fn a_gate_that_closes_while_people_think_is_listed_at_once(#[case] close: fn(&mut World), #[case] reason: &str) {
    let mut spec = spec(vec![approved(step("some", &[("api", 10)], &[], 0), 1, &[])]);
    let schema = Some(SchemaRange { min: Some(42), max: Some(45) });
    let checklist = vec![ChecklistItem::LoadTestPassed];
    spec.gates = Some(Gates { components_ready: true, schema, checklist, ..Gates::default() });
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::AwaitingApproval)));
    close(&mut world);
    world.run(1);
    let told: Vec<_> = world.stored.blocked_by.iter().map(|hold| hold.reason.as_str()).collect();
    assert_eq!(told, [reasons::AWAITING_APPROVAL, reason]);
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Accepted));
    world.run(60);
    assert_eq!((world.stage(), world.splits["api"].routed), (Some(Stage::AwaitingApproval), 10));
}

#[rstest]
#[case::of_the_group(&["owners"], true)]
#[case::of_two_groups(&["others", "owners"], true)]
#[case::of_another_group(&["others"], false)]
#[case::of_no_group(&[], false)]
fn only_the_groups_of_the_step_count(#[case] groups: &[&str], #[case] counts: bool) {
    let mut world = awaiting(1, &["owners", "leads"]);
    let outcome = approve(&mut world, "alice", groups);
    assert_eq!(outcome, Some(if counts { ActionState::Accepted } else { ActionState::Rejected }));
    assert_eq!(world.state() == PhaseState::Completed, counts);
}

#[test]
fn an_approval_of_another_step_is_refused() {
    let mut world = awaiting(1, &[]);
    let uid = world.ask_with(ActionKind::Approve, "alice", |action| action.spec.step = Some("other".into()));
    world.run(1);
    assert_eq!(world.outcome(&uid), Some(ActionState::Rejected));
}

#[test]
fn an_approval_before_the_soak_is_over_is_refused() {
    let mut world = awaiting(1, &[]);
    world.spec.steps[0].soak = super::fixture::secs(30);
    world.ask(ActionKind::Abort, "alice");
    world.run(1);
    world.ask(ActionKind::Retry, "alice");
    world.run(6);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Rejected));
}

#[test]
fn an_approval_that_has_expired_does_not_count_any_more() {
    let mut world = awaiting(2, &[]);
    let until = Time(world.time + SignedDuration::from_secs(5));
    world.ask_with(ActionKind::Approve, "alice", |action| action.spec.expires_at = Some(until));
    world.run(8);
    assert_eq!(world.stored.approvals.len(), 1);
    assert_eq!(approve(&mut world, "bob", &[]), Some(ActionState::Accepted));
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Accepted));
    assert_eq!(world.state(), PhaseState::Completed);
}

#[test]
fn without_proof_of_who_asked_no_approval_is_accepted() {
    let mut world = awaiting(1, &[]);
    world.ask(ActionKind::Approve, "alice");
    let mut observed = world.observe(&world.stored);
    observed.policies_enforced = crate::Known::Known(false);
    let plan = world.plan(&observed);
    let settled = &plan.settle[0].status;
    assert_eq!(settled.state, Some(ActionState::Rejected));
    assert_eq!(settled.reason.as_deref(), Some(cutover_api::conditions::reasons::POLICIES_NOT_ENFORCED));
    assert!(plan.status.approvals.is_empty());
}

#[test]
fn approvals_of_an_attempt_do_not_count_for_the_next() {
    let mut world = awaiting(1, &[]);
    world.spec.steps.push(step("more", &[("api", 20)], &[], 600));
    approve(&mut world, "alice", &[]);
    world.ask(ActionKind::Rollback, "bob");
    assert!(world.run_until(5, |world| world.state() == PhaseState::RolledBack));
    world.ask(ActionKind::Retry, "bob");
    world.run(8);
    assert_eq!(world.stored.attempt, Some(2));
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
}

#[test]
fn an_approval_is_of_the_weights_that_were_seen() {
    let mut world = awaiting(2, &[]);
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Accepted));
    world.edit(|spec| spec.steps[0].traffic[0].new_weight = 20);
    assert!(world.run_until(5, |world| world.splits["api"].routed == 20));
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::AwaitingApproval)));
    assert_eq!(approve(&mut world, "bob", &[]), Some(ActionState::Accepted));
    assert_eq!(world.stage(), Some(Stage::AwaitingApproval));
    assert_eq!(approve(&mut world, "alice", &[]), Some(ActionState::Accepted));
    assert_eq!(world.state(), PhaseState::Completed);
}
