//! Against a small server on the loopback address, and a scripted API server.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, routing::get};
use cutover_api::HumanDuration;
use futures::{FutureExt, StreamExt};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::{
    cluster::{
        scripted::{Scripted, server},
        stores::listed_index,
    },
    outbound::{self, reach::Reach},
};

const JOBS: &str = "/apis/batch/v1/namespaces/shop/jobs";
const PODS: &str = "/api/v1/namespaces/shop/pods";

fn probes() -> Probes {
    Probes::new(Reach::new(&["127.0.0.0/8".parse().unwrap()]), outbound::roots(None).unwrap())
}

fn source(url: String) -> HttpVersion {
    HttpVersion {
        url,
        pointer: "/version".into(),
        interval: HumanDuration::from_secs(60),
        timeout: HumanDuration::from_secs(5),
        ca_bundle: None,
    }
}

fn no_jobs() -> Jobs {
    Jobs::new(server().0, listed_index(Vec::new()), "cutover.dev/test")
}

fn production() -> Key {
    Key::new("shop", "production")
}

/// A server whose version is the number of times that it was asked.
async fn counting() -> (HttpVersion, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let answer = async move || format!("{{\"version\": {}}}", count.fetch_add(1, Ordering::SeqCst) + 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/schema", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/schema", get(answer))).await });
    (source(url), asked)
}

#[tokio::test]
async fn a_server_is_asked_at_its_interval_and_its_environment_looked_at_again() {
    let (source, asked) = counting().await;
    let source = VersionSource::Http(source);
    let (versions, mut told) = Versions::new(probes(), no_jobs());
    let (key, began) = (production(), Instant::now());
    assert_eq!(versions.told(&key, &source), None);
    assert_eq!(versions.drive(&key, Some(&source), began), Some(Duration::from_secs(60)));
    // What is under way is not asked once more.
    versions.drive(&key, Some(&source), began + Duration::from_secs(61));
    assert_eq!(told.next().await, Some(key.clone()));
    assert_eq!(versions.told(&key, &source), Some(Ok(1)));
    assert_eq!(versions.drive(&key, Some(&source), began + Duration::from_secs(20)), Some(Duration::from_secs(40)));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    versions.drive(&key, Some(&source), began + Duration::from_secs(60));
    // While it is asked again, what it told last stays.
    assert_eq!(versions.told(&key, &source), Some(Ok(1)));
    assert_eq!(told.next().await, Some(key.clone()));
    assert_eq!(versions.told(&key, &source), Some(Ok(2)));
}

#[tokio::test]
async fn what_another_source_told_is_not_taken_for_this_one() {
    let (http, _) = counting().await;
    let source = VersionSource::Http(http.clone());
    let (versions, mut told) = Versions::new(probes(), no_jobs());
    let key = production();
    versions.drive(&key, Some(&source), Instant::now());
    told.next().await;
    let other = VersionSource::Http(HttpVersion { pointer: "/other".into(), ..http });
    assert_eq!(versions.told(&key, &other), None);
    versions.drive(&key, Some(&other), Instant::now());
    assert_eq!(told.next().await, Some(key.clone()));
    let why = versions.told(&key, &other).unwrap().unwrap_err();
    assert!(why.contains("there is no whole number at /other"), "{why}");
    assert_eq!(versions.drive(&key, None, Instant::now()), None);
    assert_eq!(versions.told(&key, &other), None);
}

#[tokio::test]
async fn a_server_out_of_reach_tells_nothing() {
    let (versions, mut told) = Versions::new(Probes::default(), no_jobs());
    let (key, source) = (production(), VersionSource::Http(source("http://127.0.0.1:1/".into())));
    versions.drive(&key, Some(&source), Instant::now());
    told.next().await;
    let why = versions.told(&key, &source).unwrap().unwrap_err();
    assert!(why.contains("a loopback address"), "{why}");
}

/// A Job that ends in this condition as soon as it is made, what is told then, and the server.
fn asked_of_a_job(condition: &str) -> (VersionSource, Versions, impl Stream<Item = Key> + use<>, Scripted) {
    let (client, api) = server();
    let shown = json!({
        "metadata": {"name": "production-1", "namespace": "shop", "labels": {"cutover.dev/owner-kind": "Environment"}},
        "status": {"conditions": [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded"}]},
    });
    let jobs = Jobs::new(client, listed_index(vec![shown]), "cutover.dev/test");
    let (versions, told) = Versions::new(Probes::default(), jobs);
    let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "production-"}});
    let (interval, timeout) = (Duration::from_secs(600), Duration::from_secs(60));
    (VersionSource::Job { body, interval, timeout }, versions, told, api)
}

async fn made(api: &mut Scripted) {
    let job = api.expect(Method::POST, JOBS).await;
    assert_eq!(job.parameter("fieldManager").as_deref(), Some("cutover.dev/test"));
    assert_eq!(job.body["metadata"]["generateName"], "production-");
    job.answer(StatusCode::CREATED, &json!({"metadata": {"name": "production-1", "namespace": "shop"}}));
}

/// The one pod of the Job, in this phase.
async fn looked_at(api: &mut Scripted, phase: &str, exit_code: i32) {
    let pods = api.expect(Method::GET, PODS).await;
    assert_eq!(pods.parameter("labelSelector").as_deref(), Some("batch.kubernetes.io/job-name=production-1"));
    let status = json!({"name": "ask", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": exit_code}}});
    let pod = json!({
        "metadata": {"name": "pod-1"}, "spec": {"containers": [{"name": "ask"}, {"name": "other"}]},
        "status": {"phase": phase, "containerStatuses": [status]},
    });
    pods.ok(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]}));
}

#[tokio::test]
async fn a_job_prints_the_version_and_the_next_is_made_at_its_interval() {
    let (source, versions, mut told, mut api) = asked_of_a_job("Complete");
    let (key, began) = (production(), Instant::now());
    assert_eq!(versions.drive(&key, Some(&source), began), Some(Duration::from_secs(600)));
    made(&mut api).await;
    // However long it takes, there is one at a time.
    versions.drive(&key, Some(&source), began + Duration::from_secs(6_000));
    looked_at(&mut api, "Succeeded", 0).await;
    let log = api.expect(Method::GET, "/api/v1/namespaces/shop/pods/pod-1/log").await;
    assert_eq!(log.parameter("container").as_deref(), Some("ask"), "the first of them");
    log.ok(&json!(43));
    assert_eq!(told.next().await, Some(key.clone()));
    assert_eq!(versions.told(&key, &source), Some(Ok(43)));
    versions.drive(&key, Some(&source), began + Duration::from_secs(599));
    assert!(told.next().now_or_never().is_none());
    versions.drive(&key, Some(&source), began + Duration::from_secs(600));
    made(&mut api).await;
    assert_eq!(versions.told(&key, &source), Some(Ok(43)), "what was printed last stays meanwhile");
    looked_at(&mut api, "Succeeded", 0).await;
    api.expect(Method::GET, "/api/v1/namespaces/shop/pods/pod-1/log").await.ok(&json!("no route to db"));
    told.next().await;
    let why = versions.told(&key, &source).unwrap().unwrap_err();
    assert!(why.contains("Job production-1 has printed is no whole number") && why.contains("no route"), "{why}");
}

#[tokio::test]
async fn a_job_that_fails_or_cannot_be_made_tells_no_version() {
    let (source, versions, mut told, mut api) = asked_of_a_job("Failed");
    let key = production();
    versions.drive(&key, Some(&source), Instant::now());
    made(&mut api).await;
    looked_at(&mut api, "Failed", 3).await;
    api.expect(Method::GET, "/api/v1/namespaces/shop/pods/pod-1/log").await.ok(&json!(43));
    told.next().await;
    let why = versions.told(&key, &source).unwrap().unwrap_err();
    assert!(why.starts_with("Job production-1 failed with exit code 3: BackoffLimitExceeded"), "{why}");

    let (source, versions, mut told, mut api) = asked_of_a_job("Complete");
    versions.drive(&key, Some(&source), Instant::now());
    api.expect(Method::POST, JOBS).await.refuse(StatusCode::FORBIDDEN, "Forbidden");
    told.next().await;
    let why = versions.told(&key, &source).unwrap().unwrap_err();
    assert!(why.contains("its Job could not be made: "), "{why}");
}

#[tokio::test]
async fn a_version_whose_output_cannot_be_read_is_not_known() {
    let (source, versions, mut told, mut api) = asked_of_a_job("Complete");
    let key = production();
    versions.drive(&key, Some(&source), Instant::now());
    made(&mut api).await;
    looked_at(&mut api, "Succeeded", 0).await;
    api.expect(Method::GET, "/api/v1/namespaces/shop/pods/pod-1/log").await.refuse(StatusCode::BAD_GATEWAY, "Away");
    told.next().await;
    let why = versions.told(&key, &source).unwrap().unwrap_err();
    assert!(why.contains("what Job production-1 has printed could not be read"), "{why}");
}
