//! TrafficSplit: one way in (hosts and paths) and its two backends, legacy and new.

mod backend;
mod cors;
mod edge;
mod failure;
mod mirror;
mod motion;
mod probe;
mod rate_limit;
mod router;
mod status;
mod stickiness;
mod verify;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    backend::{Backend, Capacity, CookieMatch, HeaderMatch, Pin, Safety, ServiceBackend, Side},
    cors::{Cors, Method},
    edge::{Edge, FrameOptions, SecurityHeaders, StrictTransportSecurity, Timeouts},
    failure::{CircuitBreaker, Retries},
    mirror::Mirror,
    motion::{DiedSide, FailedOver, Failover, Ramp},
    probe::{HttpProbe, SideProbe, TcpProbe},
    rate_limit::{Limit, RateLimit},
    router::{
        AlbRouter, GatewayApiRouter, IngressAttach, IngressNginxRouter, IngressTls, IstioAttach, IstioRouter,
        ParentRef, RouteAttach, RouteKind, Router, RouterKind, TraefikAttach, TraefikRouter, TraefikTls,
    },
    status::{
        AddedEntry, Endpoints, Holder, LegacyRetired, LegacyRetiring, ProbeState, ProbeStatus, ProbesStatus,
        ReadyEndpoints, RouterStatus, TrafficSplitStatus,
    },
    stickiness::{Stickiness, StickinessStatus, StickyCookie},
    verify::{VerifiedWeight, Verify, VerifyHttp},
};
use super::forms::{HOST_PATTERN, NAME_PATTERN, PATH_PATTERN, REWRITE_PATTERN};

/// One way into the system and its two sides. The operator keeps the share of the new side in force on every router listed.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "cutover.dev",
    version = "v1alpha1",
    kind = "TrafficSplit",
    plural = "trafficsplits",
    shortname = "tsplit",
    category = "cutover",
    namespaced,
    status = "TrafficSplitStatus",
    derive = "PartialEq",
    doc = "One way into the system (hosts and paths) and its two backends, legacy and new. The operator keeps the share of the new side in force on every router listed.",
    validation = Rule::new("size(self.metadata.name) <= 48").message("metadata.name must have at most 48 characters: names of Services and routes are made from it"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.hosts[0]", description = "First host"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredWeight", description = "Weight of the new side that is wanted now"),
    printcolumn(name = "Applied", type_ = "integer", json_path = ".status.appliedWeight", description = "Weight of the new side that every route carries"),
    printcolumn(name = "Holder", type_ = "string", json_path = ".status.holder.phase", description = "Phase that moves the split now"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.newWeight <= self.weightTotal").message("newWeight must not be greater than weightTotal").field_path(".newWeight"),
    validation = Rule::new("has(self.legacy) || self.newWeight == self.weightTotal || self.newWeight == 0").message("without a legacy backend newWeight is 0 or weightTotal: there is nobody to share with").field_path(".newWeight"),
    validation = Rule::new("!has(self.ramp) || self.ramp.maxStep <= self.weightTotal").message("maxStep must not be greater than weightTotal").field_path(".ramp.maxStep"),
    validation = Rule::new("!has(self.failover) || self.failover == 'Off' || has(self.legacy)").message("without a legacy backend there is no side to fail over to").field_path(".failover"),
    validation = Rule::new("!has(self.stickiness) || has(self.legacy)").message("without a legacy backend there is no side to stick to but one").field_path(".stickiness"),
    validation = Rule::new("has(self.environment) || (!has(self.new.component) && (!has(self.legacy) || !has(self.legacy.component)))").message("a backend names a component, so environment must be set").field_path(".environment"),
    validation = Rule::new("!has(self.pins) || has(self.legacy) || self.pins.all(p, p.to == 'New')").message("without a legacy backend no pin can lead to Legacy").field_path(".pins"),
    validation = Rule::new("!self.routers.exists(r, (has(r.gatewayApi) && has(r.gatewayApi.attach)) || (has(r.traefik) && has(r.traefik.attach)) || (has(r.istio) && has(r.istio.attach))) || (!has(self.exposure) || self.exposure == 'Exposed')").message("a split that attaches to an existing route cannot be Hidden: the route is not ours to leave out").field_path(".exposure"),
    validation = Rule::new("self.routers.filter(r, has(r.ingressNginx)).size() <= 1").message("at most one router is ingressNginx: two would write the same Ingresses; remove one, or serve the other class by a TrafficSplit of its own, with hosts of its own").field_path(".routers"),
    validation = Rule::new("self.routers.filter(r, has(r.gatewayApi) && has(r.gatewayApi.parentRefs)).size() <= 1").message("at most one gatewayApi router has parentRefs: two would write routes of one name; list every Gateway in the parentRefs of one").field_path(".routers"),
    validation = Rule::new("self.routers.all(r, !has(r.gatewayApi) || !has(r.gatewayApi.attach) || self.routers.exists_one(o, has(o.gatewayApi) && has(o.gatewayApi.attach) && o.gatewayApi.attach.route == r.gatewayApi.attach.route && o.gatewayApi.attach.rule == r.gatewayApi.attach.rule && o.gatewayApi.routeKind == r.gatewayApi.routeKind))").message("two routers attach to the same rule of a route: remove one").field_path(".routers"),
    validation = Rule::new("self.routers.filter(r, has(r.traefik) && !has(r.traefik.attach)).size() <= 1").message("at most one traefik router makes its own IngressRoute: two would write the same one; list every entry point in the entryPoints of one").field_path(".routers"),
    validation = Rule::new("self.routers.all(r, !has(r.traefik) || !has(r.traefik.attach) || self.routers.exists_one(o, has(o.traefik) && has(o.traefik.attach) && o.traefik.attach.service == r.traefik.attach.service))").message("two routers attach to the same TraefikService: remove one").field_path(".routers"),
    validation = Rule::new("self.routers.filter(r, has(r.istio) && has(r.istio.gateways)).size() <= 1").message("at most one istio router has gateways: two would write the same VirtualService; list every gateway in the gateways of one").field_path(".routers"),
    validation = Rule::new("self.routers.all(r, !has(r.istio) || !has(r.istio.attach) || self.routers.exists_one(o, has(o.istio) && has(o.istio.attach) && o.istio.attach.virtualService == r.istio.attach.virtualService && o.istio.attach.http == r.istio.attach.http))").message("two routers attach to the same entry of a VirtualService: remove one").field_path(".routers"),
    validation = Rule::new("self.routers.filter(r, has(r.alb)).size() <= 1").message("at most one router is alb: two would write the same Ingress; serve the other load balancer by a TrafficSplit of its own").field_path(".routers")
)]
pub struct TrafficSplitSpec {
    /// Environment of the same namespace whose components the backends may name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME_PATTERN))]
    pub environment: Option<String>,

    /// Host names of this way in, such as `app.example.com`; a leading `*.` stands for one label. 1 to 16.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = HOST_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Vec<String>,

    /// Paths of this way in. At most 16; default: everything (prefix `/`).
    #[serde(default = "default_paths")]
    #[schemars(length(min = 1, max = 16))]
    pub paths: Vec<PathMatch>,

    /// Where the legacy system answers. Absent for a host that only the new side serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Backend>,

    /// Where the new system answers.
    pub new: Backend,

    /// Share of the new side, in parts of `weightTotal`. It counts when the split is first seen without a route of its own, and whenever
    /// its value changes while no phase holds the split; otherwise the weight in force is held. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    pub new_weight: i32,

    /// What the weights of both sides add up to: 100 (percent), 1000 or 10000. Default 100.
    #[serde(default = "default_weight_total")]
    #[schemars(range(min = 100, max = 10_000))]
    #[x_kube(validation = Rule::new("self in [100, 1000, 10000]").message("weightTotal must be 100, 1000 or 10000"), validation = Rule::new("self == oldSelf").message("weightTotal cannot be changed: weights in force are counted in it"))]
    pub weight_total: i32,

    /// `Exposed` (default): routes exist. `Hidden`: no route is made until a phase exposes the split, as for a testers' subdomain
    /// before its phase. Once exposed by a phase, the split stays exposed.
    #[serde(default)]
    pub exposure: Exposure,

    /// Requests that go to one side whatever the weight, for testers. The first match wins. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub pins: Vec<Pin>,

    /// Keeps who was served by one side on that side, by a cookie. Pins come before it. Default: every request is dealt anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,

    /// Bound on how fast the weight in force moves, both ways. Not in force on the way from a side that has no ready endpoint, nor when a
    /// person forces the way back. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,

    /// `Off` (default): the weight is held whatever happens to a side. `Automatic`: while no phase holds the split, a side with weight that
    /// has had no ready endpoint for 5 s gives its share to the other, if that has one. The weight does not return by itself: it stays
    /// until the value of `newWeight` changes or a phase takes the split. Another share fails over 5 minutes later at the earliest.
    /// Under a phase, its `onFailure` says what happens.
    #[serde(default, skip_serializing_if = "Failover::is_off")]
    pub failover: Failover,

    /// Capacity that a side must have before it is given more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Safety>,

    /// What is done with requests and answers at the edge, on both sides alike: limits, timeouts, headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,

    /// Copies of requests to the new side, whose answers to them are dropped. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,

    /// The routers that carry this split, 1 to 4. All carry the same weight, so that a split can also move from one edge to another.
    #[schemars(length(min = 1, max = 4))]
    pub routers: Vec<Router>,

    /// Requests that show which share of the traffic each side serves, once a weight is in force. The result is in
    /// `status.verifiedWeight`; a phase's step may wait for it (`verified`). Pinned and sticky requests are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,

    /// What happens to the routes when the split is deleted. `Release` (default): they stay as they are, unmanaged. `Delete`: they are removed.
    #[serde(default)]
    pub on_delete: OnDelete,
}

fn default_paths() -> Vec<PathMatch> {
    vec![PathMatch::new(PathType::Prefix, "/")]
}

const fn default_weight_total() -> i32 {
    100
}

/// A path of a way in.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// `Prefix` (default): the path and everything below it, by whole elements. `Exact`: this path only.
    #[serde(rename = "type", default)]
    pub type_: PathType,
    /// The path, beginning with `/`, such as `/v2`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = PATH_PATTERN))]
    pub value: String,
    /// What a side sees in place of the path, or of the prefix: with `/v1` for the prefix `/shop`, it is asked for `/v1/cart` when clients
    /// ask for `/shop/cart`. The same for both sides. Default: the path as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = REWRITE_PATTERN))]
    pub rewrite: Option<String>,
}

impl PathMatch {
    /// A path that no side sees rewritten.
    #[must_use]
    pub fn new(type_: PathType, value: impl Into<String>) -> Self {
        Self { type_, value: value.into(), rewrite: None }
    }
}

/// How a path is compared.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathType {
    /// The path and everything below it, by whole path elements.
    #[default]
    Prefix,
    /// This path only.
    Exact,
}

/// Whether a split has routes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// Routes exist.
    #[default]
    Exposed,
    /// No route is made.
    Hidden,
}

/// What a deleted split leaves behind.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// Routes stay as they are, unmanaged.
    #[default]
    Release,
    /// Routes are removed.
    Delete,
}
