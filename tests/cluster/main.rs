//! Cluster tests: against a real API server, a real proxy and simulated pods, in a network namespace of their own.
//!
//! Run by `cargo xtask test [filter]`. The parts of the bed start when the first test asks for them, and are shared;
//! whoever stops a part starts one of its own.

#![expect(clippy::indexing_slicing, reason = "a field that is missing in an answer should fail the test")]

mod bad_input;
mod chart;
mod cli;
mod control_plane;
mod crds;
mod environment;
mod host_names;
mod installed;
mod leadership;
mod migration_phase;
mod operator_process;
mod policies;
mod prometheus;
mod readme;
mod rights;
mod routers;
mod static_binary;
mod story;
mod testkit_load;
mod testkit_node;
mod testkit_process;
mod testkit_traffic;
mod traefik;
mod traffic_split;
mod under_load;
