//! The test bed: a real control plane, a real proxy, simulated pods and a load generator, without containers.
//!
//! For tests, the demo and the benchmark only; nothing of it ships. Everything that starts a process or opens a
//! socket runs in a network namespace of its own: see [`namespace`].

pub mod bed;
pub mod control_plane;
pub mod dns;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod load;
pub mod namespace;
pub mod node;
pub mod operator;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod scenario;
pub mod tls;
pub mod tools;
pub mod traefik;
pub mod wait;

pub use bed::Bed;
pub use wait::{eventually, in_time};
