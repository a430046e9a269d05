//! Splits that lead to one side, of which each says otherwise how it is asked. Traefik keeps that by the Service and its port, for all who lead
//! there: what one of them says would count for the others, or not count, as it happens.

use cutover_api::{
    conditions::reasons,
    v1alpha1::{
        TrafficSplitSpec,
        traffic_split::{Backend, CircuitBreaker, Retries, Timeouts},
    },
};

use super::conflict::Claimant;
use crate::{conditions::Health, router::Problem};

/// What an older split says otherwise of a side of this one's, where Traefik could not tell the two apart. Splits of one age go by name.
#[must_use]
pub fn said_otherwise(split: &Claimant, others: &[Claimant]) -> Option<Problem> {
    let mine = Said::of(split.spec)?;
    others.iter().filter(|other| other.name != split.name && other.precedes(split)).find_map(|other| {
        let what = mine.otherwise(&Said::of(other.spec)?)?;
        let side = shared_side(split.spec, other.spec)?;
        let message = format!(
            "spec.edge.{what}: traefik keeps it by the Service and port of a side, and TrafficSplit {}, which leads to that of {side} as well, says \
             otherwise: say the same in both, or give this split a Service of its own (a second one with the same selector will do)",
            other.name
        );
        Some(Problem { reason: reasons::CONFLICTED, message, health: Health::Stalled })
    })
}

/// What is said of how a side is asked.
#[derive(PartialEq)]
struct Said<'a> {
    timeouts: Option<&'a Timeouts>,
    circuit_breaker: Option<&'a CircuitBreaker>,
    retries: Option<&'a Retries>,
}

impl<'a> Said<'a> {
    /// `None` unless Traefik is told by us how sides are asked.
    fn of(spec: &'a TrafficSplitSpec) -> Option<Self> {
        sides_on_traefik(spec).next()?;
        let edge = spec.edge.as_ref();
        let circuit_breaker = edge.and_then(|edge| edge.circuit_breaker.as_ref());
        // Without either they are the rules' matter.
        let tried_by_side = circuit_breaker.is_some() || spec.mirror.is_some();
        let retries = edge.and_then(|edge| edge.retries.as_ref()).filter(|_| tried_by_side);
        Some(Self { timeouts: edge.and_then(|edge| edge.timeouts.as_ref()), circuit_breaker, retries })
    }

    fn otherwise(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("timeouts", self.timeouts == other.timeouts),
            ("circuitBreaker", self.circuit_breaker == other.circuit_breaker),
            ("retries", self.retries == other.retries),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }
}

/// The sides that Traefik's own kinds, made by us, lead to, and the fields that name them.
pub fn sides_on_traefik(spec: &TrafficSplitSpec) -> impl Iterator<Item = (&'static str, &Backend)> {
    let is_made = spec.routers.iter().any(|router| router.traefik.as_ref().is_some_and(|it| it.attach.is_none()));
    let sides = spec.legacy.iter().map(|legacy| ("spec.legacy", legacy)).chain([("spec.new", &spec.new)]);
    sides.filter(move |_| is_made)
}

fn shared_side(mine: &TrafficSplitSpec, theirs: &TrafficSplitSpec) -> Option<&'static str> {
    let is_named = |backend: &Backend| {
        let same = |(_, their): (_, &Backend)| {
            their == backend && (backend.component.is_none() || mine.environment == theirs.environment)
        };
        sides_on_traefik(theirs).any(same)
    };
    sides_on_traefik(mine).find(|(_, backend)| is_named(backend)).map(|(field, _)| field)
}
