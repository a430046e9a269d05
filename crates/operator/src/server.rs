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

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;
    use crate::cluster::stores::{Presence, readiness_of};

    #[tokio::test]
    async fn a_process_is_alive_first_and_ready_when_its_caches_are_listed_until_it_stops() {
        let health = Health::new(Metrics::new().unwrap());
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = CancellationToken::new();
        let server = tokio::spawn(serve(listener, health.clone(), end.clone()));
        let http = crate::outbound::http_client(Duration::from_secs(5), None).unwrap();
        let get = async |path: &str| {
            let answer = http.get(format!("http://{address}{path}")).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        assert_eq!(get("/livez").await.0, 200);
        assert_eq!(get("/readyz").await, (503, "starting\n".to_owned()));
        let (presence, readiness) = readiness_of("trafficsplits");
        health.stores(readiness);
        assert_eq!(get("/readyz").await, (503, "not listed yet: trafficsplits\n".to_owned()));
        presence.send_replace(Presence::Listed);
        assert_eq!(get("/readyz").await.0, 200, "also as a standby");
        let (tenure, leadership) = Leadership::channel();
        health.election(leadership, watch::channel(None).1);
        assert!(get("/metrics").await.1.contains("cutover_leader 0"));
        tenure.send_replace(crate::cluster::lease::Tenure::Always);
        assert!(get("/metrics").await.1.contains("cutover_leader 1"));
        health.stopping();
        assert_eq!(get("/readyz").await, (503, "stopping\n".to_owned()));
        end.cancel();
        server.await.unwrap().unwrap();
    }
}
