//! Standard output and standard error. Colours only on a terminal that wants them.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use anyhow::Result;
use cutover_engine::show::Paint;
use serde::Serialize;

use crate::args::Format;

/// Whether to colour what goes to standard output. See <https://no-color.org>.
pub(crate) fn paint() -> Paint {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if on_terminal() && !refused && !dumb { Paint::Coloured } else { Paint::Plain }
}

pub(crate) fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes to standard output, now.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a value as data.
pub(crate) fn data<T: Serialize>(value: &T, format: Format) -> Result<()> {
    match format {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        Format::Yaml => print(&serde_yaml_ng::to_string(value)?),
    }
}

/// Writes to standard error. Nobody is left to tell when that fails.
pub(crate) fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
