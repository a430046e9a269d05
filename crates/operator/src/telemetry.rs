//! The log: JSON lines, or text for people. What is of the target [`AUDIT`] is JSON always, whatever the level.

use std::io::{IsTerminal, stderr};

use tracing::{Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::args::LogFormat;

/// The target of audit records.
pub const AUDIT: &str = "audit";

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
    let format = format.unwrap_or(if stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    Ok(subscriber(format, level, stderr)?.try_init()?)
}

fn subscriber<W>(format: LogFormat, level: &str, writer: W) -> Result<impl Subscriber + Send + Sync, Error>
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let mut filter = EnvFilter::try_new(level)?.add_directive(format!("{AUDIT}=off").parse()?);
    if !level.contains("kube_client") {
        // The client reports each failed connection as an error; what it means is reported by whoever asked.
        filter = filter.add_directive("kube_client::client::builder=off".parse()?);
    }
    let json = || fmt::layer().json().flatten_event(true).with_writer(writer.clone());
    let log = match format {
        LogFormat::Json => json().with_filter(filter).boxed(),
        LogFormat::Text => fmt::layer().with_writer(writer.clone()).with_filter(filter).boxed(),
    };
    let audit = json().with_filter(Targets::new().with_target(AUDIT, Level::INFO)).boxed();
    Ok(tracing_subscriber::registry().with(vec![log, audit]))
}

/// For tests that read what is logged. As long as there is one subscriber in the process, `tracing` asks the subscriber of the thread that
/// comes first whether a line is of interest, and remembers the answer: with none, that is "never", for all threads. Where there are
/// more it asks all of them.
#[cfg(test)]
pub(crate) fn listen_on_all_threads() {
    use std::sync::LazyLock;

    use tracing::{Dispatch, subscriber::NoSubscriber};

    static OTHERS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));
    LazyLock::force(&OTHERS);
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[rstest]
    #[case(LogFormat::Json, "off")]
    #[case(LogFormat::Text, "warn,audit=off")]
    #[case(LogFormat::Text, "debug")]
    fn audit_records_are_json_once_whatever_the_format_and_level(#[case] format: LogFormat, #[case] level: &str) {
        listen_on_all_threads();
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(format, level, move || writer.clone()).unwrap(), || {
            tracing::debug!("something else");
            tracing::info!(target: AUDIT, who = "ana");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let audit: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(audit.len(), 1, "{text}");
        assert_eq!((&audit[0]["target"], &audit[0]["who"]), (&"audit".into(), &"ana".into()));
        assert_eq!(text.contains("something else"), level == "debug", "{text}");
    }
}
