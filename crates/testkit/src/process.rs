//! Child processes that end with their owner.
//!
//! Each child has its own process group (a terminal's Ctrl-C reaches only the owner), no input, and both output
//! streams in a log file: a daemon that holds a pipe open would keep its reader waiting for ever. Dropping a
//! [`Process`] ends it, also while a panic unwinds. A child whose owner is killed outright ends with the process
//! namespace (see `namespace`).

use std::{
    fs::{self, File},
    future::Future,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

/// How often an exit is looked for.
const POLL: Duration = Duration::from_millis(5);

/// Lines of the log shown with a failure.
const TAIL_LINES: usize = 30;

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    id: u32,
    log: PathBuf,
    grace: Duration,
}

impl Process {
    /// Starts `command`; its output is appended to `<logs>/<name>.log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        let id = child.id();
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), id, log, grace: Duration::from_secs(3) })
    }

    /// How long [`Process::stop`] and dropping wait after SIGTERM before SIGKILL; 3 s unless set.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file that both output streams go to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How the process ended, or `None` while it runs.
    #[must_use]
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Sends one signal; nothing when the process has ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // While the child is not waited for its id cannot be given to another process; the lock keeps it so.
        let mut child = self.child();
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.id).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Freezes the process (SIGSTOP): connections stay open, nothing is answered.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends the process at once, as a crash would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self) -> Result<ExitStatus> {
        let mut child = self.child();
        child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        Ok(child.wait()?)
    }

    /// Asks the process to end (SIGTERM), then makes it; blocks for at most the grace time.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop(&self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        // A paused process does not see a SIGTERM.
        self.signal(Signal::CONT)?;
        let deadline = Instant::now() + self.grace;
        while Instant::now() < deadline {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        self.kill()
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// With the log's tail, when it still runs after `within`.
    pub async fn wait_exit(&self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("still runs after {within:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Repeats `probe` until it succeeds.
    ///
    /// # Errors
    /// With the log's tail and the probe's last error, when the process ends or `within` is over.
    pub async fn wait_ready<T, F, Fut>(&self, within: Duration, mut probe: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let deadline = Instant::now() + within;
        loop {
            let attempt = tokio::time::timeout(Duration::from_secs(5), probe()).await;
            let error = match attempt {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => anyhow!("the probe got no answer"),
            };
            if let Some(status) = self.exited() {
                return Err(self.failure(&format!("ended with {status} before it was ready")));
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("not ready after {within:?}: {error:#}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).map(|raw| String::from_utf8_lossy(&raw).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}; end of {}:\n{}", self.name, self.log.display(), self.log_tail())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(process = self.name, error = format!("{error:#}"), "not stopped");
        }
    }
}
