//! Deployments of environments. Others are not even sent.

use cutover_engine::environment::DeploymentView;
use k8s_openapi::api::apps::v1::Deployment;

use crate::cluster::stores::View;

/// What tells the API server which Deployments are wanted.
pub(super) const SELECTOR: &str = "cutover.dev/owner-kind=Environment";

impl View for DeploymentView {
    type Object = Deployment;

    fn of(object: Deployment) -> Option<Self> {
        Some(Self::of(&object))
    }

    /// By the UID of the Environment.
    fn group(&self) -> Option<&str> {
        self.marks.owner.as_deref()
    }
}
