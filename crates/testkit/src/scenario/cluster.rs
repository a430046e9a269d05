//! Everything that the story needs: control plane, proxy, node, Prometheus, the chart, two replicas of the operator.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use anyhow::{Context, Result};
use tokio::{sync::Mutex, time::sleep};

use super::{Access, Event};
use crate::{
    control_plane::{ControlPlane, Identity},
    node::{NodeOptions, NodeSimulator},
    operator::{self, Operator},
    prometheus::{Prometheus, Targets},
    traefik::Traefik,
};

/// Replicas of the operator that should run.
const REPLICAS: usize = 2;

/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(500);

/// The namespace of the shop.
pub(super) const NAMESPACE: &str = "shop";

/// The running parts. Dropping it ends them all.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: what uses the API server first.
    operators: Mutex<Replicas>,
    pub(super) node: NodeSimulator,
    pub(super) prometheus: Prometheus,
    pub(super) traefik: Traefik,
    pub(super) plane: ControlPlane,
}

impl Cluster {
    /// Starts the parts and installs the operator as its users would: CRDs and chart by Helm; two replicas under the chart's
    /// service account.
    pub(super) async fn start(tell: &(dyn Fn(Event) + Send + Sync)) -> Result<Self> {
        let doing = |what: &str| tell(Event::Doing(what.to_owned()));
        doing("starting etcd, kube-apiserver and kube-controller-manager");
        let plane = ControlPlane::start_named("demo").await?;
        doing("starting Traefik, which serves all three routers, Prometheus and the simulated node");
        let traefik = Traefik::start(&plane).await?;
        let targets = plane.data().join("pods.json");
        let robot = Identity::User { name: "node-simulator".to_owned(), groups: vec!["system:masters".to_owned()] };
        let options = NodeOptions { targets: Some(targets.clone()), ..NodeOptions::default() };
        let node = NodeSimulator::start(plane.config(&robot).await?, options).await?;
        let fixed = BTreeMap::from([("traefik".to_owned(), vec![traefik.entry_points().internal])]);
        let prometheus = Prometheus::start(&Targets { file: Some(targets), fixed }, plane.logs()).await?;

        doing("installing the CRDs and the chart");
        operator::install(&plane).await?;
        doing("starting two replicas of the operator under the chart's service account");
        let mut operators = Replicas::default();
        operators.complete(&plane, &prometheus).await?;
        for replica in &operators.running {
            replica.ready().await?;
        }
        Ok(Self { operators: Mutex::new(operators), node, prometheus, traefik, plane })
    }

    /// How to reach the parts.
    #[must_use]
    pub fn access(&self) -> Access {
        let at = self.traefik.entry_points();
        Access {
            kubeconfig: self.plane.kubeconfig().to_owned(),
            entry_points: vec![("ingressNginx", at.nginx), ("gatewayApi", at.gateway), ("traefik", at.web)],
            prometheus: self.prometheus.address(),
            pid: std::env::var(crate::namespace::PID_VARIABLE).ok().and_then(|pid| pid.parse().ok()),
        }
    }

    /// Starts another replica in the place of each that has ended, as a Deployment would: who is killed ends, and who loses the lease.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn keep_replicas(&self, tell: &(dyn Fn(Event) + Send + Sync)) -> Result<Infallible> {
        loop {
            for started in self.operators.lock().await.complete(&self.plane, &self.prometheus).await? {
                tell(Event::Doing(format!("a replica of the operator has ended: {started} starts in its place")));
            }
            sleep(LOOK).await;
        }
    }

    /// The name of the replica that leads.
    pub(super) async fn leader(&self) -> Result<String> {
        let client = self.plane.admin().await?;
        let operators = self.operators.lock().await;
        let leader = operator::leader(&client, &operators.running).await?.context("no replica holds the lease")?;
        Ok(leader.name().to_owned())
    }

    /// Kills the leader as a crash would. Returns its name.
    pub(super) async fn kill_leader(&self) -> Result<String> {
        let name = self.leader().await?;
        let operators = self.operators.lock().await;
        let leader = operators.running.iter().find(|replica| replica.name() == name);
        leader.context("the leader has just ended")?.process().kill()?;
        Ok(name)
    }

    /// What the cluster looks like, for an error's context.
    pub(super) async fn describe(&self) -> String {
        let list = self.plane.kubectl(["get", "cutover,pods", "-n", NAMESPACE, "-o", "wide"]).await;
        let phases = self.plane.kubectl(["get", "mphase,tsplit", "-n", NAMESPACE, "-o", "yaml"]).await;
        let text = |output: Result<crate::control_plane::Output>| match output {
            Ok(output) => format!("{}{}", output.stdout, output.stderr),
            Err(error) => format!("{error:#}"),
        };
        // The whole goes to a file: an error should fit a screen.
        let file = self.plane.logs().join("state.yaml");
        drop(std::fs::write(&file, text(phases)));
        format!("the shop:\n{}(phases and splits in full: {})", text(list), file.display())
    }
}

/// The replicas that run, and how many there were so far.
#[derive(Debug, Default)]
struct Replicas {
    running: Vec<Operator>,
    started: usize,
}

impl Replicas {
    /// Starts what is missing, and gives its names.
    async fn complete(&mut self, plane: &ControlPlane, prometheus: &Prometheus) -> Result<Vec<String>> {
        self.running.retain(|replica| replica.process().exited().is_none());
        let mut names = Vec::new();
        while self.running.len() < REPLICAS {
            self.started += 1;
            let name = format!("operator-{}", self.started);
            self.running.push(start_replica(plane, prometheus, &name).await?);
            names.push(name);
        }
        Ok(names)
    }
}

async fn start_replica(plane: &ControlPlane, prometheus: &Prometheus, name: &str) -> Result<Operator> {
    let flags = vec![
        format!("--prometheus=default=http://{}", prometheus.address()),
        "--lease-duration=4s".to_owned(),
        "--lease-renew-deadline=3s".to_owned(),
        "--lease-retry-period=1s".to_owned(),
        format!("--forbidden-external-cidrs={},{}", crate::namespace::POD_RANGE, crate::namespace::SERVICE_RANGE),
        "--log-format=json".to_owned(),
    ];
    Operator::start(plane, operator::Options { name: name.to_owned(), flags, program: None }).await
}

/// How long anything but the way back may take in the story.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
