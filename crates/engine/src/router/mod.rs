//! Routers: what is written to the route objects of a split, and what is read back from them.
//!
//! Pure: `(router, intent, observed route objects) -> steps`, and `observed -> weight`. One folder per router; the I/O is
//! elsewhere and the same for all. The caller carries a plan's steps out in order, stops at the first error, puts every
//! answer of the API server in the place of what it had observed, and plans again until a plan has no steps. Moves that
//! have to be *observed* before the next one (a complete cutover on Ingress, say) are therefore never in one plan.
//!
//! ```text
//! loop { let plan = router::plan(router, &intent, &observed);
//!        if plan.steps.is_empty() { break plan }
//!        for step in plan.steps { observed.replace(send(step)?) } }
//! ```
//!
//! - [`plan`]`(router, intent, observed) -> RouterPlan`;
//! - [`read_weight`]`(router, split, weight_total, observed) -> Option<i32>`: the weight that the split's own (or a released,
//!   adoptable) route carries: what a split whose status is lost goes by. `None` without such a route.
//! - [`release`]`(router, split, observed) -> Vec<RouteStep>`: for `onDelete: Release`; empty when done.
//! - [`remove`]`(router, split, observed) -> Vec<RouteStep>`: for `onDelete: Delete` and for a split that is hidden again; empty when done.
//!
//! A released route needs no call of its own to be adopted: `plan` does it. A plan compares only the fields that we own, so that an object that carries the intent is never written again.

pub mod contract;
pub mod names;
pub mod view;

pub use contract::{
    AliasReady, Backend, EndpointCopy, GatewayObserved, IngressObserved, Intent, ObjectKind, Observed, Problem,
    ReadBack, RouteStep, RouterPlan, SideBackend, Sides, SplitRef,
};
pub use names::{alias_name, canary_name, route_name};
pub use view::{EndpointSliceView, GatewayClassView, GatewayView, HttpRouteView, IngressView, Meta, ServiceView, View};
