//! A thread with a runtime of its own, which ends when its owner is dropped.
//!
//! Simulated pods and the load must go on while a test blocks its own runtime, and must not outlive
//! the test: both follow from a thread that one value owns.

use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Owner of the thread.
#[derive(Debug)]
pub(crate) struct Reactor {
    handle: Handle,
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Reactor {
    pub(crate) fn start(name: &str) -> Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().with_context(|| format!("runtime of {name}"))?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let end = end.clone();
            // Dropping the runtime drops every task, and with it every socket.
            move || runtime.block_on(end.cancelled_owned())
        })?;
        Ok(Self { handle, end, thread: Some(thread) })
    }

    /// To spawn tasks on the thread, from any other.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a reactor's thread panicked");
        }
    }
}
