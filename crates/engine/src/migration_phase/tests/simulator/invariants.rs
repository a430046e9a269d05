//! The invariants, by name. A violation panics with `violated: <name>`; the planted bugs are known by these names.

use cutover_api::{
    conditions::{reasons, types},
    v1alpha1::{
        MigrationPhaseStatus,
        migration_phase::{
            Check, Gates, Hook, HookPoint, HookState, MigrationDirection, NoDataPolicy, OnFailure, PhaseState,
            Requests, Stage,
        },
        phase_action::{ActionKind, ActionState},
    },
};
use jiff::SignedDuration;

use super::{
    history::InStage,
    ops::PROMOTED_WITHIN,
    split::SimSplit,
    world::{Input, Metric, UID, World},
};
use crate::migration_phase::{Observed, Plan, audit, defaults, validate};

/// Holds, or panics with the name of what was violated.
#[track_caller]
pub fn holds(name: &str, holds: bool, what: impl FnOnce() -> String) {
    assert!(holds, "violated: {name}: {}", what());
}

pub fn yaml(status: &MigrationPhaseStatus) -> String {
    serde_yaml_ng::to_string(status).unwrap()
}

/// The lines in which two statuses differ.
fn difference(one: &MigrationPhaseStatus, other: &MigrationPhaseStatus) -> String {
    let lines = |status| yaml(status).lines().map(str::to_owned).collect::<Vec<_>>();
    let (one, other): (Vec<String>, Vec<String>) = (lines(one), lines(other));
    let gone = one.iter().filter(|line| !other.contains(line)).map(|line| format!("- {line}"));
    let come = other.iter().filter(|line| !one.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(come).collect::<Vec<_>>().join("\n")
}

fn weight(requests: Option<&Requests>, split: &str) -> Option<i32> {
    requests?.splits.iter().find(|r| r.split == split)?.new_weight
}

impl World {
    /// What holds of every plan, whether it is carried out or not.
    pub fn check_plan(&self, observed: &Observed, plan: &Plan) {
        let again = self.plan(observed);
        holds("same_input_same_plan", again == *plan, || format!("{plan:#?}\n{again:#?}"));
        // What was measured after an old status may fit the plan that is made of it; its write is refused.
        if observed.status == self.stored {
            self.check_second(observed, plan);
        }
        self.check_hooks(&observed.status, plan);
        self.check_numbers(&observed.status, &plan.status);
        Self::check_audit(observed, plan);
        self.check_shape(&plan.status);
        self.check_forward(&observed.status, plan);
        self.check_backward(&observed.status, plan);
    }

    /// A plan that was carried out is followed by one without steps.
    fn check_second(&self, observed: &Observed, plan: &Plan) {
        let mut carried_out = observed.clone();
        carried_out.status = plan.status.clone();
        for settled in &plan.settle {
            carried_out.actions.iter_mut().filter(|a| a.uid == settled.uid).for_each(|action| action.settled = true);
        }
        let next = self.plan(&carried_out);
        holds("a_plan_carried_out_is_followed_by_an_empty_one", next.status == plan.status, || {
            difference(&plan.status, &next.status)
        });
        let quiet = next.notes.is_empty() && next.settle.is_empty() && next.hook_jobs.is_empty();
        holds("a_plan_carried_out_is_followed_by_an_empty_one", quiet, || format!("{next:#?}"));
    }

    /// A Job is asked for by the plan that records its intent, one at a time; and what waits for hooks waits for their end.
    fn check_hooks(&self, before: &MigrationPhaseStatus, plan: &Plan) {
        let after = &plan.status;
        let intended = |job: &str| after.hooks.iter().any(|hook| hook.job == job && hook.state == HookState::Started);
        let known = |job: &str| before.hooks.iter().any(|hook| hook.job == job);
        let fresh = plan.hook_jobs.iter().all(|job| intended(&job.name) && !known(&job.name));
        holds("a_job_is_asked_for_with_its_intent_only", fresh, || format!("{:?}", plan.hook_jobs));
        for point in [HookPoint::Before, HookPoint::Step, HookPoint::After] {
            let running = after.hooks.iter().filter(|hook| hook.point == point && hook.state == HookState::Started);
            holds("hooks_of_one_point_run_one_at_a_time", running.count() <= 1, || yaml(after));
        }
        let ended = |point: HookPoint, step: Option<&str>, hooks: &[Hook]| {
            hooks.iter().all(|hook| {
                after.hooks.iter().any(|status| {
                    (status.point, status.name.as_str()) == (point, hook.name.as_str())
                        && step.is_none_or(|step| status.step.as_deref() == Some(step))
                        && matches!(status.state, HookState::Succeeded | HookState::Waived | HookState::Skipped)
                })
            })
        };
        let phase = self.spec.hooks.clone().unwrap_or_default();
        let moved = |s: &MigrationPhaseStatus| s.step.as_ref().is_some_and(|step| step.moved);
        let promoted = self.promoted_by(before, after);
        if moved(after) && !moved(before) && !promoted && after.step.as_ref().is_some_and(|step| step.index == 0) {
            holds("nothing_moves_before_the_hooks_before", ended(HookPoint::Before, None, &phase.before), || {
                yaml(after)
            });
        }
        if let Some(step) = before.step.as_ref().filter(|step| step.stage == Stage::Hooks)
            && after.step.as_ref().is_some_and(|next| next.stage == Stage::Soaking)
            && let Some(spec) = self.spec.steps.iter().find(|spec| spec.name == step.name)
        {
            let ended = ended(HookPoint::Step, Some(&step.name), &spec.hooks);
            holds("nothing_soaks_before_its_hooks_have_ended", ended, || yaml(after));
        }
        let completes = after.state == Some(PhaseState::Completed) && before.state != after.state;
        let ended = ended(HookPoint::After, None, &phase.after);
        holds("nothing_completes_before_the_hooks_after", !completes || ended, || yaml(after));
    }

    /// The Job of a hook is made.
    pub fn note_start(&mut self, job: &str) {
        let hook = self.stored.hooks.iter().find(|hook| hook.job == job).unwrap();
        let way = self.stored.way_back.as_ref().filter(|_| hook.point == HookPoint::OnRollback);
        let step = hook.step.as_ref().filter(|_| hook.point == HookPoint::Step);
        if let Some(run) = hook.migration {
            let applied = self.applied.contains(&run.version);
            let up = run.direction == MigrationDirection::Up;
            holds("a_version_is_migrated_to_once", !up || !applied, || yaml(&self.stored));
            let again = self.runs.insert(job.to_owned(), (run, UID.to_owned()));
            holds("the_name_of_a_job_is_used_once", again.is_none() || !self.jobs.contains_key(job), || job.to_owned());
            return;
        }
        let which = (self.stored.attempt, hook.point, step, &hook.name, way.map(|way| way.started_at.0));
        let started = self.past.starts.insert(format!("{which:?}"), job.to_owned());
        holds("a_hook_never_starts_twice", started.is_none(), || format!("{hook:?} after {started:?}"));
    }

    /// What happened and what was turned down is in audit records, which go on where the stored status ends and end where the one to be does.
    fn check_audit(observed: &Observed, plan: &Plan) {
        let (before, after) = (&observed.status, &plan.status);
        let mut head = before.audit.clone().map_or((0, String::new()), |chain| (chain.sequence, chain.hash));
        let fresh = if before.audit == after.audit { Vec::new() } else { audit::audit_lines(&observed.phase, after) };
        for line in &fresh {
            let follows = line.record.sequence == head.0 + 1
                && line.record.previous == head.1
                && line.record.hash == line.expected_hash();
            holds("audit_records_are_a_chain", follows, || format!("{head:?} → {line:?}"));
            head = (line.record.sequence, line.record.hash.clone());
        }
        let ends = after.audit.clone().map_or((0, String::new()), |chain| (chain.sequence, chain.hash));
        holds("audit_records_are_a_chain", ends == head, || format!("{head:?}: {:?}", after.audit));
        let told = after.history.iter().filter(|entry| !before.history.contains(entry)).count() <= fresh.len();
        holds("what_happened_is_in_the_audit_log", told, || format!("{:?}: {fresh:?}", after.history));
        let turned_down = plan.settle.iter().filter(|it| it.status.state != Some(ActionState::Accepted)).count();
        let records = fresh.iter().filter(|line| line.record.what == "TurnDown").count();
        holds("what_happened_is_in_the_audit_log", records == turned_down, || format!("{turned_down}: {fresh:?}"));
    }

    fn check_numbers(&self, before: &MigrationPhaseStatus, after: &MigrationPhaseStatus) {
        let (old, new) = (before.request_revision.unwrap_or(0), after.request_revision.unwrap_or(0));
        let moved = before.requests != after.requests;
        holds("the_number_of_requests_only_grows", new >= old && (!moved || new > old), || format!("{old} → {new}"));
        holds("attempts_only_grow", after.attempt >= before.attempt, || format!("{:?}", after.attempt));
        if !self.blind.contains(&Input::Splits) {
            for split in self.splits.values().filter(|split| split.held_by(UID)) {
                let seen = split.holder.as_ref().unwrap().request_revision;
                holds("requests_are_numbered_past_what_a_split_has_seen", new >= seen, || format!("{new} < {seen}"));
            }
        }
    }

    fn check_shape(&self, status: &MigrationPhaseStatus) {
        let state = status.state.unwrap();
        let requests = status.requests.clone().unwrap_or_default();
        let in_range = requests.splits.iter().all(|r| r.new_weight.is_none_or(|w| (0..=100).contains(&w)))
            && requests.flags.iter().all(|r| r.percent.is_none_or(|p| (0..=100).contains(&p)));
        holds("weights_stay_within_their_total", in_range, || format!("{requests:?}"));
        let ordered = requests.splits.is_sorted_by(|a, b| a.split < b.split)
            && requests.flags.is_sorted_by(|a, b| a.flag < b.flag);
        holds("each_split_is_asked_once", ordered, || format!("{requests:?}"));
        holds("a_phase_at_rest_asks_nothing", state.holds() || status.requests.is_none(), || format!("{state:?}"));
        let bounded = status.history.len() <= 50
            && status.blocked_by.len() <= 64
            && status.applied_actions.len() <= 64
            && status.approvals.len() <= 64
            && status.dead_sides.len() <= 32
            && status.hooks.len() <= 32
            && status.history.iter().all(|entry| entry.message.chars().count() <= 512)
            && status.blocked_by.iter().all(|blocker| blocker.message.chars().count() <= 1024);
        holds("lists_and_texts_stay_bounded", bounded, || format!("{status:?}"));
        self.check_conditions(status, state);
    }

    fn check_conditions(&self, status: &MigrationPhaseStatus, state: PhaseState) {
        let is = |type_: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == "True");
        let health = [types::READY, types::RECONCILING, types::STALLED].into_iter().filter(|type_| is(type_)).count();
        holds("exactly_one_health", health == 1, || format!("{:?}", status.conditions));
        holds("completed_says_so", is(types::COMPLETED) == (state == PhaseState::Completed), || format!("{state:?}"));
        holds("frozen_is_stalled", state != PhaseState::Frozen || is(types::STALLED), || {
            format!("{:?}", status.conditions)
        });
        let current = status.observed_generation == Some(self.generation);
        holds("the_status_is_about_the_present_spec", current, || format!("{:?}", status.observed_generation));
        let says = state != PhaseState::Waiting || !status.blocked_by.is_empty();
        holds("who_waits_says_what_for", says, || yaml(status));
    }

    /// Nothing is asked to rise unless every guard of the way forward is open.
    fn check_forward(&self, before: &MigrationPhaseStatus, plan: &Plan) {
        let after = &plan.status;
        let rising = |name: &str| {
            let asked = weight(after.requests.as_ref(), name)?;
            let split = self.splits.get(name)?;
            let was = weight(before.requests.as_ref(), name);
            (was != Some(asked) && asked > split.applied).then_some((split, asked))
        };
        let names: Vec<String> = self.splits.keys().cloned().collect();
        let Some((split, asked)) = names.iter().find_map(|name| rising(name)) else { return };
        let what = || format!("{} is asked to rise to {asked}:\n{}", split.name, yaml(after));
        let state = after.state.unwrap();
        holds("nothing_rises_on_the_way_back", state != PhaseState::RollingBack, what);
        holds("nothing_rises_while_held", state == PhaseState::Running, what);
        holds("nothing_rises_while_something_is_unread", !self.unread(), what);
        holds("nothing_rises_under_clock_skew", self.offset.abs().as_secs() <= 5, what);
        let valid = validate(&self.identity(), &self.spec).is_ok();
        holds("nothing_rises_under_an_invalid_spec", valid, what);
        let gated = self.spec.gates.as_ref().is_some_and(|gates| gates.components_ready);
        holds("nothing_rises_while_a_gate_is_closed", self.environment_ready || !gated, what);
        let done = self.predecessor == PhaseState::Completed || self.spec.after.is_empty();
        holds("nothing_rises_while_a_gate_is_closed", done, what);
        holds("nothing_rises_while_a_gate_is_closed", !self.calendar_is_closed(), what);
        let ranged = self.spec.gates.as_ref().is_some_and(|gates| gates.schema.is_some());
        let fits = matches!(self.schema, Some(Ok(42..=45)));
        holds("nothing_rises_while_a_gate_is_closed", fits || !ranged, what);
        let mut items = self.spec.gates.iter().flat_map(|gates| &gates.checklist);
        let attested = items.all(|item| self.attested.contains(item));
        holds("nothing_rises_while_a_gate_is_closed", attested, what);
        let promoted = self.spec.gates.as_ref().is_none_or(|gates| gates.promoted_from.is_none()) || self.promoted();
        holds("nothing_rises_while_a_gate_is_closed", promoted, what);
        holds("nothing_rises_without_approval_of_the_start", self.start_is_approved(after), what);
        let needed = (split.full * asked + 99) / 100;
        let able = split.new_ready >= needed.max(1);
        holds("nothing_rises_without_capacity", able, what);
        holds("nothing_rises_on_a_split_held_by_another", split.held_by(UID), what);
        let all_held = self.splits.values().filter(|s| weight(after.requests.as_ref(), &s.name).is_some());
        holds("nothing_rises_before_all_are_held", all_held.into_iter().all(|s| s.held_by(UID)), what);
        let recorded = after.baseline.as_ref().is_some_and(|b| b.splits.iter().any(|r| r.split == split.name));
        holds("nothing_rises_before_its_baseline_is_recorded", recorded, what);
        let flags_before: Vec<_> = before.requests.iter().flat_map(|r| &r.flags).collect();
        let flags_after: Vec<_> = after.requests.iter().flat_map(|r| &r.flags).collect();
        let flags_wait =
            self.flags.is_empty() || flags_before == flags_after || flags_before.len() != flags_after.len();
        holds("traffic_rises_before_flags", flags_wait, what);
        let judged = before.step.as_ref().is_some_and(|step| step.stage == Stage::Preparing)
            && before.requests.iter().flat_map(|r| &r.splits).any(|r| r.new_weight.is_some_and(|w| w > 0))
            && self.judging().next().is_some();
        holds("nothing_rises_while_a_check_does_not_pass", !judged || self.passing(), what);
    }

    /// What a person with the spec and a clock would say; windows of the simulator are in UTC and do not go over midnight.
    fn calendar_is_closed(&self) -> bool {
        let Some(gates) = &self.spec.gates else { return false };
        let show = |format: &str| self.clock().strftime(format).to_string();
        let (time, day) = (show("%H:%M"), show("%Y-%m-%d"));
        let elsewhere = |zone: &str| zone != "UTC";
        let open =
            gates.windows.iter().any(|window| elsewhere(&window.time_zone) || window.from <= time && time < window.to);
        let frozen = gates.freezes.iter().any(|freeze| freeze.from <= day && day <= freeze.to);
        frozen || (!open && !gates.windows.is_empty())
    }

    /// So many people have approved what is done now, whatever images get the traffic by now.
    fn start_is_approved(&self, status: &MigrationPhaseStatus) -> bool {
        let approval = self.spec.gates.as_ref().and_then(|gates| gates.approvals.as_ref());
        let todo = |subject: Option<&String>| subject.and_then(|text| Some(text.split_once('-')?.0.to_owned()));
        approval.is_none_or(|approval| {
            let given = self.actions.iter().filter(|action| {
                let spec = &action.spec;
                status.applied_actions.contains(&action.uid)
                    && spec.action == ActionKind::Approve
                    && spec.step.is_none()
                    && Some(spec.attempt) == status.attempt
                    && todo(spec.subject_hash.as_ref()) == todo(status.approval_subject.as_ref())
                    && (approval.groups.is_empty() || spec.groups.iter().any(|group| approval.groups.contains(group)))
            });
            let people: std::collections::BTreeSet<_> = given.map(|action| &action.spec.requested_by).collect();
            i32::try_from(people.len()).unwrap() >= approval.required
        })
    }

    /// Whether something cannot be read that this phase goes by.
    fn unread(&self) -> bool {
        let gated = self.spec.gates.as_ref().is_some_and(|gates| gates.components_ready);
        self.blind.iter().any(|input| match input {
            Input::Splits | Input::Clock => true,
            Input::Jobs => false,
            Input::Flags => !self.flags.is_empty(),
            Input::Environment => {
                let asks = |gates: &Gates| {
                    gates.approvals.is_some()
                        || gates.schema.is_some()
                        || gates.promoted_from.is_some()
                        || !gates.checklist.is_empty()
                };
                gated || self.spec.gates.as_ref().is_some_and(asks)
            }
            Input::Predecessors => {
                !self.spec.after.is_empty()
                    || self.spec.gates.as_ref().is_some_and(|gates| gates.promoted_from.is_some())
            }
        })
    }

    /// Whether the phase that this one is promoted from shows that what is here has been tried.
    fn promoted(&self) -> bool {
        let from = &self.promotion;
        let lately = from.finished_at.is_some_and(|at| self.clock().duration_since(at) < PROMOTED_WITHIN);
        let same = self.images.iter().all(|(component, image)| from.images.get(component) == Some(image));
        from.visible && from.state == Some(PhaseState::Completed) && lately && same && !self.images.is_empty()
    }

    /// The newest results that the engine has been given all pass.
    fn passing(&self) -> bool {
        self.judging().filter(|check| self.measured.contains_key(&check.name)).all(|check| {
            let last = self.past.results.get(&check.name).and_then(|results| results.last());
            matches!(last, Some(Metric::Good | Metric::Nan | Metric::Nothing))
        })
    }

    /// Nothing goes back by itself without evidence of harm.
    fn check_backward(&self, before: &MigrationPhaseStatus, plan: &Plan) {
        let after = &plan.status;
        let turned = |state| after.state == Some(state) && before.state != Some(state);
        // A person's Rollback, or one that froze on its way and goes on.
        let asked = after.applied_actions.len() > before.applied_actions.len()
            || after.applied_actions != before.applied_actions;
        if asked || !(turned(PhaseState::RollingBack) || turned(PhaseState::Frozen)) {
            return;
        }
        let what = || format!("{:?} → {:?}: {:?}", before.state, after.state, after.failure);
        holds("a_pause_disarms_harm", before.state != Some(PhaseState::Paused), what);
        if turned(PhaseState::RollingBack) {
            let guards = after.last_valid.as_ref().unwrap();
            holds("irreversible_never_goes_back_by_itself", guards.reversible, what);
            holds("freeze_does_not_go_back_by_itself", guards.on_failure == OnFailure::Rollback, what);
        }
        let failure = after.failure.as_ref().unwrap();
        let dead = || self.dead_for(before, true) || self.dead_for(before, false);
        let hook_failed = || after.hooks.iter().any(|hook| hook.state == HookState::Failed);
        let evidence = match failure.reason.as_str() {
            reasons::SIDE_DEAD => dead(),
            // Whatever the harm: legacy is dead, or retired.
            reasons::WAY_BACK_CLOSED => {
                before.state == Some(PhaseState::RollingBack)
                    || dead()
                    || hook_failed()
                    || self.failed_in_a_row()
                    || self.data_vanished()
                    || self.overdue(before)
            }
            reasons::HOOK_FAILED => hook_failed(),
            reasons::HOOK_UNKNOWN => after.hooks.iter().any(|hook| hook.state == HookState::Unknown),
            reasons::STATUS_LOST => self.past.undecided || before.attempt.is_none(),
            // Nothing moves: where to go was lost with a part of the status.
            reasons::BASELINE_LOST => before.way_back.is_none(),
            reasons::CHECK_FAILED => self.failed_in_a_row(),
            reasons::DATA_VANISHED => self.data_vanished(),
            reasons::SHIFT_TIMED_OUT => self.overdue(before),
            _ => false,
        };
        holds("only_evidence_of_harm_moves_traffic", evidence, || {
            format!("{} at {}: {:?}", what(), self.clock(), self.past)
        });
    }

    fn data_vanished(&self) -> bool {
        self.past.results.values().any(|results| {
            let last = results.last();
            matches!(last, Some(Metric::Nothing | Metric::Nan)) && results.contains(&Metric::Good)
        })
    }

    fn overdue(&self, status: &MigrationPhaseStatus) -> bool {
        let stage = self.stage_of(status);
        stage.seen >= self.spec.shift_timeout.as_secs() * 1_000 || stage.clock_set
    }

    /// What was seen of the stage of the status that a plan goes by: the stored one, or the one before it.
    fn stage_of(&self, status: &MigrationPhaseStatus) -> &InStage {
        if *status == self.stored { &self.past.stage } else { &self.past.older_stage }
    }

    /// Whether a side that carries traffic has been without endpoints for as long as counts, give or take a rounded second.
    fn dead_for(&self, status: &MigrationPhaseStatus, new: bool) -> bool {
        let limit = status.last_valid.as_ref().map_or(0, |guards| guards.dead_after.as_secs() * 1_000);
        let clock_set = self.stage_of(status).clock_set;
        self.past.dead.iter().any(|((_, side), millis)| *side == new && (*millis >= limit || clock_set))
            && !self.blind.contains(&Input::Splits)
    }

    /// The checks that do not only report: the phase's own, or the default ones where the environment is measured.
    fn judging(&self) -> impl Iterator<Item = Check> {
        let given = self.spec.checks.clone();
        let by_default = given.is_empty() && self.spec.default_checks && self.monitored;
        let checks = if by_default { defaults() } else { given };
        checks.into_iter().filter(|check| !check.dry_run)
    }

    fn failed_in_a_row(&self) -> bool {
        self.judging().any(|check| {
            let counted = self.past.results.get(&check.name).into_iter().flatten().rev();
            let nothing_fails = check.no_data == NoDataPolicy::Fail;
            let fails = |metric: &Metric| match metric {
                Metric::Bad => true,
                Metric::Nan | Metric::Nothing => nothing_fails,
                Metric::Good | Metric::Down => false,
            };
            let failing = counted.take_while(|metric| **metric != Metric::Good).filter(|metric| fails(metric));
            i32::try_from(failing.count()).unwrap() >= check.fail_after
        }) || validate(&self.identity(), &self.spec).is_err()
    }

    /// What holds from one stored status to the next.
    pub fn check_transition(&mut self, plan: &Plan) {
        let (before, after) = (self.stored.clone(), &plan.status);
        for uid in after.applied_actions.iter().filter(|uid| !before.applied_actions.contains(*uid)) {
            let count = self.past.effects.entry(uid.clone()).or_default();
            *count += 1;
            let count = *count;
            holds("an_action_takes_effect_once", count == 1, || format!("{uid}: {count} times"));
            let action = self.actions.iter().find(|action| action.uid == *uid).unwrap();
            let meant = action.spec.phase_uid == UID && Some(action.spec.attempt) == before.attempt.or(after.attempt);
            holds("an_action_counts_for_its_attempt_only", meant || before.attempt != after.attempt, || {
                format!("{action:?}")
            });
            let age = self.time.duration_since(action.created).as_secs();
            // Whose clock is unknown cannot tell; the way back does not wait for it.
            let told = action.spec.expires_at.is_some() || self.blind.contains(&Input::Clock);
            holds("an_expired_action_does_nothing", told || age <= 15 * 60, || uid.clone());
            if action.spec.action == ActionKind::Rollback {
                self.past.rollback_by_person = true;
            }
        }
        self.check_retirement(&before, after);
        self.past.undecided &= after.applied_actions == before.applied_actions;
        let asks = after.requests.iter().flat_map(|r| &r.splits).any(|request| request.new_weight.is_some());
        holds("after_a_lost_status_nothing_moves_without_a_person", !(self.past.undecided && asks), || yaml(after));
        let place = |s: &MigrationPhaseStatus| (s.state, s.step.as_ref().map(|step| (step.name.clone(), step.stage)));
        let stage = before.step.as_ref().map(|step| step.stage);
        let running = before.state == Some(PhaseState::Running) && after.applied_actions == before.applied_actions;
        let onward = |step: &cutover_api::v1alpha1::migration_phase::StepStatus| {
            after.state == Some(PhaseState::Completed)
                || after
                    .step
                    .as_ref()
                    .is_some_and(|next| next.name != step.name || next.stage == Stage::AwaitingApproval)
        };
        let promoted = before.state == Some(PhaseState::Running) && self.promoted_by(&before, after);
        let soaked = before.step.as_ref().filter(|step| step.stage == Stage::Soaking && onward(step));
        let last = |check: &Check| self.past.results.get(&check.name).and_then(|results| results.last());
        let bad = self.judging().any(|check| last(&check) == Some(&Metric::Bad));
        holds("promote_passes_no_failing_check", !(promoted && soaked.is_some() && bad), || format!("{:?}", self.past));
        if let Some(step) = before.step.as_ref().filter(|step| running && step.stage == Stage::Soaking && onward(step))
        {
            let soak = self.spec.steps.iter().find(|s| s.name == step.name).map_or(0, |s| s.soak.as_secs() * 1_000);
            let long = self.past.soaked >= soak || self.past.stage.clock_set;
            holds("a_soak_is_not_shortened", long, || format!("{} of {soak} ms:\n{}", self.past.soaked, yaml(&before)));
            holds("a_failing_check_ends_no_soak", !bad, || format!("{:?}", self.past));
        }
        if stage == Some(Stage::AwaitingApproval) && before.state == Some(PhaseState::Running) {
            self.check_approval(&before, after);
        }
        if after.state == Some(PhaseState::RollingBack) && before.state != after.state {
            self.past.begun_reversible = after.last_valid.as_ref().is_some_and(|guards| guards.reversible);
        }
        let soaks = |s: &MigrationPhaseStatus| s.step.as_ref().is_some_and(|step| step.stage == Stage::Soaking);
        if soaks(after) && (!soaks(&before) || before.state == Some(PhaseState::Frozen)) {
            self.past.soaked = 0;
        }
        if place(&before) != place(after) {
            self.past.stage = InStage::default();
        }
        if before.attempt != after.attempt {
            self.past.rollback_by_person = false;
        }
        if let (Some(old), Some(new)) = (&before.baseline, &after.baseline) {
            let kept = old.splits.iter().all(|entry| new.splits.contains(entry));
            holds("a_recorded_baseline_stays", kept, || format!("{old:?} → {new:?}"));
        }
    }

    /// Legacy goes when a person says so, after so long without a request of which nothing was overlooked; and then it is gone.
    fn check_retirement(&self, before: &MigrationPhaseStatus, after: &MigrationPhaseStatus) {
        let retired = |status: &MigrationPhaseStatus| status.finish.as_ref().is_some_and(|it| it.retired.is_some());
        if retired(before) {
            let stays = retired(after) && after.state == Some(PhaseState::Completed) && after.requests.is_none();
            holds("there_is_no_way_back_to_a_retired_legacy", stays || self.past.undecided, || yaml(after));
            return;
        }
        if !retired(after) {
            return;
        }
        holds("legacy_is_retired_by_a_person_only", self.promoted_by(before, after), || yaml(after));
        let retire = &self.spec.finish.as_ref().unwrap().retire_legacy;
        let (long, window) = (retire.after.signed(), retire.window.signed() + SignedDuration::from_secs(2));
        // Of a request after the last answer nothing can be known yet.
        let told = self.past.legacy_seen.last().copied();
        let known = self.past.legacy_asked.iter().filter(|at| told.is_some_and(|told| **at < told));
        let quiet = known.max().is_none_or(|at| self.time.duration_since(*at) >= long);
        holds("one_request_to_legacy_begins_the_count_anew", quiet || self.past.stage.clock_set, || yaml(after));
        let from = self.time - long;
        let seen: Vec<_> = self.past.legacy_seen.iter().copied().filter(|at| *at >= from - window).collect();
        let ends = [from, self.time];
        let whole = seen.iter().zip(seen.iter().skip(1)).all(|(one, next)| next.duration_since(*one) <= window)
            && seen.first().is_some_and(|first| *first <= ends[0] + SignedDuration::from_secs(2))
            && seen.last().is_some_and(|last| ends[1].duration_since(*last) <= window);
        holds("no_data_is_not_no_requests", whole || self.past.stage.clock_set, || format!("{from}: {seen:?}"));
        let gone = self.splits.values().all(|split| split.applied == 100);
        holds("legacy_is_retired_where_it_has_no_traffic", gone || self.blind.contains(&Input::Splits), || yaml(after));
    }

    /// Whether a Promote took effect between the two.
    fn promoted_by(&self, before: &MigrationPhaseStatus, after: &MigrationPhaseStatus) -> bool {
        let new = |uid: &String| after.applied_actions.contains(uid) && !before.applied_actions.contains(uid);
        self.actions.iter().any(|action| action.spec.action == ActionKind::Promote && new(&action.uid))
    }

    fn check_approval(&self, before: &MigrationPhaseStatus, after: &MigrationPhaseStatus) {
        let Some(step) = &before.step else { return };
        let Some(approval) = self.spec.steps.iter().find(|s| s.name == step.name).and_then(|s| s.approval.as_ref())
        else {
            return;
        };
        let past = after.state == Some(PhaseState::Completed)
            || after
                .step
                .as_ref()
                .is_some_and(|next| next.index > step.index && after.state == Some(PhaseState::Running));
        let people: std::collections::BTreeSet<_> = self
            .actions
            .iter()
            .filter(|a| after.applied_actions.contains(&a.uid) && a.spec.step.as_deref() == Some(&step.name))
            .filter(|a| approval.groups.is_empty() || a.spec.groups.iter().any(|g| approval.groups.contains(g)))
            .map(|a| &a.spec.requested_by)
            .collect();
        let enough = i32::try_from(people.len()).unwrap() >= approval.required || self.promoted_by(before, after);
        holds("an_approval_needs_so_many_different_people", !past || enough, || format!("{people:?}"));
    }

    /// What holds of a split's weight on the wire, from one pass of its controller to the next.
    pub fn check_weight(&mut self, before: &SimSplit, after: &SimSplit) {
        let state = self.state();
        let (from, to) = (before.routed, after.routed);
        let what = || format!("{}: {from} → {to} while {state:?}:\n{}", before.name, yaml(&self.stored));
        match state {
            PhaseState::Running => holds("while_running_the_weight_never_falls", to >= from, what),
            PhaseState::RollingBack => holds("while_rolling_back_the_weight_never_rises", to <= from, what),
            PhaseState::Paused => holds("a_pause_changes_no_weight", to == from, what),
            PhaseState::Frozen => holds("a_freeze_changes_no_weight", to == from, what),
            PhaseState::Waiting | PhaseState::RolledBack | PhaseState::Completed | PhaseState::Aborted => {
                holds("a_phase_at_rest_changes_no_weight", to == from, what);
            }
        }
        let allowed = self.past.begun_reversible || self.past.rollback_by_person;
        holds("irreversible_never_lowers_without_a_person", to >= from || allowed, what);
    }

    /// Brings the bystander's knowledge of dead sides up to date; to be called after endpoints, weights or sight changed.
    pub fn note_dead(&mut self) {
        let mut dead = std::collections::BTreeMap::new();
        for split in self.splits.values() {
            for new in [false, true] {
                let (ready, carries) = if new {
                    (split.new_ready, split.applied > 0)
                } else {
                    (split.legacy_ready, split.applied < 100 && split.has_legacy)
                };
                if ready == 0 && carries {
                    let key = (split.name.clone(), new);
                    let so_far = self.past.dead.get(&key).copied().unwrap_or(0);
                    dead.insert(key, so_far);
                }
            }
        }
        self.past.dead = dead;
    }
}
