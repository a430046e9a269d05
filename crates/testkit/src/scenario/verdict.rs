//! What must hold for the story to count. Pure.

use std::{fmt, time::Duration};

use crate::load::Report;

/// Points by which a step's share may differ from the wanted one.
const TOLERANCE: f64 = 2.0;
/// `failAfter` check intervals of the sample's check, and five seconds: from the fault's start until legacy has all traffic again.
pub const RETURN_LIMIT: Duration = Duration::from_secs(3 * 3 + 5);

/// One step on one router, counted from the instant at which status said that the weight is applied.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The phase.
    pub phase: String,
    /// Its step.
    pub step: String,
    /// The router.
    pub router: String,
    /// Requests that the step is to be judged by.
    pub sample: u64,
    /// Percentage of the new side that was wanted.
    pub wanted: i32,
    /// Percentage of the requests that the new side answered.
    pub seen: f64,
    /// Requests counted.
    pub requests: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, answered by the wrong side.
    pub misrouted: u64,
}

impl Measured {
    /// What is wrong with the step, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { phase, step, router, sample, wanted, seen, requests, lost, misrouted } = self;
        let at = format!("{phase}/{step} on {router}");
        if requests < sample {
            return Some(format!("{at}: judged by {requests} requests only, {sample} are needed"));
        }
        if (seen - f64::from(*wanted)).abs() > TOLERANCE {
            return Some(format!("{at}: the new side had {seen:.1} % of the requests, {wanted} % were wanted"));
        }
        (lost + misrouted > 0).then(|| format!("{at}: {lost} requests lost, {misrouted} misrouted"))
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every step measured, in order.
    pub steps: Vec<Measured>,
    /// From the fault's start until no request reached the new side any more.
    pub returned_after: Duration,
    /// The replica that was killed while it led, and the one that took over.
    pub leaders: (String, String),
    /// Percentage of the flag at the end, as the published definition has it.
    pub flag_percent: i64,
    /// All requests.
    pub report: Report,
    /// Requests that the whole is to be judged by.
    pub total: u64,
    /// How long the story took, without bringing the parts up.
    pub took: Duration,
}

impl Outcome {
    /// Everything that is wrong; empty when the migration lost nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let Self { steps, returned_after, leaders, flag_percent, report, total, took: _ } = self;
        let mut problems: Vec<String> = steps.iter().filter_map(Measured::problem).collect();
        let counts = &report.counts;
        if counts.lost > 0 {
            problems.push(format!("{} requests lost", counts.lost));
        }
        if counts.misrouted > 0 {
            problems.push(format!("{} requests misrouted", counts.misrouted));
        }
        if counts.total < *total {
            problems.push(format!("only {} requests outside the fault, {total} are needed", counts.total));
        }
        if *returned_after > RETURN_LIMIT {
            problems.push(format!(
                "after the fault it took {returned_after:.1?} until legacy had all traffic again, at most {RETURN_LIMIT:?} are allowed"
            ));
        }
        if leaders.0 == leaders.1 {
            problems.push(format!("{} was killed and still holds the lease", leaders.0));
        }
        if *flag_percent != 100 {
            problems.push(format!("the flag ended at {flag_percent} %"));
        }
        problems
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.report.counts;
        writeln!(f, "requests        {} outside the fault, {} during it", counts.total, self.report.excluded.total)?;
        writeln!(f, "lost            {}", counts.lost)?;
        writeln!(f, "misrouted       {}", counts.misrouted)?;
        writeln!(
            f,
            "way back        {:.1} s after the fault began (limit {} s)",
            self.returned_after.as_secs_f64(),
            RETURN_LIMIT.as_secs()
        )?;
        writeln!(f, "leader killed   {}, {} took over", self.leaders.0, self.leaders.1)?;
        writeln!(f, "flag            new-checkout at {} %", self.flag_percent)?;
        write!(f, "took            {:.0} s", self.took.as_secs_f64())
    }
}
