//! Open-loop load: requests leave at a fixed rate whatever becomes of the earlier ones, every one
//! carries an id of its own, and every answer is judged. Does network I/O, to loopback only.
//!
//! The generator runs on a thread of its own, so a test that blocks its runtime neither slows the
//! arrivals nor turns up as lost requests.
//!
//! # What counts as lost
//! There are no retries. A request is *lost* when it was refused, reset, cut short, timed out,
//! answered with 5xx or any other status than 2xx, answered by no backend (a proxy's own page), or
//! when the echoed id is not the one sent. It is *misrouted* when a healthy answer came from the
//! wrong system or component, or the backend saw another host or path than the one sent.
//!
//! # Connections kept alive
//! A server may close a connection that rests, and a client that writes into it at that very moment
//! loses a request for a reason that says nothing about the migration. Three rules keep the counts
//! honest without a retry:
//! - a kept connection is used again only within [`LoadOptions::idle_limit`] (half a second), far
//!   below the minutes after which a proxy closes an idle one;
//! - a connection found closed *before any byte of the request was handed to it* is dropped and
//!   another one opened; nothing had been sent, so nothing is repeated. Such connections are counted
//!   ([`Counts::stale_connections`]);
//! - once a request may have left, every failure is a loss. A browser could not repeat a `POST` either.
//!
//! # Counting in windows
//! Answers are summed per stream in buckets of [`BUCKET`] by the instant at which the request
//! *started*, so memory is bounded by time, not by requests. A [`Window`] begins at the first bucket
//! that lies wholly after its instant. A request that overlaps an excluded span (an injected fault)
//! is counted apart, in the same bucket.
//!
//! Expectations are applied when an answer is recorded: widen one *before* asking for a change
//! ([`Expect::Either`]), and narrow it when the status says that the change is done.

mod client;
mod counts;
mod expectation;
mod generator;
mod ledger;
mod report;
mod stream;
mod verdict;
mod window;

pub use counts::{Counts, Loss};
pub use expectation::Expect;
pub use generator::{Exclusion, LoadGenerator, LoadOptions};
pub use ledger::{BUCKET, ExcludedSpan, Failure, MAX_FAILURES};
pub use report::Report;
pub use stream::Stream;
pub use window::Window;
