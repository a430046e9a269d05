//! Where requests may go that are made because of what a user wrote. Pure but for the resolution of names.
//!
//! Whoever may write a phase must not reach by it what only the operator can reach. What is judged are the addresses that are connected
//! to, after a name was resolved and by that one resolution: a name that means something else a moment later leads nowhere else.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use cutover_engine::environment::{local_address, meant_address as meant};
use ipnet::IpNet;
use reqwest::Url;

/// The networks of the operator's configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reach(Arc<[IpNet]>);

impl Reach {
    /// Only these networks. What is local to a node or a link is not in them, however wide they are; loopback is where a network
    /// of loopback addresses alone is given.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.iter().map(IpNet::trunc).collect())
    }

    /// The addresses behind a URL that may be connected to.
    ///
    /// # Errors
    /// There is none, and why.
    pub async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        // However an address is written, the URL holds it in one way.
        let found: Vec<SocketAddr> = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => match tokio::net::lookup_host((host, port)).await {
                Ok(found) => found.collect(),
                Err(error) => return Err(format!("the name {host} cannot be resolved: {error}")),
            },
        };
        let judged: Vec<_> = found.into_iter().map(|address| self.judge(address.ip()).map(|()| address)).collect();
        let refused = judged.iter().find_map(|judged| judged.as_ref().err().cloned());
        let allowed: Vec<_> = judged.into_iter().filter_map(Result::ok).collect();
        if allowed.is_empty() {
            Err(refused.unwrap_or_else(|| "the name means no address".to_owned()))
        } else {
            Ok(allowed)
        }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, address: IpAddr) -> Result<(), String> {
        let meant = meant(address);
        let within = |network: &&IpNet| network.contains(&meant);
        if let Some(kind) = local_address(meant) {
            let loopback = |network: &IpNet| network.network().is_loopback() && network.broadcast().is_loopback();
            return if self.0.iter().filter(within).any(|network| meant.is_loopback() && loopback(network)) {
                Ok(())
            } else {
                Err(format!("{address} is {kind}: the operator makes no request there"))
            };
        }
        match self.0.iter().find(within) {
            Some(_) => Ok(()),
            None => Err(format!(
                "{address} is in none of the networks that the operator may make requests to: whoever runs it can add one by --outbound-networks"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn reach(networks: &[&str]) -> Reach {
        Reach::new(&networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>())
    }

    #[rstest]
    #[case(&["10.0.0.0/8"], "10.96.0.1")]
    #[case(&["10.0.0.0/8"], "::ffff:10.96.0.1")]
    #[case(&["10.0.0.0/8"], "64:ff9b::10.96.0.1")]
    #[case(&["192.0.2.7/24"], "192.0.2.1")]
    #[case(&["fd00::/8"], "fd12::1")]
    #[case(&["0.0.0.0/0"], "198.51.100.1")]
    #[case(&["127.0.0.0/8"], "127.0.0.1")]
    #[case(&["127.0.0.1/32"], "::ffff:127.0.0.1")]
    #[case(&["::1/128"], "::1")]
    fn what_is_configured_is_reached(#[case] networks: &[&str], #[case] address: &str) {
        assert_eq!(reach(networks).judge(address.parse().unwrap()), Ok(()));
    }

    #[rstest]
    #[case(&[], "10.96.0.1", "none of the networks")]
    #[case(&["10.0.0.0/8"], "11.0.0.1", "none of the networks")]
    #[case(&["10.0.0.0/8"], "fd00::1", "none of the networks")]
    #[case(&["::/0"], "64:ff9b::10.96.0.1", "none of the networks")]
    #[case(&["0.0.0.0/0"], "127.0.0.1", "a loopback address")]
    #[case(&["126.0.0.0/7"], "127.0.0.1", "a loopback address")]
    #[case(&["127.0.0.1/32"], "127.0.0.2", "a loopback address")]
    #[case(&["::/0"], "::1", "a loopback address")]
    #[case(&["0.0.0.0/0", "::/0"], "64:ff9b::127.0.0.1", "a loopback address")]
    #[case(&["0.0.0.0/0"], "169.254.169.254", "a link-local address")]
    #[case(&["169.254.0.0/16"], "169.254.169.254", "a link-local address")]
    #[case(&["0.0.0.0/0", "::/0"], "::ffff:169.254.169.254", "a link-local address")]
    #[case(&["0.0.0.0/0", "::/0"], "64:ff9b::a9fe:a9fe", "a link-local address")]
    #[case(&["fd00::/8"], "fd00:ec2::254", "a link-local address")]
    #[case(&["fe80::/10"], "fe80::1", "a link-local address")]
    #[case(&["0.0.0.0/0"], "0.0.0.0", "an unspecified address")]
    #[case(&["0.0.0.0/0"], "224.0.0.1", "a multicast address")]
    #[case(&["0.0.0.0/0"], "255.255.255.255", "a reserved address")]
    fn everything_else_is_not(#[case] networks: &[&str], #[case] address: &str, #[case] why: &str) {
        let refused = reach(networks).judge(address.parse().unwrap()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }

    #[rstest]
    #[case("http://127.1/")]
    #[case("http://0x7f000001/")]
    #[case("http://2130706433:80/")]
    #[case("http://0177.0.0.1/")]
    #[case("http://[::ffff:7f00:1]/")]
    #[case("http://localhost/")]
    #[tokio::test]
    async fn an_address_is_judged_however_it_is_written(#[case] url: &str) {
        let refused = reach(&["0.0.0.0/0", "::/0"]).addresses(&url.parse().unwrap()).await.unwrap_err();
        assert!(refused.contains("a loopback address"), "{refused}");
    }

    #[tokio::test]
    async fn the_port_is_that_of_the_url_or_of_its_scheme() {
        let port = async |url: &str| reach(&["127.0.0.0/8"]).addresses(&url.parse().unwrap()).await.unwrap()[0].port();
        assert_eq!(port("http://127.0.0.1/").await, 80);
        assert_eq!(port("https://127.0.0.1/").await, 443);
        assert_eq!(port("https://127.0.0.1:8443/").await, 8443);
    }
}
