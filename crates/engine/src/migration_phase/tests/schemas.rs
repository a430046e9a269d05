//! The gate on the version of the database's schema: before a phase starts, between its steps, and at a step's end.

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Gates, PhaseState, SchemaRange, Stage},
};
use rstest::rstest;

use super::{
    fixture::{spec, step},
    simulator::World,
};

fn world(min: Option<i64>, max: Option<i64>) -> World {
    let mut spec = spec(vec![step("some", &[("api", 10)], &[], 20), step("all", &[("api", 100)], &[], 20)]);
    spec.gates = Some(Gates { schema: Some(SchemaRange { min, max }), ..Gates::default() });
    World::new(spec, &[("api", 0, 0)], &[])
}

#[rstest]
#[case::below(Some(42), Some(45), Some(Ok(41)), Some("42 to 45"))]
#[case::lowest(Some(42), Some(45), Some(Ok(42)), None)]
#[case::highest(Some(42), Some(45), Some(Ok(45)), None)]
#[case::above(Some(42), Some(45), Some(Ok(46)), Some("42 to 45"))]
#[case::at_least(Some(42), None, Some(Ok(41)), Some("42 or higher"))]
#[case::at_most(None, Some(45), Some(Ok(46)), Some("45 or lower"))]
#[case::unreadable(Some(42), None, Some(Err("there is no ConfigMap".to_owned())), Some("there is no ConfigMap"))]
#[case::nowhere(Some(42), None, None, Some("set spec.shared.database.schema"))]
fn only_versions_within_the_range_open_the_gate(
    #[case] min: Option<i64>,
    #[case] max: Option<i64>,
    #[case] version: Option<Result<i64, String>>,
    #[case] says: Option<&str>,
) {
    let mut world = world(min, max);
    world.schema = version;
    world.round();
    let Some(says) = says else { return assert_eq!(world.state(), PhaseState::Running) };
    let blocked = &world.stored.blocked_by[0];
    assert_eq!((world.state(), blocked.reason.as_str()), (PhaseState::Waiting, reasons::SCHEMA_OUT_OF_RANGE));
    assert!(blocked.message.contains(says), "{}", blocked.message);
}

#[test]
fn a_step_does_not_end_with_another_version_and_the_next_does_not_begin() {
    let mut world = world(Some(42), Some(45));
    world.run(5);
    assert_eq!(world.stage(), Some(Stage::Soaking));
    world.schema = Some(Ok(46));
    world.run(60);
    assert_eq!((world.stage(), world.splits["api"].routed), (Some(Stage::Soaking), 10));
    assert_eq!(world.stored.blocked_by[0].reason, reasons::SCHEMA_OUT_OF_RANGE);
    world.schema = Some(Ok(44));
    world.run(60);
    assert_eq!((world.state(), world.splits["api"].routed), (PhaseState::Completed, 100));
}
