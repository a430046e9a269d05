//! Asks name servers for the addresses of a host: those of the configuration, or the system's.
//!
//! A name is asked for as it is, never with a search domain: in a cluster these are the cluster's own, and whoever may make a Service of
//! the right name would answer for a host outside. Neither the hosts file nor a cache of answers of ours comes between: how long an
//! answer holds is what it says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cutover_api::v1alpha1::environment::IpFamily;
use cutover_engine::environment::resolve::Answer;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
};

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Attempts after one that failed, of all servers.
const ATTEMPTS: usize = 1;

/// Asks name servers. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Result<TokioResolver, String>>);

impl Resolver {
    /// Asks these servers, or the system's if there are none. That the system names none is told by each answer: nobody has to resolve
    /// names.
    #[must_use]
    pub fn new(servers: &[SocketAddr]) -> Self {
        let resolver = resolver(servers).map_err(|error| format!("no name server is configured: {error}"));
        if let Err(why) = &resolver {
            tracing::warn!("host names of external components cannot be resolved: {why}");
        }
        Self(Arc::new(resolver))
    }

    /// The addresses of one family that a host has.
    pub async fn ask(&self, host: &str, family: IpFamily) -> Answer {
        match self.lookup(host, family).await {
            Ok(answer) => answer,
            Err(why) => Answer::Failed(why),
        }
    }

    async fn lookup(&self, host: &str, family: IpFamily) -> Result<Answer, String> {
        let resolver = self.0.as_ref().as_ref().map_err(Clone::clone)?;
        let mut name = Name::from_ascii(host).map_err(|error| format!("it is no name: {error}"))?;
        name.set_fqdn(true);
        let record_type = match family {
            IpFamily::V4 => RecordType::A,
            IpFamily::V6 => RecordType::AAAA,
        };
        let found = match resolver.lookup(name, record_type).await {
            Ok(found) => found,
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.response_code == ResponseCode::NoError => {
                return Ok(Answer::Nothing { ttl: seconds(none.negative_ttl.unwrap_or_default()) });
            }
            Err(error) => return Err(describe(&error)),
        };
        // That of an alias counts as well as those of the addresses.
        let ttl = seconds(found.answers().iter().map(|record| record.ttl).min().unwrap_or_default());
        let addresses: Vec<_> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0.into()),
                RData::AAAA(address) => Some(address.0.into()),
                _ => None,
            })
            .collect();
        Ok(if addresses.is_empty() { Answer::Nothing { ttl } } else { Answer::Addresses { addresses, ttl } })
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let given = servers.iter().map(name_server).collect();
        TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), given),
            TokioRuntimeProvider::default(),
        )
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

fn name_server(server: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

fn describe(error: &NetError) -> String {
    match error {
        NetError::Timeout => "no name server answers".to_owned(),
        error if error.is_nx_domain() => "there is no such name (NXDOMAIN)".to_owned(),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => "the name server fails (SERVFAIL)".to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server refuses: {code}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
