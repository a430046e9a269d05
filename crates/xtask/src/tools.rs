//! `cargo xtask tools`: builds what is missing of the test bed's programs, one at a time.
//!
//! Downloads run ahead in the background, so that the network is busy while the processor is.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_testkit::tools::{self, Definitions, GoModule, MODULES};
use serde::Deserialize;

use crate::say::{self, Progress};

pub(crate) fn run() -> Result<ExitCode> {
    ensure()?;
    for module in MODULES {
        for binary in module.binaries {
            say::line(format_args!("{:<24} {}", binary.name, tools::find(binary.name)?.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds what is missing; returns at once when nothing is.
pub(crate) fn ensure() -> Result<()> {
    if missing()?.is_empty() {
        return Ok(());
    }
    let cache = tools::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let _lock = lock(&cache.join("lock"))?;
    // Another build may have made them in the meantime.
    let missing = missing()?;
    announce(&missing, &cache);
    let downloads = download_ahead(missing.clone());
    for module in &missing {
        wait_for_download(module, &downloads)?;
        make(module)?;
    }
    Ok(())
}

fn missing() -> Result<Vec<GoModule>> {
    let mut missing = Vec::new();
    for module in MODULES {
        let folder = module.folder()?;
        let binaries = is_prebuilt(&module) || module.binaries.iter().all(|b| folder.join(b.name).is_file());
        let definitions = module.definitions.is_none() || folder.join("crds").is_dir();
        if !(binaries && definitions) {
            missing.push(module);
        }
    }
    Ok(missing)
}

/// Whether the user named a folder that has all of the module's binaries.
fn is_prebuilt(module: &GoModule) -> bool {
    module.binaries.iter().all(|binary| tools::prebuilt(binary.name).is_some())
}

fn announce(missing: &[GoModule], cache: &Path) {
    let seconds: u32 = missing.iter().map(|module| module.cold_seconds).sum();
    let names: Vec<_> = missing.iter().map(|module| module.name).collect();
    say::line(format_args!(
        "To be built into {} (once; about {} min on two cores if Go's cache is empty): {}",
        cache.display(),
        seconds.div_ceil(60),
        names.join(", ")
    ));
}

fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say::line("Another build of the tools is running; waiting for it.");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the tools' folder"),
    }
    Ok(file)
}

/// Downloads the modules in order; tells of each.
fn download_ahead(modules: Vec<GoModule>) -> Receiver<Result<()>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for module in modules {
            if sender.send(download(&module)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for_download(module: &GoModule, downloads: &Receiver<Result<()>>) -> Result<()> {
    let mut progress = None;
    loop {
        match downloads.recv_timeout(Duration::from_secs(1)) {
            Ok(result) => {
                if let Some(progress) = progress {
                    Progress::done(progress, "done");
                }
                return result;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => progress
                .get_or_insert_with(|| Progress::new(format!("Downloading what {} is built from", module.name)))
                .tick(),
            Err(error) => return Err(anyhow!("{}: {error}", module.name)),
        }
    }
}

/// What the build needs, and no more: the module graph names far more than is compiled.
fn download(module: &GoModule) -> Result<()> {
    if is_prebuilt(module) {
        return Ok(());
    }
    let mut command = go(module);
    command.args(["list", "-deps", "-tags", module.tags]).args(module.binaries.iter().map(|b| b.package));
    output(&mut command).map(drop).with_context(|| format!("cannot download the modules of {}", module.name))
}

fn make(module: &GoModule) -> Result<()> {
    let folder = module.folder()?;
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    if !is_prebuilt(module) {
        build(module, &partial)?;
    }
    if let Some(definitions) = module.definitions {
        copy_definitions(module, &definitions, &partial.join("crds"))?;
    }
    // Whoever sees the folder sees all of it.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&partial, &folder).with_context(|| format!("cannot rename to {}", folder.display()))
}

fn build(module: &GoModule, folder: &Path) -> Result<()> {
    let mut progress =
        Progress::new(format!("Building {} (about {} s with an empty cache)", module.name, module.cold_seconds));
    let log = folder.join("build.log");
    let out = File::create(&log)?;
    let target = match module.binaries {
        // A package's path need not end in the binary's name.
        [only] => folder.join(only.name),
        _ => folder.join(""),
    };
    let mut child = go(module)
        .arg("build")
        .args(module.build_flags())
        .arg("-o")
        .arg(target)
        .args(module.binaries.iter().map(|binary| binary.package))
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .context("cannot run go: is it installed?")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_secs(1));
        progress.tick();
    };
    progress.done(if status.success() { "built" } else { "failed" });
    ensure!(status.success(), "{} cannot be built: {status}\n{}", module.name, fs::read_to_string(&log)?);
    fs::remove_file(log)?;
    Ok(())
}

fn copy_definitions(module: &GoModule, definitions: &Definitions, folder: &Path) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Downloaded {
        dir: std::path::PathBuf,
    }
    let json = output(go(module).args(["mod", "download", "-json", definitions.module]))?;
    let source = serde_json::from_str::<Downloaded>(&json)?.dir.join(definitions.path);
    fs::create_dir_all(folder)?;
    let files = if source.is_dir() {
        fs::read_dir(&source)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?
    } else {
        vec![source]
    };
    for file in files {
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let name = file.file_name().context("a file without a name")?;
            // Not `fs::copy`: files of the module cache are read-only, and so would be the copy.
            fs::write(folder.join(name), fs::read(&file)?)?;
        }
    }
    Ok(())
}

fn go(module: &GoModule) -> Command {
    let mut command = Command::new("go");
    command.current_dir(module.source()).env("CGO_ENABLED", "0").env("GOWORK", "off");
    command
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot run go: is it installed?")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}
