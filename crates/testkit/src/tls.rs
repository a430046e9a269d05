//! TLS in front of what speaks none, with a certificate that is made at the start and is its own authority. Network I/O.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A certificate for a name and its key, both in PEM. Whoever trusts the certificate trusts who has the key.
///
/// # Errors
/// When it is no name.
pub fn certificate(name: &str) -> Result<[String; 2]> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok([made.cert.pem(), made.signing_key.serialize_pem()])
}

/// Accepts connections for these names.
///
/// # Errors
/// When one is no name.
pub(crate) fn acceptor(names: impl Into<Vec<String>>) -> Result<(TlsAcceptor, String)> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))
}

/// A port that speaks TLS; ends when dropped, with the connections through it.
#[derive(Debug)]
pub struct TlsFront {
    authority: String,
    _task: AbortOnDropHandle<()>,
}

impl TlsFront {
    /// Listens at `address` under a name, and passes what comes on to `to`.
    ///
    /// # Errors
    /// When the address is not this machine's, or is in use.
    pub async fn start(address: SocketAddr, name: &str, to: SocketAddr) -> Result<Self> {
        let (acceptor, authority) = acceptor([name.to_owned()])?;
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(pass_on(stream, acceptor.clone(), to));
            }
        });
        Ok(Self { authority, _task: AbortOnDropHandle::new(task) })
    }

    /// The certificate to trust, in PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

async fn pass_on(stream: TcpStream, acceptor: TlsAcceptor, to: SocketAddr) {
    let passed = async {
        let mut inside = acceptor.accept(stream).await?;
        let mut outside = TcpStream::connect(to).await?;
        tokio::io::copy_bidirectional(&mut inside, &mut outside).await
    };
    if let Err(error) = passed.await {
        tracing::debug!(%error, "connection through TLS");
    }
}
