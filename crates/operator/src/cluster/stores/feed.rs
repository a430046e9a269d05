//! The task that keeps one store up to date: watches, merges namespaces, survives outages, follows a kind that comes
//! and goes.

use std::{collections::HashSet, fmt::Debug, time::Duration};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Presence, queue::Key};
use crate::cluster::backoff::WatchBackoff;

/// Where a feed writes to.
pub(super) trait Sink: Send + 'static {
    type Object: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static;

    /// An object as it is now.
    fn apply(&mut self, object: Self::Object);
    /// An object that is no more.
    fn delete(&mut self, object: Self::Object);
    /// What is held, of one namespace or of all.
    fn keys(&self, namespace: Option<&str>) -> Vec<Key>;
    /// An object that a list did not contain.
    fn forget(&mut self, key: &Key);
    /// Every namespace has been listed. Called again after each further list.
    fn listed(&mut self);
}

/// What is watched: the kind in each namespace, or once in all.
pub(super) struct Source<K> {
    pub(super) kind: String,
    pub(super) apis: Vec<(Option<String>, Api<K>)>,
    pub(super) selector: Option<String>,
}

/// Small pages: a page is held in memory as text and as objects at once.
const PAGE: u32 = 100;

type Events<K> = BoxStream<'static, (usize, watcher::Result<Event<K>>)>;

impl<K> Source<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
{
    fn events(&self, streaming: bool) -> Events<K> {
        let mut config = watcher::Config { label_selector: self.selector.clone(), ..Default::default() };
        config = if streaming { config.streaming_lists() } else { config.page_size(PAGE) };
        let streams = self.apis.iter().enumerate().map(|(scope, (_, api))| {
            watcher(api.clone(), config.clone())
                .backoff(WatchBackoff::default())
                .map(move |event| (scope, event))
                .boxed()
        });
        stream::select_all(streams).boxed()
    }
}

/// Feeds the sink until the process shuts down.
pub(super) async fn run<S: Sink>(
    source: Source<S::Object>,
    mut sink: S,
    presence: watch::Sender<Presence>,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow(&source, &mut sink, &presence, false) => {}
    }
}

/// As [`run`], for a kind that may not exist: watches while `served` says that it does. Others do not wait for it when it may not be
/// listed.
pub(super) async fn run_optional<S: Sink>(
    source: Source<S::Object>,
    mut sink: S,
    presence: watch::Sender<Presence>,
    mut served: watch::Receiver<Option<bool>>,
    shutdown: CancellationToken,
) {
    loop {
        let now = *served.borrow_and_update();
        match now {
            Some(true) => {
                presence.send_replace(Presence::Unknown);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = follow(&source, &mut sink, &presence, true) => {}
                    gone = withdrawn(&mut served) => if !gone { return },
                }
            }
            Some(false) => {
                for key in sink.keys(None) {
                    sink.forget(&key);
                }
                presence.send_replace(Presence::Missing);
                tracing::info!(kind = %source.kind, "not served by this cluster: waiting for its CRD");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    changed = served.changed() => if changed.is_err() { return },
                }
            }
            None => tokio::select! {
                () = shutdown.cancelled() => return,
                changed = served.changed() => if changed.is_err() { return },
            },
        }
    }
}

/// Waits until the kind is no longer served; `false` when nobody will ever say.
async fn withdrawn(served: &mut watch::Receiver<Option<bool>>) -> bool {
    served.wait_for(|served| *served == Some(false)).await.is_ok()
}

/// Never returns by itself.
async fn follow<S: Sink>(
    source: &Source<S::Object>,
    sink: &mut S,
    presence: &watch::Sender<Presence>,
    dispensable: bool,
) {
    let mut streaming = true;
    let mut events = source.events(streaming);
    // Per namespace: what the list under way has shown so far, and whether one was ever complete.
    let mut seen: Vec<Option<HashSet<Key>>> = source.apis.iter().map(|_| None).collect();
    let mut complete: HashSet<usize> = HashSet::new();
    let mut warned: Option<Instant> = None;
    while let Some((scope, event)) = events.next().await {
        let listing = seen.get_mut(scope);
        match event {
            Ok(Event::Init) => {
                if let Some(listing) = listing {
                    *listing = Some(HashSet::new());
                }
            }
            Ok(Event::InitApply(object)) => {
                if let Some(Some(listing)) = listing {
                    listing.insert(Key::of(&object));
                }
                sink.apply(object);
            }
            Ok(Event::InitDone) => {
                let listed = listing.and_then(Option::take).unwrap_or_default();
                let namespace = source.apis.get(scope).and_then(|(namespace, _)| namespace.as_deref());
                for key in sink.keys(namespace) {
                    if !listed.contains(&key) {
                        sink.forget(&key);
                    }
                }
                complete.insert(scope);
                if complete.len() == source.apis.len() {
                    sink.listed();
                    presence.send_replace(Presence::Listed);
                }
            }
            Ok(Event::Apply(object)) => sink.apply(object),
            Ok(Event::Delete(object)) => sink.delete(object),
            Err(error) if streaming && unsupported(&error) => {
                tracing::debug!(kind = %source.kind, "no streaming lists here: reading pages");
                streaming = false;
                events = source.events(streaming);
            }
            Err(error) if dispensable && is_forbidden(&error) && *presence.borrow() == Presence::Unknown => {
                warned = Some(Instant::now());
                let kind = &source.kind;
                tracing::warn!(%kind, %error, "may not be listed: going on without; grant the operator list and watch on it");
                presence.send_replace(Presence::Forbidden);
            }
            // Tried again for as long as it lasts; said once a minute.
            Err(error) if warned.is_some_and(|at| at.elapsed() < Duration::from_secs(60)) => {
                tracing::debug!(kind = %source.kind, %error, "watch interrupted");
            }
            Err(error) => {
                warned = Some(Instant::now());
                tracing::warn!(kind = %source.kind, %error, "watch interrupted: what is known is kept");
            }
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// The API server does not know `sendInitialEvents`.
fn unsupported(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 400 | 422),
        watcher::Error::WatchError(status) => matches!(status.code, 400 | 422),
        _ => false,
    }
}
