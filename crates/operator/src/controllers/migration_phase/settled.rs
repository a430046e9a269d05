//! Actions of which all is said, for as long as the cache does not show it. No I/O.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cutover_engine::migration_phase::ActionView;

use crate::cluster::stores::Key;

/// UIDs of settled actions, by phase. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled(Arc<Mutex<HashMap<Key, HashSet<String>>>>);

impl Settled {
    /// All is said about these actions.
    pub(super) fn put(&self, phase: &Key, uids: impl IntoIterator<Item = String>) {
        let mut uids = uids.into_iter().peekable();
        if uids.peek().is_some() {
            self.lock().entry(phase.clone()).or_default().extend(uids);
        }
    }

    /// Marks what is known to be settled in all that the cache shows of a phase's actions, and forgets what the cache has caught up
    /// with.
    pub(super) fn mark(&self, phase: &Key, cached: &mut [ActionView]) {
        let mut settled = self.lock();
        let Some(uids) = settled.get_mut(phase) else { return };
        uids.retain(|uid| cached.iter().any(|action| action.uid == *uid && !action.settled));
        for action in cached {
            action.settled |= uids.contains(&action.uid);
        }
        if uids.is_empty() {
            settled.remove(phase);
        }
    }

    /// Forgets a deleted phase.
    pub(super) fn forget(&self, phase: &Key) {
        self.lock().remove(phase);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
