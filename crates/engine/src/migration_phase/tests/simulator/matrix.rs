//! Every situation × every scene × every kind of action, each reached on purpose, so that no class stays unvisited.

use std::collections::BTreeSet;

use cutover_api::v1alpha1::{
    migration_phase::{Gates, OnFailure, PhaseState},
    phase_action::{ActionKind, RollbackTo},
};

use super::{
    super::fixture::{approved, check, hook, job_check, pointing, secs, spec, step, webhook_check},
    Coverage, Cut, HookEnd, Metric, Scene, Situation, World, yaml,
};

fn world(on_failure: OnFailure) -> World {
    let steps = vec![
        step("few", &[("api", 10), ("web", 5)], &[("basket", 5)], 4),
        approved(step("half", &[("api", 50), ("web", 50)], &[("basket", 50)], 4), 2, &[]),
        step("all", &[("api", 100), ("web", 100)], &[("basket", 100)], 4),
    ];
    let mut spec = spec(steps);
    spec.checks = vec![check("errors"), pointing("health"), webhook_check("orders"), job_check("smoke")];
    spec.gates = Some(Gates { components_ready: true, ..Gates::default() });
    spec.after = vec!["before".into()];
    spec.on_failure = on_failure;
    (spec.shift_timeout, spec.prepare_timeout, spec.dead_after) = (secs(20), secs(20), secs(3));
    spec.rollback.timeout = secs(20);
    World::new(spec, &[("api", 0, 8), ("web", 0, 0)], &[("basket", 0)])
}

fn is(situation: Situation) -> impl Fn(&World) -> bool {
    move |world| Situation::of(world.state(), world.stage()) == situation
}

/// A world in this situation, reached as a user would.
pub fn reach(situation: Situation) -> World {
    let on_failure = if situation == Situation::Frozen { OnFailure::Freeze } else { OnFailure::Rollback };
    let mut world = world(on_failure);
    let to = |world: &mut World, situation| {
        assert!(world.run_until(60, is(situation)), "{situation:?} is not reached:\n{}", yaml(&world.stored));
    };
    match situation {
        Situation::Waiting => {
            world.predecessor = PhaseState::Running;
            world.round();
        }
        Situation::Preparing => {
            world.splits.get_mut("web").unwrap().new_ready = 0;
            world.run(3);
        }
        Situation::Shifting => {
            while !is(Situation::Shifting)(&world) {
                world.sync_all();
                world.reconcile(Cut::Never);
            }
            world.splits.get_mut("web").unwrap().stuck = true;
        }
        Situation::Hooks => {
            world.hooks_end = HookEnd::Never;
            world.spec.steps[0].hooks = vec![hook("smoke"), hook("load")];
            to(&mut world, Situation::Hooks);
            world.run(1);
        }
        Situation::Soaking => to(&mut world, Situation::Soaking),
        Situation::AwaitingApproval => to(&mut world, Situation::AwaitingApproval),
        Situation::Paused => {
            to(&mut world, Situation::AwaitingApproval);
            world.ask(ActionKind::Pause, "alice");
        }
        Situation::RollingBack | Situation::RolledBack => {
            to(&mut world, Situation::AwaitingApproval);
            world.splits.get_mut("web").unwrap().stuck = situation == Situation::RollingBack;
            world.roll_back(RollbackTo::Baseline);
        }
        Situation::Frozen => {
            to(&mut world, Situation::AwaitingApproval);
            world.metric = Metric::Bad;
        }
        Situation::Completed => {
            to(&mut world, Situation::AwaitingApproval);
            world.ask(ActionKind::Approve, "alice");
            world.ask(ActionKind::Approve, "bob");
        }
        Situation::Aborted => {
            to(&mut world, Situation::AwaitingApproval);
            world.ask(ActionKind::Abort, "alice");
        }
    }
    to(&mut world, situation);
    world
}

#[test]
fn every_class_of_situation_scene_and_action_is_visited() {
    let mut total = Coverage::default();
    for situation in Situation::ALL {
        let reached = reach(situation);
        for scene in Scene::ALL {
            for kind in ActionKind::ALL {
                let mut world = reached.clone();
                world.set(scene);
                world.ask(kind, "carol");
                world.run(6);
                if world.state() == PhaseState::Paused {
                    world.ask(ActionKind::Resume, "carol");
                }
                world.run(12);
                total.add(&world.coverage);
            }
        }
    }
    for kind in ["http", "webhook"] {
        for metric in [Metric::Good, Metric::Bad, Metric::Nothing, Metric::Down] {
            assert!(total.answered.get(&(kind, metric)).is_some_and(|count| *count > 0), "never: {kind} {metric:?}");
        }
    }
    for metric in [Metric::Good, Metric::Bad, Metric::Down] {
        assert!(total.answered.get(&("job", metric)).is_some_and(|count| *count > 0), "never by Job: {metric:?}");
    }
    let visited: BTreeSet<_> = total.heard.keys().copied().collect();
    for situation in Situation::ALL {
        assert!(total.visited.get(&situation).is_some_and(|count| *count > 0), "{situation:?} was never visited");
        for scene in Scene::ALL {
            for kind in ActionKind::ALL {
                // A status that was lost is Waiting before anybody can ask.
                let lost = scene == Scene::StatusLost;
                let class = (if lost { Situation::Waiting } else { situation }, kind, Some(scene));
                assert!(visited.contains(&class), "never visited: {class:?}");
            }
        }
    }
}
