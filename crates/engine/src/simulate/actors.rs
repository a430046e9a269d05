//! Splits and flags of the simulated world: they grant, follow what their holder asks, and answer in their status.

use cutover_api::v1alpha1::{
    FeatureFlag, MigrationPhaseStatus, TrafficSplit,
    feature_flag::FlagHolder,
    migration_phase::{PhaseState, TrafficTarget},
    traffic_split::{Exposure, Holder, Ramp, Safety, VerifiedWeight},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    migration_phase::{FlagView, Sight, SplitView},
    traffic_split::ramp::one_step,
};

/// Ready endpoints of a side that has what it needs: the most that `safety` can ask for.
const PLENTY: i32 = 10_000;

/// A phase, as a split or flag sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    pub status: &'a MigrationPhaseStatus,
}

impl Asking<'_> {
    fn holds(&self) -> bool {
        self.status.state.is_some_and(PhaseState::holds)
    }

    fn attempt(&self) -> i32 {
        self.status.attempt.unwrap_or(1)
    }

    fn revision(&self) -> i64 {
        self.status.request_revision.unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(super) struct SimSplit {
    pub weight_total: i32,
    pub weight: i32,
    pub exposure: Exposure,
    pub new_ready: i32,
    has_legacy: bool,
    safety: Safety,
    ramp: Option<Ramp>,
    verifies: bool,
    desired: i32,
    /// What `exposure` is to be.
    exposed: Exposure,
    holder: Option<Holder>,
    epoch: i64,
    /// When the routes carry what is desired.
    pub due: Option<Timestamp>,
}

impl SimSplit {
    pub fn of(split: &TrafficSplit) -> Self {
        Self {
            weight_total: split.spec.weight_total,
            exposure: split.spec.exposure,
            exposed: split.spec.exposure,
            has_legacy: split.spec.legacy.is_some(),
            safety: split.spec.safety.clone().unwrap_or_default(),
            ramp: split.spec.ramp.filter(|_| split.spec.legacy.is_some()),
            verifies: split.spec.verify.is_some(),
            ..Self::assumed(split.spec.new_weight, [])
        }
    }

    /// A split that is not among the manifests: one that the steps could be about.
    pub fn assumed<'a>(weight: i32, targets: impl IntoIterator<Item = &'a TrafficTarget>) -> Self {
        let most = targets.into_iter().map(|target| target.new_weight).max().unwrap_or_default();
        Self {
            weight_total: [100, 1000].into_iter().find(|total| *total >= most).unwrap_or(10_000),
            weight,
            exposure: Exposure::Exposed,
            new_ready: PLENTY,
            has_legacy: true,
            safety: Safety::default(),
            ramp: None,
            verifies: true,
            desired: weight,
            exposed: Exposure::Exposed,
            holder: None,
            epoch: 0,
            due: None,
        }
    }

    pub fn view(&self) -> SplitView {
        SplitView {
            weight_total: self.weight_total,
            has_legacy: self.has_legacy,
            safety: self.safety.clone(),
            ramp: self.ramp,
            sight: if self.verifies { Sight::Seen(self.seen()) } else { Sight::Unasked },
            desired: Some(self.desired),
            applied: (self.exposure == Exposure::Exposed).then_some(self.weight),
            exposure: Some(self.exposure),
            holder: self.holder.clone(),
            legacy_ready: self.has_legacy.then_some(PLENTY),
            new_ready: Some(self.new_ready),
            current: true,
            ..SplitView::default()
        }
    }

    /// What requests show: that each side serves its share.
    fn seen(&self) -> VerifiedWeight {
        VerifiedWeight {
            applied_weight: self.weight,
            new_weight: Some(self.weight),
            low: None,
            high: None,
            samples: 0,
            confirmed: true,
            at: Time(Timestamp::UNIX_EPOCH),
            message: None,
        }
    }

    /// One pass of its controller.
    pub fn sync(&mut self, name: &str, phases: &[Asking], now: Timestamp, propagation: SignedDuration) {
        let asked = |phase: &Asking| {
            let requests = phase.status.requests.as_ref().filter(|_| phase.holds())?;
            requests.splits.iter().find(|request| request.split == name).cloned()
        };
        let held = self.holder.as_ref().map(|holder| holder.uid.clone());
        let mut claims = phases.iter().filter_map(|phase| Some((phase, asked(phase)?))).collect::<Vec<_>>();
        claims.sort_by_key(|(phase, _)| (held.as_deref() != Some(phase.uid), phase.name));
        match claims.into_iter().next() {
            None => self.holder = None,
            Some((phase, request)) => {
                if held.as_deref() != Some(phase.uid) {
                    self.epoch += 1;
                }
                self.desired = request.new_weight.unwrap_or(self.desired);
                self.exposed = request.exposure.unwrap_or(self.exposed);
                self.holder = Some(Holder {
                    phase: phase.name.to_owned(),
                    uid: phase.uid.to_owned(),
                    attempt: phase.attempt(),
                    epoch: self.epoch,
                    request_revision: phase.revision(),
                    new_weight: request.new_weight,
                });
            }
        }
        if self.weight == self.desired && self.exposure == self.exposed {
            self.due = None;
            return;
        }
        let due = *self.due.get_or_insert(later(now, propagation));
        if due <= now {
            let left_is_dead = self.desired < self.weight && self.new_ready == 0;
            self.weight = one_step(self.ramp.filter(|_| !left_is_dead), self.weight, self.desired);
            self.exposure = self.exposed;
            let pause = self.ramp.map_or(propagation, |ramp| ramp.interval.signed().saturating_add(propagation));
            self.due = (self.weight != self.desired).then(|| later(now, pause));
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct SimFlag {
    pub percent: i32,
    has_percentage: bool,
    holder: Option<FlagHolder>,
    epoch: i64,
}

impl SimFlag {
    pub fn of(flag: &FeatureFlag) -> Self {
        let percentage = flag.spec.rules.iter().find_map(|rule| rule.percentage.as_ref());
        let percent = percentage.map_or(0, |percentage| percentage.percent);
        Self { percent, has_percentage: percentage.is_some(), holder: None, epoch: 0 }
    }

    /// A flag that is not among the manifests.
    pub const fn assumed() -> Self {
        Self { percent: 0, has_percentage: true, holder: None, epoch: 0 }
    }

    pub fn view(&self) -> FlagView {
        FlagView {
            percent: Some(self.percent),
            holder: self.holder.clone(),
            has_percentage: self.has_percentage,
            trouble: None,
            current: true,
        }
    }

    /// One pass of its controller.
    pub fn sync(&mut self, name: &str, phases: &[Asking]) {
        let asked = |phase: &Asking| {
            let requests = phase.status.requests.as_ref().filter(|_| phase.holds())?;
            requests.flags.iter().find(|request| request.flag == name).cloned()
        };
        let held = self.holder.as_ref().map(|holder| holder.uid.clone());
        let mut claims = phases.iter().filter_map(|phase| Some((phase, asked(phase)?))).collect::<Vec<_>>();
        claims.sort_by_key(|(phase, _)| (held.as_deref() != Some(phase.uid), phase.name));
        let Some((phase, request)) = claims.into_iter().next() else {
            self.holder = None;
            return;
        };
        if held.as_deref() != Some(phase.uid) {
            self.epoch += 1;
        }
        self.percent = request.percent.unwrap_or(self.percent);
        self.holder = Some(FlagHolder {
            phase: phase.name.to_owned(),
            uid: phase.uid.to_owned(),
            attempt: phase.attempt(),
            epoch: self.epoch,
            request_revision: phase.revision(),
        });
    }
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}
