//! Whole objects of our own kinds, for [`Controller::for_shared_stream`](kube::runtime::Controller::for_shared_stream).
//!
//! An object that cannot be read (written under another version of the CRD, say) stalls nothing: it is counted and
//! logged, and the last readable version of it stays in the store, so that it never looks deleted.

use std::{collections::HashMap, fmt::Debug, hash::Hash, sync::Arc};

use kube::{
    Resource, ResourceExt,
    runtime::{
        reflector::{ObjectRef, Store, store, store::Writer},
        watcher::Event,
    },
};
use prometheus::IntCounterVec;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    super::lean::Guarded,
    Presence,
    feed::Sink,
    queue::{Change, Key, Subscribers, Subscription},
    strip,
};

/// A kind whose objects are kept whole.
pub trait Kept: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static {}

impl<K> Kept for K where K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static {}

/// A cache of objects, kept up to date by one watch and shared by all controllers. Cheap to clone.
pub struct Objects<K: Kept> {
    store: Store<K>,
    subscribers: Arc<Subscribers<K>>,
    presence: watch::Receiver<Presence>,
}

impl<K: Kept> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), subscribers: Arc::clone(&self.subscribers), presence: self.presence.clone() }
    }
}

impl<K: Kept> Objects<K> {
    pub(super) fn new(presence: watch::Receiver<Presence>, invalid: IntCounterVec) -> (Self, ObjectSink<K>) {
        let (store, writer) = store();
        let subscribers = Arc::new(Subscribers::default());
        let sink = ObjectSink {
            store: store.clone(),
            subscribers: Arc::clone(&subscribers),
            writer,
            filling: Some(HashMap::new()),
            invalid,
        };
        (Self { store, subscribers, presence }, sink)
    }

    /// The store, for kube's `Controller` and for lookups.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects for which `wanted` says so.
    #[must_use]
    pub fn filter(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.store.state_filter(wanted)
    }

    /// Whether this cache can be believed: unknown is not empty.
    #[must_use]
    pub fn presence(&self) -> Presence {
        *self.presence.borrow()
    }

    /// Every object that is there, then every change of one.
    #[must_use]
    pub fn changes(&self) -> Subscription<K> {
        self.subscribers
            .subscribe(|| self.store.state().into_iter().map(|object| (Key::of(&*object), object)).collect())
    }

    /// Changes from now on.
    #[must_use]
    pub fn later_changes(&self) -> Subscription<K> {
        self.subscribers.subscribe(Vec::new)
    }
}

/// The usual answer to what matters to an object's own controller: everything but its status.
#[must_use]
pub fn beyond_status<K: Resource>(before: &K, after: &K) -> bool {
    let (before, after) = (before.meta(), after.meta());
    before.generation != after.generation
        || before.uid != after.uid
        || before.labels != after.labels
        || before.annotations != after.annotations
        || before.finalizers != after.finalizers
        || before.deletion_timestamp != after.deletion_timestamp
}

/// The writing side of [`Objects`].
pub(super) struct ObjectSink<K: Kept> {
    store: Store<K>,
    subscribers: Arc<Subscribers<K>>,
    writer: Writer<K>,
    /// Until every namespace was listed once; kube's store takes a first list only as a whole.
    filling: Option<HashMap<Key, K>>,
    invalid: IntCounterVec,
}

impl<K: Kept> ObjectSink<K>
where
    K::DynamicType: Eq + Hash,
{
    fn put(&mut self, mut object: K) {
        strip(&mut object);
        let key = Key::of(&object);
        if let Some(filling) = &mut self.filling {
            filling.insert(key, object);
            return;
        }
        let reference = ObjectRef::from_obj(&object);
        let before = self.store.get(&reference);
        // A restarted watch repeats what is known.
        if before.as_ref().is_some_and(|before| same_version(&**before, &object)) {
            return;
        }
        self.writer.apply_watcher_event(&Event::Apply(object));
        self.subscribers.publish(&Change { key, before, after: self.store.get(&reference) });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(filling) = &mut self.filling {
            filling.remove(key);
            return;
        }
        let Some(before) = self.store.get(&reference(key)) else { return };
        self.writer.apply_watcher_event(&Event::Delete((*before).clone()));
        self.subscribers.publish(&Change { key: key.clone(), before: Some(before), after: None });
    }
}

impl<K: Kept> Sink for ObjectSink<K> {
    type Object = Guarded<K>;

    fn apply(&mut self, object: Guarded<K>) {
        match object {
            Guarded::Readable(object) => self.put(object),
            Guarded::Broken { meta, error } => {
                let kind = K::kind(&()).into_owned();
                self.invalid.with_label_values(&[&kind]).inc();
                tracing::warn!(%kind, namespace = meta.namespace, name = meta.name, error, "object cannot be read");
            }
        }
    }

    fn delete(&mut self, object: Guarded<K>) {
        self.remove(&Key::of(&object));
    }

    fn keys(&self, namespace: Option<&str>) -> Vec<Key> {
        let keys: Vec<Key> = match &self.filling {
            Some(filling) => filling.keys().cloned().collect(),
            None => self.store.state().iter().map(|object| Key::of(&**object)).collect(),
        };
        keys.into_iter().filter(|key| namespace.is_none_or(|namespace| &*key.namespace == namespace)).collect()
    }

    fn forget(&mut self, key: &Key) {
        self.remove(key);
    }

    fn listed(&mut self) {
        let Some(filling) = self.filling.take() else { return };
        self.writer.apply_watcher_event(&Event::Init);
        for object in filling.into_values() {
            self.writer.apply_watcher_event(&Event::InitApply(object));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
        for object in self.store.state() {
            let key = Key::of(&*object);
            self.subscribers.publish(&Change { key, before: None, after: Some(object) });
        }
    }
}

fn reference<K: Kept>(key: &Key) -> ObjectRef<K> {
    let reference = ObjectRef::new(&key.name);
    if key.namespace.is_empty() { reference } else { reference.within(&key.namespace) }
}

fn same_version<K: Resource>(one: &K, other: &K) -> bool {
    one.uid() == other.uid() && one.resource_version().is_some() && one.resource_version() == other.resource_version()
}
