//! What every controller does alike: takes changes in, runs reconciles, measures and logs them, and says when what failed is tried
//! again. A controller is a [`Reconciler`]; [`controller`] makes it one that the process can start.
//!
//! What becomes of a reconcile that failed, for all controllers:
//!
//! | why | what follows |
//! |---|---|
//! | decided on an outdated copy (409) | the newer copy triggers the next reconcile; should it not, one follows after [`OUTDATED`] |
//! | this replica leads no longer | nothing: the process is about to end |
//! | anything else | again after a growing wait; also what was refused, because no watch tells of a right or policy that is changed |

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, future, stream::BoxStream};
use kube::runtime::{
    controller::{self, Action},
    reflector::ObjectRef,
    watcher,
};

use super::error::Error;
use crate::{
    cluster::{
        backoff::Backoffs,
        stores::{Change, Kept, Key, Objects, beyond_status},
    },
    metrics::Metrics,
    process::{Controller, Runtime},
};

/// When the API server found our copy outdated, the newer one is on its way; this is for the case that it is not.
pub(super) const OUTDATED: Duration = Duration::from_millis(200);
/// Objects of others are not watched: how long until it is looked again whether a name is free, or a right is there.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the controller runtime tells of one reconcile.
type Outcome<K> = Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>;

/// Objects of the kind `K` that are to be looked at because something else changed.
pub(super) type Triggers<K> = BoxStream<'static, ObjectRef<K>>;

/// The part of a controller that differs from the others.
pub(super) trait Reconciler: Send + Sync + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;
    /// The kind of object that it carries out.
    type Kind: Kept;

    /// Brings the cluster one step nearer to what `cached` declares, and says when to look again without a change. Level-triggered: it
    /// may run at any time, but never twice at once for one object.
    fn reconcile(&self, cached: Arc<Self::Kind>) -> impl Future<Output = Result<Action, Error>> + Send;

    /// Whether a change of an object is a reason to look at it; everything but its status, unless said otherwise.
    fn matters(before: &Self::Kind, after: &Self::Kind) -> bool {
        beyond_status(before, after)
    }

    /// The cache shows an object, new or changed. Called in order with [`Self::forget`], before the reconcile that follows.
    fn seen(&self, _key: &Key, _object: &Arc<Self::Kind>) {}

    /// An object is gone: what is kept of it may go, such as its gauges. What was to be done for it in the cluster is done: a finalizer
    /// saw to that.
    fn forget(&self, key: &Key);

    /// Nothing is reconciled any more: what waits to be told, such as Events, is told while this replica may still write.
    fn finish(&self) -> impl Future<Output = ()> + Send {
        future::ready(())
    }
}

/// A controller of `objects`. `start` is called once this replica leads and all caches are filled; it makes the reconciler, and
/// subscribes to everything but `objects` themselves.
pub(super) fn controller<R: Reconciler>(
    runtime: &Runtime,
    objects: &Objects<R::Kind>,
    start: impl FnOnce() -> (R, Triggers<R::Kind>) + Send + 'static,
) -> Controller {
    let objects = objects.clone();
    let metrics = runtime.metrics.clone();
    let config = controller::Config::default().concurrency(runtime.args.concurrency);
    let stop = runtime.stop.clone();
    Controller::new(R::NAME, move || async move {
        let (reconciler, others) = start();
        let driver = Arc::new(Driver { reconciler, metrics, backoffs: Backoffs::default() });
        // After the others were subscribed to: what changes while an object is looked at for the first time is not missed.
        let own = Arc::clone(&driver).own(&objects);
        kube::runtime::Controller::for_shared_stream(own, objects.store())
            .with_config(config)
            .reconcile_on(others)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile, error_policy, Arc::clone(&driver))
            .for_each(async |result| log::<R>(result))
            .await;
        driver.reconciler.finish().await;
    })
}

struct Driver<R> {
    reconciler: R,
    metrics: Metrics,
    backoffs: Backoffs<Key>,
}

impl<R: Reconciler> Driver<R> {
    /// Every object that is there, then those whose change matters.
    fn own(self: Arc<Self>, objects: &Objects<R::Kind>) -> impl Stream<Item = Arc<R::Kind>> + Send + 'static {
        objects.changes().filter_map(move |change| future::ready(self.take(change)))
    }

    /// The object to look at after this change of it, if any.
    fn take(&self, Change { key, before, after }: Change<R::Kind>) -> Option<Arc<R::Kind>> {
        let Some(object) = after else {
            self.backoffs.forget(&key);
            self.reconciler.forget(&key);
            return None;
        };
        self.reconciler.seen(&key, &object);
        let matters = before.is_none_or(|before| R::matters(&before, &object));
        matters.then_some(object)
    }

    /// How long to wait after a failure; `None` for ever.
    fn wait(&self, key: Key, error: &Error) -> Option<Duration> {
        if error.is_not_leader() {
            return None;
        }
        Some(if error.is_conflict() { OUTDATED } else { self.backoffs.failed(key) })
    }
}

async fn reconcile<R: Reconciler>(object: Arc<R::Kind>, driver: Arc<Driver<R>>) -> Result<Action, Error> {
    let started = Instant::now();
    let key = Key::of(&*object);
    let result = driver.reconciler.reconcile(object).await;
    driver.metrics.reconciled(R::NAME, started.elapsed(), result.as_ref().err().map(Error::reason));
    if result.is_ok() {
        driver.backoffs.forget(&key);
    }
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller runtime asks for")]
fn error_policy<R: Reconciler>(object: Arc<R::Kind>, error: &Error, driver: Arc<Driver<R>>) -> Action {
    driver.wait(Key::of(&*object), error).map_or_else(Action::await_change, Action::requeue)
}

fn log<R: Reconciler>(result: Outcome<R::Kind>) {
    let controller = R::NAME;
    match result {
        Ok((object, action)) => tracing::debug!(controller, %object, ?action, "reconciled"),
        Err(controller::Error::ReconcilerFailed(error, object)) if error.is_conflict() => {
            tracing::debug!(controller, %object, %error, "decided on an outdated copy");
        }
        // Deleted while its reconcile was waiting.
        Err(controller::Error::ObjectNotFound(object)) => tracing::debug!(controller, %object, "is gone"),
        Err(error) => tracing::warn!(controller, %error, "reconcile failed"),
    }
}
