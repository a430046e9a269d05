//! A control plane with Cutover installed, a running operator and two Prometheus, shared by these tests. Each test has a shop of its own: two
//! sides whose endpoints are written by hand, the split `storefront` that its phases move, and the split `bystander` that nobody moves.

use std::{sync::LazyLock, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::{
    MigrationPhase, MigrationPhaseStatus, PhaseAction, PhaseActionStatus, TrafficSplit, TrafficSplitStatus,
    migration_phase::PhaseState, phase_action::ActionState,
};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    eventually, gateway, in_time,
    node::{NodeOptions, NodeSimulator},
    operator::{Operator, Options},
    prometheus::{Prometheus as RealPrometheus, Targets},
    tools,
};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

use super::{prometheus::Prometheus, record::Record, sinks::Sinks};
use crate::installed;

static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

static BED: OnceCell<Bed> = OnceCell::const_new();

pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// Endpoints that a side can have.
const ENDPOINTS: usize = 4;

/// Weight of the split that nobody moves.
const BYSTANDER: i64 = 30;

/// Everybody of this group may decide on phases.
const DECIDERS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: deciders}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cutover-decide}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: deciders}]
";

pub(super) struct Bed {
    pub(super) plane: ControlPlane,
    /// Runs the pods of Jobs.
    pub(super) node: NodeSimulator,
    pub(super) operator: Operator,
    /// Known to the operator as `scripted`.
    pub(super) prometheus: Prometheus,
    /// Known to the operator as `real`.
    pub(super) real_prometheus: RealPrometheus,
    pub(super) sinks: Sinks,
}

async fn bed() -> Result<&'static Bed> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
    BED.get_or_try_init(|| async { runtime.spawn(start()).await? }).await
}

async fn start() -> Result<Bed> {
    let plane = ControlPlane::start_named("migration-phase").await?;
    plane.install_definitions(tools::definitions("gateway-api")?).await?;
    installed::install(&plane).await?;
    gateway::start(&plane).await?;
    plane.apply_yaml("default", DECIDERS).await?;
    let prometheus = Prometheus::start().await?;
    let targets =
        Targets { fixed: [("counters".to_owned(), vec![super::counters::start().await?])].into(), file: None };
    let real_prometheus = RealPrometheus::start(&targets, plane.logs()).await?;
    let (sinks, configuration) = Sinks::start(plane.data()).await?;
    let options = Options {
        name: "migration-phase-operator".into(),
        flags: vec![
            "--log-level=info,cutover_operator=debug".into(),
            "--route-propagation=50ms".into(),
            // Nobody starts it again when a machine that is too busy makes it give the lease up.
            "--lease-duration=90s".into(),
            "--lease-renew-deadline=60s".into(),
            format!("--prometheus=scripted={}", prometheus.url()),
            format!("--prometheus=real=http://{}", real_prometheus.address()),
            "--prometheus-timeout=500ms".into(),
            "--outbound-networks=127.0.0.0/8".into(),
            format!("--notification-sinks={}", configuration.display()),
        ],
        program: None,
    };
    let operator = Operator::start(&plane, options).await?;
    operator.ready().await?;
    let decider = plane.client_for("ana", &["deciders"]).await?;
    eventually("deciders may decide", PATIENCE, || async {
        let spec = json!({"phase": "p", "phaseUID": "u", "attempt": 1, "action": "Abort", "requestedBy": "ana", "reason": "r"});
        installed::create(&decider, "default", &installed::object("PhaseAction", "probe", &spec), true).await?;
        Ok(())
    })
    .await?;
    let robot = Identity::User { name: "node-simulator".to_owned(), groups: vec!["system:masters".to_owned()] };
    let node = NodeSimulator::start(plane.config(&robot).await?, NodeOptions::default()).await?;
    Ok(Bed { plane, node, operator, prometheus, real_prometheus, sinks })
}

/// A step that takes `storefront` to a weight and is named after it.
pub(super) fn to(weight: i32) -> Value {
    json!({"name": format!("to-{weight}"), "traffic": [{"split": "storefront", "newWeight": weight}]})
}

/// An object with more fields.
pub(super) fn with(mut object: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
    object
}

/// The step stays until somebody approves it.
pub(super) fn approved(step: Value) -> Value {
    with(step, &json!({"approval": {"required": 1}}))
}

/// A namespace with its splits. What their routes carry is recorded from when both are at rest.
pub(super) struct Shop {
    pub(super) bed: &'static Bed,
    pub(super) namespace: String,
    pub(super) client: Client,
    record: Record,
}

impl Shop {
    /// With `storefront` at 0.
    pub(super) async fn open() -> Result<Self> {
        Self::open_at(0, json!({})).await
    }

    /// With `storefront` at a weight, and more in its spec.
    pub(super) async fn open_at(weight: i32, more: Value) -> Result<Self> {
        let bed = bed().await?;
        let namespace = bed.plane.unique_namespace().await?;
        let client = bed.plane.admin().await?;
        for side in ["old", "new"] {
            let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
            let service =
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": side}, "spec": {"ports": ports}});
            apply(bed, &client, &namespace, &service).await?;
            endpoints(bed, &client, &namespace, side, 1).await?;
        }
        let storefront = with(split(&namespace, "/", weight), &more);
        let bystander = split(&namespace, "/bystander", i32::try_from(BYSTANDER)?);
        for (name, spec) in [("storefront", &storefront), ("bystander", &bystander)] {
            apply(bed, &client, &namespace, &installed::object("TrafficSplit", name, spec)).await?;
        }
        for (name, weight) in [("storefront", i64::from(weight)), ("bystander", BYSTANDER)] {
            split_until(&client, &namespace, name, |status| carries(status, weight)).await?;
        }
        let record = Record::start(&client, &namespace).await;
        Ok(Self { bed, namespace, client, record })
    }

    /// Applies one object as a user would.
    pub(super) async fn apply(&self, object: &Value) -> Result<()> {
        apply(self.bed, &self.client, &self.namespace, object).await
    }

    /// Applies a phase.
    pub(super) async fn phase(&self, name: &str, spec: &Value) -> Result<()> {
        self.apply(&installed::object("MigrationPhase", name, spec)).await
    }

    /// An environment that names one of the bed's Prometheus, and whose only component is ready when the Service `api` has endpoints.
    pub(super) async fn environment(&self, prometheus: &str) -> Result<()> {
        let api = json!({"name": "api", "system": "New", "source": {"service": {"name": "api", "port": 80}}});
        let spec = json!({"tier": "Production", "components": [api], "monitoring": {"prometheus": prometheus}});
        self.apply(&installed::object("Environment", "production", &spec)).await
    }

    /// A side (`old`, `new`) has so many ready endpoints from now on.
    pub(super) async fn endpoints(&self, service: &str, ready: usize) -> Result<()> {
        endpoints(self.bed, &self.client, &self.namespace, service, ready).await
    }

    pub(super) fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn edit<K>(&self, name: &str, patch: Value) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.all::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(super) async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        self.all::<K>().delete(name, &DeleteParams::default()).await?;
        let gone = await_condition(self.all::<K>(), name, |object: Option<&K>| object.is_none());
        in_time(PATIENCE, gone).await.with_context(|| format!("{name} is not gone"))??;
        Ok(())
    }

    /// Takes the whole status away, as a backup restored without it does. Only the operator's account may.
    pub(super) async fn wipe<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let client = self.bed.plane.client(&installed::operator()).await?;
        let nothing = Patch::Merge(json!({"status": null}));
        Api::<K>::namespaced(client, &self.namespace).patch_status(name, &PatchParams::default(), &nothing).await?;
        Ok(())
    }

    /// Waits until a phase's status of its present spec is as `expected` says.
    pub(super) async fn until(
        &self,
        phase: &str,
        what: &str,
        expected: impl Fn(&MigrationPhaseStatus) -> bool + Send,
    ) -> Result<MigrationPhaseStatus> {
        let is = |phase: Option<&MigrationPhase>| {
            let Some((phase, status)) = phase.and_then(|phase| Some((phase, phase.status.as_ref()?))) else {
                return false;
            };
            status.observed_generation == phase.metadata.generation && expected(status)
        };
        let phases = self.all::<MigrationPhase>();
        match in_time(PATIENCE, await_condition(phases.clone(), phase, is)).await {
            Ok(found) => found?.and_then(|phase| phase.status).context("no status"),
            Err(_) => Err(anyhow!("{phase} is not {what}: {:#?}", phases.get(phase).await?.status)),
        }
    }

    /// Waits until a phase is in a state.
    pub(super) async fn state(&self, phase: &str, state: PhaseState) -> Result<MigrationPhaseStatus> {
        self.until(phase, state.as_str(), |status| status.state == Some(state)).await
    }

    /// Waits until a phase says that it waits for this, and says so in these words.
    pub(super) async fn blocked(&self, phase: &str, reason: &str, message: &str) -> Result<MigrationPhaseStatus> {
        self.until(phase, &format!("blocked by {reason}: {message}"), |status| {
            status.blocked_by.iter().any(|blocker| blocker.reason == reason && blocker.message.contains(message))
        })
        .await
    }

    /// Waits until a phase is Running in this step and asks people.
    pub(super) async fn asks(&self, phase: &str, step: &str) -> Result<MigrationPhaseStatus> {
        self.blocked(phase, "AwaitingApproval", &format!("step {step} has 0 of ")).await
    }

    /// Waits until a split's status of its present spec is as `expected` says.
    pub(super) async fn split_until(
        &self,
        split: &str,
        expected: impl Fn(&TrafficSplitStatus) -> bool + Send,
    ) -> Result<TrafficSplitStatus> {
        split_until(&self.client, &self.namespace, split, expected).await
    }

    /// Waits until the split carries the weight and no phase holds it.
    pub(super) async fn free(&self, split: &str, weight: i64) -> Result<TrafficSplitStatus> {
        self.split_until(split, |status| carries(status, weight) && status.holder.is_none()).await
    }

    /// A person decides on the present attempt of a phase; what became of it. `action` may say otherwise of every field; its groups are
    /// the person's.
    pub(super) async fn act(&self, who: &str, phase: &str, action: Value) -> Result<PhaseActionStatus> {
        let name = self.ask(who, phase, action).await?;
        self.decided(&name).await
    }

    /// A person asks; the name of the action.
    pub(super) async fn ask(&self, who: &str, phase: &str, action: Value) -> Result<String> {
        let present = self.all::<MigrationPhase>().get(phase).await?;
        let mut groups = vec!["deciders"];
        groups.extend(action["groups"].as_array().into_iter().flatten().filter_map(Value::as_str));
        let client = self.bed.plane.client_for(who, &groups).await?;
        let decision = installed::decision(&present, who, &action);
        Ok(installed::create(&client, &self.namespace, &decision, false).await?.name_any())
    }

    /// What became of an action, once that is known.
    pub(super) async fn decided(&self, action: &str) -> Result<PhaseActionStatus> {
        let is = |action: Option<&PhaseAction>| {
            action.and_then(|action| action.status.as_ref()).is_some_and(|status| status.state.is_some())
        };
        let decided = await_condition(self.all::<PhaseAction>(), action, is);
        let found = in_time(PATIENCE, decided).await.with_context(|| format!("nobody settles {action}"))??;
        found.and_then(|action| action.status).context("no status")
    }

    /// A decision that takes effect.
    pub(super) async fn accepted(&self, who: &str, phase: &str, action: Value) -> Result<()> {
        let status = self.act(who, phase, action.clone()).await?;
        ensure!(status.state == Some(ActionState::Accepted), "{action}: {status:#?}");
        Ok(())
    }

    /// A decision that does not, and why.
    pub(super) async fn rejected(
        &self,
        who: &str,
        phase: &str,
        action: Value,
        reason: &str,
        message: &str,
    ) -> Result<()> {
        let status = self.act(who, phase, action.clone()).await?;
        turned_down(&status, ActionState::Rejected, reason, message).with_context(|| action.to_string())
    }

    /// The record of a split's weights or a flag's percentages, once the last is this one.
    pub(super) async fn history(&self, name: &str, last: i64) -> Result<Vec<super::record::Seen>> {
        eventually(&format!("{name} at {last}"), PATIENCE, || async {
            let history = self.record.of(name);
            ensure!(history.last().is_some_and(|seen| seen.value == last), "{history:?}");
            Ok(history)
        })
        .await
    }

    /// The weights that `storefront`'s routes have carried, all of them; and the other split has not been touched.
    pub(super) async fn moved(&self, weights: &[i64]) -> Result<()> {
        self.moved_too("storefront", weights).await?;
        self.moved_too("bystander", &[BYSTANDER]).await
    }

    /// The weights that a split's routes, or the percentages that a flag, have carried.
    pub(super) async fn moved_too(&self, name: &str, values: &[i64]) -> Result<()> {
        let last = *values.last().context("nothing expected")?;
        let history: Vec<i64> = self.history(name, last).await?.iter().map(|seen| seen.value).collect();
        ensure!(history == values, "{name} was at {history:?} instead of {values:?}");
        Ok(())
    }
}

/// Spec of a split of the shop's host.
pub(super) fn split(namespace: &str, path: &str, weight: i32) -> Value {
    json!({
        "hosts": [format!("{namespace}.example.com")],
        "paths": [{"type": "Prefix", "value": path}],
        "legacy": {"service": {"name": "old", "port": 80}},
        "new": {"service": {"name": "new", "port": 80}},
        "newWeight": weight,
        "routers": [{"ingressNginx": {"className": "nginx"}}],
    })
}

async fn apply(bed: &Bed, client: &Client, namespace: &str, object: &Value) -> Result<()> {
    bed.plane.apply_yaml_as(client, namespace, &object.to_string()).await.map(drop)
}

async fn endpoints(bed: &Bed, client: &Client, namespace: &str, service: &str, ready: usize) -> Result<()> {
    let network = if service == "old" { "198.51.100" } else { "203.0.113" };
    let endpoint = |number: usize| json!({"addresses": [format!("{network}.{}", number + 1)], "conditions": {"ready": number < ready}});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
    });
    apply(bed, client, namespace, &slice).await
}

async fn split_until(
    client: &Client,
    namespace: &str,
    name: &str,
    expected: impl Fn(&TrafficSplitStatus) -> bool + Send,
) -> Result<TrafficSplitStatus> {
    let is = |split: Option<&TrafficSplit>| {
        let Some((split, status)) = split.and_then(|split| Some((split, split.status.as_ref()?))) else { return false };
        status.observed_generation == split.metadata.generation && expected(status)
    };
    let splits: Api<TrafficSplit> = Api::namespaced(client.clone(), namespace);
    match in_time(PATIENCE, await_condition(splits.clone(), name, is)).await {
        Ok(found) => found?.and_then(|split| split.status).context("no status"),
        Err(_) => Err(anyhow!("{name} is not as expected: {:#?}", splits.get(name).await?.status)),
    }
}

/// Whether every route carries the weight and the split is at rest.
fn carries(status: &TrafficSplitStatus, weight: i64) -> bool {
    status.applied_weight.map(i64::from) == Some(weight) && is(&status.conditions, "Ready", "True").is_some()
}

/// Reason and message of a condition with this status.
pub(super) fn is<'a>(conditions: &'a [Condition], type_: &str, status: &str) -> Option<(&'a str, &'a str)> {
    let condition = conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status)?;
    Some((&condition.reason, &condition.message))
}

/// What became of an action that did nothing.
pub(super) fn turned_down(status: &PhaseActionStatus, state: ActionState, reason: &str, message: &str) -> Result<()> {
    ensure!(status.state == Some(state) && status.reason.as_deref() == Some(reason), "{status:#?}");
    ensure!(status.message.as_deref().unwrap_or_default().contains(message), "{status:#?}");
    ensure!(status.applied_at.is_none() && status.attempt.is_none(), "{status:#?}");
    Ok(())
}

/// Reasons of what happened to a phase, in order.
pub(super) fn reasons(status: &MigrationPhaseStatus) -> Vec<&str> {
    status.history.iter().map(|entry| entry.reason.as_str()).collect()
}
