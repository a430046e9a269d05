//! What routers have in common whose objects say nothing in their status: whose the objects are, and how a plan ends.

use cutover_api::labels;
use serde_json::{Map, Value};

use super::{
    compare,
    contract::{Intent, ObjectKind, Problem, RouteStep, RouterPlan},
    marks::{self, Claim},
    shares,
    view::{Meta, WholeView},
};

/// What is to be written, and what stands against it.
pub(super) struct Outcome {
    pub(super) steps: Vec<RouteStep>,
    pub(super) problem: Option<Problem>,
    /// Nothing is left to be written, now or later.
    pub(super) last: bool,
}

impl Outcome {
    pub(super) fn refused(problem: Problem) -> Self {
        Self { steps: Vec::new(), problem: Some(problem), last: false }
    }

    fn unfinished(steps: Vec<RouteStep>) -> Self {
        Self { steps, problem: None, last: false }
    }

    /// The plan that it makes. What others keep changing is left alone.
    pub(super) fn conclude(self, plan: &mut RouterPlan, backed_off: bool) {
        let Self { steps, problem, last } = self;
        plan.settled = last && steps.is_empty();
        plan.problem = problem;
        match steps.first() {
            Some(step) if backed_off => {
                plan.problem.get_or_insert_with(|| marks::contended(step.kind(), step.name()));
            }
            _ => plan.steps = steps,
        }
    }
}

/// What is to be done before a managed router's objects may be what the intent says: theirs are refused, those left behind are adopted, what
/// is being deleted is awaited, and a split without routes has none. `objects`: those that are there, the way in first.
pub(super) fn before(intent: &Intent<'_>, objects: &[(ObjectKind, &Meta)]) -> Option<Outcome> {
    let split = &intent.split;
    let claimed = |claim| objects.iter().filter(move |(_, meta)| marks::claim(meta, split) == claim);
    if let Some((kind, meta)) = claimed(Claim::Foreign).next() {
        return Some(Outcome::refused(marks::exists(*kind, meta)));
    }
    let left_behind = claimed(Claim::Adoptable).filter(|(_, meta)| !meta.deleting);
    let adopted: Vec<_> = left_behind.map(|(kind, meta)| marks::adopt(*kind, meta, split)).collect();
    if !adopted.is_empty() || objects.iter().any(|(_, meta)| meta.deleting) {
        return Some(Outcome::unfinished(adopted));
    }
    if !intent.exposed || shares::served_by_nobody(intent) {
        let steps = objects.iter().map(|(kind, meta)| marks::delete(*kind, meta)).collect();
        return Some(Outcome { steps, problem: None, last: true });
    }
    None
}

/// The request that makes the object be what is wanted; `None` if it is. `meaningful`: fields that nobody else may add.
pub(super) fn write(
    intent: &Intent<'_>,
    kind: ObjectKind,
    name: &str,
    spec: Value,
    baseline: Option<&str>,
    observed: Option<&WholeView>,
    meaningful: &[&str],
) -> Option<RouteStep> {
    if let Some(observed) = observed {
        let found = observed.spec.value();
        if let Some(strays) = compare::strays(&found, &spec, meaningful) {
            return Some(marks::patch_spec(kind, &observed.meta, &strays));
        }
        if compare::is_same(&found, &spec, meaningful) && observed.meta.baseline.as_deref() == baseline {
            return None;
        }
    }
    let annotations = baseline.map(|baseline| (labels::BASELINE.to_owned(), baseline.to_owned()));
    let metadata = marks::metadata(&intent.split, name, &[], annotations);
    let body = Map::from_iter([("metadata".to_owned(), metadata), ("spec".to_owned(), spec)]);
    Some(marks::apply(kind, name, body, observed.map(|it| &it.meta)))
}
