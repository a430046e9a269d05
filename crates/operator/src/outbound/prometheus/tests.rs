//! Against a small HTTP server on the loopback address.

use std::time::Duration;

use axum::{
    Router,
    extract::RawQuery,
    http::StatusCode,
    routing::{any, get},
};
use rstest::rstest;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

/// A server whose `/base/api/v1/query` answers so, and a client for it.
async fn server(status: StatusCode, body: String, delay: Duration) -> Prometheus {
    let router = Router::new().route(
        "/base/api/v1/query",
        get(move |RawQuery(query): RawQuery| async move {
            assert_eq!(query.as_deref(), Some("query=up%7Ba%3D%22b%22%7D"), "the expression arrives as it was given");
            tokio::time::sleep(delay).await;
            (status, body)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    let http = crate::outbound::http_client(Duration::from_millis(300), None).unwrap();
    Prometheus::new(http, &url)
}

async fn ask(status: StatusCode, body: impl ToString) -> Measured {
    server(status, body.to_string(), Duration::ZERO).await.query(r#"up{a="b"}"#).await
}

#[expect(clippy::needless_pass_by_value, reason = "its callers read like the answers they make")]
fn success(kind: &str, result: serde_json::Value) -> serde_json::Value {
    json!({"status": "success", "data": {"resultType": kind, "result": result}, "warnings": ["ignored"]})
}

#[rstest]
#[case(success("vector", json!([{"metric": {}, "value": [1.5, "0.25"]}])), Measured::Value(0.25))]
#[case(success("vector", json!([{"metric": {"a": "b"}, "value": [1, "+Inf"]}])), Measured::Value(f64::INFINITY))]
#[case(success("vector", json!([{"metric": {}, "value": [1, "NaN"]}])), Measured::NoData)]
#[case(success("vector", json!([])), Measured::NoData)]
#[case(success("scalar", json!([1, "3e2"])), Measured::Value(300.0))]
#[case(success("scalar", json!([1, "NaN"])), Measured::NoData)]
#[tokio::test]
async fn one_number_is_a_value_and_nothing_is_no_data(#[case] answer: serde_json::Value, #[case] expected: Measured) {
    assert_eq!(ask(StatusCode::OK, answer).await, expected);
}

#[rstest]
#[case(200, success("vector", json!([{"metric": {"pod": "a"}, "value": [1, "1"]}, {"metric": {}, "value": [1, "2"]}])).to_string(), "2 series, such as {\"pod\": \"a\"}")]
#[case(200, success("vector", json!([{"metric": {}, "histogram": [1, {}]}])).to_string(), "histogram")]
#[case(200, success("matrix", json!([{"metric": {}, "values": [[1, "1"]]}])).to_string(), "a range")]
#[case(200, success("string", json!([1, "text"])).to_string(), "a text")]
#[case(200, success("scalar", json!([1, "many"])).to_string(), "not a number")]
#[case(400, json!({"status": "error", "errorType": "bad_data", "error": "parse error: no closing brace"}).to_string(), "bad_data: parse error: no closing brace")]
#[case(200, json!({"status": "error", "errorType": "timeout", "error": "too slow"}).to_string(), "timeout: too slow")]
#[case(503, "Service Unavailable".to_owned(), "503")]
#[case(302, String::new(), "302")]
#[case(200, "<html>".to_owned(), "not Prometheus's")]
#[case(200, " ".repeat(LONGEST_ANSWER + 1), "too long")]
#[tokio::test]
async fn what_is_not_one_number_is_an_error_that_says_why(
    #[case] status: u16,
    #[case] body: String,
    #[case] message: &str,
) {
    match ask(StatusCode::from_u16(status).unwrap(), body).await {
        Measured::Erroring(error) => assert!(error.contains(message), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_server_is_an_error_in_time() {
    let server = server(StatusCode::OK, String::new(), Duration::from_secs(30)).await;
    assert_eq!(server.query(r#"up{a="b"}"#).await, Measured::Erroring("no answer in time".to_owned()));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_does_not_repeat_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let http = crate::outbound::http_client(Duration::from_secs(2), None).unwrap();
    match Prometheus::new(http, &url).query("up").await {
        Measured::Erroring(error) => assert!(error.contains("refused") && !error.contains("http://"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let router = Router::new().route(
        "/{*path}",
        any(|uri: axum::http::Uri| async move {
            assert!(uri.path().ends_with("/api/v1/query"), "the redirect was followed to {uri}");
            (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")], "")
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    let http = crate::outbound::http_client(Duration::from_secs(2), None).unwrap();
    match Prometheus::new(http, &url).query("up").await {
        Measured::Erroring(error) => assert!(error.contains("307"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn servers_are_found_by_the_name_environments_use() {
    let endpoint = |name: &str| PrometheusEndpoint { name: name.into(), url: "http://localhost:9090".parse().unwrap() };
    let http = crate::outbound::http_client(Duration::from_secs(1), None).unwrap();
    let servers = servers(&http, &[endpoint("default"), endpoint("edge")]);
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["default", "edge"]);
    assert_eq!(servers["edge"].query.path(), "/api/v1/query");
}

#[test]
fn extra_authorities_must_be_readable_certificates() {
    let folder = std::env::temp_dir().join(format!("cutover-ca-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    let error = crate::outbound::http_client(Duration::from_secs(1), Some(&file)).unwrap_err();
    assert!(error.to_string().contains("ca.pem cannot be used: there is none in it"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
    let error = crate::outbound::http_client(Duration::from_secs(1), Some(&file)).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
