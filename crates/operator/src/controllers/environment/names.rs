//! Asks for the addresses of components' host names, beside the reconciles: one task for each family of each host, shared by all components
//! that name it and ended when none does. It asks again when its answer ends. What is new in an answer triggers the reconciles of the
//! environments that name the host; nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cutover_api::v1alpha1::environment::IpFamily;
use cutover_engine::environment::{
    Validated,
    resolve::{Answer, Heard, Told},
    validate::Source,
};
use futures::{Stream, future::BoxFuture};
use ipnet::IpNet;
use jiff::Timestamp;
use tokio_util::task::AbortOnDropHandle;

use crate::{cluster::stores::Key, controllers::news::News};

/// Asks a name server.
pub(super) type Ask = Arc<dyn Fn(String, IpFamily) -> BoxFuture<'static, Answer> + Send + Sync>;

type Question = (String, IpFamily);

/// The host names that are asked for.
pub(super) struct Names {
    watches: Mutex<HashMap<Question, Watch>>,
    news: News,
    ask: Ask,
    forbidden: Arc<[IpNet]>,
}

struct Watch {
    /// What was told, and who wants to know.
    shared: Arc<Mutex<Shared>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    told: Told,
    wanted_by: BTreeSet<Key>,
}

impl Names {
    /// Nothing is asked yet, and the stream of environments of which a host name is answered otherwise than before.
    pub(super) fn new(ask: Ask, forbidden: &[IpNet]) -> (Self, impl Stream<Item = Key> + Send + 'static) {
        let (news, told) = News::new();
        (Self { watches: Mutex::default(), news, ask, forbidden: forbidden.into() }, told)
    }

    /// Asks for the host names of an environment from now on, and for those only.
    pub(super) fn want(&self, environment: &Key, spec: &Validated) {
        let wanted: BTreeSet<Question> = spec
            .components
            .iter()
            .filter_map(|component| match &component.source {
                Source::External { at, .. } => at.host(),
                _ => None,
            })
            .flat_map(|(name, families)| families.iter().map(|family| (name.clone(), *family)))
            .collect();
        let mut watches = self.lock();
        leave(&mut watches, environment, &wanted);
        for question in wanted {
            let watch = watches.entry(question.clone()).or_insert_with(|| self.start(question));
            lock(&watch.shared).wanted_by.insert(environment.clone());
        }
    }

    /// What was told of a host, by family; nothing of what was not answered yet.
    pub(super) fn told(&self, host: &str, families: &BTreeSet<IpFamily>) -> BTreeMap<IpFamily, Told> {
        let watches = self.lock();
        let of = |family: &IpFamily| {
            watches.get(&(host.to_owned(), *family)).map(|watch| lock(&watch.shared).told.clone()).unwrap_or_default()
        };
        families.iter().map(|family| (*family, of(family))).collect()
    }

    /// Forgets a deleted environment.
    pub(super) fn forget(&self, environment: &Key) {
        leave(&mut self.lock(), environment, &BTreeSet::new());
    }

    fn start(&self, (host, family): Question) -> Watch {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (ask, news, forbidden, told) =
            (Arc::clone(&self.ask), self.news.clone(), Arc::clone(&self.forbidden), Arc::clone(&shared));
        let task = tokio::spawn(async move {
            loop {
                let answer = ask(host.clone(), family).await;
                let (Heard { again, news: is_new }, wanted_by) = {
                    let mut shared = lock(&told);
                    (shared.told.take(answer, &forbidden, Timestamp::now()), shared.wanted_by.clone())
                };
                if is_new {
                    tracing::debug!(host, family = family.as_str(), "there is news of the name");
                    for environment in wanted_by {
                        news.tell(environment);
                    }
                }
                tokio::time::sleep(jittered(again)).await;
            }
        });
        Watch { shared, _task: AbortOnDropHandle::new(task) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Watch>> {
        lock(&self.watches)
    }
}

/// Ends what nobody else wants to know.
fn leave(watches: &mut HashMap<Question, Watch>, environment: &Key, but: &BTreeSet<Question>) {
    watches.retain(|question, watch| {
        let mut shared = lock(&watch.shared);
        but.contains(question) || !shared.wanted_by.remove(environment) || !shared.wanted_by.is_empty()
    });
}

/// Up to a tenth longer, so that names that were asked for together do not stay together. Never sooner: a cache between would give the rest
/// of the old answer.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + fastrand::f64() / 10.0)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
