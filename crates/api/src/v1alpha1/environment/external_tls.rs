//! TLS to a component outside the cluster.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::super::forms::{DOMAIN_PATTERN, NAME_PATTERN};

/// Under which name the port speaks TLS, and by which authorities its certificate is judged. It is always judged: without an authority of
/// one's own, by those of the router's system.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!(has(self.caConfigMap) && has(self.caSecret))").message("the authority is in one of caConfigMap and caSecret")
)]
pub struct ExternalTls {
    /// Name that is asked for and that the certificate must have, such as `app-01.dc.example.com`. Default: `host`. Required with
    /// `addresses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 253), regex(pattern = DOMAIN_PATTERN))]
    pub server_name: Option<String>,
    /// ConfigMap of this namespace whose key `ca.crt` has the authority's certificates in PEM, instead of the authorities that the router's
    /// system trusts. It bears the label `cutover.dev/ca: "true"`: the operator looks at no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub ca_config_map: Option<String>,
    /// Secret of this namespace with the same key, where the router takes one from there. The operator reads no Secret: whether it is
    /// there only the router can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME_PATTERN))]
    pub ca_secret: Option<String>,
}
