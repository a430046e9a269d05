//! What every request of the controllers' client passes: leadership, rate, timeout, counting.
//!
//! A layer around the HTTP client rather than a wrapper type, so that nobody can forget it: a mutating request is
//! refused here, unsent, once this replica may not write ([`NotLeader`]), and is cut off when the leadership's
//! deadline passes while it is under way. Reads and dry runs are not refused; a standby keeps its caches warm.
//!
//! A request must be answered within the timeout, body included. Of a watch only the answer's head is timed, and it is
//! not throttled: its stream lives on, and its restarts have a backoff of their own.

mod limit;
mod request;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full};
use kube::client::Body;
use prometheus::IntCounterVec;
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service, ServiceExt};

use self::request::Verb;
use super::lease::{Leadership, NotLeader};
pub use limit::Limiter;

/// The API server did not answer in time. A write may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API server did not answer within {0:?}")]
pub struct TimedOut(pub Duration);

/// Whether a request was refused here, or cut off, because this replica does not lead.
#[must_use]
pub fn is_not_leader(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<NotLeader>())
}

/// Whether a request had no answer in time.
#[must_use]
pub fn is_timeout(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<TimedOut>())
}

/// See the module. Cloned for each client that shares the limits.
#[derive(Clone)]
pub struct GuardLayer {
    rules: Arc<Rules>,
}

struct Rules {
    /// `None` for a client that may always write (the lease's own).
    leadership: Option<Leadership>,
    limiter: Option<Limiter>,
    timeout: Duration,
    requests: IntCounterVec,
    client: &'static str,
}

impl GuardLayer {
    /// A layer that lets mutating requests pass while `leadership` holds, counts requests in `requests` (labels
    /// `client`, `verb`, `code`), and waits for `limiter` if there is one.
    #[must_use]
    pub fn new(
        client: &'static str,
        leadership: Option<Leadership>,
        limiter: Option<Limiter>,
        timeout: Duration,
        requests: IntCounterVec,
    ) -> Self {
        Self { rules: Arc::new(Rules { leadership, limiter, timeout, requests, client }) }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner: Arc::new(Mutex::new(inner)), rules: Arc::clone(&self.rules) }
    }
}

/// The service made by [`GuardLayer`].
pub struct Guard<S> {
    inner: Arc<Mutex<S>>,
    rules: Arc<Rules>,
}

impl<S, B> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The inner service is asked when the request's turn has come.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, rules) = (Arc::clone(&self.inner), Arc::clone(&self.rules));
        Box::pin(async move {
            let verb = Verb::of(request.method(), request.uri());
            let mutates = verb.mutates() && !request::is_dry_run(request.uri());
            if verb != Verb::Watch
                && let Some(limiter) = &rules.limiter
            {
                // Before the wait, so that a queue of refused writes does not drain slowly.
                rules.check(mutates)?;
                limiter.acquire().await;
            }
            let allowed = rules.allowed(mutates)?;
            let exchange = async {
                let answer = {
                    let mut service = inner.lock().await;
                    service.ready().await.map_err(Into::into)?.call(request)
                };
                let (parts, body) = answer.await.map_err(Into::into)?.into_parts();
                let status = parts.status.as_u16();
                let body = if verb == Verb::Watch {
                    Either::Left(body)
                } else {
                    Either::Right(Full::new(body.collect().await.map_err(Into::into)?.to_bytes()))
                };
                Ok::<_, BoxError>((status, Response::from_parts(parts, body)))
            };
            match tokio::time::timeout(allowed, exchange).await {
                Ok(Ok((status, answer))) => {
                    rules.count(verb, &status.to_string());
                    Ok(answer)
                }
                Ok(Err(error)) => {
                    rules.count(verb, "error");
                    Err(error)
                }
                Err(_) => {
                    rules.count(verb, "timeout");
                    rules.check(mutates)?;
                    Err(TimedOut(allowed).into())
                }
            }
        })
    }
}

impl Rules {
    fn check(&self, mutates: bool) -> Result<(), NotLeader> {
        match &self.leadership {
            Some(leadership) if mutates => leadership.check(),
            _ => Ok(()),
        }
    }

    /// How long a request may take: a write no longer than this replica is sure to lead.
    fn allowed(&self, mutates: bool) -> Result<Duration, NotLeader> {
        let remaining = match &self.leadership {
            Some(leadership) if mutates => leadership.remaining()?,
            _ => None,
        };
        Ok(remaining.map_or(self.timeout, |remaining| remaining.min(self.timeout)))
    }

    fn count(&self, verb: Verb, code: &str) {
        self.requests.with_label_values(&[self.client, verb.name(), code]).inc();
    }
}
