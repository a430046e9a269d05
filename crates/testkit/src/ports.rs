//! Free TCP ports for child processes.
//!
//! Taken below the kernel's range for outgoing connections, so that no client socket can sit on a port between the
//! choice and the daemon's own `bind`; unique within this process.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Result, bail};

/// Pods of tests listen on well-known ports below this, the kernel hands out ports from 32768 upwards.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

static NEXT: AtomicU16 = AtomicU16::new(FIRST);

/// A port that is free on every address and was not given out before.
///
/// # Errors
/// When the range is used up.
pub fn free() -> Result<u16> {
    while let port @ FIRST..=LAST = NEXT.fetch_add(1, Ordering::Relaxed) {
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port left between {FIRST} and {LAST}")
}
