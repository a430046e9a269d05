//! Against a small server on the loopback address.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Router, routing::get};
use cutover_api::HumanDuration;
use futures::StreamExt;
use tokio::net::TcpListener;

use super::*;
use crate::outbound::{self, reach::Reach};

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
    let (versions, mut told) = Versions::new(probes());
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
    let (source, _) = counting().await;
    let (versions, mut told) = Versions::new(probes());
    let key = production();
    versions.drive(&key, Some(&source), Instant::now());
    told.next().await;
    let other = HttpVersion { pointer: "/other".into(), ..source.clone() };
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
    let (versions, mut told) = Versions::new(Probes::default());
    let (key, source) = (production(), source("http://127.0.0.1:1/".into()));
    versions.drive(&key, Some(&source), Instant::now());
    told.next().await;
    let why = versions.told(&key, &source).unwrap().unwrap_err();
    assert!(why.contains("a loopback address"), "{why}");
}
