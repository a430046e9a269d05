//! Whether one request was answered, and rightly. No I/O.

use http::{HeaderMap, StatusCode};

use super::{counts::Loss, expectation::Allowed};
use crate::node::{System, protocol};

/// What came back, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn system(&self) -> Option<System> {
        self.header(protocol::SYSTEM).and_then(|value| value.parse().ok())
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) component: Option<&'a str>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answered by the right side.
    Served,
    /// Rightly answered with the proxy's own 404.
    NotRouted,
    /// Not answered.
    Lost(Loss),
    /// Answered by the wrong side; the text says how.
    Misrouted(String),
}

/// Judges an answer. What is lost cannot be misrouted: the loss comes first.
pub(super) fn judge(asked: Asked<'_>, allowed: Allowed, answer: &Answer) -> Verdict {
    if answer.status.is_server_error() {
        return Verdict::Lost(Loss::ServerError);
    }
    let (Some(system), Some(component)) = (answer.system(), answer.header(protocol::SERVED_BY)) else {
        let no_route = answer.status == StatusCode::NOT_FOUND && allowed.not_routed;
        return if no_route { Verdict::NotRouted } else { Verdict::Lost(Loss::NotServed) };
    };
    if answer.header(protocol::REQUEST_ID) != Some(asked.id) {
        return Verdict::Lost(Loss::WrongId);
    }
    if !answer.status.is_success() {
        return Verdict::Lost(Loss::UnexpectedStatus);
    }
    if !allowed.system(system) {
        return Verdict::Misrouted(format!("served by {component} of the {system} system"));
    }
    if asked.component.is_some_and(|wanted| wanted != component) {
        return Verdict::Misrouted(format!("served by {component}, another component of the {system} system"));
    }
    for (name, sent) in [(protocol::RECEIVED_HOST, asked.host), (protocol::RECEIVED_PATH, asked.path)] {
        if let Some(received) = answer.header(name)
            && received != sent
        {
            return Verdict::Misrouted(format!("{name} was `{received}`, sent was `{sent}`"));
        }
    }
    Verdict::Served
}
