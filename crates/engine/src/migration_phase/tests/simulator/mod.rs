//! Random specs, observations, actions, crashes, clock jumps and outages against a model of the splits' and flags' controllers, with
//! every invariant checked at every pass.

mod coverage;
mod history;
mod invariants;
mod ops;
mod split;
mod world;

pub use coverage::{Coverage, Scene, Situation};
pub use invariants::{holds, yaml};
pub use world::{Cut, HookEnd, Input, Metric, World, later};

mod matrix;
pub use matrix::reach;
mod quiet;
mod random;
