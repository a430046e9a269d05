//! A plain HTTP client for addresses inside the namespace: no proxy, no redirects, no retries.

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use anyhow::{Context, Result};
use reqwest::{Certificate, Client, ClientBuilder, redirect::Policy};
pub use reqwest::{Method, Response};

static CLIENT: LazyLock<Result<Client, String>> =
    LazyLock::new(|| builder().build().map_err(|error| format!("no HTTP client: {error}")));

fn builder() -> ClientBuilder {
    // Whoever comes first installs it; a second one is the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(10))
        // A pooled connection belongs to the runtime of the test that opened it.
        .pool_max_idle_per_host(0)
}

pub(crate) fn client() -> Result<&'static Client> {
    CLIENT.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// `GET http://<address><path>` with a host header, on a connection of its own.
///
/// # Errors
/// When there is no answer within ten seconds. Any status is an answer.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Response> {
    get_with(address, host, path, None).await
}

/// [`get`] with one more header.
///
/// # Errors
/// As [`get`].
pub async fn get_with(address: SocketAddr, host: &str, path: &str, header: Option<(&str, &str)>) -> Result<Response> {
    let url = format!("http://{address}{path}");
    let request = client()?.get(&url).header("host", host);
    let request = match header {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    request.send().await.with_context(|| format!("GET {url} (host {host})"))
}

/// `GET https://<host><path>` at an address, from nobody but who has the key of this certificate (PEM).
///
/// # Errors
/// When there is no answer within ten seconds, or one under another certificate. Any status is an answer.
pub async fn get_by_tls(address: SocketAddr, host: &str, path: &str, authority: &str) -> Result<Response> {
    let client =
        builder().resolve(host, address).tls_certs_only([Certificate::from_pem(authority.as_bytes())?]).build()?;
    let url = format!("https://{host}:{}{path}", address.port());
    client.get(&url).send().await.with_context(|| format!("GET {url} at {address}"))
}

/// A request of any method, without a body, with a host header and more headers, on a connection of its own.
///
/// # Errors
/// As [`get`].
pub async fn send(
    address: SocketAddr,
    host: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Response> {
    let url = format!("http://{address}{path}");
    let request = client()?.request(method.clone(), &url).header("host", host);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.with_context(|| format!("{method} {url} (host {host})"))
}

/// The body of a successful [`get`] with the address as host.
///
/// # Errors
/// When there is no answer, or one that says failure.
pub async fn text(address: SocketAddr, path: &str) -> Result<String> {
    Ok(get(address, &address.to_string(), path).await?.error_for_status()?.text().await?)
}
