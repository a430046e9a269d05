//! All decisions of Cutover, as pure functions: `(validated spec, observed, now) -> plan`.
//!
//! No client, no clock, no random, no I/O: whoever calls brings what was observed and what time it
//! is, and carries the plan out. The same input always gives the same plan, and a plan that was
//! carried out and observed again is followed by an empty one.

pub mod conditions;
pub mod environment;
pub mod feature_flag;
pub mod hash;
mod job;
pub mod known;
pub mod migration_phase;
pub mod note;
pub mod router;
pub mod show;
pub mod simulate;
pub mod traffic_split;

pub use known::Known;
pub use note::{Note, Severity};

#[cfg(test)]
mod admission_tests;
#[cfg(test)]
mod gitops_tests;
