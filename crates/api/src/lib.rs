//! The kinds of Cutover's API group `cutover.dev`, and the words that go with them.
//!
//! Types only: no client, no clock, no decisions. What a field means is in its doc comment, which
//! is also what `kubectl explain` shows. Everything that can be judged when an object is admitted
//! is a schema bound or a CEL rule here; what needs other objects is judged by the engine.

#![expect(clippy::duplicated_attributes, reason = "printer columns of one kind are of one type")]

pub mod conditions;
pub mod decimal;
pub mod definitions;
pub mod duration;
pub mod labels;
pub mod v1alpha1;

pub use decimal::Decimal;
pub use definitions::definitions;
pub use duration::HumanDuration;

/// API group of every kind.
pub const GROUP: &str = "cutover.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";
