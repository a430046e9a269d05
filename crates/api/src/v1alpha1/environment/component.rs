//! A component: its system, its role, and how it is run or reached.

use std::collections::BTreeSet;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::forms::{COMPONENT_PATTERN, DOMAIN_PATTERN, LABEL_PATTERN},
    ExternalTls, Workload,
};

/// One component.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.source.external) || !has(self.source.external.tls) || !(self.role in ['Database', 'Cache'])").message("tls is how routers speak HTTPS to a component: what calls a database or a cache speaks TLS to it by itself").field_path(".source")
)]
pub struct Component {
    /// Name, unique in the environment, at most 30 characters, such as `storefront`.
    #[schemars(length(min = 1, max = 30), regex(pattern = COMPONENT_PATTERN))]
    pub name: String,
    /// Which system it belongs to.
    pub system: System,
    /// What it does. Default `Other`.
    #[serde(default)]
    pub role: Role,
    /// How it is run or reached: exactly one way.
    pub source: Source,
    /// Components that it calls: their addresses are given to it as environment variables, such as `API_URL`. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 30), regex(pattern = LABEL_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub calls_to: Vec<String>,
    /// Components that must be ready before this one is started. It goes on running if one of them fails later. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 30), regex(pattern = LABEL_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub depends_on: Vec<String>,
}

/// Which system a component belongs to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// The system that is replaced.
    Legacy,
    /// The system that replaces it.
    New,
    /// Used by both.
    Shared,
}

impl System {
    /// The value of the label and of the metrics' `system`, such as `new`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::New => "new",
            Self::Shared => "shared",
        }
    }
}

/// What a component does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// All of the legacy system.
    Monolith,
    /// What users see.
    Frontend,
    /// What frontends call.
    Api,
    /// Works in the background.
    Worker,
    /// Keeps the data.
    Database,
    /// Keeps copies of data.
    Cache,
    /// Keeps files.
    ObjectStorage,
    /// Content delivery network.
    Cdn,
    /// The way in.
    Gateway,
    /// Evaluates feature flags.
    FlagService,
    /// Observes the rest.
    Monitoring,
    /// Anything else.
    #[default]
    Other,
}

impl Role {
    /// The value of the label, such as `Frontend`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monolith => "Monolith",
            Self::Frontend => "Frontend",
            Self::Api => "Api",
            Self::Worker => "Worker",
            Self::Database => "Database",
            Self::Cache => "Cache",
            Self::ObjectStorage => "ObjectStorage",
            Self::Cdn => "Cdn",
            Self::Gateway => "Gateway",
            Self::FlagService => "FlagService",
            Self::Monitoring => "Monitoring",
            Self::Other => "Other",
        }
    }
}

/// How a component is run or reached: exactly one of `workload`, `service` and `external`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.workload), has(self.service), has(self.external)].filter(x, x).size() == 1").message("a source is exactly one of workload, service and external"))]
pub struct Source {
    /// The operator runs it: a Deployment and a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// A Service of the same namespace that somebody else keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSource>,
    /// Outside the cluster, by its addresses or its host name: a Service without selector, and the addresses. Nobody asks these for their
    /// health: it is ready once they are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalSource>,
}

/// A Service of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSource {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// Number of the Service's port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

/// Something outside the cluster, reached by its addresses or by its host name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.addresses) != has(self.host)").message("external is reached by exactly one of addresses and host"),
    validation = Rule::new("!has(self.ipFamilies) || has(self.host)").message("ipFamilies says which addresses of host are used: addresses say it themselves"),
    validation = Rule::new("!has(self.tls) || has(self.host) || has(self.tls.serverName)").message("tls.serverName is required with addresses: certificates are judged by a name").field_path(".tls"),
    validation = Rule::new("!has(self.via) || self.via != 'ExternalName' || (has(self.host) && !has(self.ipFamilies) && !has(self.tls))").message("an ExternalName is another name of host, and nothing else can be said of it: remove addresses, ipFamilies and tls, or via").field_path(".via")
)]
pub struct ExternalSource {
    /// IPv4 or IPv6 addresses, all of one family. 1 to 64. Loopback, link-local and cluster addresses are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 45)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(a, isIP(a))").message("addresses must be IP addresses: a host name is given as host"),
        validation = Rule::new("self.all(a, !isIP(a) || (!ip(a).isLoopback() && !ip(a).isUnspecified() && !ip(a).isLinkLocalUnicast() && !ip(a).isLinkLocalMulticast()))").message("loopback, unspecified and link-local addresses are refused"),
        validation = Rule::new("!self.all(a, isIP(a)) || self.all(a, ip(a).family() == 4) || self.all(a, ip(a).family() == 6)").message("addresses must be of one family, all IPv4 or all IPv6")
    )]
    pub addresses: Vec<String>,
    /// Host name whose addresses are used, such as `app-01.dc.example.com`. The operator resolves it, as a full name and without search
    /// domains, and follows it for as long as its answers say (5 s to 5 min). While it cannot be resolved the addresses that were seen last
    /// stay, and the condition `ResolutionDegraded` says so. Of its addresses those in loopback, link-local and cluster networks are left
    /// out, and at most 64 of a family are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 253), regex(pattern = DOMAIN_PATTERN))]
    #[x_kube(validation = Rule::new("!['.svc', '.cluster.local', '.localhost'].exists(end, self.endsWith(end)) && self != 'cluster.local'").message("host is a name outside the cluster: for a Service of this namespace use source.service"))]
    pub host: Option<String>,
    /// Which addresses of `host` are used: `IPv4`, `IPv6` or both. Default: `IPv4` alone. Proxies send requests to all of them in turn, so
    /// a family is named here only if every proxy can reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ip_families: Vec<IpFamily>,
    /// How callers in the cluster find it. Default: `Addresses`.
    #[serde(default, skip_serializing_if = "Via::is_default")]
    pub via: Via,
    /// Port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// The port speaks TLS. A router that cannot speak it to one side by itself refuses the split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ExternalTls>,
}

impl ExternalSource {
    /// The families of the host's addresses that are used.
    #[must_use]
    pub fn families(&self) -> BTreeSet<IpFamily> {
        if self.ip_families.is_empty() {
            BTreeSet::from([IpFamily::V4])
        } else {
            self.ip_families.iter().copied().collect()
        }
    }
}

/// How something outside the cluster is found by its Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// By addresses that the operator publishes for it (EndpointSlices): every router and every pod can use it.
    #[default]
    Addresses,
    /// By another name (a Service of type `ExternalName`): pods ask the cluster's name server, which sends them on to `host`. For what only
    /// pods call, such as a database behind a name that changes faster than anybody can follow. No split leads to it.
    ExternalName,
}

impl Via {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A family of addresses.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// `A` records.
    #[serde(rename = "IPv4")]
    V4,
    /// `AAAA` records.
    #[serde(rename = "IPv6")]
    V6,
}

impl IpFamily {
    /// As in the spec of a Service or EndpointSlice, such as `IPv4`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The type of its records, such as `AAAA`.
    #[must_use]
    pub const fn record(self) -> &'static str {
        match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        }
    }

    /// Whether an address is one of the family.
    #[must_use]
    pub const fn has(self, address: &std::net::IpAddr) -> bool {
        matches!((self, address), (Self::V4, std::net::IpAddr::V4(_)) | (Self::V6, std::net::IpAddr::V6(_)))
    }
}
