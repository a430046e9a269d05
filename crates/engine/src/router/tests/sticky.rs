//! Who stays with which side. A crowd of clients with jars of cookies goes through the rules as they stand; what becomes of it is computed,
//! not sampled.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::traffic_split::{Side, StickinessStatus};
use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    bed::{Split, World, accept_all, header},
    ownership::remove,
};
use crate::{
    router::{self, ObjectKind, SideBackend, sticky_name},
    traffic_split::stickiness::next,
};

const TOTAL: i32 = 100;

/// What is done with requests: with those that have this cookie, or with all; to each side with a weight, and the cookie that it deals.
#[derive(Debug)]
struct Rule {
    cookie: Option<Cookie>,
    backends: Vec<(Side, f64, Option<Cookie>)>,
}

/// Its name and its value.
type Cookie = (String, String);

/// A client as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Client {
    jar: BTreeMap<String, String>,
    served_by: Option<Side>,
}

/// Which share of a crowd is such clients.
type Crowd = BTreeMap<Client, f64>;

fn newcomers() -> Crowd {
    Crowd::from([(Client::default(), 1.0)])
}

fn share_of_new(crowd: &Crowd) -> f64 {
    crowd.iter().filter(|(client, _)| client.served_by == Some(Side::New)).map(|(_, share)| share).sum()
}

fn side(split: &Split, service: &Value) -> Side {
    let is = |side: Side| {
        let own = match side {
            Side::Legacy => split.sides.legacy.present(),
            Side::New => split.sides.new.present(),
        };
        service == &sticky_name(&split.name, side) || service.as_str() == own.map(|it| it.service.as_str())
    };
    assert!(is(Side::Legacy) || is(Side::New), "{service}");
    if is(Side::New) { Side::New } else { Side::Legacy }
}

fn pair(text: &str) -> Cookie {
    let (name, value) = text.split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

fn dealt(header: &Value) -> Option<Cookie> {
    let header = header.as_str()?;
    assert!(header.ends_with("; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax"), "{header}");
    Some(pair(header.split_once(';').unwrap().0))
}

/// The rules of the split's route that are about no pin.
fn rules(split: &Split, world: &World) -> Vec<Rule> {
    if split.router.gateway_api.is_some() { rules_of_route(split, world) } else { entries(split, world) }
}

fn number(value: &Value) -> f64 {
    f64::from(i32::try_from(value.as_i64().unwrap()).unwrap())
}

fn route_rules(world: &World) -> Vec<Value> {
    world.get(ObjectKind::HttpRoute, "shop").unwrap()["spec"]["rules"].as_array().unwrap().clone()
}

fn rules_of_route(split: &Split, world: &World) -> Vec<Rule> {
    let rule = |rule: &Value| {
        let cookie = rule.pointer("/matches/0/headers/0/value").map(|it| {
            let it = it.as_str().unwrap().strip_prefix(r"^(.*;\s*)?").and_then(|it| it.strip_suffix("(;.*)?$"));
            pair(it.expect("from end to end"))
        });
        let backend = |backend: &Value| {
            let cookie = backend.pointer("/filters/0/responseHeaderModifier/add/0");
            let cookie = cookie.and_then(|it| dealt(&it["value"]).filter(|_| it["name"] == "Set-Cookie"));
            assert!(!backend["name"].as_str().unwrap().contains("-sticky-") || cookie.is_some(), "{backend}");
            (side(split, &backend["name"]), number(&backend["weight"]), cookie)
        };
        Rule { cookie, backends: rule["backendRefs"].as_array().unwrap().iter().map(backend).collect() }
    };
    route_rules(world).iter().map(rule).collect()
}

fn entries(split: &Split, world: &World) -> Vec<Rule> {
    let service = world.get(ObjectKind::VirtualService, "shop").unwrap();
    let entries = service["spec"]["http"].as_array().unwrap().iter();
    let rule = |entry: &Value| {
        let cookie = entry.pointer("/match/0/headers/cookie/regex").map(|it| {
            let it = it.as_str().unwrap().strip_prefix(r"(.*;\s*)?").and_then(|it| it.strip_suffix("(;.*)?"));
            pair(it.expect("from end to end"))
        });
        let backend = |route: &Value| {
            let weight = number(&route["weight"]);
            let cookie = dealt(&route["headers"]["response"]["add"]["set-cookie"]);
            (side(split, &route["destination"]["host"]), weight, cookie)
        };
        Rule { cookie, backends: entry["route"].as_array().unwrap().iter().map(backend).collect() }
    };
    entries.map(rule).collect()
}

fn fits(rule: &Rule, client: &Client) -> bool {
    let Some((name, expression)) = &rule.cookie else { return true };
    let Some(value) = client.jar.get(name) else { return false };
    match expression.strip_suffix("[0-9]+") {
        Some(start) => {
            let rest = value.strip_prefix(&start.replace(r"\.", "."));
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_digit()))
        }
        None => expression.replace(r"\.", ".") == *value,
    }
}

/// Every client asks once.
fn visit(crowd: &Crowd, rules: &[Rule]) -> Crowd {
    let mut after = Crowd::new();
    for (client, share) in crowd {
        let rule = rules.iter().find(|rule| fits(rule, client)).expect("the last one takes everybody");
        let sum: f64 = rule.backends.iter().map(|(_, weight, _)| weight).sum();
        assert!(sum > 0.0, "all-zero: {rule:?}");
        for (side, weight, cookie) in rule.backends.iter().filter(|(_, weight, _)| *weight > 0.0) {
            let mut client = Client { served_by: Some(*side), ..client.clone() };
            client.jar.extend(cookie.clone());
            *after.entry(client).or_default() += share * weight / sum;
        }
    }
    after
}

fn assert_stays(crowd: &Crowd, rules: &[Rule], who: Option<Side>) {
    for client in crowd.keys().filter(|client| who.is_none_or(|side| client.served_by == Some(side))) {
        let alone = Crowd::from([(client.clone(), 1.0)]);
        let moved: Vec<_> = visit(&alone, rules).into_keys().filter(|it| it.served_by != client.served_by).collect();
        assert!(moved.is_empty(), "{client:?} becomes {moved:?} by {rules:#?}");
    }
}

fn assert_share(crowd: &Crowd, weight: i32) {
    let (share, wanted) = (share_of_new(crowd), f64::from(weight) / f64::from(TOTAL));
    assert!((share - wanted).abs() < 1e-9, "{share} is on new instead of {wanted}: {crowd:#?}");
}

#[derive(Clone, Debug)]
enum Move {
    /// Another weight is wanted, and the process may die between the status and the route.
    To(i32, bool),
    /// The status is lost.
    Lost,
    /// Those who come now and then ask as well.
    Visit,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let weight = prop_oneof![Just(0), Just(TOTAL), 0..=TOTAL, 0..=TOTAL];
    let step = prop_oneof![
        6 => (weight, any::<bool>()).prop_map(|(weight, killed)| Move::To(weight, killed)),
        1 => Just(Move::Lost),
        2 => Just(Move::Visit),
    ];
    prop::collection::vec(step, 1..10)
}

fn at(known: &StickinessStatus, weight: i32, split: &Split) -> Split {
    split.clone().sticky(known.epoch, &known.dealt).at(weight)
}

/// Clients who ask at the same times.
struct Group {
    crowd: Crowd,
    /// The epoch and the weight by which they were last dealt.
    dealt: Option<(i64, i32)>,
}

impl Group {
    fn ask(&mut self, rules: &[Rule], now: &StickinessStatus, weight: i32) {
        let before = self.dealt.filter(|(epoch, _)| *epoch == now.epoch);
        if before.is_some() {
            assert_stays(&self.crowd, rules, Some(Side::New));
        } else {
            for client in self.crowd.keys() {
                assert_share(&visit(&Crowd::from([(client.clone(), 1.0)]), rules), weight);
            }
        }
        self.crowd = visit(&self.crowd, rules);
        match before {
            // The weight grew many times while they did not ask.
            Some((_, dealt)) if !now.dealt.contains(&dealt) => {
                let most = f64::from(weight) / f64::from(TOTAL) + 1e-9;
                assert!(share_of_new(&self.crowd) <= most, "too many: {:#?}", self.crowd);
            }
            _ => assert_share(&self.crowd, weight),
        }
        self.dealt = (!now.dealt.is_empty()).then_some((now.epoch, weight));
        if self.dealt.is_some() {
            assert_stays(&self.crowd, rules, None);
        }
    }
}

fn walk(split: &Split, moves: Vec<Move>) {
    let mut world = World::default();
    let mut known: Option<StickinessStatus> = None;
    let [mut all, mut some] = [(); 2].map(|()| Group { crowd: newcomers(), dealt: None });
    let (mut weight, mut second) = (0, 1_000);
    for step in moves {
        let (mut killed, mut seen_by_all) = (false, false);
        match step {
            Move::Lost => {
                known = None;
                second += 1_000;
            }
            Move::To(to, dies) => (weight, killed) = (to, dies),
            Move::Visit => seen_by_all = true,
        }
        let now = next(known.as_ref(), weight, TOTAL, Timestamp::from_second(second).unwrap());
        known = Some(now.clone());
        // It is found again as it was written, and the route as it was before.
        if killed {
            continue;
        }
        at(&now, weight, split).settle(&mut world);
        let rules = rules(split, &world);
        all.ask(&rules, &now, weight);
        if seen_by_all {
            some.ask(&rules, &now, weight);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nobody_goes_back_while_the_weight_grows_and_nobody_is_held_when_it_falls(moves in moves()) {
        walk(&Split::istio(), moves.clone());
        walk(&Split::gateway(), moves);
    }
}

#[test]
fn clients_of_weights_that_are_no_longer_told_apart_go_over_too_late_rather_than_back() {
    let mut world = World::default();
    let split = Split::istio();
    let mut crowd = newcomers();
    split.clone().sticky(7, &[5]).settle(&mut world);
    crowd = visit(&crowd, &rules(&split, &world));
    split.clone().sticky(7, &[10, 20, 30, 40]).settle(&mut world);
    crowd = visit(&crowd, &rules(&split, &world));
    // Who is on legacy is dealt as if they had come at 10: 5 % + 95 % * 30 / 90.
    let share = share_of_new(&crowd);
    assert!((share - (0.05 + 0.95 / 3.0)).abs() < 1e-9, "{share}");
}

#[rstest]
#[case::istio(Split::istio())]
#[case::gateway(Split::gateway())]
fn a_side_that_is_gone_holds_nobody(#[case] split: Split) {
    let mut world = World::default();
    split.clone().sticky(7, &[30]).settle(&mut world);
    let gone = SideBackend::Missing { service: Some(("storefront".into(), 8080)) };
    split.clone().sticky(7, &[30]).with(|it| it.sides.new = gone).settle(&mut world);
    assert!(rules(&split, &world).iter().all(|rule| rule.cookie.as_ref().is_none_or(|(_, value)| value != "new")));
}

/// A change of the spec that the router refuses, whatever it is.
fn refused(split: &Split) -> Split {
    split
        .clone()
        .with(|it| it.edge = Some(serde_yaml_ng::from_str("rateLimit: {requestsPerMinute: 5, burst: 7}").unwrap()))
}

#[rstest]
#[case::istio(Split::istio())]
#[case::gateway(Split::gateway())]
fn a_spec_that_is_refused_does_not_keep_old_cookies_alive(#[case] split: Split) {
    let mut world = World::default();
    split.clone().sticky(7, &[60]).settle(&mut world);
    let crowd = visit(&newcomers(), &rules(&split, &world));
    let refused = refused(&split);
    assert!(refused.clone().sticky(7, &[60, 80]).settle(&mut world).problem.is_some());
    assert_stays(&crowd, &rules(&split, &world), Some(Side::New));
    assert_share(&visit(&newcomers(), &rules(&split, &world)), 80);
    refused.clone().sticky(8, &[30]).settle(&mut world);
    let crowd = visit(&crowd, &rules(&split, &world));
    assert_share(&crowd, 30);
    refused.sticky(9, &[]).at(0).settle(&mut world);
    assert_share(&visit(&crowd, &rules(&split, &world)), 0);
}

fn main_cookie(world: &World) -> Option<String> {
    let main = world.get(ObjectKind::Ingress, "shop")?;
    let name = |key: &str| main["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{key}")].as_str();
    assert_eq!(name("affinity").is_some(), name("session-cookie-name").is_some());
    name("session-cookie-name").map(str::to_owned)
}

fn canary(world: &World) -> Option<i32> {
    let canary = world.get(ObjectKind::Ingress, "shop-cutover-canary")?;
    canary["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"].as_str()?.parse().ok()
}

#[test]
fn the_main_ingress_says_all_of_it_and_nothing_where_one_side_has_everything() {
    let mut world = World::default();
    Split::nginx().sticky(7, &[30]).settle(&mut world);
    let annotations = &world.get(ObjectKind::Ingress, "shop").unwrap()["metadata"]["annotations"];
    for (key, value) in [
        ("affinity", "cookie"),
        ("affinity-canary-behavior", "sticky"),
        ("session-cookie-name", "side-7"),
        ("session-cookie-max-age", "3600"),
        ("session-cookie-path", "/"),
        ("session-cookie-samesite", "Lax"),
    ] {
        assert_eq!(annotations[format!("nginx.ingress.kubernetes.io/{key}")], value);
    }
    for weight in [0, 100] {
        Split::nginx().sticky(8, &[]).at(weight).settle(&mut world);
        let left = world.get(ObjectKind::Ingress, "shop").unwrap().to_string();
        assert!(!left.contains("affinity") && !left.contains("session-cookie"), "{left}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Clients that meet a new name while the canary still has more would be held on the new side.
    #[test]
    fn ingresses_deal_no_new_cookie_by_a_weight_that_is_to_fall(
        weights in prop::collection::vec(prop_oneof![Just(0), Just(TOTAL), 0..=TOTAL], 1..8),
        killed: bool,
        waits: bool,
    ) {
        let mut world = World::default();
        let mut known = None;
        for weight in weights {
            let now = next(known.as_ref(), weight, TOTAL, Timestamp::from_second(5).unwrap());
            let split = at(&now, weight, &Split::nginx());
            let split = if waits { refused(&split) } else { split };
            let name = format!("side-{}", now.epoch);
            split.drive(&mut world, killed, |world| {
                if main_cookie(world).is_some_and(|found| found == name) {
                    assert!(canary(world).is_none_or(|canary| canary <= weight), "{:?} at {weight}", canary(world));
                }
            });
            let wanted = (weight > 0 && weight < TOTAL && !waits).then_some(name);
            prop_assert!(main_cookie(&world) == wanted || waits, "{:?}", main_cookie(&world));
            known = Some(now);
        }
    }
}

#[test]
fn an_ingress_whose_form_waits_gives_up_cookies_that_no_longer_count() {
    let mut world = World::default();
    Split::nginx().sticky(7, &[60]).settle(&mut world);
    refused(&Split::nginx()).sticky(7, &[60, 80]).settle(&mut world);
    assert_eq!((main_cookie(&world), canary(&world)), (Some("side-7".into()), Some(80)));
    refused(&Split::nginx()).sticky(8, &[30]).settle(&mut world);
    assert_eq!((main_cookie(&world), canary(&world)), (None, Some(30)));
}

#[rstest]
#[case::pins(|it: &mut Split| it.pins = vec![header(Side::New, "x-a", "new")], "spec.stickiness: ingressNginx looks at its cookie")]
#[case::twice(
    |it: &mut Split| it.nginx_mut().annotations =
        BTreeMap::from([("nginx.ingress.kubernetes.io/session-cookie-name".to_owned(), "own".to_owned())]),
    "spec.routers[0].ingressNginx.annotations[nginx.ingress.kubernetes.io/session-cookie-name]: spec.stickiness says the same"
)]
fn what_ingresses_cannot_hold_together_is_refused(#[case] change: impl FnOnce(&mut Split), #[case] message: &str) {
    let plan = Split::nginx().sticky(7, &[30]).with(change).plan(&World::default());
    let problem = plan.problem.unwrap();
    assert!(problem.message.starts_with(message), "{}", problem.message);
    assert_eq!(plan.steps, []);
}

#[test]
fn a_traefik_service_bears_the_cookie_of_the_epoch_while_both_sides_have_a_share() {
    let mut world = World::default();
    let sticky = |world: &World| {
        let service = world.get(ObjectKind::TraefikService, "shop-cutover-weighted").unwrap();
        service["spec"]["weighted"]["sticky"].clone()
    };
    let says = |epoch| json!({"cookie": {"name": format!("side-{epoch}"), "maxAge": 3600, "httpOnly": true, "sameSite": "lax"}});
    for (epoch, dealt, weight) in
        [(7, vec![30], 30), (7, vec![30, 60], 60), (8, vec![40], 40), (9, vec![], 0), (9, vec![5], 5)]
    {
        Split::traefik().sticky(epoch, &dealt).at(weight).settle(&mut world);
        let wanted = if dealt.is_empty() { Value::Null } else { says(epoch) };
        assert_eq!(sticky(&world), wanted, "at {weight}");
    }
    refused(&Split::traefik()).sticky(10, &[3]).settle(&mut world);
    assert_eq!(sticky(&world), says(10), "whatever waits");
    Split::traefik().sticky(10, &[3]).at(1).settle(&mut world);
    assert_eq!(sticky(&world), Value::Null, "a router that is behind the others");
}

fn sticky_aliases(world: &World) -> Vec<&str> {
    let of = |side| world.get(ObjectKind::Service, &sticky_name("shop", side));
    [Side::Legacy, Side::New].into_iter().filter_map(of).map(|it| it["metadata"]["name"].as_str().unwrap()).collect()
}

/// Traefik keeps the filters of a backend by its Service: all that name one have to agree, and nobody else may name it.
#[test]
fn a_service_that_deals_a_cookie_deals_the_same_in_every_rule_and_is_no_one_elses() {
    let mut world = World::default();
    let pins = vec![header(Side::New, "x-a", "new"), header(Side::Legacy, "x-a", "old")];
    Split::gateway().sticky(7, &[10, 20, 30]).with(|it| it.pins = pins).settle(&mut world);
    let mut filters: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let rules = route_rules(&world);
    let names: Vec<_> = rules.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pin-1", "pin-2", "sticky-new", "sticky-legacy", "sticky-from-20", "sticky-older", "weighted"]);
    for backend in rules.iter().flat_map(|rule| rule["backendRefs"].as_array().unwrap()) {
        filters.entry(backend["name"].as_str().unwrap().to_owned()).or_default().push(backend["filters"].clone());
    }
    assert_eq!(filters.keys().collect::<Vec<_>>(), ["monolith", "shop-sticky-legacy", "shop-sticky-new", "storefront"]);
    for (service, found) in filters {
        assert!(found.iter().all(|it| *it == found[0]), "{service}: {found:?}");
        assert_eq!(found[0].is_null(), !service.contains("-sticky-"), "{service}");
    }
    assert_eq!(Split::gateway().sticky(7, &[10, 20, 30]).read_weight(&world), Some(30));
}

#[test]
fn cookies_wait_for_the_endpoints_of_their_services_and_the_weight_does_not() {
    let mut world = World::default();
    world.slow_endpoints = true;
    let split = Split::gateway().sticky(7, &[30]);
    let plan = split.settle(&mut world);
    assert!(!plan.settled && plan.read_back.observed_weight == Some(30), "{plan:?}");
    assert!(rules(&split, &world).iter().all(|rule| rule.cookie.is_none()));
    world.filled = sticky_aliases(&world).into_iter().map(str::to_owned).collect();
    assert!(split.settle(&mut world).settled);
    assert_eq!(rules(&split, &world).len(), 3);
    // What is named goes on being named while pods come and go.
    world.filled.clear();
    assert_eq!(split.plan(&world).steps, []);
    world.drop(ObjectKind::Service, "shop-sticky-new");
    split.drive(&mut world, false, |_| {});
    assert_eq!(sticky_aliases(&world), ["shop-sticky-legacy", "shop-sticky-new"]);
}

#[test]
fn services_that_deal_cookies_come_and_go_with_stickiness_and_with_the_split() {
    let mut world = World::default();
    let sticky = Split::gateway().sticky(7, &[30]);
    sticky.settle(&mut world);
    let mut deleted = world.clone();
    let release = sticky.observing(&world, |intent, observed| router::release(intent.split, observed));
    for step in &release {
        world.send(step);
    }
    assert_eq!(sticky.observing(&world, |intent, observed| router::release(intent.split, observed)), []);
    let again = sticky.clone().with(|it| it.uid = "another".into());
    assert!(again.settle(&mut world).settled, "what was left behind is adopted");
    let bare = again.with(|it| it.stickiness = None);
    // Not before the gateway has seen that no rule names them.
    bare.drive(&mut world, false, |_| {});
    assert_eq!(sticky_aliases(&world).len(), 2);
    accept_all(&mut world);
    bare.drive(&mut world, false, |_| {});
    assert!(bare.settle(&mut world).settled);
    assert_eq!(sticky_aliases(&world), [""; 0]);
    assert_eq!(rules(&bare, &world).len(), 1);

    deleted.writes.clear();
    remove(&sticky, &mut deleted, usize::MAX);
    assert_eq!(deleted.writes[0], "delete HTTPRoute/shop", "the way in first");
    assert_eq!(sticky_aliases(&deleted), [""; 0]);
}

#[test]
fn a_service_of_somebody_else_is_not_taken() {
    let mut world = World::default();
    world.put(ObjectKind::Service, json!({"metadata": {"name": "shop-sticky-new"}, "spec": {"ports": [{"port": 80}]}}));
    let plan = Split::gateway().sticky(7, &[30]).plan(&world);
    assert_eq!((plan.problem.map(|it| it.reason), plan.steps), (Some("Conflicted"), vec![]));

    // Not even one that came to be in the place of ours.
    let mut world = World::default();
    let split = Split::gateway().sticky(7, &[30]);
    split.settle(&mut world);
    let theirs = json!({"metadata": {"name": "shop-sticky-new"}, "spec": {"ports": [{"port": 80}]}});
    world.drop(ObjectKind::Service, "shop-sticky-new");
    world.put(ObjectKind::Service, theirs);
    let before = world.get(ObjectKind::Service, "shop-sticky-new").cloned();
    assert_eq!(split.settle(&mut world).problem.map(|it| it.reason), Some("Conflicted"));
    assert_eq!(world.get(ObjectKind::Service, "shop-sticky-new").cloned(), before);
    assert!(rules(&split, &world).iter().all(|rule| rule.cookie.is_none()), "nothing leads there");
}

#[test]
fn pins_come_before_cookies() {
    let mut world = World::default();
    let pins = vec![header(Side::Legacy, "x-a", "old")];
    Split::istio().sticky(7, &[10, 30]).with(|it| it.pins = pins).settle(&mut world);
    accept_all(&mut world);
    let service = world.get(ObjectKind::VirtualService, "shop").unwrap();
    let names: Vec<_> = service["spec"]["http"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["pin-1", "sticky-new", "sticky-legacy", "sticky-older", "weighted"]);
}
