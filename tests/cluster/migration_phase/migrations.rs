//! Migrations of the shared database, as Jobs that Kubernetes' own controller runs.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{
    Environment,
    environment::{MigrationOutcome, MigrationRecord},
    migration_phase::{HookPoint, HookState, MigrationDirection, MigrationPhaseStatus, PhaseState},
};
use cutover_testkit::eventually;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::bed::{PATIENCE, Shop, approved, to, with};

/// The spec of a Job whose pod ends with this code.
fn job(code: i32) -> Value {
    let annotations = json!({"sim.cutover.dev/run-time": "50ms", "sim.cutover.dev/exit-code": code.to_string()});
    let container = json!({"name": "migrate", "image": "registry.example.com/migrate:1"});
    json!({"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}})
}

/// To version 44 and back.
fn hooks(up: i32) -> Value {
    let expand = json!({"name": "expand", "job": job(up), "migration": {"version": 44, "down": job(0)}});
    json!({"before": [expand]})
}

async fn record(shop: &Shop, what: &str, expected: impl Fn(&MigrationRecord) -> bool + Send) -> Result<()> {
    eventually(what, PATIENCE, || async {
        let status = shop.all::<Environment>().get("production").await?.status.context("no status")?;
        let [record] = status.migrations.as_slice() else { anyhow::bail!("{:#?}", status.migrations) };
        ensure!(record.version == 44 && expected(record), "{record:#?}");
        Ok(())
    })
    .await
}

async fn jobs(shop: &Shop) -> Result<Vec<Job>> {
    Ok(shop.all::<Job>().list(&kube::api::ListParams::default()).await?.items)
}

fn states(status: &MigrationPhaseStatus) -> Vec<(HookPoint, HookState, i32)> {
    let runs = status.hooks.iter().filter_map(|hook| Some((hook.point, hook.state, hook.migration?.round)));
    runs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_migrated_to_once_and_undone_on_the_way_back() -> Result<()> {
    let shop = Shop::open().await?;
    shop.environment("scripted").await?;
    let spec = |split: &str, weight: i32| {
        let step = json!({"name": "all", "traffic": [{"split": split, "newWeight": weight}]});
        with(
            json!({"environment": "production", "defaultChecks": false, "steps": [approved(step)]}),
            &json!({"hooks": hooks(0)}),
        )
    };
    shop.phase("shift", &spec("storefront", 100)).await?;
    let status = shop.asks("shift", "all").await?;
    ensure!(states(&status) == [(HookPoint::Before, HookState::Succeeded, 1)], "{:#?}", status.hooks);
    record(&shop, "it is recorded", |record| record.applied && record.phase.as_deref() == Some("shift")).await?;
    // Another phase finds it done, and its way back leaves it alone.
    shop.phase("other", &spec("bystander", 30)).await?;
    let status = shop.asks("other", "all").await?;
    ensure!(states(&status) == [(HookPoint::Before, HookState::Skipped, 1)], "{:#?}", status.hooks);
    shop.accepted("ana", "other", json!({"action": "Rollback"})).await?;
    shop.state("other", PhaseState::RolledBack).await?;
    record(&shop, "it is still applied", |record| record.applied && record.round == 1).await?;
    ensure!(jobs(&shop).await?.len() == 1);

    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let expected = [(HookPoint::Before, HookState::Succeeded, 1), (HookPoint::OnRollback, HookState::Succeeded, 2)];
    ensure!(states(&status) == expected, "{:#?}", status.hooks);
    record(&shop, "it is undone", |record| {
        !record.applied && record.direction == MigrationDirection::Down && record.round == 2
    })
    .await?;
    shop.moved_too("storefront", &[0, 100, 0]).await?;
    // The Jobs are the environment's: they stay when the phase goes.
    shop.delete::<cutover_api::v1alpha1::MigrationPhase>("shift").await?;
    let made = jobs(&shop).await?;
    let kept = |job: &Job| {
        job.owner_references().iter().all(|owner| owner.kind == "Environment")
            && job.metadata.deletion_timestamp.is_none()
            && job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_none())
    };
    ensure!(made.len() == 2 && made.iter().all(kept), "{made:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_moves_nothing_and_is_tried_again_when_a_person_says_so() -> Result<()> {
    let shop = Shop::open().await?;
    shop.environment("scripted").await?;
    let spec = json!({"environment": "production", "defaultChecks": false, "steps": [to(100)], "hooks": hooks(5)});
    shop.phase("shift", &spec).await?;
    let status = shop.state("shift", PhaseState::Frozen).await?;
    let failure = status.failure.context("no failure")?;
    ensure!(failure.message.contains("exit code 5") && failure.message.contains("nothing has moved"), "{failure:#?}");
    record(&shop, "the failure is recorded", |record| !record.applied && record.outcome == MigrationOutcome::Failed)
        .await?;
    shop.moved(&[0]).await?;
    shop.phase("shift", &with(spec, &json!({"hooks": hooks(0)}))).await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(states(&status) == [(HookPoint::Before, HookState::Succeeded, 2)], "{:#?}", status.hooks);
    record(&shop, "it is recorded", |record| record.applied && record.round == 2).await?;
    shop.moved(&[0, 100]).await
}
