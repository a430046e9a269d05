//! Environment: its components' Deployments, Services and EndpointSlices, and the ConfigMap that tells them of each other.
//!
//! Pure. The caller brings what was observed ([`Observed`]), carries out the [`Plan`]'s steps in their order, and writes
//! the [`status`](status::status).
//!
//! ```text
//!   spec ──validate──▶ Validated ──┐
//!                                  ├──decide──▶ Plan ──(apply)──▶ Applied ──status──▶ EnvironmentStatus
//!   caches ──────────▶ Observed ───┘
//! ```
//!
//! What holds throughout:
//! - A Service's selector never changes, and a Service with a selector never becomes one without.
//! - An object of ours is recognised by the UID of its Environment in a label. Whatever has the name and not the label
//!   is somebody else's and is left alone.
//! - What left the spec is pruned, but not while traffic may go there, or may have to go back there.
//! - Addresses of a component whose port speaks TLS are published after what says under which name and by whose authority.
//! - Addresses of a host name are never replaced by none ([`resolve`]).
//! - With an invalid spec nothing is written; readiness is still told.

mod addresses;
pub mod build;
mod checklist;
pub mod decide;
pub mod discovery;
pub mod in_use;
mod migrations;
pub mod names;
pub mod observed;
pub mod plan;
pub mod pod_template;
pub mod readiness;
pub mod resolve;
mod schema;
pub mod status;
mod tls;
pub mod validate;

pub use addresses::{local as local_address, meant as meant_address};
pub use decide::{decide, decide_deletion};
pub use in_use::Usage;
pub use migrations::MigrationEnd;
pub use names::Identity;
pub use observed::{
    ConfigMapView, DeploymentView, Marks, ObjectKind, ObjectRef, Observed, PolicyView, ServiceView, Settled, SliceView,
};
pub use plan::{Applied, Blocked, Plan, Refusal, Step};
pub use schema::{VersionSource, failed as version_job_failed, printed as version_printed, told as version_told};
pub use status::{Verdict, notes, status};
pub use validate::{Problem, Validated, validate};

#[cfg(test)]
mod tests;
