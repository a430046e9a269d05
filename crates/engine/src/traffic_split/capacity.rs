//! How far a weight may move, given the ready endpoints of both sides.
//!
//! Forward (toward the new side) it is all or nothing: the new side must be able to carry the whole share that is
//! asked. Backward it goes as far as the legacy side can carry, and on as endpoints appear. What is in force already is
//! never taken back for want of capacity: a missing endpoint moves nothing by itself.

use cutover_api::v1alpha1::traffic_split::{Capacity, Side};

/// Ready endpoints and the demands on them, of both sides of one split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// What both weights add up to.
    pub weight_total: i32,
    /// The legacy side; `None` where only the new side serves.
    pub legacy: Option<SideCapacity>,
    /// The new side.
    pub new: SideCapacity,
}

/// Ready endpoints of one side and the demands on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideCapacity {
    /// Ready endpoints.
    pub ready: i32,
    /// See [`Capacity::min_ready_endpoints`].
    pub min_ready: i32,
    /// See [`Capacity::full_capacity_endpoints`].
    pub full: i32,
}

impl Capacities {
    /// Whether the side that is left on the way from one weight to another has no ready endpoint, and the other has: nobody is served
    /// better by going slowly.
    pub(super) fn leaves_the_dead(&self, from: i32, target: i32) -> bool {
        let legacy = self.legacy.map_or(0, |legacy| legacy.ready);
        let (left, other) = if target > from { (legacy, self.new.ready) } else { (self.new.ready, legacy) };
        left <= 0 && other > 0
    }
}

impl SideCapacity {
    /// `ready` endpoints judged by what the spec demands, or by the default.
    #[must_use]
    pub fn new(ready: i32, demanded: Option<&Capacity>) -> Self {
        let Capacity { min_ready_endpoints, full_capacity_endpoints, probe: _ } = demanded.cloned().unwrap_or_default();
        Self { ready, min_ready: min_ready_endpoints, full: full_capacity_endpoints }
    }

    /// Ready endpoints that a share of `weight` of `total` needs.
    fn needed(self, weight: i32, total: i32) -> i32 {
        if weight <= 0 || total <= 0 {
            return 0;
        }
        let by_share = (i64::from(self.full) * i64::from(weight) + i64::from(total) - 1) / i64::from(total);
        self.min_ready.max(i32::try_from(by_share).unwrap_or(i32::MAX))
    }

    /// The greatest weight of `total` that the ready endpoints can carry.
    fn carries(self, total: i32) -> i32 {
        if self.ready < self.min_ready {
            return 0;
        }
        if self.full <= 0 {
            return total;
        }
        let carried = i64::from(self.ready.max(0)) * i64::from(total) / i64::from(self.full);
        i32::try_from(carried).unwrap_or(total).min(total)
    }
}

/// What a side lacks for a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The side that would receive.
    pub side: Side,
    /// Ready endpoints it has.
    pub ready: i32,
    /// Ready endpoints it would need.
    pub needed: i32,
    /// The share it would have, in parts of `total`.
    pub share: i32,
    /// What both weights add up to.
    pub total: i32,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { side, ready, needed, share, total } = self;
        let side = match side {
            Side::Legacy => "legacy",
            Side::New => "new",
        };
        write!(
            f,
            "the {side} side has {ready} ready endpoints and needs {needed} for {share} of {total}: start more of them, or lower safety.{side}"
        )
    }
}

/// A weight to go to now, and what bars the rest of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Weight of the new side to go to now.
    pub weight: i32,
    /// What is missing for the rest.
    pub missing: Option<Missing>,
}

/// How far the weight of the new side may go from `from` toward `target`. `force` asks for the whole way back whatever
/// the legacy side can carry.
#[must_use]
pub fn reach(from: i32, target: i32, capacities: &Capacities, force: bool) -> Reach {
    match target.cmp(&from) {
        std::cmp::Ordering::Equal => Reach { weight: target, missing: None },
        std::cmp::Ordering::Greater => forward(from, target, capacities),
        std::cmp::Ordering::Less => backward(from, target, capacities, force),
    }
}

fn forward(from: i32, target: i32, capacities: &Capacities) -> Reach {
    let (new, total) = (capacities.new, capacities.weight_total);
    let needed = new.needed(target, total);
    let missing = Missing { side: Side::New, ready: new.ready, needed, share: target, total };
    if new.ready >= needed {
        Reach { weight: target, missing: None }
    } else {
        Reach { weight: from, missing: Some(missing) }
    }
}

fn backward(from: i32, target: i32, capacities: &Capacities, force: bool) -> Reach {
    let total = capacities.weight_total;
    let whole = Reach { weight: target, missing: None };
    // Without a legacy side nobody receives anything: going back means having no route.
    let Some(legacy) = capacities.legacy else { return whole };
    // A side without endpoints serves nobody: whatever the other can do is better.
    let left_side_is_dead = capacities.new.ready <= 0 && legacy.ready > 0;
    if force || left_side_is_dead {
        return whole;
    }
    let lowest = total - legacy.carries(total);
    let weight = target.max(lowest).min(from);
    let share = total - target;
    let missing = (weight > target).then(|| Missing {
        side: Side::Legacy,
        ready: legacy.ready,
        needed: legacy.needed(share, total),
        share,
        total,
    });
    Reach { weight, missing }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn side(ready: i32, min_ready: i32, full: i32) -> SideCapacity {
        SideCapacity { ready, min_ready, full }
    }

    fn both(legacy: SideCapacity, new: SideCapacity) -> Capacities {
        Capacities { weight_total: 100, legacy: Some(legacy), new }
    }

    #[rstest]
    #[case::share_fits(side(1, 1, 10), 5, 5)]
    #[case::share_rounded_up(side(1, 1, 10), 11, 0)]
    #[case::exactly_enough(side(5, 1, 10), 50, 50)]
    #[case::one_short(side(4, 1, 10), 50, 0)]
    #[case::nobody_there(side(0, 1, 0), 1, 0)]
    #[case::nothing_demanded(side(0, 0, 0), 100, 100)]
    #[case::minimum_above_share(side(2, 3, 10), 5, 0)]
    fn forward_is_all_or_nothing(#[case] new: SideCapacity, #[case] target: i32, #[case] expected: i32) {
        let reach = reach(0, target, &both(side(9, 1, 0), new), false);
        assert_eq!(reach.weight, expected);
        assert_eq!(reach.missing.is_some(), expected != target);
    }

    #[rstest]
    #[case::all_of_it(side(10, 1, 10), 0)]
    #[case::half_of_it(side(5, 1, 10), 50)]
    #[case::rounded_down(side(3, 1, 9), 67)]
    #[case::less_than_it_has_already(side(1, 1, 10), 80)]
    #[case::below_the_minimum(side(1, 2, 0), 80)]
    #[case::dead(side(0, 1, 0), 80)]
    #[case::not_judged_by_share(side(1, 1, 0), 0)]
    fn backward_goes_as_far_as_it_can(#[case] legacy: SideCapacity, #[case] expected: i32) {
        let reach = reach(80, 0, &both(legacy, side(5, 1, 10)), false);
        assert_eq!(reach.weight, expected);
        assert_eq!(reach.missing.is_some(), expected != 0);
    }

    #[rstest]
    #[case::dead_new_side(side(1, 5, 50), side(0, 1, 0), false, 0)]
    #[case::forced(side(0, 5, 50), side(9, 1, 0), true, 0)]
    #[case::both_dead(side(0, 1, 0), side(0, 1, 0), false, 100)]
    fn a_dead_side_is_left_for_any_endpoint(
        #[case] legacy: SideCapacity,
        #[case] new: SideCapacity,
        #[case] force: bool,
        #[case] expected: i32,
    ) {
        assert_eq!(reach(100, 0, &both(legacy, new), force).weight, expected);
    }

    #[test]
    fn what_is_missing_is_named_with_numbers() {
        let missing = reach(100, 0, &both(side(2, 1, 4), side(3, 1, 0)), false).missing.unwrap();
        assert_eq!(
            missing.to_string(),
            "the legacy side has 2 ready endpoints and needs 4 for 100 of 100: start more of them, or lower safety.legacy"
        );
    }

    fn any_side() -> impl Strategy<Value = SideCapacity> {
        (0..12, 0..6, 0..12).prop_map(|(ready, min_ready, full)| side(ready, min_ready, full))
    }

    proptest! {
        #[test]
        fn it_stays_between_where_it_is_and_where_it_goes(
            from in 0..=100, target in 0..=100, legacy in any_side(), new in any_side(), force: bool,
        ) {
            let reach = reach(from, target, &both(legacy, new), force);
            prop_assert!((from.min(target)..=from.max(target)).contains(&reach.weight));
            prop_assert_eq!(reach.missing.is_none(), reach.weight == target);
        }

        #[test]
        fn a_side_never_grows_beyond_its_capacity(
            from in 0..=100, target in 0..=100, legacy in any_side(), new in any_side(),
        ) {
            let weight = reach(from, target, &both(legacy, new), false).weight;
            if weight > from {
                prop_assert!(new.ready >= new.min_ready);
                prop_assert!(i64::from(new.ready) * 100 >= i64::from(new.full) * i64::from(weight));
            }
            if weight < from && new.ready > 0 {
                prop_assert!(legacy.ready >= legacy.min_ready);
                prop_assert!(i64::from(legacy.ready) * 100 >= i64::from(legacy.full) * i64::from(100 - weight));
            }
        }

        #[test]
        fn going_on_from_where_it_stopped_leads_no_further(
            from in 0..=100, target in 0..=100, legacy in any_side(), new in any_side(),
        ) {
            let capacities = both(legacy, new);
            let first = reach(from, target, &capacities, false);
            prop_assert_eq!(reach(first.weight, target, &capacities, false), first);
        }
    }
}
