//! Which versions of the schema are recorded as applied.

use cutover_api::v1alpha1::{
    environment::{MigrationOutcome, MigrationRecord},
    migration_phase::{MigrationDirection, MigrationRun},
};
use jiff::Timestamp;
use rstest::rstest;

use crate::environment::{MigrationEnd, migrations::recorded};

use MigrationDirection::{Down, Up};
use MigrationOutcome::{Failed, Succeeded, Waived};

fn end(round: i32, direction: MigrationDirection, outcome: MigrationOutcome) -> MigrationEnd {
    MigrationEnd {
        run: MigrationRun { version: 44, direction, round },
        outcome,
        job: format!("shift-{round}"),
        phase: "shift".into(),
        phase_uid: "u1".into(),
    }
}

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[rstest]
#[case::applied(&[end(1, Up, Succeeded)], true, 1)]
#[case::failed(&[end(1, Up, Failed)], false, 1)]
#[case::done_by_hand(&[end(1, Up, Failed), end(1, Up, Waived)], true, 1)]
#[case::a_job_that_turned_up_late(&[end(1, Down, Waived), end(1, Down, Succeeded)], false, 1)]
#[case::undone(&[end(1, Up, Succeeded), end(2, Down, Succeeded)], false, 2)]
#[case::not_undone(&[end(1, Up, Succeeded), end(2, Down, Failed)], true, 2)]
#[case::applied_again(&[end(3, Up, Succeeded), end(2, Down, Succeeded), end(1, Up, Succeeded)], true, 3)]
fn the_last_run_that_ended_well_counts(#[case] ends: &[MigrationEnd], #[case] applied: bool, #[case] round: i32) {
    let all = recorded(&[], ends, now(10));
    assert_eq!((all.len(), all[0].applied, all[0].round), (1, applied, round), "{all:#?}");
    // Whether it is seen at once or one after the other.
    let mut one_by_one: Vec<MigrationRecord> = Vec::new();
    for end in ends {
        one_by_one = recorded(&one_by_one, std::slice::from_ref(end), now(10));
    }
    assert_eq!(one_by_one, all);
    assert_eq!(recorded(&all, ends, now(99)), all, "what is recorded stays as it is");
}

#[test]
fn what_has_not_ended_or_is_gone_changes_no_record() {
    let before = recorded(&[], &[end(1, Up, Succeeded)], now(10));
    assert_eq!(recorded(&before, &[], now(99)), before);
    assert_eq!((before[0].phase.as_deref(), before[0].phase_uid.as_deref()), (Some("shift"), Some("u1")));
}
