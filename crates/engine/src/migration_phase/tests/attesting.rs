//! The gate on the checklist: before a phase starts, and between its steps.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        environment::ChecklistItem::{LoadTestPassed, RollbackRehearsed, TeamTrained},
        migration_phase::{Gates, PhaseState, Stage},
    },
};

use super::{
    fixture::{spec, step},
    simulator::{Input, World},
};

fn world() -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 20), step("all", &[("api", 100)], &[], 20)]);
    spec.gates = Some(Gates { checklist: vec![LoadTestPassed, RollbackRehearsed], ..Gates::default() });
    World::new(spec, &[("api", 0, 0)], &[])
}

fn blocked(world: &World) -> Option<&str> {
    let incomplete = |blocker: &&_| {
        let blocker: &cutover_api::v1alpha1::migration_phase::Blocker = blocker;
        blocker.reason == reasons::CHECKLIST_INCOMPLETE
    };
    world.stored.blocked_by.iter().find(incomplete).map(|blocker| blocker.message.as_str())
}

#[test]
fn a_phase_starts_when_all_that_it_asks_for_is_attested() {
    let mut world = world();
    world.attested = [TeamTrained].into();
    world.run(5);
    let told = blocked(&world).unwrap();
    assert!(
        told.starts_with("Environment production: nobody has attested LoadTestPassed, RollbackRehearsed:"),
        "{told}"
    );
    world.attested.insert(LoadTestPassed);
    world.run(5);
    let told = blocked(&world).unwrap();
    assert!(told.starts_with("Environment production: nobody has attested RollbackRehearsed:"), "{told}");
    assert_eq!(world.state(), PhaseState::Waiting);
    world.attested.insert(RollbackRehearsed);
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::Soaking)), "{:?}", world.stored);
    assert_eq!(blocked(&world), None);
}

#[test]
fn a_word_that_is_taken_back_holds_the_next_step() {
    let mut world = world();
    assert!(world.run_until(5, |world| world.stage() == Some(Stage::Soaking)));
    world.attested.remove(&LoadTestPassed);
    world.run(60);
    assert!(blocked(&world).is_some());
    assert_eq!((world.state(), world.splits["api"].routed), (PhaseState::Running, 10));
    world.attested.insert(LoadTestPassed);
    assert!(world.run_until(60, |world| world.state() == PhaseState::Completed), "{:?}", world.stored);
}

#[test]
fn an_environment_that_cannot_be_read_attests_nothing() {
    let mut world = world();
    world.blind.insert(Input::Environment);
    world.run(5);
    assert_eq!(world.state(), PhaseState::Waiting);
    assert!(world.stored.blocked_by.iter().any(|blocker| blocker.message.contains("Environment production")));
}
