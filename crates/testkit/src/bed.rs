//! The bed that the tests of one process share, and where beds keep their files.
//!
//! Parts start when first asked for, on a runtime of their own that outlives each test's. Nothing of it is dropped:
//! the daemons end with the process namespace.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::{
    control_plane::{ControlPlane, Identity},
    node::{NodeOptions, NodeSimulator},
    prometheus::{Prometheus, Targets},
    tools,
    traefik::Traefik,
};

static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("bed").enable_all().build()
});

static SHARED: Bed = Bed {
    control_plane: OnceCell::const_new(),
    traefik: OnceCell::const_new(),
    prometheus: OnceCell::const_new(),
    node: OnceCell::const_new(),
};

/// The shared bed:
///
/// ```ignore
/// let plane = Bed::control_plane().await?;
/// let namespace = plane.unique_namespace().await?;
/// let client = plane.admin().await?;
/// ```
#[derive(Debug)]
pub struct Bed {
    control_plane: OnceCell<ControlPlane>,
    traefik: OnceCell<Traefik>,
    prometheus: OnceCell<Prometheus>,
    node: OnceCell<NodeSimulator>,
}

impl Bed {
    /// The control plane.
    ///
    /// # Errors
    /// When it cannot be started; each test that asks tries again.
    pub async fn control_plane() -> Result<&'static ControlPlane> {
        SHARED.control_plane.get_or_try_init(|| on_runtime(ControlPlane::start())).await
    }

    /// Traefik, serving the control plane's routes.
    ///
    /// # Errors
    /// When one of them cannot be started; each test that asks tries again.
    pub async fn traefik() -> Result<&'static Traefik> {
        let plane = Self::control_plane().await?;
        SHARED.traefik.get_or_try_init(|| on_runtime(Traefik::start(plane))).await
    }

    /// Prometheus, scraping the node's pods (job `pods`) and Traefik (job `traefik`) every second.
    ///
    /// # Errors
    /// When one of them cannot be started; each test that asks tries again.
    pub async fn prometheus() -> Result<&'static Prometheus> {
        let plane = Self::control_plane().await?;
        let traefik = Self::traefik().await?.entry_points().internal;
        let start = async move {
            let fixed = BTreeMap::from([("traefik".to_owned(), vec![traefik])]);
            Prometheus::start(&Targets { file: Some(pod_targets(plane)), fixed }, plane.logs()).await
        };
        SHARED.prometheus.get_or_try_init(|| on_runtime(start)).await
    }

    /// The node that runs the control plane's pods.
    ///
    /// # Errors
    /// When one of them cannot be started; each test that asks tries again.
    pub async fn node() -> Result<&'static NodeSimulator> {
        let plane = Self::control_plane().await?;
        let start = Box::pin(async {
            // A user of its own, so that the audit log tells it from the tests.
            let identity =
                Identity::User { name: "node-simulator".to_owned(), groups: vec!["system:masters".to_owned()] };
            let targets = Some(pod_targets(plane));
            NodeSimulator::start(plane.config(&identity).await?, NodeOptions { targets, ..NodeOptions::default() })
                .await
        });
        SHARED.node.get_or_try_init(|| on_runtime(start)).await
    }
}

/// The file in which the node names its pods to Prometheus.
fn pod_targets(plane: &ControlPlane) -> PathBuf {
    plane.data().join("pods.json")
}

/// Runs something on the shared runtime, so that the tasks it leaves behind go on when the test ends.
async fn on_runtime<T: Send + 'static>(task: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    runtime.spawn(task).await?
}

/// A new folder in memory, removed when dropped.
pub(crate) fn data_folder(name: &str) -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { env::temp_dir() };
    tempfile::Builder::new()
        .prefix(&format!("cutover-{name}-"))
        .tempdir_in(&parent)
        .with_context(|| format!("no folder can be made in {}", parent.display()))
}

/// A new folder for logs, which stays: `target/bed/<name>`, with a number when the name is taken.
pub(crate) fn log_folder(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let root = log_root();
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    loop {
        let path = match COUNT.fetch_add(1, Ordering::Relaxed) {
            0 => root.join(name),
            n => root.join(format!("{name}-{n}")),
        };
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}

/// Where logs go: `target/bed`, or what `CUTOVER_BED_LOGS` names. `cargo xtask` empties it before each run.
#[must_use]
pub fn log_root() -> PathBuf {
    env::var_os("CUTOVER_BED_LOGS").map_or_else(|| tools::repository().join("target/bed"), PathBuf::from)
}
