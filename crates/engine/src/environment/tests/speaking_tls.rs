//! Components outside the cluster whose ports speak TLS.

use cutover_api::conditions::reasons;
use rstest::rstest;
use serde_json::{Value, json};

use super::world::{UID, World, identity, spec, valid};
use crate::{
    Known,
    environment::{
        ObjectKind, ObjectRef, Plan, Step, Usage, Validated, build, decide, decide_deletion, discovery,
        in_use::{BackendUse, SplitUse},
        plan::Body,
        readiness::{Readiness, readiness},
        validate,
    },
    router::view::ServiceView,
};

const NAME: &str = "app-01.dc.example.com";

fn environment(tls: &str) -> Validated {
    valid(&format!(
        "
tier: Production
components:
- {{name: monolith, system: Legacy, source: {{external: {{addresses: [203.0.113.7], port: 8443{tls}}}}}}}
"
    ))
}

fn by_config_map() -> Validated {
    environment(&format!(", tls: {{serverName: {NAME}, caConfigMap: monolith-ca}}"))
}

fn order(plan: &Plan) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::Claim { object, .. } => format!("claim {object}"),
        Step::Apply { object, uid: None, .. } => format!("create {object}"),
        Step::Apply { object, uid: Some(_), .. } => format!("update {object}"),
        Step::Delete { object, .. } => format!("delete {object}"),
    };
    plan.steps.iter().map(line).filter(|line| !line.contains("ConfigMap")).collect()
}

fn settled(environment: &Validated, world: &mut World) {
    world.apply(&decide(environment, &world.observe()));
    assert_eq!(order(&decide(environment, &world.observe())), Vec::<String>::new());
}

fn how(environment: &Validated, world: &World) -> Readiness {
    readiness(environment, &environment.components[0], &world.observe())
}

fn used() -> Known<Usage> {
    let backends = vec![BackendUse::Component { environment: "production".into(), component: "monolith".into() }];
    let split = SplitUse { name: "shop".into(), backends, retired: None, idle: false };
    Known::Known(Usage { splits: vec![split], ..Usage::default() })
}

#[rstest]
#[case::system("serverName: app-01.dc.example.com", json!({"wellKnownCACertificates": "System"}))]
#[case::config_map(
    "serverName: app-01.dc.example.com, caConfigMap: monolith-ca",
    json!({"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "monolith-ca"}]})
)]
#[case::secret(
    "serverName: app-01.dc.example.com, caSecret: monolith-ca",
    json!({"caCertificateRefs": [{"group": "", "kind": "Secret", "name": "monolith-ca"}]})
)]
fn a_policy_says_under_which_name_and_by_whose_authority(#[case] tls: &str, #[case] mut wanted: Value) {
    let environment = environment(&format!(", tls: {{{tls}}}"));
    let policy = build::build_backend_tls_policy(&identity(), &environment.components[0]).unwrap();
    let policy = serde_json::to_value(policy).unwrap();
    wanted["hostname"] = NAME.into();
    assert_eq!(
        (&policy["apiVersion"], &policy["kind"]),
        (&json!("gateway.networking.k8s.io/v1"), &json!("BackendTLSPolicy"))
    );
    assert_eq!(
        policy["spec"],
        json!({"targetRefs": [{"group": "", "kind": "Service", "name": "production-monolith"}], "validation": wanted})
    );
    assert_eq!(policy["metadata"]["labels"]["cutover.dev/owner-uid"], UID);
    assert_eq!(policy.get("status"), None);
}

#[test]
fn the_service_says_so_too_and_whoever_is_to_call_it_is_told() {
    let environment = by_config_map();
    let monolith = &environment.components[0];
    let mut service = serde_json::to_value(build::build_service(&identity(), monolith).unwrap()).unwrap();
    let port = &service["spec"]["ports"][0];
    assert_eq!((&port["name"], &port["appProtocol"]), (&json!("https"), &json!("https")));
    assert_eq!(discovery::url(&identity(), monolith), "https://production-monolith.shop.svc:8443");
    let read: ServiceView = serde_json::from_value(service.clone()).unwrap();
    let tls = read.tls.unwrap();
    assert_eq!((tls.server_name.as_deref(), tls.ca_config_map.as_deref()), (Some(NAME), Some("monolith-ca")));

    // Somebody else's word does not count, and what cannot be read of ours still counts as TLS.
    service["metadata"]["annotations"]["cutover.dev/tls"] = "unreadable".into();
    let of = |service: &Value| serde_json::from_value::<ServiceView>(service.clone()).unwrap().tls.is_some();
    assert!(of(&service));
    service["metadata"]["labels"] = json!({});
    assert!(!of(&service));
}

#[test]
fn a_host_is_the_name_unless_another_is_given() {
    for (tls, name) in [("tls: {}", "app-02.dc.example.com"), ("tls: {serverName: app-01.dc.example.com}", NAME)] {
        let environment = valid(&format!(
            "
tier: Production
components:
- {{name: monolith, system: Legacy, source: {{external: {{host: app-02.dc.example.com, port: 80, {tls}}}}}}}
"
        ));
        let monolith = &environment.components[0];
        let policy = serde_json::to_value(build::build_backend_tls_policy(&identity(), monolith)).unwrap();
        assert_eq!(policy["spec"]["validation"]["hostname"], name);
        assert_eq!(discovery::url(&identity(), monolith), "https://production-monolith.shop.svc:80");
    }
}

#[test]
fn addresses_come_after_what_says_how_they_are_spoken_to_and_go_before_it() {
    let environment = by_config_map();
    let mut world = World::new();
    world.transports_served = Known::Known(true);
    world.authorities.insert("monolith-ca".into(), true);
    let made = [
        "Service production-monolith",
        "BackendTLSPolicy production-monolith",
        "ServersTransport production-monolith",
        "EndpointSlice production-monolith-ipv4",
    ];
    let plan = decide(&environment, &world.observe());
    assert_eq!(order(&plan), made.map(|object| format!("create {object}")));
    settled(&environment, &mut world);
    let gone = [
        "Service production-monolith",
        "EndpointSlice production-monolith-ipv4",
        "BackendTLSPolicy production-monolith",
        "ServersTransport production-monolith",
    ];
    let gone = gone.map(|object| format!("delete {object}"));
    let none = Validated { components: Vec::new(), ..environment };
    assert_eq!(order(&decide(&none, &world.observe())), gone);
    assert_eq!(order(&decide_deletion(&identity(), &world.observe())), gone);
}

#[test]
fn a_cluster_without_policies_is_told_of_and_gets_one_when_it_has_them() {
    let environment = environment(&format!(", tls: {{serverName: {NAME}}}"));
    for unserved in [Known::Known(false), Known::Unknown] {
        let mut world = World::new();
        world.policies_served = unserved;
        settled(&environment, &mut world);
        assert!(!world.has(ObjectKind::BackendTlsPolicy, "production-monolith"));
        let message = how(&environment, &world).message.unwrap();
        assert!(message.contains("serves neither BackendTLSPolicies"), "{message}");
        world.policies_served = Known::Known(true);
        let plan = decide(&environment, &world.observe());
        assert_eq!(order(&plan), ["create BackendTLSPolicy production-monolith"]);
        settled(&environment, &mut world);
        let readiness = how(&environment, &world);
        assert!(readiness.ready && !readiness.message.unwrap_or_default().contains("BackendTLSPolicies"));
    }
}

const TRANSPORT: &str = "production-monolith";

/// A cluster with Traefik's kinds and none of the Gateway API's.
fn traefik() -> World {
    let mut world = World::new();
    (world.policies_served, world.transports_served) = (Known::Known(false), Known::Known(true));
    world
}

#[rstest]
#[case::system("", json!({"serverName": NAME, "rootCAs": [], "insecureSkipVerify": false, "maxIdleConnsPerHost": 200}))]
#[case::config_map(
    ", caConfigMap: monolith-ca",
    json!({
        "serverName": NAME, "rootCAs": [{"configMap": "monolith-ca"}], "insecureSkipVerify": false, "maxIdleConnsPerHost": 200,
    })
)]
fn traefik_is_told_of_the_name_and_the_authority(#[case] authority: &str, #[case] spec: Value) {
    let environment = environment(&format!(", tls: {{serverName: {NAME}{authority}}}"));
    let mut world = traefik();
    world.authorities.insert("monolith-ca".into(), true);
    settled(&environment, &mut world);
    let Body::ServersTransport(transport) =
        &world.objects[&ObjectRef::new(ObjectKind::ServersTransport, TRANSPORT)].body
    else {
        panic!("of another kind")
    };
    let transport = serde_json::to_value(transport).unwrap();
    assert_eq!(transport["spec"], spec);
    assert_eq!(
        (&transport["apiVersion"], &transport["kind"]),
        (&json!("traefik.io/v1alpha1"), &json!("ServersTransport"))
    );
    assert_eq!(transport["metadata"]["labels"]["cutover.dev/owner-uid"], UID);
    let message = how(&environment, &world).message.unwrap();
    assert!(!message.contains("lead"), "there is a router that leads to it: {message}");
}

#[test]
fn traefik_is_never_told_of_an_authority_that_is_not_seen_to_be_there() {
    let environment = by_config_map();
    let mut world = traefik();
    for unseen in [None, Some(false)] {
        world.authorities = unseen.map(|holds| ("monolith-ca".to_owned(), holds)).into_iter().collect();
        settled(&environment, &mut world);
        assert!(!world.has(ObjectKind::ServersTransport, TRANSPORT));
    }
    world.authorities.insert("monolith-ca".into(), true);
    assert_eq!(order(&decide(&environment, &world.observe())), ["create ServersTransport production-monolith"]);
    settled(&environment, &mut world);

    // What it was told before stays until there is something to be told.
    let other = self::environment(&format!(", tls: {{serverName: {NAME}, caConfigMap: other-ca}}"));
    let update = "update ServersTransport production-monolith";
    assert!(!order(&decide(&other, &world.observe())).contains(&update.to_owned()));
    world.authorities.insert("other-ca".into(), true);
    assert!(order(&decide(&other, &world.observe())).contains(&update.to_owned()));
    world.authorities.clear();
    assert_eq!(order(&decide(&environment, &world.observe())), Vec::<String>::new());
}

#[test]
fn of_an_authority_in_a_secret_traefik_is_told_nothing_and_what_names_its_servers_transport_keeps_it() {
    let (by_config_map, secret) =
        (by_config_map(), environment(&format!(", tls: {{serverName: {NAME}, caSecret: monolith-ca}}")));
    let mut world = traefik();
    settled(&secret, &mut world);
    assert!(!world.has(ObjectKind::ServersTransport, TRANSPORT));
    let message = how(&secret, &world).message.unwrap();
    assert!(message.contains("traefik does not lead to it") && message.ends_with("use caConfigMap"), "{message}");

    world.authorities.insert("monolith-ca".into(), true);
    settled(&by_config_map, &mut world);
    for usage in [used(), Known::Unknown] {
        world.usage = usage;
        settled(&secret, &mut world);
        assert!(world.has(ObjectKind::ServersTransport, TRANSPORT));
    }
    world.usage = Known::Known(Usage::default());
    settled(&secret, &mut world);
    assert!(!world.has(ObjectKind::ServersTransport, TRANSPORT));
}

#[rstest]
#[case::none(None, Some("there is no ConfigMap monolith-ca with the label cutover.dev/ca=true"))]
#[case::empty(Some(false), Some("ConfigMap monolith-ca has no certificate in PEM as ca.crt"))]
#[case::there(Some(true), None)]
fn without_its_authority_a_component_is_not_ready(#[case] found: Option<bool>, #[case] why: Option<&str>) {
    let environment = by_config_map();
    let mut world = World::new();
    world.authorities.extend(found.map(|holds| ("monolith-ca".to_owned(), holds)));
    settled(&environment, &mut world);
    let readiness = how(&environment, &world);
    assert_eq!((readiness.ready, readiness.settled), (why.is_none(), why.is_none()));
    if let Some(why) = why {
        assert_eq!(readiness.reason, reasons::REFERENCE_NOT_FOUND);
        let message = readiness.message.unwrap();
        let field = "spec.components[0].source.external.tls.caConfigMap: ";
        assert!(message.starts_with(field) && message.contains(why), "{message}");
    }
}

#[test]
fn what_gateways_have_against_the_policy_is_told_while_it_is_about_the_present_one() {
    let environment = environment(&format!(", tls: {{serverName: {NAME}, caSecret: monolith-ca}}"));
    let mut world = World::new();
    settled(&environment, &mut world);
    let open = how(&environment, &world);
    assert!(
        open.ready && open.message.unwrap().ends_with("whether Secret monolith-ca has a ca.crt is for routers to say")
    );

    let object = ObjectRef::new(ObjectKind::BackendTlsPolicy, "production-monolith");
    let says = |world: &mut World, generation: i64| {
        let Body::BackendTlsPolicy(policy) = &world.objects[&object].body else { panic!("{object}") };
        let mut said = serde_json::to_value(policy).unwrap();
        said["status"] = json!({"ancestors": [{
            "ancestorRef": {"name": "edge"}, "controllerName": "example.com/gateway",
            "conditions": [
                {"type": "ResolvedRefs", "status": "False", "reason": "InvalidCACertificateRef", "message": "no such Secret", "observedGeneration": generation},
                {"type": "Else", "status": "False", "reason": "No", "message": "", "observedGeneration": generation},
            ],
        }]});
        let stored = world.objects.get_mut(&object).unwrap();
        stored.body = Body::BackendTlsPolicy(serde_json::from_value(said).unwrap());
        assert_eq!(
            order(&decide(&environment, &world.observe())),
            Vec::<String>::new(),
            "a status is nothing to write"
        );
    };
    says(&mut world, 1);
    let refused = how(&environment, &world);
    assert!(!refused.ready);
    assert_eq!(
        refused.message.unwrap(),
        "BackendTLSPolicy production-monolith: Gateway edge says ResolvedRefs=False, InvalidCACertificateRef: no such Secret"
    );
    says(&mut world, 0);
    assert!(how(&environment, &world).ready);
}

#[rstest]
#[case::begins("", ", tls: {serverName: app-01.dc.example.com}")]
#[case::ceases(", tls: {serverName: app-01.dc.example.com}", "")]
fn what_is_in_use_neither_begins_nor_ceases_to_speak_tls(#[case] before: &str, #[case] after: &str) {
    let (before, after) = (environment(before), environment(after));
    let mut world = World::new();
    settled(&before, &mut world);
    for usage in [used(), Known::Unknown] {
        world.usage = usage;
        let plan = decide(&after, &world.observe());
        assert_eq!(plan.steps, [], "nobody is told to speak otherwise either");
        let [refusal] = plan.conflicts.as_slice() else { panic!("{:?}", plan.conflicts) };
        assert_eq!(refusal.reason, reasons::INVALID_SPEC);
        let message = &refusal.message;
        assert!(message.starts_with("spec.components[0].source.external.tls: whoever speaks to Service"), "{message}");
        assert!(message.ends_with("add a component under another name and move the weight to it"), "{message}");
    }
    world.usage = Known::Known(Usage::default());
    settled(&after, &mut world);
    assert_eq!(world.has(ObjectKind::BackendTlsPolicy, "production-monolith"), after.components[0].speaks_tls());
}

#[test]
fn another_name_or_authority_is_one_write_of_each_also_while_in_use() {
    let mut world = World::new();
    settled(&by_config_map(), &mut world);
    world.usage = used();
    let other = environment(", tls: {serverName: app-02.dc.example.com, caConfigMap: monolith-ca}");
    let plan = decide(&other, &world.observe());
    assert_eq!(order(&plan), ["update Service production-monolith", "update BackendTLSPolicy production-monolith"]);
    assert!(plan.conflicts.is_empty());
}

#[rstest]
#[case::no_name("", "{}", ".serverName: is required with addresses")]
#[case::two("", "{serverName: a.example.com, caConfigMap: a, caSecret: b}", ": give one of caConfigMap and caSecret")]
#[case::a_database("role: Database, ", "{serverName: a.example.com}", ": is how routers speak HTTPS to a component")]
fn what_nobody_could_carry_out_is_told(#[case] role: &str, #[case] tls: &str, #[case] wanted: &str) {
    let spec = spec(&format!(
        "
tier: Production
components:
- {{name: monolith, {role}system: Legacy, source: {{external: {{addresses: [203.0.113.7], port: 8443, tls: {tls}}}}}}}
"
    ));
    let problems = validate(identity(), &spec, &[]).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let wanted = format!("spec.components[0].source.external.tls{wanted}");
    assert!(told.iter().any(|line| line.starts_with(&wanted)), "{told:#?}");
}
