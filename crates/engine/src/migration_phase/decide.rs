//! One decision, from what was observed to the plan.

use cutover_api::v1alpha1::migration_phase::{Hook, LastValid, PhaseState};
use jiff::Timestamp;

use super::{
    machine::Machine,
    observed::Observed,
    plan::Plan,
    validate::{Invalid, Validated},
};

/// Decides what is to be done about one phase. The same input always gives the same plan; a plan whose status was written, and whose
/// effects have been observed, is followed by one that changes nothing until something else does.
#[must_use]
pub fn decide(spec: Result<&Validated, &Invalid>, observed: &Observed, now: Timestamp) -> Plan {
    let mut machine = Machine::new(spec, observed, now);
    machine.settle_in();
    machine.observe_dead_sides();
    machine.take_results();
    machine.take_hooks();
    machine.watch_legacy();
    machine.advance();
    // Each that is carried out leads on as far as it can.
    machine.take_actions();
    machine.observe_dead_sides();
    // What was asked for just now may be what the routes remember a baseline of.
    machine.recover_baseline();
    machine.forget_watch();
    machine.report();
    let (checks, requeue_at) = (machine.active_checks(), machine.next_timer());
    let hook_jobs = machine.hook_jobs();
    let Machine { status, notes, notifications, settle, .. } = machine;
    Plan { status, notes, hook_jobs, notifications, settle, checks, requeue_at }
}

impl Machine<'_> {
    /// What holds before anything is decided: an attempt, the guards in force, no timer in the time to come.
    fn settle_in(&mut self) {
        if self.status.attempt.is_none() && self.status.state.is_none_or(|state| state == PhaseState::Waiting) {
            self.begin_anew();
        }
        if let Some((index, step)) = self.step() {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            if let Some(present) = self.status.step.as_mut().filter(|present| present.name == step.name) {
                present.index = index;
            }
        }
        if let Ok(valid) = self.spec {
            let spec = valid.spec();
            let before = spec.hooks.iter().flat_map(|hooks| &hooks.before);
            let hooks = before.chain(spec.steps.iter().flat_map(|step| &step.hooks));
            let undone = |hook: &&Hook| hook.migration.as_ref().is_some_and(|migration| migration.down.is_some());
            self.status.last_valid = Some(LastValid {
                generation: self.observed.phase.generation,
                environment: spec.environment.clone(),
                checks: self.checks_of(spec),
                on_failure: spec.on_failure,
                rollback: spec.rollback.clone(),
                reversible: spec.reversible,
                dead_after: spec.dead_after,
                on_rollback: spec.hooks.as_ref().map(|hooks| hooks.on_rollback.clone()).unwrap_or_default(),
                migrations: hooks.filter(undone).cloned().collect(),
                notify: spec.notify.clone(),
            });
        }
        self.catch_up();
        self.recover_baseline();
        self.set_clocks();
    }

    /// After the clock was set back, no timer waits for the old time to come again.
    fn set_clocks(&mut self) {
        let clock = self.clock;
        let set = |at: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| *at = clock.not_ahead(at);
        if let Some(step) = &mut self.status.step {
            set(&mut step.started_at);
            step.shifted_at.iter_mut().for_each(set);
            step.held_since.iter_mut().for_each(set);
        }
        if let Some(way) = &mut self.status.way_back {
            set(&mut way.started_at);
            way.flags_done_at.iter_mut().for_each(set);
            way.held_since.iter_mut().for_each(set);
        }
        for check in &mut self.status.checks {
            check.no_data_since.iter_mut().for_each(set);
        }
    }
}
