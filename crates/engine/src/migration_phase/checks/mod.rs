//! Checks: which run, what a result means, and when it is harm. Pure: the controller asks the source.

pub mod compare;
pub(super) mod condition;
pub mod defaults;
pub(super) mod http;
pub mod judge;
pub(super) mod probe;
pub mod query;
pub(super) mod results;
pub mod webhook;

use std::{collections::BTreeMap, time::Duration};

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, Check, CheckState, CheckStatus, NoDataPolicy, PhaseState, Stage},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    clock::after,
    harm::Harm,
    machine::{Machine, blocker, blocker_until},
    plan::ActiveCheck,
};

/// A result is trusted to say how things are for so many intervals.
const FRESH_INTERVALS: i32 = 3;

impl Machine<'_> {
    /// The checks that run now: those in force, while the new side has something of what this phase moved.
    pub fn active_checks(&self) -> Vec<ActiveCheck> {
        self.watching_checks().into_iter().chain(self.watch_of_legacy()).collect()
    }

    fn watching_checks(&self) -> Vec<ActiveCheck> {
        let Some(guards) = self.guards().filter(|_| self.watches()) else { return Vec::new() };
        let requests = self.status.requests.iter().flat_map(|requests| &requests.splits);
        let splits = requests.map(|request| request.split.as_str()).collect();
        let Some(since) = self.watched_since() else { return Vec::new() };
        let sources = probe::Sources {
            phase: &self.observed.phase,
            environment: guards.environment.as_deref(),
            splits: &splits,
            since: since.0,
            attempt: self.attempt(),
            step: self.status.step.as_ref().map(|step| step.name.as_str()).unwrap_or_default(),
        };
        let active = guards.checks.iter().filter(|check| self.applies(check));
        let active = active.filter(|check| check.job.is_none() || self.in_force_since(since)).filter_map(|check| {
            Some(ActiveCheck {
                name: check.name.clone(),
                probe: sources.probe(check).ok()?,
                interval: check.interval.get(),
                round: self.round(),
            })
        });
        active.collect()
    }

    /// A Job is started only when what it finds will count: a query may be asked in vain, a Job would be missed for a whole interval.
    fn in_force_since(&self, since: &Time) -> bool {
        self.stage() != Some(Stage::Shifting) && self.clock.now > since.0
    }

    /// When the Jobs of checks may be started that wait for the clock.
    pub fn jobs_start(&self) -> Option<Timestamp> {
        let jobs = self.guards()?.checks.iter().any(|check| check.job.is_some()) && self.watches();
        jobs.then(|| Some(after(self.watched_since()?.0, SignedDuration::from_secs(1)))).flatten()
    }

    /// What is being watched.
    pub fn round(&self) -> String {
        format!("{}/{}", self.attempt(), self.revision())
    }

    /// Whether there is anything to watch.
    pub fn watches(&self) -> bool {
        let Some(requests) = self.status.requests.as_ref().filter(|_| self.state().holds() && self.moved()) else {
            return false;
        };
        // What only holds, and cannot be read, may have weight.
        let splits = requests.splits.iter().map(|request| {
            request.new_weight.or_else(|| self.split_view(&request.split).map_or(Some(1), |view| view.applied))
        });
        let flags = requests.flags.iter().map(|request| {
            request.percent.or_else(|| self.flag_view(&request.flag).map_or(Some(1), |view| view.percent))
        });
        splits.chain(flags).any(|weight| weight.is_some_and(|weight| weight > 0))
    }

    /// Checks that do not pass, so that nothing moves forward. None of them while nothing is watched.
    pub fn check_holds(&self) -> Vec<Blocker> {
        let Some(guards) = self.guards().filter(|_| self.watches()) else { return Vec::new() };
        let judging = guards.checks.iter().filter(|check| !check.dry_run && self.applies(check));
        let holds = judging.filter_map(|check| {
            let status = self.status.checks.iter().find(|status| status.name == check.name);
            self.check_hold(check, status)
        });
        holds.collect()
    }

    /// Where legacy has no traffic left there is nothing to compare the new side with.
    fn applies(&self, check: &Check) -> bool {
        let both = check.compare.is_some()
            || check.condition.as_deref().is_some_and(|condition| condition::mentions(condition, "legacy"));
        !both || self.legacy_has_traffic()
    }

    /// Whether a split leaves legacy a share; a phase that moves flags only takes nothing from either side.
    fn legacy_has_traffic(&self) -> bool {
        let splits = self.status.requests.as_ref().map(|requests| requests.splits.as_slice()).unwrap_or_default();
        splits.is_empty()
            || splits.iter().any(|request| {
                let Some(view) = self.split_view(&request.split) else { return true };
                let weight = request.new_weight.or(view.applied);
                view.has_legacy && weight.is_none_or(|weight| weight < view.weight_total)
            })
    }

    fn check_hold(&self, check: &Check, status: Option<&CheckStatus>) -> Option<Blocker> {
        let name = &check.name;
        let pending = || blocker(reasons::CHECKS_PENDING, format!("check {name} has not run in this step lately"));
        let Some(status) = status else { return Some(pending()) };
        let why = status.message.as_deref().unwrap_or("no more is known");
        match status.state {
            CheckState::Pending => Some(pending()),
            CheckState::Passing => (!self.counts_for_step(check, status)).then(pending),
            CheckState::WarmingUp | CheckState::Failing => {
                Some(blocker(reasons::CHECK_FAILING, format!("check {name}: {why}")))
            }
            CheckState::NoData if status.last_data.is_some() => {
                let until = status.no_data_since.as_ref().map(|since| after(since.0, check.no_data_timeout.signed()));
                Some(blocker_until(reasons::NO_DATA, format!("check {name} had data and has none any more"), until))
            }
            CheckState::NoData => match check.no_data {
                NoDataPolicy::Pass => (!self.counts_for_step(check, status)).then(pending),
                NoDataPolicy::Wait => Some(blocker(reasons::NO_DATA, format!("check {name} has no data yet"))),
                NoDataPolicy::Fail => Some(blocker(reasons::CHECK_FAILING, format!("check {name} has no data"))),
            },
            CheckState::Erroring => {
                Some(blocker(reasons::CHECKS_UNAVAILABLE, format!("check {name} cannot be asked: {why}")))
            }
        }
    }

    /// Whether the last run was of the present weights, and is no longer ago than a few intervals.
    fn counts_for_step(&self, check: &Check, status: &CheckStatus) -> bool {
        let Some(last) = &status.last_run else { return false };
        let in_step =
            self.status.step.as_ref().and_then(|step| step.shifted_at.as_ref()).is_none_or(|at| last.0 >= at.0);
        let grace = SignedDuration::from_secs(1);
        in_step && self.clock.since(last) <= check.interval.signed().saturating_mul(FRESH_INTERVALS) + grace
    }

    /// A check that has failed often enough, or whose data has been gone for too long.
    pub fn failed_check(&self) -> Option<Harm> {
        let mut judging = self.guards()?.checks.iter().filter(|check| !check.dry_run && self.applies(check));
        judging.find_map(|check| {
            let status = self.status.checks.iter().find(|status| status.name == check.name)?;
            if status.consecutive_failures >= check.fail_after {
                let why = status.message.as_deref().unwrap_or("it fails");
                let times = status.consecutive_failures;
                let message = format!("check {} failed {times} times in a row: {why}", check.name);
                return Some(Harm::new(reasons::CHECK_FAILED, message));
            }
            let (since, last) = status.no_data_since.as_ref().zip(status.last_run.as_ref())?;
            let gone = status.state == CheckState::NoData && status.last_data.is_some();
            let long = last.0.duration_since(since.0) >= check.no_data_timeout.signed();
            (gone && long && self.state() != PhaseState::Paused).then(|| {
                let message = format!("check {} had data and has had none for {}", check.name, check.no_data_timeout);
                Harm::new(reasons::DATA_VANISHED, message)
            })
        })
    }
}

/// Which of the active checks are to be run now, given how long ago each ran by the monotonic clock, and how long until the next one is
/// due. A check that has not run in this process is due at once.
#[must_use]
pub fn checks_due<'a>(
    active: &'a [ActiveCheck],
    since_last_run: &BTreeMap<String, Duration>,
) -> (Vec<&'a ActiveCheck>, Option<Duration>) {
    let wait = |check: &ActiveCheck| {
        since_last_run.get(&check.name).map_or(Duration::ZERO, |since| check.interval.saturating_sub(*since))
    };
    let due = active.iter().filter(|check| wait(check).is_zero()).collect();
    let next =
        active.iter().map(|check| Some(wait(check)).filter(|wait| !wait.is_zero()).unwrap_or(check.interval)).min();
    (due, next)
}

#[cfg(test)]
mod tests {
    use super::{
        super::plan::{Probe, Queries},
        *,
    };

    fn active(name: &str, seconds: u64) -> ActiveCheck {
        ActiveCheck {
            name: name.into(),
            probe: Probe::Prometheus {
                environment: "production".into(),
                queries: Queries::Value { query: "up".into(), legacy: None },
            },
            interval: Duration::from_secs(seconds),
            round: "1/1".into(),
        }
    }

    #[test]
    fn a_check_is_due_when_its_interval_is_over_or_it_has_not_run() {
        let checks = [active("new", 30), active("over", 30), active("soon", 30)];
        let ran = [("over", 30), ("soon", 22)].map(|(name, ago)| (name.to_owned(), Duration::from_secs(ago)));
        let (due, next) = checks_due(&checks, &BTreeMap::from(ran));
        assert_eq!(due.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), ["new", "over"]);
        assert_eq!(next, Some(Duration::from_secs(8)));
        assert_eq!(checks_due(&[], &BTreeMap::new()), (vec![], None));
    }
}
