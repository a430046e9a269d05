//! How the process ends.
//!
//! SIGTERM or SIGINT cancels one shared token, [`Shutdown::stop`]: controllers take no new work. What is under way may
//! finish within a grace period and is then abandoned, which is safe at any point. Only then is the lease given back and
//! everything else ended ([`Shutdown::end`]). A second signal ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two tokens of an orderly end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled first: take no new work.
    pub stop: CancellationToken,
    /// Cancelled last: nothing writes any more; caches and servers end.
    pub end: CancellationToken,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = shutdown.stop.clone();
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            tracing::info!("stopping: work under way may finish");
            stop.cancel();
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            tracing::warn!("ending at once");
            std::process::exit(130);
        });
        Ok(shutdown)
    }
}
