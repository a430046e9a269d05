//! Edits of the spec while a phase runs.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{PhaseState, Stage},
        phase_action::RollbackTo,
    },
};

use super::{
    fixture::step,
    simulator::{Metric, Scene, Situation, World, reach},
};

fn listed(world: &World) -> Vec<&str> {
    world.stored.blocked_by.iter().map(|blocker| blocker.reason.as_str()).collect()
}

#[test]
fn the_present_step_follows_its_name() {
    let mut world = reach(Situation::Soaking);
    world.edit(|spec| spec.steps.insert(0, step("none", &[("api", 0)], &[], 0)));
    world.run(1);
    let present = world.stored.step.as_ref().unwrap();
    assert_eq!((present.index, present.name.as_str(), present.stage), (1, "few", Stage::Soaking));
}

#[test]
fn a_present_step_that_asks_for_more_is_prepared_again() {
    let mut world = reach(Situation::Soaking);
    world.edit(|spec| spec.steps[0].traffic[0].new_weight = 12);
    let previous = world.stored.previous.clone();
    assert!(world.run_until(3, |world| world.splits["api"].routed == 12));
    assert_eq!(world.stored.previous, previous, "the step before stays the step before");
}

#[test]
fn a_present_step_that_asks_for_less_holds() {
    let mut world = reach(Situation::Soaking);
    world.edit(|spec| spec.steps[0].traffic[0].new_weight = 8);
    world.run(30);
    assert_eq!(world.splits["api"].routed, 10);
    assert!(listed(&world).contains(&reasons::STEP_WOULD_LOWER), "{:?}", listed(&world));
}

#[test]
fn a_present_step_that_left_the_spec_holds_until_it_is_back() {
    let mut world = reach(Situation::Soaking);
    world.edit(|spec| spec.steps[0].name = "other".into());
    world.run(30);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert!(listed(&world).contains(&reasons::CURRENT_STEP_REMOVED));
    world.edit(|spec| spec.steps[0].name = "few".into());
    assert!(world.run_until(15, |world| world.stage() == Some(Stage::AwaitingApproval)));
}

#[test]
fn under_an_invalid_spec_the_phase_is_guarded_as_before() {
    let mut world = reach(Situation::Soaking);
    world.set(Scene::SpecInvalid);
    world.metric = Metric::Bad;
    assert!(world.run_until(15, |world| world.state() == PhaseState::RolledBack));
    assert!(world.splits.values().all(|split| split.routed == 0));
}

#[test]
fn under_an_invalid_spec_nothing_goes_on() {
    let mut world = reach(Situation::Soaking);
    world.set(Scene::SpecInvalid);
    world.run(60);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    assert_eq!(listed(&world)[0], reasons::INVALID_SPEC);
}

#[test]
fn what_was_only_claimed_has_no_part_in_the_way_back() {
    let mut world = reach(Situation::Soaking);
    let mut zoo = world.splits["web"].clone();
    (zoo.name, zoo.holder, zoo.wanted_by_other) = ("zoo".into(), None, true);
    (zoo.routed, zoo.applied, zoo.desired) = (0, 0, 0);
    world.splits.insert("zoo".into(), zoo);
    world.edit(|spec| spec.steps[0].traffic.extend(step("x", &[("zoo", 5)], &[], 0).traffic));
    world.run(3);
    assert_eq!(listed(&world), [reasons::SPLIT_BUSY]);
    world.roll_back(RollbackTo::Baseline);
    assert!(world.run_until(5, |world| world.state() == PhaseState::RolledBack));
}
