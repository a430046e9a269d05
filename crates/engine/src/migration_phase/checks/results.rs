//! What the results of checks mean. A result is taken once, whatever becomes of the status write: it is known by its round and time.

use cutover_api::v1alpha1::migration_phase::{Check, CheckState, CheckStatus, NoDataPolicy, PhaseState, Stage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    super::{clock::after, machine::Machine, observed::Measurement},
    judge::{Verdict, judge},
    query,
};
use crate::conditions::{bounded, whole_seconds};

impl Machine<'_> {
    /// Takes in what the checks found.
    pub fn take_results(&mut self) {
        let checks = self.guards().map(|guards| guards.checks.clone()).unwrap_or_default();
        let known = std::mem::take(&mut self.status.checks);
        let taken = checks.iter().filter_map(|check| {
            let before = known.iter().find(|status| status.name == check.name).cloned();
            match self.observed.measurements.get(&check.name).filter(|measured| self.is_news(before.as_ref(), measured))
            {
                Some(measured) => Some(self.take(check, before, measured)),
                None => before,
            }
        });
        self.status.checks = taken.collect();
    }

    fn is_news(&self, before: Option<&CheckStatus>, measured: &Measurement) -> bool {
        let at = whole_seconds(measured.at);
        self.watches()
            && measured.round == self.round()
            && measured.at <= self.clock.now
            && self.watched_since().is_some_and(|since| measured.at > since.0)
            && before.and_then(|status| status.last_run.as_ref()).is_none_or(|last| last.0 != at)
    }

    /// Since when the present weights are what is being watched.
    pub(super) fn watched_since(&self) -> Option<&Time> {
        self.status.step.as_ref().map(|step| step.shifted_at.as_ref().unwrap_or(&step.started_at))
    }

    fn take(&self, check: &Check, before: Option<CheckStatus>, measured: &Measurement) -> CheckStatus {
        let before = before.unwrap_or_else(|| pending(&check.name));
        let at = Time(whole_seconds(measured.at));
        // A comparison counts from when the step's weights were in force, and looks no further back.
        let look_back = || check.prometheus.as_ref().map(|asked| query::look_back(&asked.query)).unwrap_or_default();
        let warm = check.warmup.map_or_else(look_back, cutover_api::HumanDuration::get);
        let warm = jiff::SignedDuration::try_from(warm).unwrap_or(jiff::SignedDuration::MAX);
        let warm = self.watched_since().is_some_and(|since| measured.at >= after(since.0, warm));
        // A pause only shows, and so does the way back: nothing is made of it.
        let counts = matches!(self.state(), PhaseState::Running | PhaseState::Frozen);
        let count = |status: CheckStatus| {
            let failures = status.consecutive_failures.saturating_add(i32::from(counts && warm));
            let state = if warm { CheckState::Failing } else { CheckState::WarmingUp };
            CheckStatus { state, consecutive_failures: failures, ..status }
        };
        let status = CheckStatus { last_run: Some(at.clone()), message: None, ..before.clone() };
        let seen = |value: String| {
            let shown = self.status.step.as_ref().is_some_and(|step| step.stage != Stage::Shifting);
            let last_data = if shown { Some(at.clone()) } else { before.last_data.clone() };
            CheckStatus { value: Some(value), last_data, no_data_since: None, ..status.clone() }
        };
        match judge(check, &measured.result) {
            Verdict::Passes(value) => {
                CheckStatus { state: CheckState::Passing, consecutive_failures: 0, ..seen(value) }
            }
            Verdict::Fails(value, why) => count(CheckStatus { message: Some(bounded(why)), ..seen(value) }),
            Verdict::NoData(why) => {
                let since = before.no_data_since.filter(|_| !lapsed(check, before.last_run.as_ref(), &at));
                let message = Some(bounded(why));
                let status = CheckStatus { no_data_since: Some(since.unwrap_or(at)), message, ..status };
                let fails = status.last_data.is_none() && check.no_data == NoDataPolicy::Fail;
                let status = if fails { count(status) } else { status };
                CheckStatus { state: CheckState::NoData, ..status }
            }
            Verdict::Erroring(why) => {
                CheckStatus { state: CheckState::Erroring, no_data_since: None, message: Some(bounded(why)), ..status }
            }
        }
    }
}

/// Between two runs so much time went by that nothing is known of what was in between.
fn lapsed(check: &Check, before: Option<&Time>, at: &Time) -> bool {
    before.is_none_or(|before| at.0 > after(before.0, check.no_data_timeout.signed()) || at.0 < before.0)
}

fn pending(name: &str) -> CheckStatus {
    CheckStatus {
        name: name.to_owned(),
        state: CheckState::Pending,
        value: None,
        consecutive_failures: 0,
        last_run: None,
        last_data: None,
        no_data_since: None,
        message: None,
    }
}
