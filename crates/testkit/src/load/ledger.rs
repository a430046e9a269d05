//! The one place where judged requests are summed: per stream, in buckets of time. No I/O.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

use super::{
    counts::{Counts, Entry, Loss},
    expectation::{Expect, Timeline},
    stream::Stream,
    verdict::{Answer, Asked, Verdict, judge},
};

/// Width of the buckets in which requests are summed.
pub const BUCKET: Duration = Duration::from_millis(100);
/// Failures kept in full; the rest is counted only.
pub const MAX_FAILURES: usize = 50;

/// A time during which requests are counted apart, because a fault was injected.
#[derive(Clone, Debug)]
pub struct ExcludedSpan {
    /// What was injected.
    pub label: String,
    /// Begin.
    pub from: Instant,
    /// End; none while it lasts.
    pub to: Option<Instant>,
}

impl ExcludedSpan {
    fn overlaps(&self, start: Instant, end: Instant) -> bool {
        end >= self.from && self.to.is_none_or(|to| start <= to)
    }
}

/// One lost or misrouted request, kept in full for diagnosis.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Name of the stream.
    pub stream: String,
    /// The request's id.
    pub id: String,
    /// Start, since the generator's own.
    pub at: Duration,
    /// Start by the wall clock, to look it up in logs.
    pub wall: jiff::Timestamp,
    /// Time until the answer or the failure.
    pub took: Duration,
    /// Sent on a connection of its own.
    pub fresh: bool,
    /// Why it counts as lost or misrouted.
    pub reason: String,
    /// Status, if there was an answer.
    pub status: Option<u16>,
    /// The answer's headers, or the error with its causes.
    pub detail: String,
    /// Inside an excluded span.
    pub excluded: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, id, at, wall, took, fresh, reason, status, detail, excluded } = self;
        let connection = if *fresh { "fresh" } else { "kept" };
        write!(f, "{wall} (+{:.3} s) {stream} {id}: {reason}", at.as_secs_f64())?;
        if let Some(status) = status {
            write!(f, ", status {status}")?;
        }
        write!(f, ", after {took:.1?} on a {connection} connection")?;
        if *excluded {
            f.write_str(", in an excluded span")?;
        }
        write!(f, "; {detail}")
    }
}

/// One finished request as the client saw it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) id: String,
    pub(super) planned: Instant,
    pub(super) start: Instant,
    pub(super) end: Instant,
    pub(super) fresh: bool,
    pub(super) stale: u32,
    pub(super) result: Result<Answer, (Loss, String)>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Bucket {
    pub(super) counted: Counts,
    /// Boxed, as nearly every bucket has none.
    pub(super) excluded: Option<Box<Counts>>,
}

#[derive(Debug)]
pub(super) struct StreamLedger {
    pub(super) stream: Stream,
    pub(super) timeline: Timeline,
    pub(super) buckets: Vec<Bucket>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) streams: Vec<StreamLedger>,
    pub(super) spans: Vec<ExcludedSpan>,
    pub(super) failures: Vec<Failure>,
    pub(super) max_lag: Duration,
}

/// Sums, shared between the generator's thread and the test's.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) origin: Instant,
    wall_origin: jiff::Timestamp,
    state: Mutex<State>,
    /// Rises while answers are recorded; closed when nothing more will come.
    pub(super) progress: watch::Sender<u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            wall_origin: jiff::Timestamp::now(),
            state: Mutex::default(),
            progress: watch::Sender::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bucket that `at` lies in.
    pub(super) fn bucket(&self, at: Instant) -> usize {
        let index = at.saturating_duration_since(self.origin).as_nanos() / BUCKET.as_nanos();
        usize::try_from(index).unwrap_or(usize::MAX)
    }

    /// Adds a stream and gives its index. Names are unique: they are how streams are asked for.
    pub(super) fn add(&self, stream: Stream) -> Result<usize> {
        let mut state = self.lock();
        if state.streams.iter().any(|known| known.stream.name == stream.name) {
            bail!("there is a stream `{}` already", stream.name);
        }
        let timeline = Timeline::new(stream.expect);
        state.streams.push(StreamLedger { stream, timeline, buckets: Vec::new() });
        Ok(state.streams.len() - 1)
    }

    pub(super) fn expect(&self, stream: &str, to: Expect, grace: Duration) -> Result<()> {
        let mut state = self.lock();
        let known = state
            .streams
            .iter_mut()
            .find(|known| known.stream.name == stream)
            .with_context(|| format!("no stream `{stream}`"))?;
        known.timeline.change(Instant::now(), grace, to);
        Ok(())
    }

    /// Opens an excluded span and gives its index.
    pub(super) fn exclude(&self, label: &str, from: Instant) -> usize {
        let mut state = self.lock();
        state.spans.push(ExcludedSpan { label: label.to_owned(), from, to: None });
        state.spans.len() - 1
    }

    pub(super) fn end_span(&self, span: usize) {
        if let Some(span) = self.lock().spans.get_mut(span) {
            span.to.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn note_lag(&self, lag: Duration) {
        let mut state = self.lock();
        state.max_lag = state.max_lag.max(lag);
    }

    pub(super) fn record(&self, index: usize, finished: &Finished) {
        let bucket = self.bucket(finished.start);
        let mut guard = self.lock();
        let State { streams, spans, failures, max_lag: _ } = &mut *guard;
        let Some(StreamLedger { stream, timeline, buckets }) = streams.get_mut(index) else {
            return;
        };
        let asked =
            Asked { id: &finished.id, host: &stream.host, path: &stream.path, component: stream.component.as_deref() };
        let verdict = match &finished.result {
            Ok(answer) => judge(asked, timeline.allowed(finished.start, finished.end), answer),
            Err((loss, _)) => Verdict::Lost(*loss),
        };
        let answer = finished.result.as_ref().ok();
        let entry = Entry {
            verdict: &verdict,
            status: answer.map(|answer| answer.status.as_u16()),
            system: answer.and_then(Answer::system),
            fresh: finished.fresh,
            stale: finished.stale,
            latency: finished.end.saturating_duration_since(finished.planned),
        };
        let excluded = spans.iter().any(|span| span.overlaps(finished.start, finished.end));
        if buckets.len() <= bucket {
            buckets.resize_with(bucket + 1, Bucket::default);
        }
        if let Some(bucket) = buckets.get_mut(bucket) {
            let counts = if excluded { &mut **bucket.excluded.get_or_insert_default() } else { &mut bucket.counted };
            counts.record(entry);
        }
        let reason = match &verdict {
            Verdict::Served | Verdict::NotRouted => return,
            Verdict::Lost(loss) => format!("lost ({loss})"),
            Verdict::Misrouted(how) => format!("misrouted: {how}"),
        };
        // Failures in an excluded span are wanted ones: they must not crowd out the others.
        let kept_alike = failures.iter().filter(|failure| failure.excluded == excluded).count();
        if kept_alike < MAX_FAILURES {
            let at = finished.start.saturating_duration_since(self.origin);
            failures.push(Failure {
                stream: stream.name.clone(),
                id: finished.id.clone(),
                at,
                wall: self.wall_origin.saturating_add(at).unwrap_or(self.wall_origin),
                took: finished.end.saturating_duration_since(finished.start),
                fresh: finished.fresh,
                reason,
                status: entry.status,
                detail: match &finished.result {
                    Ok(answer) => format!("{:?}", answer.headers),
                    Err((_, error)) => error.clone(),
                },
                excluded,
            });
        }
    }
}
