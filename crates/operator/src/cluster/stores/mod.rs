//! Caches of the API server's objects: one watch per kind for the whole process, shared by all controllers.
//!
//! - Our own kinds are kept whole ([`Objects`]), all others as slim [`View`]s, or not at all, so that a cluster full of
//!   foreign objects costs next to no memory. Lists are streamed object by object where the API server can.
//! - Subscribers see changes, merged per object, never lost, and never repeated by a restart of the watch.
//! - *Unknown is not empty*: no reconcile may run before [`Readiness::wait`] has returned, and [`Presence`] tells a kind
//!   that does not exist from one of which there are no objects.
//! - An outage leaves the caches as they are; the watches go on when it ends.

mod feed;
mod objects;
mod queue;
#[cfg(test)]
mod tests;
mod view;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use prometheus::IntCounterVec;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use feed::Source;
pub use objects::{Kept, Objects, beyond_status};
pub use queue::{Change, Key, Subscription};
pub use view::{Index, View};

use super::lean::Guarded;

/// Whether a cache can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Not listed yet: what is missing in it may exist.
    Unknown,
    /// The kind is not served by this cluster.
    Missing,
    /// A kind that is not needed by all, and that the operator has never been allowed to list: what is missing in it may exist.
    Forbidden,
    /// Listed; as fresh as the watch.
    Listed,
}

/// Says that one of the kinds has come or gone. What they are now is no news.
#[must_use]
pub fn presences<const N: usize>(kinds: [watch::Receiver<Presence>; N]) -> BoxStream<'static, ()> {
    let changes = kinds.map(|mut presence| {
        presence.mark_unchanged();
        stream::unfold(presence, |mut presence| async move { presence.changed().await.ok().map(|()| ((), presence)) })
            .boxed()
    });
    stream::select_all(changes).boxed()
}

/// Registers the watches of the process. They run from the moment they are registered.
pub struct Stores {
    client: Client,
    namespaces: Vec<String>,
    invalid: IntCounterVec,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    readiness: Readiness,
}

impl Stores {
    /// Stores over `namespaces`, or over all of them if none is named. `invalid` counts, by `kind`, objects of ours that
    /// could not be read.
    #[must_use]
    pub fn new(client: Client, namespaces: Vec<String>, invalid: IntCounterVec, shutdown: CancellationToken) -> Self {
        let readiness = Readiness::default();
        Self { client, namespaces, invalid, shutdown, tasks: TaskTracker::new(), readiness }
    }

    /// Watches one of our own kinds, whole objects, without `managedFields` and `last-applied-configuration`.
    pub fn objects<K>(&mut self) -> Objects<K>
    where
        K: Kept + Resource<Scope = NamespaceResourceScope>,
    {
        let presence = self.announce::<K>();
        let (objects, sink) = Objects::new(presence.subscribe(), self.invalid.clone());
        let source = self.source::<Guarded<K>>(None);
        self.tasks.spawn(feed::run(source, sink, presence, self.shutdown.clone()));
        objects
    }

    /// Watches a namespaced kind that every cluster has, as slim views, limited to a label `selector` if there is one.
    pub fn index<V>(&mut self, selector: Option<&str>) -> Index<V>
    where
        V: View,
        V::Object: Resource<Scope = NamespaceResourceScope>,
    {
        let presence = self.announce::<V::Object>();
        let (index, sink) = Index::new(presence.subscribe());
        let source = self.source(selector);
        self.tasks.spawn(feed::run(source, sink, presence, self.shutdown.clone()));
        index
    }

    /// Watches a namespaced kind that may not exist, while `served` (of [`discovery`](super::discovery)) says it does.
    pub fn optional<V>(&mut self, served: watch::Receiver<Option<bool>>, selector: Option<&str>) -> Index<V>
    where
        V: View,
        V::Object: Resource<Scope = NamespaceResourceScope>,
    {
        let presence = self.announce::<V::Object>();
        let (index, sink) = Index::new(presence.subscribe());
        let source = self.source(selector);
        self.tasks.spawn(feed::run_optional(source, sink, presence, served, self.shutdown.clone()));
        index
    }

    /// As [`Self::optional`], for a cluster-scoped kind.
    pub fn optional_cluster<V>(&mut self, served: watch::Receiver<Option<bool>>, selector: Option<&str>) -> Index<V>
    where
        V: View,
        V::Object: Resource<Scope = ClusterResourceScope>,
    {
        let presence = self.announce::<V::Object>();
        let (index, sink) = Index::new(presence.subscribe());
        let source = Source {
            kind: <V::Object as Resource>::kind(&()).into_owned(),
            apis: vec![(None, Api::all(self.client.clone()))],
            selector: selector.map(str::to_owned),
        };
        self.tasks.spawn(feed::run_optional(source, sink, presence, served, self.shutdown.clone()));
        index
    }

    /// What tells whether all stores registered so far are listed.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    fn announce<K: Resource<DynamicType = ()>>(&mut self) -> watch::Sender<Presence> {
        let (presence, known) = watch::channel(Presence::Unknown);
        self.readiness.stores.push((K::plural(&()).into_owned(), known));
        presence
    }

    fn source<K>(&self, selector: Option<&str>) -> Source<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let apis = if self.namespaces.is_empty() {
            vec![(None, Api::all(self.client.clone()))]
        } else {
            self.namespaces
                .iter()
                .map(|namespace| (Some(namespace.clone()), Api::namespaced(self.client.clone(), namespace)))
                .collect()
        };
        Source { kind: K::kind(&()).into_owned(), apis, selector: selector.map(str::to_owned) }
    }
}

/// Whether the stores are listed.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    stores: Vec<(String, watch::Receiver<Presence>)>,
}

impl Readiness {
    /// Waits until each store was listed, or its kind is known not to exist or to be out of reach.
    pub async fn wait(&self) {
        for (_, presence) in &self.stores {
            // A sender dropped early means that the process is shutting down.
            let _ = presence.clone().wait_for(|presence| *presence != Presence::Unknown).await;
        }
    }

    /// The kinds not listed yet, for people.
    #[must_use]
    pub fn pending(&self) -> Vec<&str> {
        let unknown = |presence: &watch::Receiver<Presence>| *presence.borrow() == Presence::Unknown;
        self.stores.iter().filter(|(_, presence)| unknown(presence)).map(|(kind, _)| kind.as_str()).collect()
    }
}

/// Removes what no controller reads and what makes up most of a small object.
fn strip<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.meta_mut().managed_fields = None;
    if let Some(annotations) = object.meta_mut().annotations.as_mut() {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// The readiness of one store, to be moved by a test.
#[cfg(test)]
pub(crate) fn readiness_of(kind: &str) -> (watch::Sender<Presence>, Readiness) {
    let (sender, presence) = watch::channel(Presence::Unknown);
    (sender, Readiness { stores: vec![(kind.to_owned(), presence)] })
}

/// A cache that has listed these objects and is not watched.
#[cfg(test)]
pub(crate) fn listed_objects<K: Kept>(objects: Vec<K>) -> Objects<K> {
    use feed::Sink as _;
    let (presence, known) = watch::channel(Presence::Listed);
    let invalid = IntCounterVec::new(prometheus::Opts::new("invalid", "invalid"), &["kind"]).unwrap();
    let (cache, mut sink) = Objects::new(known, invalid);
    for object in objects {
        sink.apply(Guarded::Readable(object));
    }
    sink.listed();
    // It stays as it is for the rest of the test.
    std::mem::forget((presence, sink));
    cache
}

/// A cache of views that has listed these objects and is not watched.
#[cfg(test)]
pub(crate) fn listed_index<V: View>(objects: Vec<serde_json::Value>) -> Index<V> {
    use feed::Sink as _;
    let (presence, known) = watch::channel(Presence::Listed);
    let (index, mut sink) = Index::new(known);
    for object in objects {
        sink.apply(serde_json::from_value(object).unwrap());
    }
    std::mem::forget((presence, sink));
    index
}
