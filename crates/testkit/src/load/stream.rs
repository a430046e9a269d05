//! What one stream of requests looks like. No I/O.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::expectation::Expect;

/// Requests of one kind, sent at one rate to one entry point.
#[derive(Clone, Debug)]
pub struct Stream {
    pub(super) name: String,
    pub(super) entry: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) headers: Vec<(String, String)>,
    pub(super) expect: Expect,
    pub(super) component: Option<String>,
    pub(super) router: String,
    pub(super) rate: u32,
}

impl Stream {
    /// `GET http://<host>/` through the proxy's entry point `entry`, ten requests per second, served
    /// by either system.
    #[must_use]
    pub fn new(name: impl Into<String>, entry: SocketAddr, host: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entry,
            host: host.into(),
            path: "/".to_owned(),
            method: Method::GET,
            headers: Vec::new(),
            expect: Expect::Either,
            component: None,
            router: String::new(),
            rate: 10,
        }
    }

    /// Path (and query) to ask for. Default: `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sends `POST` with a small body instead of `GET`: what a proxy cannot quietly repeat.
    #[must_use]
    pub fn post(mut self) -> Self {
        self.method = Method::POST;
        self
    }

    /// Adds a request header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a cookie.
    #[must_use]
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header("cookie", format!("{name}={value}"))
    }

    /// Who must answer. Default: [`Expect::Either`].
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// The one component that must answer, whatever its system. Default: any.
    #[must_use]
    pub fn component(mut self, component: impl Into<String>) -> Self {
        self.component = Some(component.into());
        self
    }

    /// Label to group streams by in windows and reports, such as `ingressNginx`.
    #[must_use]
    pub fn router(mut self, router: impl Into<String>) -> Self {
        self.router = router.into();
        self
    }

    /// Arrivals per second, 1 to 10,000. Default: 10.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second;
        self
    }

    /// Refuses what could leave this machine, and what is no request.
    pub(super) fn validate(&self) -> Result<HeaderMap> {
        ensure!(
            matches!(self.entry.ip(), IpAddr::V4(ip) if ip.is_loopback()),
            "stream `{}`: {} is outside 127.0.0.0/8; load is sent to this machine only",
            self.name,
            self.entry
        );
        ensure!(
            !self.name.is_empty() && self.name.bytes().all(|byte| byte.is_ascii_graphic()),
            "stream name `{}`: it is part of a header, so printable ASCII only",
            self.name
        );
        ensure!(
            (1..=10_000).contains(&self.rate),
            "stream `{}`: rate {} is outside 1 to 10,000 per second",
            self.name,
            self.rate
        );
        ensure!(self.path.starts_with('/'), "stream `{}`: path `{}` must start with /", self.name, self.path);
        self.path.parse::<http::Uri>().with_context(|| format!("stream `{}`: path `{}`", self.name, self.path))?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&self.host).with_context(|| format!("stream `{}`: host", self.name))?;
        headers.insert(header::HOST, host);
        for (name, value) in &self.headers {
            let name =
                name.parse::<HeaderName>().with_context(|| format!("stream `{}`: header name `{name}`", self.name))?;
            let value = HeaderValue::from_str(value)
                .with_context(|| format!("stream `{}`: value of header `{name}`", self.name))?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}
