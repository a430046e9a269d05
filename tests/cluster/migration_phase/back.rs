//! All at once, and the ways back: to the start, to the step before, against missing capacity, and not in time.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{MigrationPhase, migration_phase::PhaseState};
use serde_json::{Value, json};

use super::{
    bed::{Shop, approved, to, with},
    prometheus::{Answer, Prometheus},
};

/// Fails the first time that the value is above 0.05.
fn check() -> Value {
    let query = json!({"query": Prometheus::QUERY});
    json!({"name": "errors", "prometheus": query, "max": "0.05", "interval": "1s", "failAfter": 1})
}

async fn watched(answer: Answer) -> Result<Shop> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[answer]);
    shop.environment("scripted").await?;
    Ok(shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_is_one_step_over_and_one_step_back() -> Result<()> {
    let shop = watched(Answer::Value(0.5)).await?;
    let phase =
        json!({"environment": "production", "steps": [with(to(100), &json!({"soak": "2s"}))], "checks": [check()]});
    shop.phase("switch", &phase).await?;
    let status = shop.state("switch", PhaseState::RolledBack).await?;
    ensure!(status.failure.is_some_and(|failure| failure.reason == "CheckFailed"));
    shop.moved(&[0, 100, 0]).await?;
    shop.bed.prometheus.says(&shop.namespace, &[Answer::Value(0.01)]);
    shop.accepted("ana", "switch", json!({"action": "Retry"})).await?;
    let status = shop.state("switch", PhaseState::Completed).await?;
    ensure!(status.attempt == Some(2) && status.failure.is_none(), "{status:#?}");
    // And back in one, although it is at rest.
    shop.accepted("ana", "switch", json!({"action": "Rollback"})).await?;
    shop.state("switch", PhaseState::RolledBack).await?;
    shop.moved(&[0, 100, 0, 100, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_check_takes_back_one_step_where_the_spec_says_so() -> Result<()> {
    let shop = watched(Answer::Value(0.01)).await?;
    let steps = json!([to(20), with(to(60), &json!({"soak": "1h"}))]);
    let back = json!({"to": "PreviousStep"});
    let phase = json!({"environment": "production", "steps": steps, "checks": [check()], "rollback": back});
    shop.phase("shift", &phase).await?;
    shop.history("storefront", 60).await?;
    shop.bed.prometheus.says(&shop.namespace, &[Answer::Value(0.5)]);
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    ensure!(status.failure.as_ref().and_then(|failure| failure.step.as_deref()) == Some("to-60"), "{status:#?}");
    shop.moved(&[0, 20, 60, 20]).await?;
    // From there a person goes the rest of the way.
    shop.accepted("ana", "shift", json!({"action": "Rollback", "to": "Baseline"})).await?;
    shop.free("storefront", 0).await?;
    shop.moved(&[0, 20, 60, 20, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_back_one_step_and_each_attempt_has_its_own() -> Result<()> {
    let shop = Shop::open_at(10, json!({})).await?;
    shop.phase("shift", &json!({"steps": [to(20), approved(to(60))]})).await?;
    shop.asks("shift", "to-60").await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback", "to": "PreviousStep"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.free("storefront", 20).await?;
    let already = json!({"action": "Rollback", "to": "PreviousStep"});
    shop.rejected("ana", "shift", already, "NotApplicable", "the phase is at PreviousStep already").await?;
    // The old attempt's actions count no more in the next one, which starts from the old start.
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    shop.rejected("ana", "shift", json!({"action": "Rollback", "attempt": 1}), "Superseded", "in attempt 2").await?;
    let status = shop.asks("shift", "to-60").await?;
    let baseline = status.baseline.context("no baseline")?;
    ensure!(status.attempt == Some(2) && baseline.splits[0].new_weight == Some(10), "{baseline:#?}");
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.moved(&[10, 20, 60, 20, 60, 10]).await
}

/// `storefront` at 100, and a legacy side with one of the four endpoints that it needs for everything.
async fn at_all(more: Value) -> Result<Shop> {
    let shop = Shop::open_at(0, json!({"safety": {"legacy": {"fullCapacityEndpoints": 4}}})).await?;
    shop.phase("shift", &with(json!({"steps": [to(100)]}), &more)).await?;
    shop.state("shift", PhaseState::Completed).await?;
    Ok(shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_way_back_does_not_wait_for_capacity() -> Result<()> {
    let shop = at_all(json!({})).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.blocked("shift", "InsufficientCapacity", "the legacy side has 1 ready endpoints and needs 4").await?;
    shop.moved(&[0, 100, 75]).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback", "force": true})).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    ensure!(status.way_back.is_some_and(|way| way.force));
    shop.moved(&[0, 100, 75, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_is_not_done_in_time_freezes_where_it_is() -> Result<()> {
    let shop = at_all(json!({"rollback": {"timeout": "2s"}})).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    let closed =
        "WayBackClosed: not back after 2s: TrafficSplit storefront: the legacy side has 1 ready endpoints and needs 4";
    let status = shop.blocked("shift", "Frozen", closed).await?;
    ensure!(status.state == Some(PhaseState::Frozen), "{status:#?}");
    shop.moved(&[0, 100, 75]).await?;
    // Capacity alone is no decision; a person's is.
    shop.endpoints("old", 4).await?;
    shop.split_until("storefront", |status| {
        status.endpoints.as_ref().and_then(|ready| ready.legacy).is_some_and(|legacy| legacy.ready == 4)
    })
    .await?;
    shop.moved(&[0, 100, 75]).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.moved(&[0, 100, 75, 0]).await?;
    ensure!(shop.all::<MigrationPhase>().get("shift").await?.status.is_some_and(|status| status.failure.is_some()));
    Ok(())
}
