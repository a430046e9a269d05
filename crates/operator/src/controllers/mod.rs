//! One controller per kind: thin drivers that observe, let the engine decide, apply and write status.

pub mod environment;
pub mod feature_flag;
pub mod migration_phase;
pub mod traffic_split;

mod newest;
