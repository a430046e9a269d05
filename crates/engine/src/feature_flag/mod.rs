//! FeatureFlag: all flags of an environment in one ConfigMap, in the flagd definition format.
//!
//! Pure. One reconcile is about one flag, but the ConfigMap is composed from all flags of the environment, so that it is
//! complete whoever writes it. A flag's own reconcile alone decides its percentage and whether it is published at all;
//! for the others what is in force is taken from their status or from the ConfigMap.
//!
//! - Percentages are held the way weights of a split are: by at most one phase ([`holder`]), else by the flag itself.
//! - A growing percentage only adds users: the growing variant is listed first, and the weights always add up to 100.
//! - A flag whose spec is not valid keeps the form in which it was last published, and drops no other.
//! - With its status lost, the percentage is read from the ConfigMap.

pub mod compose;
pub mod decide;
pub mod definition;
pub mod document;
pub mod holder;
pub mod percent;
pub mod status;
mod targeting;
pub mod validate;

#[cfg(test)]
mod tests;

pub use decide::{Decision, Finalizer, Flag, Observed, Obstacle, Plan, Write, decide};
pub use document::{ConfigMapView, build_config_map, config_map_name};
pub use holder::Claim;
pub use status::{Stopped, intent, notes, status};
pub use validate::{Problem, Validated, validate};
