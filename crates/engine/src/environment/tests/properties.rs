//! Random specs, one after another, in a namespace with objects of others, under random use and readiness.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::EnvironmentSpec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{World, identity};
use crate::{
    Known,
    environment::{
        ObjectKind, ObjectRef, Step, Usage, Validated, decide, decide_deletion,
        in_use::{BackendUse, SplitUse},
        validate,
    },
};

const NAMES: [&str; 5] = ["monolith", "storefront", "api", "worker", "database"];

#[derive(Clone, Debug)]
enum Move {
    Spec(Box<EnvironmentSpec>),
    Use(Option<Vec<String>>),
    Ready(BTreeMap<&'static str, i32>),
    Edit(usize),
    Lose(usize),
}

fn source() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..3_i32, 1..3_u8).prop_map(|(replicas, tag)| json!({"workload": {
            "image": format!("app:{tag}"), "replicas": replicas, "ports": [{"name": "http", "containerPort": 8080}],
        }})),
        1 => Just(json!({"service": {"name": "theirs", "port": 80}})),
        2 => prop::bool::ANY.prop_map(|six| {
            let address = if six { "2001:db8::7" } else { "203.0.113.7" };
            json!({"external": {"addresses": [address], "port": 443}})
        }),
    ]
}

fn a_spec() -> impl Strategy<Value = EnvironmentSpec> {
    let components = prop::collection::vec((prop::sample::subsequence(NAMES.to_vec(), 0..=2), source()), NAMES.len());
    (prop::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()), components, 0..3_u8).prop_map(
        |(names, parts, value)| {
            let components: Vec<Value> = names
                .iter()
                .zip(parts)
                .map(|(name, (called, source))| {
                    let others = |before: bool| -> Vec<&&str> {
                        let allowed =
                            |other: &&&str| names.contains(*other) && *other != name && (!before || *other < name);
                        called.iter().filter(allowed).collect()
                    };
                    json!({
                        "name": name, "system": "New", "source": source,
                        "callsTo": others(false), "dependsOn": others(true),
                    })
                })
                .collect();
            serde_json::from_value(json!({
                "tier": "Staging", "components": components, "config": {"LEVEL": value.to_string()},
            }))
            .unwrap()
        },
    )
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => a_spec().prop_map(|spec| Move::Spec(Box::new(spec))),
        2 => prop::option::weighted(0.8, prop::sample::subsequence(NAMES.to_vec(), 0..=2))
            .prop_map(|used| Move::Use(used.map(|names| names.iter().map(ToString::to_string).collect()))),
        2 => prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), 0..3_i32, 0..=NAMES.len()).prop_map(Move::Ready),
        1 => (0..12_usize).prop_map(Move::Edit),
        1 => (0..12_usize).prop_map(Move::Lose),
    ]
}

fn usage(names: &[String]) -> Usage {
    let of = |name: &String| SplitUse {
        retired: None,
        name: format!("split-{name}"),
        backends: vec![BackendUse::Component { environment: "production".into(), component: name.clone() }],
        idle: false,
    };
    Usage { splits: names.iter().map(of).collect(), ..Usage::default() }
}

/// Nothing of others is deleted or written, nothing in use is deleted. (That no selector changes is asserted by the
/// world itself.)
fn guarded(world: &World, steps: &[Step], of_spec: Option<&Validated>) {
    for step in steps {
        match step {
            Step::Apply { object, .. } | Step::Claim { object, .. } => assert_ne!(object.name, "theirs"),
            Step::Delete { object, component, .. } => {
                assert!(world.observe().marks(object).unwrap().is_of(&identity().uid), "{object}");
                let replaced = object.kind == ObjectKind::EndpointSlice
                    && of_spec.is_some_and(|spec| spec.components.iter().any(|c| Some(&c.name) == component.as_ref()));
                let used = match (&world.usage, component) {
                    (Known::Known(usage), Some(component)) => usage.of(&identity(), component).is_some(),
                    (Known::Known(_), None) => false,
                    (Known::Unknown, Some(_)) => true,
                    // Without a component nothing reads what is made for all.
                    (Known::Unknown, None) => {
                        let observed = world.observe();
                        observed.owned(&identity().uid).any(|(_, marks)| marks.component.is_some())
                    }
                };
                assert!(replaced || !used, "{object} is in use");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plans_touch_only_what_is_ours_and_come_to_rest(moves in prop::collection::vec(a_move(), 1..14)) {
        let mut world = World::new();
        world.foreign_service("theirs", 80, 1);
        let theirs = ObjectRef::new(ObjectKind::Service, "theirs");
        let untouched = world.objects[&theirs].version;
        let mut present: Option<Validated> = None;
        for next in moves {
            match next {
                Move::Spec(spec) => present = Some(validate(identity(), &spec, &[]).unwrap()),
                Move::Use(names) => world.usage = names.map_or(Known::Unknown, |names| Known::Known(usage(&names))),
                Move::Ready(ready) => for (name, ready) in ready {
                    world.scale(&identity().object(name), ready);
                },
                Move::Edit(index) => {
                    let ours = world.objects.iter_mut().filter(|(object, _)| **object != theirs);
                    if let Some((_, stored)) = ours.into_iter().nth(index) {
                        stored.version += 1_000_000;
                        stored.generation += 1;
                    }
                }
                Move::Lose(index) => {
                    let ours: Vec<ObjectRef> = world.objects.keys().filter(|object| **object != theirs).cloned().collect();
                    if let Some(object) = ours.get(index) {
                        world.objects.remove(object);
                    }
                }
            }
            let Some(environment) = &present else { continue };
            let mut rounds = 0;
            loop {
                let plan = decide(environment, &world.observe());
                prop_assert_eq!(&plan, &decide(environment, &world.observe()), "same input, same plan");
                guarded(&world, &plan.steps, Some(environment));
                if plan.steps.is_empty() {
                    break;
                }
                world.apply(&plan);
                rounds += 1;
                prop_assert!(rounds <= 4, "not at rest: {:?}", plan.steps);
            }
            prop_assert_eq!(world.objects[&theirs].version, untouched);
        }
        for _ in 0..3 {
            let plan = decide_deletion(&identity(), &world.observe());
            guarded(&world, &plan.steps, None);
            prop_assert_eq!(plan.blocked.is_empty() || plan.steps.is_empty(), true, "all or nothing");
            world.apply(&plan);
        }
        prop_assert!(world.objects.contains_key(&theirs));
    }
}
