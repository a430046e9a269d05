//! The programs that the test bed runs, and where to find them.
//!
//! Each is a Go command pinned by a small module under `tests/tools/`; `cargo xtask tools` builds them into the
//! user's cache folder. A folder's name holds a hash of all that decides its content, so that a fresh clone finds what
//! an older one built, and a changed pin is built anew. This module only reads; building is xtask's.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// One Go command.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    /// The file's name.
    pub name: &'static str,
    /// The package it is built from.
    pub package: &'static str,
}

/// Custom resource definitions that a module carries.
#[derive(Debug, Clone, Copy)]
pub struct Definitions {
    /// The module that holds them.
    pub module: &'static str,
    /// A YAML file or a folder of YAML files in it.
    pub path: &'static str,
}

/// A Go module under `tests/tools/` with what is taken from it.
#[derive(Debug, Clone, Copy)]
pub struct GoModule {
    /// The folder under `tests/tools/`.
    pub name: &'static str,
    /// What is built.
    pub binaries: &'static [Binary],
    /// What is copied into the folder `crds`.
    pub definitions: Option<Definitions>,
    /// `-tags`.
    pub tags: &'static str,
    /// `-ldflags`.
    pub ldflags: &'static str,
    /// How long the first build takes on two cores with an empty cache, in seconds.
    pub cold_seconds: u32,
}

const STRIP: &str = "-s -w";

/// Everything the test bed needs, in the order in which it is built.
///
/// The build flags are part of the key, and of Go's own cache: a change means a build from nothing.
pub const MODULES: [GoModule; 7] = [
    GoModule {
        name: "etcd",
        binaries: &[Binary { name: "etcd", package: "go.etcd.io/etcd/server/v3" }],
        definitions: None,
        tags: "",
        ldflags: STRIP,
        cold_seconds: 60,
    },
    GoModule {
        name: "kubernetes",
        binaries: &[
            Binary { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" },
            Binary { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager" },
            Binary { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" },
        ],
        definitions: None,
        tags: "",
        ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
                  -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
        cold_seconds: 280,
    },
    GoModule {
        name: "gateway-api",
        binaries: &[],
        definitions: Some(Definitions { module: "sigs.k8s.io/gateway-api", path: "config/crd/standard" }),
        tags: "",
        ldflags: STRIP,
        cold_seconds: 1,
    },
    GoModule {
        name: "istio",
        binaries: &[],
        definitions: Some(Definitions {
            module: "istio.io/api",
            path: "kubernetes/customresourcedefinitions.gen.yaml",
        }),
        tags: "",
        ldflags: STRIP,
        cold_seconds: 1,
    },
    GoModule {
        name: "traefik",
        binaries: &[Binary { name: "traefik", package: "github.com/traefik/traefik/v3/cmd/traefik" }],
        definitions: Some(Definitions {
            module: "github.com/traefik/traefik/v3",
            path: "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml",
        }),
        tags: "",
        ldflags: STRIP,
        cold_seconds: 290,
    },
    GoModule {
        name: "prometheus",
        binaries: &[Binary { name: "prometheus", package: "github.com/prometheus/prometheus/cmd/prometheus" }],
        definitions: None,
        // Static, file and HTTP discovery stay; dozens of cloud SDKs are not compiled.
        tags: "remove_all_sd",
        ldflags: STRIP,
        cold_seconds: 100,
    },
    GoModule {
        name: "helm",
        binaries: &[Binary { name: "helm", package: "helm.sh/helm/v4/cmd/helm" }],
        definitions: None,
        tags: "",
        ldflags: STRIP,
        cold_seconds: 100,
    },
];

impl GoModule {
    /// The module's folder in the repository.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        repository().join("tests/tools").join(self.name)
    }

    /// The folder in the cache that holds what was built from the module as it is now.
    ///
    /// # Errors
    /// When the module cannot be read or there is no cache folder.
    pub fn folder(&self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{}", self.name, self.key()?)))
    }

    /// The arguments of `go build` that decide the binaries' content.
    #[must_use]
    pub fn build_flags(&self) -> Vec<String> {
        let mut flags = vec!["-trimpath".to_owned()];
        if !self.tags.is_empty() {
            flags.extend(["-tags".to_owned(), self.tags.to_owned()]);
        }
        flags.extend(["-ldflags".to_owned(), self.ldflags.to_owned()]);
        flags
    }

    fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        for part in [self.name, env::consts::OS, env::consts::ARCH] {
            add(part.as_bytes());
        }
        for flag in self.build_flags() {
            add(flag.as_bytes());
        }
        if let Some(definitions) = self.definitions {
            add(definitions.path.as_bytes());
        }
        for file in source_files(&self.source())? {
            add(&fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        let bytes: [u8; 32] = hash.finalize().into();
        // Enough to tell a handful of versions apart.
        Ok(bytes.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat())
    }
}

/// A program's path: from the folders that `CUTOVER_TOOLS_DIR` and `KUBEBUILDER_ASSETS` name, else from the cache.
///
/// # Errors
/// When it is nowhere; the message says what builds it.
pub fn find(binary: &str) -> Result<PathBuf> {
    if let Some(path) = prebuilt(binary) {
        return Ok(path);
    }
    let module = MODULES
        .iter()
        .find(|module| module.binaries.iter().any(|b| b.name == binary))
        .with_context(|| format!("no tool is named {binary}"))?;
    let path = module.folder()?.join(binary);
    if path.is_file() {
        return Ok(path);
    }
    bail!("{binary} is not built yet: run `cargo xtask tools`")
}

/// A ready binary in a folder that the user named.
#[must_use]
pub fn prebuilt(binary: &str) -> Option<PathBuf> {
    ["CUTOVER_TOOLS_DIR", "KUBEBUILDER_ASSETS"]
        .iter()
        .filter_map(env::var_os)
        .map(|folder| Path::new(&folder).join(binary))
        .find(|path| path.is_file())
}

/// The YAML files with the custom resource definitions of a module (`gateway-api`, `traefik`), in order of name.
///
/// # Errors
/// When they were not copied into the cache yet.
pub fn definitions(module: &str) -> Result<Vec<PathBuf>> {
    let module = MODULES.iter().find(|m| m.name == module).with_context(|| format!("no module is named {module}"))?;
    let folder = module.folder()?.join("crds");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("{} is missing: run `cargo xtask tools`", folder.display()))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    Ok(files)
}

/// `$XDG_CACHE_HOME/cutover/tools`, or the same under `~/.cache`.
///
/// # Errors
/// When neither variable is set.
pub fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("cutover/tools"))
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

fn source_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(source_files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
