//! How things are shown to people: the tree of a migration's state, its history, tables and lengths of time. Pure: texts out of objects.

pub mod history;
pub mod ink;
pub mod overview;
pub mod tree;

use std::fmt::Write as _;

use jiff::SignedDuration;

pub use ink::{Ink, Paint};
pub use overview::{Objects, Overview, overview};

/// A length of time in at most two units, such as `1h30m`.
#[must_use]
pub fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs().unsigned_abs();
    let parts = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let mut rest = seconds;
    let mut text = String::new();
    let mut shown = 0;
    for (size, unit) in parts {
        let count = rest / size;
        if shown < 2 && (count > 0 || (unit == 's' && text.is_empty())) {
            let _ = write!(text, "{count}{unit}");
            rest %= size;
            shown += 1;
        } else if shown > 0 {
            // Days and seconds would read as precise as neither is.
            shown += 1;
        }
    }
    text
}

/// Columns as wide as their widest cell. Colours take no width.
#[must_use]
pub fn table(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| ink::width(cell)).max().unwrap_or_default()
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, wide)| {
            let pad = wide.saturating_sub(ink::width(cell));
            format!("{cell}{}", " ".repeat(pad))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
