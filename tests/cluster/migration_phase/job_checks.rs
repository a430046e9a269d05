//! Checks by Job, which Kubernetes' own controller runs.

use anyhow::{Context, Result, ensure};
use cutover_api::{
    labels,
    v1alpha1::migration_phase::{CheckState, MigrationPhaseStatus, PhaseState},
};
use k8s_openapi::api::{batch::v1::Job, core::v1::ResourceQuota};
use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use super::bed::{Shop, to, with};

/// Runs a Job in each step whose pod ends with this code.
fn check(code: i32) -> Value {
    let annotations = json!({"sim.cutover.dev/run-time": "50ms", "sim.cutover.dev/exit-code": code.to_string()});
    let container = json!({"name": "smoke", "image": "registry.example.com/smoke:1"});
    let spec = json!({"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}});
    json!({"name": "smoke", "job": {"spec": spec, "timeout": "10s"}, "interval": "1h", "failAfter": 1})
}

async fn jobs(shop: &Shop) -> Result<Vec<Job>> {
    let checks = ListParams::default().labels(&format!("{}=smoke", labels::CHECK));
    Ok(shop.all::<Job>().list(&checks).await?.items)
}

fn of_check(status: &MigrationPhaseStatus) -> Result<(CheckState, Option<&str>)> {
    let check = status.checks.iter().find(|check| check.name == "smoke").context("no check")?;
    Ok((check.state, check.value.as_deref()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_ends_when_its_job_has_ended_well() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [to(100)], "checks": [check(0)]})).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(of_check(&status)? == (CheckState::Passing, Some("succeeded")), "{:#?}", status.checks);
    let made = jobs(&shop).await?;
    ensure!(!made.is_empty());
    for job in &made {
        let spec = job.spec.as_ref().context("no spec")?;
        ensure!(spec.backoff_limit == Some(0) && spec.active_deadline_seconds == Some(10), "{spec:#?}");
        ensure!(spec.ttl_seconds_after_finished == Some(600), "{spec:#?}");
        ensure!(job.owner_references().iter().any(|owner| owner.name == "shift"), "{:#?}", job.metadata);
    }
    shop.moved(&[0, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_leads_back_and_says_with_which_code() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [with(to(50), &json!({"soak": "1h"}))], "checks": [check(4)]})).await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.context("no failure")?;
    ensure!(failure.reason == "CheckFailed" && failure.message.contains("failed with exit code 4"), "{failure:#?}");
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_made_holds_and_takes_nothing_back() -> Result<()> {
    let shop = Shop::open().await?;
    let quota: ResourceQuota = serde_json::from_value(json!({
        "metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}},
    }))?;
    shop.all::<ResourceQuota>().create(&PostParams::default(), &quota).await?;
    shop.phase("shift", &json!({"steps": [to(50), to(100)], "checks": [check(0)]})).await?;
    let status =
        shop.blocked("shift", "ChecksUnavailable", "check smoke cannot be asked: its Job could not be made").await?;
    ensure!(status.state == Some(PhaseState::Running) && jobs(&shop).await?.is_empty(), "{status:#?}");
    shop.moved(&[0, 50]).await
}
