//! Hands changes on to any number of subscribers without a channel's dilemma of blocking or forgetting: changes of one
//! object that a subscriber has not yet taken are merged, so what waits is bounded by the number of objects.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use futures::{Stream, task::AtomicWaker};
use kube::Resource;

/// Namespace and name of an object; the namespace of a cluster-scoped one is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace, or empty.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// One object's change since this subscriber last took one of it.
#[derive(Debug)]
pub struct Change<V> {
    /// Which object.
    pub key: Key,
    /// What was there; `None` if nothing was.
    pub before: Option<Arc<V>>,
    /// What is there; `None` if it was deleted.
    pub after: Option<Arc<V>>,
}

impl<V> Clone for Change<V> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), before: self.before.clone(), after: self.after.clone() }
    }
}

struct Mailbox<V> {
    state: Mutex<Waiting<V>>,
    waker: AtomicWaker,
}

struct Waiting<V> {
    order: VecDeque<Key>,
    changes: HashMap<Key, Change<V>>,
    closed: bool,
}

impl<V> Mailbox<V> {
    fn lock(&self) -> MutexGuard<'_, Waiting<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: Change<V>) {
        {
            let mut waiting = self.lock();
            if let Some(earlier) = waiting.changes.get_mut(&change.key) {
                earlier.after = change.after;
            } else {
                waiting.order.push_back(change.key.clone());
                waiting.changes.insert(change.key.clone(), change);
            }
        }
        self.waker.wake();
    }
}

/// A stream of changes. Dropping it ends the subscription.
pub struct Subscription<V> {
    mailbox: Arc<Mailbox<V>>,
}

impl<V> Stream for Subscription<V> {
    type Item = Change<V>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change<V>>> {
        // Registered before looking, so that a change put in between is not slept through.
        self.mailbox.waker.register(context.waker());
        let mut waiting = self.mailbox.lock();
        while let Some(key) = waiting.order.pop_front() {
            if let Some(change) = waiting.changes.remove(&key) {
                return Poll::Ready(Some(change));
            }
        }
        // What a burst needed is not kept for ever.
        waiting.changes.shrink_to(64);
        waiting.order.shrink_to(64);
        if waiting.closed { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// The subscribers of one store.
pub(super) struct Subscribers<V> {
    mailboxes: Mutex<Vec<Weak<Mailbox<V>>>>,
}

impl<V> Default for Subscribers<V> {
    fn default() -> Self {
        Self { mailboxes: Mutex::new(Vec::new()) }
    }
}

impl<V> Subscribers<V> {
    /// Adds a subscriber whose first changes are `present`, which is read while nothing is published.
    pub(super) fn subscribe(&self, present: impl FnOnce() -> Vec<(Key, Arc<V>)>) -> Subscription<V> {
        let mailbox = Arc::new(Mailbox {
            state: Mutex::new(Waiting { order: VecDeque::new(), changes: HashMap::new(), closed: false }),
            waker: AtomicWaker::new(),
        });
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        mailboxes.push(Arc::downgrade(&mailbox));
        for (key, value) in present() {
            mailbox.put(Change { key, before: None, after: Some(value) });
        }
        Subscription { mailbox }
    }

    /// Tells every subscriber. Called after the store shows the change.
    pub(super) fn publish(&self, change: &Change<V>) {
        for mailbox in self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            mailbox.put(change.clone());
        }
    }
}

impl<V> Drop for Subscribers<V> {
    fn drop(&mut self) {
        for mailbox in self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            mailbox.lock().closed = true;
            mailbox.waker.wake();
        }
    }
}
