//! The network of its own that everything runs in.
//!
//! `cargo xtask test`, `demo` and `bench` enter a fresh network and process namespace, in which every address of
//! [`RANGE`] is local and from which nothing leads out. This module says whether the caller is inside; it reads
//! `/proc` and binds one socket, nothing else.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
};

/// Every address in this range is local inside the namespace (RFC 2544, never routed on the Internet).
pub const RANGE: &str = "198.18.0.0/15";

/// Addresses of simulated pods.
pub const POD_RANGE: &str = "198.18.0.0/16";

/// Cluster addresses of Services; nothing listens there.
pub const SERVICE_RANGE: &str = "198.19.0.0/17";

/// The address that API servers advertise.
pub const ADVERTISED: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 254);

/// Environment variable with the id, as seen from outside, of a process in the namespace.
pub const PID_VARIABLE: &str = "CUTOVER_NAMESPACE_PID";

/// Whether this process runs in the namespace: the range is local and no route leads out.
#[must_use]
pub fn is_inside() -> bool {
    TcpListener::bind((ADVERTISED, 0)).is_ok() && no_way_out()
}

/// The main routing table (where a default route would be) has no entry.
fn no_way_out() -> bool {
    std::fs::read_to_string("/proc/self/net/route").is_ok_and(|table| table.lines().skip(1).all(str::is_empty))
}

/// Ends the process, with one line that says which command to use, when it does not run in the namespace.
///
/// Not an error for each test of a run to repeat: none of them can do anything there.
pub fn require() {
    if !is_inside() {
        let line = "cluster tests run in a network namespace of their own: use `cargo xtask test [filter]`";
        drop(writeln!(std::io::stderr(), "{line}"));
        std::process::exit(2);
    }
}
