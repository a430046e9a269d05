//! `cutover.dev/v1alpha1`.

pub mod environment;
pub mod feature_flag;
pub mod forms;
mod job;
pub mod migration_phase;
pub mod phase_action;
pub mod schema;
pub mod traffic_split;

pub use environment::{Environment, EnvironmentSpec, EnvironmentStatus};
pub use feature_flag::{FeatureFlag, FeatureFlagSpec, FeatureFlagStatus};
pub use migration_phase::{MigrationPhase, MigrationPhaseSpec, MigrationPhaseStatus};
pub use phase_action::{PhaseAction, PhaseActionSpec, PhaseActionStatus};
pub use traffic_split::{TrafficSplit, TrafficSplitSpec, TrafficSplitStatus};
