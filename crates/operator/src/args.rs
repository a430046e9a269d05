//! The operator's flags. Each is also an environment variable: `--api-qps` is `CUTOVER_API_QPS`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::{ArgAction, Parser, ValueEnum};
use ipnet::IpNet;

use crate::cluster::{clients::Limits, lease::Timing};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// A Prometheus that Environments may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusEndpoint {
    /// What `spec.monitoring.prometheus` of an Environment says.
    pub name: String,
    /// Base URL, such as `http://prometheus.monitoring:9090`.
    pub url: reqwest::Url,
}

/// Moves traffic from a legacy system to its replacement, step by step, and back.
#[derive(Debug, Clone, Parser)]
#[command(name = "cutover-operator", version, about)]
pub struct Args {
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "CUTOVER_METRICS_BIND_ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_bind_address: SocketAddr,

    /// Namespaces to work in, comma-separated. Default: all. With it the operator needs no cluster-wide rights but those
    /// to read the router classes.
    #[arg(long, env = "CUTOVER_WATCH_NAMESPACES", value_delimiter = ',', value_parser = parse_namespace)]
    pub watch_namespaces: Vec<String>,

    /// Objects of one kind reconciled at the same time, 1 to 256.
    #[arg(long, env = "CUTOVER_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Elect a leader by a Lease before writing anything. Without it exactly one replica may run.
    #[arg(long, env = "CUTOVER_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true")]
    pub leader_elect: bool,

    /// Namespace of the Lease. Default: the operator's own.
    #[arg(long, env = "CUTOVER_LEASE_NAMESPACE", value_parser = parse_namespace)]
    pub lease_namespace: Option<String>,

    /// Name of the Lease. Operators that share a cluster, each with namespaces of its own, need one each.
    #[arg(long, env = "CUTOVER_LEASE_NAME", default_value = "cutover-operator")]
    pub lease_name: String,

    /// After how long without a renewal another replica takes over. Whole seconds, longer than the renew deadline.
    #[arg(long, env = "CUTOVER_LEASE_DURATION", default_value = "15s", value_parser = parse_duration)]
    pub lease_duration: Duration,

    /// For how long the leader goes on writing without a confirmed renewal. At least twice the retry period.
    #[arg(long, env = "CUTOVER_LEASE_RENEW_DEADLINE", default_value = "10s", value_parser = parse_duration)]
    pub lease_renew_deadline: Duration,

    /// Between two renewals of the Lease, the operator's only periodic request.
    #[arg(long, env = "CUTOVER_LEASE_RETRY_PERIOD", default_value = "2s", value_parser = parse_duration)]
    pub lease_retry_period: Duration,

    /// What this replica is called in the Lease and in Events; a random part is added in the Lease. Default: the host's
    /// name, which in a pod is the pod's.
    #[arg(long, env = "CUTOVER_IDENTITY")]
    pub identity: Option<String>,

    /// Requests per second to the API server, watches and the Lease aside; 0 for no limit. The API server's own priority
    /// and fairness protects it; this bounds what one burst of changes may use.
    #[arg(long, env = "CUTOVER_API_QPS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub api_qps: u32,

    /// Requests to the API server at once after a rest.
    #[arg(long, env = "CUTOVER_API_BURST", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub api_burst: u32,

    /// How long one request to the API server may take with its answer, 100ms to 5m. Failed requests are tried again by
    /// the object's own backoff (1s to 5m).
    #[arg(long, env = "CUTOVER_API_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub api_timeout: Duration,

    /// How long proxies may take to act on a route that was written; a split's appliedWeight follows that much later, so
    /// that it is true of the traffic. 0s to 1m; Traefik takes up to its providersThrottleDuration (2s).
    #[arg(long, env = "CUTOVER_ROUTE_PROPAGATION", default_value = "2s", value_parser = parse_duration)]
    pub route_propagation: Duration,

    /// Default: text on a terminal, json elsewhere.
    #[arg(long, env = "CUTOVER_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// A level (error, warn, info, debug, trace) or a filter such as `info,cutover_operator=debug`.
    #[arg(long, env = "CUTOVER_LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// A Prometheus that Environments may name, as NAME=URL. May be repeated; in the variable separated by commas.
    #[arg(long = "prometheus", env = "CUTOVER_PROMETHEUS", value_name = "NAME=URL", value_delimiter = ',',
        value_parser = parse_prometheus)]
    pub prometheus: Vec<PrometheusEndpoint>,

    /// How long a query to a Prometheus may take, 100ms to 1m.
    #[arg(long, env = "CUTOVER_PROMETHEUS_TIMEOUT", default_value = "5s", value_parser = parse_duration)]
    pub prometheus_timeout: Duration,

    /// File that names the sinks for notifications: JSON, `{"sinks": [{"name", "url" or "urlFile", "format", "secretFile", "namespaces", "always"}]}`.
    #[arg(long, env = "CUTOVER_NOTIFICATION_SINKS")]
    pub notification_sinks: Option<std::path::PathBuf>,

    /// File with PEM certificates of authorities to trust besides the public ones, for outbound HTTPS.
    #[arg(long, env = "CUTOVER_EXTRA_CA_FILE")]
    pub extra_ca_file: Option<std::path::PathBuf>,

    /// Networks that requests may go to which users' specs ask for, such as HTTP checks, comma-separated. Default: none, and such checks
    /// cannot be asked. Link-local addresses are always refused, and loopback but for a network of loopback addresses alone.
    #[arg(long, env = "CUTOVER_OUTBOUND_NETWORKS", value_delimiter = ',')]
    pub outbound_networks: Vec<IpNet>,

    /// Ranges that external components may not be in, comma-separated: the cluster's pods and Services. Loopback,
    /// link-local, multicast and unspecified addresses are always refused.
    #[arg(long, env = "CUTOVER_FORBIDDEN_EXTERNAL_CIDRS", value_delimiter = ',')]
    pub forbidden_external_cidrs: Vec<IpNet>,

    /// Name server that is asked for the host names of external components, as ADDRESS or ADDRESS:PORT. May be repeated; in the variable
    /// separated by commas. Default: those of the system, /etc/resolv.conf.
    #[arg(long = "dns-server", env = "CUTOVER_DNS_SERVER", value_name = "ADDRESS", value_delimiter = ',',
        value_parser = parse_name_server)]
    pub dns_servers: Vec<SocketAddr>,

    /// How long work under way may take to end after SIGTERM; then it is abandoned, which is safe at any point, and the
    /// Lease is given back. Stay below the pod's terminationGracePeriodSeconds. 0s to 10m.
    #[arg(long, env = "CUTOVER_SHUTDOWN_GRACE", default_value = "20s", value_parser = parse_duration)]
    pub shutdown_grace: Duration,

    /// Accept the actions on phases that lead forward (Approve, Promote, Resume, Retry) even if the API server does not enforce the admission
    /// policies that check who made them. Those that hold or lead back (Pause, Abort, Rollback) are accepted always.
    #[arg(long, env = "CUTOVER_TRUST_UNENFORCED_POLICIES", default_value_t = false, action = ArgAction::Set,
        num_args = 0..=1, default_missing_value = "true")]
    pub trust_unenforced_policies: bool,
}

impl Args {
    /// Checks what one flag alone does not show.
    ///
    /// # Errors
    /// A sentence that names the flags.
    pub fn validate(&self) -> Result<(), String> {
        if self.leader_elect {
            self.timing().validate().map_err(|error| {
                format!("--lease-duration, --lease-renew-deadline and --lease-retry-period: {error}")
            })?;
        }
        within("--api-timeout", self.api_timeout, Duration::from_millis(100), Duration::from_secs(300))?;
        within("--route-propagation", self.route_propagation, Duration::ZERO, Duration::from_secs(60))?;
        within("--prometheus-timeout", self.prometheus_timeout, Duration::from_millis(100), Duration::from_secs(60))?;
        within("--shutdown-grace", self.shutdown_grace, Duration::ZERO, Duration::from_secs(600))?;
        let mut names = BTreeSet::new();
        for endpoint in &self.prometheus {
            if !names.insert(&endpoint.name) {
                return Err(format!("--prometheus: {} is named twice", endpoint.name));
            }
        }
        Ok(())
    }

    /// The election's durations.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing { lease: self.lease_duration, renew_deadline: self.lease_renew_deadline, retry: self.lease_retry_period }
    }

    /// The limits of the controllers' client.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { qps: self.api_qps, burst: self.api_burst, timeout: self.api_timeout }
    }

    /// What this replica is called.
    #[must_use]
    pub fn replica(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        self.identity
            .clone()
            .or_else(|| std::env::var("POD_NAME").ok())
            .or_else(host)
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "cutover-operator".to_owned())
    }
}

fn within(flag: &str, value: Duration, least: Duration, most: Duration) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{flag}: {value:?} is not between {least:?} and {most:?}"))
    }
}

/// Units: ms, s, m, h; also together, as in `1m30s`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("{text:?} is not a duration: write a number with a unit, such as 500ms, 15s or 2m");
    let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| invalid())?;
    Duration::try_from(signed).map_err(|_| invalid())
}

fn parse_namespace(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = text.trim();
    if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) || name.starts_with('-') || name.ends_with('-')
    {
        return Err(format!("{text:?} is not the name of a namespace"));
    }
    Ok(name.to_owned())
}

/// With the port of DNS unless another is given.
fn parse_name_server(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse::<SocketAddr>()
        .or_else(|_| text.trim_matches(['[', ']']).parse::<IpAddr>().map(|address| (address, 53).into()))
        .map_err(|_| {
            format!("{text:?} is not the address of a name server: give an IP address, with :PORT if it is not 53")
        })
}

fn parse_prometheus(text: &str) -> Result<PrometheusEndpoint, String> {
    let (name, url) = text.split_once('=').ok_or("expected NAME=URL")?;
    let name = parse_namespace(name).map_err(|_| format!("{name:?} is not a name: use a-z, 0-9 and -"))?;
    let url: reqwest::Url = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(format!("{url} is neither http nor https"));
    }
    Ok(PrometheusEndpoint { name, url })
}

#[cfg(test)]
mod tests;
