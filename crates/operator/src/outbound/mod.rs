//! All I/O that is not with the API server.
//!
//! TLS is rustls on ring, with the public authorities compiled in: the container image has no certificate store.

pub mod dns;
pub mod http_probe;
pub mod notify;
pub mod prometheus;
pub mod reach;

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with extra authorities.
    #[error("the certificates in {path} cannot be used: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The TLS library.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// Makes ring the process's TLS provider. Called once at start, before any client is made; later calls change nothing.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("TLS provider was installed already");
    }
}

/// An HTTP client that follows no redirects (they could lead where configuration does not), uses no proxy, and gives up
/// after `timeout`. Trusts the public authorities and those of the PEM file `extra`.
///
/// # Errors
/// See [`Error`].
pub fn http_client(timeout: Duration, extra: Option<&PathBuf>) -> Result<reqwest::Client, Error> {
    Ok(client(roots(extra)?, timeout)?.pool_max_idle_per_host(2).build()?)
}

/// The public authorities, and those of the PEM file `extra`.
///
/// # Errors
/// The file cannot be used.
pub fn roots(extra: Option<&PathBuf>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra {
        let unusable = |reason: String| Error::Authorities { path: path.clone(), reason };
        let mut count = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(unusable("there is none in it".to_owned()));
        }
    }
    Ok(roots)
}

/// A client that follows no redirects, uses no proxy, and gives up after `timeout`.
fn client(roots: RootCertStore, timeout: Duration) -> Result<reqwest::ClientBuilder, Error> {
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout)
        .user_agent(concat!("cutover-operator/", env!("CARGO_PKG_VERSION"))))
}

/// reqwest's own text leaves out what is interesting: the source.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
