//! gRPC as a proxy sees it: HTTP/2 with prior knowledge, `application/grpc`, one message without content each way, and the outcome in the
//! trailers. A server that says who it is, and a client. Network I/O, loopback only.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Of one call.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
/// The length of a message without content, and that it is not compressed.
const MESSAGE: Bytes = Bytes::from_static(&[0; 5]);
/// Who answered, in the answer's headers.
const SERVED_BY: &str = "x-served-by";

/// A server of every service and method; ends when dropped.
#[derive(Debug)]
pub struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers every call at exactly this address, by a name.
///
/// # Errors
/// When the address is not this machine's, or is in use.
pub async fn serve(address: SocketAddr, name: &str) -> Result<Server> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let name = HeaderValue::from_str(name)?;
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let name = name.clone();
            tokio::spawn(async move {
                if let Err(error) = converse(stream, name).await {
                    tracing::debug!(%error, "a connection of gRPC ended");
                }
            });
        }
    });
    Ok(Server(accepting.abort_handle()))
}

async fn converse(stream: TcpStream, name: HeaderValue) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, mut respond) = call?;
        let name = name.clone();
        tokio::spawn(async move {
            read(request.into_body()).await?;
            let mut answer = Response::new(());
            answer.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
            answer.headers_mut().insert(SERVED_BY, name);
            let mut body = respond.send_response(answer, false)?;
            body.send_data(MESSAGE, false)?;
            let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), "0".parse()?)]);
            body.send_trailers(trailers)?;
            anyhow::Ok(())
        });
    }
    Ok(())
}

/// Reads to the end.
async fn read(mut body: RecvStream) -> Result<Option<HeaderMap>> {
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(body.trailers().await?)
}

/// A connection that calls are made on.
#[derive(Debug)]
pub struct Channel {
    sender: client::SendRequest<Bytes>,
    host: String,
    driver: AbortHandle,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Channel {
    /// Connects; calls are of this host.
    ///
    /// # Errors
    /// When nobody speaks HTTP/2 there.
    pub async fn open(entry: SocketAddr, host: &str) -> Result<Self> {
        let opened = async {
            let stream = TcpStream::connect(entry).await?;
            stream.set_nodelay(true)?;
            anyhow::Ok(client::handshake(stream).await?)
        };
        let (sender, connection) = tokio::time::timeout(TIMEOUT, opened).await.context("no connection")??;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of gRPC broke");
            }
        });
        Ok(Self { sender, host: host.to_owned(), driver: driver.abort_handle() })
    }

    /// Calls `/package.Service/Method`, and says who answered.
    ///
    /// # Errors
    /// When the call fails, with the status of HTTP or of gRPC.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)]) -> Result<String> {
        let request = Request::post(format!("http://{}{path}", self.host))
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::TE, "trailers");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(())?;
        let answered = async {
            let (answer, mut body) = self.sender.clone().ready().await?.send_request(request, false)?;
            body.send_data(MESSAGE, true)?;
            let (head, body) = answer.await?.into_parts();
            // An answer without content has its trailers among the headers.
            let trailers = read(body).await?.unwrap_or_else(|| head.headers.clone());
            anyhow::Ok((head, trailers))
        };
        let (head, trailers) =
            tokio::time::timeout(TIMEOUT, answered).await.with_context(|| format!("{path}: no answer"))??;
        let outcome = trailers.get("grpc-status").map(HeaderValue::as_bytes);
        if head.status != StatusCode::OK || outcome != Some(b"0") {
            bail!("{path}: {}, {trailers:?}", head.status);
        }
        let by = head.headers.get(SERVED_BY).with_context(|| format!("{path}: nobody says who answered"))?;
        Ok(by.to_str()?.to_owned())
    }

    /// So many calls at once, and who answered each.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn calls(&self, number: usize, path: &str, headers: &[(&str, &str)]) -> Result<Vec<String>> {
        try_join_all((0..number).map(|_| self.call(path, headers))).await
    }
}
