//! `kubectl cutover`, the real program: against a control plane with the charts installed and an operator, and on files alone.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    eventually, in_time,
    operator::{Operator, Options},
    tools,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::installed::install;

const PATIENCE: Duration = Duration::from_secs(60);

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: old}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: new}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: old-1, labels: {kubernetes.io/service-name: old}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [198.19.220.1], conditions: {ready: true}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: new-1, labels: {kubernetes.io/service-name: new}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [198.19.220.2], conditions: {ready: true}}]
---
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  legacy: {service: {name: old, port: 80}}
  new: {service: {name: new, port: 80}}
  routers: [{ingressNginx: {className: nginx}}]
---
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: 10-shift}
spec:
  steps:
  - {name: few, traffic: [{split: shop, newWeight: 5}], approval: {required: 2, groups: [owners]}}
  - {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}
";

/// Its start has to be approved.
const GATED: &str = "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: 20-gated}
spec:
  gates: {approvals: {required: 1, groups: [owners]}}
  steps:
  - {name: all, traffic: [{split: shop, newWeight: 100}], soak: 1h}
";

/// Who may decide, and who may only look.
const PEOPLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deciders}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cutover-decide}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: anna}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cutover-view}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}
"#;

/// What the program said and how it ended.
struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    fn is(self, code: i32, said: &str) -> Result<Self> {
        let ok = self.code == code && (self.out.contains(said) || self.err.contains(said));
        ensure!(ok, "wanted {code} and {said:?}, got {}:\n{}{}", self.code, self.out, self.err);
        Ok(self)
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{}{}", self.out, self.err))
    }
}

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tools::repository().join("target"), PathBuf::from);
    target.join("debug/kubectl-cutover")
}

fn command(args: &[&str], kubeconfig: Option<&Path>) -> Command {
    let mut command = Command::new(program());
    command.args(args).env_clear().current_dir(tools::repository()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(path) = kubeconfig {
        command.env("KUBECONFIG", path);
    }
    command
}

async fn answer(mut command: Command, input: &str) -> Result<Answer> {
    let mut child = command.spawn().with_context(|| format!("{} cannot be started", program().display()))?;
    let mut stdin = child.stdin.take().context("no input")?;
    // A program that does not read its input closes it.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = in_time(PATIENCE, child.wait_with_output()).await.context("it does not end")??;
    Ok(Answer {
        code: output.status.code().context("ended by a signal")?,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Somebody at a shell, without a cluster.
async fn offline(args: &[&str], input: &str) -> Result<Answer> {
    answer(command(args, None), input).await
}

/// A namespace and its people.
struct Desk {
    plane: ControlPlane,
    namespace: String,
}

impl Desk {
    async fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let groups = if user == "bob" { vec![] } else { vec!["owners".to_owned()] };
        self.plane.kubeconfig_for(&Identity::User { name: user.to_owned(), groups }).await
    }

    async fn ask(&self, user: &str, args: &[&str]) -> Result<Answer> {
        let kubeconfig = self.kubeconfig(user).await?;
        answer(command(&[args, &["-n", &self.namespace]].concat(), Some(&kubeconfig)), "").await
    }

    async fn status(&self) -> Result<Value> {
        self.ask("alice", &["status", "10-shift", "-o", "json"]).await?.is(0, "10-shift")?.json()
    }

    async fn until(&self, path: &str, wanted: &str) -> Result<()> {
        eventually(&format!("{path} is {wanted}"), PATIENCE, || async {
            let status = self.status().await?;
            let found = status.pointer(&format!("/environments/0/phases/0{path}"));
            ensure!(found == Some(&Value::from(wanted)), "{status:#}");
            Ok(())
        })
        .await
    }
}

/// `status --watch`, line by line.
struct Watching {
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Watching {
    async fn start(desk: &Desk) -> Result<Self> {
        let kubeconfig = desk.kubeconfig("alice").await?;
        let args = ["status", "--watch", "-o", "json", "-n", &desk.namespace];
        let mut child = command(&args, Some(&kubeconfig)).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        Ok(Self { lines, child })
    }

    async fn until(&mut self, state: &str) -> Result<()> {
        let seen = async {
            while let Some(line) = self.lines.next_line().await? {
                let shown: Value = serde_json::from_str(&line)?;
                if shown["environments"][0]["phases"][0]["state"] == state {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        };
        in_time(PATIENCE, seen).await.with_context(|| format!("{state} is not shown"))?
    }

    async fn end(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cli_decisions_are_made_waited_for_and_told() -> Result<()> {
    let plane = ControlPlane::start_named("cli").await?;
    install(&plane).await?;
    let operator = Operator::start(&plane, Options { name: "cli".into(), ..Options::default() }).await?;
    operator.ready().await?;
    let namespace = plane.unique_namespace().await?;
    plane.apply_yaml(&namespace, PEOPLE).await?;
    let desk = Desk { plane, namespace };

    desk.ask("alice", &["status"]).await?.is(0, "there is no Environment and no MigrationPhase in namespace")?;
    desk.ask("alice", &["pause", "10-shift", "--reason", "x"]).await?.is(1, "there is no MigrationPhase 10-shift")?;
    let mut watching = Watching::start(&desk).await?;
    desk.plane.apply_yaml(&desk.namespace, SHOP).await?;
    watching.until("Running").await?;
    desk.until("/stage", "AwaitingApproval").await?;
    let tree = desk.ask("alice", &["status"]).await?.is(0, "step 1 of 2, AwaitingApproval")?;
    for line in [
        "▶ few  0 of 2 approvals",
        "split shop  5 %  ready: legacy 1, new 1",
        "· all  shop 100 %",
        "waits: AwaitingApproval: ",
    ] {
        ensure!(tree.out.contains(line), "{line}: {}", tree.out);
    }
    ensure!(!tree.out.contains('\u{1b}'), "a pipe is no terminal");

    approvals(&desk).await?;
    decisions(&desk, &mut watching).await?;
    verified(&desk, operator.process().log()).await?;
    start(&desk).await?;
    watching.end().await?;

    // kubectl finds it by its name.
    let mut through = Command::new(tools::find("kubectl")?);
    let folder = program().parent().context("a program without a folder")?.to_path_buf();
    through
        .env_clear()
        .env("PATH", folder)
        .env("KUBECONFIG", desk.kubeconfig("alice").await?)
        .env("HOME", desk.plane.data());
    through.args(["cutover", "status", "-n", &desk.namespace]).kill_on_drop(true);
    through.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    answer(through, "").await?.is(0, "10-shift  Aborted")?;

    drop(operator);
    let late = desk.ask("alice", &["retry", "10-shift", "--reason", "again", "--timeout", "2s"]).await?;
    late.is(4, "no outcome after 2s: does the operator run?")?;
    desk.ask("alice", &["retry", "10-shift", "--reason", "again", "--timeout", "0s"]).await?.is(0, "is not awaited")?;
    Ok(())
}

async fn approvals(desk: &Desk) -> Result<()> {
    let approve = ["approve", "10-shift", "--reason", "dashboards looked at"];
    desk.ask("alice", &["approve", "10-shift"]).await?.is(2, "--reason is needed")?;
    desk.ask("alice", &["approve", "10-shift", "--reason", " "]).await?.is(2, "a reason is needed")?;
    desk.ask("bob", &approve).await?.is(3, "approved by members of owners, and bob is in none of them")?;
    let forged = [&approve[..], &["--group", "owners"]].concat();
    desk.ask("bob", &forged).await?.is(3, "ValidatingAdmissionPolicy")?;
    desk.ask("carl", &approve).await?.is(3, "cannot create resource \"phaseactions\"")?;
    desk.ask("alice", &approve).await?.is(0, "approve 10-shift: step few is approved by alice")?;
    desk.ask("alice", &approve).await?.is(3, "is Rejected (NotApplicable): alice has approved already")?;
    let wrong = [&approve[..], &["--step", "all"]].concat();
    desk.ask("anna", &wrong).await?.is(3, "is not the present one")?;
    let action = desk.ask("anna", &[&approve[..], &["-o", "json"]].concat()).await?.is(0, "PhaseAction")?.json()?;
    ensure!(action["status"]["state"] == "Accepted" && action["spec"]["requestedBy"] == "anna", "{action:#}");
    desk.until("/stage", "Soaking").await
}

async fn decisions(desk: &Desk, watching: &mut Watching) -> Result<()> {
    let paused = desk.ask("alice", &["pause", "10-shift", "--reason", "lunch", "--for", "2h"]).await?;
    paused.is(0, "pause 10-shift: paused until ")?;
    watching.until("Paused").await?;
    desk.ask("alice", &["retry", "10-shift", "--reason", "x"]).await?.is(3, "only one that is rolled back")?;
    desk.ask("alice", &["resume", "10-shift", "--reason", "back"]).await?.is(0, "resumed from Paused")?;
    let back = ["rollback", "10-shift", "--reason", "ticket 4711", "--to", "legacy", "--until-done"];
    desk.ask("alice", &back).await?.is(0, "phase 10-shift is rolled back")?;
    watching.until("RolledBack").await?;
    desk.ask("alice", &["retry", "10-shift", "--reason", "mended"]).await?.is(0, "attempt 2 begins")?;
    desk.ask("alice", &["abort", "10-shift", "--reason", "not this year"]).await?.is(0, "given up")?;
    watching.until("Aborted").await?;

    let history = desk.ask("bob", &["history", "10-shift", "-o", "json"]).await?.is(0, "attempt")?.json()?;
    let entries = history.as_array().context("a list")?;
    for (what, by) in
        [("Approve asked", "anna"), ("Paused", "alice"), ("RolledBack", ""), ("Retried", "alice"), ("Aborted", "alice")]
    {
        let found = entries.iter().any(|entry| entry["what"] == what && entry["by"].as_str().unwrap_or_default() == by);
        ensure!(found, "{what} by {by}: {history:#}");
    }
    desk.ask("bob", &["history", "10-shift"]).await?.is(0, "“lunch”: accepted")?;
    Ok(())
}

/// The operator's own log, as it is and with one word changed.
async fn verified(desk: &Desk, log: &Path) -> Result<()> {
    let file = log.display().to_string();
    desk.ask("bob", &["history", "10-shift", "--verify", &file])
        .await?
        .is(0, "complete and unchanged, up to record ")?;
    let lines = std::fs::read_to_string(log)?;
    ensure!(lines.contains("ticket 4711"), "{lines}");
    let changed = desk.plane.data().join("changed.log").display().to_string();
    std::fs::write(&changed, lines.replace("ticket 4711", "ticket 4712"))?;
    desk.ask("bob", &["history", "10-shift", "--verify", &changed])
        .await?
        .is(5, "was changed: its hash does not fit")?;
    // Nobody needs a cluster for what is in a file.
    let found = offline(&["history", "--verify", &changed, "-o", "json"], "").await?.is(5, "was changed")?.json()?;
    ensure!(found["phases"][0]["phase"] == "10-shift", "{found:#}");
    offline(&["history"], "").await?.is(2, "required")?;
    Ok(())
}

async fn start(desk: &Desk) -> Result<()> {
    desk.plane.apply_yaml(&desk.namespace, GATED).await?;
    eventually("the start awaits approval", PATIENCE, || async {
        desk.ask("alice", &["status", "20-gated"])
            .await?
            .is(0, "waits: AwaitingApproval: 0 of 1 approvals of the start")
            .map(drop)
    })
    .await?;
    desk.ask("bob", &["approve", "20-gated", "--reason", "x"])
        .await?
        .is(3, "the start is approved by members of owners")?;
    desk.ask("alice", &["approve", "20-gated", "--reason", "x"]).await?.is(0, "the start is approved by alice")?;
    eventually("the step soaks", PATIENCE, || async {
        desk.ask("alice", &["status", "20-gated"]).await?.is(0, "step 1 of 1, Soaking").map(drop)
    })
    .await?;
    let wrong = ["promote", "20-gated", "--reason", "x", "--step", "half"];
    desk.ask("alice", &wrong).await?.is(3, "is Rejected")?;
    desk.ask("alice", &["promote", "20-gated", "--reason", "seen enough"]).await?.is(0, "promote 20-gated: ")?;
    desk.ask("alice", &["status", "20-gated"]).await?.is(0, "20-gated  Completed")?;
    Ok(())
}

const WRONG: &str = "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: shift, namespace: shop}
spec:
  steps:
  - {name: half, traffic: [{split: shop, newWeight: 50}], soak: 1h}
  - {name: all, traffic: [{split: shop, newWeight: 40}], soak: 1h}
";

#[tokio::test(flavor = "multi_thread")]
async fn cli_judges_files_without_a_cluster() -> Result<()> {
    let shop = ["plan", "-f", "deploy/examples/shop", "--start", "2026-12-01T09:00:00Z"];
    let plan = offline(&shop, "").await?.is(0, "namespace shop, from 2026-12-01T09:00:00Z")?;
    for text in ["10-subdomain", "shop-new exposed, 0 → 100 %", "way back if ", "0 error(s)"] {
        ensure!(plan.out.contains(text), "{text}: {}", plan.out);
    }
    let data = offline(&[&shop[..], &["-o", "json"]].concat(), "").await?.json()?;
    let phases = data["forecasts"][0]["phases"].as_array().context("phases")?;
    ensure!(phases.iter().all(|phase| phase["state"] == "Completed"), "{data:#}");
    let yaml = offline(&[&shop[..], &["-o", "yaml"]].concat(), "").await?.is(0, "namespace: shop")?;
    ensure!(serde_yaml_ng::from_str::<Value>(&yaml.out)? == data, "YAML and JSON say the same");

    offline(&["lint", "-f", "-"], WRONG).await?.is(5, "shop falls from 50 to 40")?;
    offline(&["plan", "-f", "-"], WRONG).await?.is(5, "never")?;
    let warned = WRONG.replace("40", "100");
    offline(&["lint", "-f", "-"], &warned).await?.is(0, "warning NoChecks")?;
    offline(&["lint", "--strict", "-f", "-"], &warned).await?.is(5, "warning NoChecks")?;
    let typo = WRONG.replace("soak: 1h", "soaks: 1h");
    offline(&["lint", "-f", "-"], &typo)
        .await?
        .is(1, "standard input, document 1: MigrationPhase shift: spec.steps[0].soaks: unknown field `soaks`")?;
    offline(&["lint", "-f", "no/such/file.yaml"], "").await?.is(1, "no/such/file.yaml cannot be read")?;
    offline(&["lint"], "").await?.is(2, "--filename")?;
    offline(&["lint", "-f", "-"], "spec: {{ .Values.spec }}\n  x").await?.is(1, "helm template")?;
    offline(&["status", "--kubeconfig", "no/such/config"], "").await?.is(1, "no/such/config")?;
    offline(&["completion", "bash"], "").await?.is(0, "kubectl-cutover")?;
    offline(&["--help"], "").await?.is(0, "4  no outcome within --timeout")?;
    Ok(())
}
