//! The outcome of a whole run. No I/O.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Result, bail};

use super::{
    counts::Counts,
    ledger::{ExcludedSpan, Failure},
};

/// When requests leave this much later than planned, what they meet says more about the machine than about the proxy.
const TOO_LATE: Duration = Duration::from_secs(1);
/// Failures of one kind that are shown, of each stream.
const SHOWN: usize = 3;

/// All that a run of the generator knows at its end.
#[derive(Clone, Debug)]
pub struct Report {
    /// Sums outside the excluded spans.
    pub counts: Counts,
    /// Sums inside them.
    pub excluded: Counts,
    /// Sums outside the excluded spans, per stream.
    pub streams: BTreeMap<String, Counts>,
    /// The excluded spans.
    pub spans: Vec<ExcludedSpan>,
    /// The first failures, in full: up to 50 outside and 50 inside the excluded spans.
    pub failures: Vec<Failure>,
    /// Time from the generator's start to this report.
    pub elapsed: Duration,
    /// The most that a request left later than planned: above some 100 ms the machine was too busy.
    pub max_lag: Duration,
}

impl Report {
    /// Whether the machine was too busy for the load: what was lost may be its fault.
    #[must_use]
    pub fn was_late(&self) -> bool {
        self.max_lag > TOO_LATE
    }

    /// Fails unless at least `min` requests were counted outside the excluded spans, and every one of
    /// them was answered by the right side.
    ///
    /// # Errors
    /// With the sums and the first failures.
    pub fn check(&self, min: u64) -> Result<()> {
        let Counts { total, lost, misrouted, .. } = self.counts;
        if lost > 0 || misrouted > 0 {
            bail!("{lost} lost and {misrouted} misrouted of {total} requests\n{self}");
        }
        if total < min {
            bail!("{total} requests counted, {min} wanted\n{self}");
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "in {:.1} s: {}", self.elapsed.as_secs_f64(), self.counts)?;
        for (name, counts) in &self.streams {
            writeln!(f, "  {name}: {counts}")?;
        }
        if self.excluded.total > 0 {
            writeln!(f, "  excluded: {}", self.excluded)?;
        }
        writeln!(
            f,
            "  latency mean {:.1?}, max {:.1?}; latest start {:.1?} behind plan",
            self.counts.latency_mean(),
            self.counts.latency_max,
            self.max_lag
        )?;
        if self.was_late() {
            writeln!(f, "  this machine was too busy for the load, which may be all that is wrong")?;
        }
        let mut alike: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for failure in self.failures.iter().filter(|failure| !failure.excluded) {
            let seen = alike.entry((&failure.stream, &failure.reason)).or_default();
            *seen += 1;
            if *seen <= SHOWN {
                writeln!(f, "  {failure}")?;
            }
        }
        Ok(())
    }
}
