//! BackendTLSPolicies of environments. Others are not even sent.

use cutover_engine::environment::{PolicyView, build::BackendTlsPolicy};

use crate::cluster::stores::View;

/// What tells the API server which of them are wanted.
pub(super) const SELECTOR: &str = "cutover.dev/owner-kind=Environment";

impl View for PolicyView {
    type Object = BackendTlsPolicy;

    fn of(object: BackendTlsPolicy) -> Option<Self> {
        Some(Self::of(&object))
    }

    /// By the UID of the Environment.
    fn group(&self) -> Option<&str> {
        self.marks.owner.as_deref()
    }
}
