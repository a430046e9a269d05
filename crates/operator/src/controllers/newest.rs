//! An object as it is known best: the answer to our own last write of it, until the cache has caught up. No I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt};

use crate::cluster::stores::Key;

/// What was written last, per object.
pub(super) struct Newest<K> {
    written: Mutex<HashMap<Key, Arc<K>>>,
}

impl<K> Default for Newest<K> {
    fn default() -> Self {
        Self { written: Mutex::default() }
    }
}

impl<K: Resource> Newest<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<K>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newer of what the cache shows and what was written.
    pub(super) fn of(&self, cached: Arc<K>) -> Arc<K> {
        let key = Key::of(&*cached);
        let mut written = self.lock();
        match written.get(&key) {
            Some(newer) if newer.uid() == cached.uid() && version(&**newer) > version(&*cached) => Arc::clone(newer),
            Some(_) => {
                written.remove(&key);
                cached
            }
            None => cached,
        }
    }

    /// Remembers the answer to a write.
    pub(super) fn put(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        self.lock().insert(Key::of(&*object), Arc::clone(&object));
        object
    }

    /// The object is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

/// Versions grow with every write; what cannot be read as a number is taken as old.
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
