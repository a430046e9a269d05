use std::collections::BTreeMap;

use cutover_api::conditions::reasons;
use rstest::rstest;

use super::world::{SHOP, UID, World, identity, valid};
use crate::{
    Known,
    environment::{
        ObjectKind, ObjectRef, Plan, Step, Usage, Validated, decide, decide_deletion,
        in_use::{BackendUse, PhaseUse, RouteUse, SelectingService, SplitUse, retired_components},
    },
};

fn order(plan: &Plan) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::Claim { object, .. } => format!("claim {object}"),
        Step::Apply { object, uid: None, .. } => format!("create {object}"),
        Step::Apply { object, uid: Some(_), .. } => format!("update {object}"),
        Step::Delete { object, .. } => format!("delete {object}"),
    };
    plan.steps.iter().map(line).collect()
}

/// A namespace in which the environment runs.
fn running(environment: &Validated) -> World {
    let mut world = World::new();
    world.foreign_service("api", 8081, 2);
    for _ in 0..3 {
        let plan = decide(environment, &world.observe());
        world.apply(&plan);
        world.roll_out();
    }
    assert_eq!(order(&decide(environment, &world.observe())), Vec::<String>::new());
    world
}

fn without(name: &str) -> Validated {
    let mut environment = valid(SHOP);
    environment.components.retain(|component| component.name != name);
    for component in &mut environment.components {
        component.calls_to.retain(|other| other != name);
        component.depends_on.retain(|other| other != name);
    }
    environment
}

#[test]
fn configuration_comes_before_pods_services_before_pods_and_dependents_last() {
    let environment = valid(SHOP);
    let mut world = World::new();
    let plan = decide(&environment, &world.observe());
    assert_eq!(
        order(&plan),
        [
            "claim Deployment production-monolith",
            "claim Deployment production-storefront",
            "create ConfigMap production-config",
            "create Service production-monolith",
            "create Deployment production-monolith",
            "create Service production-storefront",
            "create Service production-database",
            "create EndpointSlice production-database-ipv4",
        ]
    );
    assert_eq!(plan.waiting["storefront"], "is started when api, database can take traffic");
    world.apply(&plan);
    world.foreign_service("api", 8081, 1);
    assert_eq!(order(&decide(&environment, &world.observe())), ["create Deployment production-storefront"]);
}

#[test]
fn a_dependency_that_fails_later_stops_nothing() {
    let environment = valid(SHOP);
    let mut world = running(&environment);
    world.foreign_ready.insert("api".into(), 0);
    let plan = decide(&environment, &world.observe());
    assert_eq!((order(&plan), plan.waiting), (Vec::new(), BTreeMap::new()));
}

#[test]
fn what_somebody_else_changed_is_put_right() {
    let environment = valid(SHOP);
    let mut world = running(&environment);
    for object in world.objects.clone().into_keys().filter(|object| object.name != "api") {
        let stored = world.objects.get_mut(&object).unwrap();
        stored.version += 1000;
        stored.generation += 1;
    }
    assert_eq!(order(&decide(&environment, &world.observe())).len(), 7);
}

#[test]
fn an_object_that_is_gone_is_made_anew() {
    let environment = valid(SHOP);
    let mut world = running(&environment);
    world.objects.remove(&ObjectRef::new(ObjectKind::Deployment, "production-storefront"));
    assert_eq!(order(&decide(&environment, &world.observe())), ["create Deployment production-storefront"]);
}

#[test]
fn what_left_the_spec_is_removed_pods_first() {
    let mut world = running(&valid(SHOP));
    let plan = decide(&without("monolith"), &world.observe());
    assert_eq!(order(&plan), ["delete Deployment production-monolith", "delete Service production-monolith",]);
    world.apply(&plan);
    assert!(!world.has(ObjectKind::Service, "production-monolith"));
}

#[test]
fn variables_stay_as_long_as_old_pods_may_read_them() {
    let mut world = running(&valid(SHOP));
    let config_map = ObjectRef::new(ObjectKind::ConfigMap, "production-config");
    let has = |world: &World, key: &str| world.observe().config_maps[&config_map.name].data.contains_key(key);
    let environment = without("monolith");
    world.apply(&decide(&environment, &world.observe()));
    assert!(has(&world, "MONOLITH_URL"), "its pods are there still");
    world.apply(&decide(&environment, &world.observe()));
    assert!(!has(&world, "MONOLITH_URL"));

    let narrower = valid(&SHOP.replace("config: {LOG_LEVEL: info, REGION: eu}", "config: {LOG_LEVEL: info}"));
    let mut world = running(&valid(SHOP));
    world.apply(&decide(&narrower, &world.observe()));
    assert!(has(&world, "REGION"), "the storefront is being rolled");
    world.roll_out();
    world.apply(&decide(&narrower, &world.observe()));
    assert!(!has(&world, "REGION"));
    assert_eq!(order(&decide(&narrower, &world.observe())), Vec::<String>::new());
}

fn split(idle: bool, backend: BackendUse) -> Usage {
    Usage {
        splits: vec![SplitUse { name: "shop".into(), backends: vec![backend], retired: None, idle }],
        ..Usage::default()
    }
}

fn component(environment: &str, component: &str) -> BackendUse {
    BackendUse::Component { environment: environment.into(), component: component.into() }
}

fn phase(mut usage: Usage, splits: &[&str]) -> Usage {
    let splits = splits.iter().map(ToString::to_string).collect();
    usage.phases.push(PhaseUse { name: "30-shift".into(), splits });
    usage
}

fn selecting(selector: &[(&str, &str)]) -> Usage {
    let selector = selector.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Usage { selecting: vec![SelectingService { name: "old-cutover-legacy".into(), selector }], ..Usage::default() }
}

fn route(service: &str) -> Usage {
    let route = RouteUse { route: "Ingress shop".into(), services: vec![service.into()] };
    Usage { routes: vec![route], ..Usage::default() }
}

#[rstest]
#[case::exposed(split(false, component("production", "monolith")), Some("TrafficSplit shop leads to it"))]
#[case::by_service(split(false, BackendUse::Service("production-monolith".into())), Some("TrafficSplit shop leads to it"))]
#[case::another_environment(split(false, component("staging", "monolith")), None)]
#[case::another_component(split(false, component("production", "storefront")), None)]
#[case::idle(split(true, component("production", "monolith")), None)]
#[case::way_back(phase(split(true, component("production", "monolith")), &["other", "shop"]), Some("MigrationPhase 30-shift may have to go back"))]
#[case::way_back_elsewhere(phase(split(true, component("production", "monolith")), &["other"]), None)]
#[case::released_route(route("production-monolith"), Some("Ingress shop leads to it"))]
#[case::route_elsewhere(route("production-storefront"), None)]
#[case::alias(selecting(&[("cutover.dev/environment", "production"), ("cutover.dev/component", "monolith")]), Some("Service old-cutover-legacy selects its pods"))]
#[case::alias_of_another(selecting(&[("cutover.dev/environment", "production"), ("cutover.dev/component", "storefront")]), None)]
#[case::selects_nothing(selecting(&[]), None)]
fn what_is_in_use_is_not_pruned(#[case] usage: Usage, #[case] why: Option<&str>) {
    let mut world = running(&valid(SHOP));
    world.usage = Known::Known(usage);
    let plan = decide(&without("monolith"), &world.observe());
    let deletes = order(&plan).iter().filter(|line| line.starts_with("delete")).count();
    match why {
        None => assert_eq!((deletes, plan.blocked.len()), (2, 0)),
        Some(why) => {
            assert_eq!((deletes, plan.blocked.len()), (0, 1));
            assert_eq!(plan.blocked[0].component, "monolith");
            assert!(plan.blocked[0].why.starts_with(why), "{}", plan.blocked[0].why);
        }
    }
}

#[test]
fn nothing_is_pruned_while_it_is_not_known_who_uses_it() {
    let mut world = running(&valid(SHOP));
    world.usage = Known::Unknown;
    let plan = decide(&without("monolith"), &world.observe());
    assert!(order(&plan).iter().all(|line| !line.starts_with("delete")));
    assert_eq!(plan.blocked[0].why, "it is not known yet who uses it");
}

#[test]
fn what_left_together_with_something_in_use_stays_with_it() {
    let mut world = running(&valid(SHOP));
    world.usage = Known::Known(split(false, component("production", "storefront")));
    let mut environment = without("storefront");
    environment.components.retain(|component| component.name != "database");
    environment.components.iter_mut().for_each(|component| component.calls_to.clear());
    let plan = decide(&environment, &world.observe());
    assert!(order(&plan).iter().all(|line| !line.starts_with("delete")), "the storefront may call the database");
}

#[rstest]
#[case(ObjectKind::Deployment, "production-storefront", Some("storefront"))]
#[case(ObjectKind::Service, "production-database", Some("database"))]
#[case(ObjectKind::ConfigMap, "production-config", None)]
fn an_object_of_somebody_else_is_left_alone(
    #[case] kind: ObjectKind,
    #[case] name: &str,
    #[case] component: Option<&str>,
) {
    let environment = valid(SHOP);
    let mut world = running(&environment);
    let object = ObjectRef::new(kind, name);
    let mut body = serde_json::to_value(&world.objects[&object].body).unwrap();
    body["metadata"]["labels"]["cutover.dev/owner-uid"] = "of-another-environment".into();
    let body = match kind {
        ObjectKind::Deployment => crate::environment::plan::Body::Deployment(serde_json::from_value(body).unwrap()),
        ObjectKind::Service => crate::environment::plan::Body::Service(serde_json::from_value(body).unwrap()),
        _ => crate::environment::plan::Body::ConfigMap(serde_json::from_value(body).unwrap()),
    };
    world.put(body);
    let plan = decide(&environment, &world.observe());
    assert_eq!(order(&plan), Vec::<String>::new());
    let [conflict] = plan.conflicts.as_slice() else { panic!("{:?}", plan.conflicts) };
    assert_eq!((conflict.component.as_deref(), conflict.reason), (component, reasons::CONFLICTED));
    let (field, whose) = component.map_or(("metadata.name".to_owned(), "the Environment"), |component| {
        (format!("spec.components[name={component}].name"), "the component")
    });
    assert!(conflict.message.starts_with(&format!("{field}: {object} exists and was not made for this Environment")));
    assert!(conflict.message.ends_with(&format!("or give {whose} another name")));
}

#[test]
fn a_service_never_begins_or_ceases_to_select() {
    let mut world = running(&valid(SHOP));
    let outside = SHOP.replace(
        r"    workload:
      image: registry.example.com/monolith:7
      replicas: 2
      ports: [{name: http, containerPort: 8080}]
      health: {path: /healthz, interval: 5s, liveness: false}
",
        "    external: {addresses: [203.0.113.9], port: 8080}\n",
    );
    let plan = decide(&valid(&outside), &world.observe());
    assert_eq!(order(&plan), Vec::<String>::new(), "what is there stays, pods included");
    assert_eq!(plan.conflicts[0].reason, reasons::INVALID_SPEC);
    assert!(
        plan.conflicts[0]
            .message
            .starts_with("spec.components[0].source: Service production-monolith would lead elsewhere at once")
    );
    // The way out: remove it first.
    world.apply(&decide(&without("monolith"), &world.observe()));
    let plan = decide(&valid(&outside), &world.observe());
    assert!(order(&plan).contains(&"create EndpointSlice production-monolith-ipv4".to_owned()), "{:?}", order(&plan));
}

#[test]
fn addresses_of_the_other_family_come_before_the_former_go() {
    let world = running(&valid(SHOP));
    let moved = valid(&SHOP.replace("[203.0.113.7, 203.0.113.5]", "['2001:db8::7']"));
    assert_eq!(
        order(&decide(&moved, &world.observe())),
        ["create EndpointSlice production-database-ipv6", "delete EndpointSlice production-database-ipv4",]
    );
}

#[test]
fn slices_that_the_cluster_made_for_our_services_are_not_ours() {
    let environment = valid(SHOP);
    let mut world = running(&environment);
    let slice = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "production-storefront-x7k2p", "labels": {
            "cutover.dev/owner-uid": UID, "cutover.dev/owner-kind": "Environment",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }},
        "addressType": "IPv4", "endpoints": [],
    }))
    .unwrap();
    world.put(crate::environment::plan::Body::EndpointSlice(slice));
    assert_eq!(order(&decide(&environment, &world.observe())), Vec::<String>::new());
    assert!(order(&decide_deletion(&identity(), &world.observe())).iter().all(|line| !line.contains("x7k2p")));
}

#[test]
fn a_deleted_environment_goes_as_a_whole_and_its_configuration_last() {
    let mut world = running(&valid(SHOP));
    world.usage = Known::Known(split(false, component("production", "monolith")));
    let plan = decide_deletion(&identity(), &world.observe());
    assert_eq!((order(&plan), plan.empty), (Vec::new(), false));
    assert_eq!(plan.blocked[0].component, "monolith");

    world.usage = Known::Known(Usage::default());
    let plan = decide_deletion(&identity(), &world.observe());
    assert_eq!(
        order(&plan),
        [
            "delete Deployment production-monolith",
            "delete Deployment production-storefront",
            "delete Service production-database",
            "delete Service production-monolith",
            "delete Service production-storefront",
            "delete EndpointSlice production-database-ipv4",
        ]
    );
    world.apply(&plan);
    let plan = decide_deletion(&identity(), &world.observe());
    assert_eq!((order(&plan), plan.empty), (vec!["delete ConfigMap production-config".to_owned()], false));
    world.apply(&plan);
    assert!(decide_deletion(&identity(), &world.observe()).empty);
    assert!(world.has(ObjectKind::Service, "api"), "the Service of somebody else stays");
}

fn retired_use(legacy: &str) -> SplitUse {
    SplitUse {
        name: "shop".into(),
        backends: vec![component("production", "storefront")],
        retired: Some(component("production", legacy)),
        idle: false,
    }
}

fn leading_to(backend: BackendUse) -> SplitUse {
    SplitUse { name: "till".into(), backends: vec![backend], retired: None, idle: false }
}

#[test]
fn a_component_is_retired_when_no_split_leads_to_it_any_more() {
    let of = |splits: &[SplitUse]| retired_components(&identity(), splits).into_iter().collect::<Vec<_>>();
    assert_eq!(of(&[retired_use("monolith")]), ["monolith"]);
    assert_eq!(of(&[leading_to(component("production", "monolith"))]), Vec::<String>::new());
    let service = BackendUse::Service("production-monolith".into());
    for other in [component("production", "monolith"), service] {
        assert_eq!(of(&[retired_use("monolith"), leading_to(other)]), Vec::<String>::new());
    }
    assert_eq!(of(&[retired_use("monolith"), leading_to(component("staging", "monolith"))]), ["monolith"]);
    let elsewhere = SplitUse { retired: Some(component("staging", "monolith")), ..retired_use("monolith") };
    assert_eq!(of(&[elsewhere]), Vec::<String>::new());
}

#[test]
fn a_retired_legacy_workload_is_scaled_to_nothing_and_everything_of_it_stays() {
    let shop = valid(SHOP);
    let mut world = running(&shop);
    let count = world.observe().owned(UID).count();
    // A component of the new side is never scaled so, whatever splits say.
    let retired = ["monolith", "storefront"].map(str::to_owned).into();
    let without = shop.with_retired(&retired);
    world.apply(&decide(&without, &world.observe()));
    world.roll_out();
    let observed = world.observe();
    let replicas = |name: &str| observed.deployments[name].replicas;
    assert_eq!((replicas("production-monolith"), replicas("production-storefront")), (0, 3));
    assert_eq!(observed.owned(UID).count(), count, "something was deleted");
    assert_eq!(order(&decide(&without, &observed)), Vec::<String>::new());
}
