//! ConfigMaps of environments, of flags and of splits. Others are not even sent.

use cutover_api::labels;
use cutover_engine::{environment, feature_flag, router::WholeView};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

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
    /// What a split's Ingress names. It is called after what it says, and so kept without.
    Split(WholeView),
}

impl View for ConfigMapRecord {
    type Object = ConfigMap;

    fn of(object: ConfigMap) -> Option<Self> {
        let is_of_split = |kind: &String| kind == "TrafficSplit";
        if object.metadata.labels.as_ref().and_then(|all| all.get(labels::OWNER_KIND)).is_some_and(is_of_split) {
            return serde_json::from_value(json!({"metadata": object.metadata})).ok().map(Self::Split);
        }
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
            Self::Flags(_) | Self::Split(_) => None,
        }
    }
}
