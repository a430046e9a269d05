//! Actions: which state hears which, and that none is done twice.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::PhaseState,
        phase_action::{ActionKind, ActionState, RollbackTo},
    },
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::simulator::{Cut, Situation, reach};
use crate::{Known, migration_phase::ActionView};

const ACCEPTED: ActionState = ActionState::Accepted;
const REJECTED: ActionState = ActionState::Rejected;

#[rstest]
#[case(Situation::Waiting, [REJECTED, REJECTED, ACCEPTED, REJECTED, ACCEPTED, REJECTED, REJECTED])]
#[case(Situation::Preparing, [REJECTED, REJECTED, ACCEPTED, REJECTED, ACCEPTED, REJECTED, REJECTED])]
#[case(Situation::Shifting, [REJECTED, REJECTED, ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, REJECTED])]
#[case(Situation::Soaking, [REJECTED, REJECTED, ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, REJECTED])]
#[case(Situation::AwaitingApproval, [ACCEPTED, ACCEPTED, ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, REJECTED])]
#[case(Situation::Paused, [ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED, REJECTED])]
#[case(Situation::RollingBack, [REJECTED, REJECTED, REJECTED, REJECTED, ACCEPTED, REJECTED, REJECTED])]
#[case(Situation::RolledBack, [REJECTED, REJECTED, REJECTED, REJECTED, REJECTED, REJECTED, ACCEPTED])]
#[case(Situation::Frozen, [REJECTED, REJECTED, REJECTED, ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED])]
#[case(Situation::Completed, [REJECTED, REJECTED, REJECTED, REJECTED, REJECTED, ACCEPTED, REJECTED])]
#[case(Situation::Aborted, [REJECTED, REJECTED, REJECTED, REJECTED, REJECTED, ACCEPTED, ACCEPTED])]
fn each_state_hears_what_makes_sense_in_it(#[case] situation: Situation, #[case] outcomes: [ActionState; 7]) {
    let reached = reach(situation);
    for (kind, expected) in ActionKind::ALL.into_iter().zip(outcomes) {
        let mut world = reached.clone();
        let uid = world.ask(kind, "carol");
        world.reconcile(Cut::Never);
        assert_eq!(world.outcome(&uid), Some(expected), "{kind:?} while {situation:?}");
    }
}

#[rstest]
#[case(Situation::Waiting)]
#[case(Situation::Preparing)]
#[case(Situation::Shifting)]
#[case(Situation::Soaking)]
#[case(Situation::Paused)]
#[case(Situation::Frozen)]
#[case(Situation::Completed)]
#[case(Situation::Aborted)]
fn everything_can_be_given_back_to_legacy_from_anywhere(#[case] situation: Situation) {
    let mut world = reach(situation);
    world.mend();
    let uid = world.roll_back(RollbackTo::Legacy);
    assert!(world.run_until(30, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.outcome(&uid), Some(ACCEPTED));
    assert!(world.splits.values().all(|split| split.routed == 0));
    assert!(world.flags.values().all(|flag| flag.percent == 0));
}

#[rstest]
#[case::phase_of_before(|a: &mut ActionView| a.spec.phase_uid = "uid-of-before".into(), REJECTED, reasons::SUPERSEDED)]
#[case::attempt_of_before(|a: &mut ActionView| a.spec.attempt = 0, REJECTED, reasons::SUPERSEDED)]
#[case::attempt_to_come(|a: &mut ActionView| a.spec.attempt = 2, REJECTED, reasons::SUPERSEDED)]
#[case::too_old(|a: &mut ActionView| a.created -= SignedDuration::from_mins(15), ActionState::Expired, reasons::EXPIRED)]
#[case::said_so(|a: &mut ActionView| a.spec.expires_at = Some(Time(a.created)), ActionState::Expired, reasons::EXPIRED)]
#[case::a_day_at_most(
    |a: &mut ActionView| {
        a.spec.expires_at = Some(Time(a.created + SignedDuration::from_hours(48)));
        a.created -= SignedDuration::from_hours(24);
    },
    ActionState::Expired,
    reasons::EXPIRED
)]
fn what_is_not_for_this_attempt_now_is_turned_down(
    #[case] change: fn(&mut ActionView),
    #[case] state: ActionState,
    #[case] reason: &str,
) {
    let mut world = reach(Situation::Soaking);
    world.ask_with(ActionKind::Abort, "carol", change);
    let plan = world.plan(&world.observe(&world.stored));
    let settled = &plan.settle[0].status;
    assert_eq!((settled.state, settled.reason.as_deref()), (Some(state), Some(reason)));
    assert!(settled.message.as_ref().is_some_and(|message| message.len() > 20), "says what to do");
    assert_eq!(plan.status.state, Some(PhaseState::Running));
}

#[test]
fn expiry_is_judged_by_the_api_servers_clock() {
    let mut world = reach(Situation::Soaking);
    let uid = world.ask(ActionKind::Abort, "carol");
    world.set_clock(3_600);
    world.reconcile(Cut::Never);
    assert_eq!(world.outcome(&uid), Some(ACCEPTED));
}

#[rstest]
#[case(Cut::BeforeWrite)]
#[case(Cut::AfterWrite)]
#[case(Cut::Stale)]
fn a_crash_neither_loses_nor_repeats_an_action(#[case] cut: Cut) {
    let mut world = reach(Situation::Soaking);
    let uid = world.ask(ActionKind::Pause, "carol");
    world.reconcile(cut);
    assert_eq!(world.outcome(&uid), None);
    world.reconcile(Cut::Never);
    assert_eq!(world.outcome(&uid), Some(ACCEPTED));
    assert_eq!(world.state(), PhaseState::Paused);
    assert_eq!(world.stored.history.iter().filter(|entry| entry.reason == reasons::PAUSED).count(), 1);
}

#[test]
fn an_action_whose_own_status_was_cut_off_is_not_done_again_after_its_effect_was_undone() {
    let mut world = reach(Situation::Soaking);
    world.ask(ActionKind::Pause, "carol");
    world.reconcile(Cut::AfterWrite);
    let resume = world.ask(ActionKind::Resume, "carol");
    world.reconcile(Cut::AfterWrite);
    world.reconcile(Cut::Never);
    assert_eq!(world.outcome(&resume), Some(ACCEPTED));
    assert_eq!(world.state(), PhaseState::Running);
}

#[test]
fn actions_are_taken_in_the_order_they_were_made() {
    let mut world = reach(Situation::Soaking);
    world.ask(ActionKind::Resume, "carol");
    world.pass(1_000);
    world.ask(ActionKind::Pause, "carol");
    world.actions.swap(0, 1);
    let last = world.actions.len() - 1;
    world.actions.swap(0, last);
    world.reconcile(Cut::Never);
    assert_eq!(world.state(), PhaseState::Paused, "Resume came first, and was refused");
}

#[test]
fn a_uid_is_forgotten_only_when_its_action_is_settled() {
    let mut world = reach(Situation::Soaking);
    world.stored.applied_actions = (0..64).map(|i| format!("old-{i}")).collect();
    let first = world.ask(ActionKind::Pause, "carol");
    world.reconcile(Cut::AfterWrite);
    assert_eq!(world.stored.applied_actions.len(), 64);
    assert_eq!(world.stored.applied_actions.last(), Some(&first));
    assert_eq!(world.stored.applied_actions[0], "old-1");
}

#[test]
fn a_retry_begins_the_next_attempt_from_what_is_then() {
    let mut world = reach(Situation::RolledBack);
    let baseline = world.stored.baseline.clone();
    world.ask(ActionKind::Retry, "carol");
    world.reconcile(Cut::Never);
    assert_eq!(world.stored.attempt, Some(2));
    assert!(baseline.is_some() && world.stored.baseline.is_none());
    assert!(world.stored.failure.is_none() && world.stored.approvals.is_empty());
    assert!(world.run_until(30, |world| world.stored.step.as_ref().is_some_and(|step| step.index == 1)));
}

#[test]
fn a_retry_of_what_was_given_up_halfway_keeps_the_way_back_to_the_old_start() {
    let mut world = reach(Situation::Aborted);
    let baseline = world.stored.baseline.clone();
    world.ask(ActionKind::Retry, "carol");
    world.run(5);
    assert_eq!(world.stored.baseline, baseline);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::STEP_WOULD_LOWER);
    world.ask(ActionKind::Rollback, "carol");
    assert!(world.run_until(15, |world| world.state() == PhaseState::RolledBack));
    assert!(world.splits.values().all(|split| split.routed == 0));
}

#[test]
fn the_audit_says_who_why_and_what_changed() {
    let mut world = reach(Situation::Soaking);
    world.ask(ActionKind::Rollback, "carol");
    let plan = world.plan(&world.observe(&world.stored));
    let entry = &plan.status.audit.unwrap().records[0];
    assert_eq!((entry.who.as_str(), entry.what.as_str(), entry.why.as_str()), ("carol", "Rollback", "a reason"));
    assert_eq!(entry.before, "Running few/Soaking api=10 web=5 basket=5%");
    assert_eq!(entry.after, "RollingBack few/Soaking api=10 web=5 basket=0%");
}

#[test]
fn a_rollback_can_be_given_another_target_on_its_way() {
    let mut world = reach(Situation::RollingBack);
    let uid = world.ask_with(ActionKind::Rollback, "carol", |action| action.spec.force = Some(true));
    world.reconcile(Cut::Never);
    assert_eq!(world.outcome(&uid), Some(ACCEPTED));
    assert!(world.stored.way_back.as_ref().unwrap().force);
}

#[rstest]
#[case::pause(ActionKind::Pause, Situation::Soaking, ACCEPTED)]
#[case::abort(ActionKind::Abort, Situation::Soaking, ACCEPTED)]
#[case::rollback(ActionKind::Rollback, Situation::Soaking, ACCEPTED)]
#[case::promote(ActionKind::Promote, Situation::Soaking, REJECTED)]
#[case::approve(ActionKind::Approve, Situation::AwaitingApproval, REJECTED)]
#[case::resume(ActionKind::Resume, Situation::Paused, REJECTED)]
#[case::retry(ActionKind::Retry, Situation::RolledBack, REJECTED)]
fn without_proof_of_who_asked_only_what_holds_or_leads_back_is_done(
    #[case] kind: ActionKind,
    #[case] situation: Situation,
    #[case] outcome: ActionState,
) {
    let mut world = reach(situation);
    world.ask(kind, "carol");
    let mut observed = world.observe(&world.stored);
    observed.policies_enforced = Known::Unknown;
    let settled = world.plan(&observed).settle.len();
    assert_eq!(settled, usize::from(outcome == ACCEPTED), "it waits until that is known");
    observed.policies_enforced = Known::Known(false);
    let settled = &world.plan(&observed).settle[0].status;
    assert_eq!(settled.state, Some(outcome));
    let unproved = settled.reason.as_deref() == Some(reasons::POLICIES_NOT_ENFORCED);
    assert_eq!(unproved, outcome == REJECTED, "{settled:?}");
}
