//! The HTTP server: `/livez`, `/readyz`, `/metrics`. It starts before anything else, so that a process that cannot reach
//! the API server says so instead of not answering.
//!
//! Ready means: the caches are listed. A standby is ready too; a rolling update would wait for ever for it otherwise.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        lease::{Leadership, Skew},
        stores::Readiness,
    },
    metrics::Metrics,
};

/// What the server shows. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    metrics: Metrics,
    parts: Arc<Mutex<Parts>>,
}

#[derive(Default)]
struct Parts {
    stores: Option<Readiness>,
    leadership: Option<Leadership>,
    skew: Option<watch::Receiver<Option<Skew>>>,
    stopping: bool,
}

impl Health {
    /// Not ready yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, parts: Arc::default() }
    }

    /// From now on ready as soon as these stores are.
    pub fn stores(&self, stores: Readiness) {
        self.with(|parts| parts.stores = Some(stores));
    }

    /// From now on shows whether this replica leads, and the clock skew.
    pub fn election(&self, leadership: Leadership, skew: watch::Receiver<Option<Skew>>) {
        self.with(|parts| {
            parts.leadership = Some(leadership);
            parts.skew = Some(skew);
        });
    }

    /// From now on not ready: the process is ending.
    pub fn stopping(&self) {
        self.with(|parts| parts.stopping = true);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Parts) -> T) -> T {
        work(&mut self.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ready(&self) -> Result<(), String> {
        self.with(|parts| match &parts.stores {
            _ if parts.stopping => Err("stopping".to_owned()),
            None => Err("starting".to_owned()),
            Some(stores) => match stores.pending() {
                pending if pending.is_empty() => Ok(()),
                pending => Err(format!("not listed yet: {}", pending.join(", "))),
            },
        })
    }

    fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let (leads, skew) = self.with(|parts| {
            let leads = parts.leadership.as_ref().is_some_and(|leadership| leadership.check().is_ok());
            let skew = parts.skew.as_ref().and_then(|skew| *skew.borrow());
            (leads, skew.map(|skew| skew.offset.as_secs_f64()))
        });
        self.metrics.observe(leads, skew);
        self.metrics.render()
    }
}

/// Binds the address; serving is [`serve`].
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `end` is cancelled.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, health: Health, end: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    match health.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match health.render() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => {
            let text = format!("{error}\n").into_bytes();
            (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], text)
        }
    }
}
