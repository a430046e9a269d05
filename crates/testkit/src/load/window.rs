//! Sums over a stretch of time and a choice of streams. No I/O.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    counts::Counts,
    ledger::{Bucket, Ledger, StreamLedger},
};

/// Without a single request for this long, [`Window::wait_for`] gives up.
const STALLED: Duration = Duration::from_secs(15);

/// The requests started after an instant, of all streams or of a choice of them.
///
/// Begins at the first bucket that lies wholly after the instant, up to [`BUCKET`](super::BUCKET) later.
#[derive(Clone, Debug)]
pub struct Window {
    ledger: Arc<Ledger>,
    from: usize,
    to: Option<usize>,
    router: Option<String>,
    names: Option<Vec<String>>,
}

impl Window {
    pub(super) fn new(ledger: Arc<Ledger>, from: Option<Instant>) -> Self {
        // One past the bucket in which the instant lies: that one also holds earlier requests.
        let from = from.map_or(0, |from| ledger.bucket(from) + usize::from(from > ledger.origin));
        Self { ledger, from, to: None, router: None, names: None }
    }

    /// Leaves out requests started after `end` (and those of its bucket).
    #[must_use]
    pub fn until(mut self, end: Instant) -> Self {
        self.to = Some(self.ledger.bucket(end));
        self
    }

    /// Only streams with this router label.
    #[must_use]
    pub fn router(mut self, router: impl Into<String>) -> Self {
        self.router = Some(router.into());
        self
    }

    /// Only these streams.
    #[must_use]
    pub fn streams<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sums outside the excluded spans.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.sum(|_, bucket, sum| sum.add(&bucket.counted))
    }

    /// Sums inside the excluded spans.
    #[must_use]
    pub fn excluded(&self) -> Counts {
        self.sum(|_, bucket, sum| {
            if let Some(excluded) = &bucket.excluded {
                sum.add(excluded);
            }
        })
    }

    /// [`counts`](Self::counts) per stream.
    #[must_use]
    pub fn by_stream(&self) -> BTreeMap<String, Counts> {
        let mut sums = BTreeMap::new();
        let state = self.ledger.lock();
        for stream in state.streams.iter().filter(|stream| self.chosen(stream)) {
            let sum: &mut Counts = sums.entry(stream.stream.name.clone()).or_default();
            self.buckets(stream).for_each(|bucket| sum.add(&bucket.counted));
        }
        sums
    }

    /// The new system's share of the answers, 0 to 1; none without an answer.
    #[must_use]
    pub fn share_new(&self) -> Option<f64> {
        self.counts().share_new()
    }

    /// Waits until the window holds `n` finished requests outside the excluded spans.
    ///
    /// # Errors
    /// When the generator ends before, or when no request at all finishes for 15 s.
    pub async fn wait_for(&self, n: u64) -> Result<Counts> {
        let mut progress = self.ledger.progress.subscribe();
        loop {
            progress.borrow_and_update();
            let counts = self.counts();
            if counts.total >= n {
                return Ok(counts);
            }
            if *progress.borrow() == super::generator::ENDED {
                bail!("the load ended after {} of {n} requests of this window", counts.total);
            }
            match tokio::time::timeout(STALLED, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => bail!("the load is gone after {} of {n} requests of this window", counts.total),
                Err(_) => bail!("no request finished for {STALLED:?}; {} of {n} are there", counts.total),
            }
        }
    }

    fn sum(&self, add: impl Fn(&StreamLedger, &Bucket, &mut Counts)) -> Counts {
        let mut sum = Counts::default();
        let state = self.ledger.lock();
        for stream in state.streams.iter().filter(|stream| self.chosen(stream)) {
            self.buckets(stream).for_each(|bucket| add(stream, bucket, &mut sum));
        }
        sum
    }

    fn chosen(&self, stream: &StreamLedger) -> bool {
        self.router.as_ref().is_none_or(|router| *router == stream.stream.router)
            && self.names.as_ref().is_none_or(|names| names.contains(&stream.stream.name))
    }

    fn buckets<'a>(&self, stream: &'a StreamLedger) -> impl Iterator<Item = &'a Bucket> + use<'a> {
        let count = self.to.map_or(usize::MAX, |to| to.saturating_sub(self.from));
        stream.buckets.iter().skip(self.from).take(count)
    }
}
