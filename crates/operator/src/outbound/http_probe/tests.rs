//! Against small servers on the loopback address.

use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use axum::{
    Router,
    body::Body,
    extract::Request as Asked,
    http::{HeaderMap, StatusCode, Uri},
    routing::any,
};
use cutover_api::{
    HumanDuration,
    v1alpha1::migration_phase::{HttpHeader, StatusRange},
};
use cutover_engine::migration_phase::Said;
use futures::stream;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rstest::rstest;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;

use super::*;

fn probes(networks: &[&str]) -> Probes {
    let networks: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
    Probes::new(Reach::new(&networks), crate::outbound::roots(None).unwrap())
}

fn asked(pointer: Option<&str>) -> HttpCheck {
    HttpCheck {
        url: "not looked at".into(),
        legacy_url: None,
        method: HttpMethod::Get,
        headers: vec![],
        expect_status: StatusRange::default(),
        pointer: pointer.map(Into::into),
        timeout: HumanDuration::from_secs(1),
        ca_bundle: None,
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// A server whose `/x` answers so.
async fn server(status: u16, body: &'static str) -> String {
    let answer = (StatusCode::from_u16(status).unwrap(), body);
    format!("http://{}/x", serve(Router::new().route("/x", any(async move || answer))).await)
}

async fn ask(asked: &HttpCheck, url: &str) -> Result<Answer, String> {
    probes(&["127.0.0.0/8"]).ask(asked, url).await
}

fn unread(answer: Result<Answer, String>, why: &str) {
    let told = answer.unwrap_err();
    assert!(told.contains(why), "{told}");
}

fn silent(answer: Result<Answer, String>, why: &str) {
    match answer {
        Ok(Answer::Silence(told)) => assert!(told.contains(why) && !told.contains("http://"), "{told}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case(200)]
#[case(404)]
#[case(503)]
#[tokio::test]
async fn the_status_is_told_whatever_it_is(#[case] code: u16) {
    match ask(&asked(None), &server(code, "<html>").await).await {
        Ok(Answer::Given { status, seconds, value: None }) => {
            assert!(status == code && (0.0..1.0).contains(&seconds), "{status} {seconds}");
        }
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case(200, r#"{"queue":{"depth":7}}"#, "/queue/depth", Some(7.0))]
#[case(200, r#"{"a/b":[0,"1.5"]}"#, "/a~1b/1", Some(1.5))]
#[case(200, r#"{"up":true}"#, "/up", Some(1.0))]
#[case(200, r#"{"up":false}"#, "/up", Some(0.0))]
#[case(200, r#"{"up":null}"#, "/up", None)]
#[case(200, r#"{"up":"yes"}"#, "/up", None)]
#[case(200, r#"{"up":"NaN"}"#, "/up", None)]
#[case(200, r#"{"up":{"x":1}}"#, "/up", None)]
#[case(200, r#"{"up":1}"#, "/down", None)]
// The status says enough.
#[case(503, "<html>", "/up", None)]
#[tokio::test]
async fn the_number_is_where_it_is_pointed_at(
    #[case] code: u16,
    #[case] body: &'static str,
    #[case] pointer: &str,
    #[case] expected: Option<f64>,
) {
    match ask(&asked(Some(pointer)), &server(code, body).await).await {
        Ok(Answer::Given { status, value, .. }) => assert_eq!((status, value), (code, expected)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_not_read() {
    unread(ask(&asked(Some("/up")), &server(200, "<html>").await).await, "the answer is not JSON");
}

#[tokio::test]
async fn an_endless_answer_is_read_as_far_as_a_bound() {
    let endless = async || {
        let chunks =
            stream::repeat_with(|| Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(&[b' '; 8_192])));
        Body::from_stream(chunks)
    };
    let url = format!("http://{}/x", serve(Router::new().route("/x", any(endless))).await);
    unread(ask(&asked(Some("/up")), &url).await, "longer than 1048576 bytes");
    // Who asks for no number does not read it.
    assert!(matches!(ask(&asked(None), &url).await, Ok(Answer::Given { status: 200, .. })));
}

#[tokio::test]
async fn an_answer_in_drops_is_none() {
    let drops = async || {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(b" ")), ()))
        });
        Body::from_stream(drops)
    };
    let url = format!("http://{}/x", serve(Router::new().route("/x", any(drops))).await);
    let asked = asked(Some("/up"));
    let answer = tokio::time::timeout(Duration::from_secs(60), ask(&asked, &url)).await;
    silent(answer.expect("drops are taken for an answer on its way"), "no answer");
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_silent() {
    let slow = async || {
        tokio::time::sleep(Duration::from_secs(30)).await;
        "late"
    };
    let url = format!("http://{}/x", serve(Router::new().route("/x", any(slow))).await);
    silent(ask(&asked(None), &url).await, "no answer");
}

#[tokio::test]
async fn who_does_not_listen_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    drop(listener);
    silent(ask(&asked(None), &url).await, "refused");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = async |uri: Uri| {
        assert_eq!(uri.path(), "/x", "the redirect was followed");
        (StatusCode::FOUND, [("location", "/y")], "")
    };
    let url = format!("http://{}/x", serve(Router::new().fallback(elsewhere)).await);
    assert!(matches!(ask(&asked(None), &url).await, Ok(Answer::Given { status: 302, .. })));
}

#[tokio::test]
async fn the_request_is_what_was_given() {
    let seen = async |headers: HeaderMap, request: Asked| {
        let found = (request.method().as_str(), headers["x-probe"].to_str().unwrap(), request.uri().to_string());
        assert_eq!(found, ("HEAD", "a b", "/x?deep=true".to_owned()));
        assert!(headers["user-agent"].to_str().unwrap().starts_with("cutover-operator/"));
        StatusCode::NO_CONTENT
    };
    let url = format!("http://{}/x?deep=true", serve(Router::new().fallback(seen)).await);
    let headers = vec![HttpHeader { name: "X-Probe".into(), value: "a b".into() }];
    let asked = HttpCheck { method: HttpMethod::Head, headers, ..asked(None) };
    assert!(matches!(ask(&asked, &url).await, Ok(Answer::Given { status: 204, .. })));
}

#[rstest]
#[case(&[], "http://127.0.0.1:1/", "a loopback address")]
#[case(&["0.0.0.0/0"], "http://localhost:1/", "a loopback address")]
#[case(&["0.0.0.0/0"], "http://169.254.169.254/latest/meta-data", "a link-local address")]
#[case(&["10.0.0.0/8"], "http://192.0.2.1/", "--outbound-networks")]
#[case(&["127.0.0.0/8"], "http://does-not-exist.invalid/", "cannot be resolved")]
#[tokio::test]
async fn what_is_out_of_reach_is_not_asked(#[case] networks: &[&str], #[case] url: &str, #[case] why: &str) {
    unread(probes(networks).ask(&asked(None), url).await, why);
}

/// Answers one connection to `localhost` over TLS. Returns with its address the authority that vouches for it.
fn secured() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &*authority).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![server.der().clone()], key).unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
        let mut request = [0; 4096];
        if stream.read(&mut request).is_ok_and(|length| length > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n42").unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    });
    (format!("https://localhost:{}/x", address.port()), authority.pem())
}

#[tokio::test]
async fn a_server_is_judged_by_the_authorities_of_the_check() {
    let (url, authority) = secured();
    let asked = HttpCheck { ca_bundle: Some(authority), ..asked(None) };
    let answer = ask(&asked, &url).await;
    assert!(matches!(answer, Ok(Answer::Given { status: 200, .. })), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_held_against_the_new_side() {
    unread(ask(&asked(None), &secured().0).await, "UnknownIssuer");
    let other = HttpCheck { ca_bundle: Some("-----BEGIN CERTIFICATE-----".into()), ..asked(None) };
    unread(ask(&other, &secured().0).await, "caBundle");
}

async fn question(url: String) -> Result<Word, String> {
    let asked = WebhookCheck { url, timeout: HumanDuration::from_secs(1), ca_bundle: None };
    let question = Question {
        namespace: "shop".into(),
        phase: "30-shift".into(),
        phase_uid: "u".into(),
        environment: None,
        attempt: 1,
        step: "half".into(),
        check: "orders".into(),
    };
    probes(&["127.0.0.0/8"]).question(&asked, &question).await
}

#[tokio::test]
async fn somebody_else_is_told_what_it_is_about_and_judges() {
    let judge = async |request: Asked| {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/x"));
        assert_eq!(request.headers()["content-type"], "application/json");
        let body = axum::body::to_bytes(request.into_body(), 65_536).await.unwrap();
        let told: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&told["phase"], &told["step"], &told["check"]),
            (&"30-shift".into(), &"half".into(), &"orders".into())
        );
        r#"{"status": "Fail", "message": "too many returns"}"#
    };
    let url = format!("http://{}/x", serve(Router::new().fallback(judge)).await);
    let word = Word { status: Said::Fail, message: Some("too many returns".into()) };
    assert_eq!(question(url).await, Ok(word));
}

#[rstest]
#[case(500, r#"{"status": "Fail"}"#, "it answers 500")]
#[case(302, "", "it answers 302")]
#[case(200, "<html>", "no status of Pass, Fail or NoData")]
#[case(200, r#"{"status": "Perhaps"}"#, "no status of Pass, Fail or NoData")]
#[tokio::test]
async fn without_a_word_nothing_is_judged(#[case] code: u16, #[case] body: &'static str, #[case] why: &str) {
    let told = question(server(code, body).await).await.unwrap_err();
    assert!(told.contains(why), "{told}");
}

#[tokio::test]
async fn who_is_asked_for_a_judgement_is_in_reach_and_in_time() {
    let told = question("http://169.254.169.254/x".into()).await.unwrap_err();
    assert!(told.contains("a link-local address"), "{told}");
    let slow = async || tokio::time::sleep(Duration::from_secs(30)).await;
    let url = format!("http://{}/x", serve(Router::new().route("/x", any(slow))).await);
    let told = question(url).await.unwrap_err();
    assert!(told.contains("no answer"), "{told}");
}
