//! Nobody gains the operator's rights by writing our kinds: kind × way of writing × who writes, on a real API server.

use anyhow::{Context, Result, bail, ensure};
use cutover_testkit::control_plane::{ControlPlane, Identity};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::installed::{api, create, object, operator, plane, refusal};

const KINDS: [&str; 5] = ["Environment", "TrafficSplit", "FeatureFlag", "MigrationPhase", "PhaseAction"];

/// Those who write. All of them but the garbage collector have every right that RBAC knows on our kinds, status
/// included: what refuses them is a policy.
struct People {
    plane: &'static ControlPlane,
    namespace: String,
    /// May also create workloads, routes and slices, and decide on phases.
    entitled: Client,
    /// May not.
    plain: Client,
    /// A GitOps controller's service account that may.
    gitops: Client,
    /// One that may not: what an `AppProject` or impersonation is for.
    confined: Client,
    garbage_collector: Client,
    operator: Client,
    admin: Client,
}

const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: kinds}
rules:
- apiGroups: [cutover.dev]
  resources: ["*"]
  verbs: [get, list, create, update, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: consequences}
rules:
- {apiGroups: [apps], resources: [deployments], verbs: [create]}
- {apiGroups: [batch], resources: [jobs], verbs: [create]}
- {apiGroups: [""], resources: [pods, services, configmaps], verbs: [create]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [create]}
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [create]}
- {apiGroups: [gateway.networking.k8s.io], resources: [httproutes, grpcroutes, backendtlspolicies], verbs: [create]}
- {apiGroups: [gateway.networking.k8s.io], resources: [httproutes, grpcroutes], resourceNames: [shop], verbs: [update]}
- {apiGroups: [networking.istio.io], resources: [virtualservices], verbs: [create]}
- {apiGroups: [networking.istio.io], resources: [virtualservices], resourceNames: [shop], verbs: [update]}
- {apiGroups: [traefik.io], resources: [ingressroutes, traefikservices, middlewares, serverstransports], verbs: [create]}
- {apiGroups: [traefik.io], resources: [traefikservices], resourceNames: [shop], verbs: [update]}
- {apiGroups: [cutover.dev], resources: [environments], resourceNames: [production], verbs: [attest]}
- {apiGroups: [cutover.dev], resources: [migrationphases], resourceNames: [30-shift], verbs: [approve, promote, pause, resume, abort, rollback, retry]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: kinds}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kinds}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: dana}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: ned}
- {kind: ServiceAccount, name: argocd}
- {kind: ServiceAccount, name: confined}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: consequences}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: consequences}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: dana}
- {kind: ServiceAccount, name: argocd}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: argocd}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: confined}
"#;

impl People {
    async fn meet() -> Result<Self> {
        let plane = plane().await?;
        let namespace = plane.unique_namespace().await?;
        plane.apply_yaml(&namespace, RIGHTS).await?;
        let account = |name: &str| Identity::ServiceAccount { namespace: namespace.clone(), name: name.into() };
        let controllers = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
        Ok(Self {
            entitled: plane.client_for("dana", &["developers"]).await?,
            plain: plane.client_for("ned", &["developers"]).await?,
            gitops: plane.client(&account("argocd")).await?,
            confined: plane.client(&account("confined")).await?,
            garbage_collector: plane
                .client_for("system:serviceaccount:kube-system:generic-garbage-collector", &controllers)
                .await?,
            operator: plane.client(&operator()).await?,
            admin: plane.admin().await?,
            plane,
            namespace,
        })
    }

    /// Tries to create the object as everybody in turn: those with the right may, those without are told why not.
    async fn creation_takes_a_right(&self, object: &Value, why: &str) -> Result<()> {
        for client in [&self.entitled, &self.gitops] {
            create(client, &self.namespace, object, true).await.context("with the right")?;
        }
        for client in [&self.plain, &self.confined] {
            expect_refusal(&create(client, &self.namespace, object, true).await, why)?;
        }
        Ok(())
    }

    /// Whoever may write addresses and nothing else is told what else it takes.
    async fn slices_alone_do_not_do(&self, object: &Value, why: &str) -> Result<()> {
        let rights = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: addresses}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: addresses}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: adam}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: addresses}
rules:
- {apiGroups: [cutover.dev], resources: ['*'], verbs: [create]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [create]}
";
        self.plane.apply_yaml(&self.namespace, rights).await?;
        let adam = self.plane.client_for("adam", &["developers"]).await?;
        expect_refusal(&create(&adam, &self.namespace, object, true).await, why)
    }

    async fn change_takes_a_right(&self, kind: &str, name: &str, patch: &Value, why: &str) -> Result<()> {
        for client in [&self.entitled, &self.gitops] {
            self.change(client, kind, name, patch).await.with_context(|| format!("with the right: {patch}"))?;
        }
        for client in [&self.plain, &self.confined] {
            expect_refusal(&self.change(client, kind, name, patch).await, why)?;
        }
        Ok(())
    }

    async fn change_is_free(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        for client in [&self.entitled, &self.gitops, &self.plain, &self.confined] {
            self.change(client, kind, name, patch).await.with_context(|| format!("nothing is gained by {patch}"))?;
        }
        Ok(())
    }

    /// A change that is only tried: the object stays as it was for the next.
    async fn change(&self, client: &Client, kind: &str, name: &str, patch: &Value) -> kube::Result<()> {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        api(client, &self.namespace, kind).patch(name, &params, &Patch::Merge(patch)).await.map(drop)
    }

    async fn patch(&self, client: &Client, kind: &str, name: &str, patch: &Value) -> kube::Result<()> {
        let params = PatchParams::default();
        api(client, &self.namespace, kind).patch(name, &params, &Patch::Merge(patch)).await.map(drop)
    }

    async fn set_status(&self, client: &Client, kind: &str, name: &str, status: &Value) -> kube::Result<()> {
        let patch = json!({"status": status});
        let params = PatchParams::default();
        api(client, &self.namespace, kind).patch_status(name, &params, &Patch::Merge(&patch)).await.map(drop)
    }
}

fn expect_refusal<T: std::fmt::Debug>(answer: &kube::Result<T>, why: &str) -> Result<()> {
    match refusal(answer) {
        Some(message) if message.contains(why) => Ok(()),
        _ => bail!("expected a refusal with {why:?}, got {answer:?}"),
    }
}

fn workload(image: &str) -> Value {
    json!({"workload": {"image": image, "ports": [{"name": "http", "containerPort": 8080}]}})
}

fn environment(components: &Value) -> Value {
    object("Environment", "production", &json!({"tier": "Production", "components": components}))
}

fn component(name: &str, source: &Value) -> Value {
    json!({"name": name, "system": "New", "source": source})
}

fn external() -> Value {
    json!({"external": {"addresses": ["192.0.2.7"], "port": 443}})
}

fn service() -> Value {
    json!({"service": {"name": "monolith", "port": 80}})
}

fn nginx() -> Value {
    json!({"ingressNginx": {"className": "nginx"}})
}

fn gateway() -> Value {
    json!({"gatewayApi": {"parentRefs": [{"name": "edge"}]}})
}

fn traefik() -> Value {
    json!({"traefik": {"entryPoints": ["web"]}})
}

fn weighted(service: &str) -> Value {
    json!({"traefik": {"attach": {"service": service}}})
}

fn istio() -> Value {
    json!({"istio": {"gateways": ["edge"]}})
}

fn entry(virtual_service: &str) -> Value {
    json!({"istio": {"attach": {"virtualService": virtual_service, "http": "all"}}})
}

fn attach(route: &str) -> Value {
    json!({"gatewayApi": {"attach": {"route": route, "rule": "checkout"}}})
}

fn of_grpc(mut router: Value) -> Value {
    router["gatewayApi"]["routeKind"] = json!("GRPCRoute");
    router
}

fn split(routers: &[Value]) -> Value {
    let side = |name: &str| json!({"service": {"name": name, "port": 80}});
    let spec = json!({"hosts": ["shop.example.com"], "legacy": side("old"), "new": side("new"), "routers": routers});
    object("TrafficSplit", "shop", &spec)
}

fn flag() -> Value {
    let spec = json!({"environment": "production", "variants": {"on": true, "off": false}, "defaultVariant": "off"});
    object("FeatureFlag", "new-checkout", &spec)
}

fn phase() -> Value {
    let steps = json!([{"name": "all", "traffic": [{"split": "shop", "newWeight": 100}]}]);
    object("MigrationPhase", "30-shift", &json!({"steps": steps}))
}

fn action(kind: &str, by: &str, more: &Value) -> Value {
    let mut spec = json!({
        "phase": "30-shift", "phaseUID": "0f3c", "attempt": 1, "action": kind, "requestedBy": by, "reason": "ticket 4711",
    });
    if kind == "Approve" {
        spec["step"] = "all".into();
    }
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    object("PhaseAction", "decision", &spec)
}

/// One valid object of a kind, which `dana` may create.
fn example(kind: &str) -> Value {
    match kind {
        "Environment" => environment(&json!([component("api", &workload("api:1"))])),
        "TrafficSplit" => split(&[nginx(), gateway()]),
        "FeatureFlag" => flag(),
        "MigrationPhase" => phase(),
        _ => action("Pause", "dana", &json!({})),
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn environments_take_the_rights_on_what_they_run() -> Result<()> {
    let people = People::meet().await?;
    let deployments = "ask for create on deployments";
    let slices = "ask for create on endpointslices";
    people.creation_takes_a_right(&environment(&json!([component("api", &workload("api:1"))])), deployments).await?;
    people.creation_takes_a_right(&environment(&json!([component("erp", &external())])), slices).await?;
    let named = json!({"external": {"host": "erp.dc.example.com", "port": 443}});
    people.creation_takes_a_right(&environment(&json!([component("erp", &named)])), slices).await?;
    let policies = "ask for create on backendtlspolicies";
    let encrypted = json!({"external": {"host": "erp.dc.example.com", "port": 443, "tls": {"caSecret": "erp-ca"}}});
    people.creation_takes_a_right(&environment(&json!([component("erp", &encrypted)])), slices).await?;
    people.slices_alone_do_not_do(&environment(&json!([component("erp", &encrypted)])), policies).await?;
    let renamed = json!({"external": {"host": "erp.dc.example.com", "port": 443, "via": "ExternalName"}});
    people.creation_takes_a_right(&environment(&json!([component("erp", &renamed)])), slices).await?;
    people
        .slices_alone_do_not_do(&environment(&json!([component("erp", &renamed)])), "ask for create on services")
        .await?;
    let harmless = environment(&json!([component("monolith", &service())]));
    create(&people.plain, &people.namespace, &harmless, true).await.context("a Service that is there already")?;

    let before =
        json!([component("api", &workload("api:1")), component("erp", &external()), component("old", &service())]);
    create(&people.entitled, &people.namespace, &environment(&before), false).await?;
    let spec = |components: Value| json!({"spec": {"components": components}});
    let [api, erp, old] = [&before[0], &before[1], &before[2]];
    let change = async |components: Value, why: &str| {
        people.change_takes_a_right("Environment", "production", &spec(components), why).await
    };
    change(json!([api, erp, old, component("web", &workload("web:1"))]), deployments).await?;
    change(json!([component("api", &workload("evil:1")), erp, old]), deployments).await?;
    change(json!([api, erp, component("old", &workload("web:1"))]), deployments).await?;
    let other = json!({"external": {"addresses": ["192.0.2.8"], "port": 443}});
    change(json!([api, component("erp", &other), old]), slices).await?;
    change(json!([api, component("erp", &named), old]), slices).await?;
    // What every pod reads is part of every workload.
    let config = json!({"spec": {"config": {"LD_PRELOAD": "/tmp/x"}}});
    people.change_takes_a_right("Environment", "production", &config, deployments).await?;

    let mut moved = old.clone();
    moved["source"]["service"]["port"] = 8080.into();
    people.change_is_free("Environment", "production", &spec(json!([api, erp, moved]))).await?;
    people.change_is_free("Environment", "production", &spec(json!([old, erp, api]))).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"version": "2026.12"}})).await?;
    people.change_is_free("Environment", "production", &json!({"metadata": {"labels": {"team": "shop"}}})).await
}

#[tokio::test]
async fn environments_without_workloads_may_be_configured_by_anybody() -> Result<()> {
    let people = People::meet().await?;
    let harmless = environment(&json!([component("monolith", &service())]));
    create(&people.plain, &people.namespace, &harmless, false).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"config": {"LOG_LEVEL": "debug"}}})).await
}

#[tokio::test]
async fn servers_that_tell_the_version_of_a_schema_take_the_right_to_run_a_pod() -> Result<()> {
    let people = People::meet().await?;
    let pods = "ask for create on pods";
    let shared = |url: &str| json!({"database": {"schema": {"from": {"http": {"url": url, "pointer": "/version"}}}}});
    let mut asking = environment(&json!([component("monolith", &service())]));
    asking["spec"]["shared"] = shared("http://api/schema");
    people.creation_takes_a_right(&asking, pods).await?;
    create(&people.entitled, &people.namespace, &asking, false).await?;
    let changed = json!({"spec": {"shared": shared("http://bank/accounts")}});
    people.change_takes_a_right("Environment", "production", &changed, pods).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"version": "2026.12"}})).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"shared": null}})).await
}

#[tokio::test]
async fn jobs_that_print_the_version_of_a_schema_take_the_right_to_make_jobs() -> Result<()> {
    let people = People::meet().await?;
    let jobs = "spec.shared.database.schema.from.job: it is run as a Job";
    let shared = |image: &str| {
        let spec = json!({"template": {"spec": {"containers": [{"name": "ask", "image": image}]}}});
        json!({"database": {"schema": {"from": {"job": {"spec": spec}}}}})
    };
    let mut asking = environment(&json!([component("monolith", &service())]));
    asking["spec"]["shared"] = shared("psql:17");
    people.creation_takes_a_right(&asking, jobs).await?;
    create(&people.entitled, &people.namespace, &asking, false).await?;
    let changed = json!({"spec": {"shared": shared("evil:1")}});
    people.change_takes_a_right("Environment", "production", &changed, jobs).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"version": "2026.12"}})).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"shared": null}})).await
}

#[tokio::test]
async fn attestations_take_the_right_to_attest() -> Result<()> {
    let people = People::meet().await?;
    let why = "may not attest environment production: ask for that verb on environments";
    let given = |reference: &str| json!([{"item": "TeamTrained", "by": "dana", "reference": reference}]);
    let mut attested = environment(&json!([component("monolith", &service())]));
    attested["spec"]["attestations"] = given("ticket 1");
    people.creation_takes_a_right(&attested, why).await?;
    create(&people.entitled, &people.namespace, &attested, false).await?;
    let changed = json!({"spec": {"attestations": given("ticket 2")}});
    people.change_takes_a_right("Environment", "production", &changed, why).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"version": "2026.12"}})).await?;
    people.change_is_free("Environment", "production", &json!({"spec": {"attestations": null}})).await
}

#[tokio::test]
async fn splits_take_the_rights_on_their_routes() -> Result<()> {
    let people = People::meet().await?;
    let (ingresses, routes) = ("ask for create on ingresses", "ask for create on httproutes");
    people.creation_takes_a_right(&split(&[nginx()]), ingresses).await?;
    people.creation_takes_a_right(&split(&[gateway()]), routes).await?;
    people.creation_takes_a_right(&split(&[attach("shop")]), "changes HTTPRoute shop").await?;
    people.creation_takes_a_right(&split(&[of_grpc(gateway())]), "ask for create on grpcroutes").await?;
    people.creation_takes_a_right(&split(&[of_grpc(attach("shop"))]), "changes GRPCRoute shop").await?;
    people.creation_takes_a_right(&split(&[traefik()]), "ask for create on ingressroutes and traefikservices").await?;
    people.creation_takes_a_right(&split(&[weighted("shop")]), "changes TraefikService shop").await?;
    let limited = json!({"rateLimit": {"requestsPerMinute": 60}, "timeouts": {"read": "1m"}});
    let mut edged = split(&[traefik()]);
    edged["spec"]["edge"] = limited.clone();
    people.creation_takes_a_right(&edged, "ask for create on serverstransports and middlewares").await?;
    let mut hardened = split(&[nginx()]);
    hardened["spec"]["routers"][0]["ingressNginx"]["allowedResponseHeaders"] = json!(["X-Frame-Options"]);
    hardened["spec"]["edge"] = json!({"securityHeaders": {}});
    people.creation_takes_a_right(&hardened, "ask for create on configmaps").await?;
    people.creation_takes_a_right(&split(&[istio()]), "ask for create on virtualservices").await?;
    people.creation_takes_a_right(&split(&[entry("shop")]), "changes VirtualService shop").await?;
    // The right on one route is not one on another.
    let other = create(&people.entitled, &people.namespace, &split(&[entry("payments")]), true).await;
    expect_refusal(&other, "changes VirtualService payments, which dana may not update")?;
    let other = create(&people.entitled, &people.namespace, &split(&[weighted("payments")]), true).await;
    expect_refusal(&other, "changes TraefikService payments, which dana may not update")?;
    let other = create(&people.entitled, &people.namespace, &split(&[attach("payments")]), true).await;
    expect_refusal(&other, "changes HTTPRoute payments, which dana may not update")?;

    create(&people.entitled, &people.namespace, &split(&[nginx()]), false).await?;
    let change = async |spec: Value, why: &str| {
        people.change_takes_a_right("TrafficSplit", "shop", &json!({"spec": spec}), why).await
    };
    change(json!({"routers": [nginx(), gateway()]}), routes).await?;
    change(json!({"hosts": ["shop.example.com", "bank.example.com"]}), ingresses).await?;
    change(json!({"edge": limited}), ingresses).await?;
    change(json!({"paths": [{"type": "Prefix", "value": "/admin"}]}), ingresses).await?;
    change(json!({"new": {"service": {"name": "internal", "port": 80}}}), ingresses).await?;
    change(json!({"legacy": {"service": {"name": "internal", "port": 80}}}), ingresses).await?;
    change(json!({"pins": [{"to": "New", "header": {"name": "x", "value": "y"}}]}), ingresses).await?;
    people.change_is_free("TrafficSplit", "shop", &json!({"spec": {"newWeight": 50}})).await?;
    people.change_is_free("TrafficSplit", "shop", &json!({"spec": {"onDelete": "Delete"}})).await
}

#[tokio::test]
async fn flags_and_phases_without_hooks_take_no_more_than_the_right_to_write_them() -> Result<()> {
    let people = People::meet().await?;
    for object in [flag(), phase()] {
        for client in [&people.entitled, &people.plain, &people.gitops, &people.confined] {
            create(client, &people.namespace, &object, true).await?;
        }
    }
    let mut strange = flag();
    strange["spec"]["rules"] = json!([{"name": "staff", "serve": "onn"}]);
    strange["spec"]["defaultVariant"] = "no".into();
    let answer = create(&people.entitled, &people.namespace, &strange, true).await;
    expect_refusal(&answer, "spec.variants has no no, onn, which defaultVariant or rules name")
}

#[tokio::test]
async fn phases_take_the_right_to_run_their_hooks() -> Result<()> {
    let people = People::meet().await?;
    let jobs = "ask for create on jobs";
    let hook = |image: &str| json!({"name": "run", "job": {"template": {"spec": {"containers": [{"name": "run", "image": image}]}}}});
    for point in ["before", "after", "onRollback"] {
        let mut phase = phase();
        phase["spec"]["hooks"] = json!({point: [hook("run:1")]});
        people.creation_takes_a_right(&phase, jobs).await.context(point)?;
    }
    let mut hooked = phase();
    hooked["spec"]["steps"][0]["hooks"] = json!([hook("run:1")]);
    people.creation_takes_a_right(&hooked, jobs).await?;
    let mut checked = phase();
    let check = |image: &str| json!({"name": "run", "interval": "5m", "job": {"spec": hook(image)["job"]}});
    checked["spec"]["checks"] = json!([check("run:1")]);
    people.creation_takes_a_right(&checked, "spec.checks: run: it is run as a Job").await?;
    hooked["spec"]["checks"] = checked["spec"]["checks"].clone();
    hooked["spec"]["hooks"] = json!({"before": [hook("run:1")]});
    create(&people.entitled, &people.namespace, &hooked, false).await?;

    let change = async |spec: Value, why: &str| {
        people.change_takes_a_right("MigrationPhase", "30-shift", &json!({"spec": spec}), why).await
    };
    let steps = |hook: Value| {
        let mut steps = hooked["spec"]["steps"].clone();
        steps[0]["hooks"] = json!([hook]);
        steps
    };
    change(json!({"hooks": {"before": [hook("evil:1")]}}), jobs).await?;
    change(json!({"checks": [check("evil:1")]}), jobs).await?;
    let often = json!({"checks": [{"name": "run", "interval": "1m", "job": check("run:1")["job"]}]});
    people.change_is_free("MigrationPhase", "30-shift", &json!({"spec": often})).await?;
    change(json!({"hooks": {"onRollback": [hook("run:1")]}}), jobs).await?;
    change(json!({"steps": steps(hook("evil:1"))}), jobs).await?;
    let mut other = hook("run:1");
    other["job"]["template"]["spec"]["serviceAccountName"] = "admin".into();
    change(json!({"steps": steps(other)}), jobs).await?;
    let mut later = hooked["spec"]["steps"].clone();
    later[0]["soak"] = "1h".into();
    people.change_is_free("MigrationPhase", "30-shift", &json!({"spec": {"steps": later}})).await?;
    people.change_is_free("MigrationPhase", "30-shift", &json!({"spec": {"hooks": null}})).await?;
    people.change_is_free("MigrationPhase", "30-shift", &json!({"spec": {"reversible": false}})).await
}

#[tokio::test]
async fn nobody_makes_a_job_that_looks_like_the_operators() -> Result<()> {
    let people = People::meet().await?;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "run", "image": "run:1"}]}});
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "shift-1"}, "spec": {"template": template},
    });
    let jobs: Api<Job> = Api::namespaced(people.entitled.clone(), &people.namespace);
    let made = jobs.create(&PostParams::default(), &serde_json::from_value(job.clone())?).await?;
    job["metadata"] = json!({"name": "shift-2", "labels": {"cutover.dev/owner-kind": "MigrationPhase"}});
    let answer = jobs.create(&PostParams::default(), &serde_json::from_value(job)?).await;
    ensure!(made.metadata.name.as_deref() == Some("shift-1"));
    expect_refusal(&answer, "Jobs with the label cutover.dev/owner-kind are made by the operator alone")
}

#[tokio::test]
async fn requests_of_the_operator_take_the_right_to_run_a_pod() -> Result<()> {
    let people = People::meet().await?;
    let pods = "ask for create on pods";
    let check = |url: &str| json!({"name": "health", "http": {"url": url}});
    let mut asking = phase();
    asking["spec"]["checks"] = json!([check("http://api.shop.svc/health")]);
    people.creation_takes_a_right(&asking, pods).await?;
    create(&people.entitled, &people.namespace, &asking, false).await?;
    let change = async |checks: Value| {
        people.change_takes_a_right("MigrationPhase", "30-shift", &json!({"spec": {"checks": checks}}), pods).await
    };
    change(json!([check("http://bank.svc/accounts")])).await?;
    change(json!([check("http://api.shop.svc/health"), {"name": "more", "http": {"url": "http://bank.svc"}}])).await?;
    change(json!([check("http://api.shop.svc/health"), {"name": "judge", "webhook": {"url": "http://bank.svc"}}]))
        .await?;
    let free = json!({"name": "health", "http": {"url": "http://api.shop.svc/health"}, "interval": "1m"});
    people.change_is_free("MigrationPhase", "30-shift", &json!({"spec": {"checks": [free]}})).await?;
    people.change_is_free("MigrationPhase", "30-shift", &json!({"spec": {"checks": null}})).await
}

#[tokio::test]
async fn actions_are_signed_by_who_makes_them() -> Result<()> {
    let people = People::meet().await?;
    let tried = async |client: &Client, action: Value| create(client, &people.namespace, &action, true).await;
    for kind in ["Approve", "Promote", "Pause", "Resume", "Abort", "Rollback", "Retry"] {
        tried(&people.entitled, action(kind, "dana", &json!({"groups": ["developers"]}))).await.context(kind)?;
        let verb = kind.to_lowercase();
        let refused = tried(&people.plain, action(kind, "ned", &json!({}))).await;
        expect_refusal(&refused, &format!("ned may not {verb} migrationphase 30-shift"))?;
        let elsewhere = tried(&people.entitled, action(kind, "dana", &json!({"phase": "40-cutover"}))).await;
        expect_refusal(&elsewhere, &format!("dana may not {verb} migrationphase 40-cutover"))?;
    }
    let account = format!("system:serviceaccount:{}:argocd", people.namespace);
    tried(&people.gitops, action("Approve", &account, &json!({})))
        .await
        .context("from Git, in the sync account's name")?;
    let forged = tried(&people.entitled, action("Approve", "otto", &json!({}))).await;
    expect_refusal(&forged, "spec.requestedBy must be the caller, dana")?;
    let forged = tried(&people.admin, action("Approve", "otto", &json!({}))).await;
    expect_refusal(&forged, "spec.requestedBy must be the caller, admin")?;
    let groups = json!({"groups": ["developers", "product-owners"]});
    let forged = tried(&people.entitled, action("Approve", "dana", &groups)).await;
    expect_refusal(&forged, "spec.groups names a group that dana is not in")?;
    // The operator's own test of the policies, and all that its right to create actions is good for.
    let forged = tried(&people.operator, action("Pause", "cutover:forged", &json!({}))).await;
    expect_refusal(&forged, "spec.requestedBy must be the caller")?;
    let account = "system:serviceaccount:cutover-system:cutover";
    let own = tried(&people.operator, action("Pause", account, &json!({}))).await;
    expect_refusal(&own, "may not pause migrationphase 30-shift")
}

#[tokio::test]
async fn actions_expire_within_a_day_but_for_approvals() -> Result<()> {
    let people = People::meet().await?;
    let at = |hours: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        json!({"expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()})
    };
    let tried = async |kind: &str, hours: i64| {
        create(&people.entitled, &people.namespace, &action(kind, "dana", &at(hours)), true).await
    };
    tried("Rollback", 23).await?;
    expect_refusal(&tried("Rollback", 25).await, "spec.expiresAt: Rollback is carried out now or not at all")?;
    tried("Approve", 500).await.context("an approval may wait for the weekend's end")?;
    expect_refusal(&tried("Approve", -1).await, "spec.expiresAt is in the past")
}

#[tokio::test]
async fn actions_once_made_cannot_be_changed() -> Result<()> {
    let people = People::meet().await?;
    create(&people.entitled, &people.namespace, &action("Pause", "dana", &json!({})), false).await?;
    let label = json!({"metadata": {"labels": {"seen": "yes"}}});
    people.change_is_free("PhaseAction", "decision", &label).await.context("a label is no decision")?;
    let other = json!({"spec": {"action": "Abort"}});
    for client in [&people.entitled, &people.admin] {
        let refused = people.change(client, "PhaseAction", "decision", &other).await;
        let message = refusal(&refused).context("it was changed")?;
        assert!(message.contains("cannot be changed") || message.contains("must be the caller"), "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn status_is_written_by_the_operator_alone() -> Result<()> {
    let people = People::meet().await?;
    for kind in KINDS {
        let object = example(kind);
        let name = name(&object);
        create(&people.entitled, &people.namespace, &object, false).await?;
        let status = match kind {
            "PhaseAction" => json!({"reason": "Applied"}),
            _ => json!({"observedGeneration": 1}),
        };
        let others = [
            (&people.entitled, "dana"),
            (&people.plain, "ned"),
            (&people.gitops, "argocd"),
            (&people.garbage_collector, "generic-garbage-collector"),
            (&people.admin, "admin"),
        ];
        for (client, who) in others {
            let refused = people.set_status(client, kind, name, &status).await;
            // RBAC already keeps the garbage collector from it.
            let why = if who == "generic-garbage-collector" { who } else { "status is written by the operator alone" };
            expect_refusal(&refused, why).with_context(|| format!("{kind} by {who}"))?;
        }
        people.set_status(&people.operator, kind, name, &status).await.with_context(|| format!("{kind}: our own"))?;
    }
    Ok(())
}

#[tokio::test]
async fn our_finalizers_are_the_operators_and_others_are_not() -> Result<()> {
    let people = People::meet().await?;
    for kind in KINDS {
        let object = example(kind);
        let name = name(&object);
        create(&people.entitled, &people.namespace, &object, false).await?;
        let finalizers = |list: &[&str]| json!({"metadata": {"finalizers": list}});
        let refused = people.change(&people.entitled, kind, name, &finalizers(&["cutover.dev/x"])).await;
        expect_refusal(&refused, "by the operator alone, not by dana")?;
        // Those that the operator does not put finalizers on, it may not touch at all.
        if matches!(kind, "MigrationPhase" | "PhaseAction") {
            continue;
        }
        people.patch(&people.operator, kind, name, &finalizers(&["cutover.dev/x"])).await?;
        people.patch(&people.entitled, kind, name, &finalizers(&["cutover.dev/x", "example.com/y"])).await?;
        for (client, who) in [(&people.plain, "ned"), (&people.admin, "admin")] {
            let refused = people.change(client, kind, name, &finalizers(&["example.com/y"])).await;
            expect_refusal(&refused, &format!("by the operator alone, not by {who}"))?;
        }

        // On its way out: each takes off its own, though nobody has the right to write the spec again.
        api(&people.admin, &people.namespace, kind).delete(name, &DeleteParams::default()).await?;
        let gc = &people.garbage_collector;
        let refused = people.patch(gc, kind, name, &finalizers(&["example.com/y"])).await;
        expect_refusal(&refused, "by the operator alone")?;
        people.patch(gc, kind, name, &finalizers(&["cutover.dev/x"])).await.context("the garbage collector's own")?;
        people.patch(&people.operator, kind, name, &finalizers(&[])).await?;
        let gone = api(&people.admin, &people.namespace, kind).get_opt(name).await?;
        assert!(gone.is_none(), "{kind} is still there");
    }
    Ok(())
}

#[tokio::test]
async fn the_garbage_collector_changes_what_is_not_spec() -> Result<()> {
    let people = People::meet().await?;
    for kind in KINDS {
        let object = example(kind);
        let name = name(&object);
        create(&people.entitled, &people.namespace, &object, false).await?;
        let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "0f3c"}]);
        let adopted = json!({"metadata": {"ownerReferences": owner}});
        people.change(&people.garbage_collector, kind, name, &adopted).await.with_context(|| kind.to_owned())?;
        let blocked = json!({"metadata": {"finalizers": ["foregroundDeletion"]}});
        people.change(&people.garbage_collector, kind, name, &blocked).await.with_context(|| kind.to_owned())?;
    }
    // With the spec it is a requester like any other, and has no right to create anything.
    let spec = json!({"spec": {"components": [component("api", &workload("evil:1"))]}});
    let refused = people.change(&people.garbage_collector, "Environment", "production", &spec).await;
    expect_refusal(&refused, "generic-garbage-collector may not create in namespace")
}

#[tokio::test]
async fn environments_in_use_are_not_deleted() -> Result<()> {
    let people = People::meet().await?;
    let object = environment(&json!([component("api", &workload("api:1")), component("old", &service())]));
    create(&people.entitled, &people.namespace, &object, false).await?;
    let component = |name: &str, in_use: bool| json!({"name": name, "system": "New", "ready": true, "inUse": in_use});
    let status = |in_use: bool| json!({"components": [component("api", in_use), component("old", false)]});
    people.set_status(&people.operator, "Environment", "production", &status(true)).await?;
    let delete = async |client: &Client| {
        api(client, &people.namespace, "Environment").delete("production", &DeleteParams::default()).await.map(drop)
    };
    for client in [&people.entitled, &people.gitops, &people.admin] {
        expect_refusal(&delete(client).await, "environment production is in use: api carries traffic")?;
    }
    people.set_status(&people.operator, "Environment", "production", &status(false)).await?;
    delete(&people.plain).await.context("out of use it may go")
}

#[tokio::test]
async fn a_namespace_takes_its_environment_along() -> Result<()> {
    let people = People::meet().await?;
    create(&people.entitled, &people.namespace, &example("Environment"), false).await?;
    let status = json!({"components": [{"name": "api", "system": "New", "ready": true, "inUse": true}]});
    people.set_status(&people.operator, "Environment", "production", &status).await?;
    people.plane.kubectl(["delete", "namespace", &people.namespace, "--timeout=30s"]).await?.ok().map(drop)
}
