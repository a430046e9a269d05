//! A side that speaks TLS is led to by routers that speak it, and judge its certificate, and by no others.

use cutover_api::v1alpha1::traffic_split::{Mirror, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World, accept_all, backend, header},
    features::in_column,
};
use crate::{
    conditions::Health,
    router::{
        Backend, BackendTls, EndpointCopy, ObjectKind, RouteStep, SideBackend,
        features::{COLUMNS, Carried, Feature},
    },
};

const SERVICE: &str = "production-vault";
const COPIES: &str = "shop-cutover-mirror";
const ADDRESS: &str = "203.0.113.77";

fn vault(policy: bool) -> Backend {
    let copy = EndpointCopy { address_type: "IPv4".into(), address: ADDRESS.into(), port: 8443, ready: true };
    Backend {
        selector: std::collections::BTreeMap::new(),
        endpoints: vec![copy],
        app_protocol: Some("https".into()),
        tls: Some(BackendTls { policy, transport: policy }),
        ..backend(SERVICE)
    }
}

fn leading_to_vault(split: &Split, side: Side, policy: bool) -> Split {
    split.clone().with(|it| {
        let led = SideBackend::Present(vault(policy));
        match side {
            Side::Legacy => it.sides.legacy = led,
            Side::New => it.sides.new = led,
        }
    })
}

/// Whether anything that is written leads there, by its name or by its address.
fn leads_there(steps: &[RouteStep]) -> bool {
    let text = format!("{steps:?}");
    text.contains(SERVICE) || text.contains(ADDRESS)
}

/// Nothing that a step of a plan writes leads to the side, whatever was there before and whatever weight is wanted.
fn never_leads_there(split: &Split, world: &World) {
    for weight in [0, 10, 50, 100] {
        let mut world = world.clone();
        for _ in 0..8 {
            let plan = split.clone().at(weight).plan(&world);
            assert!(!leads_there(&plan.steps), "{:?}", plan.steps);
            assert!(!plan.settled && plan.problem.is_some(), "it is told of");
            for step in &plan.steps {
                world.send(step);
            }
            accept_all(&mut world);
        }
    }
}

#[test]
fn a_router_that_does_not_speak_tls_is_never_led_to_what_does() {
    for (router, carries) in COLUMNS {
        let carried = !matches!(carries(Feature::BackendTls), Carried::Not { .. });
        for side in [Side::Legacy, Side::New] {
            let (split, bare) = in_column(router);
            let mut routed = bare.clone();
            split.settle(&mut routed);
            for world in [bare, routed] {
                if carried {
                    never_leads_there(&leading_to_vault(&split, side, false), &world);
                } else {
                    never_leads_there(&leading_to_vault(&split, side, true), &world);
                }
            }
        }
    }
}

#[test]
fn a_gateway_leads_there_as_to_any_service_once_a_policy_says_how() {
    let split = leading_to_vault(&Split::gateway(), Side::Legacy, true);
    let mut world = World::default();
    let plan = split.settle(&mut world);
    assert_eq!((plan.problem, plan.settled), (None, true));
    assert_eq!(split.read_weight(&world), Some(split.weight));
    let later = leading_to_vault(&Split::gateway(), Side::Legacy, false).plan(&World::default());
    let problem = later.problem.unwrap();
    assert_eq!((problem.reason, problem.health), ("Waiting", Health::Reconciling));
    assert!(
        problem.message.starts_with("spec.legacy: Service production-vault speaks TLS, and the BackendTLSPolicy"),
        "{}",
        problem.message
    );
}

#[test]
fn traefik_speaks_to_each_side_as_its_environment_says_and_to_the_other_as_before() {
    let split = leading_to_vault(&Split::traefik(), Side::New, true).with(|it| {
        it.pins = vec![header(Side::New, "x-a", "new"), header(Side::Legacy, "x-a", "old")];
        it.mirror = Some(Mirror { percent: 100, allow_unsafe: false });
    });
    let mut world = World::default();
    assert_eq!(split.clone().at(50).settle(&mut world).problem, None);
    assert_eq!(split.read_weight(&world), Some(50));
    let spoken = |spec: &Value| {
        let list = spec.as_array().unwrap();
        let of = |it: &Value| (it["name"].clone(), it["scheme"].clone(), it["serversTransport"].clone());
        list.iter().map(of).collect::<Vec<_>>()
    };
    let by_tls = |name: &str| (json!(name), json!("https"), json!(SERVICE));
    let plain = (json!("monolith"), Value::Null, Value::Null);
    let spec = |kind, name: &str| world.get(kind, name).unwrap()["spec"].clone();
    let weighted = spec(ObjectKind::TraefikService, "shop-cutover-weighted");
    assert_eq!(spoken(&weighted["weighted"]["services"]), [plain.clone(), by_tls(SERVICE)]);
    let mirror = spec(ObjectKind::TraefikService, COPIES);
    assert_eq!(spoken(&mirror["mirroring"]["mirrors"]), [by_tls(COPIES)]);
    let routes = spec(ObjectKind::IngressRoute, "shop");
    assert_eq!(spoken(&routes["routes"][0]["services"]), [by_tls(SERVICE)]);
    assert_eq!(spoken(&routes["routes"][1]["services"]), [plain]);

    let later = leading_to_vault(&Split::traefik(), Side::Legacy, false).plan(&World::default());
    let problem = later.problem.unwrap();
    assert_eq!((problem.reason, problem.health), ("Waiting", Health::Reconciling));
    assert!(
        problem.message.starts_with("spec.legacy: Service production-vault speaks TLS, and the ServersTransport"),
        "{}",
        problem.message
    );
}

#[rstest]
#[case::silent(None, "does not say whether it supports BackendTLSPolicy")]
#[case::without(Some(&["HTTPRoute"][..]), "does not list the feature BackendTLSPolicy")]
fn a_gateway_that_may_know_no_such_policies_is_refused(#[case] listed: Option<&[&str]>, #[case] why: &str) {
    let split = leading_to_vault(&Split::gateway(), Side::New, true)
        .with(|it| it.classes[0].supported_features = listed.map(|all| all.iter().map(|it| (*it).into()).collect()));
    never_leads_there(&split, &World::default());
    let problem = split.plan(&World::default()).problem.unwrap();
    assert_eq!((problem.reason, problem.health), ("UnsupportedByRouter", Health::Stalled));
    assert!(problem.message.contains(why), "{}", problem.message);
}

#[test]
fn services_that_deal_cookies_have_no_policy_so_that_stickiness_is_refused() {
    let sticky = Split::gateway().sticky(7, &[10]);
    let mut world = World::default();
    sticky.settle(&mut world);
    let split = leading_to_vault(&sticky, Side::Legacy, true);
    never_leads_there(&split, &world);
    let problem = split.plan(&World::default()).problem.unwrap();
    assert!(
        problem.message.starts_with("spec.stickiness: gatewayApi deals clients by Services of"),
        "{}",
        problem.message
    );

    // Where clients are not dealt yet, weights go on.
    let plain = leading_to_vault(&Split::gateway(), Side::Legacy, true);
    let mut world = World::default();
    plain.settle(&mut world);
    let refused = plain.sticky(7, &[10, 50]);
    refused.drive(&mut world, false, |_| {});
    assert_eq!(refused.read_weight(&world), Some(50));
    assert!(refused.plan(&world).problem.is_some());
}

#[test]
fn a_hidden_split_is_taken_out_of_every_router_all_the_same() {
    let mut world = World::default();
    Split::traefik().settle(&mut world);
    let hidden = leading_to_vault(&Split::traefik(), Side::Legacy, true).with(|it| it.exposed = false);
    hidden.drive(&mut world, false, |_| {});
    assert_eq!(world.get(ObjectKind::IngressRoute, "shop"), None, "{}", json!(world.writes));
}
