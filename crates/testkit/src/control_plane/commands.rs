//! kubectl and helm against one control plane, as a user would run them.

use std::{
    ffi::OsStr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncWriteExt, process::Command};

use super::ControlPlane;
use crate::tools;

const TIMEOUT: Duration = Duration::from_secs(120);

/// What a command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output, if the command succeeded.
    ///
    /// # Errors
    /// With both streams, if it did not.
    pub fn ok(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("{}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

impl ControlPlane {
    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When it cannot be run; a failure of the command itself is in the output.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        self.run("kubectl", args, self.kubeconfig(), "").await
    }

    /// Runs helm as the administrator.
    ///
    /// # Errors
    /// When it cannot be run; a failure of the command itself is in the output.
    pub async fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        self.run("helm", args, self.kubeconfig(), "").await
    }

    /// Runs a tool with a kubeconfig file (see [`ControlPlane::kubeconfig_for`]) and some input.
    ///
    /// # Errors
    /// When it cannot be run or takes minutes; a failure of the command itself is in the output.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        tool: &str,
        args: impl IntoIterator<Item = S>,
        kubeconfig: &Path,
        input: &str,
    ) -> Result<Output> {
        let mut child = Command::new(tools::find(tool)?)
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            // Caches and settings of the user who runs the tests are none of ours.
            .env("HOME", self.data())
            .current_dir(tools::repository())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {tool}"))?;
        let mut stdin = child.stdin.take().context("no input stream")?;
        let feed = async {
            // A command that does not read its input closes it.
            drop(stdin.write_all(input.as_bytes()).await);
            drop(stdin);
        };
        let ((), output) = tokio::time::timeout(TIMEOUT, async { tokio::join!(feed, child.wait_with_output()) })
            .await
            .with_context(|| format!("{tool} takes more than {TIMEOUT:?}"))?;
        let output = output?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
