//! What the edge does with requests: redirects, rewritten paths, other origins, requests sent again, and copies.

use cutover_api::v1alpha1::traffic_split::{Edge, Mirror, PathMatch, PathType, Side};
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{Split, World, header, prefix};
use crate::{
    Known,
    router::{ObjectKind, SideBackend, release},
    traffic_split::as_is::hosts_and_paths,
};

const NGINX: &str = "nginx.ingress.kubernetes.io";

pub fn edge(yaml: &str) -> Edge {
    serde_yaml_ng::from_str(yaml).unwrap()
}

pub fn rewritten(from: &str, to: &str) -> PathMatch {
    PathMatch { rewrite: Some(to.to_owned()), ..prefix(from) }
}

fn exact(from: &str, to: Option<&str>) -> PathMatch {
    PathMatch { rewrite: to.map(str::to_owned), ..PathMatch::new(PathType::Exact, from) }
}

fn settled(split: &Split) -> World {
    let mut world = World::default();
    assert_eq!(split.settle(&mut world).problem, None);
    world
}

fn spec(world: &World, kind: ObjectKind) -> Value {
    world.get(kind, "shop").unwrap()["spec"].clone()
}

fn refused(split: &Split) -> String {
    let plan = split.plan(&World::default());
    assert_eq!(plan.steps, []);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, "UnsupportedByRouter");
    problem.message
}

#[test]
fn what_annotations_say_of_other_origins_leaves_nothing_to_defaults() {
    let said = "cors: {allowOrigins: ['https://a.example.com', 'https://b.example.com'], exposeHeaders: [X-Total]}";
    let world = settled(&Split::nginx().with(|it| it.edge = Some(edge(said))));
    let main = world.get(ObjectKind::Ingress, "shop").unwrap();
    let said = |key: &str| main["metadata"]["annotations"][format!("{NGINX}/{key}")].as_str().unwrap().to_owned();
    let all = ["enable-cors", "cors-allow-origin", "cors-allow-methods", "cors-allow-headers", "cors-expose-headers"];
    assert_eq!(
        all.map(said),
        ["true", "https://a.example.com, https://b.example.com", "GET, HEAD, POST", "Content-Type", "X-Total"]
    );
    assert_eq!(["cors-allow-credentials", "cors-max-age"].map(said), ["false", "600"]);
}

#[test]
fn nothing_is_sent_again_that_http_does_not_allow_to_repeat() {
    let again = Some(edge("retries: {attempts: 2, backoffMilliseconds: 50, perTryTimeout: 3s}"));
    let world = settled(&Split::istio().with(|it| it.edge.clone_from(&again)));
    let http = spec(&world, ObjectKind::VirtualService)["http"].clone();
    let [repeatable, rest] = http.as_array().unwrap().as_slice() else { panic!("{http}") };
    assert_eq!(repeatable["match"][0]["method"], json!({"regex": "GET|HEAD|OPTIONS|TRACE|PUT|DELETE"}));
    assert_eq!(
        repeatable["retries"],
        json!({"attempts": 2, "backoff": "50ms", "perTryTimeout": "3s", "retryOn": "connect-failure,refused-stream,reset,gateway-error"})
    );
    assert_eq!(rest["match"], json!([{"uri": {"prefix": "/"}}]));
    assert_eq!(rest["retries"]["retryOn"], "connect-failure,refused-stream", "no side has seen the request then");
    let world = settled(&Split::nginx().with(|it| it.edge = Some(edge("retries: {attempts: 2}"))));
    let main = world.get(ObjectKind::Ingress, "shop").unwrap();
    let said = |key: &str| main["metadata"]["annotations"][format!("{NGINX}/{key}")].as_str().unwrap().to_owned();
    assert_eq!(said("proxy-next-upstream-tries"), "3", "the first time is one of them");
    assert!(!said("proxy-next-upstream").contains("non_idempotent"));
}

fn copied(percent: i32, allow_unsafe: bool) -> impl Fn(&mut Split) {
    move |it| it.mirror = Some(Mirror { percent, allow_unsafe })
}

/// The entries or rules that copy, by what they match.
fn copying(split: &Split) -> Vec<Value> {
    let world = settled(split);
    if split.router.istio.is_some() {
        let http = spec(&world, ObjectKind::VirtualService)["http"].as_array().unwrap().clone();
        http.into_iter().filter(|it| !it["mirror"].is_null()).collect()
    } else {
        let copies = |rule: &Value| {
            rule["filters"].as_array().is_some_and(|it| it.iter().any(|it| it["type"] == "RequestMirror"))
        };
        spec(&world, ObjectKind::HttpRoute)["rules"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| copies(it))
            .cloned()
            .collect()
    }
}

#[rstest]
#[case(Split::gateway())]
#[case(Split::istio())]
fn copies_are_of_what_changes_nothing_and_only_where_somebody_takes_them(#[case] split: Split) {
    let split = split.with(|it| it.pins = vec![header(Side::Legacy, "x-a", "old")]).with(copied(10, false)).at(0);
    let found = copying(&split);
    assert_eq!(found.len(), 1, "not of a pin's requests: {found:?}");
    for found in found[0]["matches"].as_array().or(found[0]["match"].as_array()).unwrap() {
        let method = found["method"].as_str().or(found["method"]["regex"].as_str()).unwrap();
        assert!(["GET", "HEAD", "GET|HEAD"].contains(&method), "{method}");
    }
    assert!(found[0].to_string().contains("storefront") && found[0].to_string().contains("10"));
    assert_eq!(copying(&split.clone().at(60)).len(), 1);
    assert_eq!(copying(&split.clone().at(100)), Vec::<Value>::new(), "it has every request itself");
    let all = copying(&split.clone().with(copied(100, true)));
    assert!(all.len() == 1 && !all[0].to_string().contains("method"), "{all:?}");
    for gone in [Known::Known(0), Known::Unknown] {
        let dead = split.clone().with(|it| it.backend_mut(Side::New).ready = gone);
        assert_eq!(copying(&dead), Vec::<Value>::new());
        let said = dead.plan(&settled(&dead)).read_back.message.unwrap();
        assert_eq!(said, "spec.mirror: nothing is copied while the new side has no ready endpoint");
    }
    let missing = split.with(|it| it.sides.new = SideBackend::Missing { service: Some(("storefront".into(), 8080)) });
    assert_eq!(copying(&missing), Vec::<Value>::new());
}

#[test]
fn a_pin_is_divided_by_method_as_the_weighted_rule_is_for_a_method_outranks_a_header() {
    let split = Split::gateway().with(|it| it.pins = vec![header(Side::New, "x-a", "new")]).with(copied(10, false));
    let rules = spec(&settled(&split), ObjectKind::HttpRoute)["rules"].clone();
    let names: Vec<&str> = rules.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pin-1", "pin-1-2", "weighted", "weighted-2"]);
    assert_eq!(rules[0]["matches"][0]["method"], "GET");
    assert!(rules[1]["matches"][0]["method"].is_null() && rules[0]["filters"].is_null());
}

#[test]
fn a_class_that_cannot_copy_a_part_or_tell_methods_apart_is_named() {
    let without = |lacking: &'static str| {
        move |it: &mut Split| {
            let listed = it.classes[0].supported_features.take().unwrap();
            it.classes[0].supported_features = Some(listed.into_iter().filter(|it| &**it != lacking).collect());
        }
    };
    for (lacking, field) in [
        ("HTTPRouteRequestPercentageMirror", "spec.mirror.percent"),
        ("HTTPRouteMethodMatching", "spec.mirror.allowUnsafe"),
    ] {
        let said = refused(&Split::gateway().with(copied(10, false)).with(without(lacking)));
        assert!(said.starts_with(&format!("{field}: ")) && said.contains(lacking), "{said}");
        let all = Split::gateway().with(copied(100, true)).with(without(lacking));
        assert_eq!(settled(&all).writes.len(), 1);
    }
}

#[test]
fn every_rewritten_prefix_has_a_rule_of_its_own_and_all_bear_the_weights() {
    let mut world = World::default();
    let paths = vec![prefix("/"), rewritten("/shop", "/v1"), exact("/ping", Some("/health")), exact("/up", None)];
    let split = Split::gateway().with(|it| it.paths = paths).at(30);
    split.settle(&mut world);
    let rules = spec(&world, ObjectKind::HttpRoute)["rules"].clone();
    let rewrite = |at: usize| rules[at]["filters"][0]["urlRewrite"]["path"].clone();
    assert_eq!((rules.as_array().unwrap().len(), rules[0]["matches"].as_array().unwrap().len()), (3, 2));
    assert_eq!(rewrite(1), json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}));
    assert_eq!(rewrite(2), json!({"type": "ReplaceFullPath", "replaceFullPath": "/health"}));
    assert_eq!(split.read_weight(&world), Some(30));
    // The form of a spec that is refused waits; its weights do not, in any of the rules.
    let split = split.at(70);
    split.clone().with(|it| it.edge = Some(edge("rateLimit: {requestsPerMinute: 5}"))).settle(&mut world);
    let rules = spec(&world, ObjectKind::HttpRoute)["rules"].clone();
    let weights = rules.as_array().unwrap().iter().map(|rule| rule["backendRefs"][1]["weight"].as_i64());
    assert_eq!(weights.collect::<Vec<_>>(), [Some(70); 3]);
    world.edit(ObjectKind::HttpRoute, "shop", |route| route["spec"]["rules"][1]["filters"] = json!([]));
    split.settle(&mut world);
    let rules = spec(&world, ObjectKind::HttpRoute)["rules"].clone();
    assert!(!rules[1]["filters"][0]["urlRewrite"].is_null(), "what somebody takes away is put back");
}

#[test]
fn rules_that_a_route_has_no_room_for_are_refused() {
    let paths = (0..16).map(|at| rewritten(&format!("/a{at}"), "/v1")).collect();
    let said = refused(&Split::gateway().with(|it| it.paths = paths).with(copied(10, false)));
    assert!(said.contains("48 rules with 48 matches, and a route takes 16 and 128"), "{said}");
}

#[test]
fn a_mesh_rewrites_what_is_below_a_prefix_with_its_slash_and_longer_paths_first() {
    let mut world = World::default();
    let paths =
        vec![prefix("/"), rewritten("/shop", "/v1"), rewritten("/shop/old", "/"), exact("/ping", Some("/health"))];
    let split = Split::istio().with(|it| it.paths = paths).at(30);
    split.settle(&mut world);
    let http = spec(&world, ObjectKind::VirtualService)["http"].clone();
    let said: Vec<_> = http
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["match"].as_array().unwrap().iter().map(|it| it["uri"].clone()).collect::<Vec<_>>(),
                it["rewrite"]["uri"].clone(),
            )
        })
        .collect();
    let wanted = [
        (vec![json!({"exact": "/ping"})], json!("/health")),
        (vec![json!({"exact": "/shop/old"}), json!({"prefix": "/shop/old/"})], json!("/")),
        (vec![json!({"exact": "/shop"})], json!("/v1")),
        (vec![json!({"prefix": "/shop/"})], json!("/v1/")),
        (vec![json!({"prefix": "/"})], Value::Null),
    ];
    assert_eq!(said, wanted);
    let refused = split.at(70).with(|it| it.edge = Some(edge("rateLimit: {requestsPerMinute: 5}")));
    refused.settle(&mut world);
    let http = spec(&world, ObjectKind::VirtualService)["http"].clone();
    let weights = http.as_array().unwrap().iter().map(|it| it["route"][1]["weight"].as_i64());
    assert_eq!(weights.collect::<Vec<_>>(), [Some(70); 5]);
}

#[test]
fn a_mesh_lets_other_origins_in_as_listed() {
    let said = "cors: {allowOrigins: ['https://a.example.com'], allowCredentials: true, maxAge: 1h}";
    let policy = |said: &str| {
        let world = settled(&Split::istio().with(|it| it.edge = Some(edge(said))));
        spec(&world, ObjectKind::VirtualService)["http"][0]["corsPolicy"].clone()
    };
    assert_eq!(
        policy(said),
        json!({
            "allowOrigins": [{"exact": "https://a.example.com"}], "allowMethods": ["GET", "HEAD", "POST"],
            "allowHeaders": ["Content-Type"], "allowCredentials": true, "maxAge": "3600s",
        })
    );
    assert_eq!(policy("cors: {allowOrigins: ['*']}")["allowOrigins"], json!([{"regex": ".*"}]));
}

#[test]
fn both_ingresses_have_the_same_expressions_and_the_main_one_says_what_becomes_of_them() {
    let paths = vec![rewritten("/shop.v2/", "/v1"), exact("/up", Some("/v1"))];
    let world = settled(&Split::nginx().with(|it| it.paths = paths));
    let paths = |name: &str| {
        let ingress = world.get(ObjectKind::Ingress, name).unwrap();
        let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array().unwrap();
        paths.iter().take(2).map(|it| (it["path"].clone(), it["pathType"].clone())).collect::<Vec<_>>()
    };
    let wanted = [(json!(r"/shop\.v2(/|$)(.*)"), json!("ImplementationSpecific")), (json!("/up"), json!("Exact"))];
    assert_eq!((paths("shop"), paths("shop-cutover-canary")), (wanted.to_vec(), wanted.to_vec()));
    let said = &world.get(ObjectKind::Ingress, "shop").unwrap()["metadata"]["annotations"];
    assert_eq!(said[format!("{NGINX}/rewrite-target")], "/v1$1$2");
    assert_eq!(said[format!("{NGINX}/use-regex")], "true");
}

#[rstest]
#[case::another_rewrite(vec![rewritten("/a", "/v1"), rewritten("/b", "/v2")], "spec.paths[1].rewrite: ")]
#[case::none(vec![prefix("/a"), rewritten("/b", "/v2")], "spec.paths[0].rewrite: ")]
#[case::everything(vec![rewritten("/", "/v2"), rewritten("/b", "/v2")], "spec.paths[1].rewrite: ")]
#[case::an_expression(vec![rewritten("/a(b)", "/v2")], "spec.paths[0].value: ")]
fn what_one_annotation_cannot_say_is_refused(#[case] paths: Vec<PathMatch>, #[case] field: &str) {
    let said = refused(&Split::nginx().with(|it| it.paths = paths));
    assert!(said.starts_with(field), "{said}");
}

#[test]
fn paths_are_read_as_they_were_written() {
    for paths in [
        vec![prefix("/")],
        vec![rewritten("/", "/v1")],
        vec![rewritten("/", "/")],
        vec![rewritten("/a.b", "/v1"), rewritten("/b", "/v1"), exact("/c", Some("/v1"))],
        vec![rewritten("/b", "/")],
    ] {
        let mut paths = paths;
        paths.sort();
        for split in [Split::nginx(), Split::gateway(), Split::istio()] {
            // An Ingress copies nothing; where methods are told apart, paths are said more than once.
            let copies = split.router.ingress_nginx.is_none();
            let split = split.with(|it| it.paths.clone_from(&paths)).with(|it| {
                it.mirror = copies.then_some(Mirror { percent: 10, allow_unsafe: false });
            });
            let read = split.observing(&settled(&split), |_, observed| hosts_and_paths(observed));
            let (hosts, mut read) = read.unwrap();
            read.sort();
            assert_eq!((hosts, read), (split.hosts, paths.clone()));
        }
    }
}

#[test]
fn a_load_balancer_redirects_to_its_port_with_tls_or_the_field_is_refused() {
    let ports = "alb.ingress.kubernetes.io/listen-ports".to_owned();
    let split = |said: &str| {
        Split::alb().with(|it| {
            it.edge = Some(edge("tlsRedirect: true"));
            it.router.alb.as_mut().unwrap().annotations.insert(ports.clone(), said.to_owned());
        })
    };
    let mut world = World::default();
    let both = split(r#"[{"HTTP": 80}, {"HTTPS": 8443}]"#);
    both.settle(&mut world);
    let of = |world: &World| {
        world.get(ObjectKind::Ingress, "shop-cutover-alb").unwrap()["metadata"]["annotations"]["alb.ingress.kubernetes.io/ssl-redirect"].clone()
    };
    assert_eq!(of(&world), "8443");
    both.with(|it| it.edge = None).settle(&mut world);
    assert_eq!(of(&world), Value::Null);
    for said in [r#"[{"HTTP": 80}]"#, r#"[{"HTTPS": 443}]"#, "443"] {
        let message = refused(&split(said));
        assert!(message.starts_with("spec.edge.tlsRedirect: alb ") && message.contains("listen-ports"), "{message}");
    }
}

#[test]
fn a_second_route_on_the_listener_without_tls_redirects_and_goes_with_the_field() {
    let mut world = World::default();
    let split = Split::gateway().with(|it| {
        it.edge = Some(edge("tlsRedirect: true"));
        let parent = &mut it.router.gateway_api.as_mut().unwrap().parent_refs.as_mut().unwrap()[0];
        (parent.section_name, parent.redirect_from) = (Some("https".into()), Some("http".into()));
    });
    let unnamed = split.clone().with(|it| {
        it.router.gateway_api.as_mut().unwrap().parent_refs.as_mut().unwrap()[0].redirect_from = None;
    });
    let said = refused(&unnamed);
    assert!(said.starts_with("spec.edge.tlsRedirect: ") && said.contains("parentRefs[0].redirectFrom"), "{said}");
    assert!(split.settle(&mut world).settled);
    let name = "shop-cutover-redirect";
    let redirect = world.get(ObjectKind::HttpRoute, name).unwrap().clone();
    let listener = |route: &Value| route["spec"]["parentRefs"][0]["sectionName"].clone();
    assert_eq!(
        (listener(&redirect), listener(world.get(ObjectKind::HttpRoute, "shop").unwrap())),
        (json!("http"), json!("https"))
    );
    assert_eq!(
        redirect["spec"]["rules"][0]["filters"][0]["requestRedirect"],
        json!({"scheme": "https", "statusCode": 301})
    );
    assert!(redirect["spec"]["rules"][0]["backendRefs"].is_null());
    world.edit(ObjectKind::HttpRoute, name, |route| route["spec"]["hostnames"] = json!(["elsewhere.example.com"]));
    split.settle(&mut world);
    assert_eq!(
        world.get(ObjectKind::HttpRoute, name).unwrap()["spec"],
        redirect["spec"],
        "what somebody changes is put back"
    );
    let released = split.observing(&world, |intent, observed| release(intent.split, observed));
    assert_eq!(released.len(), 2);
    split.clone().with(|it| it.exposed = false).settle(&mut world);
    assert!(world.get(ObjectKind::HttpRoute, name).is_none() && world.get(ObjectKind::HttpRoute, "shop").is_none());
    split.settle(&mut world);
    split.with(|it| it.edge = None).settle(&mut world);
    assert!(world.get(ObjectKind::HttpRoute, name).is_none() && world.get(ObjectKind::HttpRoute, "shop").is_some());
}
