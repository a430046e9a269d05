//! What is lost, deleted or wanted by two: weights stay, and nobody moves what another holds.

use anyhow::{Result, ensure};
use cutover_api::v1alpha1::{MigrationPhase, TrafficSplit, TrafficSplitStatus, migration_phase::PhaseState};
use serde_json::json;

use super::bed::{Shop, approved, is, to};

#[tokio::test(flavor = "multi_thread")]
async fn the_weight_of_a_deleted_phase_is_held() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.delete::<MigrationPhase>("shift").await?;
    let split = shop.free("storefront", 50).await?;
    ensure!(split.desired_weight == Some(50) && is(&split.conditions, "SpecDiverged", "True").is_some(), "{split:#?}");
    // Another phase takes it from where it is.
    shop.phase("on", &json!({"steps": [to(60)]})).await?;
    let status = shop.state("on", PhaseState::Completed).await?;
    ensure!(status.baseline.is_some_and(|baseline| baseline.splits[0].new_weight == Some(50)));
    let split = shop.free("storefront", 60).await?;
    ensure!(split.epoch == Some(2), "{split:#?}");
    shop.moved(&[0, 50, 60]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_whose_status_was_lost_moves_nothing_by_itself() -> Result<()> {
    let shop = Shop::open_at(20, json!({})).await?;
    shop.phase("shift", &json!({"steps": [to(25), approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.wipe::<MigrationPhase>("shift").await?;
    let lost = "a split or flag is held by it, a route remembers what was before it";
    let status = shop.blocked("shift", "StatusLost", lost).await?;
    ensure!(status.attempt == Some(2) && status.state == Some(PhaseState::Frozen), "{status:#?}");
    let held = |status: &TrafficSplitStatus| status.holder.as_ref().is_some_and(|holder| holder.attempt == 2);
    let split = shop.split_until("storefront", held).await?;
    ensure!(split.holder.is_some_and(|holder| holder.phase == "shift"), "another phase holds it");
    // What was asked of the attempt that is over counts no more.
    let old = json!({"action": "Approve", "step": "to-50", "attempt": 1});
    shop.rejected("ana", "shift", old, "Superseded", "the phase is in attempt 2").await?;
    shop.moved(&[20, 25, 50]).await?;
    // The routes remember where it came from.
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.moved(&[20, 25, 50, 20]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_at_rest_whose_status_was_lost_starts_again_only_when_a_person_says_so() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.free("storefront", 0).await?;
    shop.wipe::<MigrationPhase>("shift").await?;
    let lost = "a route remembers what was before it, actions have been taken on it";
    let status = shop.blocked("shift", "StatusLost", lost).await?;
    ensure!(status.state == Some(PhaseState::Frozen) && is(&status.conditions, "Stalled", "True").is_some());
    // An edit is no decision.
    shop.phase("shift", &json!({"steps": [approved(to(60)), to(100)]})).await?;
    shop.blocked("shift", "StatusLost", lost).await?;
    shop.moved(&[0, 50, 0]).await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    let status = shop.asks("shift", "to-60").await?;
    ensure!(status.attempt == Some(3), "{status:#?}");
    shop.moved(&[0, 50, 0, 60]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_whose_status_was_lost_keeps_its_weight_and_the_phase_goes_on() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    shop.wipe::<TrafficSplit>("storefront").await?;
    let split =
        shop.split_until("storefront", |status| status.applied_weight == Some(50) && status.holder.is_some()).await?;
    ensure!(split.holder.is_some_and(|holder| holder.phase == "shift" && holder.attempt == 1));
    shop.moved(&[0, 50]).await?;
    shop.asks("shift", "to-50").await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.free("storefront", 100).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_phase_holds_another_never_moves() -> Result<()> {
    let shop = Shop::open().await?;
    // First by name would not be first to hold.
    shop.phase("second", &json!({"steps": [approved(to(50))]})).await?;
    shop.asks("second", "to-50").await?;
    shop.phase("first", &json!({"steps": [to(100)]})).await?;
    let busy = "spec.steps[0].traffic[0].split: TrafficSplit storefront is held by phase second (attempt 1): it is free when that phase is Completed, RolledBack or Aborted";
    let status = shop.blocked("first", "SplitBusy", busy).await?;
    ensure!(status.state == Some(PhaseState::Running) && status.baseline.is_none(), "{status:#?}");
    for action in [json!({"action": "Rollback"}), json!({"action": "Rollback", "to": "Baseline", "force": true})] {
        shop.rejected("ana", "first", action, "BaselineLost", "nothing was moved").await?;
    }
    shop.accepted("ana", "second", json!({"action": "Pause"})).await?;
    shop.blocked("first", "SplitBusy", busy).await?;
    let split = shop.split_until("storefront", |_| true).await?;
    ensure!(split.holder.is_some_and(|holder| holder.phase == "second" && holder.epoch == 1));
    shop.moved(&[0, 50]).await?;
    // It is free as soon as its holder is at rest, and only then.
    shop.accepted("ana", "second", json!({"action": "Rollback"})).await?;
    shop.state("second", PhaseState::RolledBack).await?;
    shop.state("first", PhaseState::Completed).await?;
    let split = shop.free("storefront", 100).await?;
    ensure!(split.epoch == Some(2), "{split:#?}");
    shop.moved(&[0, 50, 0, 100]).await
}
