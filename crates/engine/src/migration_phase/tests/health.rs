//! What the conditions say, for people and for tools that know kstatus.

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::phase_action::ActionKind,
};
use rstest::rstest;

use super::simulator::{Scene, Situation, World, reach};

fn is(world: &World, type_: &str) -> bool {
    world.stored.conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

fn reason(world: &World) -> &str {
    &world.stored.conditions.iter().find(|c| c.type_ == types::READY).unwrap().reason
}

#[rstest]
#[case(Situation::Waiting, types::READY, reasons::WAITING)]
#[case(Situation::Preparing, types::RECONCILING, reasons::PREPARING)]
#[case(Situation::Shifting, types::RECONCILING, reasons::SHIFTING)]
#[case(Situation::Soaking, types::READY, reasons::SOAKING)]
#[case(Situation::AwaitingApproval, types::READY, reasons::AWAITING_APPROVAL)]
#[case(Situation::Paused, types::READY, reasons::PAUSED)]
#[case(Situation::RollingBack, types::RECONCILING, reasons::ROLLING_BACK)]
#[case(Situation::RolledBack, types::READY, reasons::ROLLED_BACK)]
#[case(Situation::Frozen, types::STALLED, reasons::FROZEN)]
#[case(Situation::Completed, types::READY, reasons::COMPLETED)]
#[case(Situation::Aborted, types::READY, reasons::ABORTED)]
fn each_situation_has_its_health(#[case] situation: Situation, #[case] health: &str, #[case] why: &str) {
    let world = reach(situation);
    assert!(is(&world, health), "{:?}", world.stored.conditions);
    assert_eq!(reason(&world), why);
    assert_eq!(is(&world, types::DEGRADED), matches!(situation, Situation::RolledBack | Situation::Aborted));
    assert_eq!(is(&world, types::COMPLETED), situation == Situation::Completed);
}

#[rstest]
#[case(Situation::Soaking, Scene::SpecInvalid, types::STALLED, reasons::INVALID_SPEC)]
#[case(Situation::Soaking, Scene::StepRemoved, types::STALLED, reasons::CURRENT_STEP_REMOVED)]
#[case(Situation::Soaking, Scene::ClockAhead, types::READY, reasons::SOAKING)]
#[case(Situation::Soaking, Scene::SourceDown, types::READY, reasons::SOAKING)]
#[case(Situation::Waiting, Scene::SpecInvalid, types::STALLED, reasons::INVALID_SPEC)]
#[case(Situation::Preparing, Scene::GateClosed, types::READY, reasons::WAITING)]
fn what_a_person_has_to_mend_is_stalled(
    #[case] situation: Situation,
    #[case] scene: Scene,
    #[case] health: &str,
    #[case] why: &str,
) {
    let mut world = reach(situation);
    world.set(scene);
    world.run(2);
    assert!(is(&world, health), "{:?}", world.stored.conditions);
    assert_eq!(reason(&world), why);
}

#[test]
fn a_rolled_back_phase_fails_health_where_it_is_asked_to() {
    let mut world = reach(Situation::RolledBack);
    world.edit(|spec| spec.fail_health_on_rollback = true);
    world.run(1);
    assert!(is(&world, types::STALLED) && !is(&world, types::READY));
}

#[test]
fn a_condition_moves_only_when_its_status_does() {
    let mut world = reach(Situation::Soaking);
    let moved = |world: &World| {
        world.stored.conditions.iter().find(|c| c.type_ == types::READY).unwrap().last_transition_time.clone()
    };
    let before = moved(&world);
    world.run(2);
    assert_eq!(moved(&world), before);
    world.ask(ActionKind::Pause, "alice");
    world.run(1);
    assert_eq!(moved(&world), before, "resting as before, for another reason");
    world.ask(ActionKind::Rollback, "alice");
    world.splits.get_mut("web").unwrap().stuck = true;
    world.run(1);
    assert_ne!(moved(&world), before);
}
