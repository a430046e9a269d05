//! ConfigMaps of environments and of flags. Others are not even sent.

use cutover_engine::{environment, feature_flag};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::cluster::stores::View;

/// What tells the API server which ConfigMaps are wanted.
pub(super) const SELECTOR: &str = "app.kubernetes.io/managed-by=cutover,cutover.dev/owner-kind";

/// What is kept of a ConfigMap.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigMapRecord {
    /// An environment's configuration.
    Environment(environment::ConfigMapView),
    /// The flags of an environment.
    Flags(feature_flag::ConfigMapView),
}

impl View for ConfigMapRecord {
    type Object = ConfigMap;

    fn of(object: ConfigMap) -> Option<Self> {
        let flags = feature_flag::ConfigMapView::of(&object);
        if flags.environment.is_some() {
            return Some(Self::Flags(flags));
        }
        let environment = environment::ConfigMapView::of(&object);
        environment.marks.owner.is_some().then_some(Self::Environment(environment))
    }

    /// By the UID of the Environment.
    fn group(&self) -> Option<&str> {
        match self {
            Self::Environment(view) => view.marks.owner.as_deref(),
            Self::Flags(_) => None,
        }
    }
}
