//! Preparing: every split and flag is claimed, one after the other in order of name, so that two phases never wait for each other; then
//! everything the step needs is looked at; then, in one write, the baseline is recorded and the traffic is asked for.

use std::collections::BTreeSet;

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{
            Blocker, FlagRequest, FlagTarget, HookPoint, Requests, SplitRequest, Stage, Step, TrafficTarget,
        },
        traffic_split::Exposure,
    },
};

use super::super::{
    capacity,
    following::missing,
    hooks::Hooks,
    machine::{Machine, blocker, unknown},
    observed::{Sight, SplitView},
    requests::{flag, hold_flag, hold_split, put_flag, put_split, split, summary, with_traffic},
};
use crate::{Known, Severity, traffic_split::ramp::time_for};

/// How far the claims are.
enum Claims {
    /// All are granted.
    Granted,
    /// This is to be asked for next.
    Ask(Requests),
    /// This has been asked for, or cannot be.
    Await(Blocker),
}

impl Machine<'_> {
    /// What the present step waits for before it moves anything.
    pub fn preparing_for(&self) -> Vec<Blocker> {
        self.not_prepared(self.forward_holds(), &self.claims())
    }

    fn not_prepared(&self, mut holds: Vec<Blocker>, claims: &Claims) -> Vec<Blocker> {
        holds.extend(self.step_removed());
        holds.extend(self.baseline_lost());
        match claims {
            Claims::Await(blocker) => holds.push(blocker.clone()),
            Claims::Ask(_) => {}
            Claims::Granted => {
                if let Some((_, step)) = self.step() {
                    holds.extend(
                        step.traffic
                            .iter()
                            .filter_map(|target| self.unable_split(target).or_else(|| self.too_slow(target))),
                    );
                    holds.extend(step.flags.iter().filter_map(|target| self.unable_flag(target)));
                    holds.extend(self.unweighed());
                }
            }
        }
        holds.extend(self.dead_holds());
        holds.extend(self.check_holds());
        holds
    }

    pub(super) fn prepare(&mut self) -> bool {
        let (forward, claims) = (self.forward_holds(), self.claims());
        let held_back = !forward.is_empty();
        let holds = self.not_prepared(forward, &claims);
        let blind = holds.iter().any(|hold| hold.reason == reasons::UNKNOWN_INPUT);
        let barred = self.spec.is_err() || self.observed.phase.deleting;
        let due = !barred && holds.is_empty() && matches!(claims, Claims::Granted);
        let hooks = due.then(|| self.hooks_before());
        let waits = matches!(hooks, Some(Hooks::Pending)) || !self.hooks_awaited().is_empty();
        self.hold_stage(blind || waits || held_back);
        match (claims, hooks) {
            (Claims::Ask(requests), _) if !barred => {
                self.publish(requests);
                true
            }
            (_, Some(Hooks::Done)) => self.move_traffic(),
            (_, Some(Hooks::Failed(message))) => {
                self.freeze(reasons::HOOK_FAILED, &format!("{message}; nothing has moved"));
                true
            }
            (_, Some(Hooks::Pending) | None) => false,
        }
    }

    /// Nothing has moved yet.
    fn hooks_before(&mut self) -> Hooks {
        if self.has_stepped() { Hooks::Done } else { self.run_hooks(HookPoint::Before) }
    }

    fn claims(&self) -> Claims {
        let requests = self.requests();
        let Ok(valid) = self.spec else { return Claims::Granted };
        let splits: BTreeSet<&str> =
            valid.splits().into_iter().chain(requests.splits.iter().map(|r| r.split.as_str())).collect();
        for name in splits {
            let Some(request) = split(requests, name) else {
                if let Some(barred) = absent(&self.field_of_split(name), "TrafficSplit", name, &self.split(name)) {
                    return Claims::Await(barred);
                }
                let mut wider = requests.clone();
                put_split(&mut wider, hold_split(name));
                return Claims::Ask(wider);
            };
            // Only the grant is awaited here; what the split does with a weight is looked at while it shifts.
            if let Err(barred) =
                self.split_follows(&SplitRequest { new_weight: None, exposure: None, ..request.clone() })
            {
                return Claims::Await(barred);
            }
        }
        let flags: BTreeSet<&str> =
            valid.flags().into_iter().chain(requests.flags.iter().map(|r| r.flag.as_str())).collect();
        for name in flags {
            let Some(request) = flag(requests, name) else {
                if let Some(barred) = absent(&self.field_of_flag(name), "FeatureFlag", name, &self.flag(name)) {
                    return Claims::Await(barred);
                }
                let mut wider = requests.clone();
                put_flag(&mut wider, hold_flag(name));
                return Claims::Ask(wider);
            };
            if let Err(barred) = self.flag_follows(&FlagRequest { percent: None, ..request.clone() }) {
                return Claims::Await(barred);
            }
        }
        Claims::Granted
    }

    fn unable_split(&self, target: &TrafficTarget) -> Option<Blocker> {
        let name = &target.split;
        let not_ready = |why: String| Some(blocker(reasons::SPLIT_NOT_READY, format!("TrafficSplit {name}: {why}")));
        let view = self.split_view(name)?;
        let (to, total) = (target.new_weight, view.weight_total);
        if let Some(trouble) = &view.trouble {
            return not_ready(format!("{}: {}", trouble.reason, trouble.message));
        }
        if !view.current {
            return not_ready("its status is not about its present spec yet".to_owned());
        }
        if to > total {
            return not_ready(format!("newWeight {to} is more than its weightTotal {total}: change the step"));
        }
        if !view.has_legacy && to != 0 && to != total {
            return not_ready(format!("without a legacy backend newWeight is 0 or {total}: change the step"));
        }
        if view.sight == Sight::Unasked && self.step().is_some_and(|(_, step)| step.verified) {
            return not_ready("the step is to be verified, and the split has no spec.verify: add one".to_owned());
        }
        let at = self.present_weight(name)?;
        if to < at {
            let message = format!(
                "TrafficSplit {name} is at {at} and the step asks for {to}: a step never lowers; Rollback first, or change the steps"
            );
            return Some(blocker(reasons::STEP_WOULD_LOWER, message));
        }
        let from = if view.exposure == Some(Exposure::Hidden) { 0 } else { at };
        if to > from && (view.new_ready.is_none() || (view.has_legacy && view.legacy_ready.is_none())) {
            return Some(unknown(&format!("the count of endpoints of TrafficSplit {name}")));
        }
        let lacking = capacity::lacking(view, from, to, false)?;
        Some(blocker(reasons::INSUFFICIENT_CAPACITY, format!("TrafficSplit {name}: {lacking}")))
    }

    /// A ramp whose way takes longer than there is time for, there or back.
    fn too_slow(&self, target: &TrafficTarget) -> Option<Blocker> {
        let (name, to) = (&target.split, target.new_weight);
        let view = self.split_view(name)?;
        let at = self.present_weight(name)?;
        let from = if view.exposure == Some(Exposure::Hidden) { 0 } else { at };
        let ramp = view.ramp.filter(|_| view.has_legacy)?;
        let spec = self.spec.ok()?.spec();
        let baseline = self.status.baseline.as_ref().and_then(|baseline| split(baseline, name)?.new_weight);
        let ways = [
            ("shiftTimeout", spec.shift_timeout, from, to),
            ("rollback.timeout", spec.rollback.timeout, to, baseline.unwrap_or(from)),
        ];
        ways.into_iter().find_map(|(field, limit, from, to)| {
            let takes = time_for(ramp, from, to);
            (takes >= limit.signed()).then(|| {
                let message = format!(
                    "TrafficSplit {name}: with its ramp the way from {from} to {to} takes {}s, and spec.{field} is {limit}: raise that, or \
                     spec.ramp.maxStep of the split",
                    takes.as_secs()
                );
                blocker(reasons::SPLIT_NOT_READY, message)
            })
        })
    }

    fn unable_flag(&self, target: &FlagTarget) -> Option<Blocker> {
        let (name, to) = (&target.flag, target.percent);
        let view = self.flag_view(name)?;
        let not_ready = |why: &str| Some(blocker(reasons::FLAG_NOT_READY, format!("FeatureFlag {name}: {why}")));
        if let Some(trouble) = &view.trouble {
            return not_ready(&format!("{}: {}", trouble.reason, trouble.message));
        }
        if !view.has_percentage {
            return not_ready("it has no percentage rule that a phase could move: add one");
        }
        if !view.current {
            return not_ready("its status is not about its present spec yet");
        }
        let at = view.percent?;
        (to < at).then(|| {
            let message = format!(
                "FeatureFlag {name} is at {at} % and the step asks for {to}: a step never lowers; Rollback first, or change the steps"
            );
            blocker(reasons::STEP_WOULD_LOWER, message)
        })
    }

    /// Claimed splits and flags of which it is not known what they are: there would be no way back.
    fn unweighed(&self) -> Vec<Blocker> {
        let requests = self.requests();
        let weights = requests.splits.iter().filter(|r| self.split_view(&r.split).is_none_or(|v| weight(v).is_none()));
        let percents = requests.flags.iter().filter(|r| self.flag_view(&r.flag).is_none_or(|v| v.percent.is_none()));
        let weights = weights.map(|r| unknown(&format!("the weight in force of TrafficSplit {}", r.split)));
        weights
            .chain(percents.map(|r| unknown(&format!("the percentage in force of FeatureFlag {}", r.flag))))
            .collect()
    }

    fn move_traffic(&mut self) -> bool {
        let Some((_, step)) = self.step() else { return false };
        let claimed = self.requests().clone();
        let baseline = self.baseline_with(&claimed);
        if !self.status.step.as_ref().is_some_and(|present| present.moved) {
            self.status.previous = Some(in_force(&claimed, &baseline));
        }
        self.status.baseline = Some(baseline);
        self.status.checks.clear();
        self.enter(Stage::Shifting);
        if let Some(present) = &mut self.status.step {
            present.moved = true;
            present.shifted_at = None;
        }
        self.publish(with_traffic(claimed, step));
        self.tell(Severity::Normal, reasons::SHIFTING, "Shift", format!("step {}:{}", step.name, asked(step)));
        true
    }

    /// The baseline, with what was claimed since.
    fn baseline_with(&self, claimed: &Requests) -> Requests {
        let mut baseline = self.status.baseline.clone().unwrap_or_default();
        for request in &claimed.splits {
            if split(&baseline, &request.split).is_none()
                && let Some(view) = self.split_view(&request.split)
            {
                let entry = SplitRequest {
                    split: request.split.clone(),
                    new_weight: weight(view),
                    exposure: view.exposure,
                    force: false,
                };
                put_split(&mut baseline, entry);
            }
        }
        for request in &claimed.flags {
            if flag(&baseline, &request.flag).is_none()
                && let Some(view) = self.flag_view(&request.flag)
            {
                put_flag(&mut baseline, FlagRequest { flag: request.flag.clone(), percent: view.percent });
            }
        }
        baseline
    }
}

/// The weight that a split has, or will have when it is exposed.
fn weight(view: &SplitView) -> Option<i32> {
    view.applied.or(view.desired.filter(|_| view.exposure == Some(Exposure::Hidden)))
}

/// What is asked for, and for what is only held, what it was.
fn in_force(requests: &Requests, baseline: &Requests) -> Requests {
    let splits = requests.splits.iter().map(|request| {
        let before = split(baseline, &request.split);
        SplitRequest {
            split: request.split.clone(),
            new_weight: request.new_weight.or_else(|| before?.new_weight),
            exposure: request.exposure.or_else(|| before?.exposure),
            force: false,
        }
    });
    let flags = requests.flags.iter().map(|request| {
        let before = flag(baseline, &request.flag);
        FlagRequest { flag: request.flag.clone(), percent: request.percent.or_else(|| before?.percent) }
    });
    Requests { splits: splits.collect(), flags: flags.collect() }
}

fn absent<T>(field: &str, kind: &str, name: &str, known: &Known<Option<T>>) -> Option<Blocker> {
    match known {
        Known::Unknown => Some(unknown(&format!("{kind} {name}"))),
        Known::Known(None) => Some(missing(field, &format!("{kind} {name}"))),
        Known::Known(Some(_)) => None,
    }
}

fn asked(step: &Step) -> String {
    let requests = with_traffic(Requests::default(), step);
    summary(Some(&super::super::requests::with_flags(requests, step)))
}
