use futures::FutureExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::cluster::{
    backoff::LONGEST_WATCH_PAUSE,
    scripted::{Exchange, Scripted, server},
};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP: &str = "/apis/gateway.networking.k8s.io/v1";

fn crd(name: &str, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": name, "resourceVersion": version},
    })
}

fn list(names: &[&str]) -> Value {
    let items: Vec<_> = names.iter().map(|name| crd(name, "1")).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "5"}, "items": items,
    })
}

fn group(plurals: &[&str]) -> Value {
    let resources: Vec<_> = plurals
        .iter()
        .map(|name| json!({"name": name, "singularName": "", "namespaced": true, "kind": "Any", "verbs": ["get"]}))
        .collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": "gateway.networking.k8s.io/v1", "resources": resources,
    })
}

fn start(kinds: &[Optional]) -> (Discovery, Scripted) {
    let (client, server) = server();
    (Discovery::start(client, kinds, CancellationToken::new()), server)
}

/// The next request that is not another watch of the CRDs; those are collected, and stay open and silent.
async fn next(server: &mut Scripted, watches: &mut Vec<Exchange>) -> Exchange {
    loop {
        let exchange = server.next().await;
        if exchange.path != CRDS {
            return exchange;
        }
        watches.push(exchange);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_installed_is_missing_and_found_when_its_crd_is_served() {
    let (discovery, mut server) = start(&[HTTP_ROUTES, GATEWAYS]);
    assert_eq!(discovery.is_served(HTTP_ROUTES), None, "not known is not missing");
    let mut routes = discovery.served(HTTP_ROUTES);
    let listing = server.expect(Method::GET, CRDS).await;
    listing.ok(&list(&["gateways.gateway.networking.k8s.io", "widgets.example.com"]));
    let mut watches = Vec::new();
    let question = next(&mut server, &mut watches).await;
    assert_eq!(question.path, GROUP);
    question.ok(&group(&["gateways"]));
    routes.wait_for(|served| *served == Some(false)).await.unwrap();
    discovery.served(GATEWAYS).wait_for(|served| *served == Some(true)).await.unwrap();

    let watch = match watches.pop() {
        Some(watch) => watch,
        None => server.expect(Method::GET, CRDS).await,
    };
    assert_eq!(watch.parameter("watch").as_deref(), Some("true"));
    watch.ok(&json!({"type": "ADDED", "object": crd("httproutes.gateway.networking.k8s.io", "6")}));
    // Announced, but not served in the first moments.
    next(&mut server, &mut watches).await.ok(&group(&["gateways"]));
    next(&mut server, &mut watches).await.refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    assert_eq!(*routes.borrow(), Some(false));
    next(&mut server, &mut watches).await.ok(&group(&["gateways", "httproutes"]));
    routes.wait_for(|served| *served == Some(true)).await.unwrap();

    let watch = watches.pop().unwrap();
    watch.ok(&json!({"type": "DELETED", "object": crd("httproutes.gateway.networking.k8s.io", "9")}));
    routes.wait_for(|served| *served == Some(false)).await.unwrap();
    assert_eq!(discovery.is_served(GATEWAYS), Some(true));
}

#[tokio::test(start_paused = true)]
async fn an_outage_during_the_question_is_not_an_answer() {
    let (discovery, mut server) = start(&[HTTP_ROUTES]);
    let mut routes = discovery.served(HTTP_ROUTES);
    server.expect(Method::GET, CRDS).await.ok(&list(&["httproutes.gateway.networking.k8s.io"]));
    let (mut watches, start) = (Vec::new(), Instant::now());
    for _ in 0..12 {
        next(&mut server, &mut watches).await.refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        assert!(routes.changed().now_or_never().is_none(), "still unknown");
    }
    next(&mut server, &mut watches).await.ok(&group(&["httproutes"]));
    routes.wait_for(|served| *served == Some(true)).await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(20), "a busy server is not hurried: {:?}", start.elapsed());
    assert!(start.elapsed() <= 12 * LONGEST_WATCH_PAUSE, "nothing is ready before the answer: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_crds_may_not_be_watched_the_question_is_asked_once() {
    let (discovery, mut server) = start(&[HTTP_ROUTES]);
    server.expect(Method::GET, CRDS).await.refuse(StatusCode::FORBIDDEN, "Forbidden");
    server.expect(Method::GET, GROUP).await.refuse(StatusCode::NOT_FOUND, "NotFound");
    discovery.served(HTTP_ROUTES).wait_for(|served| *served == Some(false)).await.unwrap();
    server.no_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_crd_without_our_version_is_asked_for_a_few_times_and_then_left_until_it_changes() {
    let (discovery, mut server) = start(&[HTTP_ROUTES]);
    server.expect(Method::GET, CRDS).await.ok(&list(&["httproutes.gateway.networking.k8s.io"]));
    let (mut watches, mut asked) = (Vec::new(), 0);
    let mut routes = discovery.served(HTTP_ROUTES);
    tokio::select! {
        () = async {
            loop {
                next(&mut server, &mut watches).await.refuse(StatusCode::NOT_FOUND, "NotFound");
                asked += 1;
            }
        } => {}
        missing = routes.wait_for(|served| *served == Some(false)) => drop(missing.unwrap()),
    }
    assert_eq!(asked, 6);
    let quiet = tokio::time::timeout(Duration::from_secs(3600), next(&mut server, &mut watches));
    assert!(quiet.await.is_err(), "no polling");
}
