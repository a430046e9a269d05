//! Waiting: every closed gate is listed, and the phase starts when all are open.

use std::collections::BTreeMap;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Gates, PhaseState},
};
use rstest::rstest;

use super::{
    fixture::{spec, step},
    simulator::World,
};
use crate::{
    Known,
    migration_phase::{EnvironmentView, Observed, Plan, PredecessorView},
};

fn world() -> World {
    let mut spec = spec(vec![step("all", &[("api", 100)], &[], 0)]);
    spec.after = vec!["before".into()];
    spec.gates = Some(Gates { components_ready: true, ..Gates::default() });
    World::new(spec, &[("api", 0, 0)], &[])
}

fn plan(change: impl FnOnce(&mut Observed)) -> Plan {
    let world = world();
    let mut observed = world.observe(&world.stored);
    change(&mut observed);
    world.plan(&observed)
}

fn before(state: Option<PhaseState>, after: &[&str]) -> Known<Option<PredecessorView>> {
    Known::Known(Some(PredecessorView { state, after: after.iter().map(|name| (*name).to_owned()).collect() }))
}

#[rstest]
#[case::not_begun(before(None, &[]), reasons::PREDECESSOR_NOT_COMPLETED)]
#[case::running(before(Some(PhaseState::Running), &[]), reasons::PREDECESSOR_NOT_COMPLETED)]
#[case::went_back(before(Some(PhaseState::RolledBack), &[]), reasons::PREDECESSOR_NOT_COMPLETED)]
#[case::given_up(before(Some(PhaseState::Aborted), &[]), reasons::PREDECESSOR_NOT_COMPLETED)]
#[case::not_there(Known::Known(None), reasons::REFERENCE_NOT_FOUND)]
#[case::not_read(Known::Unknown, reasons::UNKNOWN_INPUT)]
#[case::leads_back(before(Some(PhaseState::Completed), &["phase"]), reasons::DEPENDENCY_CYCLE)]
fn a_predecessor_keeps_the_gate_closed(#[case] predecessor: Known<Option<PredecessorView>>, #[case] reason: &str) {
    let plan = plan(|observed| observed.predecessors = BTreeMap::from([("before".into(), predecessor)]));
    assert_eq!(plan.status.state, Some(PhaseState::Waiting));
    assert_eq!(plan.status.blocked_by.iter().map(|b| b.reason.as_str()).collect::<Vec<_>>(), [reason]);
}

#[rstest]
#[case::not_there(Known::Known(None), reasons::REFERENCE_NOT_FOUND)]
#[case::not_read(Known::Unknown, reasons::UNKNOWN_INPUT)]
#[case::not_ready(Known::Known(Some(EnvironmentView { not_ready: vec!["api".into()], current: true, ..Default::default() })), reasons::COMPONENTS_NOT_READY)]
#[case::old_status(Known::Known(Some(EnvironmentView { not_ready: vec![], current: false, ..Default::default() })), reasons::COMPONENTS_NOT_READY)]
fn components_keep_the_gate_closed(#[case] environment: Known<Option<EnvironmentView>>, #[case] reason: &str) {
    let plan = plan(|observed| observed.environment = environment);
    assert_eq!(plan.status.state, Some(PhaseState::Waiting));
    assert_eq!(plan.status.blocked_by.iter().map(|b| b.reason.as_str()).collect::<Vec<_>>(), [reason]);
}

#[test]
fn a_cycle_over_several_phases_is_named() {
    let middle = before(Some(PhaseState::Completed), &["phase"]);
    let first = before(Some(PhaseState::Completed), &["middle"]);
    let plan = plan(|observed| {
        observed.predecessors = BTreeMap::from([("before".into(), first), ("middle".into(), middle)]);
    });
    assert!(
        plan.status.blocked_by[0].message.contains("phase → before → middle → phase"),
        "{:?}",
        plan.status.blocked_by
    );
    let stalled = plan.status.conditions.iter().find(|condition| condition.type_ == "Stalled");
    assert_eq!(stalled.map(|condition| condition.reason.as_str()), Some(reasons::DEPENDENCY_CYCLE));
}

#[test]
fn every_closed_gate_is_listed() {
    let plan = plan(|observed| {
        observed.environment = Known::Unknown;
        observed.predecessors = BTreeMap::new();
    });
    assert_eq!(plan.status.blocked_by.len(), 2);
}

#[test]
fn a_phase_starts_when_all_gates_are_open() {
    let plan = plan(|_| {});
    assert_eq!(plan.status.state, Some(PhaseState::Running));
    assert_eq!(plan.status.attempt, Some(1));
    let step = plan.status.step.unwrap();
    assert_eq!((step.index, step.name.as_str()), (0, "all"));
    assert_eq!(plan.notes[0].reason, "Started");
}

#[test]
fn a_phase_that_is_being_deleted_does_not_start() {
    let plan = plan(|observed| observed.phase.deleting = true);
    assert_eq!(plan.status.state, Some(PhaseState::Waiting));
}
