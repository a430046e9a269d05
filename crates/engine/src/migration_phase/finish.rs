//! Finish: legacy is watched from a phase's completion on, and retired when it has been quiet for long enough and a person agrees.
//!
//! ```text
//!   Completed ──▶ in use ◀──────── a request, a gap in the data ────────┐
//!                   │ quiet                                             │
//!                   ▼                                                   │
//!                watched, from the first quiet answer to the last ──────┤
//!                   │ for as long as the spec says                      │
//!                   ▼                                                   │
//!                awaits a person ───────────────────────────────────────┘
//!                   │ Promote
//!                   ▼
//!                retired: no way back
//! ```
//!
//! Only answers count, and only answers that overlap: no data is not no requests, and time that no query has looked at is not quiet.

use std::collections::BTreeSet;

use cutover_api::{
    conditions::reasons,
    v1alpha1::migration_phase::{Blocker, CheckState, FinishStatus, PhaseState, Requests, RetireLegacy, Retired},
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    actions::Outcome,
    checks::{probe, query},
    clock::after,
    machine::{Machine, blocker, blocker_until, unknown},
    observed::{ActionView, Measured},
    plan::{ActiveCheck, Probe, Queries},
    requests::split,
};
use crate::{
    Known, Severity,
    conditions::{bounded, whole_seconds},
};

/// What the watch is called among the checks. No check of a spec can have this name.
pub(crate) const WATCH: &str = "finish.retireLegacy";

impl Machine<'_> {
    /// What the spec says of retiring legacy, while that is still to be done.
    fn retiring(&self) -> Option<&RetireLegacy> {
        let open = self.state() == PhaseState::Completed && self.retired().is_none();
        let finish = self.spec.ok()?.spec().finish.as_ref();
        finish.filter(|_| open && !self.observed.phase.deleting).map(|finish| &finish.retire_legacy)
    }

    /// Whether something is to follow the phase's completion, or has.
    pub fn finishes(&self) -> bool {
        self.retired().is_some() || self.spec.is_ok_and(|valid| valid.spec().finish.is_some())
    }

    /// That legacy is retired, if it is.
    pub fn retired(&self) -> Option<&Retired> {
        self.status.finish.as_ref()?.retired.as_ref()
    }

    /// The query that watches legacy, while it is to be watched.
    pub fn watch_of_legacy(&self) -> Option<ActiveCheck> {
        let retire = self.retiring()?;
        let valid = self.spec.ok()?;
        let splits: BTreeSet<&str> = valid.splits();
        let sources = probe::Sources {
            phase: &self.observed.phase,
            environment: valid.spec().environment.as_deref(),
            splits: &splits,
            since: self.clock.now,
            attempt: self.attempt(),
            step: "",
        };
        let query = sources.counted(&retire.requests).ok()?;
        Some(ActiveCheck {
            name: WATCH.to_owned(),
            probe: Probe::Prometheus {
                environment: valid.spec().environment.clone()?,
                queries: Queries::Value { query: query::over(&query, retire.window.get()), legacy: None },
            },
            interval: retire.interval.get(),
            round: self.watch_round(),
        })
    }

    /// Sets answers of this completion apart from those of an earlier one, after which the phase went back.
    fn watch_round(&self) -> String {
        let completed = self.status.finished_at.as_ref().map_or_else(String::new, |at| at.0.to_string());
        format!("{WATCH}/{}/{completed}", self.attempt())
    }

    /// Takes in what the watch found. What was measured while the clock could not be trusted says nothing about how long.
    pub fn watch_legacy(&mut self) {
        let Some(retire) = self.retiring().cloned() else { return };
        let round = self.watch_round();
        let Some(measured) = self.observed.measurements.get(WATCH).filter(|measured| measured.round == round) else {
            return;
        };
        let at = whole_seconds(measured.at);
        let before = self.status.finish.clone();
        let known = before.as_ref().is_some_and(|before| before.last_run.0 == at);
        if known || measured.at > self.clock.now {
            return;
        }
        let mut next = FinishStatus {
            state: CheckState::NoData,
            value: before.as_ref().and_then(|before| before.value.clone()),
            last_run: Time(at),
            quiet_since: before.as_ref().and_then(|before| before.quiet_since.clone()),
            quiet_until: before.as_ref().and_then(|before| before.quiet_until.clone()),
            message: None,
            retired: None,
        };
        match &measured.result {
            _ if self.skewed() => {
                next.state = CheckState::Erroring;
                next.message = Some("this machine's clock is off the API server's, or that is not known".to_owned());
            }
            Measured::Value(count) if !count.is_nan() => {
                next.value = Some(shown(*count));
                // How many requests there are at most is a small number.
                #[expect(clippy::cast_precision_loss, reason = "at most a million")]
                let quiet = *count <= retire.max_requests as f64;
                next.state = if quiet { CheckState::Passing } else { CheckState::Failing };
                let seen = next.quiet_until.take().filter(|_| quiet);
                let joins =
                    seen.is_some_and(|seen| seen.0 <= at && at.duration_since(seen.0) <= retire.window.signed());
                next.quiet_since = next.quiet_since.filter(|_| joins).or_else(|| quiet.then_some(Time(at)));
                next.quiet_until = quiet.then_some(Time(at));
            }
            Measured::Erroring(why) => {
                next.state = CheckState::Erroring;
                next.message = Some(bounded(why.clone()));
            }
            _ => next.message = Some("the query answers, and there is nothing: that is not zero".to_owned()),
        }
        let was_quiet = before.is_some_and(|before| before.quiet_since.is_some());
        let (begins, ends) = (!was_quiet && next.quiet_since.is_some(), was_quiet && next.quiet_since.is_none());
        let count = next.value.clone().unwrap_or_default();
        self.status.finish = Some(next);
        if ends {
            let message = format!("legacy served {count} requests in {}: the count begins anew", retire.window);
            self.tell(Severity::Warning, reasons::LEGACY_IN_USE, "Watch", message);
        } else if begins {
            let message = format!("legacy is quiet; it is watched for {}", retire.after);
            self.tell(Severity::Normal, reasons::LEGACY_WATCHED, "Watch", message);
        }
    }

    /// What was seen of legacy before the phase went back is no evidence for a later completion.
    pub fn forget_watch(&mut self) {
        if self.state() != PhaseState::Completed && self.retired().is_none() {
            self.status.finish = None;
        }
    }

    /// What legacy's retirement waits for. Nothing when the spec asks for none.
    pub fn retiring_for(&self) -> Vec<Blocker> {
        let Some(retire) = self.retiring() else { return Vec::new() };
        let mut holds = self.legacy_in_use();
        match self.status.finish.as_ref() {
            None => holds.push(blocker(reasons::CHECKS_PENDING, "what legacy serves has not been asked for yet")),
            Some(watch) => holds.extend(self.not_quiet(retire, watch)),
        }
        if holds.is_empty() {
            let message = format!(
                "legacy has been quiet for {}: Promote retires it, and then there is no way back to it",
                retire.after
            );
            holds.push(blocker(reasons::AWAITING_RETIREMENT, message));
        }
        holds
    }

    /// What still leads to a legacy that is retired: routes of ours for a moment, and those of users until they have edited them.
    pub fn retired_but_for(&self) -> Vec<Blocker> {
        let splits = self.retired().into_iter().flat_map(|retired| &retired.splits);
        splits
            .filter_map(|name| match self.split(name) {
                Known::Unknown => Some(unknown(&format!("TrafficSplit {name}"))),
                Known::Known(Some(view)) if view.has_legacy && !view.retired => {
                    let why = view
                        .awaits_edit
                        .as_deref()
                        .unwrap_or("its routes are not all seen to lead to the new side yet");
                    Some(blocker(reasons::LEGACY_IN_USE, format!("TrafficSplit {name}: {why}")))
                }
                Known::Known(_) => None,
            })
            .collect()
    }

    /// Who still leads to legacy, whatever it has served lately.
    fn legacy_in_use(&self) -> Vec<Blocker> {
        let in_use = |message: String| blocker(reasons::LEGACY_IN_USE, message);
        let mut holds = Vec::new();
        let environment = match &self.observed.environment {
            Known::Known(environment) => environment.as_ref(),
            Known::Unknown => {
                holds.push(unknown("which components call legacy"));
                None
            }
        };
        for name in self.spec.ok().iter().flat_map(|valid| valid.splits()) {
            let view = match self.split(name) {
                Known::Known(Some(view)) => view,
                Known::Known(None) => continue,
                Known::Unknown => {
                    holds.push(unknown(&format!("TrafficSplit {name}")));
                    continue;
                }
            };
            if let Some(holder) = &view.holder {
                holds.push(in_use(format!("TrafficSplit {name} is held by phase {}", holder.phase)));
            }
            let (at, total) = (view.applied.unwrap_or_default(), view.weight_total);
            if view.has_legacy && (at != total || view.desired != view.applied) {
                holds.push(in_use(format!("TrafficSplit {name} is at {at} of {total}: legacy has the rest")));
            }
            if let Some(route) = &view.names_legacy {
                holds.push(in_use(format!(
                    "TrafficSplit {name} attaches to {route}, which names legacy at any weight: let Cutover make the routes (remove \
                     attach), or retire legacy by hand"
                )));
            }
            let called = |calls: &&(String, String)| Some(&calls.1) == view.legacy_component.as_ref();
            let callers = environment.into_iter().flat_map(|view| &view.calls).filter(called);
            holds.extend(callers.map(|(caller, legacy)| {
                in_use(format!("component {caller} calls {legacy}: take it out of its callsTo when it no longer does"))
            }));
        }
        holds.dedup();
        holds
    }

    fn not_quiet(&self, retire: &RetireLegacy, watch: &FinishStatus) -> Option<Blocker> {
        let why = watch.message.as_deref().unwrap_or("no more is known");
        match watch.state {
            CheckState::Passing => {}
            CheckState::Erroring => {
                return Some(blocker(reasons::CHECKS_UNAVAILABLE, format!("what legacy serves is not known: {why}")));
            }
            CheckState::Failing => {
                let count = watch.value.as_deref().unwrap_or("some");
                let message = format!("legacy served {count} requests in {}", retire.window);
                return Some(blocker(reasons::LEGACY_IN_USE, message));
            }
            CheckState::Pending | CheckState::WarmingUp | CheckState::NoData => {
                return Some(blocker(reasons::NO_DATA, format!("what legacy serves is not known: {why}")));
            }
        }
        let (since, until) = watch.quiet_since.as_ref().zip(watch.quiet_until.as_ref())?;
        if self.clock.since(until) > retire.window.signed() {
            return Some(blocker(reasons::CHECKS_PENDING, "what legacy serves has not been asked for lately"));
        }
        let long = until.0.duration_since(since.0) >= retire.after.signed();
        (!long).then(|| {
            let message = format!("legacy is quiet; it is watched for {}", retire.after);
            blocker_until(reasons::LEGACY_WATCHED, message, Some(after(since.0, retire.after.signed())))
        })
    }

    /// A person agrees that legacy goes.
    pub fn retire(&mut self, action: &ActionView) -> Outcome {
        if let Some(retired) = self.retired() {
            return Outcome::not_applicable(format!("legacy is retired already, by {}", retired.by));
        }
        // Whoever names a step means its soak or approval, not the end of legacy.
        if let Some(step) = &action.spec.step {
            let message = format!("step {step} is done: Promote without step retires legacy, once it has been quiet");
            return Outcome::not_applicable(message);
        }
        let holds = self.retiring_for();
        let due = holds.iter().all(|hold| hold.reason == reasons::AWAITING_RETIREMENT);
        if holds.is_empty() || !due {
            let why: Vec<_> = holds.iter().map(|hold| format!("{}: {}", hold.reason, hold.message)).collect();
            let why = if why.is_empty() { "the spec asks for nothing to follow".to_owned() } else { why.join("; ") };
            return Outcome::not_applicable(format!("the phase is Completed: {why}"));
        }
        let by = action.spec.requested_by.clone();
        let splits: Vec<String> = self.spec.ok().iter().flat_map(|valid| valid.splits()).map(str::to_owned).collect();
        let names = splits.join(", ");
        let at = self.clock.record();
        if let Some(watch) = &mut self.status.finish {
            watch.retired = Some(Retired { at, by: by.clone(), splits });
        }
        let message =
            format!("legacy is retired by {by}: {names} lead to the new side alone, and there is no way back");
        self.tell(Severity::Normal, reasons::LEGACY_RETIRED, "Retire", message.clone());
        Outcome::Done(message)
    }

    /// What of a way back would lead to a legacy side that is retired.
    pub fn retired_on_the_way(&self, target: &Requests) -> Option<String> {
        let own = self.retired().map(|retired| retired.splits.as_slice()).unwrap_or_default();
        let gone = target.splits.iter().find(|goal| {
            let view = self.split_view(&goal.split);
            let retired = own.contains(&goal.split) || view.is_some_and(|view| view.retired);
            let lower = goal.new_weight.is_some_and(|to| self.present_weight(&goal.split).is_some_and(|at| to < at));
            retired && lower
        });
        // A split whose legacy side is gone is left out where everything goes to legacy.
        let left_out = || own.iter().find(|name| split(target, name).is_none()).cloned();
        gone.map(|goal| goal.split.clone()).or_else(left_out)
    }
}

/// A count for people: `0`, `12`, `0.4`.
fn shown(count: f64) -> String {
    let mut text = format!("{count}");
    text.truncate(24);
    text
}

/// How long is shortest for the relation between two durations of the spec to make sense.
pub(super) fn window_is_long_enough(retire: &RetireLegacy) -> bool {
    let twice = retire.interval.signed().checked_mul(2).unwrap_or(SignedDuration::MAX);
    retire.window.signed() > twice
}
