//! Two replicas while phases move traffic: whatever becomes of the one that leads, the other brings the phases to their end, no weight
//! falls on the way, and nothing that the former leader still had in mind takes effect.
//!
//! How the election itself goes, without anything to do, is in `operator_process`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::{
    MigrationPhase, TrafficSplit,
    migration_phase::{PhaseState, Stage},
};
use cutover_testkit::{
    control_plane::{AuditEntry, ControlPlane, Identity, Mark},
    eventually,
    operator::{NAMESPACE, Operator, Options},
    tools,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{from_value, json};
use tokio::{runtime::Runtime, sync::OnceCell, task::JoinHandle, time::sleep};

use crate::installed;

/// A short lease, so that the tests are short; in the proportions of the defaults, and long enough for a machine with much else to do.
const FLAGS: [&str; 5] = [
    "--lease-duration=6s",
    "--lease-renew-deadline=4s",
    "--lease-retry-period=500ms",
    "--route-propagation=0s",
    // These tests are about leaders; who may decide is shown elsewhere.
    "--trust-unenforced-policies=true",
];
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Phases that move at the same time, each its own split.
const PHASES: usize = 3;
/// In percent; each soaks for a second.
const STEPS: [i32; 6] = [5, 15, 30, 50, 75, 100];
/// The step after which people are asked, so that there is something left to do whenever the leader is gone.
const ASKS: i32 = 50;

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// Shared by the tests that leave the API server alone: each has a namespace and a Lease of its own.
async fn shared() -> Result<&'static ControlPlane> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    PLANE.get_or_try_init(|| async { runtime.spawn(plane("leadership")).await? }).await
}

async fn plane(name: &str) -> Result<ControlPlane> {
    let plane = ControlPlane::start_named(name).await?;
    let definitions = fs::read_dir(tools::repository().join("crds"))?;
    plane
        .install_definitions(definitions.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?)
        .await?;
    let namespace: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(plane.admin().await?).create(&PostParams::default(), &namespace).await?;
    Ok(plane)
}

/// A shop whose phases are under way, with the weights that its splits had so far.
struct Shop<'a> {
    plane: &'a ControlPlane,
    client: Client,
    namespace: String,
    /// Names the Lease, and the replicas in the audit log.
    scene: &'static str,
    beginning: Mark,
    weights: Arc<Mutex<BTreeMap<String, Vec<i32>>>>,
    observer: JoinHandle<()>,
}

impl Drop for Shop<'_> {
    fn drop(&mut self) {
        self.observer.abort();
    }
}

impl<'a> Shop<'a> {
    async fn open(plane: &'a ControlPlane, scene: &'static str) -> Result<Self> {
        let beginning = plane.audit().mark()?;
        let client = plane.admin().await?;
        let namespace = plane.unique_namespace().await?;
        let weights = Arc::default();
        let observer = tokio::spawn(observe(Api::namespaced(client.clone(), &namespace), Arc::clone(&weights)));
        Ok(Self { plane, client, namespace, scene, beginning, weights, observer })
    }

    /// A replica as a user of its own name, so that the audit log tells it from the others.
    async fn replica(&self, name: &str) -> Result<Operator> {
        let name = format!("{}-{name}", self.scene);
        let identity = Identity::User { name: name.clone(), groups: vec!["system:masters".to_owned()] };
        let own = [format!("--lease-name={}", self.scene), format!("--watch-namespaces={}", self.namespace)];
        let flags = FLAGS.iter().map(|flag| (*flag).to_owned()).chain(own).collect();
        let replica = Operator::start_as(self.plane, &identity, Options { name, flags, program: None }).await?;
        replica.ready().await?;
        Ok(replica)
    }

    /// A leader and its standby, and phases that have begun to move traffic.
    async fn under_way(&self) -> Result<(Operator, Operator)> {
        let one = self.replica("one").await?;
        leads(&one).await?;
        let two = self.replica("two").await?;
        for side in ["old", "new"] {
            self.apply(&installed::side(side, "192.0.2.1")).await?;
        }
        for at in 0..PHASES {
            let steps = STEPS.map(|weight| {
                let approval = if weight == ASKS { ", approval: {required: 1}" } else { "" };
                format!(
                    "  - {{name: to-{weight}, traffic: [{{split: way-{at}, newWeight: {weight}}}], soak: 1s{approval}}}\n"
                )
            });
            let steps = steps.concat();
            self.apply(&format!(
                "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: way-{at}}}
spec:
  hosts: [way-{at}.{}.example.com]
  legacy: {{service: {{name: old, port: 80}}}}
  new: {{service: {{name: new, port: 80}}}}
  newWeight: 0
  routers: [{{ingressNginx: {{className: nginx}}}}]
---
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {{name: move-{at}}}
spec:
  steps:
{steps}",
                self.namespace
            ))
            .await?;
        }
        self.until("every phase has begun to move", |phase| {
            let status = phase.status.as_ref().context("no status")?;
            ensure!(status.step.as_ref().is_some_and(|step| step.index >= 1), "{:?}", status.step);
            Ok(())
        })
        .await?;
        Ok((one, two))
    }

    async fn apply(&self, yaml: &str) -> Result<()> {
        self.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    async fn until(&self, what: &str, holds: impl Fn(&MigrationPhase) -> Result<()>) -> Result<()> {
        let api: Api<MigrationPhase> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(what, PATIENCE, || async {
            let phases = api.list(&ListParams::default()).await?.items;
            ensure!(phases.len() == PHASES, "{} phases", phases.len());
            phases.iter().try_for_each(|phase| holds(phase).context(phase.name_any()))
        })
        .await
    }

    /// Every phase has come to the step after which people are asked, and they approve.
    async fn approve(&self) -> Result<()> {
        self.until("every phase asks people", |phase| {
            let status = phase.status.as_ref().context("no status")?;
            let at = status.step.as_ref().map(|step| (step.name.clone(), step.stage));
            ensure!(at == Some((format!("to-{ASKS}"), Stage::AwaitingApproval)), "{at:?} {:?}", status.blocked_by);
            Ok(())
        })
        .await?;
        let api: Api<MigrationPhase> = Api::namespaced(self.client.clone(), &self.namespace);
        for phase in api.list(&ListParams::default()).await? {
            let approves = json!({"action": "Approve", "step": format!("to-{ASKS}")});
            let action = installed::decision(&phase, "ana", &approves);
            installed::create(&self.client, &self.namespace, &action, false).await?;
        }
        Ok(())
    }

    /// Every phase comes to its end in its first attempt, and no split's weight ever fell.
    async fn completes(&self) -> Result<()> {
        self.approve().await?;
        self.until("every phase is completed", |phase| {
            let status = phase.status.as_ref().context("no status")?;
            ensure!(status.state == Some(PhaseState::Completed), "{:?} {:?}", status.state, status.blocked_by);
            Ok(())
        })
        .await?;
        self.until("it took one attempt", |phase| {
            let status = phase.status.as_ref().context("no status")?;
            ensure!(status.attempt == Some(1) && status.failure.is_none(), "{status:#?}");
            Ok(())
        })
        .await?;
        eventually("the last weights are seen", PATIENCE, || async {
            let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner).clone();
            ensure!(weights.len() == PHASES && weights.values().all(|each| each.last() == Some(&100)), "{weights:?}");
            for (split, each) in &weights {
                ensure!(each.is_sorted(), "the weight of {split} fell: {each:?}");
            }
            Ok(())
        })
        .await
    }

    fn audit(&self, user: &str) -> Result<Vec<AuditEntry>> {
        let user = format!("{}-{user}", self.scene);
        let entries = self.plane.audit().since(self.beginning)?;
        Ok(entries.into_iter().filter(|entry| entry.user == user && entry.is_complete()).collect())
    }

    /// When the replica got the Lease, in microseconds since 1970.
    fn acquired(&self, user: &str) -> Result<i64> {
        let mut writes = self.audit(user)?.into_iter().filter(|entry| entry.resource == "leases" && took_effect(entry));
        Ok(writes.next().with_context(|| format!("{user} never got the lease"))?.stage_micros)
    }

    /// What the first replica did to the cluster after the second one got the Lease. An Event is not among it: that it tells late of what
    /// was stored in time moves nothing.
    fn afterwards(&self) -> Result<Vec<AuditEntry>> {
        let handed_over = self.acquired("two")?;
        let one = self.audit("one")?;
        ensure!(
            one.iter().any(|entry| entry.resource == "trafficsplits" && took_effect(entry)),
            "it never did anything"
        );
        let late = |entry: &AuditEntry| took_effect(entry) && entry.stage_micros >= handed_over;
        Ok(one.into_iter().filter(|entry| late(entry) && entry.resource != "events").collect())
    }
}

/// Whether the request changed something.
fn took_effect(entry: &AuditEntry) -> bool {
    entry.is_write() && (200..300).contains(&entry.code) && !entry.uri.contains("dryRun")
}

/// Notes every weight that a split's status ever shows.
async fn observe(splits: Api<TrafficSplit>, weights: Arc<Mutex<BTreeMap<String, Vec<i32>>>>) {
    let mut changes = watcher(splits, watcher::Config::default()).default_backoff().applied_objects().boxed();
    while let Some(change) = changes.next().await {
        let Ok(split) = change else { continue };
        if let Some(weight) = split.status.as_ref().and_then(|status| status.applied_weight) {
            let mut weights = weights.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = weights.entry(split.name_any()).or_default();
            if seen.last() != Some(&weight) {
                seen.push(weight);
            }
        }
    }
}

/// Waits until the replica says that it may write.
async fn leads(replica: &Operator) -> Result<()> {
    eventually(&format!("{} leads", replica.name()), PATIENCE, || async {
        let metrics = replica.metrics().await?;
        ensure!(metrics.lines().any(|line| line == "cutover_leader 1"), "it does not");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standby_finishes_what_a_killed_leader_began() -> Result<()> {
    let shop = Shop::open(shared().await?, "killed").await?;
    let (one, two) = shop.under_way().await?;
    one.process().kill()?;
    leads(&two).await?;
    shop.completes().await?;
    ensure!(shop.afterwards()?.is_empty(), "{:#?}", shop.afterwards()?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standby_goes_on_at_once_when_the_leader_is_asked_to_end() -> Result<()> {
    let shop = Shop::open(shared().await?, "asked").await?;
    let (one, two) = shop.under_way().await?;
    let exit = tokio::task::block_in_place(|| one.process().stop())?;
    ensure!(exit.success(), "{exit}");
    leads(&two).await?;
    shop.completes().await?;
    ensure!(shop.afterwards()?.is_empty(), "{:#?}", shop.afterwards()?);
    let log = fs::read_to_string(one.process().log())?;
    ensure!(log.contains("lease given back"), "{log}");
    for lost in ["event not published", "events are dropped", "abandoned"] {
        ensure!(!log.contains(lost), "{lost}: {}", one.process().log_tail());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_through_its_lease_changes_nothing_when_it_wakes() -> Result<()> {
    let shop = Shop::open(shared().await?, "asleep").await?;
    let (one, two) = shop.under_way().await?;
    one.process().pause()?;
    leads(&two).await?;
    one.process().resume()?;
    let exit = one.process().wait_exit(PATIENCE).await?;
    ensure!(exit.code() == Some(1), "{exit}");
    shop.completes().await?;
    // A write that had passed its checks when the process was stopped may be sent when it wakes. It names the version that it was made
    // from: the API server takes it only where nobody has changed anything since.
    let late = shop.afterwards()?;
    let versioned = |entry: &AuditEntry| entry.resource == "ingresses" || entry.uri.contains("/status");
    let objects: BTreeSet<_> = late.iter().map(|entry| entry.uri.split('?').next()).collect();
    ensure!(late.iter().all(versioned) && late.len() == objects.len(), "{late:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_moves_nothing_and_is_gone_on_from() -> Result<()> {
    let plane = plane("leadership-outage").await?;
    let shop = Shop::open(&plane, "outage").await?;
    let (one, two) = shop.under_way().await?;

    // Shorter than the renew deadline: the leader goes on where it was.
    plane.pause_apiserver()?;
    sleep(Duration::from_secs(1)).await;
    plane.resume_apiserver()?;
    leads(&one).await?;
    ensure!(one.process().exited().is_none(), "{}", one.process().log_tail());

    // Longer: the leader ends in time, and the standby goes on once there is an API server again.
    plane.stop_apiserver()?;
    let exit = one.process().wait_exit(PATIENCE).await?;
    ensure!(exit.code() == Some(1), "{exit}");
    ensure!(two.process().exited().is_none(), "{}", two.process().log_tail());
    let mark = plane.audit().mark()?;
    plane.start_apiserver().await?;
    leads(&two).await?;
    shop.completes().await?;
    let former = format!("{}-one", shop.scene);
    let late: Vec<_> = plane.audit().since(mark)?.into_iter().filter(|entry| entry.user == former).collect();
    ensure!(late.is_empty(), "{late:#?}");
    Ok(())
}
