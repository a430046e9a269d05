//! Colours of a terminal, where they are wanted.

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// No: a file, a pipe, or somebody who set `NO_COLOR`.
    Plain,
    /// Yes.
    Coloured,
}

/// What a text is to stand out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// A name.
    Strong,
    /// As it should be.
    Good,
    /// Somebody should look.
    Warn,
    /// Wrong.
    Bad,
    /// Less important.
    Faint,
}

impl Paint {
    /// The text in that colour.
    #[must_use]
    pub fn ink(self, ink: Ink, text: &str) -> String {
        if self == Self::Plain || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Strong => "1",
            Ink::Good => "32",
            Ink::Warn => "33",
            Ink::Bad => "31",
            Ink::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Characters that are seen: what is between an escape and its `m` is not.
pub(super) fn width(text: &str) -> usize {
    let mut seen = 0;
    let mut hidden = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => hidden = true,
            'm' if hidden => hidden = false,
            _ if hidden => {}
            _ => seen += 1,
        }
    }
    seen
}
