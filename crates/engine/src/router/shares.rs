//! What a weighted list of backends should hold, whatever router it is for, and what it is read as.

use cutover_api::{conditions::reasons, v1alpha1::traffic_split::Side};

use super::{
    contract::{Backend, Intent, Problem, SideBackend, Sides},
    marks, scale,
};
use crate::conditions::Health;

/// One backend of a weighted list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share<'a> {
    /// Which side it is.
    pub(super) side: Side,
    /// Its Service.
    pub(super) service: &'a str,
    /// The Service's port.
    pub(super) port: i32,
    /// Its share of the total.
    pub(super) weight: i32,
    /// What is known of it, if it is there.
    pub(super) backend: Option<&'a Backend>,
}

/// Name and port of a side's Service, there or not.
pub(super) fn service_port(side: &SideBackend) -> Option<(&str, i32)> {
    match side {
        SideBackend::Present(backend) => Some((&backend.service, backend.port)),
        SideBackend::Missing { service: Some((name, port)) } => Some((name, *port)),
        SideBackend::Missing { service: None } | SideBackend::Absent => None,
    }
}

/// What the intent comes down to, legacy first; at least one share is above 0. A side whose Service is gone keeps the share that it is
/// observed to have (its endpoints may be gone for everybody, but nothing is gained by writing), loses it when it should, and is never
/// given more.
pub(super) fn wanted<'a>(intent: &Intent<'a>, observed_weight: Option<i32>) -> Result<Vec<Share<'a>>, Problem> {
    let total = intent.weight_total;
    let mut shares = Vec::with_capacity(2);
    for (side, weight) in [(Side::Legacy, total - intent.new_weight), (Side::New, intent.new_weight)] {
        let before = observed_weight.map(|new| if side == Side::New { new } else { total - new });
        let backend = intent.sides.get(side);
        let share = service_port(backend).map(|(service, port)| Share {
            side,
            service,
            port,
            weight,
            backend: backend.present(),
        });
        match (backend, share) {
            (SideBackend::Present(_), Some(share)) => shares.push(share),
            (SideBackend::Absent, _) => {}
            _ if weight == 0 => {}
            (_, Some(share)) if before.is_some_and(|before| weight <= before) => shares.push(share),
            _ => return Err(missing(side, intent.sides)),
        }
    }
    // All-zero is refused or answered with errors, so it is never written.
    if shares.iter().all(|share| share.weight == 0) {
        let side = if intent.new_weight == 0 { Side::Legacy } else { Side::New };
        return Err(missing(side, intent.sides));
    }
    Ok(shares)
}

/// The side that a rule does not name, of those that are there.
pub(super) fn lacking(sides: &Sides, is_named: impl Fn(&SideBackend) -> bool) -> Option<Side> {
    [Side::New, Side::Legacy]
        .into_iter()
        .find(|side| sides.get(*side).present().is_some() && !is_named(sides.get(*side)))
}

/// A host that only the new side serves, at weight 0: all-zero is never written, so there is no route.
pub(super) fn served_by_nobody(intent: &Intent<'_>) -> bool {
    intent.sides.legacy == SideBackend::Absent && intent.new_weight == 0
}

fn missing(side: Side, sides: &Sides) -> Problem {
    let field = match side {
        Side::Legacy => "spec.legacy",
        Side::New => "spec.new",
    };
    let service = match sides.get(side) {
        SideBackend::Missing { service: Some((name, port)) } => format!("Service {name} with port {port}"),
        _ => "its Service".to_owned(),
    };
    Problem {
        reason: reasons::REFERENCE_NOT_FOUND,
        message: format!("{field}: {service} does not exist, and its share would be lost: create it, or name another"),
        health: Health::Stalled,
    }
}

/// A side that a router cannot count the endpoints of.
pub(super) fn external_name(sides: &Sides) -> Option<Problem> {
    let found = sides.present().find(|(_, backend)| backend.external_name);
    found.map(|(field, backend)| {
        marks::stalled(
            reasons::UNSUPPORTED_BY_ROUTER,
            format!(
                "{field}: Service {} is of type ExternalName, which most gateways refuse and whose endpoints cannot be counted: make it an \
                 external component that is found by addresses, or a Service with EndpointSlices",
                backend.service
            ),
        )
    })
}

/// The new side's weight in a list of backends, in parts of `total`: of each, which side it is found to be, and its weight. `None` if none
/// of them can be told to be a side, unless there are two: of those the second is the new one, as we write them.
pub(super) fn read(list: &[(Option<Side>, i64)], total: i32) -> Option<i32> {
    let sum: i64 = list.iter().map(|(_, weight)| weight).sum();
    let known = list.iter().any(|(side, _)| side.is_some());
    if sum <= 0 || (!known && list.len() != 2) {
        return None;
    }
    let is_new =
        |(at, (side, _)): &(usize, &(Option<Side>, i64))| if known { *side == Some(Side::New) } else { *at == 1 };
    let new: i64 = list.iter().enumerate().filter(is_new).map(|(_, (_, weight))| weight).sum();
    scale(new, sum, total)
}
