//! Random walks.

use cutover_api::{
    HumanDuration,
    conditions::reasons,
    v1alpha1::{
        MigrationPhaseSpec,
        environment::ChecklistItem,
        migration_phase::{
            AutomaticRollbackTo, Finish, Gates, NoDataPolicy, OnFailure, PhaseHooks, PhaseState, Promotion,
            RetireLegacy, SchemaRange, StepApproval,
        },
        phase_action::{ActionKind, RollbackTo},
    },
};
use proptest::{collection::vec, prelude::*, test_runner::Config};

use super::{
    super::fixture::{check, hook, job_check, migration, pointing, secs, spec, step},
    Cut, World, holds,
    ops::{Op, PROMOTED_WITHIN, op},
    yaml,
};

const SPLITS: [&str; 3] = ["api", "shop", "web"];
const FLAGS: [&str; 2] = ["basket", "search"];

prop_compose! {
    /// Weights that do not fall, one row per step.
    fn rising(columns: usize)(steps in 1_usize..4)(rows in vec(vec(0_i32..=100, columns), steps)) -> Vec<Vec<i32>> {
        let mut rows = rows;
        for column in 0..columns {
            let mut values: Vec<_> = rows.iter().map(|row| row[column]).collect();
            values.sort_unstable();
            for (row, value) in rows.iter_mut().zip(values) {
                row[column] = value;
            }
        }
        rows
    }
}

prop_compose! {
    fn a_spec(splits: usize, flags: usize)(
        rows in rising(splits + flags),
        soaks in vec(0_u64..12, 4),
        approvals in vec(proptest::option::of((1_i32..3, any::<bool>())), 4),
        (checks, dry_run, over_http) in (0_usize..3, prop::bool::weighted(0.3), any::<bool>()),
        (fail_after, warmup, no_data) in (1_i32..4, proptest::option::of(0_u64..6), 0_u8..3),
        (freeze, previous, reversible) in (prop::bool::weighted(0.2), any::<bool>(), prop::bool::weighted(0.8)),
        (gated, ranged, after) in (any::<bool>(), prop::bool::weighted(0.3), any::<bool>()),
        (people, promoted, finish) in (proptest::option::weighted(0.3, 1_i32..3), prop::bool::weighted(0.3), proptest::option::weighted(0.4, (1_u64..12, 0_u64..8))),
        (shift, dead, back) in (10_u64..60, 1_u64..8, 15_u64..60),
        hooked in (0_usize..2, 0_usize..2, 0_usize..2, vec(prop_oneof![2 => Just(0_usize), 1 => 1_usize..3], 4)),
        migrated in (proptest::option::weighted(0.3, any::<bool>()), proptest::option::weighted(0.3, any::<bool>())),
    ) -> MigrationPhaseSpec {
        let steps = rows.iter().enumerate().map(|(i, row)| {
            let traffic: Vec<_> = SPLITS.into_iter().zip(row.iter().copied()).take(splits).collect();
            let moved: Vec<_> = FLAGS.into_iter().zip(row[splits..].iter().copied()).collect();
            let mut step = step(&format!("step-{i}"), &traffic, &moved, soaks[i]);
            step.hooks = (0..hooked.3[i]).map(|i| hook(&format!("hook-{i}"))).collect();
            step.approval = approvals[i].map(|(required, grouped)| StepApproval {
                required,
                groups: if grouped { vec!["owners".into()] } else { vec![] },
            });
            step
        });
        let mut spec = spec(steps.collect());
        spec.checks = (0..checks).map(|i| {
            let name = format!("check-{i}");
            let mut check = match (i, over_http) {
                (1, true) => pointing(&name),
                (1, false) if migrated.0.is_some() => job_check(&name),
                _ => check(&name),
            };
            check.fail_after = fail_after;
            check.dry_run = dry_run && i == 0;
            check.warmup = warmup.map(secs);
            check.no_data = [NoDataPolicy::Wait, NoDataPolicy::Pass, NoDataPolicy::Fail][usize::from(no_data)];
            check
        }).collect();
        let hooks = |count: usize| (0..count).map(|i| hook(&format!("hook-{i}"))).collect();
        let mut before: Vec<_> = hooks(hooked.0);
        before.extend(migrated.0.map(|undone| migration("expand", 44, undone)));
        let in_step = migrated.1.map(|undone| migration("contract", 45, undone));
        spec.steps[0].hooks.extend(in_step);
        spec.hooks = Some(PhaseHooks { before, after: hooks(hooked.1), on_rollback: hooks(hooked.2) });
        spec.on_failure = if freeze { OnFailure::Freeze } else { OnFailure::Rollback };
        spec.rollback.to = if previous { AutomaticRollbackTo::PreviousStep } else { AutomaticRollbackTo::Baseline };
        spec.rollback.timeout = secs(back);
        spec.reversible = reversible;
        let approvals = people.map(|required| StepApproval { required, groups: vec!["owners".into()] });
        let schema = ranged.then_some(SchemaRange { min: Some(42), max: Some(45) });
        let promoted_from = promoted.then(|| Promotion {
            namespace: Some("shop-staging".into()),
            phase: "phase".into(),
            within: HumanDuration::from_secs(PROMOTED_WITHIN.as_secs().unsigned_abs()),
        });
        let checklist = if ranged { vec![ChecklistItem::LoadTestPassed, ChecklistItem::TeamTrained] } else { vec![] };
        spec.gates = (gated || ranged || promoted || people.is_some())
            .then(|| Gates { components_ready: gated, approvals, schema, promoted_from, checklist, ..Gates::default() });
        if let Some((quiet, more)) = finish {
            spec.steps.last_mut().unwrap().traffic.iter_mut().for_each(|target| target.new_weight = 100);
            let retire_legacy = RetireLegacy {
                after: secs(quiet),
                requests: "sum(increase(requests{system=\"$system\"}[$window]))".into(),
                max_requests: 0,
                window: secs(5 + more),
                interval: secs(2),
            };
            spec.finish = Some(Finish { retire_legacy });
        }
        spec.after = if after { vec!["before".into()] } else { vec![] };
        spec.shift_timeout = secs(shift);
        spec.prepare_timeout = secs(30);
        spec.dead_after = secs(dead);
        spec
    }
}

prop_compose! {
    fn a_world()(splits in 1_usize..=3, flags in 0_usize..=2)(
        spec in a_spec(splits, flags),
        starts in vec(prop_oneof![3 => Just(0), 1 => 0_i32..30], splits),
        full in prop_oneof![Just(0), Just(4), Just(8)],
        flags in Just(flags),
        monitored in any::<bool>(),
    ) -> (MigrationPhaseSpec, Vec<i32>, i32, usize, bool) {
        (spec, starts, full, flags, monitored)
    }
}

fn world((spec, starts, full, flags, monitored): (MigrationPhaseSpec, Vec<i32>, i32, usize, bool)) -> World {
    let weights: Vec<_> = SPLITS.into_iter().zip(starts).map(|(name, at)| (name, at, full)).collect();
    let percents: Vec<_> = FLAGS.into_iter().take(flags).map(|name| (name, 0)).collect();
    let mut world = World::new(spec, &weights, &percents);
    world.images.insert("api".into(), "api:0".into());
    world.promote_elsewhere();
    world.monitored = monitored;
    world.reconcile(Cut::Never);
    if world.spec.gates.as_ref().is_some_and(|gates| gates.approvals.is_some()) {
        for who in ["alice", "bob"] {
            world.approve_start(who);
        }
    }
    world
}

fn walk(world: &mut World, ops: &[Op]) {
    for op in ops {
        world.apply(op);
    }
    world.mend();
    world.mend_spec();
    world.note_dead();
}

fn config(cases: u32) -> Config {
    let default = Config::default();
    // `PROPTEST_CASES` asks for more.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 400, ..default }
}

fn failed_for(world: &World, reason: &str) -> bool {
    world.stored.failure.as_ref().is_some_and(|failure| failure.reason == reason)
}

/// Drives a phase to an end by the actions that a person would take.
fn lead_to_an_end(world: &mut World) -> bool {
    for _ in 0..6 {
        match world.state() {
            PhaseState::Completed | PhaseState::RolledBack => return true,
            // The traffic is back; what became of a Job on the way nobody knows, and the next attempt asks for its own.
            PhaseState::Frozen if failed_for(world, reasons::HOOK_UNKNOWN) => _ = world.ask(ActionKind::Retry, "alice"),
            _ => _ = world.roll_back(RollbackTo::Legacy),
        }
        world.run(5);
    }
    matches!(world.state(), PhaseState::Completed | PhaseState::RolledBack)
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn from_every_reachable_state_a_person_can_lead_it_to_an_end(start in a_world(), ops in vec(op(), 1..60)) {
        let mut world = world(start);
        walk(&mut world, &ops);
        let ended = lead_to_an_end(&mut world);
        holds("from_every_reachable_state_a_person_can_lead_it_to_an_end", ended, || yaml(&world.stored));
    }

    #[test]
    fn harm_with_the_way_back_open_leads_to_the_target(start in a_world(), ops in vec(op(), 1..40)) {
        let mut world = world(start);
        walk(&mut world, &ops);
        world.edit(|spec| {
            spec.on_failure = OnFailure::Rollback;
            spec.reversible = true;
        });
        world.round();
        let moved = world.stored.requests.iter().flat_map(|requests| &requests.splits);
        let victim = moved.filter_map(|request| world.splits.get(&request.split)).find(|split| split.routed > 0);
        // Whose status was lost may run again towards a legacy side that is retired.
        let open = world.splits.values().all(|split| !split.retired);
        let armed = open && world.state() == PhaseState::Running && world.stored.baseline.is_some();
        if let Some(name) = victim.filter(|_| armed).map(|split| split.name.clone()) {
            let target = world.stored.baseline.clone().unwrap();
            world.splits.get_mut(&name).unwrap().new_ready = 0;
            world.note_dead();
            let to_previous = world.spec.rollback.to == AutomaticRollbackTo::PreviousStep;
            // deadAfter, the flags' ten seconds, and a few passes.
            let back = world.run_until(40, |world| world.state() == PhaseState::RolledBack);
            holds("harm_with_the_way_back_open_leads_to_the_target", back, || yaml(&world.stored));
            let there = target.splits.iter().all(|goal| {
                let at = world.splits[&goal.split].routed;
                goal.new_weight.is_some_and(|weight| at <= weight || to_previous)
            });
            holds("harm_with_the_way_back_open_leads_to_the_target", there, || format!("{target:?}"));
        }
    }

    #[test]
    fn a_phase_that_nothing_disturbs_completes(start in a_world()) {
        let mut world = world(start);
        let reaches = |split: &str, spec: &MigrationPhaseSpec| {
            spec.steps.iter().filter_map(|step| step.traffic.iter().find(|t| t.split == split)).map(|t| t.new_weight).max()
        };
        // A start above the first step is a hold of its own.
        let first = world.spec.steps[0].clone();
        for target in &first.traffic {
            let split = world.splits.get_mut(&target.split).unwrap();
            let at = split.routed.min(target.new_weight);
            (split.routed, split.desired, split.applied) = (at, at, at);
        }
        for _ in 0..12 {
            if world.run_until(20, |world| world.state() == PhaseState::Completed) {
                break;
            }
            for who in ["alice", "bob"] {
                if world.stage() == Some(cutover_api::v1alpha1::migration_phase::Stage::AwaitingApproval) {
                    world.ask(ActionKind::Approve, who);
                    world.run(1);
                }
            }
        }
        let completed = world.state() == PhaseState::Completed;
        holds("a_phase_that_nothing_disturbs_completes", completed, || yaml(&world.stored));
        for split in world.splits.values() {
            let reached = Some(split.routed) == reaches(&split.name, &world.spec);
            holds("a_phase_that_nothing_disturbs_completes", reached, || format!("{split:?}"));
        }
        if let Some(finish) = world.spec.finish.clone() {
            let window = u32::try_from(finish.retire_legacy.window.as_secs() + finish.retire_legacy.after.as_secs());
            world.run(window.unwrap() + 6);
            world.ask(ActionKind::Promote, "alice");
            world.run(1);
            let retired = world.stored.finish.as_ref().is_some_and(|finish| finish.retired.is_some());
            holds("a_quiet_legacy_is_retired_when_a_person_says_so", retired, || yaml(&world.stored));
        }
    }
}
