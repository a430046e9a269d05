//! What we wrote ourselves and a cache may not show yet. The API server's answer to a write is the newest observation
//! there is; it counts until the cache has caught up. So one status write per change is enough, and nothing is decided
//! on what was there before our own write. No I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cutover_api::v1alpha1::TrafficSplit;
use cutover_engine::router::{
    EndpointSliceView, IngressView, Meta, ObjectKind, RouteView, ServiceView, Unseen, View, WholeView,
    is_named_by_routes,
};
use kube::ResourceExt;

use super::contention::{Contention, Write};
use crate::cluster::stores::Key;

/// An answer of the API server.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Ingress(IngressView),
    Route(RouteView),
    Service(ServiceView),
    EndpointSlice(EndpointSliceView),
    Whole(WholeView),
    /// It was deleted.
    Deleted(Meta),
}

impl Answer {
    pub(super) fn meta(&self) -> &Meta {
        match self {
            Self::Ingress(view) => view.meta(),
            Self::Route(view) => view.meta(),
            Self::Service(view) => view.meta(),
            Self::EndpointSlice(view) => view.meta(),
            Self::Whole(view) => view.meta(),
            Self::Deleted(meta) => meta,
        }
    }
}

#[derive(Default)]
struct Written {
    split: Option<Arc<TrafficSplit>>,
    routes: HashMap<(ObjectKind, Box<str>), Answer>,
    /// Objects seen to be deleted while a write of theirs may be under way, with the version before.
    gone: HashMap<(ObjectKind, Box<str>), u64>,
    contention: Contention,
    /// When a route was last written, or what it names.
    moved_at: Option<Instant>,
    /// When what routes name was last written.
    accessory_at: Option<Instant>,
}

impl Written {
    fn is_empty(&self) -> bool {
        self.split.is_none()
            && self.routes.is_empty()
            && self.gone.is_empty()
            && self.contention.is_empty()
            && self.moved_at.is_none()
            && self.accessory_at.is_none()
    }
}

/// The memory of all splits.
#[derive(Default)]
pub(super) struct Memory {
    splits: Mutex<HashMap<Key, Written>>,
}

/// Versions grow with every write of the API server; what cannot be read as a number is taken as old.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Written>> {
        self.splits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The split as it is known best.
    pub(super) fn newest(&self, key: &Key, cached: Arc<TrafficSplit>) -> Arc<TrafficSplit> {
        let mut splits = self.lock();
        let Some(written) = splits.get_mut(key) else { return cached };
        match &written.split {
            Some(newer) if newer.uid() == cached.uid() && version_of(newer) > version_of(&cached) => Arc::clone(newer),
            _ => {
                written.split = None;
                cached
            }
        }
    }

    /// Remembers the answer to a write of the split.
    pub(super) fn split_written(&self, key: &Key, split: Arc<TrafficSplit>) {
        self.lock().entry(key.clone()).or_default().split = Some(split);
    }

    /// The split was seen by the cache in this version.
    pub(super) fn split_seen(&self, key: &Key, version: u64) {
        let mut splits = self.lock();
        if let Some(written) = splits.get_mut(key) {
            if written.split.as_ref().is_some_and(|split| version_of(split) <= version) {
                written.split = None;
            }
            if written.is_empty() {
                splits.remove(key);
            }
        }
    }

    /// The answer to our last write of a route, if it is newer than what the cache shows.
    pub(super) fn route(&self, key: &Key, kind: ObjectKind, name: &str, cached: Option<&Meta>) -> Option<Answer> {
        let mut splits = self.lock();
        let written = splits.get_mut(key)?;
        let id = (kind, Box::from(name));
        written.gone.remove(&id);
        let answer = written.routes.get(&id)?;
        let newer = match (answer, cached) {
            (Answer::Deleted(meta), Some(cached)) => meta.uid == cached.uid,
            (Answer::Deleted(_), None) => false,
            (answer, Some(cached)) => number(&answer.meta().resource_version) > number(&cached.resource_version),
            (_, None) => true,
        };
        if newer {
            return Some(answer.clone());
        }
        written.routes.remove(&id);
        None
    }

    /// Names of remembered objects of this kind that begin with `prefix`.
    pub(super) fn names(&self, key: &Key, kind: ObjectKind, prefix: &str) -> Vec<Box<str>> {
        let splits = self.lock();
        let written = splits.get(key).into_iter().flat_map(|written| written.routes.keys());
        written.filter(|(of, name)| *of == kind && name.starts_with(prefix)).map(|(_, name)| name.clone()).collect()
    }

    /// Remembers the answer to a write of a route.
    pub(super) fn route_written(&self, key: &Key, kind: ObjectKind, name: &str, answer: Answer) {
        let mut splits = self.lock();
        let written = splits.entry(key.clone()).or_default();
        if kind.is_route() {
            written.moved_at = Some(Instant::now());
        }
        if is_named_by_routes(kind, name) {
            written.accessory_at = Some(Instant::now());
        }
        let id = (kind, Box::from(name));
        let gone = written.gone.remove(&id).is_some_and(|version| number(&answer.meta().resource_version) <= version);
        if gone {
            written.routes.remove(&id);
        } else {
            written.routes.insert(id, answer);
        }
    }

    /// The cache shows a route in this version. Whether that is our own write, and nothing since.
    pub(super) fn route_seen(&self, key: &Key, kind: ObjectKind, name: &str, version: &str) -> bool {
        let mut splits = self.lock();
        let Some(written) = splits.get_mut(key) else { return false };
        let id = (kind, Box::from(name));
        let Some(answer) = written.routes.get(&id) else { return false };
        let (ours, seen) = (number(&answer.meta().resource_version), number(version));
        if seen >= ours {
            written.routes.remove(&id);
            if written.is_empty() {
                splits.remove(key);
            }
        }
        // An older one was overtaken by our write.
        seen <= ours && seen > 0
    }

    /// The cache shows that a route is gone; `version` is the one it was last seen in. Whether we deleted it ourselves.
    pub(super) fn route_gone(&self, key: &Key, kind: ObjectKind, name: &str, version: &str) -> bool {
        let mut splits = self.lock();
        let written = splits.entry(key.clone()).or_default();
        let id = (kind, Box::from(name));
        let ours = matches!(written.routes.remove(&id), Some(Answer::Deleted(_)));
        if !ours {
            written.gone.insert(id, number(version));
        }
        if written.is_empty() {
            splits.remove(key);
        }
        ours
    }

    /// These writes of routes were sent and taken.
    pub(super) fn wrote(&self, key: &Key, writes: Vec<Write>, now: Instant) {
        let mut splits = self.lock();
        let written = splits.entry(key.clone()).or_default();
        for write in writes {
            written.contention.wrote(write, now);
        }
    }

    /// Whether all of these would say again what was written last.
    pub(super) fn are_repeated(&self, key: &Key, writes: &[Write]) -> bool {
        let splits = self.lock();
        let repeated = |written: &Written| writes.iter().all(|write| written.contention.is_repeated(write));
        !writes.is_empty() && splits.get(key).is_some_and(repeated)
    }

    /// How long writes that would only be repeated are still to be left out.
    pub(super) fn resting(&self, key: &Key, now: Instant) -> Option<Duration> {
        self.lock().get_mut(key)?.contention.resting(now)
    }

    /// How long proxies may still take to act on the last write of a route, if they take up to `propagation`.
    pub(super) fn settling(&self, key: &Key, propagation: Duration, now: Instant) -> Option<Duration> {
        let mut splits = self.lock();
        let written = splits.get_mut(key)?;
        let left = (written.moved_at? + propagation).saturating_duration_since(now);
        if left.is_zero() {
            written.moved_at = None;
            return None;
        }
        Some(left)
    }

    /// Which of our writes proxies may not have seen yet, if they take up to `propagation`, and when to look again.
    pub(super) fn unseen(&self, key: &Key, propagation: Duration, now: Instant) -> (Unseen, Option<Duration>) {
        let mut splits = self.lock();
        let Some(written) = splits.get_mut(key) else { return (Unseen::default(), None) };
        let left = |at: Option<Instant>| {
            let left = (at? + propagation).saturating_duration_since(now);
            (!left.is_zero()).then_some(left)
        };
        let (accessories, routes) = (left(written.accessory_at), left(written.moved_at));
        if accessories.is_none() {
            written.accessory_at = None;
        }
        let unseen = Unseen { accessories: accessories.is_some(), routes: routes.is_some() };
        (unseen, accessories.into_iter().chain(routes).min())
    }

    /// Forgets a split.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

pub(super) fn version_of(split: &TrafficSplit) -> u64 {
    number(split.resource_version().as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, version: &str) -> Meta {
        Meta { name: "storefront".into(), uid: uid.into(), resource_version: version.into(), ..Meta::default() }
    }

    fn ingress(version: &str) -> Answer {
        Answer::Ingress(IngressView { meta: meta("u", version), ..IngressView::default() })
    }

    fn seen(memory: &Memory, cached: Option<&Meta>) -> Option<String> {
        memory
            .route(&Key::new("shop", "storefront"), ObjectKind::Ingress, "storefront", cached)
            .map(|answer| answer.meta().resource_version.to_string())
    }

    #[test]
    fn an_answer_counts_until_the_cache_has_caught_up() {
        let (memory, key) = (Memory::default(), Key::new("shop", "storefront"));
        memory.route_written(&key, ObjectKind::Ingress, "storefront", ingress("12"));
        assert_eq!(seen(&memory, None).as_deref(), Some("12"));
        assert_eq!(seen(&memory, Some(&meta("u", "9"))).as_deref(), Some("12"));
        assert_eq!(seen(&memory, Some(&meta("u", "12"))), None);
        assert_eq!(seen(&memory, None), None, "it was forgotten");
    }

    #[test]
    fn our_own_write_is_no_news_and_what_follows_it_is() {
        let (memory, key) = (Memory::default(), Key::new("shop", "storefront"));
        let news = |version| !memory.route_seen(&key, ObjectKind::Ingress, "storefront", version);
        assert!(news("5"));
        memory.route_written(&key, ObjectKind::Ingress, "storefront", ingress("12"));
        assert!(!news("11"), "older than our write");
        assert!(!news("12"), "our write");
        assert!(news("12"), "forgotten once seen");
        memory.route_written(&key, ObjectKind::Ingress, "storefront", ingress("20"));
        assert!(news("21"), "somebody else's write on top of ours");
        assert_eq!(memory.settling(&key, Duration::ZERO, Instant::now()), None);
        memory.split_seen(&key, 0);
        assert!(memory.lock().is_empty());
    }

    #[test]
    fn a_route_deleted_by_somebody_else_is_not_remembered_as_there() {
        let (memory, key) = (Memory::default(), Key::new("shop", "storefront"));
        assert!(!memory.route_gone(&key, ObjectKind::Ingress, "storefront", "12"));
        memory.route_written(&key, ObjectKind::Ingress, "storefront", ingress("12"));
        assert_eq!(seen(&memory, None), None);
    }

    #[test]
    fn a_route_deleted_by_us_is_gone_before_the_cache_says_so() {
        let (memory, key) = (Memory::default(), Key::new("shop", "storefront"));
        memory.route_written(&key, ObjectKind::Ingress, "storefront", Answer::Deleted(meta("u", "12")));
        let answer = memory.route(&key, ObjectKind::Ingress, "storefront", Some(&meta("u", "12")));
        assert!(matches!(answer, Some(Answer::Deleted(_))));
        let successor = memory.route(&key, ObjectKind::Ingress, "storefront", Some(&meta("v", "14")));
        assert!(successor.is_none(), "another object of that name");
        memory.route_written(&key, ObjectKind::Ingress, "storefront", Answer::Deleted(meta("u", "12")));
        assert!(memory.route_gone(&key, ObjectKind::Ingress, "storefront", "12"));
    }

    #[test]
    fn what_routes_name_is_unseen_for_a_while_and_a_route_does_not_prolong_it() {
        let (memory, key) = (Memory::default(), Key::new("shop", "storefront"));
        let propagation = Duration::from_secs(2);
        let whole = || Answer::Whole(WholeView { meta: meta("u", "12"), ..WholeView::default() });
        let unseen = |after: u64| memory.unseen(&key, propagation, Instant::now() + Duration::from_secs(after)).0;
        assert_eq!(unseen(0), Unseen::default());
        memory.route_written(&key, ObjectKind::IngressRoute, "storefront", whole());
        assert_eq!(unseen(0), Unseen { accessories: false, routes: true });
        memory.route_written(&key, ObjectKind::Middleware, "storefront-cutover-headers", whole());
        assert_eq!(unseen(0), Unseen { accessories: true, routes: true });
        let (_, again) = memory.unseen(&key, propagation, Instant::now());
        assert!(again.is_some_and(|left| left <= propagation));
        assert_eq!(unseen(5), Unseen::default());
    }

    #[test]
    fn a_proxy_has_its_time_after_each_write_of_a_route() {
        let (memory, key) = (Memory::default(), Key::new("shop", "storefront"));
        let (propagation, start) = (Duration::from_secs(2), Instant::now());
        assert_eq!(memory.settling(&key, propagation, start), None);
        memory.route_written(&key, ObjectKind::Service, "storefront-cutover-new", ingress("11"));
        assert_eq!(memory.settling(&key, propagation, start), None, "not a route");
        memory.route_written(&key, ObjectKind::Ingress, "storefront", ingress("12"));
        assert!(memory.settling(&key, propagation, start).is_some_and(|left| left >= propagation));
        assert_eq!(memory.settling(&key, propagation, start + Duration::from_secs(5)), None);
    }
}
