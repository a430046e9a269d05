use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode, Uri};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use prometheus::Opts;
use rstest::rstest;
use serde_json::json;
use tokio::time::{Instant, advance};

use super::*;
use crate::cluster::lease::Tenure;

type Watch = tokio::sync::watch::Sender<Tenure>;

struct Bed {
    configs: Api<ConfigMap>,
    tenure: Watch,
    leadership: Leadership,
    sent: Arc<AtomicUsize>,
    counters: IntCounterVec,
}

/// A guarded client whose server answers everything after `answer_after`.
fn bed(answer_after: Duration, limiter: Option<Limiter>) -> Bed {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = tower::service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(answer_after).await;
            let body = if request.method() == Method::GET && request.uri().path().ends_with("/configmaps") {
                json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": []})
            } else {
                json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}})
            };
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(serde_json::to_vec(&body).unwrap()))))
        }
    });
    let counters = IntCounterVec::new(Opts::new("requests", "requests"), &["client", "verb", "code"]).unwrap();
    let (tenure, leadership) = Leadership::channel();
    let timeout = Duration::from_secs(10);
    let layer = GuardLayer::new("test", Some(leadership.clone()), limiter, timeout, counters.clone());
    let client = Client::new(layer.layer(server), "shop");
    Bed { configs: Api::default_namespaced(client), tenure, leadership, sent, counters }
}

fn lead(bed: &Bed, for_: Duration) {
    bed.tenure.send_replace(Tenure::Leading { until: Instant::now() + for_ });
}

async fn patch(bed: &Bed) -> kube::Result<ConfigMap> {
    bed.configs.patch("a", &PatchParams::apply("cutover.dev/test"), &Patch::Apply(json!({}))).await
}

#[tokio::test(start_paused = true)]
async fn writes_are_refused_unsent_unless_this_replica_leads_while_reads_go_on() {
    let bed = bed(Duration::ZERO, None);
    let writes = async || {
        let post = PostParams::default();
        let config = ConfigMap::default();
        let mut errors = Vec::new();
        errors.extend(bed.configs.create(&post, &config).await.err());
        errors.extend(patch(&bed).await.err());
        errors.extend(bed.configs.replace("a", &post, &config).await.err());
        errors.extend(bed.configs.delete("a", &DeleteParams::default()).await.err());
        errors
    };
    let standby = writes().await;
    assert!(standby.len() == 4 && standby.iter().all(is_not_leader), "{standby:?}");
    assert_eq!(bed.sent.load(Ordering::SeqCst), 0);

    lead(&bed, Duration::from_secs(5));
    assert!(writes().await.is_empty());
    assert_eq!(bed.sent.load(Ordering::SeqCst), 4);

    advance(Duration::from_secs(5)).await;
    let late = writes().await;
    assert!(late.len() == 4 && late.iter().all(is_not_leader), "{late:?}");
    assert_eq!(bed.sent.load(Ordering::SeqCst), 4, "nothing is sent past the deadline");

    bed.configs.get("a").await.unwrap();
    bed.configs.list(&ListParams::default()).await.unwrap();
    let dry = PatchParams { dry_run: true, ..PatchParams::apply("cutover.dev/test") };
    bed.configs.patch("a", &dry, &Patch::Apply(json!({}))).await.unwrap();
    assert_eq!(bed.sent.load(Ordering::SeqCst), 7);

    lead(&bed, Duration::from_secs(5));
    bed.tenure.send_replace(Tenure::Ended);
    assert!(is_not_leader(&patch(&bed).await.unwrap_err()));
    assert_eq!(bed.leadership.check(), Err(NotLeader));
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_is_cut_off_at_the_deadline() {
    let bed = bed(Duration::from_secs(8), None);
    lead(&bed, Duration::from_secs(3));
    let start = Instant::now();
    let error = patch(&bed).await.unwrap_err();
    assert!(is_not_leader(&error), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_ends_at_the_timeout_and_says_so() {
    let bed = bed(Duration::from_secs(60), None);
    lead(&bed, Duration::from_secs(3600));
    let start = Instant::now();
    for error in [patch(&bed).await.unwrap_err(), bed.configs.get("a").await.unwrap_err()] {
        assert!(is_timeout(&error) && super::super::is_retryable(&error), "{error}");
    }
    assert_eq!(start.elapsed(), Duration::from_secs(20));
    assert_eq!(bed.counters.with_label_values(&["test", "patch", "timeout"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_burst_are_spaced_out_and_counted() {
    let bed = bed(Duration::ZERO, Limiter::new(10, 5));
    lead(&bed, Duration::from_secs(3600));
    let start = Instant::now();
    for _ in 0..25 {
        patch(&bed).await.unwrap();
    }
    let took = start.elapsed();
    assert!((Duration::from_millis(2_000)..Duration::from_millis(2_100)).contains(&took), "{took:?}");
    assert_eq!(bed.counters.with_label_values(&["test", "patch", "200"]).get(), 25);
}

#[tokio::test(start_paused = true)]
async fn refused_writes_do_not_wait_for_a_place() {
    let bed = bed(Duration::ZERO, Limiter::new(1, 1));
    let start = Instant::now();
    for _ in 0..50 {
        assert!(is_not_leader(&patch(&bed).await.unwrap_err()));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[rstest]
#[case(Method::GET, "/api/v1/namespaces/shop/services/a", "get")]
#[case(Method::GET, "/api/v1/namespaces/shop/services", "list")]
#[case(Method::GET, "/api/v1/services?limit=100", "list")]
#[case(Method::GET, "/api/v1/namespaces", "list")]
#[case(Method::GET, "/api/v1/namespaces/shop", "get")]
#[case(Method::GET, "/apis/cutover.dev/v1alpha1/trafficsplits?watch=true&resourceVersion=1", "watch")]
#[case(Method::GET, "/apis/cutover.dev/v1alpha1/namespaces/shop/trafficsplits/a/status", "get")]
#[case(Method::GET, "/apis/networking.k8s.io/v1/ingressclasses", "list")]
#[case(Method::GET, "/apis/gateway.networking.k8s.io/v1", "get")]
#[case(Method::GET, "/version", "get")]
#[case(Method::POST, "/api/v1/namespaces/shop/services", "create")]
#[case(Method::PUT, "/api/v1/namespaces/shop/services/a", "update")]
#[case(Method::PATCH, "/api/v1/namespaces/shop/services/a", "patch")]
#[case(Method::DELETE, "/api/v1/namespaces/shop/services/a", "delete")]
#[case(Method::CONNECT, "/api/v1/namespaces/shop/pods/a/proxy", "delete")]
fn verbs_are_named_as_in_the_audit_log(#[case] method: Method, #[case] uri: Uri, #[case] verb: &str) {
    let found = Verb::of(&method, &uri);
    assert_eq!(found.name(), verb);
    assert_eq!(found.mutates(), !matches!(verb, "get" | "list" | "watch"));
}

#[tokio::test]
async fn a_watch_is_timed_only_until_its_head_and_then_streams() {
    use futures::TryStreamExt;
    let line = json!({"type": "ADDED", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}});
    let server = tower::service_fn(move |_: Request<Body>| {
        let text = format!("{line}\n");
        async move {
            let frames = futures::stream::unfold(0, move |count| {
                let text = text.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    let frame = http_body::Frame::data(Bytes::from(text));
                    (count < 2).then_some((Ok::<_, std::io::Error>(frame), count + 1))
                }
            });
            let body = http_body_util::StreamBody::new(frames);
            Ok::<_, BoxError>(Response::builder().status(StatusCode::OK).body(body).unwrap())
        }
    });
    let counters = IntCounterVec::new(Opts::new("requests", "requests"), &["client", "verb", "code"]).unwrap();
    let timeout = Duration::from_millis(100);
    let layer = GuardLayer::new("test", None, None, timeout, counters.clone());
    let configs: Api<ConfigMap> = Api::default_namespaced(Client::new(layer.layer(server), "shop"));
    let seen: Vec<_> =
        configs.watch(&kube::api::WatchParams::default(), "0").await.unwrap().try_collect().await.unwrap();
    assert_eq!(seen.len(), 2, "the stream outlives the timeout");
    assert_eq!(counters.with_label_values(&["test", "watch", "200"]).get(), 1);
    assert!(is_timeout(&configs.get("a").await.unwrap_err()), "an ordinary answer must be complete in time");
}
