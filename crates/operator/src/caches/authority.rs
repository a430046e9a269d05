//! ConfigMaps with the certificates of an authority: only those that carry a label are sent, and of them only whether there are any is kept.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::cluster::stores::View;

/// What tells the API server which ConfigMaps are wanted.
pub(super) const SELECTOR: &str = "cutover.dev/ca=true";

/// What is kept of such a ConfigMap.
#[derive(Debug, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// Whether there is a certificate where routers look for it.
    pub holds: bool,
}

impl View for AuthorityRecord {
    type Object = ConfigMap;

    fn of(object: ConfigMap) -> Option<Self> {
        let text = object.data.as_ref().and_then(|data| data.get("ca.crt"));
        Some(Self { holds: text.is_some_and(|text| text.contains("-----BEGIN CERTIFICATE-----")) })
    }
}
