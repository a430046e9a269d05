//! Exit codes that scripts can use, and errors said to people.

use std::{fmt, io, process::ExitCode};

use crate::output;

/// How the program ends. Wrong usage ends with 2, which clap does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked is done.
    Done,
    /// It could not be done, or it is not known whether it was.
    Error,
    /// Wrong usage.
    Usage,
    /// The API server, the operator, or the phase's state says no.
    Rejected,
    /// No outcome in time.
    TimedOut,
    /// Something was found that has to be changed.
    Findings,
}

/// The table of the help text.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  error: the cluster or a file cannot be read, or an object is not there
  2  wrong usage
  3  rejected: by the API server's policies, or by the operator, which says why
  4  no outcome within --timeout; the request stands and may still take effect
  5  plan and lint found errors (with --strict: or warnings), history --verify that a log is not as it should be";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Rejected => 3,
            Exit::TimedOut => 4,
            Exit::Findings => 5,
        })
    }
}

/// An error that ends the program with a code other than 1.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn rejected(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { exit: Exit::Rejected, message: message.into() })
    }

    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { exit: Exit::Usage, message: message.into() })
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { exit: Exit::TimedOut, message: message.into() })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Says what went wrong; how the program ends.
pub(crate) fn explain(error: &anyhow::Error) -> Exit {
    let closed = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if closed {
        // Whoever read has seen enough.
        return Exit::Done;
    }
    output::complain(&format!("error: {error:#}"));
    error.downcast_ref::<Failure>().map_or(Exit::Error, |failure| failure.exit)
}
