//! The operator as its image has it: one static file in an otherwise empty root, run by a user without a name, with
//! nothing but what Kubernetes mounts into every pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    control_plane::ControlPlane,
    eventually, http,
    operator::{LEASE, NAMESPACE, static_program},
    ports,
    process::Process,
    tools,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::Value;

use crate::installed;

/// The image's user, as the Dockerfile and the chart have it.
const USER: &str = "65532";
/// Where a pod finds its service account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";
/// Devices that container runtimes put there, and that a static program reads since it cannot look up the system call.
const RANDOM: [&str; 2] = ["dev/random", "dev/urandom"];
const PROGRAM: &str = "cutover-operator";
/// A name as in a cluster: somebody has to look it up, and without shared libraries.
const HOST: &str = "kubernetes.default.svc";

#[tokio::test(flavor = "multi_thread")]
async fn a_static_file_in_an_empty_root_is_ready_and_leads_as_nobody() -> Result<()> {
    let plane = installed::plane().await?;
    // Other tests of this control plane go on undisturbed: nothing is in this namespace.
    let namespace = plane.unique_namespace().await?;
    let root = root(plane).await?;
    let before = files(&root)?;

    let address = (std::net::Ipv4Addr::LOCALHOST, ports::free()?).into();
    let port = plane.url().rsplit(':').next().context("a URL without a port")?;
    let mut command = as_nobody(&root)?;
    command
        .env_clear()
        // For the command that changes the root; the operator runs nothing.
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("KUBERNETES_SERVICE_HOST", HOST)
        .env("KUBERNETES_SERVICE_PORT", port)
        .env("POD_NAME", "in-an-empty-root")
        .arg(format!("--metrics-bind-address={address}"))
        .arg(format!("--watch-namespaces={namespace}"));
    let operator = Process::spawn("static-operator", command, plane.logs())?.with_grace(Duration::from_secs(15));
    operator.wait_ready(Duration::from_secs(30), || http::text(address, "/readyz")).await?;

    let leases: Api<Lease> = Api::namespaced(plane.admin().await?, NAMESPACE);
    eventually("the operator leads", Duration::from_secs(30), || async {
        let holder = leases.get(LEASE).await?.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        ensure!(holder.starts_with("in-an-empty-root"), "the holder is {holder:?}");
        Ok(())
    })
    .await?;
    let metrics = http::text(address, "/metrics").await?;
    ensure!(metrics.contains("cutover_"), "{metrics}");

    let process = Path::new("/proc").join(operator.id().to_string());
    ensure!(fs::read_link(process.join("root"))? == root, "it sees another root");
    let status = fs::read_to_string(process.join("status"))?;
    let capabilities = status.lines().find(|line| line.starts_with("CapEff:")).context("no capabilities")?;
    ensure!(capabilities.ends_with(":\t0000000000000000"), "{capabilities}");
    if !in_user_namespace()? {
        let users = status.lines().find(|line| line.starts_with("Uid:")).context("no user")?;
        ensure!(users.split_whitespace().skip(1).all(|user| user == USER), "{users}");
    }
    // Nor libraries: none is mapped into it.
    let maps = fs::read_to_string(process.join("maps"))?;
    let mapped: BTreeSet<&str> =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.starts_with('/')).collect();
    ensure!(mapped.iter().all(|path| path.ends_with(PROGRAM)), "{mapped:?}");

    operator.stop()?;
    for device in RANDOM {
        mount("umount", &[&root.join(device)])?;
    }
    ensure!(files(&root)? == before, "it has written into its root: {:?}", files(&root)?);
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// A folder with the program and what every container is given: the service account, `/etc/hosts`, and random numbers.
async fn root(plane: &ControlPlane) -> Result<PathBuf> {
    let root = plane.data().join("empty-root");
    let account = root.join(ACCOUNT);
    fs::create_dir_all(&account)?;
    fs::create_dir_all(root.join("etc"))?;
    fs::create_dir_all(root.join("dev"))?;
    for device in RANDOM {
        fs::write(root.join(device), "")?;
    }
    fs::copy(static_program()?, root.join(PROGRAM))?;
    let kubeconfig = plane.kubeconfig_for(&installed::operator()).await?;
    let kubeconfig: Value = serde_yaml_ng::from_str(&fs::read_to_string(kubeconfig)?)?;
    let text = |pointer: &str| {
        kubeconfig.pointer(pointer).and_then(Value::as_str).with_context(|| format!("a kubeconfig without {pointer}"))
    };
    fs::write(account.join("token"), text("/users/0/user/token")?)?;
    fs::copy(text("/clusters/0/cluster/certificate-authority")?, account.join("ca.crt"))?;
    fs::write(account.join("namespace"), NAMESPACE)?;
    fs::write(root.join("etc/hosts"), format!("127.0.0.1 {HOST}\n"))?;
    for file in files(&root)? {
        let mode = if file.ends_with(PROGRAM) { 0o755 } else { 0o644 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    }
    for device in RANDOM {
        mount("mount", &[Path::new("--bind"), &Path::new("/").join(device), &root.join(device)])?;
    }
    // The folders above it belong to the test alone.
    let mut above = Some(root.as_path());
    while let Some(folder) = above.filter(|folder| *folder != Path::new("/dev/shm")) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        above = if folder == plane.data() { None } else { folder.parent() };
    }
    Ok(root)
}

/// Mounts or unmounts something; the test bed has mounts of its own.
fn mount(program: &str, args: &[&Path]) -> Result<()> {
    let status = Command::new(program).args(args).status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program} {args:?}: {status}");
    Ok(())
}

/// The program as the image's user in that root: by the real root at once, by others in a user namespace of its own.
fn as_nobody(root: &Path) -> Result<Command> {
    let mut command;
    if in_user_namespace()? {
        command = Command::new("unshare");
        command.args(["--user", &format!("--map-user={USER}"), &format!("--map-group={USER}")]);
        command.arg(format!("--root={}", root.display())).args(["--wd=/", "--"]);
    } else {
        command = Command::new("chroot");
        command.args([&format!("--userspec={USER}:{USER}"), "--groups="]).arg(root);
    }
    command.arg(format!("/{PROGRAM}"));
    Ok(command)
}

/// Whether there are no users here but one.
fn in_user_namespace() -> Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_whitespace().nth(2) == Some("1"))
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path());
            }
        }
    }
    Ok(found)
}

/// The instructions of a Dockerfile, each as its word and the rest of it.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let lines = dockerfile.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let whole = lines.replace("\\\n", " ");
    let instruction = |line: &str| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()));
    whole.lines().filter_map(instruction).collect()
}

/// What a flag of a command is given, with a build argument put in.
fn given(command: &str, flag: &str, arguments: &BTreeMap<String, String>) -> Result<String> {
    let mut words = command.split_whitespace().map(|word| word.trim_matches('"')).skip_while(|word| *word != flag);
    let value = words.nth(1).with_context(|| format!("{command}: no {flag}"))?;
    Ok(value.strip_prefix('$').and_then(|name| arguments.get(name)).map_or(value, String::as_str).to_owned())
}

/// No container engine is needed for this: that each part of the Dockerfile leads to something, and that the image is what
/// the test above runs.
#[test]
fn the_dockerfile_names_what_is_there_and_makes_what_was_tried() -> Result<()> {
    let root = tools::repository();
    let all = instructions(&fs::read_to_string(root.join("Dockerfile"))?);
    let of = |word: &'static str| all.iter().filter(move |(it, _)| it == word).map(|(_, rest)| rest.as_str());
    let only = |word: &'static str| of(word).next().with_context(|| format!("no {word}"));

    // The compiler is the oldest that the workspace promises, so that the promise is kept.
    let base = only("FROM")?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let promised = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).context("no rust-version")?;
    ensure!(base.starts_with(&format!("rust:{}-", promised.trim_matches('"'))), "{base} for {promised}");

    // The command asks for what exists, with the versions of the lock file.
    let arguments = of("ARG").filter_map(|it| it.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect();
    let run = only("RUN")?;
    let (prelude, command) = run.split_once("cargo build").context("no cargo build")?;
    let (command, copy) = command.split_once("&&").context("nothing is taken out of the build")?;
    ensure!(prelude.contains("target-feature=+crt-static"), "{prelude}");
    ensure!(command.contains("--release") && command.contains("--locked"), "{command}");
    let target = given(command, "--target", &arguments)?;
    let (package, program) = (given(command, "--package", &arguments)?, given(command, "--bin", &arguments)?);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = ["tree", "--locked", "--offline", "--edges", "normal,build", "--target", &target, "--package", &package];
    let tree = Command::new(&cargo).current_dir(&root).args(tree).output()?;
    ensure!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout)?;
    ensure!(!tree.contains("openssl-sys") && !tree.contains("aws-lc"), "what cannot be linked statically: {tree}");
    let metadata = ["metadata", "--no-deps", "--offline", "--format-version=1"];
    let metadata = Command::new(&cargo).current_dir(&root).args(metadata).output()?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let found = packages.iter().find(|it| it["name"] == package.as_str()).context("no such package")?;
    let made = |it: &&Value| it["kind"][0] == "bin" && it["name"] == program.as_str();
    ensure!(found["targets"].as_array().into_iter().flatten().any(|it| made(&it)), "{package} has no bin {program}");

    // What is taken over is what was built, and what is run; the ignored folder is not needed.
    let built: Vec<&str> = copy.split_whitespace().map(|word| word.trim_matches('"')).collect();
    let ["cp", from, kept] = built.as_slice() else { anyhow::bail!("{copy}") };
    assert_eq!(*from, format!("target/$TARGET/release/{program}"));
    let stage = base.split_once(" AS ").context("a stage without a name")?.1;
    let copied = of("COPY").next_back().context("no COPY")?;
    assert_eq!(copied, format!("--from={stage} {kept} {kept}"));
    assert_eq!(only("ENTRYPOINT")?, format!(r#"["{kept}"]"#));
    assert_eq!(of("FROM").next_back(), Some("scratch"));
    assert_eq!(only("USER")?, format!("{USER}:{USER}"));
    assert_eq!(Path::new(kept).file_name().and_then(|it| it.to_str()), Some(PROGRAM));
    let ignored = fs::read_to_string(root.join(".dockerignore"))?;
    assert_eq!(ignored.split_whitespace().collect::<Vec<_>>(), [".git", "target"]);
    let values: Value = serde_yaml_ng::from_str(&fs::read_to_string(root.join("charts/cutover/values.yaml"))?)?;
    assert_eq!(only("EXPOSE")?, values["metrics"]["port"].to_string());
    Ok(())
}
