//! The way back from a step: a copy of the world is harmed, and followed until the phase has come to rest.

use cutover_api::v1alpha1::{migration_phase::PhaseState, phase_action::ActionKind, traffic_split::Exposure};
use jiff::Timestamp;

use super::{
    checks::notice,
    forecast::{Change, WayBack},
    world::{Harm, World},
};

/// Instants of one way back.
const MOST_INSTANTS: usize = 20_000;

/// What harm that begins now would lead to, for the phase at `index`.
pub(super) fn follow(world: &World, index: usize) -> Option<WayBack> {
    let mut copy = world.clone();
    copy.forks = false;
    // What else runs is not part of this way back.
    let mut position = 0;
    copy.phases.retain(|_| {
        position += 1;
        position - 1 == index
    });
    let name = copy.phases.first()?.identity.name.clone();
    let (shift, back) = copy.phases.first().map(|phase| (phase.spec.shift_timeout, phase.spec.rollback.timeout))?;
    let before = weights(&copy);
    let began = copy.now;
    let harm = inject(&mut copy, &name);
    let looks = copy.harm != Harm::None;
    let noticed = looks.then(|| run_until(&mut copy, |state| state != PhaseState::Running)).flatten();
    let noticed = noticed.filter(|_| state(&copy) != PhaseState::Completed);
    let noticed_after = noticed.map(|at| at.duration_since(began));
    let automatic = noticed.is_some() && state(&copy) != PhaseState::Frozen;
    if !automatic {
        let now = copy.now;
        copy.harm = Harm::None;
        copy.phases.first_mut()?.ask(ActionKind::Rollback, "a-person", Vec::new(), now);
        copy.settle();
    }
    let from = copy.now;
    let back_at = run_until(&mut copy, |state| state == PhaseState::RolledBack);
    let worst = noticed_after.unwrap_or_default().max(shift.signed()).saturating_add(back.signed());
    Some(WayBack {
        harm,
        noticed_after_seconds: noticed_after.map(|after| after.as_secs()),
        automatic,
        back_after_seconds: back_at.map(|at| at.duration_since(from).as_secs()),
        at_worst_seconds: automatic.then(|| worst.as_secs()),
        state: state(&copy),
        undoes: undone(&before, &weights(&copy)),
    })
}

fn inject(world: &mut World, phase: &str) -> &'static str {
    let checked = world.phases.first().is_some_and(|phase| notice(phase.checks_in_force()));
    let running = world.phases.first().is_some_and(|phase| phase.state() == PhaseState::Running);
    let moved: Vec<_> =
        world.phases.first().into_iter().flat_map(|phase| &phase.spec.steps).flat_map(|step| &step.traffic).collect();
    let moved = |name: &String| moved.iter().any(|target| target.split == *name);
    let dead: Vec<_> = world
        .splits
        .iter()
        .filter(|(name, split)| moved(name) && split.weight > 0)
        .map(|(name, _)| name.clone())
        .collect();
    if !running {
        "nothing looks any more: the phase is at rest"
    } else if checked {
        world.harm = Harm::Checks(phase.to_owned());
        "a check fails"
    } else if !dead.is_empty() {
        world.harm = Harm::DeadSide;
        world.splits.iter_mut().filter(|(name, _)| dead.contains(name)).for_each(|(_, split)| split.new_ready = 0);
        "the new side has no ready endpoint"
    } else {
        "nothing looks: no check, and no traffic on the new side"
    }
}

fn state(world: &World) -> PhaseState {
    world.phases.first().map_or(PhaseState::Waiting, super::world::SimPhase::state)
}

/// Runs until the phase is in such a state.
fn run_until(world: &mut World, there: impl Fn(PhaseState) -> bool) -> Option<Timestamp> {
    for _ in 0..MOST_INSTANTS {
        world.settle();
        if there(state(world)) {
            return Some(world.now);
        }
        world.now = world.next_instant()?;
    }
    None
}

fn weights(world: &World) -> Vec<Change> {
    let change = |kind, name: &String, share, of, hidden| Change {
        kind,
        name: name.clone(),
        from: share,
        to: share,
        of,
        exposed: false,
        hidden,
    };
    let splits = world.splits.iter().map(|(name, split)| {
        change("TrafficSplit", name, split.weight, split.weight_total, split.exposure == Exposure::Hidden)
    });
    let flags = world.flags.iter().map(|(name, flag)| change("FeatureFlag", name, flag.percent, 100, false));
    splits.chain(flags).collect()
}

fn undone(before: &[Change], after: &[Change]) -> Vec<Change> {
    let pairs = before.iter().zip(after).filter(|(before, after)| before != after);
    pairs.map(|(before, after)| Change { from: before.from, ..after.clone() }).collect()
}
