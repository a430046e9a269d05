//! What we wrote ourselves and a cache may not show yet, and what it was after the write. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cutover_engine::environment::{
    ConfigMapView, DeploymentView, Marks, ObjectRef, Observed, PolicyView, ServiceView, Settled, SliceView,
};

/// The answer to a write.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Deployment(DeploymentView),
    Service(ServiceView),
    EndpointSlice(SliceView),
    BackendTlsPolicy(PolicyView),
    ServersTransport(Marks),
    ConfigMap(ConfigMapView),
}

impl Answer {
    pub(super) fn marks(&self) -> &Marks {
        match self {
            Self::Deployment(view) => &view.marks,
            Self::Service(view) => &view.marks,
            Self::EndpointSlice(view) => &view.marks,
            Self::BackendTlsPolicy(view) => &view.marks,
            Self::ServersTransport(marks) => marks,
            Self::ConfigMap(view) => &view.marks,
        }
    }
}

#[derive(Default)]
struct Space {
    answers: BTreeMap<ObjectRef, Answer>,
    settled: BTreeMap<ObjectRef, Settled>,
}

/// Per namespace.
#[derive(Default)]
pub(super) struct Memory {
    spaces: Mutex<HashMap<Arc<str>, Space>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Space>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the answer to a write of what hashes as `hash`.
    pub(super) fn written(&self, namespace: &str, object: &ObjectRef, answer: Answer, hash: String) {
        let mut spaces = self.lock();
        let space = spaces.entry(namespace.into()).or_default();
        let Marks { uid, revision, .. } = answer.marks().clone();
        space.settled.insert(object.clone(), Settled { uid, revision, hash });
        space.answers.insert(object.clone(), answer);
    }

    /// The cache shows the object in this version, or without it no longer.
    pub(super) fn seen(&self, namespace: &str, object: &ObjectRef, version: Option<u64>) {
        let mut spaces = self.lock();
        let Some(space) = spaces.get_mut(namespace) else { return };
        let caught_up = |answer: &Answer| version.is_none_or(|version| version >= answer.marks().version);
        if space.answers.get(object).is_some_and(caught_up) {
            space.answers.remove(object);
        }
        if version.is_none() {
            space.settled.remove(object);
        }
        if space.answers.is_empty() && space.settled.is_empty() {
            spaces.remove(namespace);
        }
    }

    /// The object was deleted by us.
    pub(super) fn deleted(&self, namespace: &str, object: &ObjectRef) {
        self.seen(namespace, object, None);
    }

    /// Puts what is newer than the caches over what they show.
    pub(super) fn overlay(&self, namespace: &str, owner: &str, observed: &mut Observed) {
        let spaces = self.lock();
        let Some(space) = spaces.get(namespace) else { return };
        for (object, answer) in space.answers.iter().filter(|(_, answer)| answer.marks().is_of(owner)) {
            if observed.marks(object).is_some_and(|shown| shown.version >= answer.marks().version) {
                continue;
            }
            let name = object.name.clone();
            match answer.clone() {
                Answer::Deployment(view) => drop(observed.deployments.insert(name, view)),
                Answer::Service(view) => drop(observed.services.insert(name, view)),
                Answer::EndpointSlice(view) => drop(observed.slices.insert(name, view)),
                Answer::BackendTlsPolicy(view) => drop(observed.policies.insert(name, view)),
                Answer::ServersTransport(marks) => drop(observed.transports.insert(name, marks)),
                Answer::ConfigMap(view) => drop(observed.config_maps.insert(name, view)),
            }
        }
        observed.settled = space.settled.clone();
    }
}
