//! One controller per kind: thin drivers that observe, let the engine decide, apply and write status.

pub mod migration_phase;
pub mod traffic_split;
