//! One HTTP request without retries, on a fresh or a kept connection. Network I/O, loopback only.
//!
//! Built on hyper's connection, not on a pooling client: when a request may go out again is the one
//! decision that must not be made out of sight.

use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{counts::Loss, verdict::Answer};

/// Most that an answer's body may hold.
const MAX_BODY: usize = 64 * 1024;

type Sender = SendRequest<Full<Bytes>>;
type Failed = (Loss, String);

struct Kept {
    sender: Sender,
    since: Instant,
}

/// Connections that rest, by entry point.
pub(super) struct Client {
    idle: Mutex<HashMap<SocketAddr, Vec<Kept>>>,
    idle_limit: Duration,
}

/// What became of a request, and how it went out.
pub(super) struct Sent {
    pub(super) stale: u32,
    pub(super) result: Result<Answer, Failed>,
}

impl Client {
    pub(super) fn new(idle_limit: Duration) -> Self {
        Self { idle: Mutex::default(), idle_limit }
    }

    /// Sends on a connection of its own, which ends with the answer.
    pub(super) async fn send_fresh(&self, entry: SocketAddr, mut request: Request<Full<Bytes>>) -> Sent {
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let result = async {
            let mut sender = connect(entry).await?;
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            read(response).await
        };
        Sent { stale: 0, result: result.await }
    }

    /// Sends on a kept connection, or on a new one that is kept afterwards.
    pub(super) async fn send_kept(&self, entry: SocketAddr, mut request: Request<Full<Bytes>>) -> Sent {
        let mut stale = 0;
        while let Some(mut sender) = self.take(entry) {
            if sender.ready().await.is_err() {
                stale += 1;
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Sent { stale, result: self.finish(entry, sender, response).await },
                Err(mut error) => match error.take_message() {
                    // Handed back untouched: the connection was closed before anything was written.
                    Some(unsent) => {
                        stale += 1;
                        request = unsent;
                    }
                    None => return Sent { stale, result: Err(broken(&error.into_error())) },
                },
            }
        }
        let result = async {
            let mut sender = connect(entry).await?;
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            self.finish(entry, sender, response).await
        };
        Sent { stale, result: result.await }
    }

    async fn finish(&self, entry: SocketAddr, sender: Sender, response: Response<Incoming>) -> Result<Answer, Failed> {
        let answer = read(response).await?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.entry(entry).or_default().push(Kept { sender, since: Instant::now() });
        Ok(answer)
    }

    /// The connection used last: the others then age out when the load falls.
    fn take(&self, entry: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(&entry)?;
        let last = kept.pop()?;
        if last.since.elapsed() < self.idle_limit {
            return Some(last.sender);
        }
        // Sorted by age: when the youngest is too old, all are.
        kept.clear();
        None
    }
}

async fn connect(entry: SocketAddr) -> Result<Sender, Failed> {
    let tcp = TcpStream::connect(entry).await.map_err(|error| {
        let loss = if error.kind() == std::io::ErrorKind::ConnectionRefused { Loss::Refused } else { Loss::Connect };
        (loss, chain(&error))
    })?;
    tcp.set_nodelay(true).map_err(|error| (Loss::Connect, chain(&error)))?;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(|error| broken(&error))?;
    // Its errors reach the one request that is under way; an idle connection's end is no news.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(response: Response<Incoming>) -> Result<Answer, Failed> {
    let (head, body) = response.into_parts();
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(_) => Ok(Answer { status: head.status, headers: head.headers }),
        Err(error) => {
            let loss = if error.downcast_ref::<hyper::Error>().is_some() { Loss::Reset } else { Loss::Malformed };
            Err((loss, format!("status {}, then {}", head.status, chain(&*error))))
        }
    }
}

fn broken(error: &hyper::Error) -> Failed {
    let loss = if error.is_parse() { Loss::Malformed } else { Loss::Reset };
    (loss, chain(error))
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
