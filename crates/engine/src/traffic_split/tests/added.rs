//! What is on record of entries that a split adds to rules of somebody else's.

use cutover_api::v1alpha1::traffic_split::{AddedEntry, Side, TrafficSplitStatus};
use rstest::rstest;
use serde_json::Value;

use super::spec;
use crate::{
    Known,
    router::{
        ObjectKind,
        tests::bed::{Split, World, users_route, users_virtual_service},
    },
    traffic_split::{
        added::{has_left, recorded},
        router_of,
    },
};

fn record(split: &Split, world: &World, status: &TrafficSplitStatus) -> Vec<AddedEntry> {
    let mut spec = spec();
    spec.routers = vec![split.router.clone()];
    let sides = Known::Known(split.sides.clone());
    split.observing(world, |_, observed| recorded(&spec, status, &sides, &[*observed]))
}

#[rstest]
#[case(Split::rule("users", "checkout"), ObjectKind::HttpRoute, users_route("users"), "HTTPRoute/users", "checkout")]
#[case(
    Split::entry("users", "all"),
    ObjectKind::VirtualService,
    users_virtual_service("users"),
    "VirtualService/users",
    "all"
)]
fn an_added_entry_is_on_record_until_it_is_taken_out(
    #[case] split: Split,
    #[case] kind: ObjectKind,
    #[case] theirs: Value,
    #[case] object: &str,
    #[case] part: &str,
) {
    let mut world = World::default();
    world.put(kind, theirs);
    let mut status = TrafficSplitStatus::default();
    status.added = record(&split, &world, &status);
    let entry = AddedEntry { object: object.into(), part: part.into(), side: Side::New };
    assert_eq!(status.added, std::slice::from_ref(&entry), "before it is written");
    split.settle(&mut world);
    assert_eq!(record(&split, &world, &status), status.added, "the rule names both sides now");

    let mut spec = spec();
    spec.routers = vec![split.router.clone()];
    assert!(!has_left(&entry, &spec));
    spec.routers = vec![Split::gateway().router];
    assert!(has_left(&entry, &spec));
    assert_eq!(recorded(&spec, &status, &Known::Known(split.sides.clone()), &[]), status.added, "it is still there");
    assert_eq!(recorded(&spec, &status, &Known::Unknown, &[]), status.added);
    assert_eq!(router_of(&entry), Some(split.router));
}

#[test]
fn the_record_is_bounded() {
    let entry = |n: usize| AddedEntry { object: format!("HTTPRoute/{n}"), part: "all".into(), side: Side::New };
    let status = TrafficSplitStatus { added: (0..16).map(entry).collect(), ..Default::default() };
    let mut world = World::default();
    world.put(ObjectKind::HttpRoute, users_route("users"));
    let added = record(&Split::rule("users", "checkout"), &world, &status);
    assert_eq!((added.len(), added.last().unwrap().object.as_str()), (16, "HTTPRoute/users"));
}
