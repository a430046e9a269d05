#![expect(clippy::option_option, reason = "no request, one to hold, and one for a percentage are three cases")]

use cutover_api::v1alpha1::{
    FeatureFlagStatus,
    feature_flag::FlagHolder,
    migration_phase::{FlagRequest, MigrationPhase, PhaseState},
};
use rstest::rstest;

use crate::feature_flag::{
    Claim,
    holder::{Order, Ruling, arbitrate},
    percent::{InForce, in_force, in_force_unread},
};

pub fn holder(phase: &str, attempt: i32, revision: i64, epoch: i64) -> FlagHolder {
    FlagHolder { phase: phase.into(), uid: format!("{phase}-uid"), attempt, epoch, request_revision: revision }
}

pub fn held(holder: FlagHolder) -> FeatureFlagStatus {
    FeatureFlagStatus { epoch: Some(holder.epoch), held_by: Some(holder), ..FeatureFlagStatus::default() }
}

pub fn claim(phase: &str, attempt: i32, revision: i64, percent: Option<Option<i32>>, confirmed: bool) -> Claim {
    let request = percent.map(|percent| FlagRequest { flag: "f".into(), percent });
    Claim { phase: phase.into(), uid: format!("{phase}-uid"), attempt, revision, request, confirmed }
}

fn free() -> FeatureFlagStatus {
    FeatureFlagStatus { epoch: Some(3), ..FeatureFlagStatus::default() }
}

#[rstest]
#[case::nobody_asks(free(), vec![claim("a", 1, 1, None, true)], &[], None, None, None)]
#[case::asked_unconfirmed(free(), vec![claim("a", 1, 1, Some(Some(5)), false)], &[], None, None, Some("a"))]
#[case::asked(free(), vec![claim("a", 1, 7, Some(Some(5)), true)], &[], Some(("a", 4, 7)), Some(Some(5)), None)]
#[case::first_by_name(free(), vec![claim("b", 1, 1, Some(None), true), claim("a", 1, 1, Some(None), true)], &[], Some(("a", 4, 1)), Some(None), None)]
#[case::newer(held(holder("a", 1, 7, 3)), vec![claim("a", 1, 8, Some(Some(9)), false)], &[], Some(("a", 3, 8)), Some(Some(9)), None)]
#[case::next_attempt(held(holder("a", 1, 7, 3)), vec![claim("a", 2, 9, Some(Some(1)), false)], &[], Some(("a", 3, 9)), Some(Some(1)), None)]
#[case::older(held(holder("a", 1, 7, 3)), vec![claim("a", 1, 6, Some(Some(9)), false)], &[], Some(("a", 3, 7)), None, Some("a"))]
#[case::older_attempt(held(holder("a", 2, 7, 3)), vec![claim("a", 1, 9, Some(Some(9)), false)], &[], Some(("a", 3, 7)), None, Some("a"))]
#[case::others_wait(held(holder("b", 1, 7, 3)), vec![claim("a", 1, 1, Some(Some(9)), true), claim("b", 1, 7, Some(None), false)], &[], Some(("b", 3, 7)), Some(None), None)]
#[case::lets_go(held(holder("a", 1, 7, 3)), vec![claim("a", 1, 8, None, false)], &[], None, None, None)]
#[case::cache_lags(held(holder("a", 1, 7, 3)), vec![], &[], Some(("a", 3, 7)), None, Some("a"))]
#[case::deleted(held(holder("a", 1, 7, 3)), vec![], &["a"], None, None, None)]
#[case::made_anew(held(holder("a", 1, 7, 3)), vec![Claim { uid: "other".into(), ..claim("a", 1, 1, Some(Some(2)), true) }], &[], Some(("a", 4, 1)), Some(Some(2)), None)]
#[case::began_anew(held(holder("a", 1, 7, 3)), vec![claim("a", 1, 1, Some(Some(2)), true)], &[], Some(("a", 4, 1)), Some(Some(2)), None)]
#[case::handed_on(held(holder("a", 1, 7, 3)), vec![claim("a", 1, 8, None, false), claim("b", 1, 2, Some(Some(2)), true)], &[], Some(("b", 4, 2)), Some(Some(2)), None)]
#[case::handed_on_unconfirmed(held(holder("a", 1, 7, 3)), vec![claim("a", 1, 8, None, false), claim("b", 1, 2, Some(Some(2)), false)], &[], Some(("a", 3, 7)), None, Some("b"))]
fn a_flag_is_held_by_one_phase(
    #[case] status: FeatureFlagStatus,
    #[case] claims: Vec<Claim>,
    #[case] absent: &[&str],
    #[case] wanted: Option<(&str, i64, i64)>,
    #[case] order: Option<Option<i32>>,
    #[case] doubt: Option<&str>,
) {
    let absent: Vec<String> = absent.iter().map(ToString::to_string).collect();
    let ruling = arbitrate(&status, &claims, &absent);
    let got = ruling.holder.as_ref().map(|holder| (holder.phase.as_str(), holder.epoch, holder.request_revision));
    assert_eq!(got, wanted);
    assert_eq!(ruling.order, order.map(|percent| Order { percent }));
    assert_eq!(ruling.doubt.as_deref(), doubt);
    assert!(ruling.epoch >= status.epoch, "epochs only grow");
}

#[rstest]
#[case(PhaseState::Running, true)]
#[case(PhaseState::Paused, true)]
#[case(PhaseState::Frozen, true)]
#[case(PhaseState::RollingBack, true)]
#[case(PhaseState::Waiting, false)]
#[case(PhaseState::Completed, false)]
#[case(PhaseState::Aborted, false)]
fn a_phase_asks_while_it_holds(#[case] state: PhaseState, #[case] asks: bool) {
    let phase: MigrationPhase = serde_json::from_value(serde_json::json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase",
        "metadata": {"name": "p", "uid": "u"}, "spec": {"steps": []},
        "status": {"state": state, "attempt": 2, "requestRevision": 9, "requests": {"flags": [{"flag": "f", "percent": 5}]}},
    }))
    .unwrap();
    let claim = Claim::of(&phase, "f", true);
    assert_eq!((claim.attempt, claim.revision, claim.request.is_some()), (2, 9, asks));
    assert_eq!(Claim::of(&phase, "g", true).request, None);
}

fn ruling(holder: Option<FlagHolder>, order: Option<Option<i32>>) -> Ruling {
    Ruling { holder, order: order.map(|percent| Order { percent }), ..Ruling::default() }
}

fn status(percent: Option<i32>, held_spec: Option<i32>, held_by: bool) -> FeatureFlagStatus {
    FeatureFlagStatus {
        percent,
        held_spec_percent: held_spec,
        held_by: held_by.then(|| holder("a", 1, 7, 3)),
        ..FeatureFlagStatus::default()
    }
}

#[rstest]
#[case::first_seen(Some(10), status(None, None, false), None, ruling(None, None), Some(10), Some(10))]
#[case::resting(Some(10), status(Some(40), Some(10), false), Some(40), ruling(None, None), Some(40), Some(10))]
#[case::value_changed(Some(20), status(Some(40), Some(10), false), Some(40), ruling(None, None), Some(20), Some(20))]
#[case::status_lost(Some(10), status(None, None, false), Some(40), ruling(None, None), Some(40), Some(10))]
#[case::asked(
    Some(10),
    status(Some(10), Some(10), false),
    Some(10),
    ruling(Some(holder("a", 1, 1, 1)), Some(Some(25))),
    Some(25),
    Some(10)
)]
#[case::held_only(
    Some(10),
    status(Some(40), Some(10), true),
    Some(40),
    ruling(Some(holder("a", 1, 8, 3)), Some(None)),
    Some(40),
    Some(10)
)]
#[case::changed_while_held(
    Some(99),
    status(Some(40), Some(10), true),
    Some(40),
    ruling(Some(holder("a", 1, 8, 3)), Some(Some(50))),
    Some(50),
    Some(99)
)]
#[case::changed_as_it_lets_go(
    Some(99),
    status(Some(40), Some(10), true),
    Some(40),
    ruling(None, None),
    Some(40),
    Some(99)
)]
#[case::let_go_later(Some(99), status(Some(40), Some(99), false), Some(40), ruling(None, None), Some(40), Some(99))]
#[case::no_rule(None, status(Some(40), Some(10), false), Some(40), ruling(None, None), None, None)]
#[case::in_doubt(Some(99), status(Some(40), Some(10), true), Some(40), Ruling { doubt: Some("a".into()), ..ruling(None, None) }, Some(40), Some(10))]
fn the_percentage_is_held_unless_somebody_may_move_it(
    #[case] declared: Option<i32>,
    #[case] status: FeatureFlagStatus,
    #[case] published: Option<i32>,
    #[case] ruling: Ruling,
    #[case] percent: Option<i32>,
    #[case] held_spec: Option<i32>,
) {
    assert_eq!(in_force(declared, &status, published, &ruling), InForce { percent, held_spec });
}

#[rstest]
#[case::held(status(Some(40), Some(10), false), Some(40), ruling(None, None), Some(40))]
#[case::asked(status(Some(40), Some(10), true), Some(40), ruling(Some(holder("a", 1, 8, 3)), Some(Some(0))), Some(0))]
#[case::nothing_to_move(
    status(Some(40), Some(10), true),
    None,
    ruling(Some(holder("a", 1, 8, 3)), Some(Some(0))),
    None
)]
fn an_invalid_spec_moves_nothing_and_a_phase_still_does(
    #[case] status: FeatureFlagStatus,
    #[case] published: Option<i32>,
    #[case] ruling: Ruling,
    #[case] percent: Option<i32>,
) {
    let held_spec = status.held_spec_percent;
    assert_eq!(in_force_unread(&status, published, &ruling), InForce { percent, held_spec });
}
