//! A server of watches, which the test writes line by line.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::channel::mpsc;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Either, Full, StreamBody};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::BoxError;

type Line = Result<Frame<Bytes>, std::io::Error>;

/// A server of watches. Each path's latest watch is written to by the test.
#[derive(Clone, Default)]
pub(super) struct Watches {
    pub(super) state: Arc<Mutex<State>>,
    opened: Arc<Notify>,
}

#[derive(Default)]
pub(super) struct State {
    open: HashMap<String, mpsc::UnboundedSender<Line>>,
    requests: Vec<String>,
    forbidden: HashSet<String>,
    pub(super) streaming_refused: bool,
    pub(super) pages: Vec<Value>,
}

impl Watches {
    pub(super) fn client(&self) -> Client {
        let this = self.clone();
        Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let answer = this.answer(&request);
                async move { Ok::<_, BoxError>(answer) }
            }),
            "default",
        )
    }

    fn answer(
        &self,
        request: &Request<Body>,
    ) -> Response<Either<Full<Bytes>, impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + use<>>> {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        let mut state = self.state.lock().unwrap();
        state.requests.push(format!("{path}?{query}"));
        let plain = |status: StatusCode, body: Value| {
            let body = Full::new(Bytes::from(serde_json::to_vec(&body).unwrap()));
            Response::builder().status(status).body(Either::Left(body)).unwrap()
        };
        if state.forbidden.contains(&path) {
            self.opened.notify_waiters();
            return plain(
                StatusCode::FORBIDDEN,
                json!({"kind": "Status", "code": 403, "reason": "Forbidden", "status": "Failure", "message": "you may not"}),
            );
        }
        if !query.contains("watch=true") {
            let page = state.pages.remove(0);
            return plain(StatusCode::OK, page);
        }
        if state.streaming_refused && query.contains("sendInitialEvents=true") {
            return plain(
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({"kind": "Status", "code": 422, "reason": "Invalid", "status": "Failure", "message": "sendInitialEvents is forbidden"}),
            );
        }
        let (sender, receiver) = mpsc::unbounded();
        state.open.insert(path, sender);
        self.opened.notify_waiters();
        Response::new(Either::Right(StreamBody::new(receiver)))
    }

    /// Writes events to the path's watch, which is waited for.
    pub(super) async fn write(&self, path: &str, events: &[Value]) {
        loop {
            let opened = self.opened.notified();
            let sender = self.state.lock().unwrap().open.get(path).cloned().filter(|sender| !sender.is_closed());
            if let Some(sender) = sender {
                for event in events {
                    // An API server names the type first.
                    let line = format!("{{\"type\":{},\"object\":{}}}\n", event["type"], event["object"]);
                    sender.unbounded_send(Ok(Frame::data(Bytes::from(line)))).unwrap();
                }
                return;
            }
            opened.await;
        }
    }

    /// Whether every request for the path is refused from now on.
    pub(super) fn forbid(&self, path: &str, forbidden: bool) {
        let mut state = self.state.lock().unwrap();
        if forbidden {
            state.forbidden.insert(path.to_owned());
        } else {
            state.forbidden.remove(path);
        }
    }

    /// Waits until so many requests were made.
    pub(super) async fn asked(&self, times: usize) {
        loop {
            let opened = self.opened.notified();
            if self.requests().len() >= times {
                return;
            }
            opened.await;
        }
    }

    /// The connection ends; the next watch is another one.
    pub(super) fn cut(&self, path: &str) {
        self.state.lock().unwrap().open.remove(path);
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

pub(super) fn added(object: &Value) -> Value {
    json!({"type": "ADDED", "object": object})
}

pub(super) fn deleted(object: &Value) -> Value {
    json!({"type": "DELETED", "object": object})
}

pub(super) fn listed(version: &str) -> Value {
    json!({"type": "BOOKMARK", "object": {
        "kind": "Any", "apiVersion": "v1",
        "metadata": {"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}},
    }})
}

pub(super) fn gone() -> Value {
    json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "status": "Failure", "message": "too old"}})
}
