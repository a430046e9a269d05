//! The command lines of the three daemons.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{AuditLog, keys, write};
use crate::{namespace, ports, process::Process, tools};

/// Every request once when it is answered, and each watch also when it begins.
const AUDIT_POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Controllers that need nodes with heartbeats or a cloud stay off.
const CONTROLLERS: &str = "*,-nodeipam,-cloud-node-lifecycle,-node-lifecycle-controller";

/// Files and ports of one control plane; starts its daemons, any number of times.
#[derive(Debug)]
pub(super) struct Daemons {
    folder: PathBuf,
    logs: PathBuf,
    port: u16,
    etcd_port: u16,
    etcd_peer_port: u16,
    tokens: PathBuf,
    signing_key: PathBuf,
    verifying_key: PathBuf,
    audit_policy: PathBuf,
    audit_log: PathBuf,
}

impl Daemons {
    pub(super) fn prepare(folder: &Path, logs: &Path, port: u16, tokens: &str) -> Result<Self> {
        fs::create_dir_all(folder.join("certs"))?;
        let audit_log = logs.join("audit.jsonl");
        fs::write(&audit_log, "")?;
        let key = keys::SigningKey::generate()?;
        Ok(Self {
            folder: folder.to_path_buf(),
            logs: logs.to_path_buf(),
            port,
            etcd_port: ports::free()?,
            etcd_peer_port: ports::free()?,
            tokens: write(folder, "tokens.csv", tokens)?,
            signing_key: write(folder, "service-accounts.key", &key.private)?,
            verifying_key: write(folder, "service-accounts.pub", &key.public)?,
            audit_policy: write(folder, "audit-policy.yaml", AUDIT_POLICY)?,
            audit_log,
        })
    }

    pub(super) fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.audit_log.clone())
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    pub(super) fn etcd(&self) -> Result<Process> {
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer_port);
        let mut command = Command::new(tools::find("etcd")?);
        command
            .arg("--name=testbed")
            .arg(flag("--data-dir", self.folder.join("etcd").display()))
            .arg(flag("--listen-client-urls", self.etcd_url()))
            .arg(flag("--advertise-client-urls", self.etcd_url()))
            .arg(flag("--listen-peer-urls", &peer))
            .arg(flag("--initial-advertise-peer-urls", &peer))
            .arg(flag("--initial-cluster", format!("testbed={peer}")))
            .arg("--unsafe-no-fsync")
            .arg("--quota-backend-bytes=4294967296")
            .arg("--log-level=warn");
        Process::spawn("etcd", command, &self.logs)
    }

    pub(super) fn api_server(&self) -> Result<Process> {
        let mut command = Command::new(tools::find("kube-apiserver")?);
        command
            .arg(flag("--etcd-servers", self.etcd_url()))
            .arg("--bind-address=127.0.0.1")
            .arg(flag("--secure-port", self.port))
            // The default is the address of the default route's interface, and there is none.
            .arg(flag("--advertise-address", namespace::ADVERTISED))
            // A serving certificate and its authority are made here at the first start, and kept.
            .arg(flag("--cert-dir", self.folder.join("certs").display()))
            .arg(flag("--token-auth-file", self.tokens.display()))
            .arg("--authorization-mode=RBAC")
            .arg(flag("--service-account-key-file", self.verifying_key.display()))
            .arg(flag("--service-account-signing-key-file", self.signing_key.display()))
            .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
            .arg(flag("--service-cluster-ip-range", namespace::SERVICE_RANGE))
            .arg(flag("--audit-policy-file", self.audit_policy.display()))
            .arg(flag("--audit-log-path", self.audit_log.display()))
            // In megabytes; a rotated log would lose entries.
            .arg("--audit-log-maxsize=8192")
            // Names of nodes mean nothing here.
            .arg("--kubelet-preferred-address-types=InternalIP")
            .arg("--profiling=false");
        Process::spawn("kube-apiserver", command, &self.logs)
    }

    pub(super) fn controller_manager(&self, kubeconfig: &Path) -> Result<Process> {
        let mut command = Command::new(tools::find("kube-controller-manager")?);
        command
            .arg(flag("--kubeconfig", kubeconfig.display()))
            .arg(flag("--controllers", CONTROLLERS))
            .arg("--leader-elect=false")
            .arg("--secure-port=0")
            .arg("--use-service-account-credentials=true")
            .arg(flag("--root-ca-file", self.folder.join("certs/apiserver.crt").display()))
            .arg(flag("--service-account-private-key-file", self.signing_key.display()))
            // One client for all controllers: the defaults (20 a second) would be the bottleneck of every test.
            .arg("--kube-api-qps=1000")
            .arg("--kube-api-burst=2000")
            .arg("--concurrent-gc-syncs=5")
            .arg("--profiling=false");
        Process::spawn("kube-controller-manager", command, &self.logs)
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}={value}")
}
