//! Preparing: claims in order of name, and everything that is looked at before anything moves.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{PhaseState, Stage},
        traffic_split::{Exposure, Ramp},
    },
};
use rstest::rstest;

use super::{
    fixture::{spec, step},
    simulator::{Cut, World},
};
use crate::{
    Known,
    migration_phase::{Observed, Trouble},
};

fn world() -> World {
    let steps =
        vec![step("half", &[("api", 50), ("web", 20)], &[("basket", 30)], 0), step("all", &[("api", 100)], &[], 0)];
    World::new(spec(steps), &[("api", 0, 8), ("web", 10, 0)], &[("basket", 0)])
}

/// Everything is claimed and granted, and nothing has moved.
fn claimed() -> World {
    let mut world = world();
    world.splits.get_mut("api").unwrap().new_ready = 0;
    world.run(4);
    world.splits.get_mut("api").unwrap().new_ready = 8;
    assert_eq!(world.stage(), Some(Stage::Preparing));
    world
}

fn names(world: &World) -> Vec<String> {
    let requests = world.stored.requests.clone().unwrap_or_default();
    let splits = requests.splits.iter().map(|r| r.split.clone());
    splits.chain(requests.flags.iter().map(|r| r.flag.clone())).collect()
}

#[test]
fn splits_and_flags_are_claimed_one_after_the_other() {
    let mut world = world();
    world.reconcile(Cut::Never);
    assert_eq!(names(&world), ["api"]);
    world.reconcile(Cut::Never);
    assert_eq!(names(&world), ["api"], "the grant is awaited");
    world.sync_all();
    world.reconcile(Cut::Never);
    assert_eq!(names(&world), ["api", "web"]);
    world.sync_all();
    world.reconcile(Cut::Never);
    assert_eq!(names(&world), ["api", "web", "basket"]);
    assert!(world.stored.baseline.is_none());
    assert!(world.stored.requests.as_ref().unwrap().splits.iter().all(|r| r.new_weight.is_none()));
}

#[test]
fn a_split_held_by_another_phase_is_awaited_and_later_ones_are_not_claimed() {
    let mut world = world();
    world.splits.get_mut("api").unwrap().wanted_by_other = true;
    world.run(5);
    assert_eq!(names(&world), ["api"]);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::SPLIT_BUSY);
    assert!(world.stored.blocked_by[0].message.contains("phase another"), "{:?}", world.stored.blocked_by);
    world.splits.get_mut("api").unwrap().wanted_by_other = false;
    assert!(world.run_until(5, |world| world.state() == PhaseState::Completed));
}

fn api(observed: &mut Observed, change: impl FnOnce(&mut crate::migration_phase::SplitView)) {
    if let Some(Known::Known(Some(view))) = observed.splits.get_mut("api") {
        change(view);
    }
}

#[rstest]
#[case::router_does_not_accept(|o: &mut Observed| api(o, |v| v.trouble = Some(Trouble { reason: "R".into(), message: "m".into() })), reasons::SPLIT_NOT_READY)]
#[case::old_status(|o: &mut Observed| api(o, |v| v.current = false), reasons::SPLIT_NOT_READY)]
#[case::too_heavy(|o: &mut Observed| api(o, |v| v.weight_total = 40), reasons::SPLIT_NOT_READY)]
#[case::no_legacy_to_share_with(|o: &mut Observed| api(o, |v| v.has_legacy = false), reasons::SPLIT_NOT_READY)]
#[case::too_few_endpoints(|o: &mut Observed| api(o, |v| v.new_ready = Some(3)), reasons::INSUFFICIENT_CAPACITY)]
#[case::endpoints_not_counted(|o: &mut Observed| api(o, |v| v.new_ready = None), reasons::UNKNOWN_INPUT)]
#[case::weight_not_known(|o: &mut Observed| api(o, |v| v.applied = None), reasons::UNKNOWN_INPUT)]
#[case::above_the_step(|o: &mut Observed| api(o, |v| v.applied = Some(60)), reasons::STEP_WOULD_LOWER)]
#[case::wanted_above_the_step(|o: &mut Observed| api(o, |v| v.desired = Some(51)), reasons::STEP_WOULD_LOWER)]
#[case::not_read(|o: &mut Observed| _ = o.splits.insert("web".into(), Known::Unknown), reasons::UNKNOWN_INPUT)]
#[case::gone(|o: &mut Observed| _ = o.splits.insert("web".into(), Known::Known(None)), reasons::REFERENCE_NOT_FOUND)]
#[case::flag_gone(|o: &mut Observed| _ = o.flags.insert("basket".into(), Known::Known(None)), reasons::REFERENCE_NOT_FOUND)]
#[case::flag_without_percentage(
    |o: &mut Observed| if let Some(Known::Known(Some(v))) = o.flags.get_mut("basket") { v.has_percentage = false },
    reasons::FLAG_NOT_READY
)]
#[case::flag_above_the_step(
    |o: &mut Observed| if let Some(Known::Known(Some(v))) = o.flags.get_mut("basket") { v.percent = Some(31) },
    reasons::STEP_WOULD_LOWER
)]
#[case::clock_off(|o: &mut Observed| o.clock_skew = Known::Known(jiff::SignedDuration::from_secs(-6)), reasons::CLOCK_SKEW)]
#[case::clock_not_compared(|o: &mut Observed| o.clock_skew = Known::Unknown, reasons::UNKNOWN_INPUT)]
#[case::being_deleted(|o: &mut Observed| o.phase.deleting = true, reasons::STILL_IN_USE)]
fn nothing_moves_before_the_step_can_be_taken(#[case] change: fn(&mut Observed), #[case] reason: &str) {
    let world = claimed();
    let mut observed = world.observe(&world.stored);
    change(&mut observed);
    let plan = world.plan(&observed);
    let listed: Vec<_> = plan.status.blocked_by.iter().map(|blocker| blocker.reason.as_str()).collect();
    assert!(listed.contains(&reason), "{listed:?}");
    assert_eq!(plan.status.step.as_ref().unwrap().stage, Stage::Preparing);
    assert!(plan.status.baseline.is_none());
    assert_eq!(plan.status.requests, world.stored.requests);
}

#[test]
fn the_baseline_is_recorded_in_the_write_that_asks_for_the_weights() {
    let world = claimed();
    let plan = world.plan(&world.observe(&world.stored));
    let baseline = plan.status.baseline.unwrap();
    let weights: Vec<_> = baseline.splits.iter().map(|r| (r.split.as_str(), r.new_weight, r.exposure)).collect();
    assert_eq!(weights, [("api", Some(0), Some(Exposure::Exposed)), ("web", Some(10), Some(Exposure::Exposed))]);
    assert_eq!(baseline.flags[0].percent, Some(0));
    let requests = plan.status.requests.unwrap();
    assert_eq!(requests.splits.iter().map(|r| r.new_weight).collect::<Vec<_>>(), [Some(50), Some(20)]);
    assert_eq!(requests.flags[0].percent, None, "flags follow the traffic");
    assert_eq!(plan.status.step.unwrap().stage, Stage::Shifting);
}

#[test]
fn a_preparation_that_takes_too_long_is_told_once_and_goes_on() {
    let mut world = world();
    world.spec.prepare_timeout = super::fixture::secs(5);
    world.splits.get_mut("api").unwrap().new_ready = 0;
    world.run(20);
    assert_eq!(world.stored.blocked_by[0].reason, reasons::PREPARE_TIMED_OUT);
    let told = world.stored.history.iter().filter(|entry| entry.reason == reasons::PREPARE_TIMED_OUT).count();
    assert_eq!(told, 1);
    world.splits.get_mut("api").unwrap().new_ready = 8;
    assert!(world.run_until(5, |world| world.state() == PhaseState::Completed));
}

#[test]
fn a_hidden_split_is_exposed_by_its_step_and_hidden_again_on_the_way_back() {
    let mut world = world();
    world.spec.steps[0].traffic[1].exposure = Some(Exposure::Exposed);
    world.spec.steps[0].soak = super::fixture::secs(60);
    let web = world.splits.get_mut("web").unwrap();
    web.exposure = Exposure::Hidden;
    assert!(world.run_until(10, |world| world.stage() == Some(Stage::Soaking)));
    assert_eq!(world.splits["web"].exposure, Exposure::Exposed);
    world.roll_back(cutover_api::v1alpha1::phase_action::RollbackTo::Baseline);
    assert!(world.run_until(10, |world| world.state() == PhaseState::RolledBack));
    assert_eq!(world.splits["web"].exposure, Exposure::Hidden);
}

#[rstest]
#[case::there("10m", "20m", "spec.shiftTimeout is 10m")]
#[case::and_back("2h", "10m", "spec.rollback.timeout is 10m")]
fn a_ramp_that_takes_longer_than_there_is_time_for_is_waited_for(
    #[case] shift: &str,
    #[case] back: &str,
    #[case] why: &str,
) {
    let mut world = claimed();
    world.edit(|spec| {
        spec.shift_timeout = shift.parse().unwrap();
        spec.rollback.timeout = back.parse().unwrap();
    });
    let ramp = |max_step| Some(Ramp { max_step, interval: "10s".parse().unwrap() });
    world.splits.get_mut("api").unwrap().ramp = ramp(1);
    world.run(3);
    assert_eq!(world.stage(), Some(Stage::Preparing));
    let told = world.stored.blocked_by.iter().find(|it| it.reason == reasons::SPLIT_NOT_READY).unwrap();
    assert!(told.message.contains(why), "{}", told.message);
    world.splits.get_mut("api").unwrap().ramp = ramp(25);
    world.run(3);
    assert_ne!(world.stage(), Some(Stage::Preparing));
}
