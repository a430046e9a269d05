//! Addresses outside the cluster: which are refused. A route to them is a way for whoever writes an Environment to reach
//! what the proxies can reach, so nothing that is local to a node or to the cluster is allowed.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::validate::Problem;

/// Metadata service of a cloud, which is not link-local in IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Where IPv4 addresses are written as IPv6 ones, for a gateway to translate: `64:ff9b::/96`.
const TRANSLATED: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// The addresses, each once; `None` when one is refused.
pub fn judge(
    given: &[String],
    field: &str,
    forbidden: &[IpNet],
    problems: &mut Vec<Problem>,
) -> Option<BTreeSet<IpAddr>> {
    let mut addresses = BTreeSet::new();
    let before = problems.len();
    for (index, text) in given.iter().enumerate() {
        match parse(text).and_then(|address| refused(address, forbidden).map_or(Ok(address), Err)) {
            Ok(address) => {
                addresses.insert(address);
            }
            Err(why) => problems.push(Problem { field: format!("{field}[{index}]"), message: format!("{text} {why}") }),
        }
    }
    if addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6) {
        problems.push(Problem {
            field: field.to_owned(),
            message: "must be of one family: give either IPv4 or IPv6 addresses".into(),
        });
    }
    (problems.len() == before).then_some(addresses)
}

fn parse(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "is not an IP address: a host name is given as host".to_owned())
}

/// Why an address is refused.
pub(super) fn refused(address: IpAddr, forbidden: &[IpNet]) -> Option<String> {
    let address = meant(address);
    if let Some(kind) = local(address) {
        return Some(format!("is {kind}, which is refused: give an address outside the cluster"));
    }
    let network = forbidden.iter().find(|network| network.contains(&address))?;
    Some(format!("is in {network}, which this operator's configuration forbids: give an address outside the cluster"))
}

/// Why a name is refused: its answer would be about the cluster or the node, or depend on who asks.
pub(super) fn refused_name(name: &str) -> Option<String> {
    let inside = |end: &&&str| name == end.trim_start_matches('.') || name.ends_with(**end);
    if name.parse::<IpAddr>().is_ok() {
        Some(format!("{name} is an IP address: give it in addresses"))
    } else if !name.contains('.') {
        Some(format!(
            "{name} is no full name, and means something else wherever it is asked for: give it with its domain"
        ))
    } else {
        let end = [".svc", ".cluster.local", ".localhost"].iter().find(inside)?;
        Some(format!("{name} is in {end}: give a name outside the cluster, and a Service as source.service"))
    }
}

/// The address that packets to it arrive at: `::ffff:127.0.0.1` is 127.0.0.1 to whoever connects to it, and what begins with `64:ff9b::` is
/// translated by a gateway.
#[must_use]
pub fn meant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.segments().get(..6) == TRANSLATED.segments().get(..6) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

/// What makes an address one that nobody outside of the node or the link has.
#[must_use]
pub fn local(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => local_v4(v4),
        IpAddr::V6(v6) => local_v6(v6),
    }
}

fn local_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if first == 0 {
        Some("an unspecified address")
    } else if first >= 240 {
        Some("a reserved address")
    } else {
        None
    }
}

fn local_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_unicast_link_local() || address == METADATA_V6 {
        Some("a link-local address")
    } else {
        None
    }
}
