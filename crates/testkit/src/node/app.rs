//! What a simulated backend answers. No I/O: requests come in, answers go out.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use serde_json::json;

use super::{
    metrics::Metrics,
    protocol::{self, System},
    script::Told,
};

/// Path of the health check.
pub const HEALTH_PATH: &str = "/api/health";
/// Path of the metrics.
pub const METRICS_PATH: &str = "/metrics";
/// Most of a request's body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the component.
    pub component: String,
    /// System that it is part of.
    pub system: System,
    /// Name of the pod, or of the host for a backend outside the cluster.
    pub pod: String,
    /// Tag of its image.
    pub image_tag: String,
}

/// One backend: its identity, its script and its metrics, shared by all of its ports.
#[derive(Debug)]
pub(super) struct App {
    identity: Identity,
    told: Told,
    metrics: Metrics,
    /// Error diffusion: rises by the error rate with each request; a whole one is an error. The share
    /// of errors is then exact over a few requests, and the same in every run.
    errors_due: Mutex<f64>,
}

impl App {
    pub(super) fn new(identity: Identity, told: Told) -> Self {
        Self { identity, told, metrics: Metrics::default(), errors_due: Mutex::default() }
    }

    pub(super) async fn answer<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path == METRICS_PATH {
            // Not counted itself: scrapes are no traffic.
            let text = self.metrics.render(self.identity.system.as_str(), &self.identity.component);
            let mut response = Response::new(Full::from(text));
            let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, format);
            return Ok(response);
        }
        // Read to its end, or the connection could not be kept.
        let complete = Limited::new(body, MAX_BODY).collect().await.is_ok();
        let script = self.told.now();
        let status = if !complete {
            StatusCode::BAD_REQUEST
        } else if path == HEALTH_PATH {
            if script.not_ready { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
        } else {
            if !script.delay.is_zero() {
                tokio::time::sleep(script.delay).await;
            }
            if self.error_is_due(script.error_rate) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
        };
        self.metrics.observe(head.method.as_str(), path, status.as_u16(), began.elapsed());
        let received = head.uri.path_and_query().map_or(path, |all| all.as_str());
        Ok(self.describe(status, &head.headers, received))
    }

    fn error_is_due(&self, rate: f64) -> bool {
        let mut due = self.errors_due.lock().unwrap_or_else(PoisonError::into_inner);
        *due += rate;
        // Sums of decimals fall short of the whole by a hair.
        let error = rate > 0.0 && *due > 1.0 - 1e-9;
        if error {
            *due -= 1.0;
        }
        error
    }

    fn describe(&self, status: StatusCode, asked: &HeaderMap, path: &str) -> Response<Full<Bytes>> {
        let Identity { component, system, pod, image_tag } = &self.identity;
        let text = |name| asked.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let (id, host) = (text(HeaderName::from_static(protocol::REQUEST_ID)), text(header::HOST));
        let body = json!({
            "component": component, "system": system.as_str(), "pod": pod, "imageTag": image_tag,
            "requestId": id, "host": host, "path": path,
        });
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let named = [
            (protocol::SERVED_BY, Some(component.as_str())),
            (protocol::SYSTEM, Some(system.as_str())),
            (protocol::POD, Some(pod)),
            (protocol::IMAGE_TAG, Some(image_tag)),
            (protocol::REQUEST_ID, id),
            (protocol::RECEIVED_HOST, host),
            (protocol::RECEIVED_PATH, Some(path)),
        ];
        for (name, value) in named {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
