//! A backend outside the cluster, such as a legacy server at a fixed address. Network I/O.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::{
    app::{App, Identity},
    protocol::System,
    reactor::Reactor,
    script::{ComponentScript, Scripts},
    server::{self, Stop},
    targets::{TargetGuard, Targets},
};

/// A running backend; ends when dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    script: ComponentScript,
    listed: Option<TargetGuard>,
    stop: Stop,
    ended: watch::Receiver<()>,
    _reactor: Reactor,
}

/// Serves as a backend outside the cluster at exactly this address; port 0 picks one.
///
/// # Errors
/// When the address is not this machine's, or is in use.
pub async fn serve_backend(address: SocketAddr, system: System, component: &str) -> Result<Backend> {
    let reactor = Reactor::start(component)?;
    let script = Scripts::default().component("", component);
    let listening = reactor.handle().spawn(server::listen(address));
    let listener = listening.await?.with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr()?;
    let identity = Identity {
        component: component.to_owned(),
        system,
        pod: address.ip().to_string(),
        image_tag: "external".to_owned(),
    };
    let app = Arc::new(App::new(identity, script.told()));
    let stop = Stop::new();
    let (ending, ended) = watch::channel(());
    let serving = server::serve(listener, app, script.told(), stop.clone());
    reactor.handle().spawn(async move {
        serving.await;
        drop(ending);
    });
    Ok(Backend { address, script, listed: None, stop, ended, _reactor: reactor })
}

impl Backend {
    /// Has Prometheus scrape it.
    #[must_use]
    pub fn listed_in(mut self, targets: &Targets) -> Self {
        self.listed = Some(targets.add(self.address, "", &self.address.ip().to_string()));
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// To make it fail.
    #[must_use]
    pub fn script(&self) -> &ComponentScript {
        &self.script
    }

    /// Answers what is under way, then ends.
    pub async fn stop(mut self) {
        self.listed = None;
        self.stop.drain.cancel();
        // Closed by the server's end; nothing is ever sent.
        while self.ended.changed().await.is_ok() {}
    }
}
