//! Host names: what answers come to over time, and that what is published is never worse for a worse answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::{
        EnvironmentStatus,
        environment::IpFamily::{self, V4, V6},
    },
};
use ipnet::IpNet;
use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;

use super::world::{World, identity, valid};
use crate::environment::{
    Applied, Plan, Step, Validated, Verdict, decide, notes,
    plan::Body,
    resolve::{Answer, Heard, LATEST, Published, Resolution, SOONEST, Told, next},
    status,
};

const TTL: Duration = Duration::from_secs(60);
const FAILED: &str = "SERVFAIL";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn forbidden() -> Vec<IpNet> {
    vec!["198.51.100.0/24".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()]
}

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn given(texts: &[&str]) -> Answer {
    Answer::Addresses { addresses: texts.iter().map(|text| text.parse().unwrap()).collect(), ttl: TTL }
}

fn nothing() -> Answer {
    Answer::Nothing { ttl: TTL }
}

fn failed() -> Answer {
    Answer::Failed(FAILED.into())
}

/// What was told by these answers, one a second.
fn told(answers: &[Answer]) -> Told {
    let mut told = Told::default();
    for (second, answer) in (0..).zip(answers) {
        told.take(answer.clone(), &forbidden(), at(second));
    }
    told
}

fn resolved(published: &[&str], families: [(IpFamily, &[Answer]); 2]) -> Resolution {
    let published = Published { addresses: addresses(published), seen: Some(at(-100)) };
    next(&published, &families.map(|(family, answers)| (family, told(answers))).into(), &forbidden())
}

#[rstest]
#[case::first(&[], &[given(&["203.0.113.7", "203.0.113.5"])], &["203.0.113.5", "203.0.113.7"], &[])]
#[case::changed(&["203.0.113.7"], &[given(&["203.0.113.8"])], &["203.0.113.8"], &[])]
#[case::not_asked_yet(&["203.0.113.7"], &[], &["203.0.113.7"], &[])]
#[case::failed_at_once(&["203.0.113.7"], &[failed()], &["203.0.113.7"], &["A: SERVFAIL"])]
#[case::failed_later(&["203.0.113.7"], &[given(&["203.0.113.8"]), failed()], &["203.0.113.8"], &["A: SERVFAIL"])]
#[case::never_known(&[], &[failed()], &[], &["A: SERVFAIL"])]
#[case::taken_out(&["203.0.113.7"], &[nothing()], &["203.0.113.7"], &["A: no record"])]
#[case::all_forbidden(&["203.0.113.7"], &[given(&["198.51.100.9"])], &["203.0.113.7"], &["A: no address that may be used"])]
#[case::all_loopback(&["203.0.113.7"], &[given(&["127.0.0.1"])], &["203.0.113.7"], &["A: no address that may be used"])]
#[case::some_forbidden(&["203.0.113.7"], &[given(&["198.51.100.9", "203.0.113.8"])], &["203.0.113.8"], &[])]
#[case::back(&["203.0.113.7"], &[failed(), given(&["203.0.113.7"])], &["203.0.113.7"], &[])]
#[case::lost_by_hand(&[], &[given(&["203.0.113.7"]), failed()], &["203.0.113.7"], &["A: SERVFAIL"])]
#[case::forbidden_since(&["198.51.100.9", "203.0.113.7"], &[failed()], &["203.0.113.7"], &["A: SERVFAIL"])]
fn one_family(#[case] published: &[&str], #[case] answers: &[Answer], #[case] wanted: &[&str], #[case] stale: &[&str]) {
    let known = Published { addresses: addresses(published), seen: None };
    let next = next(&known, &BTreeMap::from([(V4, told(answers))]), &forbidden());
    assert_eq!((next.addresses, next.stale), (addresses(wanted), stale.iter().map(ToString::to_string).collect()));
}

#[rstest]
#[case::both(&[given(&["203.0.113.7"])], &[given(&["2001:db8::7"])], &["203.0.113.7", "2001:db8::7"], &[])]
#[case::six_went(&[given(&["203.0.113.7"])], &[given(&["2001:db8::7"]), nothing()], &["203.0.113.7"], &[])]
#[case::four_went(&[nothing()], &[given(&["2001:db8::7"])], &["2001:db8::7"], &[])]
#[case::six_was_never_there(&[given(&["203.0.113.7"])], &[failed()], &["203.0.113.7", "2001:db8::1"], &["AAAA: SERVFAIL"])]
#[case::six_fails(&[given(&["203.0.113.7"])], &[given(&["2001:db8::7"]), failed()], &["203.0.113.7", "2001:db8::7"], &["AAAA: SERVFAIL"])]
#[case::both_went(&[nothing()], &[nothing()], &["203.0.113.1", "2001:db8::1"], &["A: no record", "AAAA: no record"])]
#[case::one_went_and_the_other_fails(&[nothing()], &[failed()], &["203.0.113.1", "2001:db8::1"], &["A: no record", "AAAA: SERVFAIL"])]
#[case::one_went_and_the_other_is_forbidden(&[nothing()], &[given(&["2001:db8:f::1"])], &["203.0.113.1", "2001:db8::1"], &["A: no record", "AAAA: no address that may be used"])]
fn two_families(#[case] four: &[Answer], #[case] six: &[Answer], #[case] wanted: &[&str], #[case] stale: &[&str]) {
    let next = resolved(&["203.0.113.1", "2001:db8::1"], [(V4, four), (V6, six)]);
    assert_eq!((next.addresses, next.stale), (addresses(wanted), stale.iter().map(ToString::to_string).collect()));
}

#[test]
fn what_was_said_to_be_gone_does_not_come_back_by_a_failure() {
    let six = [given(&["2001:db8::7"]), nothing(), failed()];
    let next = resolved(&["203.0.113.7"], [(V4, &[given(&["203.0.113.7"])]), (V6, &six)]);
    assert_eq!((next.addresses, next.stale), (addresses(&["203.0.113.7"]), Vec::new()));
    let four = [given(&["203.0.113.7"]), failed()];
    let next = resolved(&["203.0.113.7"], [(V4, &four), (V6, &six)]);
    assert_eq!(next.addresses, addresses(&["203.0.113.7"]));
    assert_eq!(next.stale, ["A: SERVFAIL", "AAAA: SERVFAIL"]);
}

#[rstest]
#[case::well(&[given(&["203.0.113.7"])], &[nothing(), nothing(), given(&["2001:db8::7"])], 2)]
#[case::one_fails(&[given(&["203.0.113.7"]), failed()], &[given(&["2001:db8::7"]), given(&["2001:db8::7"])], 0)]
#[case::one_was_never_answered(&[failed()], &[given(&["2001:db8::7"])], -100)]
#[case::one_is_not_asked_yet(&[], &[given(&["2001:db8::7"])], -100)]
#[case::both_fail(&[given(&["203.0.113.7"]), given(&["203.0.113.7"]), failed()], &[failed()], 1)]
fn it_is_known_when_the_addresses_that_stay_were_seen(
    #[case] four: &[Answer],
    #[case] six: &[Answer],
    #[case] seen: i64,
) {
    assert_eq!(resolved(&["203.0.113.7"], [(V4, four), (V6, six)]).seen, Some(at(seen)));
}

#[test]
fn how_soon_a_name_is_asked_for_again_is_told_as_it_is() {
    let next = resolved(&["203.0.113.7"], [(V4, &[nothing()]), (V6, &[failed(), failed()])]);
    assert_eq!(next.again, Some(SOONEST * 2), "the sooner of the two");
    let next = resolved(&["203.0.113.7"], [(V4, &[nothing()]), (V6, &[nothing()])]);
    assert_eq!(next.again, Some(TTL));
}

#[test]
fn a_family_that_never_had_an_address_is_not_missed_while_the_other_has_some() {
    let next = resolved(&[], [(V4, &[given(&["203.0.113.7"])]), (V6, &[failed()])]);
    assert_eq!((next.addresses, next.stale, next.again), (addresses(&["203.0.113.7"]), Vec::new(), None));
}

#[test]
fn what_is_left_out_is_named() {
    let many: Vec<String> = (0..70).map(|last| format!("203.0.113.{last}")).collect();
    let mut texts: Vec<&str> = many.iter().map(String::as_str).collect();
    texts.extend(["198.51.100.9", "169.254.169.254"]);
    let next = resolved(&[], [(V4, &[given(&texts)]), (V6, &[given(&["::ffff:203.0.113.7", "2001:db8::7"])])]);
    assert_eq!(next.addresses.len(), 65);
    assert!(next.addresses.contains(&"203.0.113.0".parse().unwrap()), "the lowest, whatever the order");
    let wanted = [
        "169.254.169.254 is a link-local address",
        "198.51.100.9 is in 198.51.100.0/24",
        "6 more than 64 addresses",
        "::ffff:203.0.113.7 is an IPv4 address",
    ];
    assert_eq!(next.left_out.len(), wanted.len(), "{:?}", next.left_out);
    assert!(next.left_out.iter().zip(wanted).all(|(said, wanted)| said.starts_with(wanted)), "{:?}", next.left_out);
}

#[rstest]
#[case(0, SOONEST)]
#[case(4, SOONEST)]
#[case(60, Duration::from_secs(60))]
#[case(86_400, LATEST)]
fn an_answer_is_asked_for_again_when_it_ends_within_bounds(#[case] ttl: u64, #[case] again: Duration) {
    let ttl = Duration::from_secs(ttl);
    let mut told = Told::default();
    let address = vec!["203.0.113.7".parse().unwrap()];
    assert_eq!(told.take(Answer::Addresses { addresses: address, ttl }, &[], at(0)), Heard { again, news: true });
    assert_eq!(told.take(Answer::Nothing { ttl }, &[], at(1)), Heard { again, news: true });
}

#[test]
fn failures_are_asked_again_ever_later_and_told_until_nothing_changes() {
    let mut told = Told::default();
    let again: Vec<(u64, bool)> = (0..9)
        .map(|second| {
            let Heard { again, news } = told.take(failed(), &[], at(second));
            (again.as_secs(), news)
        })
        .collect();
    let wanted = [5, 10, 20, 40, 80, 160, 300, 300, 300].map(|again| (again, true));
    assert_eq!(again[..7], wanted[..7]);
    assert_eq!(again[7..], [(300, false), (300, false)]);
    assert_eq!(told.take(given(&["203.0.113.7"]), &[], at(9)), Heard { again: TTL, news: true });
    assert_eq!(told.take(failed(), &[], at(10)).again, SOONEST, "it begins anew");
}

#[test]
fn the_order_of_an_answer_is_no_news() {
    let mut told = Told::default();
    assert!(told.take(given(&["203.0.113.7", "203.0.113.5", "203.0.113.9"]), &[], at(0)).news);
    assert!(!told.take(given(&["203.0.113.9", "203.0.113.7", "203.0.113.5"]), &[], at(1)).news);
    assert!(told.take(given(&["203.0.113.9", "203.0.113.7"]), &[], at(2)).news);
}

const SHOP: &str = "
tier: Production
components:
- name: monolith
  system: Legacy
  source: {external: {host: app-01.dc.example.com, ipFamilies: [IPv4, IPv6], port: 8080}}
";

/// The addresses that proxies are told of.
fn published(world: &World) -> BTreeSet<IpAddr> {
    let observed = world.observe();
    let all = observed.slices.values().flat_map(|view| view.addresses.iter());
    all.map(|address| address.parse().unwrap()).collect()
}

/// Carries a plan out step by step, and says what was published after each.
fn carried(world: &mut World, plan: &Plan) -> Vec<BTreeSet<IpAddr>> {
    let one = |step: &Step| Plan { steps: vec![step.clone()], ..Plan::default() };
    plan.steps
        .iter()
        .map(|step| {
            world.apply(&one(step));
            published(world)
        })
        .collect()
}

fn hear(world: &mut World, family: IpFamily, answer: Answer, second: i64) {
    let told = world.told.entry("monolith".into()).or_default();
    told.entry(V4).or_default();
    told.entry(V6).or_default();
    told.get_mut(&family).unwrap().take(answer, &forbidden(), at(second));
}

#[test]
fn addresses_that_change_family_come_before_the_former_go() {
    let environment = valid(SHOP);
    let mut world = World::new();
    hear(&mut world, V4, given(&["203.0.113.7"]), 0);
    hear(&mut world, V6, nothing(), 0);
    let plan = decide(&environment, &world.observe());
    world.apply(&plan);
    assert_eq!(published(&world), addresses(&["203.0.113.7"]));
    // The name moves: first one family is asked, then the other.
    hear(&mut world, V4, nothing(), 1);
    assert_eq!(decide(&environment, &world.observe()).steps, Vec::new());
    hear(&mut world, V6, given(&["2001:db8::7"]), 2);
    let plan = decide(&environment, &world.observe());
    assert_eq!(carried(&mut world, &plan), [addresses(&["203.0.113.7", "2001:db8::7"]), addresses(&["2001:db8::7"])]);
}

#[test]
fn another_host_takes_over_once_it_is_resolved() {
    let environment = valid(SHOP);
    let mut world = World::new();
    hear(&mut world, V4, given(&["203.0.113.7"]), 0);
    let plan = decide(&environment, &world.observe());
    world.apply(&plan);
    let moved = valid(&SHOP.replace("app-01", "app-02"));
    world.told.clear();
    hear(&mut world, V4, failed(), 1);
    assert_eq!(decide(&moved, &world.observe()).steps, Vec::new(), "the addresses of before are better than none");
    hear(&mut world, V4, given(&["203.0.113.8"]), 2);
    let plan = decide(&moved, &world.observe());
    assert_eq!(carried(&mut world, &plan), [addresses(&["203.0.113.8"])], "one write takes both over");
}

fn tell(
    environment: &Validated,
    world: &mut World,
    previous: &EnvironmentStatus,
    now: i64,
) -> (EnvironmentStatus, Vec<&'static str>) {
    world.seen = previous.components.first().and_then(|last| Some(last.resolved.as_ref()?.last_seen.0));
    let plan = decide(environment, &world.observe());
    let applied: Applied = world.apply(&plan);
    let verdict = Verdict::Carried { environment, plan: &plan, applied: &applied };
    let next = status(&identity(), Some(1), previous, &verdict, &world.observe(), None, at(now));
    let notes = notes(previous, &next, &applied).into_iter().map(|note| note.reason).collect();
    (next, notes)
}

fn condition(status: &EnvironmentStatus, type_: &str) -> Option<(String, String)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((found.reason.clone(), found.message.clone()))
}

#[test]
fn a_name_that_is_not_resolved_is_told_also_by_the_next_process_until_it_is_again() {
    let environment = valid(SHOP);
    let mut world = World::new();
    let degraded = |status: &EnvironmentStatus| condition(status, types::RESOLUTION_DEGRADED);
    hear(&mut world, V6, nothing(), 0);
    let (status, _) = tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
    assert_eq!(
        condition(&status, types::READY).unwrap(),
        (reasons::NAME_NOT_RESOLVED.into(), "monolith: its host name is being resolved".into())
    );
    assert_eq!(degraded(&status), None, "that a part is known is no failure of the rest");
    hear(&mut world, V4, failed(), 1);
    let (status, notes) = tell(&environment, &mut world, &status, 1);
    let (reason, message) = degraded(&status).unwrap();
    assert_eq!(
        (reason.as_str(), notes.as_slice()),
        (reasons::NAME_NOT_RESOLVED, [reasons::NAME_NOT_RESOLVED].as_slice())
    );
    assert_eq!(
        message,
        "monolith: app-01.dc.example.com is not resolved (A: SERVFAIL, AAAA: no record): and no address of it is known; it is asked for again in about 5s"
    );

    hear(&mut world, V4, given(&["203.0.113.7"]), 10);
    let (good, _) = tell(&environment, &mut world, &status, 10);
    assert_eq!((condition(&good, types::READY).unwrap().0.as_str(), degraded(&good)), (reasons::AS_DECLARED, None));
    let seen = |status: &EnvironmentStatus| status.components[0].resolved.clone().unwrap().last_seen.0;
    assert_eq!(seen(&good), at(10));
    // Nothing is written with each answer.
    hear(&mut world, V4, given(&["203.0.113.7"]), 70);
    assert_eq!(tell(&environment, &mut world, &good, 70).0, good);

    hear(&mut world, V4, failed(), 130);
    let (bad, notes) = tell(&environment, &mut world, &good, 130);
    assert_eq!(
        condition(&bad, types::READY).unwrap().0,
        reasons::AS_DECLARED,
        "what is published is as good as before"
    );
    let (_, message) = degraded(&bad).unwrap();
    assert_eq!(seen(&bad), at(70), "when it was really seen last");
    let wanted = format!(": its address, last seen {}, stays; it is asked for again in about 5s", at(70));
    assert!(message.contains(&wanted), "{message}");
    assert!(bad.components[0].message.as_ref().unwrap().contains(&wanted), "{:?}", bad.components[0].message);
    assert_eq!(notes, [reasons::NAME_NOT_RESOLVED]);

    // Another process: it has asked nobody yet, and then nobody answers it either.
    world.told.clear();
    world.settled.clear();
    world.told.insert("monolith".into(), [(V4, Told::default()), (V6, Told::default())].into());
    let (again, notes) = tell(&environment, &mut world, &bad, 140);
    assert_eq!((again, notes), (bad.clone(), Vec::new()));
    hear(&mut world, V6, failed(), 150);
    hear(&mut world, V4, failed(), 150);
    let (still, notes) = tell(&environment, &mut world, &bad, 150);
    assert_eq!((seen(&still), notes), (at(70), Vec::new()));
    assert_eq!(published(&world), addresses(&["203.0.113.7"]));

    hear(&mut world, V4, given(&["203.0.113.7"]), 200);
    let (good, _) = tell(&environment, &mut world, &still, 200);
    assert_eq!((degraded(&good), seen(&good)), (None, at(200)));
}

#[test]
fn addresses_that_may_not_be_used_are_told() {
    let environment = valid(SHOP);
    let mut world = World::new();
    hear(&mut world, V4, given(&["203.0.113.7", "198.51.100.9"]), 0);
    hear(&mut world, V6, nothing(), 0);
    let (status, _) = tell(&environment, &mut world, &EnvironmentStatus::default(), 0);
    let (reason, message) = condition(&status, types::RESOLUTION_DEGRADED).unwrap();
    assert_eq!(reason, reasons::ADDRESSES_REFUSED);
    assert!(message.contains("left out of the addresses of app-01.dc.example.com: 198.51.100.9 is in 198.51.100.0/24"));
    assert!(status.components[0].ready);
}

#[derive(Clone, Debug)]
enum Move {
    Hear(IpFamily, Answer),
    Restart,
    /// Somebody removes what is published.
    Lose(usize),
}

fn an_answer(family: IpFamily) -> impl Strategy<Value = Answer> {
    let pool = match family {
        V4 => ["203.0.113.1", "203.0.113.2", "203.0.113.3", "198.51.100.1", "127.0.0.1"],
        V6 => ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:f::1", "::1"],
    };
    let addresses = prop::sample::subsequence(pool.to_vec(), 1..=pool.len()).prop_shuffle();
    prop_oneof![
        4 => addresses.prop_map(|texts| given(&texts)),
        1 => Just(nothing()),
        2 => Just(failed()),
    ]
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        5 => an_answer(V4).prop_map(|answer| Move::Hear(V4, answer)),
        4 => an_answer(V6).prop_map(|answer| Move::Hear(V6, answer)),
        1 => Just(Move::Restart),
        1 => (0..2_usize).prop_map(Move::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_published_is_usable_and_never_nothing_again(moves in prop::collection::vec(a_move(), 1..24)) {
        let environment = valid(SHOP);
        let mut world = World::new();
        hear(&mut world, V4, failed(), 0);
        for (second, one) in (1..).zip(moves) {
            match &one {
                Move::Hear(family, answer) => hear(&mut world, *family, answer.clone(), second),
                Move::Restart => {
                    world.settled.clear();
                    world.told.insert("monolith".into(), [(V4, Told::default()), (V6, Told::default())].into());
                }
                Move::Lose(index) => {
                    let slices = |body: &Body| matches!(body, Body::EndpointSlice(_));
                    let all: Vec<_> = world.objects.iter().filter(|(_, it)| slices(&it.body)).map(|(at, _)| at.clone()).collect();
                    // The last one is the only memory of a process that has heard nothing.
                    if let (Some(object), true) = (all.get(*index), all.len() > 1) {
                        world.objects.remove(object);
                    }
                }
            }
            let before = published(&world);
            let plan = decide(&environment, &world.observe());
            for now in carried(&mut world, &plan) {
                prop_assert!(!now.is_empty() || before.is_empty(), "{one:?} took away {before:?}");
                let allowed = |address: &IpAddr| !address.is_loopback() && !forbidden().iter().any(|net| net.contains(address));
                prop_assert!(now.iter().all(allowed), "{now:?}");
            }
            // A good answer is in force as it is, apart from what may not be used.
            if let Move::Hear(family, answer @ Answer::Addresses { .. }) = &one {
                let only = told(std::slice::from_ref(answer));
                let wanted = next(&Published::default(), &BTreeMap::from([(*family, only)]), &forbidden()).addresses;
                let now: BTreeSet<IpAddr> = published(&world).into_iter().filter(|it| family.has(it)).collect();
                prop_assert!(wanted.is_empty() || now == wanted, "{now:?} instead of {wanted:?}");
            }
            prop_assert_eq!(decide(&environment, &world.observe()).steps, Vec::new(), "at rest");
        }
    }
}
