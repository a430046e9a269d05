//! Approval of the start: bound to what was seen, by different people, and no step's.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Gates, PhaseState, StepApproval},
        phase_action::{ActionKind, ActionState},
    },
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    fixture::{approved, secs, spec, step},
    simulator::World,
};

fn world(required: i32, groups: &[&str]) -> World {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let mut spec =
        spec(vec![approved(step("some", &[("api", 10)], &[], 0), 1, &[]), step("all", &[("api", 100)], &[], 0)]);
    spec.gates = Some(Gates { approvals: Some(StepApproval { required, groups }), ..Gates::default() });
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    world.images = [("api".to_owned(), "api:1".to_owned())].into();
    world.round();
    world
}

/// Settles an approval of the start, and says what became of it.
fn approve(world: &mut World, by: &str) -> (ActionState, String) {
    let uid = world.approve_start(by);
    settle(world, &uid)
}

fn settle(world: &mut World, uid: &str) -> (ActionState, String) {
    let plan = world.plan(&world.observe(&world.stored));
    let settled = plan.settle.iter().find(|settled| settled.uid == uid).unwrap().status.clone();
    world.round();
    (settled.state.unwrap(), settled.reason.unwrap())
}

fn accepted() -> (ActionState, String) {
    (ActionState::Accepted, reasons::APPLIED.to_owned())
}

fn rejected(reason: &str) -> (ActionState, String) {
    (ActionState::Rejected, reason.to_owned())
}

#[test]
fn so_many_different_people_start_a_phase() {
    let mut world = world(2, &[]);
    let blocked = world.stored.blocked_by[0].clone();
    assert_eq!((world.state(), blocked.reason.as_str()), (PhaseState::Waiting, reasons::AWAITING_APPROVAL));
    assert!(blocked.message.contains(world.stored.approval_subject.as_deref().unwrap()), "{}", blocked.message);
    assert_eq!(approve(&mut world, "alice"), accepted());
    assert_eq!(approve(&mut world, "alice"), rejected(reasons::NOT_APPLICABLE));
    assert_eq!(world.state(), PhaseState::Waiting);
    assert_eq!(approve(&mut world, "bob"), accepted());
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn only_the_groups_of_the_gate_count() {
    let mut world = world(1, &["leads"]);
    assert_eq!(approve(&mut world, "alice"), rejected(reasons::NOT_APPLICABLE));
    let uid = world.approve_start("alice");
    world.actions.last_mut().unwrap().spec.groups = vec!["leads".into()];
    assert_eq!(settle(&mut world, &uid), accepted());
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn an_approval_of_other_steps_is_rejected_with_what_changed() {
    let mut world = world(1, &[]);
    let uid = world.approve_start("alice");
    world.edit(|spec| spec.steps[1].soak = secs(60));
    let plan = world.plan(&world.observe(&world.stored));
    let settled = &plan.settle.iter().find(|settled| settled.uid == uid).unwrap().status;
    assert_eq!(settled.reason.as_deref(), Some(reasons::SUBJECT_CHANGED));
    let message = settled.message.as_deref().unwrap();
    assert!(
        message.contains("the steps, the checks") && message.contains(plan.status.approval_subject.as_deref().unwrap())
    );
    world.round();
    assert_eq!(world.state(), PhaseState::Waiting);
}

#[test]
fn an_approval_of_other_images_is_rejected_and_one_given_before_does_not_count() {
    let mut world = world(2, &[]);
    let late = world.approve_start("bob");
    world.actions.last_mut().unwrap().settled = true;
    assert_eq!(approve(&mut world, "alice"), accepted());
    world.images.insert("api".into(), "api:2".into());
    world.actions.iter_mut().find(|action| action.uid == late).unwrap().settled = false;
    let plan = world.plan(&world.observe(&world.stored));
    assert!(plan.settle[0].status.message.as_deref().unwrap().contains("the images of the new components"));
    world.round();
    assert_eq!(approve(&mut world, "bob"), accepted());
    // Alice has seen the former image.
    assert_eq!(world.state(), PhaseState::Waiting);
    assert_eq!(approve(&mut world, "alice"), accepted());
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn an_approval_that_ends_before_the_start_does_not_count() {
    let mut world = world(2, &[]);
    let until = Time(world.time + SignedDuration::from_secs(5));
    let uid = world.approve_start("alice");
    world.actions.last_mut().unwrap().spec.expires_at = Some(until);
    assert_eq!(settle(&mut world, &uid), accepted());
    world.run(8);
    assert_eq!(approve(&mut world, "bob"), accepted());
    assert_eq!(world.state(), PhaseState::Waiting);
}

#[test]
fn under_way_other_steps_need_another_approval_and_another_image_does_not() {
    let mut world = world(1, &[]);
    assert_eq!(approve(&mut world, "alice"), accepted());
    world.run(3);
    world.images.insert("api".into(), "api:2".into());
    world.run(2);
    assert!(world.stored.blocked_by.iter().all(|b| b.message.contains("step some")), "{:?}", world.stored.blocked_by);
    world.edit(|spec| spec.steps[1].traffic[0].new_weight = 90);
    world.ask(ActionKind::Approve, "bob");
    world.run(5);
    assert_eq!(world.splits["api"].routed, 10);
    let blocked = world.stored.blocked_by.iter().find(|b| b.reason == reasons::AWAITING_APPROVAL).unwrap();
    assert!(blocked.message.contains("the steps, checks and failure policy as they are now"), "{}", blocked.message);
    assert_eq!(approve(&mut world, "carol"), accepted());
    world.run(5);
    assert_eq!(world.splits["api"].routed, 90);
}

#[test]
fn an_approval_of_the_start_is_not_one_of_a_step_nor_the_other_way_round() {
    let mut world = world(1, &[]);
    assert_eq!(approve(&mut world, "alice"), accepted());
    world.run(5);
    assert_eq!(world.splits["api"].routed, 10);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::AWAITING_APPROVAL);
    let mut fresh = self::world(1, &[]);
    let uid = fresh.ask_with(ActionKind::Approve, "bob", |action| action.spec.step = Some("some".into()));
    assert_eq!(settle(&mut fresh, &uid), rejected(reasons::NOT_APPLICABLE));
    assert_eq!(fresh.state(), PhaseState::Waiting);
}
