//! How far this machine's clock is from the API server's, by the `Date` header of an answer. Pure.

use std::time::Duration;

use http::{HeaderMap, header::DATE};
use jiff::{SignedDuration, Timestamp};

/// The difference between two clocks, as measured once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The API server's time minus ours.
    pub offset: SignedDuration,
    /// How far the offset may be from the truth: half the round trip, and the header's resolution of one second.
    pub uncertainty: Duration,
    /// When it was measured, by our clock.
    pub at: Timestamp,
}

impl Skew {
    /// Measures from an answer to a request sent at `sent` that took `round_trip`.
    pub(super) fn measure(headers: &HeaderMap, sent: Timestamp, round_trip: Duration) -> Option<Self> {
        let date = headers.get(DATE)?.to_str().ok()?;
        let second = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
        // The header is cut to whole seconds: its middle is the best guess.
        let theirs = second.checked_add(SignedDuration::from_millis(500)).ok()?;
        let half = round_trip / 2;
        let ours = sent.checked_add(SignedDuration::try_from(half).ok()?).ok()?;
        Some(Self { offset: theirs.duration_since(ours), uncertainty: half + Duration::from_millis(500), at: ours })
    }

    /// Whether the clocks surely differ by more than `limit`.
    #[must_use]
    pub fn exceeds(&self, limit: Duration) -> bool {
        self.offset.unsigned_abs() > limit.saturating_add(self.uncertainty)
    }
}
