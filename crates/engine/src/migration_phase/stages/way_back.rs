//! `RollingBack`: flags first, for ten seconds at most, then the traffic, as far as the legacy side can take it and on as it can take more.
//! Nothing that guards the way forward is looked at.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        migration_phase::{Blocker, FlagRequest, HookPoint, PhaseState, Requests, SplitRequest, WayBack},
        phase_action::RollbackTo,
    },
};
use jiff::SignedDuration;

use super::super::{
    clock::{Timer, hold},
    hooks::Hooks,
    machine::{Machine, blocker},
    requests::{flag, flags_of, hold_split, put_flag, put_split, split, splits_of, summary},
};
use crate::{Known, Severity};

/// How long the traffic waits for the flags.
pub(in super::super) const FLAGS_FIRST: SignedDuration = SignedDuration::from_secs(10);

/// Where a way back would lead.
pub(in super::super) enum Target {
    /// Here.
    To(Requests),
    /// The legacy side of this split is retired.
    Retired(String),
    /// That is not known any more.
    Lost,
}

impl Machine<'_> {
    /// What of the way back has not been done. What is only held has no part in it, and what is gone cannot go back.
    pub fn going_back_for(&self) -> Vec<Blocker> {
        let Some((way, requests)) = self.status.way_back.as_ref().zip(self.status.requests.as_ref()) else {
            return Vec::new();
        };
        let splits = requests.splits.iter().filter(|request| split(&way.target, &request.split).is_some());
        let flags = requests.flags.iter().filter(|request| flag(&way.target, &request.flag).is_some());
        let splits = splits.filter_map(|request| self.split_follows(request).err());
        let pending = splits.chain(flags.filter_map(|request| self.flag_follows(request).err()));
        pending.filter(|hold| hold.reason != reasons::REFERENCE_NOT_FOUND).collect()
    }

    /// The weight of the new side that a split may have now: in force, wanted, or asked for.
    pub fn present_weight(&self, name: &str) -> Option<i32> {
        let asked = self.status.requests.as_ref().and_then(|requests| split(requests, name)?.new_weight);
        let view = self.split_view(name);
        [asked, view.and_then(|v| v.applied), view.and_then(|v| v.desired)].into_iter().flatten().max()
    }

    fn present_percent(&self, name: &str) -> Option<i32> {
        let asked = self.status.requests.as_ref().and_then(|requests| flag(requests, name)?.percent);
        [asked, self.flag_view(name).and_then(|view| view.percent)].into_iter().flatten().max()
    }

    /// Something was moved, and it is not known any more what was before.
    pub fn baseline_lost(&self) -> Option<Blocker> {
        (self.status.baseline.is_none() && self.has_stepped()).then(|| {
            let message =
                "what was in force before the phase is not known any more: Rollback with to: Legacy, or Abort";
            blocker(reasons::BASELINE_LOST, message)
        })
    }

    /// Takes the baseline from the routes' annotations when a part of the status is lost, and they have all of it.
    pub fn recover_baseline(&mut self) {
        if self.baseline_lost().is_some() && self.requests().flags.is_empty() {
            let splits = self.requests().splits.iter().map(|request| request.split.as_str());
            self.status.baseline = self.kept_by_routes(splits);
        }
    }

    /// The same when the whole status is lost: of a phase that has moved nothing yet the routes know nothing.
    pub fn find_baseline(&mut self) {
        let observed = self.observed;
        if self.status.baseline.is_none() && observed.flags.is_empty() {
            self.status.baseline = self.kept_by_routes(observed.splits.keys().map(String::as_str));
        }
    }

    fn kept_by_routes<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<Requests> {
        let kept = names.map(|name| {
            let weight = self.split_view(name)?.route_baseline?;
            Some(SplitRequest { new_weight: Some(weight), ..hold_split(name) })
        });
        let splits = kept.collect::<Option<Vec<_>>>()?;
        (!splits.is_empty()).then(|| Requests { splits, flags: Vec::new() })
    }

    /// Where the way back leads from what is now: nothing on it is higher than it is.
    pub(in super::super) fn target(&self, to: RollbackTo) -> Target {
        let found = match to {
            RollbackTo::Baseline => self.status.baseline.clone(),
            RollbackTo::PreviousStep => self.status.previous.clone().or_else(|| self.status.baseline.clone()),
            RollbackTo::Legacy => Some(self.all_legacy()),
        };
        let Some(mut target) = found else { return Target::Lost };
        for request in &mut target.splits {
            let present = self.present_weight(&request.split);
            request.new_weight = request.new_weight.map(|weight| present.map_or(weight, |present| weight.min(present)));
        }
        for request in &mut target.flags {
            let present = self.present_percent(&request.flag);
            request.percent = request.percent.map(|percent| present.map_or(percent, |present| percent.min(present)));
        }
        match self.retired_on_the_way(&target) {
            Some(split) => Target::Retired(split),
            None => Target::To(target),
        }
    }

    /// Everything to the legacy side, of the splits that have one.
    fn all_legacy(&self) -> Requests {
        let mut target = Requests::default();
        let steps = self.spec.map_or(&[][..], |valid| valid.spec().steps.as_slice());
        for name in splits_of(steps, &self.status) {
            let to_legacy = match self.split(&name) {
                Known::Known(view) => view.is_some_and(|view| view.has_legacy),
                // It cannot be read now; most have a legacy side, and this is asked in an emergency.
                Known::Unknown => true,
            };
            if to_legacy {
                put_split(&mut target, SplitRequest { new_weight: Some(0), ..hold_split(&name) });
            }
        }
        for flag in flags_of(steps, &self.status) {
            put_flag(&mut target, FlagRequest { flag, percent: Some(0) });
        }
        target
    }

    /// Begins the way back. What is on its way forward stops where it is; flags go first.
    pub fn start_way_back(&mut self, to: RollbackTo, force: bool, target: Requests) {
        self.forget_undoing();
        let mut requests = self.requests().clone();
        for goal in &target.splits {
            let stays = split(&requests, &goal.split).filter(|request| self.split_at(request)).cloned();
            put_split(&mut requests, stays.unwrap_or_else(|| hold_split(&goal.split)));
        }
        for goal in &target.flags {
            put_flag(&mut requests, goal.clone());
        }
        let message = format!("back to {to:?}:{}", summary(Some(&target)));
        self.status.state = Some(PhaseState::RollingBack);
        self.status.finished_at = None;
        self.status.paused_until = None;
        self.hold_stage(false);
        let started_at = self.clock.stamp();
        self.status.way_back =
            Some(WayBack { to, force, target, started_at, flags_done_at: None, held_seconds: 0, held_since: None });
        self.publish(requests);
        self.tell(Severity::Warning, reasons::ROLLING_BACK, "Rollback", message);
    }

    pub(super) fn go_back(&mut self) -> bool {
        let Some(way) = self.status.way_back.clone() else {
            self.freeze(reasons::BASELINE_LOST, "where the way back leads was lost with a part of the status");
            return true;
        };
        if way.flags_done_at.is_none() {
            let waiting = way.target.flags.iter().filter_map(|request| self.flag_follows(request).err());
            let waiting = waiting.filter(|hold| hold.reason != reasons::REFERENCE_NOT_FOUND).count();
            let over = waiting == 0 || self.clock.since(&way.started_at) >= FLAGS_FIRST;
            return over && self.return_traffic(way);
        }
        let pending = self.going_back_for();
        if pending.is_empty() {
            let undone = match self.undo_migrations() {
                Hooks::Done => self.run_hooks(HookPoint::OnRollback),
                so_far => so_far,
            };
            match undone {
                Hooks::Done => {}
                Hooks::Pending if self.undoing_unknown() => {
                    let unknown = self.hooks_awaited().into_iter().map(|hold| hold.message).collect::<Vec<_>>();
                    self.freeze(reasons::HOOK_UNKNOWN, &format!("the traffic is back; {}", unknown.join("; ")));
                    return true;
                }
                Hooks::Pending => return false,
                Hooks::Failed(message) => {
                    let remedy = "the traffic is back; Rollback runs the hooks of the way back again";
                    self.freeze(reasons::HOOK_FAILED, &format!("{message}; {remedy}"));
                    return true;
                }
            }
            self.rest(PhaseState::RolledBack);
            let message = format!("back at {:?}:{}", way.to, summary(Some(&way.target)));
            self.tell(Severity::Warning, reasons::ROLLED_BACK, "Rollback", message);
            return true;
        }
        let still = self.skewed() || pending.iter().any(|hold| hold.reason == reasons::UNKNOWN_INPUT);
        let clock = self.clock;
        if let Some(way) = &mut self.status.way_back {
            hold(&mut way.held_seconds, &mut way.held_since, still, clock);
        }
        !still && self.freeze_when_overdue(&pending)
    }

    /// Asks for the traffic, unless that waits for what cannot be read.
    fn return_traffic(&mut self, mut way: WayBack) -> bool {
        let Some(splits) = way.target.splits.iter().map(|goal| self.no_higher(goal)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        way.target.splits = splits;
        let mut requests = self.requests().clone();
        for goal in &way.target.splits {
            put_split(&mut requests, SplitRequest { force: way.force, ..goal.clone() });
        }
        self.publish(requests);
        self.status.way_back = Some(WayBack { flags_done_at: Some(self.clock.stamp()), ..way });
        true
    }

    /// The goal, or where its split is now if that is lower. `None` while nothing says where it is.
    fn no_higher(&self, goal: &SplitRequest) -> Option<SplitRequest> {
        let Some(weight) = goal.new_weight.filter(|weight| *weight > 0) else { return Some(goal.clone()) };
        let new_weight = match (self.present_weight(&goal.split), self.split(&goal.split)) {
            (Some(present), _) => weight.min(present),
            (None, Known::Known(_)) => weight,
            (None, Known::Unknown) => return None,
        };
        Some(SplitRequest { new_weight: Some(new_weight), ..goal.clone() })
    }

    pub fn way_back_timer(&self) -> Option<Timer<'_>> {
        self.status.way_back.as_ref().map(|way| Timer {
            start: &way.started_at,
            held_seconds: way.held_seconds,
            held_since: way.held_since.as_ref(),
        })
    }

    fn freeze_when_overdue(&mut self, pending: &[Blocker]) -> bool {
        let limit = self.guards().map(|guards| guards.rollback.clone()).unwrap_or_default().timeout;
        let overdue = self.way_back_timer().is_some_and(|timer| timer.watched(self.clock) >= limit.signed());
        if overdue {
            let why: Vec<_> = pending.iter().map(|pending| pending.message.as_str()).collect();
            self.freeze(reasons::WAY_BACK_CLOSED, &format!("not back after {limit}: {}", why.join("; ")));
        }
        overdue
    }
}
