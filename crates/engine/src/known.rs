//! What is known of an input. A cache that has not listed yet, or a source that cannot be asked, is
//! *unknown*: never empty, never zero. Nothing moves on what is unknown.

/// An input that may not have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known<T> {
    /// It was read, and this is what it is.
    Known(T),
    /// It has not been read, or cannot be read now.
    #[default]
    Unknown,
}

impl<T> Known<T> {
    /// The value, if it is known.
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// A borrowed view.
    pub const fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Known(value) => Known::Known(value),
            Self::Unknown => Known::Unknown,
        }
    }

    /// The value mapped, if it is known.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Known(value) => Known::Known(f(value)),
            Self::Unknown => Known::Unknown,
        }
    }

    /// Whether it is known and satisfies `f`.
    pub fn is_known_and(self, f: impl FnOnce(T) -> bool) -> bool {
        self.ok().is_some_and(f)
    }
}
