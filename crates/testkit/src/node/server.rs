//! Serves one port of a simulated backend. Network I/O.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{app::App, script::Told};

/// After a failed `accept` (no file descriptors left, for one).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The two ways to end a server: finish what is under way, or cut it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    /// No new connections; answer what has been asked, then close.
    pub(super) drain: CancellationToken,
    /// Close at once.
    pub(super) cut: CancellationToken,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self::default()
    }
}

/// Listens on exactly this address: a wildcard would answer for other pods too.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until told to stop, then until the last connection is closed.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>, mut told: Told, stop: Stop) {
    let address = listener.local_addr();
    let mut listener = Some(listener);
    let connections = TaskTracker::new();
    // Cuts the connections of the time before a refusal.
    let mut cut = stop.cut.child_token();
    loop {
        let refuse = told.now().refuse_connections;
        if refuse && listener.is_some() {
            listener = None;
            cut.cancel();
            cut = stop.cut.child_token();
        } else if !refuse && listener.is_none() {
            listener = match &address {
                Ok(address) => {
                    listen(*address).await.inspect_err(|error| tracing::error!(%error, %address, "listen")).ok()
                }
                Err(_) => None,
            };
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cut.cancelled() => break,
            () = stop.drain.cancelled() => break,
            Some(()) = told.changed() => {}
            accepted = accepted => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&app), stop.drain.clone(), cut.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn converse(stream: TcpStream, app: Arc<App>, drain: CancellationToken, cut: CancellationToken) {
    // Without it a small answer may wait for the client's acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { app.answer(request).await }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        () = cut.cancelled() => return,
        _ = connection.as_mut() => return,
        () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        () = cut.cancelled() => {}
        _ = connection => {}
    }
}
