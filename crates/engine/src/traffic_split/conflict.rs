//! Two splits must not claim the same host and path of the same edge: the older one keeps it.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        TrafficSplitSpec,
        traffic_split::{
            GatewayApiRouter, IngressNginxRouter, IstioAttach, IstioRouter, PathMatch, PathType, Router, TraefikRouter,
        },
    },
};
use jiff::Timestamp;

use crate::{
    conditions::Health,
    router::{ObjectKind, Problem},
};

/// A split and its age.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// Its name.
    pub name: &'a str,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Its spec.
    pub spec: &'a TrafficSplitSpec,
}

impl Claimant<'_> {
    pub(super) fn precedes(&self, other: &Self) -> bool {
        // An object without a timestamp is not in the cluster yet.
        (self.created.unwrap_or(Timestamp::MAX), self.name) < (other.created.unwrap_or(Timestamp::MAX), other.name)
    }
}

/// What another split of the namespace already has of what this one claims. The older split wins, then the first by name, so both
/// come to the same answer.
#[must_use]
pub fn conflict(split: &Claimant, others: &[Claimant]) -> Option<Problem> {
    others.iter().filter(|other| other.name != split.name && other.precedes(split)).find_map(|other| {
        let claim = split.spec.routers.iter().enumerate().find_map(|(index, mine)| {
            other.spec.routers.iter().find_map(|theirs| contested(split.spec, index, mine, other.spec, theirs))
        })?;
        let message = format!("{claim} already belongs to TrafficSplit {}: change it in one of the two", other.name);
        Some(Problem { reason: reasons::CONFLICTED, message, health: Health::Stalled })
    })
}

fn contested(
    mine: &TrafficSplitSpec,
    index: usize,
    my_router: &Router,
    theirs: &TrafficSplitSpec,
    their_router: &Router,
) -> Option<String> {
    let same_edge = match (my_router, their_router) {
        (Router { ingress_nginx: Some(mine), .. }, Router { ingress_nginx: Some(theirs), .. }) => {
            same_class(mine, theirs)
        }
        (Router { gateway_api: Some(mine), .. }, Router { gateway_api: Some(theirs), .. }) => {
            if let (Some(attach), Some(their)) = (&mine.attach, &theirs.attach) {
                // A rule is one thing, whatever hosts the splits name.
                return (attach == their && mine.route_kind == theirs.route_kind).then(|| {
                    let kind = ObjectKind::from(mine.route_kind).kind();
                    format!("spec.routers[{index}].gatewayApi.attach: rule {} of {kind} {}", attach.rule, attach.route)
                });
            }
            shared_parent(mine, theirs)
        }
        (Router { traefik: Some(mine), .. }, Router { traefik: Some(theirs), .. }) => {
            if let (Some(mine), Some(theirs)) = (&mine.attach, &theirs.attach) {
                return (mine == theirs)
                    .then(|| format!("spec.routers[{index}].traefik.attach: TraefikService {}", mine.service));
            }
            shared_entry_point(mine, theirs)
        }
        (Router { istio: Some(mine), .. }, Router { istio: Some(theirs), .. }) => {
            if let (Some(mine), Some(theirs)) = (&mine.attach, &theirs.attach) {
                let IstioAttach { virtual_service, http } = mine;
                return (mine == theirs).then(|| {
                    format!("spec.routers[{index}].istio.attach: http entry {http} of VirtualService {virtual_service}")
                });
            }
            shared_gateway(mine, theirs)
        }
        (Router { alb: Some(mine), .. }, Router { alb: Some(theirs), .. }) => mine.class_name == theirs.class_name,
        _ => false,
    };
    if !same_edge {
        return None;
    }
    let (host_at, host) = mine.hosts.iter().enumerate().find(|(_, host)| theirs.hosts.contains(host))?;
    let in_the_way = |path: &PathMatch| {
        theirs.paths.iter().any(|their| same_path(path, their))
            || on_mesh(my_router, their_router)
            || of_two_kinds(my_router, their_router)
            || (in_one_group(my_router, their_router) && theirs.paths.iter().any(|their| overlap(path, their)))
            || (my_router.istio.is_some() && theirs.paths.iter().any(|their| unordered(path, their)))
    };
    let (path_at, path) = mine.paths.iter().enumerate().find(|(_, path)| in_the_way(path))?;
    Some(format!("spec.hosts[{host_at}] {host} with spec.paths[{path_at}] {}", path.value))
}

/// A prefix is compared by whole elements: a slash at its end says nothing.
pub(super) fn same_path(mine: &PathMatch, theirs: &PathMatch) -> bool {
    let value = |path: &PathMatch| match path.type_ {
        PathType::Prefix => path.value.trim_end_matches('/').to_owned(),
        PathType::Exact => path.value.clone(),
    };
    mine.type_ == theirs.type_ && value(mine) == value(theirs)
}

/// The class of an attached Ingress is its owner's matter: it may be any.
fn same_class(mine: &IngressNginxRouter, theirs: &IngressNginxRouter) -> bool {
    match (&mine.class_name, &theirs.class_name) {
        (Some(mine), Some(theirs)) => mine == theirs,
        _ => true,
    }
}

/// Whether both make routes of their own on a Gateway in common. An attached rule has its owner's parents and matches.
fn shared_parent(mine: &GatewayApiRouter, theirs: &GatewayApiRouter) -> bool {
    let (Some(mine), Some(theirs)) = (&mine.parent_refs, &theirs.parent_refs) else { return false };
    mine.iter().any(|my| {
        theirs.iter().any(|their| {
            let mut pairs = [&my.section_name, &my.redirect_from].into_iter().flatten();
            let same_section = my.section_name.is_none()
                || their.section_name.is_none()
                || pairs
                    .any(|mine| [&their.section_name, &their.redirect_from].into_iter().flatten().any(|it| it == mine));
            my.name == their.name && my.namespace == their.namespace && same_section
        })
    })
}

/// Whether both make rules of their own on an entry point in common. Without names they are on the default ones, which may be any.
fn shared_entry_point(mine: &TraefikRouter, theirs: &TraefikRouter) -> bool {
    if mine.attach.is_some() || theirs.attach.is_some() {
        return false;
    }
    match (&mine.entry_points, &theirs.entry_points) {
        (Some(_), Some(_)) => {
            let all = |of: &TraefikRouter| {
                [of.entry_points.clone(), of.redirect_from.clone()].into_iter().flatten().flatten()
            };
            let theirs: Vec<String> = all(theirs).collect();
            all(mine).any(|name| theirs.contains(&name))
        }
        _ => true,
    }
}

/// Whether both make VirtualServices of their own on a gateway in common.
fn shared_gateway(mine: &IstioRouter, theirs: &IstioRouter) -> bool {
    let (Some(mine), Some(theirs)) = (&mine.gateways, &theirs.gateways) else { return false };
    mine.iter().any(|gateway| theirs.contains(gateway))
}

/// Whether one makes an HTTPRoute and the other a GRPCRoute: of these a listener takes only the older one for a host.
fn of_two_kinds(mine: &Router, theirs: &Router) -> bool {
    let kinds = mine.gateway_api.as_ref().zip(theirs.gateway_api.as_ref());
    kinds.is_some_and(|(mine, theirs)| mine.route_kind != theirs.route_kind)
}

/// Whether both are for sidecars, which go by one VirtualService for a host and by no other.
fn on_mesh(mine: &Router, theirs: &Router) -> bool {
    let is = |router: &Router| {
        router.istio.as_ref().and_then(|it| it.gateways.as_ref()).is_some_and(|it| it.iter().any(|name| name == "mesh"))
    };
    is(mine) && is(theirs)
}

/// Whether both are rules of one load balancer, in an order that only their names decide.
fn in_one_group(mine: &Router, theirs: &Router) -> bool {
    let said = |router: &Router, what: &str| router.alb.as_ref().and_then(|it| it.annotations.get(what).cloned());
    let [group, order] = ["alb.ingress.kubernetes.io/group.name", "alb.ingress.kubernetes.io/group.order"];
    said(mine, group).is_some()
        && said(mine, group) == said(theirs, group)
        && said(mine, order).unwrap_or_default() == said(theirs, order).unwrap_or_default()
}

/// Whether some requests are of both paths.
fn overlap(mine: &PathMatch, theirs: &PathMatch) -> bool {
    let is_root = |path: &PathMatch| path.type_ == PathType::Prefix && path.value.trim_end_matches('/').is_empty();
    is_root(mine) || is_root(theirs) || unordered(mine, theirs)
}

/// Whether one path is below the other. Istio puts VirtualServices of one host together without looking at how long their paths are; only
/// what matches every path comes last.
fn unordered(mine: &PathMatch, theirs: &PathMatch) -> bool {
    let is_below = |path: &PathMatch, above: &PathMatch| {
        let prefix = above.value.trim_end_matches('/');
        above.type_ == PathType::Prefix
            && !prefix.is_empty()
            && path.value.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_below(mine, theirs) || is_below(theirs, mine)
}
