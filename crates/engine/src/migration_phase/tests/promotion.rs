//! Promotion: only a phase that may be seen, completed a short time ago and had the same images opens the gate.

use std::collections::BTreeMap;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Gates, PhaseState, Promotion},
};
use jiff::SignedDuration;
use rstest::rstest;

use super::{
    fixture::{secs, spec, step},
    simulator::World,
};
use crate::{
    Known,
    migration_phase::{Observed, Plan, PromotionView},
};

fn images(image: &str) -> BTreeMap<String, String> {
    [("api".to_owned(), image.to_owned())].into()
}

fn world() -> World {
    let mut spec = spec(vec![step("all", &[("api", 100)], &[], 0)]);
    let from = Promotion { namespace: Some("shop-staging".into()), phase: "shift".into(), within: secs(3_600) };
    spec.gates = Some(Gates { promoted_from: Some(from), ..Gates::default() });
    let mut world = World::new(spec, &[("api", 0, 0)], &[]);
    world.images = images("api:1");
    world.promotion = PromotionView {
        state: Some(PhaseState::Completed),
        finished_at: Some(world.time - SignedDuration::from_secs(3_599)),
        images: images("api:1"),
        visible: true,
    };
    world
}

fn plan(world: &World, change: impl FnOnce(&mut Observed)) -> Plan {
    let mut observed = world.observe(&world.stored);
    change(&mut observed);
    world.plan(&observed)
}

#[rstest]
#[case::not_there(|seen: &mut Observed| seen.promotion = Known::Known(None), reasons::REFERENCE_NOT_FOUND, "list shop in its spec.visibleTo")]
#[case::not_to_be_seen(|seen: &mut Observed| view(seen).visible = false, reasons::REFERENCE_NOT_FOUND, "list shop in its spec.visibleTo")]
#[case::not_read(|seen: &mut Observed| seen.promotion = Known::Unknown, reasons::UNKNOWN_INPUT, "shop-staging/shift")]
#[case::running(|seen: &mut Observed| view(seen).state = Some(PhaseState::Running), reasons::NOT_PROMOTED, "is Running")]
#[case::went_back(|seen: &mut Observed| view(seen).state = Some(PhaseState::RolledBack), reasons::NOT_PROMOTED, "is RolledBack")]
#[case::other_image(|seen: &mut Observed| view(seen).images = images("api:2"), reasons::NOT_PROMOTED, "component api has api:1 here and had api:2")]
#[case::no_such_component(|seen: &mut Observed| view(seen).images.clear(), reasons::NOT_PROMOTED, "no image that is known")]
fn a_promotion_keeps_the_gate_closed(#[case] change: fn(&mut Observed), #[case] reason: &str, #[case] says: &str) {
    let plan = plan(&world(), change);
    assert_eq!(plan.status.state, Some(PhaseState::Waiting));
    let blocked = &plan.status.blocked_by[0];
    assert_eq!((blocked.reason.as_str(), blocked.message.contains(says)), (reason, true), "{}", blocked.message);
}

fn view(seen: &mut Observed) -> &mut PromotionView {
    let Known::Known(Some(view)) = &mut seen.promotion else { panic!("not there") };
    view
}

#[test]
fn a_promotion_of_long_ago_does_not_count_any_more() {
    let mut world = world();
    assert_eq!(plan(&world, |_| {}).status.state, Some(PhaseState::Running));
    world.time += SignedDuration::from_secs(1);
    let plan = plan(&world, |_| {});
    assert!(plan.status.blocked_by[0].message.contains("more than 1h ago"), "{:?}", plan.status.blocked_by);
}

#[test]
fn without_images_nothing_shows_that_it_is_the_same() {
    let mut world = world();
    world.images.clear();
    assert_eq!(plan(&world, |_| {}).status.blocked_by[0].reason, reasons::NOT_PROMOTED);
}

#[test]
fn a_completed_phase_shows_the_images_it_completed_with() {
    let mut world = world();
    assert!(world.run_until(5, |world| world.state() == PhaseState::Completed));
    world.images = images("api:2");
    world.run(2);
    assert_eq!(world.stored.images, images("api:1"));
}
