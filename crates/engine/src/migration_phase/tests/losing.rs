//! A status that was lost, as a whole or in part: nothing moves by itself, and nothing that was asked before counts again.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        MigrationPhaseStatus,
        migration_phase::PhaseState,
        phase_action::{ActionKind, ActionState, RollbackTo},
    },
};

use super::{
    fixture::{spec, step},
    simulator::{Cut, Input, Metric, Scene, Situation, World, reach},
};
use crate::Known;

#[test]
fn a_lost_status_moves_nothing_and_asks_a_person() {
    let mut world = reach(Situation::AwaitingApproval);
    let weights: Vec<_> = world.splits.values().map(|split| split.routed).collect();
    world.stored = MigrationPhaseStatus::default();
    world.run(30);
    assert_eq!(world.stored.attempt, Some(2));
    assert_eq!(world.splits.values().map(|split| split.routed).collect::<Vec<_>>(), weights);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::STATUS_LOST);
    assert_eq!(world.splits["api"].holder.as_ref().map(|holder| holder.attempt), Some(2), "nobody else may take it");
    let retry = world.ask(ActionKind::Retry, "alice");
    world.run(3);
    assert_eq!(world.outcome(&retry), Some(ActionState::Accepted));
    assert_eq!((world.stored.attempt, world.state()), (Some(3), PhaseState::Running));
}

#[test]
fn a_phase_at_rest_that_loses_its_status_moves_only_when_a_person_says_so() {
    for situation in [Situation::RolledBack, Situation::Aborted, Situation::Frozen, Situation::Completed] {
        for action in [ActionKind::Resume, ActionKind::Retry] {
            let mut world = reach(situation);
            world.metric = Metric::Good;
            let weights = |world: &World| world.splits.values().map(|split| split.routed).collect::<Vec<_>>();
            let before = weights(&world);
            world.set(Scene::StatusLost);
            world.run(60);
            assert_eq!((world.state(), weights(&world)), (PhaseState::Frozen, before), "{situation:?}");
            assert_eq!(world.stored.blocked_by[0].reason, reasons::STATUS_LOST, "{situation:?}");
            let uid = world.ask(action, "alice");
            world.run(3);
            assert_eq!(world.outcome(&uid), Some(ActionState::Accepted), "{situation:?}");
            assert_eq!(world.state(), PhaseState::Running, "{situation:?} {action:?}");
        }
    }
}

#[test]
fn whether_a_status_was_lost_is_not_guessed_from_what_cannot_be_read() {
    let mut world = reach(Situation::RolledBack);
    world.set(Scene::StatusLost);
    world.blind.insert(Input::Splits);
    world.run(5);
    assert_eq!((world.state(), world.stored.attempt), (PhaseState::Waiting, None));
    assert_eq!(world.stored.blocked_by[0].reason, reasons::UNKNOWN_INPUT);
    world.blind.clear();
    world.run(5);
    assert_eq!((world.state(), world.stored.blocked_by[0].reason.as_str()), (PhaseState::Frozen, reasons::STATUS_LOST));
}

#[test]
fn a_new_phase_that_somebody_acted_on_at_once_is_not_taken_for_one_whose_status_was_lost() {
    let mut world = reach(Situation::Waiting);
    world.set(Scene::StatusLost);
    world.predecessor = PhaseState::Completed;
    world.ask(ActionKind::Abort, "alice");
    world.run(3);
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn requests_after_a_lost_status_are_numbered_past_the_old_ones() {
    let mut world = reach(Situation::Soaking);
    let seen = world.splits["api"].holder.as_ref().unwrap().request_revision;
    world.stored = MigrationPhaseStatus::default();
    world.reconcile(Cut::Never);
    assert!(world.stored.request_revision.unwrap() > seen);
}

#[test]
fn an_action_from_before_a_lost_status_does_nothing() {
    let mut world = reach(Situation::Soaking);
    let uid = world.ask(ActionKind::Abort, "alice");
    world.stored = MigrationPhaseStatus::default();
    world.run(3);
    assert_eq!(world.outcome(&uid), Some(ActionState::Rejected));
    assert_eq!(world.state(), PhaseState::Frozen);
}

#[test]
fn without_a_baseline_a_rollback_has_to_name_its_target() {
    let mut world = reach(Situation::Soaking);
    world.stored.baseline = None;
    world.stored.previous = None;
    let uid = world.ask(ActionKind::Rollback, "alice");
    world.run(1);
    assert_eq!(world.outcome(&uid), Some(ActionState::Rejected));
    world.roll_back(RollbackTo::Legacy);
    assert!(world.run_until(10, |world| world.state() == PhaseState::RolledBack));
}

#[test]
fn harm_without_a_baseline_freezes_and_says_what_to_do() {
    let mut world = reach(Situation::Soaking);
    world.stored.baseline = None;
    world.stored.previous = None;
    world.splits.get_mut("api").unwrap().new_ready = 0;
    world.note_dead();
    assert!(world.run_until(10, |world| world.state() == PhaseState::Frozen));
    let lost = world.stored.blocked_by.iter().find(|blocker| blocker.reason == reasons::BASELINE_LOST).unwrap();
    assert!(lost.message.contains("to: Legacy"), "{lost:?}");
}

#[test]
fn the_routes_keep_a_second_copy_of_the_baseline() {
    let mut world = reach(Situation::Soaking);
    world.stored.baseline = None;
    world.stored.requests.as_mut().unwrap().flags.clear();
    let mut observed = world.observe(&world.stored);
    for (name, weight) in [("api", 3), ("web", 4)] {
        if let Some(Known::Known(Some(view))) = observed.splits.get_mut(name) {
            view.route_baseline = Some(weight);
        }
    }
    let plan = world.plan(&observed);
    let baseline = plan.status.baseline.unwrap();
    assert_eq!(baseline.splits.iter().map(|r| r.new_weight).collect::<Vec<_>>(), [Some(3), Some(4)]);
}

#[test]
fn a_rollback_after_a_lost_status_leads_where_the_routes_remember() {
    let mut world = reach(Situation::Soaking);
    world.flags.clear();
    for step in &mut world.spec.steps {
        step.flags.clear();
    }
    world.stored = MigrationPhaseStatus::default();
    let remembering = |world: &World| {
        let mut observed = world.observe(&world.stored);
        for (name, weight) in [("api", 0), ("web", 1)] {
            if let Some(Known::Known(Some(view))) = observed.splits.get_mut(name) {
                view.route_baseline = Some(weight);
            }
        }
        observed
    };
    let began = world.plan(&remembering(&world));
    assert_eq!((began.status.attempt, began.status.state), (Some(2), Some(PhaseState::Frozen)));
    assert!(began.status.requests.iter().flat_map(|r| &r.splits).all(|r| r.new_weight.is_none()), "nothing moves");
    world.stored = began.status;
    world.ask(ActionKind::Rollback, "alice");
    let plan = world.plan(&remembering(&world));
    let way = plan.status.way_back.unwrap();
    assert_eq!((plan.status.state, way.to), (Some(PhaseState::RollingBack), RollbackTo::Baseline));
    assert_eq!(way.target.splits.iter().map(|r| r.new_weight).collect::<Vec<_>>(), [Some(0), Some(1)]);
}

#[test]
fn a_baseline_that_only_some_routes_remember_is_lost() {
    let mut world = reach(Situation::Soaking);
    world.stored = MigrationPhaseStatus::default();
    let mut observed = world.observe(&world.stored);
    observed.flags.clear();
    for (name, weight) in [("api", Some(3)), ("web", None)] {
        if let Some(Known::Known(Some(view))) = observed.splits.get_mut(name) {
            view.route_baseline = weight;
        }
    }
    assert_eq!(world.plan(&observed).status.baseline, None);
}

#[test]
fn a_baseline_that_routes_remember_is_found_in_the_decision_that_asks_for_their_splits_again() {
    let steps = vec![step("half", &[("api", 50)], &[], 0), step("all", &[("api", 100)], &[], 0)];
    let mut world = World::new(spec(steps), &[("api", 10, 0)], &[]);
    assert!(world.run_until(10, |world| world.state() == PhaseState::Completed));
    world.stored.baseline = None;
    world.roll_back(RollbackTo::PreviousStep);
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::RollingBack);
    assert_eq!(world.stored.baseline.as_ref().and_then(|baseline| baseline.splits[0].new_weight), Some(10));
}

#[test]
fn a_way_back_of_which_nobody_knows_where_it_begins_waits_until_it_is_read() {
    let steps = vec![step("few", &[("api", 5)], &[], 0), step("half", &[("api", 50)], &[], 0)];
    let mut world = World::new(spec(steps), &[("api", 0, 0)], &[]);
    assert!(world.run_until(10, |world| world.state() == PhaseState::Completed));
    // The phase has let go of it, and it is lower than the step before by now.
    let api = world.splits.get_mut("api").unwrap();
    (api.routed, api.desired, api.applied) = (1, 1, 1);
    world.blind.insert(Input::Splits);
    world.roll_back(RollbackTo::PreviousStep);
    world.run(30);
    assert_eq!(world.state(), PhaseState::RollingBack);
    assert_eq!(world.stored.requests.as_ref().unwrap().splits[0].new_weight, None);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::UNKNOWN_INPUT);
    world.blind.clear();
    assert!(world.run_until(30, |world| world.state() == PhaseState::RolledBack), "{:?}", world.stored);
    assert_eq!(world.splits["api"].routed, 1);
}
