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
    if given.is_empty() {
        problems.push(Problem { field: field.to_owned(), message: "give at least one address".into() });
    }
    (problems.len() == before).then_some(addresses)
}

fn parse(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "is not an IP address: host names are not supported yet".to_owned())
}

/// Why an address is refused.
fn refused(address: IpAddr, forbidden: &[IpNet]) -> Option<String> {
    // ::ffff:127.0.0.1 is 127.0.0.1 to whoever connects to it.
    let address = address.to_canonical();
    if let Some(kind) = local(address) {
        return Some(format!("is {kind}, which is refused: give an address outside the cluster"));
    }
    let network = forbidden.iter().find(|network| network.contains(&address))?;
    Some(format!("is in {network}, which this operator's configuration forbids: give an address outside the cluster"))
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
