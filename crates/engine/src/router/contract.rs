//! The words that routers and the split's controller share: the intent, what was observed, and the plan.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::traffic_split::{Edge, Mirror, PathMatch, Pin, RouteKind, RouterKind, Side};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::sticky::Sticky;
use super::view::{EndpointSliceView, GatewayClassView, GatewayView, IngressView, RouteView, ServiceView, WholeView};
use crate::{Known, conditions::Health};

/// The split that routes are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRef<'a> {
    /// Its namespace, and that of every object made for it.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID: what marks a route as its own.
    pub uid: &'a str,
}

/// One side's backend, resolved to a Service that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Name of the Service.
    pub service: String,
    /// Number of the Service's port.
    pub port: i32,
    /// Name of that port, if it has one.
    pub port_name: Option<String>,
    /// `targetPort` of that port.
    pub target_port: Option<IntOrString>,
    /// `appProtocol` of that port.
    pub app_protocol: Option<String>,
    /// The Service's selector; empty for a Service without one, whose [`endpoints`](Self::endpoints) are copied instead.
    pub selector: BTreeMap<String, String>,
    /// `publishNotReadyAddresses` of the Service.
    pub publish_not_ready_addresses: bool,
    /// Whether its port speaks TLS, as an Environment says.
    pub tls: Option<BackendTls>,
    /// Whether the Service is of type `ExternalName`: no router takes such a side.
    pub external_name: bool,
    /// Endpoints of a Service without selector, for the alias Service's EndpointSlices. Empty otherwise.
    pub endpoints: Vec<EndpointCopy>,
    /// Ready endpoints. The backend of a *main* Ingress is not exchanged for a side without any.
    pub ready: Known<i32>,
}

/// Who says how TLS is spoken to a Service of an Environment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// Whether the Environment's BackendTLSPolicy for it is there.
    pub policy: bool,
    /// Whether the Environment's ServersTransport for it is there.
    pub transport: bool,
}

/// One endpoint of a Service without selector, on the backend's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointCopy {
    /// `IPv4` or `IPv6`.
    pub address_type: String,
    /// The address.
    pub address: String,
    /// The number of the port that answers there.
    pub port: i32,
    /// Whether it is ready.
    pub ready: bool,
}

/// What is known of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideBackend {
    /// The spec has no such side.
    Absent,
    /// The spec names it, but its Service (or component, or port) is not there. Left out of the routes while its weight is 0.
    Missing {
        /// Name and port of the Service, where the spec says them.
        service: Option<(String, i32)>,
    },
    /// It is there.
    Present(Backend),
}

impl SideBackend {
    /// The backend, if it is there.
    #[must_use]
    pub const fn present(&self) -> Option<&Backend> {
        match self {
            Self::Present(backend) => Some(backend),
            Self::Absent | Self::Missing { .. } => None,
        }
    }
}

/// Both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// The legacy side.
    pub legacy: SideBackend,
    /// The new side.
    pub new: SideBackend,
}

impl Sides {
    /// The backends that are there, with the fields that name them.
    pub fn present(&self) -> impl Iterator<Item = (&'static str, &Backend)> {
        let sides = [("spec.legacy", &self.legacy), ("spec.new", &self.new)];
        sides.into_iter().filter_map(|(field, side)| Some((field, side.present()?)))
    }

    /// The first whose port speaks TLS, and the field that names it.
    #[must_use]
    pub fn speaking_tls(&self) -> Option<(&'static str, &Backend)> {
        self.present().find(|(_, backend)| backend.tls.is_some())
    }

    /// One of them.
    #[must_use]
    pub const fn get(&self, side: Side) -> &SideBackend {
        match side {
            Side::Legacy => &self.legacy,
            Side::New => &self.new,
        }
    }
}

/// What the routes of a split should carry.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// The split.
    pub split: SplitRef<'a>,
    /// `spec.hosts`.
    pub hosts: &'a [String],
    /// `spec.paths`.
    pub paths: &'a [PathMatch],
    /// `spec.pins`.
    pub pins: &'a [Pin],
    /// `spec.stickiness`, and what cookies are out.
    pub stickiness: Option<Sticky<'a>>,
    /// `spec.edge`.
    pub edge: Option<&'a Edge>,
    /// `spec.mirror`.
    pub mirror: Option<&'a Mirror>,
    /// What another split says otherwise of how one of the sides is asked.
    pub said_otherwise: Option<&'a Problem>,
    /// Index of the router in `spec.routers`: problems name the field at fault.
    pub router_index: usize,
    /// The two backends.
    pub sides: &'a Sides,
    /// Share of the new side that may be in force now: the decision, ramp and capacity included.
    pub new_weight: i32,
    /// What both sides' shares add up to.
    pub weight_total: i32,
    /// Whether the split has routes. Without, routes of ours are removed.
    pub exposed: bool,
    /// Value of the annotation [`cutover_api::labels::BASELINE`]; `None` leaves it out.
    pub baseline: Option<&'a str>,
}

/// The observed objects of one router. Which ones to look up is in the fields' comments; names come from [`super::names`].
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// For [`Router::ingress_nginx`](cutover_api::v1alpha1::traffic_split::Router::ingress_nginx).
    IngressNginx(IngressObserved<'a>),
    /// For [`Router::gateway_api`](cutover_api::v1alpha1::traffic_split::Router::gateway_api).
    GatewayApi(GatewayObserved<'a>),
    /// For [`Router::traefik`](cutover_api::v1alpha1::traffic_split::Router::traefik).
    Traefik(TraefikObserved<'a>),
    /// For [`Router::istio`](cutover_api::v1alpha1::traffic_split::Router::istio).
    Istio(IstioObserved<'a>),
    /// For [`Router::alb`](cutover_api::v1alpha1::traffic_split::Router::alb).
    Alb(AlbObserved<'a>),
}

/// Ingresses and alias Services.
#[derive(Clone, Copy, Debug, Default)]
pub struct IngressObserved<'a> {
    /// Managed: the Ingress called [`super::route_name`]. Unused when attached.
    pub main: Option<&'a IngressView>,
    /// The Ingress called [`super::canary_name`].
    pub canary: Option<&'a IngressView>,
    /// Attached: the Ingress that the spec names.
    pub attached: Option<&'a IngressView>,
    /// Attached: other Ingresses of the namespace that name the legacy side's Service or serve one of the split's hosts. More do
    /// no harm. Unused when managed.
    pub others: &'a [&'a IngressView],
    /// Services called [`super::alias_name`] of both sides, as far as they exist.
    pub aliases: &'a [&'a ServiceView],
    /// EndpointSlices that we made for those, as far as they exist.
    pub alias_slices: &'a [&'a EndpointSliceView],
    /// Whether the alias Services are seen to have ready endpoints.
    pub alias_ready: AliasReady,
    /// ConfigMaps of ours whose names begin as [`super::made_prefix`] says. Only what they are called is looked at.
    pub config_maps: &'a [&'a WholeView],
    /// What proxies may not have taken up yet.
    pub unseen: Unseen,
    /// Others keep changing our routes: write no route now and say `Contended`.
    pub backed_off: bool,
}

/// Whether the alias Services have ready endpoints of their own yet (the cluster fills them a moment after the Service is made). `None`:
/// not looked at, and then the backend's own endpoints are what counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AliasReady {
    /// Of the legacy side's.
    pub legacy: Option<bool>,
    /// Of the new side's.
    pub new: Option<bool>,
}

/// A route of the Gateway API and what it hangs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatewayObserved<'a> {
    /// The kind of the route.
    pub kind: RouteKind,
    /// Whether the cluster serves that kind in `gateway.networking.k8s.io/v1`.
    pub installed: Known<bool>,
    /// Whether the operator may not list that kind, so that nothing is known of it.
    pub forbidden: bool,
    /// Managed: the route called [`super::route_name`]. Attached: the one that the spec names.
    pub route: Option<&'a RouteView>,
    /// Beside HTTPRoutes, the one called [`super::redirect_name`].
    pub redirect: Option<&'a RouteView>,
    /// The Gateways that the route's parentRefs name, as far as they exist.
    pub gateways: &'a [&'a GatewayView],
    /// The GatewayClass of each of those, as far as they exist.
    pub classes: &'a [&'a GatewayClassView],
    /// Whether a Gateway and its GatewayClass can be read at all (rights, CRDs). Without, acceptance is judged by the route's status alone.
    pub gateways_readable: bool,
    /// Beside HTTPRoutes, Services called [`super::sticky_name`] of both sides, as far as they exist.
    pub aliases: &'a [&'a ServiceView],
    /// EndpointSlices that we made for those, as far as they exist.
    pub alias_slices: &'a [&'a EndpointSliceView],
    /// Whether those Services are seen to have ready endpoints.
    pub alias_ready: AliasReady,
    /// Others keep changing our route: write none now and say `Contended`.
    pub backed_off: bool,
}

/// An IngressRoute and the TraefikService that it leads to.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraefikObserved<'a> {
    /// Whether the cluster serves `traefik.io/v1alpha1` IngressRoutes and TraefikServices.
    pub installed: Known<bool>,
    /// Whether the operator may not list one of the two, so that nothing is known of them.
    pub forbidden: bool,
    /// Managed: the IngressRoute called [`super::route_name`]. Unused when attached.
    pub route: Option<&'a WholeView>,
    /// Managed: the IngressRoute called [`super::redirect_name`].
    pub redirect: Option<&'a WholeView>,
    /// The TraefikService called [`super::weighted_name`]. Attached: the one that the spec names.
    pub service: Option<&'a WholeView>,
    /// Managed: the TraefikService called [`super::mirror_name`].
    pub mirror: Option<&'a WholeView>,
    /// The Service of that name.
    pub aliases: &'a [&'a ServiceView],
    /// EndpointSlices that we made for that.
    pub alias_slices: &'a [&'a EndpointSliceView],
    /// Managed: Middlewares and ServersTransports whose names begin with [`super::made_prefix`].
    pub accessories: &'a [(ObjectKind, &'a WholeView)],
    /// Whether the cluster serves those two kinds.
    pub accessories_installed: Known<bool>,
    /// Whether the operator may not list one of the two.
    pub accessories_forbidden: bool,
    /// Which writes of ours proxies may not have seen yet.
    pub unseen: Unseen,
    /// Others keep changing our objects: write none now and say `Contended`.
    pub backed_off: bool,
}

/// What was written so lately that a proxy may not have taken it up. It learns of each kind separately, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// What [`super::is_named_by_routes`]: a route that names it now may be seen before it.
    pub accessories: bool,
    /// An IngressRoute or a TraefikService: what it no longer names may still be asked for.
    pub routes: bool,
}

/// A VirtualService.
#[derive(Clone, Copy, Debug, Default)]
pub struct IstioObserved<'a> {
    /// Whether the cluster serves `networking.istio.io/v1` VirtualServices.
    pub installed: Known<bool>,
    /// Whether the operator may not list them, so that nothing is known of them.
    pub forbidden: bool,
    /// Managed: the VirtualService called [`super::route_name`]. Attached: the one that the spec names.
    pub service: Option<&'a WholeView>,
    /// Others keep changing it: write none now and say `Contended`.
    pub backed_off: bool,
}

/// An Ingress of an AWS load balancer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlbObserved<'a> {
    /// The Ingress called [`super::alb_name`].
    pub ingress: Option<&'a IngressView>,
    /// Others keep changing it: write none now and say `Contended`.
    pub backed_off: bool,
}

/// Kinds of object that routers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `gateway.networking.k8s.io/v1` HTTPRoute.
    HttpRoute,
    /// `gateway.networking.k8s.io/v1` GRPCRoute.
    GrpcRoute,
    /// `v1` Service (an alias).
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice (of an alias).
    EndpointSlice,
    /// `traefik.io/v1alpha1` IngressRoute.
    IngressRoute,
    /// `traefik.io/v1alpha1` TraefikService.
    TraefikService,
    /// `networking.istio.io/v1` VirtualService.
    VirtualService,
    /// `traefik.io/v1alpha1` Middleware.
    Middleware,
    /// `traefik.io/v1alpha1` ServersTransport.
    ServersTransport,
    /// `v1` ConfigMap, with what a main Ingress says at more length.
    ConfigMap,
}

impl From<RouteKind> for ObjectKind {
    fn from(kind: RouteKind) -> Self {
        match kind {
            RouteKind::Http => Self::HttpRoute,
            RouteKind::Grpc => Self::GrpcRoute,
        }
    }
}

impl ObjectKind {
    /// API group; empty for the core group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Ingress => "networking.k8s.io",
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
            Self::Service | Self::ConfigMap => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::IngressRoute | Self::TraefikService | Self::Middleware | Self::ServersTransport => "traefik.io",
            Self::VirtualService => "networking.istio.io",
        }
    }

    /// API version within the group.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Ingress
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::Service
            | Self::EndpointSlice
            | Self::ConfigMap
            | Self::VirtualService => "v1",
            Self::IngressRoute | Self::TraefikService | Self::Middleware | Self::ServersTransport => "v1alpha1",
        }
    }

    /// `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// The resource's name in paths.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Ingress => "ingresses",
            Self::HttpRoute => "httproutes",
            Self::GrpcRoute => "grpcroutes",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::IngressRoute => "ingressroutes",
            Self::TraefikService => "traefikservices",
            Self::VirtualService => "virtualservices",
            Self::Middleware => "middlewares",
            Self::ServersTransport => "serverstransports",
            Self::ConfigMap => "configmaps",
        }
    }

    /// `kind`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::IngressRoute => "IngressRoute",
            Self::TraefikService => "TraefikService",
            Self::VirtualService => "VirtualService",
            Self::Middleware => "Middleware",
            Self::ServersTransport => "ServersTransport",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// Whether writes of it count as route writes (and are held while backed off).
    #[must_use]
    pub const fn is_route(self) -> bool {
        match self {
            Self::Ingress
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::IngressRoute
            | Self::TraefikService
            | Self::VirtualService
            | Self::Middleware
            | Self::ServersTransport
            | Self::ConfigMap => true,
            Self::Service | Self::EndpointSlice => false,
        }
    }

    /// Whether it does nothing but where a route names it.
    #[must_use]
    pub const fn is_accessory(self) -> bool {
        matches!(self, Self::Middleware | Self::ServersTransport | Self::ConfigMap)
    }
}

/// One request, in the split's namespace. The field manager is [`cutover_api::labels::MANAGER_TRAFFIC_SPLIT`].
#[derive(Clone, Debug, PartialEq)]
pub enum RouteStep {
    /// Server-side apply of a whole object.
    Apply {
        /// What it is.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// The object, with `apiVersion`, `kind` and `metadata`.
        object: Value,
        /// `Some`: the version it was decided on, to be sent along, with force (the object is ours). `None`: the object is not there
        /// yet; sent *without* force, so that an object that somebody made in the meantime is a conflict and not taken over.
        resource_version: Option<String>,
    },
    /// JSON merge patch. The patch holds `metadata.resourceVersion`.
    MergePatch {
        /// What it is.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// The patch.
        patch: Value,
    },
    /// Deletion, with these preconditions. Already gone is fine.
    Delete {
        /// What it is.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// Precondition.
        uid: String,
        /// Precondition.
        resource_version: String,
    },
}

impl RouteStep {
    /// What it writes.
    #[must_use]
    pub const fn kind(&self) -> ObjectKind {
        match self {
            Self::Apply { kind, .. } | Self::MergePatch { kind, .. } | Self::Delete { kind, .. } => *kind,
        }
    }

    /// The name of what it writes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Apply { name, .. } | Self::MergePatch { name, .. } | Self::Delete { name, .. } => name,
        }
    }
}

/// What one router is observed to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// The router.
    pub kind: RouterKind,
    /// The object that carries the weight, `<kind>/<name>`.
    pub object: String,
    /// Weight of the new side, in parts of the intent's total; `None` without a route.
    pub observed_weight: Option<i32>,
    /// Whether the router has accepted the route in its present form; `None` where it cannot say.
    pub accepted: Option<bool>,
    /// What is wrong or awaited.
    pub message: Option<String>,
}

/// What keeps a router from carrying the intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A constant of [`cutover_api::conditions::reasons`].
    pub reason: &'static str,
    /// What is wrong, where (with the field's path), and what to do.
    pub message: String,
    /// `Stalled`: a person has to act. `Reconciling`: it may clear by itself.
    pub health: Health,
}

/// What one router needs.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterPlan {
    /// Requests to send now, in this order. Empty when what is observed is what is wanted, or nothing can be done.
    pub steps: Vec<RouteStep>,
    /// What is observed now, before the steps.
    pub read_back: ReadBack,
    /// What is in the way. There may be steps all the same: weights in force are kept up.
    pub problem: Option<Problem>,
    /// The observed objects carry the intent's weight and exposure, and the router has accepted them where it can say so. The
    /// split's `appliedWeight` is the intent's weight when every router is settled.
    pub settled: bool,
    /// More is to be written once proxies have had their time to see what was written last.
    pub paused: bool,
    /// What a user has to edit in a route of their own before it leads to the new side alone.
    pub awaits_edit: Option<String>,
}

impl RouterPlan {
    /// Nothing is to be done yet about an object of that kind and name (`Kind/name`), whose weight was read back.
    pub(super) fn begun(kind: RouterKind, object: String, observed_weight: Option<i32>) -> Self {
        let read_back = ReadBack { kind, object, observed_weight, accepted: None, message: None };
        Self { steps: Vec::new(), read_back, problem: None, settled: false, paused: false, awaits_edit: None }
    }

    /// With this message, unless there is one.
    pub(super) fn saying(mut self, message: &str) -> Self {
        self.read_back.message.get_or_insert_with(|| message.to_owned());
        self
    }
}
