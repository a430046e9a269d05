//! Ingress: annotations, class, TLS, and rules.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Meta;

/// Written by `kubectl apply`; it repeats the whole object and decides nothing here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct IngressView {
    /// Identity and our marks.
    pub meta: Meta,
    /// Every annotation except `kubectl`'s copy of the object.
    pub annotations: BTreeMap<Box<str>, Box<str>>,
    /// `spec.ingressClassName`.
    pub class_name: Option<Box<str>>,
    /// The Service and port of `spec.defaultBackend`.
    pub default_backend: Option<(Box<str>, IngressPort)>,
    /// `spec.tls`.
    pub tls: Box<[IngressTlsView]>,
    /// `spec.rules`.
    pub rules: Box<[IngressRuleView]>,
}

/// One entry of `spec.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressTlsView {
    /// Hosts of the certificate.
    #[serde(default)]
    pub hosts: Box<[Box<str>]>,
    /// The Secret's name.
    #[serde(default)]
    pub secret_name: Option<Box<str>>,
}

/// One entry of `spec.rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressRuleView {
    /// The host; empty for every host.
    pub host: Box<str>,
    /// Its paths.
    pub paths: Box<[IngressPathView]>,
}

/// One path of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPathView {
    /// The path; empty for none.
    pub path: Box<str>,
    /// `Prefix`, `Exact` or `ImplementationSpecific`.
    pub path_type: Box<str>,
    /// The Service's name and port; `None` for a resource backend.
    pub backend: Option<(Box<str>, IngressPort)>,
}

/// The port of a backend. A name and a number are different keys to the proxies, even where they mean the same port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressPort {
    /// By name.
    Name(Box<str>),
    /// By number.
    Number(i32),
}

#[derive(Deserialize)]
struct Wire {
    metadata: Meta2,
    #[serde(default)]
    spec: WireSpec,
}

/// Metadata twice: once reduced, once for the annotations.
struct Meta2(Meta, BTreeMap<Box<str>, Box<str>>);

impl<'de> Deserialize<'de> for Meta2 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = super::meta::Wire::deserialize(deserializer)?;
        let mut annotations: BTreeMap<Box<str>, Box<str>> =
            wire.annotations.iter().flatten().map(|(key, value)| (key.as_str().into(), value.clone())).collect();
        annotations.remove(LAST_APPLIED);
        Ok(Self(wire.into(), annotations))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    #[serde(default)]
    ingress_class_name: Option<Box<str>>,
    #[serde(default)]
    default_backend: Option<WireBackend>,
    #[serde(default)]
    tls: Option<Box<[IngressTlsView]>>,
    #[serde(default)]
    rules: Option<Vec<WireRule>>,
}

#[derive(Deserialize)]
struct WireRule {
    #[serde(default)]
    host: Option<Box<str>>,
    #[serde(default)]
    http: Option<WireHttp>,
}

#[derive(Deserialize)]
struct WireHttp {
    #[serde(default)]
    paths: Vec<WirePath>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePath {
    #[serde(default)]
    path: Option<Box<str>>,
    #[serde(default)]
    path_type: Option<Box<str>>,
    #[serde(default)]
    backend: Option<WireBackend>,
}

#[derive(Deserialize)]
struct WireBackend {
    #[serde(default)]
    service: Option<WireService>,
}

#[derive(Deserialize)]
struct WireService {
    name: Box<str>,
    #[serde(default)]
    port: WirePort,
}

#[derive(Deserialize, Default)]
struct WirePort {
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default)]
    number: Option<i32>,
}

impl WireBackend {
    fn service(self) -> Option<(Box<str>, IngressPort)> {
        let service = self.service?;
        let port = match service.port {
            WirePort { name: Some(name), .. } => IngressPort::Name(name),
            WirePort { number, name: None } => IngressPort::Number(number.unwrap_or_default()),
        };
        Some((service.name, port))
    }
}

impl From<Wire> for IngressView {
    fn from(Wire { metadata: Meta2(meta, annotations), spec }: Wire) -> Self {
        Self {
            meta,
            annotations,
            class_name: spec.ingress_class_name,
            default_backend: spec.default_backend.and_then(WireBackend::service),
            tls: spec.tls.unwrap_or_default(),
            rules: spec.rules.unwrap_or_default().into_iter().map(IngressRuleView::from).collect(),
        }
    }
}

impl From<WireRule> for IngressRuleView {
    fn from(rule: WireRule) -> Self {
        let paths = rule.http.map(|http| http.paths).unwrap_or_default();
        Self { host: rule.host.unwrap_or_default(), paths: paths.into_iter().map(IngressPathView::from).collect() }
    }
}

impl From<WirePath> for IngressPathView {
    fn from(path: WirePath) -> Self {
        Self {
            path: path.path.unwrap_or_default(),
            path_type: path.path_type.unwrap_or_else(|| "ImplementationSpecific".into()),
            backend: path.backend.and_then(WireBackend::service),
        }
    }
}
