//! One controller per kind: each observes, lets the engine decide, applies and writes status. What they do alike is in `driver`.

pub mod environment;
pub mod feature_flag;
pub mod migration_phase;
pub mod traffic_split;

mod driver;
mod error;
mod jobs;
mod newest;
mod news;
#[cfg(test)]
mod scripted;

pub use error::Error;
