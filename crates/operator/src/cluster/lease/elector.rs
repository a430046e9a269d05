//! Carries out the [`tracker`](super::tracker)'s steps against the API server.
//!
//! A standby watches the Lease, so that one given back is taken at once; the holder renews it every `retry`, which is
//! the only periodic request of the process.

use std::time::Duration;

use futures::{Stream, StreamExt, future::OptionFuture, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Leadership, Skew, Tenure,
    api::LeaseApi,
    evaluate::Mono,
    tracker::{Answer, Step, Timing, Tracker, Why},
};
use crate::cluster::backoff::WatchBackoff;

/// How an election ended for this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Asked to stop; the lease, if held, was given back (or could not be, and runs out by itself).
    Released,
    /// Leadership was lost: the process must end.
    Lost(Why),
}

/// One candidate. Run it with [`Elector::run`]; see the module.
pub struct Elector {
    api: LeaseApi,
    leases: Api<Lease>,
    name: String,
    tracker: Tracker,
    timing: Timing,
    start: Instant,
    state: watch::Sender<Tenure>,
    skew: watch::Sender<Option<Skew>>,
    tried: bool,
}

impl Elector {
    /// A candidate called `me` for the Lease `namespace/name`. The client must be the lease's own: without throttling,
    /// guard or retries. Returns with it the handle to ask and the measured clock skew.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        me: String,
        timing: Timing,
    ) -> (Self, Leadership, watch::Receiver<Option<Skew>>) {
        let (state, leadership) = Leadership::channel();
        let (skew, measured) = watch::channel(None);
        let elector = Self {
            api: LeaseApi::new(client.clone(), namespace, name),
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            tracker: Tracker::new(me, name.to_owned(), timing),
            timing,
            start: Instant::now(),
            state,
            skew,
            tried: false,
        };
        (elector, leadership, measured)
    }

    /// Takes and renews the lease until it is lost, or until `release` is cancelled, when it is given back. Cancel it
    /// only when nothing writes any more.
    pub async fn run(mut self, release: CancellationToken) -> End {
        let mut changes: Option<BoxStream<'static, watcher::Result<watcher::Event<Lease>>>> = None;
        loop {
            let step = self.tracker.next(self.now(), Timestamp::now());
            let leading = self.tracker.deadline().is_some();
            match step {
                Step::Lost(why) => {
                    self.state.send_replace(Tenure::Ended);
                    tracing::error!(%why, "leadership lost");
                    return End::Lost(why);
                }
                Step::Wait(until) => {
                    if leading {
                        changes = None;
                    } else if changes.is_none() {
                        changes = Some(self.watch().boxed());
                    }
                    let next: OptionFuture<_> = changes.as_mut().map(|changes| changes.next()).into();
                    tokio::select! {
                        () = release.cancelled() => return self.release().await,
                        () = tokio::time::sleep_until(self.start + until) => {}
                        Some(event) = next => self.changed(event),
                    }
                }
                step => {
                    let sent = self.now();
                    let answer = tokio::select! {
                        () = release.cancelled() => return self.release().await,
                        answer = self.perform(&step) => answer,
                    };
                    self.tracker.answered(sent, answer, self.now());
                    self.publish(leading);
                }
            }
        }
    }

    async fn perform(&mut self, step: &Step) -> Answer {
        let timeout = self.timeout();
        let result = match step {
            Step::Create(lease) => {
                self.tried = true;
                self.api.create(lease, timeout).await
            }
            Step::Replace(lease) => {
                self.tried = true;
                self.api.replace(lease, timeout).await
            }
            Step::Observe | Step::Wait(_) | Step::Lost(_) => self.api.get(timeout).await,
        };
        match result {
            Ok((answer, skew)) => {
                if skew.is_some() {
                    self.skew.send_replace(skew);
                }
                answer
            }
            Err(error) => {
                tracing::warn!(%error, lease = %self.name, "lease request failed");
                Answer::Failed
            }
        }
    }

    fn publish(&self, led: bool) {
        let Some(deadline) = self.tracker.deadline() else { return };
        self.state.send_replace(Tenure::Leading { until: self.start + deadline });
        if !led {
            tracing::info!(lease = %self.name, "leading");
        }
    }

    fn changed(&mut self, event: Option<watcher::Result<watcher::Event<Lease>>>) {
        let now = self.now();
        match event {
            Some(Ok(watcher::Event::Apply(lease) | watcher::Event::InitApply(lease))) => {
                self.tracker.observed(Some(lease), now);
                tracing::debug!(holder = self.tracker.holder(), "lease changed");
            }
            Some(Ok(watcher::Event::Delete(_))) => self.tracker.observed(None, now),
            Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) | None => {}
            Some(Err(error)) => tracing::debug!(%error, "watch of the lease interrupted"),
        }
    }

    fn watch(&self) -> impl Stream<Item = watcher::Result<watcher::Event<Lease>>> + Send + 'static {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        watcher(self.leases.clone(), config).backoff(WatchBackoff::default())
    }

    /// Stops writing first, then gives the lease back if it is ours.
    async fn release(self) -> End {
        self.state.send_replace(Tenure::Ended);
        if !self.tried {
            return End::Released;
        }
        let timeout = self.timing.retry.max(Duration::from_secs(1));
        // Read afresh: a renewal may have been under way.
        let current = self.api.get(timeout).await.map(|(answer, _)| answer);
        let released = match &current {
            Ok(Answer::Current(Some(lease))) => self.tracker.released(lease, Timestamp::now()),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the lease could not be read to give it back: it runs out by itself");
                None
            }
        };
        if let Some(lease) = released {
            match self.api.replace(&lease, timeout).await {
                Ok((Answer::Written(_), _)) => tracing::info!(lease = %self.name, "lease given back"),
                Ok(_) => tracing::info!(lease = %self.name, "the lease changed hands before it was given back"),
                Err(error) => tracing::warn!(%error, "the lease could not be given back: it runs out by itself"),
            }
        }
        End::Released
    }

    fn now(&self) -> Mono {
        self.start.elapsed()
    }

    /// Half the deadline, so that a request that hangs leaves time for another; never past the deadline.
    fn timeout(&self) -> Duration {
        let attempt = self.timing.renew_deadline / 2;
        match self.tracker.deadline() {
            Some(deadline) => attempt.min(deadline.saturating_sub(self.now())),
            None => attempt,
        }
    }
}
