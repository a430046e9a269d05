//! Sinks against receivers that are slow, fail, send elsewhere, or look closely.

use std::{
    fs,
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue},
    response::IntoResponse,
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use cutover_api::v1alpha1::migration_phase::AuditRecord;
use ring::hmac;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::metrics::Metrics;

const SECRET: &[u8] = b"a secret of twenty-four+";

type Received = (HeaderMap, String);

/// An answer: status, and a header with its value.
type Answer = (u16, &'static str, &'static str);

#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<Vec<Answer>>>,
    seen: mpsc::UnboundedSender<Received>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> impl IntoResponse {
    receiver.seen.send((headers, body)).unwrap();
    let (status, name, value) = receiver.answers.lock().unwrap().pop().unwrap_or((204, "x-nothing", "more"));
    (StatusCode::from_u16(status).unwrap(), [(name, HeaderValue::from_static(value))])
}

/// A receiver that gives these answers, the last first, and then 204; its URL, and what it receives.
async fn receiver(answers: &[Answer]) -> (String, mpsc::UnboundedReceiver<Received>) {
    let (seen, received) = mpsc::unbounded_channel();
    let state = Receiver { answers: Arc::new(Mutex::new(answers.to_vec())), seen };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/hook", post(receive)).with_state(state)).await });
    (url, received)
}

/// A receiver that accepts connections and never answers.
async fn silent() -> (String, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    (format!("http://{}", listener.local_addr().unwrap()), listener)
}

fn notification(sink: &str, number: i64) -> Notification {
    Notification {
        sink: sink.into(),
        event: NotifyOn::RolledBack,
        namespace: "shop".into(),
        phase: "30-shift".into(),
        uid: "p1".into(),
        step: Some("half".into()),
        by: Some("ana".into()),
        message: "back at <Baseline> & well".into(),
        record: AuditRecord {
            previous: String::new(),
            generation: 3,
            attempt: 2,
            sequence: number,
            at: "2026-11-20T10:15:00Z".into(),
            who: "ana".into(),
            what: "Rollback".into(),
            why: "see [this](https://evil.example.com)".into(),
            before: "RollingBack half/Soaking storefront=0".into(),
            after: "RolledBack half/Soaking".into(),
            hash: format!("hash-{number}"),
        },
    }
}

fn sink(name: &str, url: &str, format: Format) -> Sink {
    Sink {
        name: name.into(),
        url: Some(url.into()),
        url_file: None,
        format,
        secret_file: None,
        namespaces: None,
        always: BTreeSet::new(),
    }
}

/// A file of this test's own.
fn file(text: &str) -> std::path::PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("cutover-notify-{}-{number}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

fn whsec(key: &[u8]) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(key))
}

fn start(sinks: Vec<Sink>) -> (Notifier, Deliveries) {
    let millis = Duration::from_millis;
    start_with(sinks, Timing { first_pause: millis(5), longest_pause: millis(40), deadline: millis(5_000) })
}

fn start_with(sinks: Vec<Sink>, timing: Timing) -> (Notifier, Deliveries) {
    let deliveries = Metrics::new().unwrap().notifications;
    let http = crate::outbound::http_client(Duration::from_secs(60), None).unwrap();
    let sinks = Sinks { cluster: Some("prod".to_owned()), sinks };
    (Notifier::start(&http, sinks, deliveries.clone(), timing), deliveries)
}

async fn next(received: &mut mpsc::UnboundedReceiver<Received>) -> Received {
    tokio::time::timeout(Duration::from_secs(20), received.recv()).await.expect("nothing is received").unwrap()
}

async fn counted(deliveries: &Deliveries, sink: &str, outcome: &str, at_least: u64) {
    let reached = async {
        while deliveries.ended(sink, outcome) < at_least {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    reached.unwrap_or_else(|_| panic!("{outcome}: {}", deliveries.ended(sink, outcome)));
}

#[tokio::test]
async fn a_cloud_event_is_signed_and_tried_again_under_the_same_id() {
    let other = [7; 32];
    let secrets = file(&format!("{}\n{}\n", whsec(SECRET), whsec(&other)));
    let (url, mut received) = receiver(&[(429, "x", "y"), (503, "x", "y")]).await;
    let releases = Sink { secret_file: Some(secrets.clone()), ..sink("releases", &url, Format::CloudEvents) };
    let (notifier, deliveries) = start(vec![releases]);
    notifier.send(&notification("releases", 7));
    for _ in 0..3 {
        let (headers, body) = next(&mut received).await;
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!((header("webhook-id"), header("content-type")), ("hash-7", "application/cloudevents+json"));
        let timestamp: i64 = header("webhook-timestamp").parse().unwrap();
        assert!((Timestamp::now().as_second() - timestamp).abs() < 60);
        // As the specification says it is verified: one of the signatures is the HMAC of id, time and body.
        let signatures: Vec<&str> = header("webhook-signature").split(' ').collect();
        let signed = format!("hash-7.{timestamp}.{body}");
        for (signature, key) in signatures.iter().zip([SECRET, &other]) {
            let tag = BASE64_STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes(), &tag).unwrap();
        }
        assert_eq!(signatures.len(), 2, "one for each secret");
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            json!({
                "specversion": "1.0", "id": "hash-7", "type": "dev.cutover.phase.RolledBack", "subject": "30-shift",
                "source": "/apis/cutover.dev/v1alpha1/namespaces/shop/migrationphases/30-shift",
                "time": "2026-11-20T10:15:00Z", "datacontenttype": "application/json",
                "data": {
                    "event": "RolledBack", "cluster": "prod", "namespace": "shop", "phase": "30-shift", "uid": "p1",
                    "generation": 3, "attempt": 2, "step": "half", "by": "ana",
                    "reason": "see [this](https://evil.example.com)", "message": "back at <Baseline> & well",
                    "before": "RollingBack half/Soaking storefront=0", "after": "RolledBack half/Soaking",
                    "audit": {"sequence": 7, "hash": "hash-7"},
                },
            })
        );
    }
    counted(&deliveries, "releases", "delivered", 1).await;
    assert_eq!((deliveries.retries("releases"), deliveries.waiting("releases")), (2, 0));
    fs::remove_file(secrets).unwrap();
}

/// Secret, id, time and body with their signature, as the specification's own example has them.
#[test]
fn a_signature_is_that_of_standard_webhooks() {
    let keys = keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = signature(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[tokio::test]
async fn secrets_can_be_changed_while_it_runs() {
    let secrets = file(&whsec(SECRET));
    let (url, mut received) = receiver(&[]).await;
    let releases = Sink { secret_file: Some(secrets.clone()), ..sink("releases", &url, Format::CloudEvents) };
    let (notifier, _) = start(vec![releases]);
    let mut signatures = BTreeSet::new();
    for key in [SECRET, &[9; 24]] {
        fs::write(&secrets, whsec(key)).unwrap();
        notifier.send(&notification("releases", 1));
        let (headers, body) = next(&mut received).await;
        let header = |name: &str| headers[name].to_str().unwrap();
        let signed = format!("hash-1.{}.{body}", header("webhook-timestamp"));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(tag)));
        signatures.insert(header("webhook-signature").to_owned());
    }
    assert_eq!(signatures.len(), 2);
    fs::remove_file(secrets).unwrap();
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_no_other_and_fills_only_its_own_queue() {
    let (silent_url, _listener) = silent().await;
    let (url, mut received) = receiver(&[]).await;
    let sinks = vec![sink("silent", &silent_url, Format::Slack), sink("chat", &url, Format::Slack)];
    let (notifier, deliveries) = start(sinks);
    for number in 0..2 * i64::try_from(WAITING).unwrap() {
        notifier.send(&notification("silent", number));
    }
    notifier.send(&notification("chat", 1));
    next(&mut received).await;
    counted(&deliveries, "chat", "delivered", 1).await;
    // One may have been taken from the queue already.
    let dropped = deliveries.ended("silent", "dropped");
    let room = u64::try_from(WAITING).unwrap();
    assert!((room - 1..=room).contains(&dropped), "{dropped}");
    assert_eq!((deliveries.ended("silent", "delivered"), deliveries.ended("silent", "failed")), (0, 0));
    assert_eq!(deliveries.waiting("silent") + i64::try_from(dropped).unwrap(), 2 * i64::try_from(WAITING).unwrap());
    assert_eq!(deliveries.ended("chat", "dropped"), 0);
}

#[tokio::test]
async fn what_has_waited_past_its_deadline_holds_up_nothing_that_comes_after() {
    let (url, listener) = silent().await;
    let millis = Duration::from_millis;
    let timing = Timing { first_pause: millis(5), longest_pause: millis(10), deadline: millis(300) };
    let (notifier, deliveries) = start_with(vec![sink("slow", &url, Format::Slack)], timing);
    for number in 0..100 {
        notifier.send(&notification("slow", number));
    }
    // All of them wait for as long as the first is tried, not each for as long again.
    let start = Instant::now();
    counted(&deliveries, "slow", "failed", 100).await;
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(deliveries.waiting("slow"), 0);
    // And when it answers again, what is new arrives.
    let (seen, mut received) = mpsc::unbounded_channel();
    let state = Receiver { answers: Arc::default(), seen };
    tokio::spawn(async { axum::serve(listener, Router::new().route("/", post(receive)).with_state(state)).await });
    notifier.send(&notification("slow", 1_000));
    counted(&deliveries, "slow", "delivered", 1).await;
    next(&mut received).await;
}

#[rstest]
#[case::gone((410, "x", "y"))]
#[case::wrong((400, "x", "y"))]
#[case::elsewhere((307, "location", "http://127.0.0.1:1/"))]
#[tokio::test]
async fn what_is_refused_or_sent_elsewhere_is_not_tried_again(#[case] answer: Answer) {
    let (url, mut received) = receiver(&[answer]).await;
    let (notifier, deliveries) = start(vec![sink("chat", &url, Format::Slack)]);
    notifier.send(&notification("chat", 1));
    notifier.send(&notification("chat", 2));
    for number in [1, 2] {
        // The first is given up at the first answer: what comes next is the second.
        let (_, body) = next(&mut received).await;
        assert!(body.contains("back at"), "{number}: {body}");
    }
    counted(&deliveries, "chat", "delivered", 1).await;
    assert_eq!((deliveries.ended("chat", "failed"), deliveries.retries("chat")), (1, 0));
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_that_refuses_connections_is_given_up_in_time() {
    let (url, listener) = silent().await;
    drop(listener);
    let millis = Duration::from_millis;
    let timing = Timing { first_pause: millis(5), longest_pause: millis(40), deadline: millis(600) };
    let (notifier, deliveries) = start_with(vec![sink("closed", &url, Format::Slack)], timing);
    notifier.send(&notification("closed", 1));
    counted(&deliveries, "closed", "failed", 1).await;
    assert!(deliveries.retries("closed") > 0);
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let (url, mut received) = receiver(&[(429, "retry-after", "1")]).await;
    let (notifier, _) = start(vec![sink("chat", &url, Format::Slack)]);
    notifier.send(&notification("chat", 1));
    next(&mut received).await;
    let start = Instant::now();
    next(&mut received).await;
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_waits_when_the_process_ends_is_delivered_if_that_takes_not_long() {
    let (url, mut received) = receiver(&[]).await;
    let (silent_url, _listener) = silent().await;
    let sinks = vec![sink("chat", &url, Format::Slack), sink("silent", &silent_url, Format::Slack)];
    let (notifier, deliveries) = start(sinks);
    for number in 0..20 {
        notifier.send(&notification("chat", number));
    }
    notifier.send(&notification("silent", 1));
    notifier.finish(Duration::from_millis(1_500)).await;
    assert_eq!((deliveries.ended("chat", "delivered"), deliveries.ended("silent", "delivered")), (20, 0));
    notifier.send(&notification("chat", 21));
    assert_eq!(deliveries.ended("chat", "dropped"), 1);
    for _ in 0..20 {
        received.try_recv().unwrap();
    }
}

#[tokio::test]
async fn chats_are_told_in_one_sentence_in_which_nobody_makes_links_or_mentions() {
    let (slack, mut in_slack) = receiver(&[]).await;
    let (teams, mut in_teams) = receiver(&[]).await;
    let secret_url = file(&format!("{teams}\n"));
    let teams = Sink { url: None, url_file: Some(secret_url.clone()), ..sink("teams", "", Format::Teams) };
    let (notifier, _) = start(vec![sink("slack", &slack, Format::Slack), teams]);
    for sink in ["slack", "teams", "nobody"] {
        notifier.send(&notification(sink, 1));
    }
    let sentence = "prod: shop/30-shift, attempt 2: RolledBack: back at <Baseline> & well (by ana: see [this](https://evil.example.com))";
    let (headers, body) = next(&mut in_slack).await;
    let escaped = sentence.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"text": escaped}));
    assert!(!headers.contains_key("webhook-signature"));
    let (_, body) = next(&mut in_teams).await;
    let message: Value = serde_json::from_str(&body).unwrap();
    let attachment = &message["attachments"][0];
    assert_eq!(
        (&message["type"], &attachment["contentType"]),
        (&json!("message"), &json!("application/vnd.microsoft.card.adaptive"))
    );
    assert_eq!(attachment["content"]["type"], "AdaptiveCard");
    let block = &attachment["content"]["body"][0];
    assert_eq!(
        (&block["type"], &block["inlines"]),
        (&json!("RichTextBlock"), &json!([{"type": "TextRun", "text": sentence}]))
    );
    fs::remove_file(secret_url).unwrap();
}

#[tokio::test]
async fn a_sink_is_for_the_namespaces_that_it_names() {
    let shop = Sink { namespaces: Some(["shop".to_owned()].into()), ..sink("shop", "http://x", Format::Slack) };
    let all = Sink { always: [NotifyOn::Failed].into(), ..sink("all", "http://x", Format::Slack) };
    let (notifier, _) = start(vec![shop, all]);
    assert_eq!(notifier.of_namespace("bank"), [("all".to_owned(), [NotifyOn::Failed].into())].into());
    assert_eq!(notifier.of_namespace("shop").into_keys().collect::<Vec<_>>(), ["all", "shop"]);
}

#[test]
fn every_series_of_a_sink_is_there_before_anything_happens() {
    let metrics = Metrics::new().unwrap();
    metrics.notifications.begin("chat");
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    for line in [
        r#"cutover_notifications_total{outcome="delivered",sink="chat"} 0"#,
        r#"cutover_notifications_total{outcome="dropped",sink="chat"} 0"#,
        r#"cutover_notifications_total{outcome="failed",sink="chat"} 0"#,
        r#"cutover_notification_retries_total{sink="chat"} 0"#,
        r#"cutover_notifications_waiting{sink="chat"} 0"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
}

fn read_text(text: &str) -> Result<Sinks, String> {
    let path = file(text);
    let result = read(&path);
    fs::remove_file(path).unwrap();
    result.map_err(|error| error.to_string())
}

#[test]
fn a_configuration_says_all_that_a_sink_can_be() {
    let secret = file(&whsec(SECRET));
    let text = json!({"cluster": "prod", "sinks": [
        {"name": "chat", "url": "https://chat.example.com/x", "format": "Slack", "namespaces": ["shop"], "always": ["Failed"]},
        {"name": "releases", "url": "http://events.events:8080/", "format": "CloudEvents", "secretFile": secret},
    ]});
    let chat = Sink {
        namespaces: Some(["shop".to_owned()].into()),
        always: [NotifyOn::Failed].into(),
        ..sink("chat", "https://chat.example.com/x", Format::Slack)
    };
    let releases = Sink {
        secret_file: Some(secret.clone()),
        ..sink("releases", "http://events.events:8080/", Format::CloudEvents)
    };
    let expected = Sinks { cluster: Some("prod".to_owned()), sinks: vec![chat, releases] };
    assert_eq!(read_text(&text.to_string()), Ok(expected));
    fs::remove_file(secret).unwrap();
}

#[rstest]
#[case(r#"{"name": "a", "format": "Slack"}"#, "sinks[0].url: give url or urlFile")]
#[case(r#"{"name": "a", "url": "http://x", "urlFile": "/u", "format": "Slack"}"#, "sinks[0].url: give url or urlFile")]
#[case(r#"{"name": "a", "url": "ftp://x", "format": "Slack"}"#, "sinks[0].url: it is neither http nor https")]
#[case(r#"{"name": "a", "url": "//x", "format": "Slack"}"#, "sinks[0].url: it is not a URL")]
#[case(
    r#"{"name": "a", "url": "https://u:p@x", "format": "Slack"}"#,
    "sinks[0].url: there is a user or password in it"
)]
#[case(r#"{"name": "a", "urlFile": "/nowhere", "format": "Slack"}"#, "sinks[0].urlFile: /nowhere cannot be read")]
#[case(r#"{"name": "a", "url": "http://x", "format": "CloudEvents"}"#, "sinks[0].secretFile: CloudEvents are signed")]
#[case(
    r#"{"name": "a", "url": "http://x", "format": "CloudEvents", "secretFile": "/nowhere"}"#,
    "sinks[0].secretFile: /nowhere cannot be read"
)]
#[case(
    r#"{"name": "a", "url": "http://x", "format": "CloudEvents", "secretFile": "/dev/null"}"#,
    "sinks[0].secretFile: there is no secret in the file"
)]
#[case(
    r#"{"name": "a", "url": "http://x", "format": "Teams", "secretFile": "/s"}"#,
    "sinks[0].secretFile: it is for CloudEvents only"
)]
#[case(r#"{"name": "a", "url": "http://x", "format": "Pigeon"}"#, "sinks[0].format: unknown variant `Pigeon`")]
#[case(r#"{"name": "a", "url": "http://x", "format": "Slack", "retries": 3}"#, "sinks[0].retries: unknown field")]
#[case(r#"{"name": "A", "url": "http://x", "format": "Slack"}"#, "sinks[0].name: give 1 to 63 of a to z")]
#[case(r#"{"name": "a", "url": "http://x", "format": "Slack", "namespaces": []}"#, "sinks[0].namespaces: it is empty")]
#[case(
    r#"{"name": "a", "url": "http://x", "format": "Slack", "always": ["Never"]}"#,
    "sinks[0].always[0]: unknown variant `Never`"
)]
#[case(
    r#"{"name": "a", "url": "http://x", "format": "Slack"}, {"name": "a", "url": "http://y", "format": "Slack"}"#,
    "sinks[1].name: a is named twice"
)]
fn a_configuration_that_cannot_work_is_refused_by_field(#[case] sinks: &str, #[case] why: &str) {
    let error = read_text(&format!(r#"{{"sinks": [{sinks}]}}"#)).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[rstest]
#[case("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_")]
#[case("whsec_?", "is not base64")]
#[case("whsec_b2xk", "is not of 24 to 64 bytes")]
fn a_secret_that_is_none_is_refused_without_showing_it(#[case] secret: &str, #[case] why: &str) {
    let path = file(secret);
    let text = json!({"sinks": [{"name": "a", "url": "http://x", "format": "CloudEvents", "secretFile": path}]});
    let error = read_text(&text.to_string()).unwrap_err();
    assert!(error.contains(why) && !error.contains(secret), "{error}");
    fs::remove_file(path).unwrap();
}
