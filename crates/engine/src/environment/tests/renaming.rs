//! Hosts that are only given another name: `via: ExternalName`.

use std::time::Duration;

use cutover_api::{conditions::reasons, v1alpha1::environment::IpFamily::V4};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{World, identity, valid};
use crate::environment::{
    ObjectKind, ObjectRef, Plan, Step, Validated, decide, discovery,
    plan::Body,
    readiness::{Readiness, readiness},
    resolve::{Answer, Told},
};

const SERVICE: &str = "production-database";

fn environment(via: &str) -> Validated {
    valid(&format!(
        "
tier: Production
components:
- {{name: database, role: Database, system: Shared, source: {{external: {{host: db.dc.example.com, port: 5432{via}}}}}}}
"
    ))
}

fn renamed() -> Validated {
    environment(", via: ExternalName")
}

fn answered(world: &mut World, answer: Answer) {
    let mut told = Told::default();
    told.take(answer, &[], Timestamp::from_second(1_800_000_000).unwrap());
    world.told.insert("database".into(), [(V4, told)].into());
}

fn addressed() -> Answer {
    Answer::Addresses { addresses: ["203.0.113.9".parse().unwrap()].into(), ttl: Duration::from_secs(60) }
}

fn how(environment: &Validated, world: &World) -> Readiness {
    readiness(environment, &environment.components[0], &world.observe())
}

fn touched(plan: &Plan) -> Vec<&ObjectRef> {
    let of = |step| match step {
        &Step::Claim { ref object, .. } | &Step::Apply { ref object, .. } | &Step::Delete { ref object, .. } => object,
    };
    plan.steps.iter().map(of).filter(|object| object.kind != ObjectKind::ConfigMap).collect()
}

#[test]
fn another_name_is_a_service_without_addresses_under_which_pods_find_the_host() {
    let environment = renamed();
    let mut world = World::new();
    answered(&mut world, addressed());
    let plan = decide(&environment, &world.observe());
    assert_eq!(touched(&plan), [&ObjectRef::new(ObjectKind::Service, SERVICE)], "no address is published");
    world.apply(&plan);
    let Body::Service(service) = &world.objects[&ObjectRef::new(ObjectKind::Service, SERVICE)].body else {
        panic!("of another kind")
    };
    let spec = serde_json::to_value(service.spec.as_ref()).unwrap();
    assert_eq!((&spec["type"], &spec["externalName"]), (&json!("ExternalName"), &json!("db.dc.example.com")));
    assert_eq!((&spec["selector"], &spec["ports"][0]["port"]), (&Value::Null, &json!(5432)));
    let told = discovery::variables(&identity(), &environment.components[0]);
    assert_eq!(told["DATABASE_HOST"], "production-database.shop.svc");
    assert!(decide(&environment, &world.observe()).steps.is_empty(), "settled");

    let readiness = how(&environment, &world);
    assert!(readiness.ready);
    let message = readiness.message.unwrap();
    assert_eq!(message, "another name of db.dc.example.com: no split leads to it");
}

#[rstest]
#[case::silent(None)]
#[case::without_addresses(Some(Answer::Nothing { ttl: Duration::from_secs(60) }))]
#[case::failing(Some(Answer::Failed("SERVFAIL".into())))]
fn a_name_that_nobody_can_resolve_is_not_ready(#[case] answer: Option<Answer>) {
    let environment = renamed();
    let mut world = World::new();
    if let Some(answer) = answer {
        answered(&mut world, answer);
    }
    world.apply(&decide(&environment, &world.observe()));
    let readiness = how(&environment, &world);
    assert_eq!((readiness.ready, readiness.reason), (false, reasons::NAME_NOT_RESOLVED));
    assert!(world.has(ObjectKind::Service, SERVICE), "whoever calls it asks by himself");
}

#[rstest]
#[case::from_addresses("", ", via: ExternalName")]
#[case::to_addresses(", via: ExternalName", ", via: Addresses")]
fn what_is_found_one_way_is_not_found_another_way_at_once(#[case] before: &str, #[case] after: &str) {
    let mut world = World::new();
    answered(&mut world, addressed());
    world.apply(&decide(&environment(before), &world.observe()));
    let plan = decide(&environment(after), &world.observe());
    assert!(touched(&plan).is_empty(), "{:?}", plan.steps);
    let [refusal] = plan.conflicts.as_slice() else { panic!("{:?}", plan.conflicts) };
    let message = &refusal.message;
    assert!(message.starts_with("spec.components[0].source: Service production-database would lead"), "{message}");
}
