//! What must hold for the story to count. Pure.

use std::{fmt, time::Duration};

use super::traffic::ROUTERS;
use crate::load::Report;

/// Points by which a step's share may differ from the wanted one.
const TOLERANCE: f64 = 2.0;
/// `failAfter` check intervals of the sample's check, and five seconds: from the fault's start until legacy has all traffic again.
pub const RETURN_LIMIT: Duration = Duration::from_secs(3 * 3 + 5);

/// One step, counted on every router from the instant at which status said that the weight is applied.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The phase.
    pub phase: String,
    /// Its step.
    pub step: String,
    /// Percentage of the new side that was wanted.
    pub wanted: i32,
    /// Requests that the step is to be judged by, on each router.
    pub sample: u64,
    /// What each router did, in the order of [`ROUTERS`].
    pub on: Vec<OnRouter>,
}

/// What one router did with the requests of a step.
#[derive(Clone, Debug)]
pub struct OnRouter {
    /// The router.
    pub router: String,
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
    pub fn problems(&self) -> Vec<String> {
        self.on.iter().filter_map(|on| self.problem(on)).collect()
    }

    fn problem(&self, on: &OnRouter) -> Option<String> {
        let Self { phase, step, wanted, sample, on: _ } = self;
        let OnRouter { router, seen, requests, lost, misrouted } = on;
        let at = format!("{phase}/{step} on {router}");
        if requests < sample {
            return Some(format!("{at}: judged by {requests} requests only, {sample} are needed"));
        }
        if (seen - f64::from(*wanted)).abs() > TOLERANCE {
            return Some(format!("{at}: the new side had {seen:.1} % of the requests, {wanted} % were wanted"));
        }
        (lost + misrouted > 0).then(|| format!("{at}: {lost} requests lost, {misrouted} misrouted"))
    }

    /// The titles of what a step is displayed as.
    #[must_use]
    pub fn titles() -> String {
        let routers = ROUTERS.map(|router| format!("{router:>13}")).concat();
        format!(
            "{:<13} {:<13} {:>7}{routers} {:>9} {:>5} {:>9}",
            "phase", "step", "wanted", "requests", "lost", "misrouted"
        )
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, step, wanted, sample: _, on } = self;
        write!(f, "{phase:<13} {step:<13} {wanted:>5} %")?;
        for on in on {
            write!(f, "{:>11.2} %", on.seen)?;
        }
        let sum = |count: fn(&OnRouter) -> u64| on.iter().map(count).sum::<u64>();
        let (requests, lost, misrouted) = (sum(|on| on.requests), sum(|on| on.lost), sum(|on| on.misrouted));
        write!(f, " {requests:>9} {lost:>5} {misrouted:>9}")?;
        if self.problems().is_empty() { Ok(()) } else { write!(f, "  !") }
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
        let mut problems: Vec<String> = steps.iter().flat_map(Measured::problems).collect();
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
        writeln!(f, "The new side's share of the requests, as each router really dealt them:")?;
        writeln!(f, "{}", Measured::titles())?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        writeln!(
            f,
            "\nrequests        {} in all, and {} while the new side was made to fail, counted apart",
            counts.total, self.report.excluded.total
        )?;
        writeln!(f, "lost            {}", counts.lost)?;
        writeln!(f, "misrouted       {}", counts.misrouted)?;
        writeln!(
            f,
            "way back        {:.1} s from the fault's start until legacy had all traffic again (limit {} s)",
            self.returned_after.as_secs_f64(),
            RETURN_LIMIT.as_secs()
        )?;
        writeln!(f, "leader killed   {}, {} took over", self.leaders.0, self.leaders.1)?;
        writeln!(f, "flag            new-checkout at {} %", self.flag_percent)?;
        write!(f, "took            {:.0} s", self.took.as_secs_f64())
    }
}
