use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::EnvironmentStatus,
};
use jiff::Timestamp;
use rstest::rstest;

use super::world::{SHOP, World, identity, valid};
use crate::{
    Known,
    environment::{
        Applied, Problem, Refusal, Usage, Validated, Verdict, decide,
        in_use::{BackendUse, SplitUse},
        notes, status,
    },
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn tell(environment: &Validated, world: &mut World, previous: &EnvironmentStatus, now: i64) -> EnvironmentStatus {
    let plan = decide(environment, &world.observe());
    let applied = world.apply(&plan);
    let verdict = Verdict::Carried { environment, plan: &plan, applied: &applied };
    status(&identity(), Some(3), previous, &verdict, &world.observe(), None, at(now))
}

fn condition(status: &EnvironmentStatus, type_: &str) -> Option<(String, String, String)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

fn ready(status: &EnvironmentStatus) -> (String, String, String) {
    condition(status, types::READY).unwrap()
}

#[test]
fn components_come_up_and_the_manifest_says_what_runs() {
    let environment = valid(SHOP);
    let mut world = World::new();
    let first = tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
    assert_eq!(first.ready_components.as_deref(), Some("1/4"));
    let (is_ready, reason, message) = ready(&first);
    assert_eq!((is_ready.as_str(), reason.as_str()), ("False", reasons::REFERENCE_NOT_FOUND));
    assert!(
        message
            .contains("spec.components[2].source.service.name: there is no Service api in this namespace: create it"),
        "{message}"
    );

    world.foreign_service("api", 8081, 1);
    let second = tell(&environment, &mut world, &first, 1);
    assert_eq!(ready(&second).1, reasons::COMPONENTS_NOT_READY);
    world.roll_out();
    let third = tell(&environment, &mut world, &second, 2);
    insta::assert_yaml_snapshot!("status_ready", third);
    // Nothing changes any more, so nothing is written any more.
    assert_eq!(tell(&environment, &mut world, &third, 60), third);
}

#[test]
fn the_manifest_changes_when_what_is_deployed_does() {
    let environment = valid(SHOP);
    let mut world = World::new();
    world.foreign_service("api", 8081, 1);
    let mut last = EnvironmentStatus::default();
    for second in 0..3 {
        last = tell(&environment, &mut world, &last, second);
        world.roll_out();
    }
    let manifest = last.manifest.clone().unwrap();
    world.foreign_ready.insert("api".into(), 0);
    last = tell(&environment, &mut world, &last, 10);
    assert_eq!(last.manifest.as_ref(), Some(&manifest), "readiness is no deployment");
    let next = valid(&SHOP.replace("storefront:1.4.2", "storefront:1.5.0").replace("9f3c2ab", "0000001"));
    last = tell(&next, &mut world, &last, 20);
    let changed = last.manifest.clone().unwrap();
    assert_ne!(changed.hash, manifest.hash);
    assert_eq!(changed.last_applied.0, at(20));
    let storefront = &last.components[1];
    assert_eq!(
        (storefront.image.as_deref(), storefront.commit.as_deref()),
        (Some("registry.example.com/storefront:1.5.0"), Some("0000001"))
    );
}

#[rstest]
#[case::wrong_port(
    "port: 8081",
    "port: 8082",
    "api: spec.components[2].source.service.port: Service api has no port 8082 (it has 8081): correct the number"
)]
#[case::no_endpoint("", "", "api: Service api has no ready endpoint")]
fn a_service_that_cannot_be_used_is_told(#[case] from: &str, #[case] to: &str, #[case] wanted: &str) {
    let environment = if from.is_empty() { valid(SHOP) } else { valid(&SHOP.replace(from, to)) };
    let mut world = World::new();
    world.foreign_service("api", 8081, 0);
    let told = tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
    assert!(ready(&told).2.contains(wanted), "{}", ready(&told).2);
    assert!(!told.components[2].ready);
}

#[test]
fn a_rollout_is_reconciling_though_traffic_can_be_taken() {
    let environment = valid(SHOP);
    let mut world = World::new();
    world.foreign_service("api", 8081, 1);
    for _ in 0..3 {
        tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
        world.roll_out();
    }
    let before = tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
    assert_eq!(ready(&before).0, "True");
    let next = valid(&SHOP.replace("storefront:1.4.2", "storefront:1.5.0"));
    let during = tell(&next, &mut world, &before, 5);
    assert!(during.components[1].ready, "pods of the former form serve");
    assert_eq!(during.ready_components.as_deref(), Some("4/4"));
    assert_eq!(condition(&during, types::RECONCILING).unwrap().0, "True");
}

#[test]
fn a_component_without_pods_by_wish_is_as_declared_and_not_ready() {
    let environment = valid(&SHOP.replace("replicas: 2", "replicas: 0"));
    let mut world = World::new();
    world.foreign_service("api", 8081, 1);
    let mut last = EnvironmentStatus::default();
    for _ in 0..3 {
        last = tell(&environment, &mut world, &last, 0);
        world.roll_out();
    }
    last = tell(&environment, &mut world, &last, 0);
    assert_eq!(ready(&last).0, "True");
    assert!(!last.components[0].ready);
    assert_eq!(last.ready_components.as_deref(), Some("3/4"));
}

#[test]
fn an_invalid_spec_keeps_what_is_known_and_goes_on_telling_readiness() {
    let environment = valid(SHOP);
    let mut world = World::new();
    world.foreign_service("api", 8081, 1);
    let mut last = EnvironmentStatus::default();
    for _ in 0..3 {
        last = tell(&environment, &mut world, &last, 0);
        world.roll_out();
    }
    last = tell(&environment, &mut world, &last, 0);
    world.scale("production-storefront", 1);
    let problems = [Problem { field: "spec.config.API_URL".into(), message: "rename it".into() }];
    let told = status(&identity(), Some(4), &last, &Verdict::Invalid(&problems), &world.observe(), None, at(9));
    assert_eq!(condition(&told, types::STALLED).unwrap().1, reasons::INVALID_SPEC);
    assert_eq!(ready(&told).2, "spec.config.API_URL: rename it");
    assert_eq!(told.manifest, last.manifest);
    assert_eq!(told.components.len(), 4);
    assert_eq!(told.components[1].service, last.components[1].service);
    assert_eq!((told.components[1].ready, told.components[1].ready_replicas), (false, Some(1)));
    assert!(told.components[2].ready);
}

#[test]
fn a_refusal_is_stalled_and_other_components_go_on() {
    let environment = valid(SHOP);
    let mut world = World::new();
    world.foreign_service("api", 8081, 1);
    let plan = decide(&environment, &world.observe());
    world.apply(&plan);
    let applied = Applied {
        refusals: vec![Refusal {
            component: Some("database".into()),
            reason: reasons::FORBIDDEN,
            message: "may not".into(),
        }],
        deleted: Vec::new(),
    };
    let verdict = Verdict::Carried { environment: &environment, plan: &plan, applied: &applied };
    let told = status(&identity(), Some(1), &EnvironmentStatus::default(), &verdict, &world.observe(), None, at(0));
    assert_eq!(condition(&told, types::STALLED).unwrap().1, reasons::FORBIDDEN);
    assert_eq!(told.manifest, None, "not all of it is deployed");
    assert_eq!((told.components[3].service.as_ref(), told.components[3].ready), (None, false));
    assert_eq!(told.components[3].message.as_deref(), Some("may not"));
    assert!(told.components[2].ready);
}

#[test]
fn a_failure_is_tried_again_and_does_not_hide_a_refusal() {
    let environment = valid(SHOP);
    let world = World::new();
    let plan = decide(&environment, &world.observe());
    let applied = Applied::default();
    let verdict = Verdict::Carried { environment: &environment, plan: &plan, applied: &applied };
    let told =
        status(&identity(), None, &EnvironmentStatus::default(), &verdict, &world.observe(), Some("timeout"), at(0));
    assert_eq!((ready(&told).1.as_str(), ready(&told).2.as_str()), (reasons::RETRYING, "timeout"));
    let invalid = Verdict::Invalid(&[]);
    let told = status(&identity(), None, &told, &invalid, &world.observe(), Some("timeout"), at(0));
    assert_eq!(ready(&told).1, reasons::INVALID_SPEC);
}

#[test]
fn what_is_in_use_says_so_and_keeps_saying_so_while_it_is_not_known() {
    let environment = valid(SHOP);
    let mut world = World::new();
    let backend = BackendUse::Component { environment: "production".into(), component: "monolith".into() };
    let splits = vec![SplitUse { name: "shop".into(), backends: vec![backend], retired: None, idle: false }];
    world.usage = Known::Known(Usage { splits, ..Usage::default() });
    let told = tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
    let uses = |status: &EnvironmentStatus| status.components.iter().map(|c| c.in_use).collect::<Vec<_>>();
    assert_eq!(uses(&told), [true, false, false, false]);
    world.usage = Known::Unknown;
    assert_eq!(uses(&tell(&environment, &mut world, &told, 1)), [true, false, false, false]);

    let mut smaller = environment.clone();
    smaller.components.remove(0);
    world.usage = Known::Unknown;
    let blocked = tell(&smaller, &mut world, &told, 2);
    assert_eq!(condition(&blocked, types::PRUNE_BLOCKED).unwrap().1, reasons::STILL_IN_USE);
    let told_notes = notes(&told, &blocked, &Applied::default());
    assert!(told_notes.iter().any(|note| note.reason == reasons::STILL_IN_USE));
    assert!(notes(&blocked, &blocked, &Applied::default()).is_empty());
}
