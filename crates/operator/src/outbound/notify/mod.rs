//! Notifications to the sinks of the operator's configuration. Each sink has a queue and a task of its own: a slow or silent receiver
//! delays no other and no reconcile, and what does not fit in its queue is dropped and counted. A message is tried again, with
//! growing pauses, until its deadline, which begins when it is handed over; every attempt carries the same `webhook-id`. What waits when the
//! process is killed is lost.

mod config;
mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use cutover_api::v1alpha1::migration_phase::NotifyOn;
use cutover_engine::migration_phase::Notification;
use jiff::Timestamp;
use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

pub use self::config::{Error, Format, Sink, Sinks, read};
use self::message::{Message, keys, signature};
use crate::metrics::Deliveries;

/// Messages that wait for one sink.
const WAITING: usize = 256;

/// When a message is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The first pause; each is twice the one before, with jitter.
    pub first_pause: Duration,
    /// The longest.
    pub longest_pause: Duration,
    /// After this long it is given up.
    pub deadline: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first_pause: seconds(1), longest_pause: seconds(60), deadline: seconds(600) }
    }
}

/// The sinks. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    sinks: Arc<Sinks>,
    deadline: Duration,
    deliveries: Deliveries,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    queues: BTreeMap<String, mpsc::Sender<Queued>>,
    couriers: JoinSet<()>,
}

struct Queued {
    message: Message,
    until: Instant,
}

impl Notifier {
    /// Starts a task for each sink.
    #[must_use]
    pub fn start(http: &reqwest::Client, sinks: Sinks, deliveries: Deliveries, timing: Timing) -> Self {
        let mut running = Running::default();
        for sink in &sinks.sinks {
            deliveries.begin(&sink.name);
            let (queue, waiting) = mpsc::channel(WAITING);
            let courier = Courier { http: http.clone(), sink: sink.clone(), timing, deliveries: deliveries.clone() };
            running.couriers.spawn(courier.run(waiting));
            running.queues.insert(sink.name.clone(), queue);
        }
        let running = Arc::new(Mutex::new(running));
        Self { sinks: Arc::new(sinks), deadline: timing.deadline, deliveries, running }
    }

    /// The sinks that phases of a namespace may name, and what each is told of all of them.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> BTreeMap<String, BTreeSet<NotifyOn>> {
        let sinks = self.sinks.sinks.iter().filter(|sink| sink.is_for(namespace));
        sinks.map(|sink| (sink.name.clone(), sink.always.clone())).collect()
    }

    /// Hands a message over; returns at once. A sink that is not configured is told nothing: the phase's status names it.
    pub fn send(&self, notification: &Notification) {
        let Some(sink) = self.sinks.sinks.iter().find(|sink| sink.name == notification.sink) else { return };
        let message = Message::new(sink.format, self.sinks.cluster.as_deref(), notification);
        let queued = Queued { message, until: Instant::now() + self.deadline };
        self.deliveries.waits(&sink.name);
        let running = self.running();
        if running.queues.get(&sink.name).is_none_or(|queue| queue.try_send(queued).is_err()) {
            tracing::warn!(sink = sink.name, id = notification.record.hash, "notification dropped: too many wait");
            self.deliveries.done(&sink.name, "dropped");
        }
    }

    /// Waits until everything that waits is delivered or given up, for no longer than `patience`. What is handed over from now on is
    /// dropped.
    pub async fn finish(&self, patience: Duration) {
        let Running { queues, mut couriers } = std::mem::take(&mut *self.running());
        drop(queues);
        let all = async { while couriers.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("notifications that wait to be delivered are lost");
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Courier {
    http: reqwest::Client,
    sink: Sink,
    timing: Timing,
    deliveries: Deliveries,
}

/// Why a message did not arrive.
enum Failure {
    /// It may arrive later, and not before this long.
    Passing(String, Duration),
    /// It will not.
    Final(String),
}

fn passing(why: impl Into<String>) -> Failure {
    Failure::Passing(why.into(), Duration::ZERO)
}

impl Courier {
    async fn run(self, mut waiting: mpsc::Receiver<Queued>) {
        while let Some(queued) = waiting.recv().await {
            let sink = self.sink.name.as_str();
            let outcome = match self.deliver(&queued).await {
                Ok(()) => "delivered",
                Err(why) => {
                    tracing::warn!(sink, id = queued.message.id, why, "notification not delivered");
                    "failed"
                }
            };
            self.deliveries.done(sink, outcome);
        }
    }

    async fn deliver(&self, Queued { message, until }: &Queued) -> Result<(), String> {
        let Timing { first_pause, longest_pause, deadline } = self.timing;
        let growing = ExponentialBuilder::default().with_min_delay(first_pause).with_max_delay(longest_pause);
        let mut pauses = growing.with_jitter().without_max_times().build();
        let mut last = "those before it took too long".to_owned();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("given up after {deadline:?}: {last}"));
            }
            let at_least = match self.attempt(message, left).await {
                Ok(()) => return Ok(()),
                Err(Failure::Final(why)) => return Err(why),
                Err(Failure::Passing(why, at_least)) => {
                    last = why;
                    at_least
                }
            };
            let pause = pauses.next().unwrap_or(longest_pause).max(at_least);
            if Instant::now() + pause >= *until {
                return Err(format!("given up after {deadline:?}: {last}"));
            }
            self.deliveries.retried(&self.sink.name);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, message: &Message, longest: Duration) -> Result<(), Failure> {
        let Message { id, content_type, body } = message;
        let mut request = self.http.post(self.url().await?).header(CONTENT_TYPE, *content_type).body(body.clone());
        if let Some(path) = &self.sink.secret_file {
            let timestamp = Timestamp::now().as_second();
            let keys = keys(&read_file(path).await?).map_err(|why| passing(format!("{}: {why}", path.display())))?;
            request = request
                .header("webhook-id", id)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature(&keys, id, timestamp, body));
        }
        let answer = tokio::time::timeout(longest, request.send()).await.map_err(|_| passing("no answer in time"))?;
        // The URL may be a secret.
        let answer = answer.map_err(|error| passing(cause(&error.without_url())))?;
        let said = format!("the receiver answered {}", answer.status());
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Passing(said, retry_after(&answer)))
            }
            status if status.is_server_error() => Err(Failure::Passing(said, retry_after(&answer))),
            status if status.is_redirection() => Err(Failure::Final(format!("{said}, and redirects are not followed"))),
            _ => Err(Failure::Final(said)),
        }
    }

    async fn url(&self) -> Result<Url, Failure> {
        let text = match (&self.sink.url, &self.sink.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => read_file(path).await?,
            (None, None) => return Err(Failure::Final("no url is configured".to_owned())),
        };
        url(&text).map_err(passing)
    }
}

/// How long the receiver wants to be left alone, if it says so in seconds.
fn retry_after(answer: &Response) -> Duration {
    let value = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    value.map(Duration::from_secs).unwrap_or_default()
}

/// What lies behind an error of the client, which says of itself only that a request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        text = format!("{text}: {deeper}");
        source = deeper.source();
    }
    text
}

/// A file may be replaced while it is read for.
async fn read_file(path: &Path) -> Result<String, Failure> {
    let read = tokio::fs::read_to_string(path).await;
    read.map_err(|error| passing(format!("{} cannot be read: {error}", path.display())))
}

fn url(text: &str) -> Result<Url, String> {
    let url: Url = text.trim().parse().map_err(|error| format!("it is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "there is a user or password in it: put what is secret into the path, and the URL into urlFile".to_owned()
        );
    }
    Ok(url)
}
