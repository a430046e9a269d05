//! A Kubernetes control plane as child processes: etcd, kube-apiserver, kube-controller-manager.
//!
//! It runs inside the test bed's namespace only. No scheduler and no kubelet: see `node` for pods. Several can run
//! side by side. The API server can be stopped, started again on the same port, and frozen. Everything ends when
//! the value is dropped.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{Client, Config};
use tempfile::TempDir;

mod access;
mod audit;
mod commands;
mod daemons;
mod keys;
mod objects;

pub use access::{Identity, NAMED_USERS};
pub use audit::{AuditEntry, AuditLog, Mark};
pub use commands::Output;

use self::{access::Access, daemons::Daemons};
use crate::{bed, namespace, ports, process::Process};

/// How long a daemon may take to come up; it takes about three seconds on two idle cores.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// One control plane. See the module.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: clients of the API server first, its storage last.
    controller_manager: Option<Process>,
    api_server: Mutex<Option<Process>>,
    etcd: Process,
    daemons: Daemons,
    access: Access,
    kubeconfig: PathBuf,
    logs: PathBuf,
    data: TempDir,
    resources: objects::Resources,
}

impl ControlPlane {
    /// Starts one.
    ///
    /// # Errors
    /// Outside of the namespace; when a tool is missing; when a daemon does not come up (with its log's end).
    pub async fn start() -> Result<Self> {
        Self::start_named("control-plane").await
    }

    /// Starts one whose logs lie in a folder of this name.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_named(name: &str) -> Result<Self> {
        namespace::require();
        let data = bed::data_folder(name)?;
        let logs = bed::log_folder(name)?;
        let port = ports::free()?;
        let access = Access::new(port, data.path().join("certs/apiserver.crt"), data.path())?;
        let daemons = Daemons::prepare(data.path(), &logs, port, &access.token_file())?;
        let etcd = daemons.etcd()?;
        let api_server = daemons.api_server()?;
        wait_until_ready(&api_server, &access).await?;
        let kubeconfig = access.kubeconfig(&Identity::Admin).await?;
        let controllers = Identity::User { name: "controllers".into(), groups: vec!["system:masters".into()] };
        let controller_manager = daemons.controller_manager(&access.kubeconfig(&controllers).await?)?;
        Ok(Self {
            controller_manager: Some(controller_manager),
            api_server: Mutex::new(Some(api_server)),
            etcd,
            daemons,
            access,
            kubeconfig,
            logs,
            data,
            resources: objects::Resources::default(),
        })
    }

    /// A new client of the administrator. Clients belong to the runtime that made them: one per test.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub async fn admin(&self) -> Result<Client> {
        self.client(&Identity::Admin).await
    }

    /// A new client for anybody: the groups are the user's besides `system:authenticated`.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        self.client(&Identity::User { name: user.into(), groups: groups.iter().map(ToString::to_string).collect() })
            .await
    }

    /// A new client with a real token of an existing service account.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn service_account_client(&self, namespace: &str, name: &str) -> Result<Client> {
        self.client(&Identity::ServiceAccount { namespace: namespace.into(), name: name.into() }).await
    }

    /// A new client for an identity.
    ///
    /// # Errors
    /// When the certificates cannot be read, or a token is refused.
    pub async fn client(&self, identity: &Identity) -> Result<Client> {
        self.access.client(identity).await
    }

    /// The configuration behind [`ControlPlane::client`], for clients with other time-outs or layers.
    ///
    /// # Errors
    /// When the certificates cannot be read, or a token is refused.
    pub async fn config(&self, identity: &Identity) -> Result<Config> {
        self.access.config(identity).await
    }

    /// Writes a kubeconfig file for child processes. It is removed with the control plane.
    ///
    /// # Errors
    /// When it cannot be written, or a token is refused.
    pub async fn kubeconfig_for(&self, identity: &Identity) -> Result<PathBuf> {
        self.access.kubeconfig(identity).await
    }

    /// The administrator's kubeconfig file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.access.url()
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        self.daemons.audit_log()
    }

    /// A folder for files that may go with the control plane.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The folder with the daemons' logs.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Ends the API server as a crash would. Storage and the controller manager go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop_apiserver(&self) -> Result<()> {
        let server = self.api_server.lock().unwrap_or_else(PoisonError::into_inner).take();
        server.map_or(Ok(()), |server| server.kill().map(drop))
    }

    /// Starts the API server again on its port, with the same keys and storage, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_apiserver(&self) -> Result<()> {
        self.stop_apiserver()?;
        let server = self.daemons.api_server()?;
        wait_until_ready(&server, &self.access).await?;
        *self.api_server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        Ok(())
    }

    /// Freezes the API server: connections stay open, nothing is answered.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn pause_apiserver(&self) -> Result<()> {
        let server = self.api_server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().context("the API server is stopped")?.pause()
    }

    /// Lets a frozen API server go on.
    ///
    /// # Errors
    /// When it is stopped.
    pub fn resume_apiserver(&self) -> Result<()> {
        let server = self.api_server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().context("the API server is stopped")?.resume()
    }

    /// Ends the controller manager, for tests that must not meet the garbage collector.
    pub fn stop_controller_manager(&mut self) {
        self.controller_manager = None;
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // A clean shutdown of what nobody reads again would only take time.
        if let Some(process) = &self.controller_manager {
            drop(process.kill());
        }
        drop(self.stop_apiserver());
        drop(self.etcd.kill());
    }
}

async fn wait_until_ready(server: &Process, access: &Access) -> Result<()> {
    server
        .wait_ready(START_TIMEOUT, || async {
            let client = access.client(&Identity::Admin).await?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await.map(drop).context("/readyz")
        })
        .await
}

/// Writes a file of the control plane's folder.
fn write(folder: &Path, name: &str, content: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
