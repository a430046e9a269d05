//! The three requests of the election, sent raw: typed calls hide the `Date` header.

use std::time::Duration;

use http::{Request, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Client, Resource,
    api::{GetParams, PostParams},
    client::Body,
    core::request::Request as Requests,
};
use tokio::time::Instant;

use super::{Skew, tracker::Answer};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the request could not be built: {0}")]
    Build(#[from] kube::core::request::Error),
    #[error("the lease could not be written as JSON: {0}")]
    Write(#[source] serde_json::Error),
    #[error("the API server could not be asked: {0}")]
    Send(#[from] kube::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer with status {status} is not a lease: {source}")]
    Read { status: StatusCode, source: serde_json::Error },
    #[error("the API server answered {status}: {text}")]
    Refused { status: StatusCode, text: String },
}

pub(super) struct LeaseApi {
    client: Client,
    requests: Requests,
    name: String,
}

impl LeaseApi {
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { client, requests: Requests::new(Lease::url_path(&(), Some(namespace))), name: name.to_owned() }
    }

    pub(super) async fn get(&self, timeout: Duration) -> Result<(Answer, Option<Skew>), Error> {
        self.send(self.requests.get(&self.name, &GetParams::default())?, timeout).await
    }

    pub(super) async fn create(&self, lease: &Lease, timeout: Duration) -> Result<(Answer, Option<Skew>), Error> {
        let body = serde_json::to_vec(lease).map_err(Error::Write)?;
        self.send(self.requests.create(&PostParams::default(), body)?, timeout).await
    }

    pub(super) async fn replace(&self, lease: &Lease, timeout: Duration) -> Result<(Answer, Option<Skew>), Error> {
        let body = serde_json::to_vec(lease).map_err(Error::Write)?;
        self.send(self.requests.replace(&self.name, &PostParams::default(), body)?, timeout).await
    }

    async fn send(&self, request: Request<Vec<u8>>, timeout: Duration) -> Result<(Answer, Option<Skew>), Error> {
        let read = request.method() == http::Method::GET;
        let (sent, clock) = (Timestamp::now(), Instant::now());
        let exchange = async {
            let answer = self.client.send(request.map(Body::from)).await?;
            let round_trip = clock.elapsed();
            let (parts, body) = answer.into_parts();
            Ok::<_, kube::Error>((parts, body.collect_bytes().await?, round_trip))
        };
        let (parts, body, round_trip) =
            tokio::time::timeout(timeout, exchange).await.map_err(|_| Error::Timeout(timeout))??;
        let skew = Skew::measure(&parts.headers, sent, round_trip);
        let answer = match parts.status {
            status if status.is_success() => {
                let lease = serde_json::from_slice(&body).map_err(|source| Error::Read { status, source })?;
                if read { Answer::Current(Some(Box::new(lease))) } else { Answer::Written(Box::new(lease)) }
            }
            StatusCode::NOT_FOUND if read => Answer::Current(None),
            // A replacement of a lease that is gone is outdated like any other.
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Answer::Conflict,
            status => return Err(Error::Refused { status, text: excerpt(&body) }),
        };
        Ok((answer, skew))
    }
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|status| status.get("message").and_then(|message| message.as_str().map(str::to_owned)))
        .unwrap_or_else(|| text.chars().take(200).collect())
}
