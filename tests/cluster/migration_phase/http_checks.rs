//! Checks that ask the new side itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use axum::{Router, extract::State, http::StatusCode, routing::any};
use cutover_api::v1alpha1::migration_phase::PhaseState;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use super::bed::{Shop, reasons, to, with};

/// A server whose health is what a test says.
pub(super) struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<(StatusCode, String)>>,
    serving: AbortHandle,
}

impl Server {
    pub(super) async fn start(code: StatusCode, body: &Value) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let answer = Arc::new(Mutex::new((code, body.to_string())));
        let told = answer.clone();
        let answers = async |State(answer): State<Arc<Mutex<(StatusCode, String)>>>| {
            answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let routes = Router::new().route("/health", any(answers)).with_state(told);
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle();
        Ok(Self { address, answer, serving })
    }

    pub(super) fn says(&self, code: StatusCode, body: &Value) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (code, body.to_string());
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    fn check(&self, more: &Value) -> Value {
        let http = with(json!({"url": self.url()}), &more["http"]);
        with(with(json!({"name": "health", "interval": "1s", "failAfter": 3}), more), &json!({"http": http}))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// To 50 and, when the check has passed, to 100.
fn checked(check: &Value) -> Value {
    json!({"steps": [to(50), to(100)], "checks": [check]})
}

/// The same, and 50 is not left.
fn watched(check: &Value) -> Value {
    with(checked(check), &json!({"steps": [with(to(50), &json!({"soak": "1h"}))]}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_side_that_answers_as_expected_takes_the_phase_on() -> Result<()> {
    let shop = Shop::open().await?;
    let server = Server::start(StatusCode::OK, &json!({"queue": {"depth": 3}})).await?;
    let pointing = server.check(&json!({"http": {"pointer": "/queue/depth"}, "min": "1", "max": "5"}));
    shop.phase("shift", &with(checked(&pointing), &json!({"steps": [with(to(50), &json!({"soak": "1h"})), to(100)]})))
        .await?;
    shop.until("shift", "measured", |status| {
        status.checks.first().is_some_and(|check| check.value.as_deref() == Some("3"))
    })
    .await?;
    shop.phase("shift", &checked(&server.check(&json!({"max": "2.5"})))).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_side_that_answers_with_errors_leads_back() -> Result<()> {
    let shop = Shop::open().await?;
    let server = Server::start(StatusCode::SERVICE_UNAVAILABLE, &json!({})).await?;
    shop.phase("shift", &watched(&server.check(&json!({})))).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.clone().unwrap_or_else(|| unreachable!("{status:#?}"));
    let told = "check health failed 3 times in a row: it answers 503; 200 to 299 is expected";
    ensure!(failure.reason == "CheckFailed" && failure.message == told, "{failure:#?}");
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_side_that_does_not_listen_any_more_leads_back() -> Result<()> {
    let shop = Shop::open().await?;
    let server = Server::start(StatusCode::OK, &json!({"load": 0.5})).await?;
    let check = server.check(&json!({"http": {"pointer": "/load"}, "max": "0.8"}));
    shop.phase("shift", &watched(&check)).await?;
    shop.until("shift", "watched", |status| status.checks.first().is_some_and(|check| check.last_data.is_some()))
        .await?;
    server.serving.abort();
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.clone().unwrap_or_else(|| unreachable!("{status:#?}"));
    ensure!(failure.reason == "CheckFailed" && failure.message.contains("Connection refused"), "{failure:#?}");
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_without_the_number_is_waited_for() -> Result<()> {
    let shop = Shop::open().await?;
    let server = Server::start(StatusCode::OK, &json!({"load": null})).await?;
    shop.phase("shift", &checked(&server.check(&json!({"http": {"pointer": "/load"}, "max": "0.8"})))).await?;
    let status = shop.blocked("shift", "NoData", "check health has no data yet").await?;
    ensure!(status.state == Some(PhaseState::Running), "{status:#?}");
    shop.moved(&[0, 50]).await?;
    server.says(StatusCode::OK, &json!({"load": "0.5"}));
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_an_address_out_of_reach_and_the_phase_holds() -> Result<()> {
    let shop = Shop::open().await?;
    let metadata =
        json!({"name": "health", "interval": "1s", "failAfter": 1, "http": {"url": "http://169.254.169.254/latest"}});
    shop.phase("shift", &checked(&metadata)).await?;
    let why =
        "check health cannot be asked: 169.254.169.254 is a link-local address: the operator makes no request there";
    shop.blocked("shift", "ChecksUnavailable", why).await?;
    let elsewhere = with(metadata, &json!({"http": {"url": "http://192.0.2.1/"}}));
    shop.phase("shift", &checked(&elsewhere)).await?;
    let status = shop.blocked("shift", "ChecksUnavailable", "can add one by --outbound-networks").await?;
    ensure!(status.state == Some(PhaseState::Running) && !reasons(&status).contains(&"RollingBack"), "{status:#?}");
    shop.moved(&[0, 50]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_judges() -> Result<()> {
    let shop = Shop::open().await?;
    let judge = Server::start(StatusCode::OK, &json!({"status": "NoData", "message": "no orders yet"})).await?;
    let check = json!({"name": "orders", "interval": "1s", "failAfter": 2, "webhook": {"url": judge.url()}});
    shop.phase("shift", &checked(&check)).await?;
    shop.blocked("shift", "NoData", "check orders has no data yet").await?;
    judge.says(StatusCode::INTERNAL_SERVER_ERROR, &json!({}));
    shop.blocked("shift", "ChecksUnavailable", "check orders cannot be asked: it answers 500").await?;
    shop.moved(&[0, 50]).await?;
    judge.says(StatusCode::OK, &json!({"status": "Pass"}));
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await?;

    judge.says(StatusCode::OK, &json!({"status": "Fail", "message": "too many returns"}));
    shop.phase("again", &json!({"after": ["shift"], "steps": [{"name": "all", "traffic": [{"split": "storefront", "newWeight": 100}], "soak": "1h"}], "checks": [check]})).await?;
    let status = shop.state("again", PhaseState::RolledBack).await?;
    let failure = status.failure.clone().unwrap_or_else(|| unreachable!("{status:#?}"));
    ensure!(failure.message == "check orders failed 2 times in a row: too many returns", "{failure:#?}");
    Ok(())
}
