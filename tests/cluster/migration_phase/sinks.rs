//! The sinks of the bed's operator: one that keeps what it is sent, after its signature was found right, one that never answers, and one that
//! is for another namespace.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const SECRET: &[u8] = b"what only these two know of";

/// What was received and how it was signed.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) id: String,
    pub(super) event: Value,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sinks {
    received: Arc<Mutex<Vec<Received>>>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Sinks {
    /// Starts the receivers and writes the operator's configuration; its path.
    pub(super) async fn start(folder: &Path) -> Result<(Self, PathBuf)> {
        let sinks = Self::default();
        let routes = Router::new().route("/events", post(receive)).with_state(sinks.clone());
        let releases = serve(routes).await?;
        let silent = serve(Router::new().route("/events", post(std::future::pending::<StatusCode>))).await?;
        let secret = folder.join("webhook-secret");
        fs::write(&secret, format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET)))?;
        let every = ["Started", "StepDone", "Completed", "RollingBack", "RolledBack", "Failed", "Paused", "Approved"];
        let file = folder.join("sinks.json");
        let configuration = json!({"cluster": "bed", "sinks": [
            {"name": "releases", "url": releases, "format": "CloudEvents", "secretFile": secret},
            {"name": "silent", "url": silent, "format": "Slack", "always": every},
            {"name": "elsewhere", "url": releases, "format": "Teams", "namespaces": ["another"]},
        ]});
        fs::write(&file, configuration.to_string())?;
        Ok((sinks, file))
    }

    /// What was received about one namespace, in order.
    pub(super) fn of(&self, namespace: &str) -> Result<Vec<Received>> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(refused.is_empty(), "{refused:#?}");
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(received.iter().filter(|one| one.event["data"]["namespace"] == namespace).cloned().collect())
    }
}

async fn serve(routes: Router) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/events", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(url)
}

async fn receive(State(sinks): State<Sinks>, headers: HeaderMap, body: String) -> StatusCode {
    match verified(&headers, &body) {
        Ok(received) => {
            sinks.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
            StatusCode::NO_CONTENT
        }
        Err(why) => {
            sinks.refused.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{why:#}: {headers:?} {body}"));
            StatusCode::UNAUTHORIZED
        }
    }
}

/// As Standard Webhooks has receivers do it.
fn verified(headers: &HeaderMap, body: &str) -> Result<Received> {
    let header = |name: &str| headers.get(name).with_context(|| format!("no {name}"))?.to_str().context("not text");
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let age = Timestamp::now().as_second() - timestamp.parse::<i64>()?;
    ensure!(age.abs() < 300, "{age} s old");
    let tag = header("webhook-signature")?.strip_prefix("v1,").context("not version 1")?;
    let tag = BASE64_STANDARD.decode(tag)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let right = hmac::verify(&key, format!("{id}.{timestamp}.{body}").as_bytes(), &tag);
    right.map_err(|_| anyhow::anyhow!("not signed with our secret"))?;
    ensure!(header("content-type")? == "application/cloudevents+json", "not a structured CloudEvent");
    Ok(Received { id: id.to_owned(), event: serde_json::from_str(body)? })
}
