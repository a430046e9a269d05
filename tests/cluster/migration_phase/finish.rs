//! Finish: legacy is retired when it has been quiet for long enough and a person says so, and not before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{Environment, MigrationPhaseStatus, migration_phase::PhaseState};
use cutover_engine::router::canary_name;
use cutover_testkit::{eventually, gateway};
use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::Service, discovery::v1::EndpointSlice, networking::v1::Ingress,
};
use kube::{
    Api,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{
    bed::{Shop, is, split, to, with},
    prometheus::Answer,
};
use crate::installed;

const NONE: Answer = Answer::Value(0.0);

/// Quiet for four seconds.
fn finish() -> Value {
    let requests = "sum(increase(requests{namespace=\"$namespace\",system=\"$system\"}[$window]))";
    json!({"retireLegacy": {"after": "4s", "requests": requests, "window": "3s", "interval": "1s"}})
}

fn phase(split: &str) -> Value {
    let step = with(to(100), &json!({"traffic": [{"split": split, "newWeight": 100}]}));
    json!({"environment": "production", "defaultChecks": false, "steps": [step], "finish": finish()})
}

/// An environment whose legacy component the operator runs; `calls`: what the new one calls.
async fn environment(shop: &Shop, calls: &[&str]) -> Result<()> {
    let workload = json!({"image": "registry.example.com/monolith:7", "replicas": 2, "ports": [{"name": "http", "containerPort": 8080}]});
    let monolith = json!({"name": "monolith", "system": "Legacy", "source": {"workload": workload}});
    let api =
        json!({"name": "api", "system": "New", "callsTo": calls, "source": {"service": {"name": "new", "port": 80}}});
    let spec = json!({"tier": "Production", "components": [monolith, api], "monitoring": {"prometheus": "scripted"}});
    shop.apply(&installed::object("Environment", "production", &spec)).await
}

async fn replicas(shop: &Shop, expected: i32) -> Result<()> {
    eventually(&format!("{expected} replicas of legacy"), Duration::from_secs(20), || async {
        let deployment = shop.all::<Deployment>().get("production-monolith").await?;
        let found = deployment.spec.and_then(|spec| spec.replicas);
        ensure!(found == Some(expected), "{found:?}");
        Ok(())
    })
    .await
}

/// A split whose legacy side is the environment's, and a phase that leads away from it.
async fn switch(shop: &Shop) -> Result<()> {
    shop.endpoints("production-monolith", 1).await?;
    let sides = json!({"environment": "production", "legacy": {"component": "monolith"}});
    let spec = with(split(&shop.namespace, "/shop", 0), &sides);
    shop.apply(&installed::object("TrafficSplit", "till", &spec)).await?;
    shop.free("till", 0).await?;
    shop.phase("switch", &phase("till")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_legacy_is_retired_by_a_person_on_its_routes_and_where_it_runs() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[NONE]);
    environment(&shop, &[]).await?;
    replicas(&shop, 2).await?;
    switch(&shop).await?;
    shop.state("switch", PhaseState::Completed).await?;
    shop.blocked("switch", "LegacyWatched", "legacy is quiet; it is watched for 4s").await?;
    let status =
        shop.blocked("switch", "AwaitingRetirement", "legacy has been quiet for 4s: Promote retires it").await?;
    ensure!(is(&status.conditions, "Ready", "True").is_some_and(|(reason, _)| reason == "Completed"), "{status:#?}");
    // Nobody has said so: legacy runs, and the routes know it.
    replicas(&shop, 2).await?;
    shop.all::<Ingress>().get(&canary_name("till")).await?;

    shop.accepted("ana", "switch", json!({"action": "Promote"})).await?;
    let split = shop
        .split_until("till", |status| {
            status.legacy_retired.is_some() && is(&status.conditions, "Ready", "True").is_some()
        })
        .await?;
    ensure!(split.legacy_retired.is_some_and(|retired| retired.phase == "switch"));
    ensure!(split.applied_weight == Some(100) && split.endpoints.is_some_and(|ready| ready.legacy.is_none()));
    ensure!(shop.all::<Ingress>().get_opt(&canary_name("till")).await?.is_none(), "the canary is there");
    let ingress = serde_json::to_string(&shop.all::<Ingress>().get("till").await?.spec)?;
    ensure!(!ingress.contains("monolith") && !ingress.contains("legacy"), "{ingress}");
    replicas(&shop, 0).await?;
    eventually("the environment says so", Duration::from_secs(20), || async {
        let status = shop.all::<Environment>().get("production").await?.status.context("no status")?;
        let monolith = status.components.iter().find(|component| component.name == "monolith").context("not there")?;
        ensure!(monolith.retired && !monolith.in_use, "{monolith:#?}");
        Ok(())
    })
    .await?;
    // What can be scaled up again is not deleted.
    shop.all::<Service>().get("production-monolith").await?;
    for to in ["Baseline", "Legacy"] {
        let back = json!({"action": "Rollback", "to": to});
        shop.rejected("ana", "switch", back, "WayBackClosed", "the legacy side of TrafficSplit till is retired")
            .await?;
    }
    let status = shop.state("switch", PhaseState::Completed).await?;
    let retired = status.finish.and_then(|finish| finish.retired).context("not retired")?;
    ensure!(retired.by == "ana" && retired.splits == ["till"], "{retired:#?}");
    shop.moved_too("till", &[0, 100]).await?;
    shop.moved(&[0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_that_is_used_or_not_seen_stays() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[NONE, NONE, NONE, Answer::Value(1.0)]);
    environment(&shop, &["monolith"]).await?;
    shop.phase("shift", &phase("storefront")).await?;
    let promote = || json!({"action": "Promote"});
    // It was quiet, and then there was one request.
    let used = "legacy served 1 requests in 3s";
    let status = shop.blocked("shift", "LegacyInUse", used).await?;
    let began_anew = |status: &MigrationPhaseStatus| status.history.iter().any(|entry| entry.reason == "LegacyInUse");
    ensure!(began_anew(&status), "{status:#?}");
    shop.rejected("ana", "shift", promote(), "NotApplicable", used).await?;
    // Nothing is known: that is not nothing.
    shop.bed.prometheus.says(&shop.namespace, &[Answer::Nothing]);
    shop.blocked("shift", "NoData", "that is not zero").await?;
    shop.rejected("ana", "shift", promote(), "NotApplicable", "what legacy serves is not known").await?;
    shop.bed.prometheus.says(&shop.namespace, &[NONE]);
    shop.blocked("shift", "LegacyWatched", "legacy is quiet").await?;
    shop.rejected("ana", "shift", promote(), "NotApplicable", "it is watched for 4s").await?;
    shop.blocked("shift", "AwaitingRetirement", "Promote retires it").await?;
    let split = shop.free("storefront", 100).await?;
    ensure!(split.legacy_retired.is_none(), "nobody said so");
    // The way back is open until somebody does, and legacy that is not ours is only led away from.
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.rejected("ana", "shift", promote(), "NotApplicable", "no soak or approval is under way").await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    shop.blocked("shift", "AwaitingRetirement", "Promote retires it").await?;
    shop.accepted("ana", "shift", promote()).await?;
    shop.split_until("storefront", |status| {
        status.legacy_retired.is_some() && is(&status.conditions, "Ready", "True").is_some()
    })
    .await?;
    shop.all::<Service>().get("old").await?;
    shop.all::<EndpointSlice>().get("old").await?;
    replicas(&shop, 2).await?;
    shop.moved(&[0, 100, 0, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_that_the_new_side_calls_stays() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[NONE]);
    environment(&shop, &["monolith"]).await?;
    switch(&shop).await?;
    let calls = "component api calls monolith: take it out of its callsTo";
    shop.blocked("switch", "LegacyInUse", calls).await?;
    shop.until("switch", "quiet", |status| {
        status.blocked_by.len() == 1 && status.finish.as_ref().is_some_and(|finish| finish.quiet_since.is_some())
    })
    .await?;
    shop.rejected("ana", "switch", json!({"action": "Promote"}), "NotApplicable", calls).await?;
    replicas(&shop, 2).await?;
    environment(&shop, &[]).await?;
    shop.blocked("switch", "AwaitingRetirement", "Promote retires it").await?;
    shop.accepted("ana", "switch", json!({"action": "Promote"})).await?;
    replicas(&shop, 0).await
}

/// A split of `/till` that attaches to a route of a user's, and a phase that has led everything to its new side.
async fn switch_beside(shop: &Shop, router: Value) -> Result<()> {
    shop.environment("scripted").await?;
    let spec = with(split(&shop.namespace, "/till", 0), &json!({"routers": [router]}));
    shop.apply(&installed::object("TrafficSplit", "till", &spec)).await?;
    shop.free("till", 0).await?;
    shop.phase("switch", &phase("till")).await?;
    shop.blocked("switch", "AwaitingRetirement", "Promote retires it").await?;
    shop.accepted("ana", "switch", json!({"action": "Promote"})).await
}

/// A user's own Ingress for `/till`.
fn users_ingress(shop: &Shop, service: &str, port: u16) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": port}}});
    let paths = json!([{"path": "/till", "pathType": "Prefix", "backend": backend}]);
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "users"},
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": format!("{}.example.com", shop.namespace), "http": {"paths": paths}}],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_behind_a_users_ingress_is_retired_when_the_user_has_edited_it() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[NONE]);
    shop.apply(&users_ingress(&shop, "old", 80)).await?;
    switch_beside(&shop, json!({"ingressNginx": {"attach": {"ingress": "users"}}})).await?;
    let host = format!("{}.example.com", shop.namespace);
    let edit = format!(
        "edit Ingress users so that Service new with port 80 is the backend of {host}/till (now Service old:80)"
    );
    let status = shop.blocked("switch", "LegacyInUse", &format!("TrafficSplit till: {edit}")).await?;
    ensure!(status.state == Some(PhaseState::Completed), "{status:#?}");
    let split = shop.free("till", 100).await?;
    ensure!(split.legacy_retired.is_none(), "{split:#?}");
    ensure!(split.legacy_retiring.is_some_and(|it| it.phase == "switch" && it.message == edit));
    ensure!(
        is(&split.conditions, "Ready", "True")
            .is_some_and(|(reason, message)| reason == "LegacyInUse" && message.contains(&edit))
    );
    shop.all::<Ingress>().get(&canary_name("till")).await?;

    // Another port is another backend: nothing goes.
    shop.apply(&users_ingress(&shop, "new", 81)).await?;
    shop.blocked("switch", "LegacyInUse", "(now Service new:81)").await?;
    shop.all::<Ingress>().get(&canary_name("till")).await?;

    shop.apply(&users_ingress(&shop, "new", 80)).await?;
    let edited = shop.all::<Ingress>().get("users").await?;
    let split = shop
        .split_until("till", |status| {
            status.legacy_retired.is_some() && is(&status.conditions, "Ready", "True").is_some()
        })
        .await?;
    ensure!(split.legacy_retiring.is_none() && split.applied_weight == Some(100), "{split:#?}");
    ensure!(shop.all::<Ingress>().get_opt(&canary_name("till")).await?.is_none(), "the canary is there");
    shop.until("switch", "blocked by nothing", |status| status.blocked_by.is_empty()).await?;
    let now = shop.all::<Ingress>().get("users").await?;
    ensure!(now.metadata.resource_version == edited.metadata.resource_version, "the user's Ingress was written");
    shop.all::<Service>().get("old").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_behind_a_rule_of_a_users_route_is_retired_and_the_other_rules_stay() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[NONE]);
    let rule = |name: &str| {
        let matches = json!([{"path": {"type": "PathPrefix", "value": format!("/{name}")}}]);
        json!({"name": name, "matches": matches, "backendRefs": [{"name": "old", "port": 80}]})
    };
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "users"},
        "spec": {
            "parentRefs": [{"name": gateway::NAME, "namespace": gateway::GATEWAY_NAMESPACE}],
            "hostnames": [format!("{}.example.com", shop.namespace)],
            "rules": [rule("other"), rule("till")],
        },
    });
    shop.apply(&route).await?;
    let routes: Api<DynamicObject> = Api::namespaced_with(
        shop.client.clone(),
        &shop.namespace,
        &ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute")),
    );
    let before = routes.get("users").await?;
    switch_beside(&shop, json!({"gatewayApi": {"attach": {"route": "users", "rule": "till"}}})).await?;
    shop.split_until("till", |status| {
        status.legacy_retired.is_some() && is(&status.conditions, "Ready", "True").is_some()
    })
    .await?;
    shop.until("switch", "blocked by nothing", |status| status.blocked_by.is_empty()).await?;
    let now = routes.get("users").await?;
    let rules = |route: &DynamicObject| route.data["spec"]["rules"].clone();
    ensure!(rules(&now)[0] == rules(&before)[0], "{:#}", rules(&now));
    let backends = rules(&now)[1]["backendRefs"].clone();
    let led_to: Vec<_> = backends.as_array().into_iter().flatten().map(|backend| &backend["name"]).collect();
    ensure!(led_to == ["new"], "{backends:#}");
    ensure!(rules(&now)[1]["matches"] == rules(&before)[1]["matches"], "{:#}", rules(&now));
    Ok(())
}
