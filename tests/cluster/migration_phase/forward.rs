//! The way forward: steps, what they wait for, and what they leave alone.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{
    FeatureFlag, MigrationPhase, TrafficSplit,
    migration_phase::{PhaseState, Stage},
};
use cutover_testkit::eventually;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    bed::{Shop, approved, is, reasons, to, with},
    record::Seen,
};
use crate::installed;

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_taken_in_order_and_the_split_is_let_go() -> Result<()> {
    let shop = Shop::open().await?;
    let steps = json!([to(0), approved(to(50)), to(100)]);
    shop.phase("shift", &json!({"steps": steps})).await?;
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.step.as_ref().is_some_and(|step| step.index == 1 && step.stage == Stage::AwaitingApproval));
    let split = shop.split_until("storefront", |status| status.applied_weight == Some(50)).await?;
    ensure!(split.holder.context("nobody holds it")?.phase == "shift");
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;

    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(status.requests.is_none() && status.blocked_by.is_empty() && status.failure.is_none(), "{status:#?}");
    ensure!(is(&status.conditions, "Completed", "True").is_some() && is(&status.conditions, "Ready", "True").is_some());
    let told = ["Started", "Shifting", "Soaking", "StepDone", "Shifting", "Soaking", "AwaitingApproval", "Approved"];
    let told = [&told[..], &["StepDone", "Shifting", "Soaking", "Completed"]].concat();
    ensure!(reasons(&status) == told, "{:?}", reasons(&status));

    // It is held where it is, and is the spec's again: a new value counts, the old one did not.
    shop.free("storefront", 100).await?;
    shop.edit::<TrafficSplit>("storefront", json!({"spec": {"newWeight": 20}})).await?;
    shop.free("storefront", 20).await?;
    shop.moved(&[0, 50, 100, 20]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_waits_for_those_that_come_before_it() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("second", &json!({"after": ["first"], "steps": [to(100)]})).await?;
    shop.blocked(
        "second",
        "ReferenceNotFound",
        "spec.after[0]: there is no MigrationPhase first in this namespace: create it",
    )
    .await?;
    shop.phase("first", &json!({"steps": [approved(to(50))]})).await?;
    shop.asks("first", "to-50").await?;
    let waiting = shop
        .blocked("second", "PredecessorNotCompleted", "phase first is Running: it has to be Completed first")
        .await?;
    ensure!(waiting.state == Some(PhaseState::Waiting) && waiting.requests.is_none(), "{waiting:#?}");
    ensure!(is(&waiting.conditions, "Ready", "True").is_some_and(|(reason, _)| reason == "Waiting"), "{waiting:#?}");
    shop.moved(&[0, 50]).await?;

    // One that was given up is not one that is completed.
    shop.accepted("ana", "first", json!({"action": "Abort"})).await?;
    shop.blocked("second", "PredecessorNotCompleted", "phase first is Aborted").await?;
    shop.accepted("ana", "first", json!({"action": "Retry"})).await?;
    shop.asks("first", "to-50").await?;
    shop.accepted("ana", "first", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.state("second", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_of_phases_is_told_in_each_and_starts_none() -> Result<()> {
    let shop = Shop::open().await?;
    for (name, after) in [("a", "c"), ("b", "a"), ("c", "b")] {
        shop.phase(name, &json!({"after": [after], "steps": [to(50)]})).await?;
    }
    for (name, way) in [("a", "a → c → b → a"), ("b", "b → a → c → b"), ("c", "c → b → a → c")] {
        let told = format!("spec.after leads back to this phase: {way}; take one of them out");
        let status = shop.blocked(name, "DependencyCycle", &told).await?;
        ensure!(status.state == Some(PhaseState::Waiting), "{status:#?}");
        ensure!(
            is(&status.conditions, "Stalled", "True").is_some_and(|(reason, _)| reason == "DependencyCycle"),
            "{status:#?}"
        );
    }
    shop.moved(&[0]).await?;
    shop.edit::<MigrationPhase>("a", json!({"spec": {"after": null}})).await?;
    for name in ["a", "b", "c"] {
        shop.state(name, PhaseState::Completed).await?;
    }
    shop.moved(&[0, 50]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_gate_holds_the_start_and_every_step() -> Result<()> {
    let shop = Shop::open().await?;
    shop.environment("scripted").await?;
    let gates = json!({"componentsReady": true});
    let steps = json!([approved(to(50)), to(100)]);
    shop.phase("shift", &json!({"environment": "production", "defaultChecks": false, "gates": gates, "steps": steps}))
        .await?;
    let closed = "components of production are not ready: api";
    let status = shop.blocked("shift", "ComponentsNotReady", closed).await?;
    ensure!(status.state == Some(PhaseState::Waiting), "{status:#?}");
    shop.moved(&[0]).await?;

    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    shop.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {"ports": ports}}))
        .await?;
    shop.endpoints("api", 1).await?;
    shop.asks("shift", "to-50").await?;

    // It closes again: what is in force stays, and the next step does not begin.
    shop.endpoints("api", 0).await?;
    eventually("the component is not ready", std::time::Duration::from_secs(20), || async {
        let environment = shop.all::<cutover_api::v1alpha1::Environment>().get("production").await?;
        ensure!(environment.status.is_some_and(|status| status.components.iter().all(|component| !component.ready)));
        Ok(())
    })
    .await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    let status = shop.blocked("shift", "ComponentsNotReady", closed).await?;
    ensure!(
        status.step.as_ref().is_some_and(|step| step.name == "to-50" && step.stage == Stage::AwaitingApproval),
        "{status:#?}"
    );
    ensure!(is(&status.conditions, "Ready", "True").is_some(), "{status:#?}");
    shop.moved(&[0, 50]).await?;
    shop.endpoints("api", 1).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_follow_the_traffic_and_go_back_before_it() -> Result<()> {
    let shop = Shop::open().await?;
    shop.environment("scripted").await?;
    let percentage = json!({"growing": "on", "rest": "off", "percent": 0});
    let flag = json!({
        "environment": "production", "variants": {"on": true, "off": false}, "defaultVariant": "off",
        "rules": [{"name": "rollout", "percentage": percentage}],
    });
    shop.apply(&installed::object("FeatureFlag", "checkout", &flag)).await?;
    shop.history("checkout", 0).await?;
    let step = |weight: i32| with(approved(to(weight)), &json!({"flags": [{"flag": "checkout", "percent": weight}]}));
    shop.phase("shift", &json!({"steps": [step(25), step(50)]})).await?;
    shop.asks("shift", "to-25").await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-25"})).await?;
    shop.asks("shift", "to-50").await?;
    let flag = shop.all::<FeatureFlag>().get("checkout").await?.status.context("no status")?;
    ensure!(flag.held_by.is_some_and(|holder| holder.phase == "shift") && flag.percent == Some(50));
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;

    shop.moved(&[0, 25, 50, 0]).await?;
    shop.moved_too("checkout", &[0, 25, 50, 0]).await?;
    let (traffic, flags) = (shop.history("storefront", 0).await?, shop.history("checkout", 0).await?);
    let pairs: Vec<(Seen, Seen)> = traffic.into_iter().zip(flags).skip(1).collect();
    let traffic_first: Vec<bool> = pairs.iter().map(|(traffic, flag)| traffic.version < flag.version).collect();
    ensure!(traffic_first == [true, true, false], "{pairs:?}");
    Ok(())
}

/// What a GitOps tool has in its repository: it applies it again and again, without force, under a name of its own.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_applied_again_and_again_change_nothing_and_show_no_drift() -> Result<()> {
    let shop = Shop::open().await?;
    let split = shop.all::<TrafficSplit>().get("storefront").await?;
    let manifests = [
        installed::object("TrafficSplit", "storefront", &serde_json::to_value(&split.spec)?),
        installed::object("MigrationPhase", "shift", &json!({"steps": [to(25), to(50), to(75), approved(to(100))]})),
    ];
    let sync = async || {
        let mut applied = Vec::new();
        for manifest in &manifests {
            let (kind, name) = (
                manifest["kind"].as_str().unwrap_or_default(),
                manifest["metadata"]["name"].as_str().unwrap_or_default(),
            );
            let api = installed::api(&shop.client, &shop.namespace, kind);
            applied.push(api.patch(name, &PatchParams::apply("gitops"), &Patch::Apply(manifest)).await?);
        }
        anyhow::Ok(applied)
    };
    let first = sync().await?;
    let mut times = 0_u32;
    loop {
        let again = sync().await?;
        times += 1;
        for (before, now) in first.iter().zip(&again) {
            ensure!(before.metadata.generation == now.metadata.generation, "{} was changed", now.name_any());
            ensure!(before.data["spec"] == now.data["spec"], "{:#}", now.data["spec"]);
        }
        let phase: MigrationPhase = shop.all().get("shift").await?;
        let asks = |status: &cutover_api::v1alpha1::MigrationPhaseStatus| {
            status.step.as_ref().is_some_and(|step| step.name == "to-100" && step.stage == Stage::AwaitingApproval)
        };
        if times >= 50 && phase.status.as_ref().is_some_and(asks) {
            break;
        }
    }
    // Nothing to do, says the server to the tool: the object would not change.
    let live = shop.all::<TrafficSplit>().get("storefront").await?;
    ensure!(live.spec == split.spec && live.resource_version() == sync().await?[0].resource_version());
    let owners = |managers: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry]| -> Vec<String> {
        let of_spec = |entry: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some_and(Value::is_object))
        };
        managers.iter().filter(of_spec).filter_map(|entry| entry.manager.clone()).collect()
    };
    let owners = owners(live.managed_fields());
    ensure!(owners.iter().all(|owner| owner == "gitops" || owner == "testkit"), "{owners:?}");
    shop.moved(&[0, 25, 50, 75, 100]).await
}
