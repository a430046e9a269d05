//! Entries that a split adds to rules of somebody else's: on record before they are written, so that they can be taken out again once the
//! split has left the rule. Pure.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{
        AddedEntry, GatewayApiRouter, IstioAttach, IstioRouter, RouteAttach, RouteKind, Router, TrafficSplitStatus,
    },
};

use crate::{
    Known,
    router::{self, ObjectKind, Sides},
};

/// Entries on record.
const MOST: usize = 16;

/// The object and the rule or entry of it that a router attaches to, as [`AddedEntry`] calls them.
fn place(router: &Router) -> Option<(String, &str)> {
    let rule = router.gateway_api.as_ref().and_then(|it| Some((it.route_kind, it.attach.as_ref()?)));
    let entry = router.istio.as_ref().and_then(|it| it.attach.as_ref());
    rule.map(|(kind, it)| (format!("{}/{}", ObjectKind::from(kind).kind(), it.route), it.rule.as_str()))
        .or_else(|| entry.map(|it| (format!("VirtualService/{}", it.virtual_service), it.http.as_str())))
}

fn is_at(added: &AddedEntry, router: &Router) -> bool {
    place(router).is_some_and(|(object, part)| added.object == object && added.part == part)
}

/// A router that attaches where the entry was added.
#[must_use]
pub fn router_of(added: &AddedEntry) -> Option<Router> {
    let (kind, name) = added.object.split_once('/')?;
    let (name, part) = (name.to_owned(), added.part.clone());
    match kind {
        "HTTPRoute" | "GRPCRoute" => {
            let attach = Some(RouteAttach { route: name, rule: part });
            let route_kind = if kind == "HTTPRoute" { RouteKind::Http } else { RouteKind::Grpc };
            let router = GatewayApiRouter { route_kind, parent_refs: None, attach };
            Some(Router { gateway_api: Some(router), ..Router::default() })
        }
        "VirtualService" => {
            let attach = Some(IstioAttach { virtual_service: name, http: part });
            Some(Router { istio: Some(IstioRouter { gateways: None, attach }), ..Router::default() })
        }
        _ => None,
    }
}

/// Whether the spec no longer attaches where the entry was added.
#[must_use]
pub fn has_left(added: &AddedEntry, spec: &TrafficSplitSpec) -> bool {
    !spec.routers.iter().any(|router| is_at(added, router))
}

/// What is on record from now on: what was, and a side that a rule does not name which the split attaches to.
#[must_use]
pub fn recorded(
    spec: &TrafficSplitSpec,
    status: &TrafficSplitStatus,
    sides: &Known<Sides>,
    routers: &[router::Observed],
) -> Vec<AddedEntry> {
    let mut recorded = status.added.clone();
    let Known::Known(sides) = sides else { return recorded };
    for (router, seen) in spec.routers.iter().zip(routers) {
        if let Some(side) = router::lacks(router, sides, seen)
            && let Some((object, part)) = place(router)
        {
            let entry = AddedEntry { object, part: part.to_owned(), side };
            if !recorded.contains(&entry) {
                recorded.push(entry);
            }
        }
    }
    let surplus = recorded.len().saturating_sub(MOST);
    recorded.drain(..surplus);
    recorded
}
