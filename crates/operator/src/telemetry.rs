//! The log: JSON lines, or text for people.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::LogFormat;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level or filter is not one.
    #[error("--log-level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the log to standard error, in `format`, or by default as text on a terminal and as JSON elsewhere.
///
/// # Errors
/// See [`Error`].
pub fn init(format: Option<LogFormat>, level: &str) -> Result<(), Error> {
    let mut filter = EnvFilter::try_new(level)?;
    if !level.contains("kube_client") {
        // The client reports each failed connection as an error; what it means is reported by whoever asked.
        filter = filter.add_directive("kube_client::client::builder=off".parse()?);
    }
    let format = format.unwrap_or(if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init()?,
        LogFormat::Text => registry.with(fmt::layer().with_writer(stderr)).try_init()?,
    }
    Ok(())
}
