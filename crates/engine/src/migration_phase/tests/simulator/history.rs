//! What a bystander remembers: the evidence that the engine's decisions are held against.

use std::collections::BTreeMap;

use cutover_api::v1alpha1::phase_action::ActionState;
use jiff::Timestamp;

use super::world::Metric;

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what was seen, each by itself")]
pub struct Past {
    /// Results of each check, newest last.
    pub results: BTreeMap<String, Vec<Metric>>,
    /// How often each action took effect.
    pub effects: BTreeMap<String, u32>,
    /// The Job of each hook that was started, by attempt, point and name.
    pub starts: BTreeMap<String, String>,
    outcomes: BTreeMap<String, ActionState>,
    /// Milliseconds since the stored status entered its present stage or state: all of them, and those in which everything could be read.
    pub in_stage: i64,
    pub in_stage_seen: i64,
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
    /// The clock was set in the present stage.
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
        self.in_stage += millis;
        if !blind {
            self.in_stage_seen += millis;
        }
        self.dead.values_mut().for_each(|dead| *dead += millis);
    }

    pub fn enter_stage(&mut self) {
        self.in_stage = 0;
        self.in_stage_seen = 0;
        self.clock_set = false;
    }
}
