//! What a bystander remembers: the evidence that the engine's decisions are held against.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::phase_action::ActionState;
use jiff::Timestamp;

use super::world::Metric;

#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Results of each check, newest last.
    pub results: BTreeMap<String, Vec<Metric>>,
    /// How often each action took effect.
    pub effects: BTreeMap<String, u32>,
    /// The Job of each hook that was started, by attempt, point and name.
    pub starts: BTreeMap<String, String>,
    outcomes: BTreeMap<String, ActionState>,
    /// What was seen since the stored status entered its present stage or state, and since the one stored before it entered its own: who
    /// decides by an old status knows that one's instants.
    pub stage: InStage,
    pub older_stage: InStage,
    /// Milliseconds for which the present step has soaked, pauses left out.
    pub soaked: i64,
    /// Milliseconds for which each dead side has been dead.
    pub dead: BTreeMap<(String, bool), i64>,
    /// The whole status was lost after the phase had been under way, and no person has decided since.
    pub undecided: bool,
    /// A person's Rollback has been accepted in this attempt.
    pub rollback_by_person: bool,
    /// The phase was reversible when its last way back began.
    pub begun_reversible: bool,
    /// When somebody asked something of legacy, and when its watch had an answer with data, newest last.
    pub legacy_asked: Vec<Timestamp>,
    pub legacy_seen: Vec<Timestamp>,
}

/// What was seen since a status entered its stage or state.
#[derive(Clone, Copy, Debug, Default)]
pub struct InStage {
    /// Milliseconds in which everything could be read.
    pub seen: i64,
    /// The clock was set.
    pub clock_set: bool,
}

impl Past {
    pub fn measured(&mut self, check: &str, metric: Metric) {
        self.results.entry(check.to_owned()).or_default().push(metric);
    }

    pub fn settled(&mut self, uid: &str, state: Option<ActionState>) {
        if let Some(state) = state {
            self.outcomes.insert(uid.to_owned(), state);
        }
    }

    pub fn outcome(&self, uid: &str) -> Option<ActionState> {
        self.outcomes.get(uid).copied()
    }

    pub fn pass(&mut self, millis: i64, blind: bool) {
        if !blind {
            self.stage.seen += millis;
            self.older_stage.seen += millis;
        }
        self.dead.values_mut().for_each(|dead| *dead += millis);
    }

    pub fn set_clock(&mut self) {
        self.stage.clock_set = true;
        self.older_stage.clock_set = true;
    }
}
