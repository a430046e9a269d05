//! Slim views: what a controller needs of an object, and nothing else of it in memory.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};

use kube::Resource;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    Presence,
    feed::Sink,
    queue::{Change, Key, Subscribers, Subscription},
};

/// What is kept of each object of a kind. Objects without a view are not kept at all: with one of `None` for whatever
/// is not ours, thousands of foreign objects cost nothing but the reading.
pub trait View: PartialEq + Send + Sync + Sized + 'static {
    /// What is read from the API server: as few fields as the view needs (serde skips the rest unread). With
    /// [`PartialObjectMeta`](kube::core::PartialObjectMeta) only metadata is sent at all.
    type Object: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static;

    /// The view of one object; `None` if it is of no interest.
    fn of(object: Self::Object) -> Option<Self>;

    /// A second key within the namespace by which several objects are found together, such as the Service that an
    /// EndpointSlice belongs to.
    fn group(&self) -> Option<&str> {
        None
    }
}

struct Space<V> {
    objects: HashMap<Arc<str>, Arc<V>>,
    groups: HashMap<Box<str>, Vec<Arc<str>>>,
}

impl<V> Default for Space<V> {
    fn default() -> Self {
        Self { objects: HashMap::new(), groups: HashMap::new() }
    }
}

struct Shared<V> {
    spaces: RwLock<HashMap<Arc<str>, Space<V>>>,
    subscribers: Subscribers<V>,
}

/// A cache of views, kept up to date by one watch and shared by all controllers. Cheap to clone.
pub struct Index<V> {
    shared: Arc<Shared<V>>,
    presence: watch::Receiver<Presence>,
}

impl<V> Clone for Index<V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), presence: self.presence.clone() }
    }
}

impl<V: View> Index<V> {
    pub(super) fn new(presence: watch::Receiver<Presence>) -> (Self, IndexSink<V>) {
        let shared = Arc::new(Shared { spaces: RwLock::default(), subscribers: Subscribers::default() });
        (Self { shared: Arc::clone(&shared), presence }, IndexSink { shared })
    }

    /// The view of one object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<V>> {
        let spaces = self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner);
        spaces.get(namespace)?.objects.get(name).cloned()
    }

    /// The views of one [group](View::group), by name.
    #[must_use]
    pub fn group(&self, namespace: &str, group: &str) -> Vec<(Arc<str>, Arc<V>)> {
        let spaces = self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner);
        let Some(space) = spaces.get(namespace) else { return Vec::new() };
        let names = space.groups.get(group).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|name| Some((Arc::clone(name), Arc::clone(space.objects.get(name)?)))).collect()
    }

    /// All views of a namespace (empty for cluster-scoped kinds), in no order.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<(Arc<str>, Arc<V>)> {
        let spaces = self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner);
        let Some(space) = spaces.get(namespace) else { return Vec::new() };
        space.objects.iter().map(|(name, view)| (Arc::clone(name), Arc::clone(view))).collect()
    }

    /// How many views there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let spaces = self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner);
        spaces.values().map(|space| space.objects.len()).sum()
    }

    /// Whether there is none. Says nothing before [`Self::presence`] is `Listed`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this cache can be believed: unknown is not empty.
    #[must_use]
    pub fn presence(&self) -> Presence {
        *self.presence.borrow()
    }

    /// Follows [`Self::presence`], for what must be decided anew when a kind comes or goes.
    #[must_use]
    pub fn presence_changes(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }

    /// Changes of *views* from now on; an object whose view stays equal is silent, also over a restart of the watch.
    #[must_use]
    pub fn changes(&self) -> Subscription<V> {
        self.shared.subscribers.subscribe(Vec::new)
    }
}

/// The writing side of an [`Index`].
pub(super) struct IndexSink<V> {
    shared: Arc<Shared<V>>,
}

impl<V: View> IndexSink<V> {
    fn put(&self, key: &Key, view: Option<V>) {
        let change = {
            let mut spaces = self.shared.spaces.write().unwrap_or_else(PoisonError::into_inner);
            match view {
                Some(view) => insert(&mut spaces, key, view),
                None => remove(&mut spaces, key),
            }
        };
        if let Some(change) = change {
            self.shared.subscribers.publish(&change);
        }
    }
}

impl<V: View> Sink for IndexSink<V> {
    type Object = V::Object;

    fn apply(&mut self, object: V::Object) {
        let key = Key::of(&object);
        self.put(&key, V::of(object));
    }

    fn delete(&mut self, object: V::Object) {
        self.put(&Key::of(&object), None);
    }

    fn keys(&self, namespace: Option<&str>) -> Vec<Key> {
        let spaces = self.shared.spaces.read().unwrap_or_else(PoisonError::into_inner);
        spaces
            .iter()
            .filter(|(space, _)| namespace.is_none_or(|namespace| &***space == namespace))
            .flat_map(|(space, held)| {
                held.objects.keys().map(|name| Key { namespace: Arc::clone(space), name: Arc::clone(name) })
            })
            .collect()
    }

    fn forget(&mut self, key: &Key) {
        self.put(key, None);
    }

    fn listed(&mut self) {}
}

fn insert<V: View>(spaces: &mut HashMap<Arc<str>, Space<V>>, key: &Key, view: V) -> Option<Change<V>> {
    // One allocation per namespace and name, however many changes there are.
    let namespace =
        spaces.get_key_value(&key.namespace).map_or_else(|| Arc::clone(&key.namespace), |(key, _)| Arc::clone(key));
    let space = spaces.entry(Arc::clone(&namespace)).or_default();
    let held = space.objects.get_key_value(&key.name);
    let (name, before) = match held {
        Some((_, before)) if **before == view => return None,
        Some((name, before)) => (Arc::clone(name), Some(Arc::clone(before))),
        None => (Arc::clone(&key.name), None),
    };
    let old_group = before.as_ref().and_then(|view| view.group());
    if old_group != view.group() || before.is_none() {
        leave(&mut space.groups, old_group, &name);
        if let Some(group) = view.group() {
            space.groups.entry(group.into()).or_default().push(Arc::clone(&name));
        }
    }
    let after = Arc::new(view);
    space.objects.insert(Arc::clone(&name), Arc::clone(&after));
    Some(Change { key: Key { namespace, name }, before, after: Some(after) })
}

fn remove<V: View>(spaces: &mut HashMap<Arc<str>, Space<V>>, key: &Key) -> Option<Change<V>> {
    let space = spaces.get_mut(&key.namespace)?;
    let before = space.objects.remove(&key.name)?;
    leave(&mut space.groups, before.group(), &key.name);
    if space.objects.is_empty() {
        spaces.remove(&key.namespace);
    }
    Some(Change { key: key.clone(), before: Some(before), after: None })
}

fn leave(groups: &mut HashMap<Box<str>, Vec<Arc<str>>>, group: Option<&str>, name: &str) {
    if let Some(group) = group
        && let Some(names) = groups.get_mut(group)
    {
        names.retain(|member| &**member != name);
        if names.is_empty() {
            groups.remove(group);
        }
    }
}
