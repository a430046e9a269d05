//! The measured replica: a release build under the chart's service account, and what the kernel says of it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use cutover_testkit::{
    control_plane::ControlPlane, eventually, http, operator::NAMESPACE, ports, process::Process, tools::repository,
};

/// A running replica.
pub(super) struct Replica {
    process: Process,
    address: SocketAddr,
}

/// How a replica is ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Term,
    Kill,
}

impl Replica {
    pub(super) fn start(plane: &ControlPlane, kubeconfig: &Path) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), Into::into);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut command = Command::new(target.join("release/cutover-operator"));
        command
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .arg(format!("--metrics-bind-address={address}"))
            .arg(format!("--lease-namespace={NAMESPACE}"))
            .arg("--log-format=json");
        let process = Process::spawn("operator", command, plane.logs())?.with_grace(Duration::from_secs(20));
        Ok(Self { process, address })
    }

    /// Waits until it leads.
    pub(super) async fn leads(&self) -> Result<()> {
        let leads = || async {
            let metrics = http::text(self.address, "/metrics").await?;
            if metrics.lines().any(|line| line == "cutover_leader 1") { Ok(()) } else { bail!("it does not lead yet") }
        };
        self.process.wait_ready(Duration::from_secs(60), leads).await
    }

    pub(super) async fn end(&self, how: End) -> Result<()> {
        match how {
            End::Term => drop(self.process.stop()?),
            End::Kill => drop(self.process.kill()?),
        }
        eventually("the replica has ended", Duration::from_secs(5), || async {
            self.process.exited().context("it runs").map(drop)
        })
        .await
    }

    /// Resident memory in bytes (`VmRSS` of `proc_pid_status(5)`).
    pub(super) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// CPU time used so far (`utime` and `stime` of `proc_pid_stat(5)`).
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name in brackets may hold spaces: fields count from the closing bracket, which ends the second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).context("no CPU time");
        let ticks = ticks(11)? + ticks(12)?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(ticks * 1_000 / per_second))
    }
}
