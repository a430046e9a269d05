//! Harm without metrics, and what is made of it: back, as far as there is a way, or held for a person.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{MigrationPhase, migration_phase::PhaseState};
use cutover_testkit::eventually;
use jiff::SignedDuration;
use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::bed::{Shop, approved, is, reasons, split, to};
use crate::installed;

const NEW_IS_DEAD: &str = "TrafficSplit storefront: the new side has traffic and no ready endpoint";

/// A shop whose phase is at 50 and asks people, when the new side's endpoints go.
async fn dead(more: Value) -> Result<Shop> {
    let shop = Shop::open().await?;
    shop.phase("shift", &super::bed::with(json!({"steps": [approved(to(50)), to(100)], "deadAfter": "2s"}), &more))
        .await?;
    shop.asks("shift", "to-50").await?;
    shop.endpoints("new", 0).await?;
    Ok(shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_stays_dead_leads_back() -> Result<()> {
    let shop = dead(json!({})).await?;
    // It holds at once.
    let status = shop.blocked("shift", "SideDead", NEW_IS_DEAD).await?;
    ensure!(status.state == Some(PhaseState::Running), "{status:#?}");
    let since = status.dead_sides[0].since.0;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.context("no failure")?;
    ensure!(failure.reason == "SideDead" && failure.message == NEW_IS_DEAD, "{failure:#?}");
    ensure!(failure.at.0 >= since + SignedDuration::from_secs(2), "{since} {failure:#?}");
    shop.free("storefront", 0).await?;
    shop.moved(&[0, 50, 0]).await
}

/// Nothing changes of its endpoints: they are published, whatever becomes of what is behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_answers_no_probe_leads_back() -> Result<()> {
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let probe = json!({"tcp": {"host": "127.0.0.1", "port": door.local_addr()?.port()}, "interval": "1s"});
    let shop = Shop::open_at(0, json!({"safety": {"new": {"probe": probe}}})).await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)], "deadAfter": "2s"})).await?;
    shop.asks("shift", "to-50").await?;
    drop(door);
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.context("no failure")?;
    ensure!(failure.reason == "SideDead" && failure.message == NEW_IS_DEAD, "{failure:#?}");
    shop.free("storefront", 0).await?;
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_comes_back_in_time_does_no_harm() -> Result<()> {
    let shop = dead(json!({"deadAfter": "30s"})).await?;
    shop.blocked("shift", "SideDead", NEW_IS_DEAD).await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.moved(&[0, 50]).await?;
    shop.endpoints("new", 1).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(status.dead_sides.is_empty() && !reasons(&status).contains(&"RollingBack"), "{status:#?}");
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_is_to_freeze_holds_until_a_person_decides() -> Result<()> {
    let shop = dead(json!({"onFailure": "Freeze"})).await?;
    let told = format!("SideDead: {NEW_IS_DEAD}. The weights are held: Rollback, Resume, Retry or Abort");
    let status = shop.blocked("shift", "Frozen", &told).await?;
    ensure!(status.state == Some(PhaseState::Frozen), "{status:#?}");
    ensure!(is(&status.conditions, "Stalled", "True").is_some_and(|(reason, _)| reason == "Frozen"), "{status:#?}");
    let split = shop.split_until("storefront", |_| true).await?;
    ensure!(split.holder.is_some_and(|holder| holder.phase == "shift"));
    shop.endpoints("new", 1).await?;
    shop.accepted("ana", "shift", json!({"action": "Resume"})).await?;
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.failure.is_none() && status.attempt == Some(1), "{status:#?}");
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_irreversible_phase_goes_back_for_a_person_only() -> Result<()> {
    let shop = dead(json!({"reversible": false})).await?;
    shop.blocked("shift", "Frozen", &format!("{NEW_IS_DEAD}; the phase is not reversible")).await?;
    shop.moved(&[0, 50]).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.free("storefront", 0).await?;
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_back_to_a_dead_side_until_it_lives() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50))], "deadAfter": "1s"})).await?;
    shop.asks("shift", "to-50").await?;
    shop.endpoints("old", 0).await?;
    let closed = "WayBackClosed: TrafficSplit storefront: the legacy side has traffic and no ready endpoint: going back would lead there";
    let status = shop.blocked("shift", "Frozen", closed).await?;
    ensure!(status.state == Some(PhaseState::Frozen), "{status:#?}");
    // Now both are dead; then one of them comes back.
    shop.endpoints("new", 0).await?;
    shop.until("shift", "harmed on both sides", |status| status.dead_sides.len() == 2).await?;
    shop.moved(&[0, 50]).await?;
    shop.endpoints("old", 1).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.moved(&[0, 50, 0]).await
}

/// `storefront` at 100 by a phase that is now going back, to a legacy side with one of the four endpoints that it needs for everything.
async fn going_back() -> Result<Shop> {
    let shop = Shop::open_at(0, json!({"safety": {"legacy": {"fullCapacityEndpoints": 4}}})).await?;
    shop.phase("shift", &json!({"steps": [to(100)]})).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    let missing =
        "the legacy side has 1 ready endpoints and needs 4 for 100 of 100: start more of them, or lower safety.legacy";
    let status = shop.blocked("shift", "InsufficientCapacity", missing).await?;
    ensure!(status.state == Some(PhaseState::RollingBack), "{status:#?}");
    shop.moved(&[0, 100, 75]).await?;
    Ok(shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_goes_as_far_as_legacy_can_carry_and_on_as_more_appears() -> Result<()> {
    let shop = going_back().await?;
    shop.endpoints("old", 2).await?;
    shop.blocked("shift", "InsufficientCapacity", "the legacy side has 2 ready endpoints and needs 4").await?;
    shop.moved(&[0, 100, 75, 50]).await?;
    shop.endpoints("old", 4).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.free("storefront", 0).await?;
    shop.moved(&[0, 100, 75, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_of_a_deleted_phase_is_finished() -> Result<()> {
    let shop = going_back().await?;
    shop.delete::<MigrationPhase>("shift").await?;
    shop.split_until("storefront", |status| status.holder.is_none()).await?;
    shop.endpoints("old", 4).await?;
    shop.free("storefront", 0).await?;
    shop.moved(&[0, 100, 75, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_that_cannot_follow_in_time_go_back_to_the_step_before_as_one() -> Result<()> {
    let shop = Shop::open().await?;
    shop.apply(&installed::object("TrafficSplit", "api", &split(&shop.namespace, "/api", 0))).await?;
    shop.free("api", 0).await?;
    refuse_half(&shop).await?;
    let both = |weight: i32| {
        let traffic = ["storefront", "api"].map(|split| json!({"split": split, "newWeight": weight}));
        json!({"name": format!("to-{weight}"), "traffic": traffic})
    };
    shop.phase("shift", &json!({"steps": [both(10), both(50), both(100)], "shiftTimeout": "3s"})).await?;
    shop.blocked("shift", "SplitNotReady", "TrafficSplit api: Forbidden: ").await?;
    shop.history("storefront", 50).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.context("no failure")?;
    ensure!(failure.reason == "ShiftTimedOut" && failure.step.as_deref() == Some("to-50"), "{failure:#?}");
    ensure!(failure.message.starts_with("not in force after 3s: TrafficSplit api: Forbidden"), "{failure:#?}");
    for split in ["storefront", "api"] {
        shop.free(split, 10).await?;
    }
    shop.moved_too("api", &[0, 10]).await?;
    shop.moved(&[0, 10, 50, 10]).await
}

/// Somebody's admission policy lets the canary of `api` have every weight but 50.
async fn refuse_half(shop: &Shop) -> Result<()> {
    let namespace = &shop.namespace;
    let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": namespace}, "spec": spec});
    let key = "nginx.ingress.kubernetes.io/canary-weight";
    let expression = format!(
        "object.metadata.name != 'api-cutover-canary' || !has(object.metadata.annotations) || !('{key}' in object.metadata.annotations) || object.metadata.annotations['{key}'] != '50'"
    );
    let rule = json!({"apiGroups": ["networking.k8s.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["ingresses"]});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let constraints = json!({"namespaceSelector": here, "resourceRules": [rule]});
    let validations = json!([{"expression": expression, "message": "no halves here", "reason": "Forbidden"}]);
    shop.apply(&kind(
        "ValidatingAdmissionPolicy",
        json!({"matchConstraints": constraints, "validations": validations}),
    ))
    .await?;
    shop.apply(&kind(
        "ValidatingAdmissionPolicyBinding",
        json!({"policyName": namespace, "validationActions": ["Deny"]}),
    ))
    .await?;
    let ingresses: Api<Ingress> = shop.all();
    let half = Patch::Merge(json!({"metadata": {"annotations": {key: "50"}}}));
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    eventually("halves are refused", Duration::from_secs(30), || async {
        let answer = ingresses.patch("api-cutover-canary", &dry_run, &half).await;
        let why = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
        ensure!(why.contains("no halves here"), "{:?}", answer.map(|ingress| ingress.name_any()));
        Ok(())
    })
    .await
}
