//! The list of live backends as a Prometheus `file_sd` file. File I/O.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::json;

/// The file and what is in it. Clones share it.
///
/// Targets have the labels `namespace` and `pod`; system and component are labels of the metrics
/// themselves.
#[derive(Clone, Debug)]
pub struct Targets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    live: Mutex<BTreeMap<SocketAddr, (String, String)>>,
}

impl Targets {
    /// Writes the list to `path` from now on, or nowhere. The folder must exist.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(path: Option<&Path>) -> io::Result<Self> {
        let targets = Self(Arc::new(Inner { path: path.map(Path::to_owned), live: Mutex::default() }));
        targets.change(|_| {})?;
        Ok(targets)
    }

    /// The file, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Lists a backend until the guard is dropped.
    pub(super) fn add(&self, address: SocketAddr, namespace: &str, pod: &str) -> TargetGuard {
        let labels = (namespace.to_owned(), pod.to_owned());
        self.change_logged(|live| {
            live.insert(address, labels);
        });
        TargetGuard { targets: self.clone(), address }
    }

    fn change_logged(&self, change: impl FnOnce(&mut BTreeMap<SocketAddr, (String, String)>)) {
        if let Err(error) = self.change(change) {
            tracing::error!(%error, path = ?self.0.path, "list of scrape targets not written");
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<SocketAddr, (String, String)>)) -> io::Result<()> {
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut live);
        let Some(path) = &self.0.path else { return Ok(()) };
        let groups: Vec<_> = live
            .iter()
            .map(|(address, (namespace, pod))| {
                json!({"targets": [address.to_string()], "labels": {"namespace": namespace, "pod": pod}})
            })
            .collect();
        // Renamed into place: Prometheus may read at any moment.
        let draft = path.with_extension("tmp");
        fs::write(&draft, serde_json::to_vec_pretty(&groups)?)?;
        fs::rename(&draft, path)
    }
}

/// A listed backend.
#[derive(Debug)]
pub(super) struct TargetGuard {
    targets: Targets,
    address: SocketAddr,
}

impl Drop for TargetGuard {
    fn drop(&mut self) {
        self.targets.change_logged(|live| {
            live.remove(&self.address);
        });
    }
}
