//! The story itself, in the order in which it happens.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::migration_phase::{PhaseState, Stage};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Event, Options,
    cluster::{Cluster, NAMESPACE, PATIENCE},
    observer::{Observer, State},
    traffic::{ROUTERS, Traffic, Way},
    verdict::{Measured, OnRouter, Outcome, RETURN_LIMIT},
};
use crate::{control_plane::Identity, tools};

const SUBDOMAIN: &str = "10-subdomain";
const PATH: &str = "20-path-v2";
const SHIFT: &str = "30-shift";
const CUTOVER: &str = "40-cutover";

/// The longest range in the query of the shift's check.
const CHECK_WARMUP: Duration = Duration::from_secs(10);

/// The component that fails once.
const FAILING: &str = "storefront";
/// Who approves and decides in the story.
const OWNER: &str = "otto";
/// The version that pods of both sides are rolled to in the middle of the shift.
const ROLLED_VERSION: &str = "2026.11.2";

/// Applies the shop and drives it through its four phases.
pub(super) async fn tell(
    cluster: &Cluster,
    options: &Options,
    tell: &(dyn Fn(Event) + Send + Sync),
) -> Result<Outcome> {
    let started = Instant::now();
    tell(Event::Doing("applying deploy/examples/shop: two systems, three ways in, one flag".to_owned()));
    let client = cluster.plane.admin().await?;
    apply(cluster, &["namespace", "environment", "splits", "flag"]).await?;
    allow_decisions(cluster).await?;
    let observer = Observer::start(&client);
    observer.until("the environment is ready", PATIENCE, |state| state.is_ready("production", None)).await?;
    let at_rest = |state: &State| ["shop", "shop-v2"].iter().all(|split| state.applied(split) == Some(0));
    observer.until("the splits carry weight 0", PATIENCE, at_rest).await?;

    let routers = ROUTERS.join(", ");
    tell(Event::Doing(format!("{} requests a second set out for the shop on each router: {routers}", options.rate)));
    let traffic = Traffic::start(cluster.traefik.entry_points(), options.rate)?;
    let narrator = narrate(observer.changes(), tell);
    let mut story = Story { cluster, options, tell, observer, traffic, steps: Vec::new() };
    let told = tokio::select! {
        told = story.phases(&client) => told,
        never = narrator => match never {},
        failed = cluster.keep_replicas(tell) => match failed? {},
    };
    let told = told.map_err(|error| anyhow!("{error:#}\n\nthe load so far, {}", story.traffic.report()))?;

    let Story { traffic, steps, .. } = story;
    let report = traffic.stop().await?;
    let Told { returned_after, leaders, flag_percent } = told;
    Ok(Outcome { steps, returned_after, leaders, flag_percent, report, total: options.total, took: started.elapsed() })
}

/// Tells of every change of a phase's state, step or stage.
async fn narrate(mut states: watch::Receiver<State>, tell: &(dyn Fn(Event) + Send + Sync)) -> Infallible {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let lines = states.borrow_and_update().lines();
        for (phase, state) in lines {
            if told.insert(phase.clone(), state.clone()).as_ref() != Some(&state) {
                tell(Event::Phase { phase, state });
            }
        }
        if states.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Told {
    returned_after: Duration,
    leaders: (String, String),
    flag_percent: i64,
}

struct Story<'a> {
    cluster: &'a Cluster,
    options: &'a Options,
    tell: &'a (dyn Fn(Event) + Send + Sync),
    observer: Observer,
    traffic: Traffic,
    steps: Vec<Measured>,
}

impl Story<'_> {
    /// All four, in order.
    async fn phases(&mut self, client: &Client) -> Result<Told> {
        self.subdomain().await?;
        self.path().await?;
        let returned_after = self.shift_that_fails().await?;
        let leaders = self.shift_again().await?;
        self.complete().await?;
        Ok(Told { returned_after, leaders, flag_percent: flag_percent(client).await? })
    }

    /// Phase 1: the testers' host appears, and only the new side answers there.
    async fn subdomain(&mut self) -> Result<()> {
        self.traffic.opens()?;
        self.doing("applying the four phases; the first opens a host of its own for testers");
        apply(self.cluster, &["phases"]).await?;
        let open = self.until("the testers' host is open", |state| state.applied("shop-new") == Some(100)).await?;
        self.traffic.is_new(Way::Subdomain)?;
        self.measure(SUBDOMAIN, "open", Way::Subdomain, 100, open).await
    }

    /// Phase 2: one path of the shop's host is taken over at once.
    async fn path(&mut self) -> Result<()> {
        self.traffic.may_move(Way::Path)?;
        let taken = self.until("/v2 is taken over", |state| state.applied("shop-v2") == Some(100)).await?;
        self.traffic.is_new(Way::Path)?;
        self.measure(PATH, "take-over", Way::Path, 100, taken).await
    }

    /// Phase 3, first attempt: at a quarter the new system starts to fail, and the phase goes back by its own check. Returns how
    /// long after the fault's start no request reached the new system any more.
    async fn shift_that_fails(&mut self) -> Result<Duration> {
        self.traffic.may_move(Way::Main)?;
        self.step("five-percent", 5).await?;
        self.step("quarter", 25).await?;

        // Errors inside the check's warm-up would rightly not count.
        self.until("the check has watched past its warm-up", |state| state.watched_for(SHIFT, CHECK_WARMUP)).await?;
        self.doing("the new storefront starts to fail: half of its answers are errors");
        let exclusion = self.traffic.exclude("the new storefront fails");
        let storefront = self.cluster.node.component(NAMESPACE, FAILING);
        storefront.error_rate(0.5);
        let fault = Instant::now();
        let patience = RETURN_LIMIT * 2;
        let back = |state: &State| state.applied("shop") == Some(0);
        self.observer.until("the phase has gone back by its own check", patience, back).await?;
        let returned = self.traffic.left_new(patience).await?;
        exclusion.end();
        self.traffic.is_legacy(Way::Main)?;
        self.until("the phase is rolled back", |state| state.state(SHIFT) == Some(PhaseState::RolledBack)).await?;
        storefront.clear();
        self.count(SHIFT, "(way back)", Way::Main, 0, returned).await?;
        Ok(returned.duration_since(fault))
    }

    /// Phase 3, second attempt, with pods of both sides rolled and the leader killed on the way. Returns the replica that led and
    /// the one that leads now.
    async fn shift_again(&mut self) -> Result<(String, String)> {
        self.doing("the fault is removed; a person asks for another attempt");
        self.traffic.may_move(Way::Main)?;
        self.decide(SHIFT, "Retry", None, "the storefront's fault is mended").await?;
        self.until("the second attempt runs", |state| state.attempt(SHIFT) == Some(2)).await?;
        self.step("five-percent", 5).await?;
        self.step("quarter", 25).await?;
        self.doing("rolling the pods of both sides");
        self.roll().await?;
        let moving = |state: &State| state.reached(SHIFT, "half", Stage::Shifting);
        self.until("the next step begins", moving).await?;
        self.doing("killing the leader in the middle of the step");
        let killed = self.cluster.kill_leader().await?;
        self.step("half", 50).await?;
        self.step("all", 100).await?;
        self.traffic.is_new(Way::Main)?;
        let leads = self.cluster.leader().await?;
        self.until("the new versions are deployed", |state| state.is_ready("production", Some(ROLLED_VERSION))).await?;
        Ok((killed, leads))
    }

    /// Phase 4: everything is on the new side; a person looks at it and says so.
    async fn complete(&mut self) -> Result<()> {
        let soaking = |state: &State| state.reached(CUTOVER, "complete", Stage::Soaking);
        let since = self.until("the cutover soaks", soaking).await?;
        self.measure(CUTOVER, "complete", Way::Main, 100, since).await?;
        let asks = |state: &State| state.reached(CUTOVER, "complete", Stage::AwaitingApproval);
        self.until("the cutover asks for approval", asks).await?;
        self.decide(CUTOVER, "Approve", Some("complete"), "looked at the dashboards, all is well").await?;
        let done = |state: &State| state.state(CUTOVER) == Some(PhaseState::Completed);
        self.until("the cutover is completed", done).await.map(drop)
    }

    /// One step of the shift on the main way in.
    async fn step(&mut self, step: &str, weight: i32) -> Result<()> {
        let soaks = |state: &State| state.applied("shop") == Some(weight) && state.is_at(SHIFT, step);
        let applied = self.until(&format!("{weight} % are applied"), soaks).await?;
        self.measure(SHIFT, step, Way::Main, weight, applied).await
    }

    /// Counts the way's requests while the phase is in the step.
    async fn measure(&mut self, phase: &str, step: &str, way: Way, wanted: i32, since: Instant) -> Result<()> {
        self.count(phase, step, way, wanted, since).await?;
        // Else requests of the next step were counted with this one's.
        let state = self.observer.now();
        ensure!(
            state.is_at(phase, step) || way != Way::Main,
            "{phase}/{step} was over before {} requests were counted: its soak is too short for this load",
            self.options.sample
        );
        Ok(())
    }

    /// Counts the way's requests on each router from the instant at which status said that the weight is applied.
    async fn count(&mut self, phase: &str, step: &str, way: Way, wanted: i32, since: Instant) -> Result<()> {
        let mut on = Vec::new();
        for router in ROUTERS {
            let counts = self.traffic.window(way, router, since).wait_for(self.options.sample).await?;
            on.push(OnRouter {
                router: router.to_owned(),
                seen: counts.share_new().unwrap_or_default() * 100.0,
                requests: counts.total,
                lost: counts.lost,
                misrouted: counts.misrouted,
            });
        }
        let (phase, step) = (phase.to_owned(), step.to_owned());
        let measured = Measured { phase, step, wanted, sample: self.options.sample, on };
        (self.tell)(Event::Step(measured.clone()));
        self.steps.push(measured);
        Ok(())
    }

    /// New images for both sides, as a user would deploy them: a changed spec.
    async fn roll(&self) -> Result<()> {
        let file = example("environment");
        let yaml = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let rolled = yaml.replace("monolith:7.3.0", "monolith:7.3.1").replace(":1.4.2", ":1.4.3");
        let rolled = rolled.replace("2026.11.1", ROLLED_VERSION);
        ensure!(rolled != yaml, "{file} has other versions than the story knows");
        self.cluster
            .plane
            .run("kubectl", ["apply", "-f", "-"], self.cluster.plane.kubeconfig(), &rolled)
            .await?
            .ok()?;
        Ok(())
    }

    /// A person's decision about the present attempt of a phase.
    async fn decide(&self, phase: &str, action: &str, step: Option<&str>, reason: &str) -> Result<()> {
        let state = self.observer.now();
        let (uid, attempt) = (state.uid(phase).context("no such phase")?, state.attempt(phase).unwrap_or(1));
        let object = json!({
            "apiVersion": "cutover.dev/v1alpha1",
            "kind": "PhaseAction",
            "metadata": {"generateName": format!("{}-", action.to_lowercase()), "namespace": NAMESPACE},
            "spec": {
                "phase": phase, "phaseUID": uid, "attempt": attempt, "action": action,
                "step": step, "requestedBy": OWNER, "reason": reason,
            },
        });
        let owner = Identity::User { name: OWNER.to_owned(), groups: vec!["product-owners".to_owned()] };
        let kubeconfig = self.cluster.plane.kubeconfig_for(&owner).await?;
        let output = self.cluster.plane.run("kubectl", ["create", "-f", "-"], &kubeconfig, &object.to_string()).await?;
        output.ok().with_context(|| format!("{OWNER}'s {action} of {phase}"))?;
        Ok(())
    }

    fn doing(&self, what: &str) {
        (self.tell)(Event::Doing(what.to_owned()));
    }

    async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) -> Result<Instant> {
        self.observer.until(what, PATIENCE, condition).await
    }
}

fn example(name: &str) -> String {
    tools::repository().join(format!("deploy/examples/shop/{name}.yaml")).display().to_string()
}

async fn apply(cluster: &Cluster, names: &[&str]) -> Result<()> {
    for name in names {
        cluster.plane.kubectl(["apply", "-f", &example(name)]).await?.ok().with_context(|| format!("{name}.yaml"))?;
    }
    Ok(())
}

/// The product owner may decide about the shop's phases: what an administrator would grant.
async fn allow_decisions(cluster: &Cluster) -> Result<()> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "product-owner", "namespace": NAMESPACE},
        "rules": [
            {"apiGroups": ["cutover.dev"], "resources": ["phaseactions"], "verbs": ["create"]},
            {"apiGroups": ["cutover.dev"], "resources": ["migrationphases"], "verbs": ["approve", "retry"]},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "product-owner", "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "product-owner"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OWNER}],
    });
    for object in [role, binding] {
        cluster.plane.apply_yaml(NAMESPACE, &object.to_string()).await?;
    }
    Ok(())
}

/// The share of the flag's growing variant, as its published definition has it.
async fn flag_percent(client: &Client) -> Result<i64> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let data = maps.get("production-flags").await?.data.unwrap_or_default();
    let flags: Value = serde_json::from_str(data.get("flags.json").context("no flags.json")?)?;
    let targeting = flags.pointer("/flags/new-checkout/targeting").context("the flag has no targeting")?;
    fractional(targeting).context("the flag has no percentage")
}

/// The first weight of the first `fractional` anywhere in a targeting.
fn fractional(targeting: &Value) -> Option<i64> {
    match targeting {
        Value::Object(fields) => {
            let first = fields.get("fractional").and_then(|buckets| buckets.pointer("/0/1")).and_then(Value::as_i64);
            first.or_else(|| fields.values().find_map(fractional))
        }
        Value::Array(items) => items.iter().find_map(fractional),
        _ => None,
    }
}
