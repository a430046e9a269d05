//! The operator's rights are enough, and none is idle: from the audit log of a run in which everything is made, moved,
//! left out and deleted under the chart's service account.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    control_plane::{AuditEntry, ControlPlane, Identity, Mark},
    eventually,
    node::{NodeOptions, NodeSimulator},
    operator::{NAMESPACE, Operator, Options, SERVICE_ACCOUNT},
    tools,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::{Api, Client, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::installed::{api, create, decision, install, object};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the operator makes carries this.
const OURS: &str = "app.kubernetes.io/managed-by=cutover";

/// Group, resource with subresource, verb.
type Right = (String, String, String);

/// What the chart grants the operator.
async fn granted(client: &Client) -> Result<BTreeSet<Right>> {
    let everywhere = Api::<ClusterRole>::all(client.clone()).get(SERVICE_ACCOUNT).await?;
    let at_home = Api::<Role>::namespaced(client.clone(), NAMESPACE).get(&format!("{SERVICE_ACCOUNT}-lease")).await?;
    let rules = everywhere.rules.iter().flatten().chain(at_home.rules.iter().flatten());
    Ok(rules.flat_map(each).collect())
}

fn each(rule: &PolicyRule) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            rights.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
        }
    }
    rights
}

/// The rights that a request makes use of. A server-side apply that makes an object takes the right to create it as well; a
/// watch that begins with what there is stands for a list too, which is what API servers without it (1.33) are asked for.
fn used(entry: &AuditEntry) -> Vec<Right> {
    let resource = match entry.subresource.as_str() {
        "" => entry.resource.clone(),
        subresource => format!("{}/{subresource}", entry.resource),
    };
    let right = |verb: &str| (entry.group.clone(), resource.clone(), verb.to_owned());
    match (entry.verb.as_str(), entry.code) {
        ("patch", 201) => vec![right("patch"), right("create")],
        ("watch", _) if entry.uri.contains("sendInitialEvents=true") => vec![right("watch"), right("list")],
        (verb, _) => vec![right(verb)],
    }
}

/// The test of the policies at start, which is there to be refused.
fn is_self_test(entry: &AuditEntry) -> bool {
    entry.resource == "phaseactions" && entry.verb == "create" && entry.uri.contains("dryRun")
}

/// Fails when the operator was refused something since `mark`. Any test may end with it.
pub(crate) fn nothing_was_forbidden(plane: &ControlPlane, mark: Mark) -> Result<Vec<AuditEntry>> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    let entries: Vec<_> = plane.audit().since(mark)?.into_iter().filter(|entry| entry.user == user).collect();
    let forbidden: Vec<_> = entries.iter().filter(|entry| entry.code == 403 && !is_self_test(entry)).collect();
    ensure!(forbidden.is_empty(), "the operator was refused: {forbidden:#?}");
    ensure!(!entries.is_empty(), "the operator asked for nothing");
    Ok(entries)
}

fn environment(components: &Value) -> Value {
    let spec = json!({"tier": "Production", "version": "1", "config": {"LOG_LEVEL": "info"}, "components": components});
    object("Environment", "production", &spec)
}

fn web() -> Value {
    let ports = json!([{"name": "http", "containerPort": 8080}]);
    let workload = json!({"image": "registry.example.com/web:1", "ports": ports, "health": {"interval": "1s"}});
    json!({"name": "web", "system": "New", "source": {"workload": workload}})
}

fn old() -> Value {
    json!({"name": "old", "system": "Legacy", "source": {"external": {"addresses": ["192.0.2.7"], "port": 80}}})
}

/// A component to which gateways speak TLS.
fn vault() -> Value {
    let external = json!({"addresses": ["192.0.2.8"], "port": 443, "tls": {"serverName": "vault.dc.example.com"}});
    json!({"name": "vault", "system": "Shared", "source": {"external": external}})
}

fn split(name: &str, host: &str) -> Value {
    let spec = json!({
        "environment": "production", "hosts": [host], "legacy": {"component": "old"}, "new": {"component": "web"},
        "newWeight": 0, "onDelete": "Delete",
        "routers": [{"ingressNginx": {"className": "nginx"}}, {"gatewayApi": {"parentRefs": [{"name": "edge"}]}}, {"traefik": {}}, {"istio": {"gateways": ["edge"]}}],
    });
    object("TrafficSplit", name, &spec)
}

/// A split that a phase can move where no gateway accepts anything.
fn plain_split() -> Value {
    let mut split = split("plain", "plain.example.com");
    split["spec"]["routers"] = json!([{"ingressNginx": {"className": "nginx"}}]);
    split
}

/// A split of services of gRPC.
fn split_of_calls() -> Value {
    let mut split = split("calls", "calls.example.com");
    split["spec"]["routers"] = json!([{"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": [{"name": "edge"}]}}]);
    split
}

/// A split that needs what Traefik's routes name.
fn limited_split() -> Value {
    let mut split = split("limited", "limited.example.com");
    split["spec"]["routers"] = json!([{"traefik": {}}]);
    split["spec"]["edge"] = json!({"rateLimit": {"requestsPerMinute": 600}, "timeouts": {"connect": "5s"}});
    split
}

fn flag() -> Value {
    let rules = json!([{"name": "rollout", "percentage": {"growing": "on", "rest": "off", "percent": 0}}]);
    let spec = json!({
        "environment": "production", "variants": {"on": true, "off": false}, "defaultVariant": "off", "rules": rules,
    });
    object("FeatureFlag", "checkout", &spec)
}

fn phase() -> Value {
    let step = |name: &str, share: i64| {
        json!({
            "name": name, "traffic": [{"split": "plain", "newWeight": share}],
            "flags": [{"flag": "checkout", "percent": share}], "approval": {"required": 1},
        })
    };
    let spec = json!({"environment": "production", "steps": [step("half", 50), step("all", 100)]});
    object("MigrationPhase", "shift", &spec)
}

/// A phase whose hook fails before anything is moved.
fn failing() -> Value {
    let template = json!({
        "metadata": {"annotations": {"sim.cutover.dev/exit-code": "3"}},
        "spec": {"containers": [{"name": "run", "image": "registry.example.com/hook:1"}]},
    });
    let step = json!({"name": "all", "traffic": [{"split": "plain", "newWeight": 100}]});
    let hooks = json!({"before": [{"name": "check", "job": {"template": template}}]});
    object("MigrationPhase", "hooked", &json!({"steps": [step], "hooks": hooks}))
}

struct Run {
    plane: ControlPlane,
    client: Client,
    namespace: String,
}

impl Run {
    async fn read(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(api(&self.client, &self.namespace, kind).get(name).await?)?)
    }

    async fn until(&self, kind: &str, name: &str, path: &str, wanted: &Value) -> Result<()> {
        eventually(&format!("{kind} {name}: {path} = {wanted}"), PATIENCE, || async {
            let object = self.read(kind, name).await?;
            ensure!(object.pointer(path) == Some(wanted), "{:#}", object["status"]);
            Ok(())
        })
        .await
    }

    async fn gone(&self, what: &str, labels: &str) -> Result<()> {
        eventually(&format!("no {what} with {labels} left"), PATIENCE, || async {
            let args = ["get", what, "-n", &self.namespace, "-l", labels, "-o", "name"];
            let left = self.plane.kubectl(args).await?.ok()?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await
    }

    async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let api = api(&self.client, &self.namespace, kind);
        api.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        api(&self.client, &self.namespace, kind).delete(name, &DeleteParams::default()).await?;
        eventually(&format!("{kind} {name} is gone"), PATIENCE, || async {
            let left = api(&self.client, &self.namespace, kind).get_opt(name).await?;
            ensure!(left.is_none(), "{:#?}", left.map(|object| object.data["status"].clone()));
            Ok(())
        })
        .await
    }

    async fn approve(&self, step: &str) -> Result<()> {
        self.until("MigrationPhase", "shift", "/status/step/stage", &json!("AwaitingApproval")).await?;
        self.until("MigrationPhase", "shift", "/status/step/name", &json!(step)).await?;
        let phase = serde_json::from_value(self.read("MigrationPhase", "shift").await?)?;
        let approval = decision(&phase, "admin", &json!({"action": "Approve", "step": step}));
        let made = create(&self.client, &self.namespace, &approval, false).await?;
        self.until("PhaseAction", &made.name_any(), "/status/state", &json!("Accepted")).await
    }

    /// Everything is made, moved, left out and deleted.
    async fn story(&self) -> Result<()> {
        for object in [
            environment(&json!([web(), old(), vault()])),
            split("shop", "shop.example.com"),
            plain_split(),
            limited_split(),
            split_of_calls(),
            flag(),
        ] {
            create(&self.client, &self.namespace, &object, false).await?;
        }
        self.until("TrafficSplit", "plain", "/status/appliedWeight", &json!(0)).await?;
        self.until("FeatureFlag", "checkout", "/status/percent", &json!(0)).await?;
        create(&self.client, &self.namespace, &phase(), false).await?;
        self.approve("half").await?;
        self.approve("all").await?;
        self.until("MigrationPhase", "shift", "/status/state", &json!("Completed")).await?;

        create(&self.client, &self.namespace, &failing(), false).await?;
        self.until("MigrationPhase", "hooked", "/status/hooks/0/exitCode", &json!(3)).await?;
        for phase in ["shift", "hooked"] {
            self.delete("MigrationPhase", phase).await?;
        }
        self.until("TrafficSplit", "limited", "/status/appliedWeight", &json!(0)).await?;
        self.until("TrafficSplit", "calls", "/status/routers/0/observedWeight", &json!(0)).await?;
        for split in ["shop", "plain", "limited", "calls"] {
            self.delete("TrafficSplit", split).await?;
        }
        for what in [
            "ingresses",
            "httproutes",
            "grpcroutes",
            "ingressroutes",
            "traefikservices",
            "middlewares",
            "virtualservices",
        ] {
            self.gone(what, OURS).await?;
        }
        self.delete("FeatureFlag", "checkout").await?;
        self.patch("Environment", "production", &json!({"spec": {"components": [web()]}})).await?;
        self.gone("endpointslices", "kubernetes.io/service-name=production-old").await?;
        self.gone("backendtlspolicies", OURS).await?;
        self.gone("serverstransports", OURS).await?;
        self.delete("Environment", "production").await?;
        for what in ["deployments", "services"] {
            self.gone(what, OURS).await?;
        }
        // The flags' own ConfigMap stays, empty: a missing file would leave the last flags in force.
        self.gone("configmaps", &format!("{OURS},cutover.dev/owner-kind=Environment")).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_enough_and_none_is_idle() -> Result<()> {
    let plane = ControlPlane::start_named("rights").await?;
    for definitions in ["gateway-api", "traefik", "istio"] {
        plane.install_definitions(tools::definitions(definitions)?).await?;
    }
    install(&plane).await?;
    let client = plane.admin().await?;
    let robot = Identity::User { name: "node-simulator".to_owned(), groups: vec!["system:masters".to_owned()] };
    let _node = NodeSimulator::start(plane.config(&robot).await?, NodeOptions::default()).await?;
    let flags = ["--lease-duration=4s", "--lease-renew-deadline=3s", "--lease-retry-period=1s"].map(str::to_owned);
    let leader = Operator::start(&plane, Options { name: "one".into(), flags: flags.to_vec(), program: None }).await?;
    leader.ready().await?;
    // A standby watches what the leader renews.
    let standby = Operator::start(&plane, Options { name: "two".into(), flags: flags.to_vec(), program: None }).await?;
    standby.ready().await?;

    let namespace = plane.unique_namespace().await?;
    let run = Run { plane, client, namespace };
    let told = run.story().await;
    let entries = nothing_was_forbidden(&run.plane, Mark::default())?;
    told.context("with every right that it asked for")?;
    let used: BTreeSet<Right> = entries.iter().flat_map(used).collect();
    let idle: Vec<_> = granted(&run.client).await?.into_iter().filter(|right| !used.contains(right)).collect();
    ensure!(idle.is_empty(), "rights that nothing made use of: {idle:#?}");
    Ok(())
}
