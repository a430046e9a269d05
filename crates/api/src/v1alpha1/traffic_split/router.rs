//! The routers that carry a split, managed or attached to.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{
    forms::{ENTRY_POINT_PATTERN, GATEWAY_PATTERN, LABEL_PATTERN, NAME_PATTERN},
    schema::texts,
};

/// A router that carries the split: exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.ingressNginx), has(self.gatewayApi), has(self.traefik), has(self.istio), has(self.alb)].exists_one(it, it)").message("a router is exactly one of ingressNginx, gatewayApi, traefik, istio and alb"))]
pub struct Router {
    /// Ingresses with ingress-nginx's canary annotations, which Traefik 3.7 and later serves too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_nginx: Option<IngressNginxRouter>,
    /// A Gateway API HTTPRoute or GRPCRoute (v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_api: Option<GatewayApiRouter>,
    /// Traefik's own kinds (`traefik.io/v1alpha1`): an IngressRoute that leads to a weighted TraefikService.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traefik: Option<TraefikRouter>,
    /// An Istio VirtualService (`networking.istio.io/v1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioRouter>,
    /// An Ingress of the AWS Load Balancer Controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alb: Option<AlbRouter>,
}

impl Router {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> RouterKind {
        if self.ingress_nginx.is_some() {
            RouterKind::IngressNginx
        } else if self.gateway_api.is_some() {
            RouterKind::GatewayApi
        } else if self.traefik.is_some() {
            RouterKind::Traefik
        } else if self.istio.is_some() {
            RouterKind::Istio
        } else {
            RouterKind::Alb
        }
    }
}

/// Kinds of router.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouterKind {
    /// Ingress with ingress-nginx's canary annotations.
    IngressNginx,
    /// Gateway API HTTPRoute or GRPCRoute.
    GatewayApi,
    /// Traefik's IngressRoute and TraefikService.
    Traefik,
    /// Istio's VirtualService.
    Istio,
    /// Ingress of an AWS load balancer.
    Alb,
}

impl RouterKind {
    /// The field of a router of this kind.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::IngressNginx => "ingressNginx",
            Self::GatewayApi => "gatewayApi",
            Self::Traefik => "traefik",
            Self::Istio => "istio",
            Self::Alb => "alb",
        }
    }
}

/// Two Ingresses: the main one to legacy and a canary to the new side. Either managed (`className`) or attached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.className) != has(self.attach)").message("ingressNginx is exactly one of className (both Ingresses are made) and attach (only the canary is)"),
    validation = Rule::new("!has(self.attach) || !has(self.tls)").message("an attached split takes TLS from the existing Ingress: remove tls").field_path(".tls"),
    validation = Rule::new("!has(self.attach) || !has(self.allowedResponseHeaders)").message("an attached split leaves the headers of the existing Ingress as they are: remove allowedResponseHeaders").field_path(".allowedResponseHeaders")
)]
pub struct IngressNginxRouter {
    /// IngressClass of the Ingresses that are made, such as `nginx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub class_name: Option<String>,
    /// TLS of the hosts: the Secret (type `kubernetes.io/tls`, same namespace) that holds the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// Annotations added to the main Ingress that is made. Canary annotations are refused. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts", extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("!self.exists(k, k.startsWith('nginx.ingress.kubernetes.io/canary'))").message("canary annotations are Cutover's: use newWeight and pins"))]
    pub annotations: BTreeMap<String, String>,
    /// Response headers that the administrator of the controller allows (`global-allowed-response-headers`), written as there: controllers
    /// compare the case. They are what `edge.securityHeaders` may set: a host with a header that is not allowed is answered with 503. Keep
    /// them allowed for as long as the split is there. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_response_headers: Vec<String>,
    /// Leave an existing main Ingress as it is and add only the canary beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<IngressAttach>,
}

/// TLS of a managed Ingress.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressTls {
    /// Name of the Secret. The operator never reads it.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub secret_name: String,
}

/// An Ingress that exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressAttach {
    /// Name of the main Ingress, in the split's namespace. It must serve the split's hosts and paths by the legacy backend's Service.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub ingress: String,
}

/// A route of the Gateway API: either managed (`parentRefs`) or attached to one rule of an existing one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.parentRefs) != has(self.attach)").message("gatewayApi is exactly one of parentRefs (the route is made) and attach (one rule of an existing route is moved)"),
    validation = Rule::new("self.routeKind != 'GRPCRoute' || !has(self.parentRefs) || self.parentRefs.all(p, !has(p.redirectFrom))").message("clients of gRPC follow no redirects: remove redirectFrom").field_path(".parentRefs")
)]
pub struct GatewayApiRouter {
    /// Kind of the route: `HTTPRoute` (default), or `GRPCRoute` for gRPC, where `spec.paths` are services (`/package.Service`, a prefix)
    /// and methods (`/package.Service/Method`, exact). When it changes, the route of the kind before stays until a Gateway has
    /// accepted the new one.
    #[serde(default)]
    pub route_kind: RouteKind,
    /// Gateways that the route is attached to, 1 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Option<Vec<ParentRef>>,
    /// One named rule of an existing route: only its backends are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<RouteAttach>,
}

/// Kinds of route of the Gateway API.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// For HTTP.
    #[default]
    #[serde(rename = "HTTPRoute")]
    Http,
    /// For gRPC.
    #[serde(rename = "GRPCRoute")]
    Grpc,
}

/// A Gateway, or one listener of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.redirectFrom) || (has(self.sectionName) && self.sectionName != self.redirectFrom)").message("redirectFrom names the listener without TLS, so sectionName must name the one with TLS").field_path(".sectionName"))]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// Namespace of the Gateway. Default: the split's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub namespace: Option<String>,
    /// Name of one listener. Default: every listener that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub section_name: Option<String>,
    /// Name of the listener without TLS, from which requests are sent to `https` where `edge.tlsRedirect` asks for it. `sectionName` then
    /// names the listener with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub redirect_from: Option<String>,
}

/// One named rule of a route that exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteAttach {
    /// Name of the route, in the split's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub route: String,
    /// Name of the rule (`spec.rules[].name`).
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub rule: String,
}

/// An IngressRoute and the weighted TraefikService that it leads to: either managed or attached to an existing TraefikService.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.attach) || !has(self.entryPoints)").message("a TraefikService that exists is led to by routes of its owner's: remove entryPoints").field_path(".entryPoints"),
    validation = Rule::new("!has(self.attach) || !has(self.tls)").message("a TraefikService that exists is led to by routes of its owner's: remove tls").field_path(".tls"),
    validation = Rule::new("!has(self.redirectFrom) || (has(self.entryPoints) && !self.redirectFrom.exists(it, it in self.entryPoints))").message("redirectFrom names the entry points without TLS, so entryPoints must name others, with TLS").field_path(".redirectFrom")
)]
pub struct TraefikRouter {
    /// Entry points of Traefik that the IngressRoute is served on, such as `websecure`, 1 to 8. Default: Traefik's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 63), regex(pattern = ENTRY_POINT_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub entry_points: Option<Vec<String>>,
    /// Entry points without TLS, such as `web`, from which requests are sent to `https` where `edge.tlsRedirect` asks for it, 1 to 8.
    /// `entryPoints` then names those with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 63), regex(pattern = ENTRY_POINT_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub redirect_from: Option<Vec<String>>,
    /// Serves the hosts by TLS. Without `secretName` and `certResolver` (`tls: {}`) Traefik takes a certificate that fits from its
    /// stores, or its default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TraefikTls>,
    /// A weighted TraefikService that exists: only the weights of the two sides in it are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<TraefikAttach>,
}

/// TLS of a managed IngressRoute.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.secretName) || !has(self.certResolver)").message("tls takes its certificate from secretName or from certResolver: remove one"))]
pub struct TraefikTls {
    /// Name of the Secret (type `kubernetes.io/tls`, same namespace) that holds the certificate. The operator never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub secret_name: Option<String>,
    /// Name of a certificate resolver in Traefik's configuration, such as `letsencrypt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = ENTRY_POINT_PATTERN))]
    pub cert_resolver: Option<String>,
}

/// A TraefikService that exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraefikAttach {
    /// Name of the TraefikService, in the split's namespace. Its `weighted.services` must list the Services of both sides and no others.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub service: String,
}

/// A VirtualService: either managed (`gateways`) or attached to one `http` entry of an existing one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.gateways) != has(self.attach)").message("istio is exactly one of gateways (the VirtualService is made) and attach (one http entry of an existing VirtualService is moved)"))]
pub struct IstioRouter {
    /// Gateways that the VirtualService is bound to, 1 to 8, such as `istio-ingress/edge` or, of the split's namespace, `edge`; `mesh` stands
    /// for every sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253), regex(pattern = GATEWAY_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub gateways: Option<Vec<String>>,
    /// One named `http` entry of an existing VirtualService: only its destinations are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<IstioAttach>,
}

/// One named `http` entry of a VirtualService that exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IstioAttach {
    /// Name of the VirtualService, in the split's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub virtual_service: String,
    /// Name of the entry (`spec.http[].name`).
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    pub http: String,
}

/// An Ingress whose annotations tell the AWS Load Balancer Controller how to forward.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlbRouter {
    /// IngressClass of the Ingress that is made, such as `alb`.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub class_name: String,
    /// Annotations of the load balancer, such as `alb.ingress.kubernetes.io/scheme`, `.../group.name` and `.../certificate-arn`. Actions and
    /// conditions are refused. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts", extend("maxProperties" = 32))]
    #[x_kube(
        validation = Rule::new("self.all(k, k.startsWith('alb.ingress.kubernetes.io/'))").message("annotations are those of the load balancer: each begins with alb.ingress.kubernetes.io/"),
        validation = Rule::new("!self.exists(k, k.startsWith('alb.ingress.kubernetes.io/actions.') || k.startsWith('alb.ingress.kubernetes.io/conditions.'))").message("actions and conditions are Cutover's: use newWeight and pins")
    )]
    pub annotations: BTreeMap<String, String>,
}
