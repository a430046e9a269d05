//! The operator as its users install it, and as a child process, as its pod would run it: own service account, own flags,
//! several replicas.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use crate::{
    control_plane::{ControlPlane, Identity},
    http, ports,
    process::Process,
    tools,
};

/// Namespace of the operator's service account and Lease.
pub const NAMESPACE: &str = "cutover-system";
/// The operator's service account, as the chart names it for the release `cutover`.
pub const SERVICE_ACCOUNT: &str = "cutover";
/// The operator's Lease.
pub const LEASE: &str = "cutover-operator";

const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// Installs both charts with Helm, as the README says: definitions, rights, policies.
///
/// The Deployment has no replicas, since nothing runs images here: [`Operator::start`] runs them beside the cluster, with the
/// chart's identity.
///
/// # Errors
/// When Helm refuses, with what it said.
pub async fn install(plane: &ControlPlane) -> Result<()> {
    for (chart, more) in [("cutover-crds", None), ("cutover", Some("--set=replicas=0"))] {
        let path = tools::repository().join("charts").join(chart).display().to_string();
        let args = ["install", chart, &path, "--namespace", NAMESPACE, "--create-namespace"];
        plane.helm(args.into_iter().chain(more)).await?.ok().with_context(|| format!("helm install {chart}"))?;
    }
    Ok(())
}

/// How a replica is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the replica, in the Lease and of its log.
    pub name: String,
    /// More flags, such as `--prometheus=default=http://127.0.0.1:9090`.
    pub flags: Vec<String>,
    /// Program instead of the one that cargo built.
    pub program: Option<PathBuf>,
}

/// A running replica. Dropping it ends it.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    name: String,
    address: SocketAddr,
}

impl Operator {
    /// Starts a replica as the chart's service account.
    ///
    /// # Errors
    /// When the service account does not exist, or the program cannot be started.
    pub async fn start(plane: &ControlPlane, options: Options) -> Result<Self> {
        let account = Identity::ServiceAccount { namespace: NAMESPACE.into(), name: SERVICE_ACCOUNT.into() };
        Self::start_as(plane, &account, options).await
    }

    /// Starts a replica as anybody.
    ///
    /// # Errors
    /// When the identity has no credentials, or the program cannot be started.
    pub async fn start_as(plane: &ControlPlane, identity: &Identity, options: Options) -> Result<Self> {
        let kubeconfig = plane.kubeconfig_for(identity).await.context("credentials of the operator")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = Command::new(options.program.map_or_else(program, Ok)?);
        command
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .arg(format!("--metrics-bind-address={address}"))
            .arg(format!("--identity={}", options.name))
            .arg(format!("--lease-namespace={NAMESPACE}"))
            .args(&options.flags);
        let process = Process::spawn(&options.name, command, plane.logs())?.with_grace(Duration::from_secs(15));
        Ok(Self { process, name: options.name, address })
    }

    /// Waits until the replica is ready: its caches are listed, whether it leads or not.
    ///
    /// # Errors
    /// With the end of its log, when it ends or takes too long.
    pub async fn ready(&self) -> Result<()> {
        self.process.wait_ready(READY_TIMEOUT, || http::text(self.address, "/readyz")).await.map(drop)
    }

    /// Its metrics.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metrics(&self) -> Result<String> {
        http::text(self.address, "/metrics").await
    }

    /// Name of the replica.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The replica that holds the Lease, if one does.
///
/// # Errors
/// When the API server does not answer.
pub async fn leader<'a>(client: &Client, replicas: &'a [Operator]) -> Result<Option<&'a Operator>> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let holder = leases.get_opt(LEASE).await?.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
    // A random part follows the replica's name.
    Ok(replicas.iter().find(|replica| {
        holder.strip_prefix(&replica.name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    }))
}

/// The operator that cargo built, or the one that `CUTOVER_OPERATOR` names.
fn program() -> Result<PathBuf> {
    if let Some(named) = env::var_os("CUTOVER_OPERATOR") {
        return Ok(named.into());
    }
    let built = built("cutover-operator");
    anyhow::ensure!(built.exists(), "{} is not built: `cargo build -p cutover-operator`", built.display());
    Ok(built)
}

/// The operator as one static file, which `cargo xtask test` links.
///
/// # Errors
/// When it is not there.
pub fn static_program() -> Result<PathBuf> {
    let built = built("cutover-operator-static");
    anyhow::ensure!(built.exists(), "{} is not linked: `cargo xtask test` does it", built.display());
    Ok(built)
}

fn built(name: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| tools::repository().join("target"), PathBuf::from);
    target.join("debug").join(name)
}
