//! A scripted API server for tests: each request is expected in its turn, looked at, and answered; none may be left.

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower_test::mock::{self, Handle, SendResponse};

/// The server's side.
pub(crate) struct Scripted {
    handle: Handle<Request<Body>, Response<Body>>,
}

/// A client, and the server that answers it.
pub(crate) fn server() -> (Client, Scripted) {
    let (service, handle) = mock::pair();
    (Client::new(service, "default"), Scripted { handle })
}

impl Scripted {
    /// The client's next request, which must be this one.
    pub(crate) async fn expect(&mut self, method: Method, path: &str) -> Exchange {
        let exchange = self.next().await;
        assert_eq!((&exchange.method, exchange.path.as_str()), (&method, path), "body: {}", exchange.body);
        exchange
    }

    /// The client's next request, whatever it is.
    pub(crate) async fn next(&mut self) -> Exchange {
        self.upcoming().await.expect("the client made no further request")
    }

    /// The client's next request; `None` once the client has been dropped.
    pub(crate) async fn upcoming(&mut self) -> Option<Exchange> {
        let (request, send) = self.handle.next_request().await?;
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        Some(Exchange {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() },
            send,
        })
    }

    /// The client, which must have been dropped, made no further request.
    pub(crate) async fn no_more(mut self) {
        if let Some((request, _)) = self.handle.next_request().await {
            panic!("unexpected: {} {}", request.method(), request.uri());
        }
    }
}

/// One request, to be answered.
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: String,
    pub(crate) body: Value,
    send: SendResponse<Response<Body>>,
}

impl Exchange {
    /// The value of a query parameter, with `%2F` decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.replace("%2F", "/").replace("%3D", "=").replace("%2C", ","))
    }

    pub(crate) fn ok(self, body: &Value) {
        self.answer(StatusCode::OK, body);
    }

    pub(crate) fn answer(self, status: StatusCode, body: &Value) {
        self.raw(Response::builder().status(status), body);
    }

    /// With headers of the test's own.
    pub(crate) fn raw(self, response: http::response::Builder, body: &Value) {
        self.send.send_response(response.body(Body::from(serde_json::to_vec(body).unwrap())).unwrap());
    }

    /// With an error of the API server's kind.
    pub(crate) fn refuse(self, status: StatusCode, reason: &str) {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": format!("scripted: {reason}"), "reason": reason, "code": status.as_u16(),
        });
        self.answer(status, &body);
    }

    /// The connection breaks: the client does not know what became of its request.
    pub(crate) fn lose(self) {
        self.send.send_error("connection reset");
    }
}
