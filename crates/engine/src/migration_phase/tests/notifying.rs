//! Who is told of what.

use std::collections::BTreeSet;

use cutover_api::v1alpha1::{
    migration_phase::{Notify, NotifyOn, PhaseState},
    phase_action::ActionKind,
};
use rstest::rstest;

use super::{
    fixture::{spec, step},
    simulator::World,
};

/// A phase that names sinks, in a namespace for which `releases` and `chat` are configured.
fn world(notify: &[(&str, &[NotifyOn])]) -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 5), step("more", &[("api", 20)], &[], 5)]);
    spec.notify =
        notify.iter().map(|(sink, events)| Notify { sink: (*sink).to_owned(), events: events.to_vec() }).collect();
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    world.sinks = ["releases", "chat"].map(|sink| (sink.to_owned(), BTreeSet::new())).into();
    world
}

/// Events that a decision tells of, with their sinks.
fn told(world: &World) -> Vec<(String, NotifyOn, Option<String>)> {
    let plan = world.plan(&world.observe(&world.stored));
    plan.notifications.into_iter().map(|told| (told.sink, told.event, told.by)).collect()
}

/// What is told while the world runs for so long.
fn heard(world: &mut World, seconds: u32) -> Vec<NotifyOn> {
    world.told.clear();
    world.run(seconds);
    world.told.iter().map(|told| told.event).collect()
}

#[test]
fn each_sink_is_told_of_what_it_asked_for() {
    let mut world = world(&[("releases", &[NotifyOn::Started, NotifyOn::Aborted]), ("chat", &[NotifyOn::Completed])]);
    assert_eq!(told(&world), [("releases".to_owned(), NotifyOn::Started, None)]);
    world.run(3);
    assert_eq!(told(&world), []);
    world.ask(ActionKind::Abort, "carol");
    assert_eq!(told(&world), [("releases".to_owned(), NotifyOn::Aborted, Some("carol".to_owned()))]);
}

#[test]
fn a_sink_can_be_told_of_every_phase_whether_it_names_it_or_not() {
    let mut world = world(&[("chat", &[NotifyOn::Aborted])]);
    world.sinks.get_mut("releases").unwrap().insert(NotifyOn::Started);
    assert_eq!(told(&world), [("releases".to_owned(), NotifyOn::Started, None)]);
    // What the phase asks for is added, and nothing is told twice.
    world.edit(|spec| spec.notify.push(Notify { sink: "releases".into(), events: vec![NotifyOn::Started] }));
    assert_eq!(told(&world).len(), 1);
}

#[test]
fn sinks_that_are_not_there_are_named_and_told_nothing() {
    let mut world = world(&[("elsewhere", &[NotifyOn::Started]), ("chat", &[NotifyOn::Completed])]);
    assert_eq!(told(&world), []);
    world.run(2);
    assert_eq!(world.stored.unknown_sinks, ["elsewhere"]);
    world.sinks.clear();
    world.run(2);
    assert_eq!(world.stored.unknown_sinks, ["chat", "elsewhere"]);
}

#[rstest]
#[case::by_a_person(true, NotifyOn::RollingBack)]
#[case::by_itself(false, NotifyOn::Failed)]
fn a_way_back_that_nobody_asked_for_is_a_failure(#[case] by_person: bool, #[case] event: NotifyOn) {
    let mut world = world(&[("releases", &[NotifyOn::Failed, NotifyOn::RollingBack, NotifyOn::RolledBack])]);
    assert!(world.run_until(20, |world| world.splits["api"].routed == 10));
    world.run(2);
    if by_person {
        world.ask(ActionKind::Rollback, "carol");
    } else {
        world.splits.get_mut("api").unwrap().new_ready = 0;
        world.note_dead();
    }
    let heard = heard(&mut world, 40);
    assert_eq!(world.state(), PhaseState::RolledBack);
    assert_eq!(heard, [event, NotifyOn::RolledBack]);
}

#[test]
fn a_phase_that_nothing_disturbs_is_told_of_from_start_to_end() {
    let all = [NotifyOn::Started, NotifyOn::StepDone, NotifyOn::Failed, NotifyOn::Completed];
    let mut world = world(&[("releases", &all)]);
    assert_eq!(heard(&mut world, 40), [NotifyOn::Started, NotifyOn::StepDone, NotifyOn::Completed]);
}

#[test]
fn what_is_told_is_told_with_its_audit_record() {
    let mut world = world(&[("releases", &[NotifyOn::Paused]), ("chat", &[NotifyOn::Paused])]);
    world.run(3);
    world.ask(ActionKind::Pause, "carol");
    let plan = world.plan(&world.observe(&world.stored));
    assert_eq!(plan.notifications.len(), 2);
    for told in &plan.notifications {
        assert_eq!((told.record.what.as_str(), told.record.why.as_str()), ("Pause", "a reason"));
        assert!(plan.status.audit.as_ref().unwrap().records.contains(&told.record));
    }
}
