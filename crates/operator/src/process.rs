//! The life of the process, from flags to exit code: server, clients, caches, election, controllers, and an orderly end.
//! Which controllers there are is [`wiring`](crate::wiring)'s.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use futures::future::BoxFuture;
use kube::Client;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    cluster::{
        Clients,
        discovery::{Discovery, OPTIONAL},
        lease::{Elector, End, Leadership, Skew, identity},
        stores::{Readiness, Stores},
    },
    metrics::Metrics,
    outbound,
    server::{self, Health},
    shutdown::Shutdown,
};

/// What controllers are made of.
pub struct Runtime {
    /// The flags.
    pub args: Args,
    /// The guarded client: reads always, writes while this replica leads.
    pub client: Client,
    /// The caches; each controller registers what it reads.
    pub stores: Stores,
    /// Which optional kinds are served.
    pub discovery: Discovery,
    /// For reconcile durations and gauges per object.
    pub metrics: Metrics,
    /// For what has effects outside of the API server.
    pub leadership: Leadership,
    /// The API server's clock against ours; `None` until measured, and without an election.
    pub skew: watch::Receiver<Option<Skew>>,
    /// The Prometheus servers that Environments may name.
    pub prometheus: outbound::prometheus::Servers,
    /// Makes the requests that users' specs ask for.
    pub probes: outbound::http_probe::Probes,
    /// Resolves the host names of external components.
    pub resolver: outbound::dns::Resolver,
    /// The sinks for notifications, and the client for them.
    pub sinks: (reqwest::Client, outbound::notify::Sinks),
    /// What Events name as their origin.
    pub replica: String,
    /// The namespace of the Lease, which is the operator's own.
    pub own_namespace: String,
    /// Cancelled when controllers should take no new work, for `graceful_shutdown_on`.
    pub stop: CancellationToken,
}

/// One controller: started once this replica leads and every store is listed; ends after [`Runtime::stop`].
pub struct Controller {
    /// Its name, for the log.
    pub name: &'static str,
    /// Starts it.
    pub start: Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>,
}

impl Controller {
    /// A controller called `name` that `start` starts.
    pub fn new<F>(name: &'static str, start: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, start: Box::new(move || Box::pin(start())) }
    }
}

/// How long the lease may take to be given back.
const RELEASE: Duration = Duration::from_secs(5);

/// How long one attempt to deliver a notification may take.
const NOTIFICATION: Duration = Duration::from_secs(10);

/// Runs the controllers that `build` makes until a signal, or until leadership is lost. `build` is called once, before
/// the election, and registers its caches with [`Runtime::stores`].
///
/// # Errors
/// When the process cannot start, or a part of it ends that should not.
pub async fn run<F>(args: Args, build: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(&mut Runtime) -> anyhow::Result<Vec<Controller>>,
{
    outbound::install_crypto();
    let sinks = args.notification_sinks.as_deref().map(outbound::notify::read).transpose();
    let sinks = sinks.context("--notification-sinks")?.unwrap_or_default();
    let shutdown = Shutdown::on_signals().context("signals cannot be handled")?;
    let metrics = Metrics::new()?;
    let health = Health::new(metrics.clone());
    let address = args.metrics_bind_address;
    let listener = server::bind(address).await.with_context(|| format!("--metrics-bind-address {address}"))?;
    let server = tokio::spawn(server::serve(listener, health.clone(), shutdown.end.clone()));

    let clients =
        Clients::infer(metrics.api_requests.clone()).await.context("no way to the API server is configured")?;
    let replica = args.replica();
    let election = Election::prepare(&args, &clients, &replica)?;
    let (leadership, skew) = (election.leadership.clone(), election.skew.clone());
    health.election(leadership.clone(), skew.clone());
    let client = clients.guarded(leadership.clone(), args.limits())?;
    let http = outbound::http_client(args.prometheus_timeout, args.extra_ca_file.as_ref())?;
    let notifying = outbound::http_client(NOTIFICATION, args.extra_ca_file.as_ref())?;
    let mut runtime = Runtime {
        sinks: (notifying, sinks),
        stores: Stores::new(
            client.clone(),
            args.watch_namespaces.clone(),
            metrics.invalid_objects.clone(),
            shutdown.end.clone(),
        ),
        discovery: Discovery::start(client.clone(), &OPTIONAL, shutdown.end.clone()),
        prometheus: outbound::prometheus::servers(&http, &args.prometheus),
        probes: outbound::http_probe::Probes::new(
            outbound::reach::Reach::new(&args.outbound_networks),
            outbound::roots(args.extra_ca_file.as_ref())?,
        ),
        resolver: outbound::dns::Resolver::new(&args.dns_servers),
        stop: shutdown.stop.clone(),
        client,
        metrics,
        leadership: leadership.clone(),
        skew,
        replica,
        own_namespace: own_namespace(&args, &clients),
        args,
    };
    let controllers = build(&mut runtime)?;
    let readiness = runtime.stores.readiness();
    health.stores(readiness.clone());

    let grace = runtime.args.shutdown_grace;
    let mut life = Life { tasks: JoinSet::new(), elector: None, release: CancellationToken::new() };
    let outcome = tokio::select! {
        biased;
        () = shutdown.stop.cancelled() => Outcome::Stopped,
        outcome = life.lead(election, &readiness, controllers) => outcome,
        ended = server => Outcome::Broken(anyhow::anyhow!("the metrics server ended: {ended:?}")),
    };
    health.stopping();
    let code = match outcome {
        // Nothing may be finished or written any more; what is left is the process's end.
        Outcome::Lost => {
            // The elector, which knows why, may not come to say it.
            tracing::error!("this replica does not lead any more, and ends: whatever restarts it makes it a standby");
            return Ok(ExitCode::FAILURE);
        }
        Outcome::Stopped => {
            life.finish(grace).await;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Broken(error) => {
            life.finish(Duration::ZERO).await;
            Err(error)
        }
    };
    shutdown.end.cancel();
    code
}

enum Outcome {
    /// Asked to end.
    Stopped,
    /// Leadership was lost.
    Lost,
    /// A part ended that should not.
    Broken(anyhow::Error),
}

struct Life {
    tasks: JoinSet<&'static str>,
    elector: Option<JoinHandle<End>>,
    release: CancellationToken,
}

impl Life {
    /// Waits for the caches, then for the lease, and runs the controllers; ends only when something is wrong.
    async fn lead(&mut self, election: Election, caches: &Readiness, controllers: Vec<Controller>) -> Outcome {
        // A replica whose caches cannot be filled (a right is missing, say) must not take the lease from one that works.
        caches.wait().await;
        tracing::info!("caches are listed");
        let leadership = election.leadership.clone();
        self.elector = election.elector.map(|elector| tokio::spawn(elector.run(self.release.clone())));
        if leadership.acquired().await.is_err() {
            return Outcome::Lost;
        }
        for controller in controllers {
            tracing::info!(controller = controller.name, "starting");
            let work = (controller.start)();
            self.tasks.spawn(async move {
                work.await;
                controller.name
            });
        }
        tokio::select! {
            () = leadership.ended() => Outcome::Lost,
            Some(ended) = self.tasks.join_next() => {
                Outcome::Broken(anyhow::anyhow!("a controller ended by itself: {ended:?}"))
            }
        }
    }

    /// Lets the controllers finish what is under way, abandons it after `grace`, and then gives the lease back.
    async fn finish(mut self, grace: Duration) {
        let tasks = &mut self.tasks;
        if tokio::time::timeout(grace, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!(?grace, "work under way is abandoned");
            tasks.shutdown().await;
        }
        self.release.cancel();
        if let Some(elector) = self.elector
            && !matches!(tokio::time::timeout(RELEASE, elector).await, Ok(Ok(End::Released)))
        {
            tracing::warn!("the lease was not given back in time: it runs out by itself");
        }
    }
}

fn own_namespace(args: &Args, clients: &Clients) -> String {
    args.lease_namespace.as_deref().unwrap_or_else(|| clients.default_namespace()).to_owned()
}

struct Election {
    elector: Option<Elector>,
    leadership: Leadership,
    skew: watch::Receiver<Option<Skew>>,
}

impl Election {
    fn prepare(args: &Args, clients: &Clients, replica: &str) -> anyhow::Result<Self> {
        if !args.leader_elect {
            return Ok(Self { elector: None, leadership: Leadership::always(), skew: watch::channel(None).1 });
        }
        let namespace = own_namespace(args, clients);
        let timing = args.timing();
        let client = clients.lease(timing.renew_deadline)?;
        let (elector, leadership, skew) = Elector::new(client, &namespace, &args.lease_name, identity(replica), timing);
        Ok(Self { elector: Some(elector), leadership, skew })
    }
}
