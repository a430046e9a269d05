//! A Prometheus that answers what a test tells it to. Tests are told apart by the namespace in the query.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;

/// What is answered to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Value(f64),
    Nothing,
}

#[derive(Debug, Default)]
struct Script {
    /// The last one is given again and again.
    answers: VecDeque<Answer>,
    asked: usize,
}

/// The server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Prometheus {
    address: SocketAddr,
    scripts: Arc<Mutex<BTreeMap<String, Script>>>,
}

impl Prometheus {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self { address: listener.local_addr()?, scripts: Arc::default() };
        let routes = Router::new().route("/api/v1/query", get(answer)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The query whose answers are those of this namespace.
    pub(crate) const QUERY: &'static str = "errors{namespace=\"$namespace\"}";

    /// What is answered from now on, one after the other; the last stays.
    pub(crate) fn says(&self, namespace: &str, answers: &[Answer]) {
        self.scripts().entry(namespace.to_owned()).or_default().answers = answers.iter().copied().collect();
    }

    /// How many times it was asked.
    pub(crate) fn asked(&self, namespace: &str) -> usize {
        self.scripts().get(namespace).map_or(0, |script| script.asked)
    }

    fn next(&self, query: &str) -> Result<Answer> {
        let namespace = query.split("%22").nth(1).context("no namespace in the query")?;
        let mut scripts = self.scripts();
        let script = scripts.get_mut(namespace).context("nothing to say")?;
        script.asked += 1;
        let answer =
            if script.answers.len() > 1 { script.answers.pop_front() } else { script.answers.front().copied() };
        answer.context("nothing to say")
    }

    fn scripts(&self) -> MutexGuard<'_, BTreeMap<String, Script>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(server): State<Prometheus>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let result = match server.next(&query.unwrap_or_default()) {
        Ok(Answer::Value(value)) => json!([{"metric": {}, "value": [0, value.to_string()]}]),
        Ok(Answer::Nothing) => json!([]),
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let data = json!({"resultType": "vector", "result": result});
    (StatusCode::OK, json!({"status": "success", "data": data}).to_string())
}
