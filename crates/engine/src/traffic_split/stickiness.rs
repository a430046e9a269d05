//! Which cookies of a split count: the epoch in their name, and the weights by which clients were dealt to sides in it. Pure.
//!
//! - Within an epoch the weight only grows. Whatever else happens to it begins another, whose cookies have another name.
//! - At 0 and at the total nobody is dealt: routes bear no stickiness then, and what comes next is dealt under a name that is new.
//! - A lost status must not bring an old name back, so that a new epoch is never behind the clock.

use cutover_api::v1alpha1::{
    TrafficSplitSpec,
    traffic_split::{StickinessStatus, TrafficSplitStatus},
};
use jiff::Timestamp;

use super::weight::Wanted;

/// Weights that are told apart: the one in force and those before it.
const KEPT: usize = 4;

/// What counts once the weights that are wanted are in force. It is on record before a route goes by it.
pub(super) fn of(
    spec: &TrafficSplitSpec,
    status: &TrafficSplitStatus,
    wanted: &Wanted,
    now: Timestamp,
) -> Option<StickinessStatus> {
    spec.stickiness.as_ref()?;
    // Routers that are behind are not at the weight in force, and stick to nothing until they are.
    match wanted.next.iter().max().filter(|_| wanted.desired.is_some()) {
        Some(weight) => Some(next(status.stickiness.as_ref(), *weight, spec.weight_total, now)),
        None => status.stickiness.clone(),
    }
}

/// What counts from `weight` on.
pub(crate) fn next(known: Option<&StickinessStatus>, weight: i32, total: i32, now: Timestamp) -> StickinessStatus {
    let dealt = if (1..total).contains(&weight) { vec![weight] } else { Vec::new() };
    let Some(known) = known else { return StickinessStatus { epoch: now.as_second(), dealt } };
    let raised = |dealt| StickinessStatus { epoch: known.epoch.saturating_add(1).max(now.as_second()), dealt };
    match (known.dealt.iter().max(), dealt.is_empty()) {
        (None, true) => known.clone(),
        (Some(_), true) => raised(dealt),
        (Some(highest), false) if weight < *highest => raised(dealt),
        (Some(highest), false) if weight == *highest => known.clone(),
        (_, false) => {
            let older = known.dealt.len().saturating_sub(KEPT - 1);
            let dealt = known.dealt.iter().skip(older).copied().chain(dealt).collect();
            StickinessStatus { epoch: known.epoch, dealt }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn walk(weights: &[i32]) -> Vec<(i64, Vec<i32>)> {
        let mut known = None;
        let step = |weight: &i32| {
            let next = next(known.as_ref(), *weight, 100, at(50));
            known = Some(next.clone());
            (next.epoch, next.dealt)
        };
        weights.iter().map(step).collect()
    }

    #[test]
    fn a_growing_weight_stays_in_its_epoch_and_any_other_move_ends_it() {
        let walked = walk(&[0, 30, 30, 60, 100, 100, 90, 0, 0, 5, 4]);
        let wanted = [
            (50, vec![]),
            (50, vec![30]),
            (50, vec![30]),
            (50, vec![30, 60]),
            (51, vec![]),
            (51, vec![]),
            (51, vec![90]),
            (52, vec![]),
            (52, vec![]),
            (52, vec![5]),
            (53, vec![4]),
        ];
        assert_eq!(walked, wanted);
    }

    #[test]
    fn the_latest_weights_are_told_apart() {
        assert_eq!(walk(&[10, 20, 30, 40, 50]).pop(), Some((50, vec![20, 30, 40, 50])));
    }

    proptest! {
        #[test]
        fn no_name_of_a_cookie_comes_back(
            moves in prop::collection::vec((0..=100_i32, any::<bool>()), 1..60),
        ) {
            let (mut known, mut second): (Option<StickinessStatus>, i64) = (None, 1_000);
            // By epoch, the weights that were dealt under its name.
            let mut under: std::collections::BTreeMap<i64, i32> = std::collections::BTreeMap::new();
            for (weight, lost) in moves {
                // A status that is lost is found missing later than it was last written, by more than the falls within a second.
                second += if lost { 100 } else { 0 };
                let found = next(known.as_ref().filter(|_| !lost), weight, 100, at(second));
                prop_assert!(found.dealt.len() <= KEPT);
                prop_assert!(found.dealt.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(found.dealt.last().copied(), (1..100).contains(&weight).then_some(weight));
                prop_assert_eq!(&next(Some(&found), weight, 100, at(second + 9)), &found, "at rest nothing changes");
                if let Some(weight) = found.dealt.last() {
                    let before = under.insert(found.epoch, *weight);
                    prop_assert!(before.is_none_or(|before| before <= *weight), "{:?} after {:?}", found, before);
                    if lost {
                        prop_assert_eq!(before, None, "a name of before the loss");
                    }
                }
                known = Some(found);
            }
        }
    }
}
