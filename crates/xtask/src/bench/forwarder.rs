//! A TCP forwarder between the operator and the API server whose connections can all be cut at once.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use cutover_testkit::control_plane::ControlPlane;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

/// A running forwarder; it ends with the process.
pub(super) struct Forwarder {
    address: SocketAddr,
    cut: broadcast::Sender<()>,
    cuts: Arc<AtomicU64>,
}

impl Forwarder {
    /// Forwards to the API server at `url`.
    pub(super) async fn start(url: &str) -> Result<Self> {
        let to: SocketAddr = url.trim_start_matches("https://").parse().context("the API server's address")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (cut, _) = broadcast::channel(1);
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    // Either end may go first, and neither is to be told about the other.
                    let _ended = tokio::select! {
                        ended = forward(from, to) => ended,
                        _ = cut.recv() => Ok(()),
                    };
                });
            }
        });
        Ok(Self { address, cut, cuts: Arc::default() })
    }

    /// Cuts every connection.
    pub(super) fn cut(&self) {
        // Without a connection there is nothing to cut.
        if self.cut.send(()).is_ok() {
            self.cuts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often connections were cut.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// A kubeconfig file like the given one that leads through the forwarder.
    pub(super) fn kubeconfig(&self, plane: &ControlPlane, original: &Path) -> Result<PathBuf> {
        let text = fs::read_to_string(original)?.replace(plane.url(), &format!("https://{}", self.address));
        let path = plane.data().join("kubeconfig-forwarded.yaml");
        fs::write(&path, text)?;
        Ok(path)
    }
}

async fn forward(mut from: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut to = TcpStream::connect(to).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut from, &mut to).await.map(drop)
}
