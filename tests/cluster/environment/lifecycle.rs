//! What is wrong with an environment, what left it, and its end.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{Environment, TrafficSplit};
use cutover_testkit::eventually;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::bed::{PATIENCE, Space, is};

const TWO: &str = r#"
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Production
  components:
  - name: monolith
    system: Legacy
    source: {workload: {image: "monolith:7", ports: [{name: http, containerPort: 8080}], health: {interval: 1s}}}
  - name: storefront
    system: New
    source: {workload: {image: "storefront:1", ports: [{name: http, containerPort: 8080}], health: {interval: 1s}}}
"#;

/// Without its first component.
fn one() -> String {
    let (before, rest) = TWO.split_once("  - name: monolith").unwrap_or_default();
    let (_, after) = rest.split_once("  - name: storefront").unwrap_or_default();
    format!("{before}  - name: storefront{after}")
}

const SPLIT: &str = r"
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {name: shop}
spec:
  environment: production
  hosts: [HOST]
  legacy: {component: monolith}
  new: {component: storefront}
  newWeight: 10
  onDelete: Delete
  routers: [{ingressNginx: {className: nginx}}]
";

async fn split(space: &Space) -> Result<()> {
    space.apply(&SPLIT.replace("HOST", &format!("{}.example.com", space.namespace))).await?;
    eventually("the split has its route", PATIENCE, || async {
        let split = space.all::<TrafficSplit>().get("shop").await?;
        let applied = split.status.and_then(|status| status.applied_weight);
        ensure!(applied == Some(10), "{applied:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_spec_goes_unless_traffic_goes_there() -> Result<()> {
    let space = Space::open().await?;
    space.apply(TWO).await?;
    space.ready("production").await?;
    split(&space).await?;
    space
        .until("production", "says what is in use", |status| status.components.iter().all(|component| component.in_use))
        .await?;
    space.apply(&one()).await?;
    let status = space
        .until("production", "does not prune", |status| is(&status.conditions, "PruneBlocked", "True").is_some())
        .await?;
    let (reason, message) = is(&status.conditions, "PruneBlocked", "True").context("not blocked")?;
    assert_eq!(reason, "StillInUse");
    ensure!(message.contains("monolith: TrafficSplit shop leads to it"), "{message}");
    space.deployments().get("production-monolith").await?;

    // The split no longer needs it: it goes by itself.
    space.edit::<TrafficSplit>("shop", json!({"spec": {"newWeight": 100}})).await?;
    space.edit::<TrafficSplit>("shop", json!({"spec": {"legacy": null}})).await?;
    eventually("the monolith is removed", PATIENCE, || async {
        ensure!(space.deployments().get_opt("production-monolith").await?.is_none(), "Deployment");
        ensure!(space.services().get_opt("production-monolith").await?.is_none(), "Service");
        Ok(())
    })
    .await?;
    space
        .until("production", "is not blocked", |status| is(&status.conditions, "PruneBlocked", "True").is_none())
        .await?;
    space.deployments().get("production-storefront").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_environment_waits_for_its_splits_and_leaves_nothing() -> Result<()> {
    let space = Space::open().await?;
    space.apply(TWO).await?;
    space.ready("production").await?;
    split(&space).await?;
    space
        .until("production", "says what is in use", |status| status.components.iter().all(|component| component.in_use))
        .await?;
    // The policy refuses while status says so.
    let refused = space.environments().delete("production", &DeleteParams::default()).await;
    ensure!(refused.is_err(), "deleted while in use");
    // A foreground deletion of everything, as GitOps tools do it: first the split is gone, then what it led to.
    space.all::<TrafficSplit>().delete("shop", &DeleteParams::foreground()).await?;
    eventually("the split is gone", PATIENCE, || async {
        ensure!(space.all::<TrafficSplit>().get_opt("shop").await?.is_none());
        Ok(())
    })
    .await?;
    space
        .until("production", "is not in use", |status| !status.components.iter().any(|component| component.in_use))
        .await?;
    space.environments().delete("production", &DeleteParams::foreground()).await?;
    eventually("nothing is left", PATIENCE, || async {
        ensure!(space.environments().get_opt("production").await?.is_none(), "the Environment");
        for name in ["production-monolith", "production-storefront"] {
            ensure!(space.deployments().get_opt(name).await?.is_none(), "Deployment {name}");
            ensure!(space.services().get_opt(name).await?.is_none(), "Service {name}");
        }
        ensure!(space.config_maps().get_opt("production-config").await?.is_none(), "ConfigMap");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_others_have_are_left_to_them() -> Result<()> {
    let space = Space::open().await?;
    space
        .apply(
            "
apiVersion: v1
kind: Service
metadata: {name: production-storefront, labels: {app: theirs}}
spec: {selector: {app: theirs}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: production-config}
data: {THEIRS: kept}
",
        )
        .await?;
    space.apply(TWO).await?;
    let status =
        space.until("production", "is stalled", |status| is(&status.conditions, "Stalled", "True").is_some()).await?;
    let (reason, message) = is(&status.conditions, "Stalled", "True").context("not stalled")?;
    assert_eq!(reason, "Conflicted");
    for object in ["ConfigMap production-config", "Service production-storefront"] {
        ensure!(message.contains(&format!("{object} exists and was not made for this Environment")), "{message}");
    }
    let theirs = serde_json::to_value(space.services().get("production-storefront").await?)?;
    assert_eq!(theirs["spec"]["selector"], json!({"app": "theirs"}));
    assert_eq!(space.config_maps().get("production-config").await?.data.context("empty")?.len(), 1);
    // The other component runs, and the conflict is over as soon as the Service is gone.
    space.deployments().get("production-monolith").await?;
    space.services().delete("production-storefront", &DeleteParams::default()).await?;
    eventually("the storefront is made", PATIENCE, || async {
        space.deployments().get("production-storefront").await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_spec_moves_nothing_and_says_where() -> Result<()> {
    let space = Space::open().await?;
    space.apply(TWO).await?;
    let before = space.ready("production").await?;
    let external = json!({"addresses": ["198.51.100.7"], "port": 80});
    let bad = json!([
        {"name": "monolith", "system": "Legacy", "source": {"external": external}},
    ]);
    let patch = Patch::Merge(json!({"spec": {"components": bad}}));
    let environments: Api<Environment> = space.environments();
    environments.patch("production", &PatchParams::default(), &patch).await?;
    let status =
        space.until("production", "is stalled", |status| is(&status.conditions, "Stalled", "True").is_some()).await?;
    let (reason, message) = is(&status.conditions, "Stalled", "True").context("not stalled")?;
    assert_eq!(reason, "InvalidSpec");
    ensure!(
        message.starts_with("spec.components[0].source.external.addresses[0]: 198.51.100.7 is in 198.51.100.0/24"),
        "{message}"
    );
    assert_eq!(status.components.len(), before.components.len(), "what is there is still told");
    for name in ["production-monolith", "production-storefront"] {
        space.deployments().get(name).await?;
    }
    // A Service never begins to lead elsewhere, valid or not.
    let external = json!({"addresses": ["203.0.113.7"], "port": 80});
    let patch = Patch::Merge(json!({"spec": {"components": [
        {"name": "monolith", "system": "Legacy", "source": {"external": external}},
    ]}}));
    environments.patch("production", &PatchParams::default(), &patch).await?;
    let status = space
        .until("production", "keeps the Service", |status| {
            is(&status.conditions, "Stalled", "True")
                .is_some_and(|(_, message)| message.contains("would lead elsewhere"))
        })
        .await?;
    assert_eq!(is(&status.conditions, "Stalled", "True").map(|(reason, _)| reason), Some("InvalidSpec"));
    let service = serde_json::to_value(space.services().get("production-monolith").await?)?;
    assert_eq!(service["spec"]["selector"]["cutover.dev/component"], "monolith");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_somebody_else_is_looked_at() -> Result<()> {
    let space = Space::open().await?;
    space
        .apply(
            "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Staging
  components:
  - {name: api, system: New, source: {service: {name: theirs, port: 80}}}
",
        )
        .await?;
    let says = async |what: &str| {
        space
            .until("production", what, |status| {
                is(&status.conditions, "Ready", "False").is_some_and(|(_, message)| message.contains(what))
            })
            .await
            .map(drop)
    };
    says("spec.components[0].source.service.name: there is no Service theirs").await?;
    space.apply("{apiVersion: v1, kind: Service, metadata: {name: theirs}, spec: {ports: [{port: 81}]}}").await?;
    says("spec.components[0].source.service.port: Service theirs has no port 80 (it has 81)").await?;
    space.apply("{apiVersion: v1, kind: Service, metadata: {name: theirs}, spec: {ports: [{port: 80}]}}").await?;
    space.edit::<k8s_openapi::api::core::v1::Service>("theirs", json!({"spec": {"ports": [{"port": 80}]}})).await?;
    says("Service theirs has no ready endpoint").await?;
    space
        .apply(
            "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: theirs, labels: {kubernetes.io/service-name: theirs}}
addressType: IPv4
ports: [{name: '', port: 8080, protocol: TCP}]
endpoints: [{addresses: [198.18.0.9], conditions: {ready: true}}]
",
        )
        .await?;
    space.ready("production").await?;
    Ok(())
}
