//! What xtask says, on standard error: standard output belongs to the programs it runs.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use anyhow::Result;

/// How often a step that takes long shows that it is alive, when nobody watches a terminal.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// One line.
pub(crate) fn line(text: impl Display) {
    // There is nobody to tell that nobody can be told.
    drop(writeln!(stderr(), "{text}"));
}

/// An error with its causes, in one line where its messages are.
pub(crate) fn error(error: &anyhow::Error) {
    line(format_args!("error: {error:#}"));
}

/// Runs a step and says how long it took.
pub(crate) fn timed<T>(what: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = step();
    let outcome = if result.is_ok() { "" } else { " (failed)" };
    line(format_args!("== {what}: {:.1} s{outcome}", start.elapsed().as_secs_f64()));
    result
}

/// A line about a step that is still going on: rewritten every second on a terminal, repeated now and then elsewhere.
pub(crate) struct Progress {
    text: String,
    start: Instant,
    shown: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let now = Instant::now();
        let this = Self { text: text.into(), start: now, shown: now, terminal: stderr().is_terminal() };
        if !this.terminal {
            line(&this.text);
        }
        this
    }

    /// To be called about once a second.
    pub(crate) fn tick(&mut self) {
        let elapsed = self.start.elapsed().as_secs();
        if self.terminal {
            drop(write!(stderr(), "\r\x1b[K{} … {elapsed} s", self.text));
            drop(stderr().flush());
        } else if self.shown.elapsed() >= SIGN_OF_LIFE {
            self.shown = Instant::now();
            line(format_args!("{} … {elapsed} s", self.text));
        }
    }

    pub(crate) fn done(self, outcome: &str) {
        let back = if self.terminal { "\r\x1b[K" } else { "" };
        line(format_args!("{back}{}: {outcome}, {:.1} s", self.text, self.start.elapsed().as_secs_f64()));
    }
}
