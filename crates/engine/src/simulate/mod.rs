//! What the phases in a set of manifests would do, without a cluster: the phase engine runs on a virtual clock in a small world. Pure.
//!
//! The engine is the real one; only the world around it is modelled, and kindly so: routes follow a weight after the propagation time,
//! flags at once, every side has the capacity it needs, checks pass, and people approve after a stated delay. What the forecast
//! shows is therefore the shortest course that the manifests allow under these assumptions, and every wait in it is one that they ask for.
//! For each step a copy of the world is then harmed in the instant the step is in force, and followed until it has come to rest.

mod actors;
mod checks;
mod forecast;
mod gates;
pub mod lint;
pub mod render;
mod way_back;
mod world;

use cutover_api::v1alpha1::{Environment, FeatureFlag, MigrationPhase, TrafficSplit};
use jiff::{SignedDuration, Timestamp};

pub use forecast::{Change, Forecast, PhaseForecast, StepForecast, Wait, WayBack};
use meta::namespace_of;

/// An object and where it was read.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// Where: a file, and which of its documents.
    pub origin: String,
    /// The object.
    pub object: T,
}

/// Objects of our kinds, as files or a cluster have them.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// Environments.
    pub environments: Vec<Sourced<Environment>>,
    /// Splits.
    pub splits: Vec<Sourced<TrafficSplit>>,
    /// Flags.
    pub flags: Vec<Sourced<FeatureFlag>>,
    /// Phases.
    pub phases: Vec<Sourced<MigrationPhase>>,
}

impl Manifests {
    /// The namespaces that have phases, in order.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let mut names: Vec<_> = self.phases.iter().map(|phase| namespace_of(&phase.object.metadata)).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// What the world is taken to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumptions {
    /// When everything begins.
    pub start: Timestamp,
    /// How long people take to approve.
    pub approval: SignedDuration,
    /// How long routes take to follow a weight.
    pub propagation: SignedDuration,
    /// How far ahead is looked at most.
    pub horizon: SignedDuration,
}

impl Assumptions {
    /// From `start`, with approvals after an hour, routes that follow within two seconds, and two years looked ahead.
    #[must_use]
    pub const fn from(start: Timestamp) -> Self {
        Self {
            start,
            approval: SignedDuration::from_hours(1),
            propagation: SignedDuration::from_secs(2),
            horizon: SignedDuration::from_hours(2 * 365 * 24),
        }
    }
}

/// What the phases would do, namespace by namespace.
#[must_use]
pub fn simulate(manifests: &Manifests, assumptions: &Assumptions) -> Vec<Forecast> {
    manifests.namespaces().iter().map(|namespace| world::World::new(namespace, manifests, assumptions).run()).collect()
}

/// Names of objects, without a client library.
mod meta {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    /// The namespace that an object says, or `default`.
    pub fn namespace_of(meta: &ObjectMeta) -> String {
        meta.namespace.clone().unwrap_or_else(|| "default".to_owned())
    }

    /// The name that an object says.
    pub fn name_of(meta: &ObjectMeta) -> String {
        meta.name.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
