//! A model of the split's and the flag's controllers: they grant, carry out what the holder asks in its stored status, and answer.

use cutover_api::v1alpha1::{
    MigrationPhaseStatus,
    feature_flag::FlagHolder,
    migration_phase::{FlagRequest, PhaseState, SplitRequest},
    traffic_split::{Capacity, Exposure, Holder, Ramp, Safety},
};

use super::super::super::{FlagView, Sight, SplitView};
use crate::{
    migration_phase::Trouble,
    traffic_split::capacity::{Capacities, SideCapacity, reach},
};

/// What the phase asks, as its stored status has it.
pub struct Asked<'a> {
    pub uid: &'a str,
    pub status: &'a MigrationPhaseStatus,
}

impl Asked<'_> {
    fn holds(&self) -> bool {
        self.status.state.is_some_and(PhaseState::holds)
    }

    fn split(&self, name: &str) -> Option<&SplitRequest> {
        let requests = self.status.requests.as_ref().filter(|_| self.holds())?;
        requests.splits.iter().find(|r| r.split == name)
    }

    fn flag(&self, name: &str) -> Option<&FlagRequest> {
        let requests = self.status.requests.as_ref().filter(|_| self.holds())?;
        requests.flags.iter().find(|r| r.flag == name)
    }

    fn attempt(&self) -> i32 {
        self.status.attempt.unwrap_or_default()
    }

    fn revision(&self) -> i64 {
        self.status.request_revision.unwrap_or_default()
    }
}

/// Another phase's hold on something.
pub const OTHER: &str = "uid-of-another-phase";

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what can be the matter with it, each by itself")]
pub struct SimSplit {
    pub name: String,
    pub has_legacy: bool,
    /// What the routes carry: the truth on the wire.
    pub routed: i32,
    pub desired: i32,
    /// What the status says the routes carry.
    pub applied: i32,
    pub exposure: Exposure,
    pub holder: Option<Holder>,
    pub epoch: i64,
    pub legacy_ready: i32,
    pub new_ready: i32,
    /// Endpoints that the whole traffic needs, on either side.
    pub full: i32,
    /// A router that takes no change.
    pub stuck: bool,
    /// Another phase asks for it whenever it is free.
    pub wanted_by_other: bool,
    /// What the route's annotation keeps of the phase's baseline; it outlives the hold.
    pub remembers: Option<i32>,
    /// Its routes lead to the new side alone, for good.
    pub retired: bool,
    /// The user's Ingress that it attaches to.
    pub names_legacy: Option<String>,
    /// How fast its weight may move; it is looked at before a step, and does not slow it here.
    pub ramp: Option<Ramp>,
    /// What was seen on the wire.
    pub sight: Sight,
    /// It attaches to a user's Ingress, which leads to legacy.
    pub users_lead_to_legacy: bool,
    /// A person has agreed, and that Ingress has to be edited first.
    pub retiring: bool,
}

impl SimSplit {
    pub fn new(name: &str, routed: i32, full: i32) -> Self {
        Self {
            name: name.to_owned(),
            has_legacy: true,
            routed,
            desired: routed,
            applied: routed,
            exposure: Exposure::Exposed,
            holder: None,
            epoch: 0,
            legacy_ready: 8,
            new_ready: 8,
            full,
            stuck: false,
            wanted_by_other: false,
            ramp: None,
            sight: Sight::Unasked,
            remembers: None,
            retired: false,
            names_legacy: None,
            users_lead_to_legacy: false,
            retiring: false,
        }
    }

    fn safety(&self) -> Safety {
        let side = Capacity { min_ready_endpoints: 1, full_capacity_endpoints: self.full, probe: None };
        Safety { legacy: Some(side.clone()), new: Some(side) }
    }

    pub fn held_by(&self, uid: &str) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.uid == uid)
    }

    pub fn view(&self) -> SplitView {
        SplitView {
            weight_total: 100,
            has_legacy: self.has_legacy && !self.retired,
            legacy_component: Some("monolith".into()),
            retired: self.retired,
            names_legacy: self.names_legacy.clone(),
            awaits_edit: self.retiring.then(|| "edit Ingress shop".into()),
            safety: self.safety(),
            ramp: self.ramp,
            sight: self.sight.clone(),
            desired: Some(self.desired),
            applied: Some(self.applied),
            exposure: Some(self.exposure),
            holder: self.holder.clone(),
            legacy_ready: (self.has_legacy && !self.retired).then_some(self.legacy_ready),
            new_ready: Some(self.new_ready),
            trouble: self.stuck.then(|| Trouble { reason: "Contended".into(), message: "the route is refused".into() }),
            current: true,
            route_baseline: self.remembers,
        }
    }

    fn rule(&mut self, asked: &Asked) {
        let request = asked.split(&self.name);
        if let Some(holder) = &mut self.holder {
            if holder.uid == asked.uid {
                let older = asked.revision() < holder.request_revision || asked.attempt() < holder.attempt;
                match request {
                    Some(_) if older => {}
                    Some(request) => {
                        holder.attempt = asked.attempt();
                        holder.request_revision = asked.revision();
                        holder.new_weight = request.new_weight;
                        return;
                    }
                    None => {}
                }
                // Stored, not cached: what does not ask any more has let go.
                if request.is_none() || older {
                    self.holder = None;
                    self.desired = self.routed;
                }
            } else if !self.wanted_by_other {
                self.holder = None;
            }
        }
        if self.holder.is_none() {
            self.grant(asked, request.cloned());
        }
    }

    fn grant(&mut self, asked: &Asked, request: Option<SplitRequest>) {
        let (phase, uid, attempt, revision) = match request {
            _ if self.wanted_by_other => ("another".to_owned(), OTHER.to_owned(), 1, 1),
            Some(_) => ("phase".to_owned(), asked.uid.to_owned(), asked.attempt(), asked.revision()),
            None => return,
        };
        self.epoch += 1;
        let new_weight = request.and_then(|request| request.new_weight);
        self.holder = Some(Holder { phase, uid, attempt, epoch: self.epoch, request_revision: revision, new_weight });
    }

    /// One pass of the controller. `cut_off`: the process dies after the route was written and before the status.
    pub fn sync(&mut self, asked: &Asked, cut_off: bool) {
        let before = self.clone();
        self.rule(asked);
        let order = self.held_by(asked.uid).then(|| asked.split(&self.name)).flatten();
        let mut force = false;
        if let Some(order) = order {
            self.desired = order.new_weight.unwrap_or(self.routed);
            self.exposure = order.exposure.unwrap_or(self.exposure);
            force = order.force;
        }
        let legacy = SideCapacity { ready: self.legacy_ready, min_ready: 1, full: self.full };
        let capacities = Capacities {
            weight_total: 100,
            legacy: (self.has_legacy && !self.retired).then_some(legacy),
            new: SideCapacity { ready: self.new_ready, min_ready: 1, full: self.full },
        };
        if !self.stuck {
            self.routed = reach(self.routed, self.desired, &capacities, force).weight;
            let baseline = asked.status.baseline.iter().flat_map(|baseline| &baseline.splits);
            let kept =
                baseline.filter(|entry| order.is_some() && entry.split == self.name).find_map(|it| it.new_weight);
            self.remembers = kept.or(self.remembers);
        }
        let finished = asked.status.finish.as_ref().and_then(|finish| finish.retired.as_ref());
        let named = finished.is_some_and(|retired| retired.splits.contains(&self.name));
        let agreed = named && self.routed == 100 && self.holder.is_none();
        self.retired |= agreed && !self.users_lead_to_legacy;
        self.retiring = agreed && !self.retired;
        if cut_off {
            *self = Self { routed: self.routed, remembers: self.remembers, ..before };
        } else {
            self.applied = self.routed;
        }
    }
}

#[derive(Clone, Debug)]
pub struct SimFlag {
    pub name: String,
    pub percent: i32,
    pub holder: Option<FlagHolder>,
    pub stuck: bool,
}

impl SimFlag {
    pub fn new(name: &str, percent: i32) -> Self {
        Self { name: name.to_owned(), percent, holder: None, stuck: false }
    }

    pub fn view(&self) -> FlagView {
        FlagView {
            percent: Some(self.percent),
            holder: self.holder.clone(),
            has_percentage: true,
            trouble: None,
            current: true,
        }
    }

    pub fn sync(&mut self, asked: &Asked) {
        if self.stuck {
            return;
        }
        let Some(request) = asked.flag(&self.name) else {
            self.holder = None;
            return;
        };
        let epoch = self.holder.as_ref().map_or(1, |holder| holder.epoch);
        self.percent = request.percent.unwrap_or(self.percent);
        self.holder = Some(FlagHolder {
            phase: "phase".into(),
            uid: asked.uid.into(),
            attempt: asked.attempt(),
            epoch,
            request_revision: asked.revision(),
        });
    }
}
