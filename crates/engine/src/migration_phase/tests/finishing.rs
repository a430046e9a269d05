//! Finish: legacy is retired only after it has been seen to be quiet for long enough, and when a person says so.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Finish, PhaseState, RetireLegacy, StepApproval},
        phase_action::{ActionKind, ActionState, RollbackTo},
        traffic_split::Holder,
    },
};
use jiff::SignedDuration;
use rstest::rstest;

use super::{
    fixture::{secs, spec, step},
    simulator::{Input, Metric, Scene, World},
};
use crate::migration_phase::validate;

/// Quiet for a minute, by queries every 5 s that look 20 s back.
fn finish() -> Finish {
    let requests = "sum(increase(http_requests_total{system=\"$system\"}[$window]))".to_owned();
    let retire_legacy =
        RetireLegacy { after: secs(60), requests, max_requests: 0, window: secs(20), interval: secs(5) };
    Finish { retire_legacy }
}

/// Everything is on the new side, and the phase completed just now.
fn completed() -> World {
    let mut spec = spec(vec![step("all", &[("api", 100), ("web", 100)], &[], 0)]);
    spec.finish = Some(finish());
    let mut world = World::new(spec, &[("api", 0, 0), ("web", 0, 0)], &[]);
    assert!(world.run_until(10, |world| world.state() == PhaseState::Completed));
    world
}

fn waits_for(world: &World) -> Vec<&str> {
    world.stored.blocked_by.iter().map(|hold| hold.reason.as_str()).collect()
}

fn promote(world: &mut World) -> Option<ActionState> {
    let uid = world.ask(ActionKind::Promote, "alice");
    world.run(1);
    world.outcome(&uid)
}

fn is_retired(world: &World) -> bool {
    world.stored.finish.as_ref().is_some_and(|finish| finish.retired.is_some())
}

#[test]
fn a_quiet_legacy_is_retired_by_a_person_and_there_is_no_way_back() {
    let mut world = completed();
    world.run(55);
    assert_eq!(waits_for(&world), [reasons::LEGACY_WATCHED]);
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
    world.run(600);
    assert_eq!(waits_for(&world), [reasons::AWAITING_RETIREMENT]);
    let of_the_step = world.ask_with(ActionKind::Promote, "alice", |action| action.spec.step = Some("all".into()));
    world.run(1);
    assert_eq!(world.outcome(&of_the_step), Some(ActionState::Rejected));
    assert!(!is_retired(&world), "nobody said so");
    assert_eq!(promote(&mut world), Some(ActionState::Accepted));
    let retired = world.stored.finish.clone().unwrap().retired.unwrap();
    assert_eq!((retired.by.as_str(), retired.splits), ("alice", vec!["api".to_owned(), "web".to_owned()]));
    assert!(world.splits.values().all(|split| split.retired));
    let asked = world.checks.len();
    assert_eq!((asked, waits_for(&world).len()), (0, 0), "there is nothing left to watch");
    for to in [RollbackTo::Baseline, RollbackTo::PreviousStep, RollbackTo::Legacy] {
        let uid = world.roll_back(to);
        world.run(2);
        assert_eq!((world.outcome(&uid), world.state()), (Some(ActionState::Rejected), PhaseState::Completed));
    }
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
}

#[test]
fn harm_finds_no_way_back_to_a_retired_legacy_after_the_status_was_lost() {
    let mut world = completed();
    world.run(120);
    assert_eq!(promote(&mut world), Some(ActionState::Accepted));
    world.edit(|spec| spec.steps[0].soak = secs(60));
    world.set(Scene::StatusLost);
    world.run(1);
    assert_eq!(world.state(), PhaseState::Frozen);
    world.ask(ActionKind::Resume, "alice");
    world.run(5);
    assert_eq!(world.state(), PhaseState::Running);
    world.set(Scene::NewSideDead);
    assert!(world.run_until(30, |world| world.state() == PhaseState::Frozen), "{:?}", world.state());
    let failure = world.stored.failure.clone().unwrap();
    assert_eq!(failure.reason, reasons::WAY_BACK_CLOSED);
    assert!(failure.message.contains("the legacy side of TrafficSplit api is retired"), "{failure:?}");
}

#[test]
fn until_then_the_way_back_is_open_and_the_count_is_forgotten_on_it() {
    let mut world = completed();
    world.run(120);
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(30, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.stored.finish, None);
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
}

#[test]
fn one_request_begins_the_count_anew() {
    let mut world = completed();
    world.run(58);
    world.past.legacy_asked = vec![world.time];
    world.run(10);
    assert_eq!(waits_for(&world), [reasons::LEGACY_IN_USE]);
    // The window has to pass, and then the whole time.
    world.run(60);
    assert_eq!(waits_for(&world), [reasons::LEGACY_WATCHED]);
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
    world.run(30);
    assert_eq!(promote(&mut world), Some(ActionState::Accepted));
}

#[rstest]
#[case::no_data(Metric::Nothing, reasons::NO_DATA)]
#[case::nan(Metric::Nan, reasons::NO_DATA)]
#[case::down(Metric::Down, reasons::CHECKS_UNAVAILABLE)]
fn what_is_not_known_is_not_quiet(#[case] source: Metric, #[case] reason: &str) {
    let mut world = completed();
    world.legacy_source = source;
    world.run(30);
    world.run(300);
    assert_eq!(waits_for(&world), [reason]);
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
    // It is back: nothing of that time counts.
    world.legacy_source = Metric::Good;
    world.run(50);
    assert_eq!(waits_for(&world), [reasons::LEGACY_WATCHED]);
}

#[rstest]
#[case::within_the_window(12, true)]
#[case::longer(40, false)]
fn a_gap_in_the_data_counts_where_the_next_answer_looks_over_it(#[case] gap: u32, #[case] joins: bool) {
    let mut world = completed();
    world.run(50);
    world.legacy_source = Metric::Nothing;
    world.run(gap);
    world.legacy_source = Metric::Good;
    world.run(12);
    let due = waits_for(&world) == [reasons::AWAITING_RETIREMENT];
    assert_eq!(due, joins, "{:?}", world.stored.finish);
}

#[test]
fn under_clock_skew_no_time_passes() {
    let mut world = completed();
    world.run(10);
    world.set_clock(86_400);
    world.run(20);
    assert_eq!(waits_for(&world), [reasons::CHECKS_UNAVAILABLE]);
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
    world.set_clock(0);
    world.run(40);
    assert_eq!(waits_for(&world), [reasons::LEGACY_WATCHED]);
}

fn holder(phase: &str) -> Holder {
    let phase = phase.to_owned();
    Holder { uid: "uid-of-another-phase".into(), phase, attempt: 1, epoch: 9, request_revision: 1, new_weight: None }
}

#[rstest]
#[case::not_all(|world: &mut World| { let web = world.splits.get_mut("web").unwrap(); (web.desired, web.applied, web.routed) = (90, 90, 90); }, "TrafficSplit web is at 90 of 100")]
#[case::leaving(|world: &mut World| world.splits.get_mut("web").unwrap().desired = 0, "TrafficSplit web is at 100 of 100")]
#[case::held(|world: &mut World| { let web = world.splits.get_mut("web").unwrap(); (web.holder, web.wanted_by_other) = (Some(holder("other")), true); }, "held by phase other")]
#[case::attached(|world: &mut World| world.splits.get_mut("web").unwrap().names_legacy = Some("TraefikService shop".into()), "TrafficSplit web attaches to TraefikService shop")]
#[case::called(|world: &mut World| _ = world.calls.insert(("api".into(), "monolith".into())), "component api calls monolith")]
#[case::unread(|world: &mut World| _ = world.blind.insert(Input::Splits), "TrafficSplit api")]
#[case::environment_unread(|world: &mut World| _ = world.blind.insert(Input::Environment), "which components call legacy")]
fn what_leads_to_legacy_keeps_it(#[case] change: fn(&mut World), #[case] says: &str) {
    let mut world = completed();
    world.run(90);
    change(&mut world);
    world.reconcile(super::simulator::Cut::Never);
    let told: Vec<_> = world.stored.blocked_by.iter().map(|hold| hold.message.as_str()).collect();
    assert!(told.iter().any(|message| message.contains(says)), "{told:?}");
    let uid = world.ask(ActionKind::Promote, "alice");
    world.reconcile(super::simulator::Cut::Never);
    assert_eq!(world.outcome(&uid), Some(ActionState::Rejected));
}

#[test]
fn what_users_have_to_edit_is_said_until_they_have() {
    let mut world = completed();
    world.splits.get_mut("web").unwrap().users_lead_to_legacy = true;
    world.run(120);
    assert_eq!(waits_for(&world), [reasons::AWAITING_RETIREMENT]);
    assert_eq!(promote(&mut world), Some(ActionState::Accepted));
    world.run(600);
    assert!(is_retired(&world) && world.splits["api"].retired && !world.splits["web"].retired);
    let told: Vec<_> = world.stored.blocked_by.iter().map(|hold| hold.message.as_str()).collect();
    assert_eq!((waits_for(&world), told), (vec![reasons::LEGACY_IN_USE], vec!["TrafficSplit web: edit Ingress shop"]));
    assert_eq!(world.splits["web"].routed, 100, "the canary stays where it is");
    world.splits.get_mut("web").unwrap().users_lead_to_legacy = false;
    world.run(20);
    assert!(world.splits["web"].retired);
    assert_eq!(waits_for(&world), [""; 0]);
}

#[test]
fn a_phase_that_is_to_finish_nothing_waits_for_nothing_and_asks_nothing() {
    let mut world = completed();
    world.edit(|spec| spec.finish = None);
    world.run(120);
    assert_eq!((waits_for(&world).len(), world.checks.len()), (0, 0));
    assert_eq!(promote(&mut world), Some(ActionState::Rejected));
}

#[rstest]
#[case::window(|retire: &mut RetireLegacy| retire.window = secs(10), "spec.finish.retireLegacy.window")]
#[case::no_window(|retire: &mut RetireLegacy| retire.requests = "requests".into(), "spec.finish.retireLegacy.requests")]
#[case::variable(|retire: &mut RetireLegacy| retire.requests = "x{y=\"$z\"}[$window]".into(), "spec.finish.retireLegacy.requests")]
fn a_finish_that_makes_no_sense_is_told(#[case] change: fn(&mut RetireLegacy), #[case] field: &str) {
    let mut world = completed();
    change(&mut world.spec.finish.as_mut().unwrap().retire_legacy);
    let invalid = validate(&world.identity(), &world.spec).unwrap_err();
    assert_eq!(invalid.problems[0].field, field);
}

#[test]
fn a_finish_needs_an_environment() {
    let mut world = completed();
    world.spec.environment = None;
    assert_eq!(validate(&world.identity(), &world.spec).unwrap_err().problems[0].field, "spec.finish");
}

#[test]
fn gates_and_approvals_have_no_part_in_it() {
    let mut world = completed();
    world.edit(|spec| {
        let approvals = Some(StepApproval { required: 2, groups: Vec::new() });
        spec.gates = Some(cutover_api::v1alpha1::migration_phase::Gates { approvals, ..Default::default() });
    });
    world.run(120);
    world.pass(SignedDuration::from_secs(1).as_millis().try_into().unwrap());
    assert_eq!(promote(&mut world), Some(ActionState::Accepted));
}
