//! Whether a side can take the share that a step gives it, by the split's own rules.

use super::observed::SplitView;
use crate::traffic_split::capacity::{Capacities, Missing, SideCapacity, reach};

/// What is lacking for the way of the new side's weight from `from` to `to`. Nothing if the endpoints have not been counted: that is not
/// known to be too few.
pub(super) fn lacking(view: &SplitView, from: i32, to: i32, force: bool) -> Option<Missing> {
    reach(from, to, &capacities(view)?, force).missing
}

/// Whether some of the way back from `from` to `to` is open now.
pub(super) fn some_way_back(view: &SplitView, from: i32, to: i32) -> bool {
    capacities(view).is_some_and(|capacities| reach(from, to, &capacities, false).weight < from)
}

fn capacities(view: &SplitView) -> Option<Capacities> {
    let legacy =
        if view.has_legacy { Some(SideCapacity::new(view.legacy_ready?, view.safety.legacy.as_ref())) } else { None };
    let new = SideCapacity::new(view.new_ready?, view.safety.new.as_ref());
    Some(Capacities { weight_total: view.weight_total, legacy, new })
}
