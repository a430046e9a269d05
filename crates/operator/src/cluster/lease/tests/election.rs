//! The elector against a scripted API server, on paused time.

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{super::*, lease, s, timing};
use crate::cluster::scripted::{Exchange, Scripted, server};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/cutover-system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/cutover-system/leases/cutover-operator";

struct Candidate {
    leadership: Leadership,
    skew: watch::Receiver<Option<Skew>>,
    release: CancellationToken,
    end: JoinHandle<End>,
}

fn candidate() -> (Candidate, Scripted) {
    let (client, server) = server();
    let (elector, leadership, skew) = Elector::new(client, "cutover-system", "cutover-operator", "me".into(), timing());
    let release = CancellationToken::new();
    let end = tokio::spawn(elector.run(release.clone()));
    (Candidate { leadership, skew, release, end }, server)
}

fn value(lease: &k8s_openapi::api::coordination::v1::Lease) -> Value {
    serde_json::to_value(lease).unwrap()
}

/// Answers a write with what was written, under a new version.
fn accept(exchange: Exchange, version: &str) {
    let mut body = exchange.body.clone();
    body["metadata"]["resourceVersion"] = version.into();
    exchange.ok(&body);
}

async fn lead(server: &mut Scripted) {
    server.expect(Method::GET, LEASE).await.refuse(StatusCode::NOT_FOUND, "NotFound");
    accept(server.expect(Method::POST, LEASES).await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_missing_lease_is_created_and_then_renewed_at_the_retry_period() {
    let (candidate, mut server) = candidate();
    assert_eq!(candidate.leadership.check(), Err(NotLeader));
    server.expect(Method::GET, LEASE).await.refuse(StatusCode::NOT_FOUND, "NotFound");
    let create = server.expect(Method::POST, LEASES).await;
    assert_eq!(create.body["spec"]["holderIdentity"], "me");
    accept(create, "1");
    candidate.leadership.acquired().await.unwrap();
    candidate.leadership.check().unwrap();
    let start = Instant::now();
    for version in 2..6 {
        let renew = server.expect(Method::PUT, LEASE).await;
        assert_eq!(renew.body["metadata"]["resourceVersion"], (version - 1).to_string());
        assert_eq!(start.elapsed().as_secs(), 2 * (version - 1), "the only periodic request");
        accept(renew, &version.to_string());
    }
    candidate.leadership.check().unwrap();
    candidate.end.abort();
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_looked_at_and_a_foreign_holder_ends_leadership_at_once() {
    let (candidate, mut server) = candidate();
    lead(&mut server).await;
    server.expect(Method::PUT, LEASE).await.refuse(StatusCode::CONFLICT, "Conflict");
    candidate.leadership.check().unwrap();
    server.expect(Method::GET, LEASE).await.ok(&value(&lease("other", 0, "9")));
    candidate.leadership.ended().await;
    assert_eq!(candidate.leadership.check(), Err(NotLeader));
    assert_eq!(candidate.end.await.unwrap(), End::Lost(Why::TakenBy("other".into())));
    server.no_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_by_somebodys_label_is_read_again_and_kept() {
    let (candidate, mut server) = candidate();
    lead(&mut server).await;
    server.expect(Method::PUT, LEASE).await.refuse(StatusCode::CONFLICT, "Conflict");
    let mut labelled = value(&lease("me", 0, "9"));
    labelled["metadata"]["labels"] = json!({"team": "edge"});
    server.expect(Method::GET, LEASE).await.ok(&labelled);
    let renew = server.expect(Method::PUT, LEASE).await;
    assert_eq!(
        (&renew.body["metadata"]["labels"]["team"], &renew.body["metadata"]["resourceVersion"]),
        (&json!("edge"), &json!("9"))
    );
    accept(renew, "10");
    candidate.leadership.check().unwrap();
    candidate.end.abort();
}

#[tokio::test(start_paused = true)]
async fn without_answers_writing_stops_at_the_deadline_and_the_process_is_told() {
    let (candidate, mut server) = candidate();
    lead(&mut server).await;
    candidate.leadership.acquired().await.unwrap();
    let start = Instant::now();
    let hold = async {
        let mut unanswered = Vec::new();
        loop {
            unanswered.push(server.next().await);
        }
    };
    tokio::select! {
        () = hold => unreachable!(),
        () = candidate.leadership.ended() => {}
    }
    assert_eq!(start.elapsed(), s(10));
    assert_eq!(candidate.leadership.check(), Err(NotLeader));
    assert_eq!(candidate.end.await.unwrap(), End::Lost(Why::Deadline));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_is_read_back_and_leadership_goes_on() {
    let (candidate, mut server) = candidate();
    lead(&mut server).await;
    let start = Instant::now();
    let lost = server.expect(Method::PUT, LEASE).await;
    let mut written = lost.body.clone();
    lost.lose();
    written["metadata"]["resourceVersion"] = "2".into();
    server.expect(Method::GET, LEASE).await.ok(&written);
    let renew = server.expect(Method::PUT, LEASE).await;
    assert_eq!(renew.body["metadata"]["resourceVersion"], "2");
    accept(renew, "3");
    assert_eq!(start.elapsed(), s(4));
    server.expect(Method::PUT, LEASE).await.lose();
    let remaining = candidate.leadership.remaining().unwrap().unwrap();
    assert_eq!(remaining, s(8), "counted from the last confirmed renewal, at 4 s");
    candidate.end.abort();
}

#[tokio::test(start_paused = true)]
async fn on_release_writing_stops_first_and_then_the_lease_is_given_back() {
    let (candidate, mut server) = candidate();
    lead(&mut server).await;
    candidate.leadership.acquired().await.unwrap();
    candidate.release.cancel();
    let read = server.expect(Method::GET, LEASE).await;
    assert_eq!(candidate.leadership.check(), Err(NotLeader), "before the lease is free");
    read.ok(&value(&lease("me", 3, "5")));
    let give = server.expect(Method::PUT, LEASE).await;
    assert_eq!(
        (&give.body["spec"]["holderIdentity"], &give.body["metadata"]["resourceVersion"]),
        (&json!(""), &json!("5"))
    );
    accept(give, "6");
    assert_eq!(candidate.end.await.unwrap(), End::Released);
    server.no_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_is_quiet_and_takes_a_lease_given_back_at_once() {
    let (candidate, mut server) = candidate();
    server.expect(Method::GET, LEASE).await.ok(&value(&lease("other", 0, "5")));
    let list = server.expect(Method::GET, LEASES).await;
    assert_eq!(list.parameter("fieldSelector").as_deref(), Some("metadata.name=cutover-operator"));
    let items = [value(&lease("other", 0, "5"))];
    list.ok(&json!({"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "metadata": {"resourceVersion": "5"}, "items": items}));
    let watch = server.expect(Method::GET, LEASES).await;
    assert_eq!(watch.parameter("watch").as_deref(), Some("true"));
    let start = Instant::now();
    watch.ok(&json!({"type": "MODIFIED", "object": value(&lease("", 1, "6"))}));
    let take = loop {
        // The scripted watch has ended; the client opens it again.
        let next = server.next().await;
        if next.method == Method::PUT {
            break next;
        }
    };
    assert_eq!(take.body["metadata"]["resourceVersion"], "6");
    assert_eq!(take.body["spec"]["leaseTransitions"], 4);
    accept(take, "7");
    candidate.leadership.acquired().await.unwrap();
    assert_eq!(start.elapsed(), s(0));
    candidate.end.abort();
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_a_dead_holders_lease_when_it_expires_and_no_earlier() {
    let (candidate, mut server) = candidate();
    let start = Instant::now();
    server.expect(Method::GET, LEASE).await.ok(&value(&lease("other", 0, "5")));
    let mut open = Vec::new();
    let take = loop {
        let next = server.next().await;
        match next.method {
            Method::PUT => break next,
            // The watch stays open and silent.
            _ if next.parameter("watch").is_some() => open.push(next),
            _ => next.ok(&json!({"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "metadata": {"resourceVersion": "5"}, "items": []})),
        }
    };
    assert_eq!(start.elapsed(), s(15));
    take.refuse(StatusCode::CONFLICT, "Conflict");
    // Another standby was faster: its lease is waited for from now.
    server.expect(Method::GET, LEASE).await.ok(&value(&lease("third", 20, "8")));
    let take = loop {
        let next = server.next().await;
        if next.method == Method::PUT {
            break next;
        }
        open.push(next);
    };
    assert_eq!(start.elapsed(), s(30));
    accept(take, "9");
    candidate.leadership.acquired().await.unwrap();
    candidate.end.abort();
}

#[tokio::test(start_paused = true)]
async fn a_standby_asked_to_stop_writes_nothing() {
    let (candidate, mut server) = candidate();
    server.expect(Method::GET, LEASE).await.ok(&value(&lease("other", 0, "5")));
    let list = server.expect(Method::GET, LEASES).await;
    candidate.release.cancel();
    assert_eq!(candidate.end.await.unwrap(), End::Released);
    drop(list);
    server.no_more().await;
}

#[tokio::test(start_paused = true)]
async fn clock_skew_is_published_from_every_answer() {
    let (mut candidate, mut server) = candidate();
    assert!(candidate.skew.borrow().is_none());
    let date = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60))
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let read = server.expect(Method::GET, LEASE).await;
    read.raw(Response::builder().status(StatusCode::OK).header("date", date), &value(&lease("other", 0, "5")));
    candidate.skew.changed().await.unwrap();
    let skew = candidate.skew.borrow().unwrap();
    assert!(skew.exceeds(s(50)) && !skew.exceeds(s(62)), "{skew:?}");
    candidate.end.abort();
}

#[test]
fn two_processes_in_one_pod_are_two_candidates() {
    let (one, other) = (identity("cutover-operator-0"), identity("cutover-operator-0"));
    assert!(one != other && one.starts_with("cutover-operator-0_"));
}
