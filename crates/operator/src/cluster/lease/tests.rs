mod election;
mod simulation;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use rstest::rstest;

use super::{
    Skew,
    evaluate::{Decision, Mono, Record, Seen, evaluate},
    tracker::{Answer, Step, Timing, Tracker, Why},
};

const fn s(seconds: u64) -> Mono {
    Duration::from_secs(seconds)
}

fn timing() -> Timing {
    Timing { lease: s(15), renew_deadline: s(10), retry: s(2) }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn record(holder: &str, renewed: i64) -> Record {
    Record {
        holder: Some(holder.to_owned()).filter(|holder| !holder.is_empty()),
        duration: s(15),
        transitions: 3,
        acquired: Some(at(0)),
        renewed: Some(at(renewed)),
    }
}

fn lease(holder: &str, renewed: i64, version: &str) -> Lease {
    let mut lease = Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            acquire_time: Some(MicroTime(at(0))),
            renew_time: Some(MicroTime(at(renewed))),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    };
    lease.metadata.name = Some("cutover-operator".to_owned());
    lease.metadata.resource_version = Some(version.to_owned());
    lease
}

fn present(lease: Lease) -> Answer {
    Answer::Current(Some(Box::new(lease)))
}

#[rstest]
#[case::no_lease(None, None, false, Decision::Create)]
#[case::no_lease_while_leading(None, Some(("me", 90)), true, Decision::Create)]
#[case::deleted_under_a_living_holder(None, Some(("other", 90)), false, Decision::WaitUntil(s(105)))]
#[case::deleted_long_after_the_holder_died(None, Some(("other", 85)), false, Decision::Create)]
#[case::deleted_after_release(None, Some(("", 99)), false, Decision::Create)]
#[case::ours(Some("me"), Some(("me", 10)), true, Decision::Renew)]
#[case::ours_by_an_answer_that_was_lost(Some("me"), Some(("other", 10)), false, Decision::Renew)]
#[case::given_back(Some(""), Some(("", 99)), false, Decision::Take)]
#[case::first_sight_of_another(Some("other"), None, false, Decision::WaitUntil(s(115)))]
#[case::another_seen_lately(Some("other"), Some(("other", 86)), false, Decision::WaitUntil(s(101)))]
#[case::another_not_changed_for_its_duration(Some("other"), Some(("other", 85)), false, Decision::Take)]
#[case::another_while_leading(Some("other"), Some(("me", 99)), true, Decision::Lost { holder: "other".into() })]
fn the_decision_follows_from_the_record_and_when_it_was_seen(
    #[case] holder: Option<&str>,
    #[case] last: Option<(&str, u64)>,
    #[case] leading: bool,
    #[case] expected: Decision,
) {
    let lease = holder.map(|holder| record(holder, 0));
    let last = last.map(|(holder, seen)| Seen { record: record(holder, 0), at: s(seen) });
    assert_eq!(evaluate(lease.as_ref(), last.as_ref(), "me", leading, s(100)), expected);
}

#[test]
fn a_renewal_seen_restarts_the_wait_whatever_its_timestamps_say() {
    // The holder's clock is a day behind: its renewals look ancient.
    let seen = Seen { record: record("other", -86_400), at: s(50) };
    let renewed = record("other", -86_398);
    assert_eq!(evaluate(Some(&renewed), Some(&seen), "me", false, s(64)), Decision::WaitUntil(s(79)));
    assert_eq!(evaluate(Some(&seen.record), Some(&seen), "me", false, s(64)), Decision::WaitUntil(s(65)));
}

#[test]
fn the_holders_own_duration_is_waited_out_not_ours() {
    let mut long = record("other", 0);
    long.duration = s(60);
    let seen = Seen { record: long.clone(), at: s(0) };
    assert_eq!(evaluate(Some(&long), Some(&seen), "me", false, s(59)), Decision::WaitUntil(s(60)));
    assert_eq!(evaluate(Some(&long), Some(&seen), "me", false, s(60)), Decision::Take);
}

fn tracker() -> Tracker {
    Tracker::new("me".to_owned(), "cutover-operator".to_owned(), timing())
}

fn written(step: Step, version: &str) -> Lease {
    match step {
        Step::Create(lease) | Step::Replace(lease) => {
            let mut lease = *lease;
            lease.metadata.resource_version = Some(version.to_owned());
            lease
        }
        other => panic!("expected a write, got {other:?}"),
    }
}

#[test]
fn taking_counts_the_transition_and_carries_the_resource_version_and_renewing_does_not_count() {
    let mut me = tracker();
    me.answered(s(0), present(lease("", 0, "7")), s(0));
    let Step::Replace(taken) = me.next(s(0), at(50)) else { panic!() };
    let spec = taken.spec.clone().unwrap();
    assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(4)));
    assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(at(50))), Some(MicroTime(at(50)))));

    me.answered(s(0), Answer::Written(Box::new(written(Step::Replace(taken), "8"))), s(0));
    assert_eq!(me.next(s(1), at(51)), Step::Wait(s(2)));
    let Step::Replace(renewed) = me.next(s(2), at(52)) else { panic!() };
    let spec = renewed.spec.unwrap();
    assert_eq!(renewed.metadata.resource_version.as_deref(), Some("8"));
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(4), Some(15)));
    assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(at(50))), Some(MicroTime(at(52)))));
}

#[test]
fn the_deadline_counts_from_the_sending_of_the_last_confirmed_renewal() {
    let mut me = tracker();
    me.answered(s(0), Answer::Current(None), s(0));
    let created = written(me.next(s(0), at(0)), "1");
    me.answered(s(0), Answer::Written(Box::new(created.clone())), s(3));
    assert_eq!(me.deadline(), Some(s(10)));
    me.answered(s(3), Answer::Failed, s(8));
    assert_eq!(me.next(s(8), at(8)), Step::Wait(s(10)));
    assert_eq!(me.next(s(10), at(10)), Step::Lost(Why::Deadline));
    // An answer that comes too late revives nothing.
    me.answered(s(8), Answer::Written(Box::new(created)), s(11));
    assert_eq!(me.next(s(20), at(20)), Step::Lost(Why::Deadline));
}

#[test]
fn a_candidate_whose_take_was_answered_too_late_does_not_lead_on_it() {
    let mut me = tracker();
    me.answered(s(0), Answer::Current(None), s(0));
    let created = written(me.next(s(0), at(0)), "1");
    me.answered(s(0), Answer::Written(Box::new(created)), s(12));
    assert_eq!(me.deadline(), None);
    assert!(matches!(me.next(s(12), at(12)), Step::Replace(_)), "it renews first");
}

#[test]
fn after_a_lost_answer_the_lease_is_read_before_it_is_written_again() {
    let mut me = tracker();
    me.answered(s(0), present(lease("", 0, "7")), s(0));
    let taken = written(me.next(s(0), at(0)), "8");
    me.answered(s(0), Answer::Failed, s(5));
    assert_eq!(me.next(s(5), at(5)), Step::Wait(s(7)));
    assert_eq!(me.next(s(7), at(7)), Step::Observe);
    me.answered(s(7), present(taken), s(7));
    let Step::Replace(renewal) = me.next(s(7), at(7)) else { panic!() };
    assert_eq!(renewal.metadata.resource_version.as_deref(), Some("8"));
    assert_eq!(renewal.spec.unwrap().lease_transitions, Some(4), "it is ours already");
}

#[test]
fn only_our_own_lease_is_given_back() {
    let me = tracker();
    assert_eq!(me.released(&lease("other", 0, "9"), at(1)), None);
    let released = me.released(&lease("me", 0, "9"), at(1)).unwrap();
    assert_eq!(released.metadata.resource_version.as_deref(), Some("9"));
    assert_eq!(Record::read(&released, s(15)).holder, None);
}

#[rstest]
#[case(15, 10, 2_000, None)]
#[case(3, 2, 500, None)]
#[case(0, 0, 1, Some("whole seconds"))]
#[case(10, 10, 2_000, Some("shorter"))]
#[case(15, 10, 5_001, Some("half"))]
#[case(15, 10, 0, Some("positive"))]
fn durations_are_checked(#[case] lease: u64, #[case] renew: u64, #[case] retry_ms: u64, #[case] message: Option<&str>) {
    let timing = Timing { lease: s(lease), renew_deadline: s(renew), retry: Duration::from_millis(retry_ms) };
    match (timing.validate(), message) {
        (Ok(()), None) => {}
        (Err(error), Some(message)) => assert!(error.contains(message), "{error}"),
        (result, message) => panic!("{result:?}, expected {message:?}"),
    }
}

#[rstest]
#[case("Tue, 14 Nov 2023 22:13:20 GMT", 0, false)]
#[case("Tue, 14 Nov 2023 22:13:30 GMT", 10, true)]
#[case("Tue, 14 Nov 2023 22:13:10 GMT", -10, true)]
#[case("Tue, 14 Nov 2023 22:13:25 GMT", 5, false)]
fn skew_is_read_from_the_date_header(#[case] date: &str, #[case] seconds: i64, #[case] exceeds: bool) {
    let mut headers = http::HeaderMap::new();
    headers.insert("date", date.parse().unwrap());
    let skew = Skew::measure(&headers, at(0), Duration::from_millis(200)).unwrap();
    assert_eq!(skew.offset.as_millis(), i128::from(seconds * 1_000 + 400), "half a second and half the round trip");
    assert_eq!(skew.uncertainty, Duration::from_millis(600));
    assert_eq!(skew.exceeds(s(5)), exceeds);
}

#[test]
fn no_date_is_no_measurement() {
    let mut headers = http::HeaderMap::new();
    assert_eq!(Skew::measure(&headers, at(0), s(0)), None);
    headers.insert("date", "yesterday".parse().unwrap());
    assert_eq!(Skew::measure(&headers, at(0), s(0)), None);
}
