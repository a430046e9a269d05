//! TrafficSplit: which share of its traffic goes to the new side, on every router, and who may say so. Pure.
//!
//! ```text
//! targets ─▶ (read Services) ─▶ validate ─▶ decide ─▶ (send steps, take answers in, decide again) ─▶ status
//!                                            │
//!                       arbitrate ── who holds the split (holder.rs)
//!                       weigh ────── which weight is wanted, how far it may go now (weight.rs, capacity.rs)
//!                       router::plan what is written for it
//! ```

mod added;
pub(crate) mod as_is;
pub mod backend;
mod baseline;
pub mod capacity;
pub mod conflict;
pub mod decide;
mod failover;
pub mod holder;
mod left_behind;
mod probed;
pub mod ramp;
mod retired;
mod said_otherwise;
pub mod status;
pub(crate) mod stickiness;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod weight;

pub use added::{has_left, router_of};
pub use backend::{ServiceFacts, SliceFacts, Target, targets};
pub use baseline::RouteBaseline;
pub use conflict::Claimant;
pub use decide::{Observed, Plan, Validated, decide, validate};
pub use holder::{Claim, Order, Release, Ruling};
pub use left_behind::{LeftBehind, overlap};
pub use probed::{Answers, Probed, probes};
pub use retired::{Retirement, names_legacy, retirement, without_legacy};
pub use said_otherwise::{said_otherwise, sides_on_traefik};
pub use status::{Outcome, notes, status};
