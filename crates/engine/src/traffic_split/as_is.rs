//! The hosts and paths that a route has. A split whose spec claims what another has keeps those: its weights go on being moved,
//! the claim waits.

use cutover_api::v1alpha1::traffic_split::{PathMatch, PathType, RouteKind};
use serde_json::Value;

use crate::router::{
    IngressView, Observed, RouteView, grpc_path, ingress_path, ingress_route_hosts_and_paths, names,
    virtual_service_hosts_and_paths,
};

/// Hosts and paths of the split's own route; `None` without one, or when they cannot be read from it.
#[must_use]
pub fn hosts_and_paths(seen: &Observed) -> Option<(Vec<String>, Vec<PathMatch>)> {
    let (hosts, paths) = match seen {
        Observed::IngressNginx(seen) => of_ingress(seen.main.or(seen.canary)?),
        Observed::Alb(seen) => of_ingress(seen.ingress?),
        Observed::GatewayApi(seen) => of_route(seen.kind, seen.route?),
        Observed::Traefik(seen) => ingress_route_hosts_and_paths(seen.route?, seen.accessories)?,
        Observed::Istio(seen) => virtual_service_hosts_and_paths(seen.service?)?,
    };
    (!hosts.is_empty() && !paths.is_empty()).then_some((hosts, paths))
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

pub(super) fn of_ingress(ingress: &IngressView) -> (Vec<String>, Vec<PathMatch>) {
    let (mut hosts, mut paths) = (Vec::new(), Vec::new());
    for rule in &ingress.rules {
        add(&mut hosts, rule.host.to_string());
        // What we put beside them ourselves is no claim.
        for path in rule.paths.iter().filter(|path| !path.path.starts_with(names::KEPT)) {
            add(&mut paths, ingress_path(ingress, path));
        }
    }
    (hosts, paths)
}

pub(super) fn of_route(kind: RouteKind, route: &RouteView) -> (Vec<String>, Vec<PathMatch>) {
    let spec = route.spec.value();
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let hosts = list(&spec, "hostnames").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut paths = Vec::new();
    for rule in list(&spec, "rules") {
        let to = list(&rule, "filters").iter().find_map(|it| it.pointer("/urlRewrite/path").cloned());
        let to = |key: &str| Some(to.as_ref()?.get(key)?.as_str()?.to_owned());
        for found in list(&rule, "matches") {
            if kind == RouteKind::Grpc {
                add(&mut paths, grpc_path(&found));
                continue;
            }
            let path = found.get("path");
            let text = |key: &str| path.and_then(|path| path.get(key)).and_then(Value::as_str);
            let type_ = if text("type") == Some("Exact") { PathType::Exact } else { PathType::Prefix };
            let rewrite = to("replacePrefixMatch").or_else(|| to("replaceFullPath"));
            add(&mut paths, PathMatch { rewrite, ..PathMatch::new(type_, text("value").unwrap_or("/")) });
        }
    }
    (hosts, paths)
}
