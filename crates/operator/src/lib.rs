//! The Cutover operator: everything that talks to the outside, around the pure engine.
//!
//! `cluster` holds all I/O with the API server, `outbound` all other I/O; `controllers` drive the
//! engine with them, and `wiring` puts the parts together. `main.rs` only parses and calls.

pub mod args;
pub mod caches;
pub mod cluster;
pub mod controllers;
pub mod metrics;
pub mod outbound;
pub mod process;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod wiring;
