//! Cluster tests: against a real API server, a real proxy and simulated pods, in a network namespace of their own.
//!
//! Run by `cargo xtask test [filter]`. The parts of the bed start when the first test asks for them, and are shared;
//! whoever stops a part starts one of its own.

mod control_plane;
mod installed;
mod policies;
mod prometheus;
mod testkit_load;
mod testkit_node;
mod testkit_traffic;
mod traefik;
