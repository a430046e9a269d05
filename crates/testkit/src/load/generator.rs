//! Sends the requests when they are due. Network I/O, on a thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::{sync::Semaphore, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    client::{Client, Sent},
    counts::Loss,
    expectation::Expect,
    ledger::{Finished, Ledger},
    report::Report,
    stream::Stream,
    window::Window,
};
use crate::node::{Reactor, protocol};

/// Value of the progress channel once nothing more will be recorded.
pub(super) const ENDED: u64 = u64::MAX;
/// How often waiting windows are told of new answers.
const NOTIFY: Duration = Duration::from_millis(20);

/// Bounds and habits of a generator.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Time for one request, from its start to the end of the answer. Default: 5 s.
    pub timeout: Duration,
    /// Percentage of requests sent on a connection of their own. Default: 10.
    pub fresh_percent: u8,
    /// A kept connection is used again for this long. Default: 500 ms.
    pub idle_limit: Duration,
    /// Requests that may wait for an answer at once; one more is lost as saturated. Default: 4,000.
    pub max_in_flight: usize,
    /// After this many requests the load ends. Default: 1,000,000.
    pub max_requests: u64,
    /// After this time the load ends. Default: 15 minutes.
    pub max_duration: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            fresh_percent: 10,
            idle_limit: Duration::from_millis(500),
            max_in_flight: 4_000,
            max_requests: 1_000_000,
            max_duration: Duration::from_secs(15 * 60),
        }
    }
}

/// A running load. Dropping it ends it at once; [`stop`](Self::stop) waits for the answers.
#[derive(Debug)]
pub struct LoadGenerator {
    shared: Arc<Shared>,
    reactor: Reactor,
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    options: LoadOptions,
    client: Client,
    in_flight: Arc<Semaphore>,
    started: AtomicU64,
    /// Ends the arrivals; answers are still waited for.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl LoadGenerator {
    /// Starts to send.
    ///
    /// # Errors
    /// When a stream is invalid, above all when its entry point is not on 127.0.0.0/8.
    pub fn start(options: LoadOptions, streams: impl IntoIterator<Item = Stream>) -> Result<Self> {
        ensure!(options.fresh_percent <= 100, "fresh_percent {} is above 100", options.fresh_percent);
        ensure!(options.max_in_flight <= Semaphore::MAX_PERMITS, "max_in_flight is too large");
        let reactor = Reactor::start("load")?;
        let shared = Arc::new(Shared {
            ledger: Arc::new(Ledger::new()),
            client: Client::new(options.idle_limit),
            in_flight: Arc::new(Semaphore::new(options.max_in_flight)),
            started: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            options,
        });
        reactor.handle().spawn(Arc::clone(&shared).supervise());
        let generator = Self { shared, reactor };
        for stream in streams {
            generator.add(stream)?;
        }
        Ok(generator)
    }

    /// Adds a stream to the running load.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when a stream has this name already.
    pub fn add(&self, stream: Stream) -> Result<()> {
        let headers = stream.validate()?;
        let index = self.shared.ledger.add(stream.clone())?;
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn_on(shared.run(index, stream, headers), self.reactor.handle());
        Ok(())
    }

    /// From now on the stream's requests must be answered as `to` says. Requests started until
    /// `grace` from now, and those under way, may still be answered as expected before.
    ///
    /// # Errors
    /// When there is no such stream.
    pub fn expect(&self, stream: &str, to: Expect, grace: Duration) -> Result<()> {
        self.shared.ledger.expect(stream, to, grace)
    }

    /// Requests started from now on.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window_from(Instant::now())
    }

    /// Requests started after an instant, which may be past.
    #[must_use]
    pub fn window_from(&self, from: Instant) -> Window {
        Window::new(Arc::clone(&self.shared.ledger), Some(from))
    }

    /// All requests since the start.
    #[must_use]
    pub fn whole(&self) -> Window {
        Window::new(Arc::clone(&self.shared.ledger), None)
    }

    /// From now until [`Exclusion::end`], requests are counted apart: those under way now too.
    #[must_use]
    pub fn exclude(&self, label: &str) -> Exclusion {
        let ledger = Arc::clone(&self.shared.ledger);
        let span = ledger.exclude(label, Instant::now());
        Exclusion { ledger, span }
    }

    /// Ends the arrivals, waits for the answers still due, and reports.
    ///
    /// # Errors
    /// When the generator has died before.
    pub async fn stop(self) -> Result<Report> {
        self.shared.stop.cancel();
        let mut progress = self.shared.ledger.progress.subscribe();
        progress.wait_for(|seen| *seen == ENDED).await.context("the load ended without a word")?;
        Ok(self.report())
    }

    /// The report so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let whole = self.whole();
        let (counts, excluded, streams) = (whole.counts(), whole.excluded(), whole.by_stream());
        let state = self.shared.ledger.lock();
        Report {
            counts,
            excluded,
            streams,
            spans: state.spans.clone(),
            failures: state.failures.clone(),
            elapsed: self.shared.ledger.origin.elapsed(),
            max_lag: state.max_lag,
        }
    }
}

/// An excluded span that is open. Dropping it ends it.
#[derive(Debug)]
pub struct Exclusion {
    ledger: Arc<Ledger>,
    span: usize,
}

impl Exclusion {
    /// Requests started from now on are counted again.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Exclusion {
    fn drop(&mut self) {
        self.ledger.end_span(self.span);
    }
}

impl Shared {
    /// Tells windows of progress; ends when the arrivals have ended and every answer is there.
    async fn supervise(self: Arc<Self>) {
        let _ended = Ended(Arc::clone(&self.ledger));
        let deadline = time::sleep(self.options.max_duration);
        tokio::pin!(deadline);
        let mut tick = time::interval(NOTIFY);
        loop {
            tokio::select! {
                _ = tick.tick() => self.ledger.progress.send_modify(|seen| *seen += 1),
                () = &mut deadline => self.stop.cancel(),
                () = self.stop.cancelled() => break,
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn run(self: Arc<Self>, index: usize, stream: Stream, headers: HeaderMap) {
        let interval = Duration::from_secs(1) / stream.rate;
        let mut due = time::Instant::now();
        let mut sequence = 0_u64;
        let mut fresh_due = 0_u32;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = time::sleep_until(due) => {}
            }
            let now = time::Instant::now();
            while due <= now {
                if self.started.fetch_add(1, Ordering::Relaxed) >= self.options.max_requests {
                    self.stop.cancel();
                    return;
                }
                fresh_due += u32::from(self.options.fresh_percent);
                let fresh = fresh_due >= 100;
                fresh_due %= 100;
                self.dispatch(index, &stream, &headers, Due { at: due.into_std(), sequence, fresh });
                sequence += 1;
                due += interval;
            }
        }
    }

    fn dispatch(self: &Arc<Self>, index: usize, stream: &Stream, headers: &HeaderMap, due: Due) {
        let id = format!("{}-{}", stream.name, due.sequence);
        let start = Instant::now();
        let lag = start.saturating_duration_since(due.at);
        if lag > Duration::from_millis(10) {
            self.ledger.note_lag(lag);
        }
        let finished = move |start, sent: Sent| Finished {
            id,
            planned: due.at,
            start,
            end: Instant::now(),
            fresh: due.fresh,
            stale: sent.stale,
            result: sent.result,
        };
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            let sent = Sent { stale: 0, result: Err((Loss::Saturated, "too many requests under way".to_owned())) };
            self.ledger.record(index, &finished(start, sent));
            return;
        };
        let request = build(stream, headers, due.sequence);
        let (shared, entry) = (Arc::clone(self), stream.entry);
        self.tasks.spawn(async move {
            let start = Instant::now();
            let sending = async {
                match request {
                    Ok(request) if due.fresh => shared.client.send_fresh(entry, request).await,
                    Ok(request) => shared.client.send_kept(entry, request).await,
                    Err(error) => Sent { stale: 0, result: Err((Loss::Malformed, error.to_string())) },
                }
            };
            let sent = time::timeout(shared.options.timeout, sending)
                .await
                .unwrap_or_else(|_| Sent { stale: 0, result: Err((Loss::Timeout, "no complete answer".to_owned())) });
            shared.ledger.record(index, &finished(start, sent));
            drop(permit);
        });
    }
}

/// Tells waiting windows that nothing more will come, also when the load is dropped.
struct Ended(Arc<Ledger>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.progress.send_replace(ENDED);
    }
}

/// One arrival.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    sequence: u64,
    fresh: bool,
}

fn build(stream: &Stream, headers: &HeaderMap, sequence: u64) -> Result<Request<Full<Bytes>>> {
    let body = if stream.method == Method::POST { Bytes::from_static(b"{\"order\":1}") } else { Bytes::new() };
    let mut request = Request::builder().method(&stream.method).uri(&stream.path).body(Full::new(body))?;
    let mut headers = headers.clone();
    headers.insert(protocol::REQUEST_ID, HeaderValue::try_from(format!("{}-{sequence}", stream.name))?);
    *request.headers_mut() = headers;
    Ok(request)
}
