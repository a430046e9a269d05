//! Components that run: accepted where pods are restricted, started in order, told of each other, rolled when they have to be.

use anyhow::{Context, Result, ensure};
use cutover_testkit::eventually;
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use super::bed::{PATIENCE, Space, is};

const SHOP: &str = r#"
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Production
  version: "2026.11.1"
  components:
  - name: storefront
    system: New
    role: Frontend
    source:
      workload:
        image: registry.example.com/storefront:1.4.2
        commit: 9f3c2ab
        replicas: 2
        ports: [{name: http, containerPort: 8080, servicePort: 80}]
        health: {interval: 1s}
        resources: {requests: {cpu: 100m, memory: 64Mi}}
        env: [{name: OWN, value: "1"}]
    callsTo: [api, database]
    dependsOn: [api]
  - name: api
    system: New
    role: Api
    source:
      workload:
        image: registry.example.com/api:1.0.0
        ports: [{name: http, containerPort: 8081}]
        health: {interval: 1s}
        resources: {requests: {cpu: "0.10"}}
  - name: database
    system: Shared
    role: Database
    source: {external: {addresses: [203.0.113.5], port: 5432}}
  config: {LOG_LEVEL: info}
"#;

async fn pods(space: &Space, component: &str) -> Result<Vec<Pod>> {
    let selector = format!("cutover.dev/component={component}");
    Ok(space.all::<Pod>().list(&ListParams::default().labels(&selector)).await?.items)
}

#[tokio::test(flavor = "multi_thread")]
async fn components_run_in_a_restricted_namespace_and_are_told_of_each_other() -> Result<()> {
    let space = Space::open().await?.restricted().await?;
    space.apply(SHOP).await?;
    let status = space.ready("production").await?;
    assert_eq!(status.ready_components.as_deref(), Some("3/3"));
    let storefront = status.components.first().context("no component")?;
    assert_eq!((storefront.ready_replicas, storefront.replicas), (Some(2), Some(2)));
    assert_eq!(storefront.image.as_deref(), Some("registry.example.com/storefront:1.4.2"));
    assert_eq!(storefront.commit.as_deref(), Some("9f3c2ab"));
    let namespace = &space.namespace;
    assert_eq!(storefront.url.as_deref(), Some(format!("http://production-storefront.{namespace}.svc").as_str()));
    assert_eq!(status.manifest.as_ref().and_then(|manifest| manifest.version.as_deref()), Some("2026.11.1"));

    let data = space.config_maps().get("production-config").await?.data.context("empty")?;
    assert_eq!(data["API_URL"], format!("http://production-api.{namespace}.svc:8081"));
    assert_eq!(data["DATABASE_HOST"], format!("production-database.{namespace}.svc"));
    let pod = serde_json::to_value(&pods(&space, "storefront").await?[0])?;
    let names: Vec<&str> = pod["spec"]["containers"][0]["env"]
        .as_array()
        .context("no env")?
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(names, ["API_HOST", "API_PORT", "API_URL", "DATABASE_HOST", "DATABASE_PORT", "LOG_LEVEL", "OWN"]);

    let slice = space.all::<EndpointSlice>().get("production-database-ipv4").await?;
    assert_eq!(slice.endpoints[0].addresses, ["203.0.113.5"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_started_after_what_it_depends_on() -> Result<()> {
    let space = Space::open().await?;
    let scaled = SHOP
        .replace("image: registry.example.com/api:1.0.0", "image: registry.example.com/api:1.0.0\n        replicas: 0");
    space.apply(&scaled).await?;
    let waits = |status: &cutover_api::v1alpha1::EnvironmentStatus| {
        status.components.iter().any(|component| {
            component.name == "storefront"
                && component.message.as_deref() == Some("is started when api can take traffic")
        })
    };
    space.until("production", "the storefront waits", waits).await?;
    ensure!(space.deployments().get_opt("production-storefront").await?.is_none(), "started too early");
    space.apply(SHOP).await?;
    space.ready("production").await?;
    // Later it runs on without it.
    space.apply(&scaled).await?;
    space.until("production", "the API is gone", |status| status.ready_components.as_deref() == Some("2/3")).await?;
    ensure!(space.deployments().get_opt("production-storefront").await?.is_some(), "taken down with it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_rolled_only_when_what_they_read_changes() -> Result<()> {
    let space = Space::open().await?;
    space.apply(SHOP).await?;
    space.ready("production").await?;
    let generation = async || anyhow::Ok(space.deployments().get("production-storefront").await?.metadata.generation);
    let before = generation().await?;
    // Nobody reads it but the storefront: the port of the database.
    space.apply(&SHOP.replace("OWN, value: \"1\"", "LOG_LEVEL, value: \"own\"")).await?;
    space.ready("production").await?;
    let own = generation().await?;
    ensure!(own > before, "its own variable is new");
    space
        .apply(
            &SHOP
                .replace("OWN, value: \"1\"", "LOG_LEVEL, value: \"own\"")
                .replace("LOG_LEVEL: info", "LOG_LEVEL: warn"),
        )
        .await?;
    eventually("the ConfigMap follows", PATIENCE, || async {
        let data = space.config_maps().get("production-config").await?.data.context("empty")?;
        ensure!(data["LOG_LEVEL"] == "warn");
        Ok(())
    })
    .await?;
    space.ready("production").await?;
    assert_eq!(generation().await?, own, "it reads another value");
    space.apply(&SHOP.replace("port: 5432", "port: 5433")).await?;
    eventually("the storefront is rolled", PATIENCE, || async {
        ensure!(generation().await? > own);
        Ok(())
    })
    .await?;
    space.ready("production").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_the_operator_writes_nothing() -> Result<()> {
    let space = Space::open().await?;
    space.apply(SHOP).await?;
    space.ready("production").await?;
    // Quantities are stored in another spelling than they were given in: that is no difference.
    let deployment = space.deployments().get("production-api").await?;
    let quantity = serde_json::to_value(&deployment)?["spec"]["template"]["spec"]["containers"][0]["resources"].take();
    assert_eq!(quantity["requests"]["cpu"], "100m");
    let audit = space.bed.plane.audit();
    let mark = audit.mark()?;
    // A pod goes and comes back: many events, and no write but of status.
    let pod = pods(&space, "api").await?.first().context("no pod")?.name_any();
    space.all::<Pod>().delete(&pod, &DeleteParams::default()).await?;
    space.until("production", "is not ready", |status| is(&status.conditions, "Ready", "False").is_some()).await?;
    space.ready("production").await?;
    let written: Vec<String> = audit
        .since(mark)?
        .into_iter()
        .filter(|entry| entry.user == "system:serviceaccount:cutover-system:cutover")
        .filter(|entry| entry.is_complete() && entry.is_write() && entry.namespace == space.namespace)
        .filter(|entry| entry.resource != "events" && entry.subresource != "status")
        .map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.name))
        .collect();
    assert_eq!(written, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_is_put_right() -> Result<()> {
    let space = Space::open().await?;
    space.apply(SHOP).await?;
    space.ready("production").await?;
    space
        .edit::<k8s_openapi::api::core::v1::Service>(
            "production-api",
            json!({"spec": {"selector": {"cutover.dev/component": "storefront"}}}),
        )
        .await?;
    space
        .edit::<k8s_openapi::api::core::v1::ConfigMap>("production-config", json!({"data": {"LOG_LEVEL": "trace"}}))
        .await?;
    space.edit::<k8s_openapi::api::apps::v1::Deployment>("production-api", json!({"spec": {"replicas": 3}})).await?;
    space.services().delete("production-storefront", &DeleteParams::default()).await?;
    eventually("all is as it was", PATIENCE, || async {
        let api = serde_json::to_value(space.services().get("production-api").await?)?;
        ensure!(api["spec"]["selector"]["cutover.dev/component"] == "api");
        ensure!(space.config_maps().get("production-config").await?.data.context("empty")?["LOG_LEVEL"] == "info");
        let deployment: Value = serde_json::to_value(space.deployments().get("production-api").await?)?;
        ensure!(deployment["spec"]["replicas"] == 1, "{}", deployment["spec"]["replicas"]);
        space.services().get("production-storefront").await?;
        Ok(())
    })
    .await
}
