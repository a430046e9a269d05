//! Names of what a split makes. A split's name has at most 48 characters, so every name of a Service fits its 63.

use cutover_api::v1alpha1::traffic_split::Side;

use super::contract::ObjectKind;

/// Name of the main Ingress, of the HTTPRoute or GRPCRoute, of the IngressRoute and of the VirtualService: the split's own.
#[must_use]
pub fn route_name(split: &str) -> String {
    split.to_owned()
}

/// Name of the HTTPRoute or the IngressRoute that redirects to `https`, `<split>-cutover-redirect`.
#[must_use]
pub fn redirect_name(split: &str) -> String {
    format!("{split}-cutover-redirect")
}

/// Name of the canary Ingress, `<split>-cutover-canary`.
#[must_use]
pub fn canary_name(split: &str) -> String {
    format!("{split}-cutover-canary")
}

/// Name of the weighted TraefikService, `<split>-cutover-weighted`. Traefik calls a TraefikService and a port of a Service by the same
/// pattern of names, and no port is called so.
#[must_use]
pub fn weighted_name(split: &str) -> String {
    format!("{split}-cutover-weighted")
}

/// What the name of everything begins with that a split makes and that is not called as it is itself.
#[must_use]
pub fn made_prefix(split: &str) -> String {
    format!("{split}-cutover-")
}

/// Name of a Middleware or a ServersTransport of Traefik's, by what it is for.
#[must_use]
pub fn accessory_name(split: &str, purpose: &str) -> String {
    format!("{split}-cutover-{purpose}")
}

/// Name of the TraefikService that copies requests, and of the Service that takes the copies, `<split>-cutover-mirror`.
#[must_use]
pub fn mirror_name(split: &str) -> String {
    format!("{split}{MIRROR}")
}

const MIRROR: &str = "-cutover-mirror";

/// Whether an object of ours does nothing but where a route of Traefik's names it.
#[must_use]
pub fn is_named_by_routes(kind: ObjectKind, name: &str) -> bool {
    let copies = matches!(kind, ObjectKind::TraefikService | ObjectKind::Service) && name.ends_with(MIRROR);
    kind.is_accessory() || copies
}

/// Name of the Ingress of an AWS load balancer.
#[must_use]
pub fn alb_name(split: &str) -> String {
    format!("{split}-cutover-alb")
}

/// Name of a side's alias Service, `<split>-cutover-legacy` or `<split>-cutover-new`.
#[must_use]
pub fn alias_name(split: &str, side: Side) -> String {
    match side {
        Side::Legacy => format!("{split}-cutover-legacy"),
        Side::New => format!("{split}-cutover-new"),
    }
}

/// Name of the alias Service by which a side's clients are dealt in an HTTPRoute, `<split>-sticky-legacy` or `<split>-sticky-new`.
#[must_use]
pub fn sticky_name(split: &str, side: Side) -> String {
    match side {
        Side::Legacy => format!("{split}-sticky-legacy"),
        Side::New => format!("{split}-sticky-new"),
    }
}

/// Name of the EndpointSlice that carries addresses of an alias Service without selector.
#[must_use]
pub fn alias_slice_name(alias: &str, address_type: &str, port: i32) -> String {
    format!("{alias}-{}-{port}", address_type.to_ascii_lowercase())
}

/// What the paths begin with that keep both backends known to ingress-nginx.
pub const KEPT: &str = "/-/cutover/";

/// The path, asked for by nobody, by which a main Ingress keeps a side's backend known to ingress-nginx whichever side its other
/// paths lead to.
#[must_use]
pub fn kept_path(split_uid: &str, side: Side) -> String {
    let side = match side {
        Side::Legacy => "legacy",
        Side::New => "new",
    };
    format!("{KEPT}{split_uid}/{side}")
}

/// Number of every alias Service's port.
pub const ALIAS_PORT: i32 = 80;

/// Name of every alias Service's port.
pub const ALIAS_PORT_NAME: &str = "http";

/// Annotation on a main Ingress: hash of the names of the annotations that were taken over from the spec, which shows when one left it.
pub const WRITTEN: &str = "cutover.dev/written";
