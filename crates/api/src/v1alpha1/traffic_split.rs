//! TrafficSplit: one way in (hosts and paths) and its two backends, legacy and new.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{HOST_PATTERN, Instant, LABEL_PATTERN, NAME_PATTERN, conditions, texts};

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
    validation = Rule::new("has(self.environment) || (!has(self.new.component) && (!has(self.legacy) || !has(self.legacy.component)))").message("a backend names a component, so environment must be set").field_path(".environment"),
    validation = Rule::new("!has(self.pins) || has(self.legacy) || self.pins.all(p, p.to == 'New')").message("without a legacy backend no pin can lead to Legacy").field_path(".pins"),
    validation = Rule::new("!self.routers.exists(r, has(r.gatewayApi) && has(r.gatewayApi.attach)) || (!has(self.exposure) || self.exposure == 'Exposed')").message("a split that attaches to an existing route cannot be Hidden: the route is not ours to leave out").field_path(".exposure")
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

    /// Capacity that a side must have before it is given more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Safety>,

    /// The routers that carry this split, 1 to 4. All carry the same weight, so that a split can also move from one edge to another.
    #[schemars(length(min = 1, max = 4))]
    pub routers: Vec<Router>,

    /// What happens to the routes when the split is deleted. `Release` (default): they stay as they are, unmanaged. `Delete`: they are removed.
    #[serde(default)]
    pub on_delete: OnDelete,
}

fn default_paths() -> Vec<PathMatch> {
    vec![PathMatch { type_: PathType::Prefix, value: "/".into() }]
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
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*$"))]
    pub value: String,
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

/// Where one side answers: exactly one of `component` and `service`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.component) != has(self.service)").message("a backend is exactly one of component and service"))]
pub struct Backend {
    /// A component of `spec.environment`, such as `storefront`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30), regex(pattern = LABEL_PATTERN))]
    pub component: Option<String>,
    /// A Service of the split's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceBackend>,
}

/// A Service of the same namespace and one of its ports.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceBackend {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Number of the Service's port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
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

/// One of the two sides of a split.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The system that is replaced.
    Legacy,
    /// The system that replaces it.
    New,
}

/// Requests that go to one side whatever the weight: exactly one of `header` and `cookie`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.header) != has(self.cookie)").message("a pin is exactly one of header and cookie"))]
pub struct Pin {
    /// The side that matching requests go to.
    pub to: Side,
    /// Matches requests with this header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderMatch>,
    /// Matches requests with this cookie. ingress-nginx knows only the values `always` (to New) and `never` (to Legacy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieMatch>,
}

/// A header and its exact value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Name of the header, compared without regard to case, such as `x-cutover`.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// Exact value, such as `new`.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[A-Za-z0-9._~-]+$"))]
    pub value: String,
}

/// A cookie and its exact value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieMatch {
    /// Name of the cookie.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// Exact value.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[A-Za-z0-9._~-]+$"))]
    pub value: String,
}

/// Capacity that each side must have.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Safety {
    /// For the legacy side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Capacity>,
    /// For the new side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Capacity>,
}

/// Ready endpoints that a side needs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capacity {
    /// Ready endpoints without which the side is given nothing. Default 1, range 0 to 10000.
    #[serde(default = "default_min_ready_endpoints")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_ready_endpoints: i32,
    /// Ready endpoints that the whole traffic needs: a share of it needs that share of them, rounded up. 0 (default): not judged by
    /// share. Range 0 to 10000.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    pub full_capacity_endpoints: i32,
}

const fn default_min_ready_endpoints() -> i32 {
    1
}

impl Default for Capacity {
    fn default() -> Self {
        Self { min_ready_endpoints: default_min_ready_endpoints(), full_capacity_endpoints: 0 }
    }
}

/// A router that carries the split: exactly one kind.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.ingressNginx) != has(self.gatewayApi)").message("a router is exactly one of ingressNginx and gatewayApi"))]
pub struct Router {
    /// Ingresses with ingress-nginx's canary annotations, which Traefik 3.7 and later serves too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_nginx: Option<IngressNginxRouter>,
    /// A Gateway API HTTPRoute (v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_api: Option<GatewayApiRouter>,
}

/// Two Ingresses: the main one to legacy and a canary to the new side. Either managed (`className`) or attached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.className) != has(self.attach)").message("ingressNginx is exactly one of className (both Ingresses are made) and attach (only the canary is)"),
    validation = Rule::new("!has(self.attach) || !has(self.tls)").message("an attached split takes TLS from the existing Ingress: remove tls").field_path(".tls")
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

/// An HTTPRoute: either managed (`parentRefs`) or attached to one rule of an existing one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.parentRefs) != has(self.attach)").message("gatewayApi is exactly one of parentRefs (the HTTPRoute is made) and attach (one rule of an existing HTTPRoute is moved)"))]
pub struct GatewayApiRouter {
    /// Gateways that the HTTPRoute is attached to, 1 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Option<Vec<ParentRef>>,
    /// One named rule of an existing HTTPRoute: only its backends are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<RouteAttach>,
}

/// A Gateway, or one listener of it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
}

/// One named rule of an HTTPRoute that exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteAttach {
    /// Name of the HTTPRoute, in the split's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub route: String,
    /// Name of the rule (`spec.rules[].name`).
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub rule: String,
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

/// What is, as observed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSplitStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` and `SpecDiverged`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Weight of the new side that is wanted now: the holder's request, or the weight in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_weight: Option<i32>,
    /// Weight of the new side that every router's route is observed to carry, and has accepted where it can say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_weight: Option<i32>,
    /// Whether the split has routes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// The phase that moves this split. At most one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Count of grants so far; the next holder's epoch is greater. It only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The value of `spec.newWeight` that was last taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_spec_weight: Option<i32>,
    /// Per router, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub routers: Vec<RouterStatus>,
    /// Ready endpoints per side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// When `appliedWeight` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Instant>,
}

/// The phase that a split is granted to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Name of the MigrationPhase.
    #[schemars(length(max = 253))]
    pub phase: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its attempt at the time of the grant.
    pub attempt: i32,
    /// Number of the grant. It only grows.
    pub epoch: i64,
    /// `status.requestRevision` of the phase that was last carried out; an older one is never effective again.
    pub request_revision: i64,
    /// The weight that the holder last asked for: a deleted holder's way back is finished from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_weight: Option<i32>,
}

/// What one router is observed to carry.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RouterStatus {
    /// `IngressNginx` or `GatewayApi`.
    pub kind: RouterKind,
    /// The route object that carries the weight, `<kind>/<name>`.
    #[schemars(length(max = 320))]
    pub object: String,
    /// Weight of the new side read back from the route object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_weight: Option<i32>,
    /// Whether the router has accepted the route in its present form. Absent where the router cannot say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
    /// What is wrong or awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// Kinds of router.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouterKind {
    /// Ingress with ingress-nginx's canary annotations.
    IngressNginx,
    /// Gateway API HTTPRoute.
    GatewayApi,
}

/// Ready endpoints per side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Of the legacy side; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<ReadyEndpoints>,
    /// Of the new side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<ReadyEndpoints>,
}

/// Endpoints of one side.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReadyEndpoints {
    /// Ready endpoints, each counted once across IPv4 and IPv6 slices.
    pub ready: i32,
}
