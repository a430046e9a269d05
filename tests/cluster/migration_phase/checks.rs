//! Checks: what failures, missing data and a source that does not answer lead to.

use anyhow::{Result, ensure};
use cutover_api::v1alpha1::{
    MigrationPhaseStatus,
    migration_phase::{CheckState, PhaseState},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    bed::{Shop, is, reasons, to, with},
    prometheus::{Answer, Prometheus},
};

const GOOD: Answer = Answer::Value(0.01);
const BAD: Answer = Answer::Value(0.5);

/// One test at a time stops the Prometheus that they share.
static STOPPED: Mutex<()> = Mutex::const_new(());

fn check(more: &Value) -> Value {
    with(
        json!({"name": "errors", "prometheus": {"query": Prometheus::QUERY}, "max": "0.05", "interval": "1s", "failAfter": 3}),
        more,
    )
}

/// To 50 and, when the check has passed, to 100.
fn checked(check: &Value) -> Value {
    json!({"environment": "production", "steps": [to(50), to(100)], "checks": [check]})
}

async fn shop(prometheus: &str, answers: &[Answer]) -> Result<Shop> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, answers);
    shop.environment(prometheus).await?;
    Ok(shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_lead_back_and_the_next_attempt_counts_afresh() -> Result<()> {
    // One that passes in between begins the count anew.
    let shop = shop("scripted", &[BAD, BAD, GOOD, BAD]).await?;
    shop.phase(
        "shift",
        &with(checked(&check(&json!({}))), &json!({"steps": [with(to(50), &json!({"soak": "1h"})), to(100)]})),
    )
    .await?;
    let status = shop.blocked("shift", "CheckFailing", "check errors: 0.5 is above max 0.05").await?;
    ensure!(status.state == Some(PhaseState::Running), "{status:#?}");
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let asked = shop.bed.prometheus.asked(&shop.namespace);
    ensure!(asked >= 6, "{asked} queries were enough");
    let failure = status.failure.clone().unwrap_or_else(|| unreachable!("{status:#?}"));
    ensure!(failure.reason == "CheckFailed" && failure.step.as_deref() == Some("to-50"), "{failure:#?}");
    ensure!(failure.message == "check errors failed 3 times in a row: 0.5 is above max 0.05", "{failure:#?}");
    let ready = is(&status.conditions, "Ready", "True").map(|(_, message)| message.to_owned()).unwrap_or_default();
    ensure!(ready.contains("CheckFailed: check errors failed 3 times") && ready.contains("Retry"), "{ready}");
    shop.free("storefront", 0).await?;

    shop.bed.prometheus.says(&shop.namespace, &[BAD, GOOD]);
    shop.phase("shift", &checked(&check(&json!({})))).await?;
    shop.accepted("ana", "shift", json!({"action": "Retry"})).await?;
    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(status.attempt == Some(2) && status.failure.is_none(), "{status:#?}");
    shop.moved(&[0, 50, 0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_for_data_for_as_long_as_there_never_was_any() -> Result<()> {
    let shop = shop("scripted", &[Answer::Nothing]).await?;
    let check = check(&json!({"failAfter": 1, "noDataTimeout": "1s"}));
    shop.phase("shift", &checked(&check)).await?;
    let status = shop.blocked("shift", "NoData", "check errors has no data yet").await?;
    ensure!(is(&status.conditions, "Ready", "True").is_some_and(|(reason, _)| reason == "Soaking"), "{status:#?}");
    // Longer than data that had been there may be missing.
    let asked = shop.bed.prometheus.asked(&shop.namespace);
    let status = shop.until("shift", "waiting", |_| shop.bed.prometheus.asked(&shop.namespace) >= asked + 3).await?;
    ensure!(status.state == Some(PhaseState::Running) && status.checks[0].state == CheckState::NoData, "{status:#?}");
    shop.moved(&[0, 50]).await?;
    shop.bed.prometheus.says(&shop.namespace, &[GOOD]);
    let status = shop.state("shift", PhaseState::Completed).await?;
    ensure!(!reasons(&status).contains(&"RollingBack"), "{status:#?}");
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_vanishes_is_harm() -> Result<()> {
    let shop = shop("scripted", &[GOOD]).await?;
    let soaking = with(to(50), &json!({"soak": "1h"}));
    let check = check(&json!({"noDataTimeout": "2s"}));
    shop.phase("shift", &with(checked(&check), &json!({"steps": [soaking]}))).await?;
    let seen = |status: &MigrationPhaseStatus| status.checks.first().is_some_and(|check| check.last_data.is_some());
    shop.until("shift", "watched", seen).await?;
    shop.bed.prometheus.says(&shop.namespace, &[Answer::Nothing]);
    shop.blocked("shift", "NoData", "check errors had data and has none any more").await?;
    let status = shop.state("shift", PhaseState::RolledBack).await?;
    let failure = status.failure.clone().unwrap_or_else(|| unreachable!("{status:#?}"));
    ensure!(failure.reason == "DataVanished", "{failure:#?}");
    ensure!(failure.message == "check errors had data and has had none for 2s", "{failure:#?}");
    shop.moved(&[0, 50, 0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_does_not_answer_holds_and_then_it_goes_on() -> Result<()> {
    let _alone = STOPPED.lock().await;
    let shop = shop("real", &[]).await?;
    let prometheus = shop.bed.real_prometheus.process();
    prometheus.pause()?;
    let check = check(&json!({"prometheus": {"query": "vector(0.01)"}, "failAfter": 1}));
    let held = async {
        shop.phase("shift", &checked(&check)).await?;
        let unavailable = "check errors cannot be asked: no answer in time";
        let first = shop.blocked("shift", "ChecksUnavailable", unavailable).await?;
        let last_run = |status: &MigrationPhaseStatus| status.checks[0].last_run.clone();
        let again = |status: &MigrationPhaseStatus| last_run(status) != last_run(&first);
        let status = shop.until("shift", "asking again", again).await?;
        ensure!(status.state == Some(PhaseState::Running) && status.checks[0].consecutive_failures == 0, "{status:#?}");
        shop.moved(&[0, 50]).await
    };
    let held = held.await;
    prometheus.resume()?;
    held?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_stops_in_the_midst_of_a_soak_holds_the_step_and_undoes_nothing() -> Result<()> {
    let _alone = STOPPED.lock().await;
    let shop = shop("real", &[]).await?;
    let prometheus = shop.bed.real_prometheus.process();
    // Data that vanishes for a second is harm; a source that does not answer is not.
    let query = json!({"prometheus": {"query": "vector(0.01)"}, "failAfter": 1, "noDataTimeout": "1s"});
    let steps = json!({"steps": [with(to(50), &json!({"soak": "6s"})), to(100)]});
    shop.phase("shift", &with(checked(&check(&query)), &steps)).await?;
    let seen = |status: &MigrationPhaseStatus| status.checks.first().is_some_and(|check| check.last_data.is_some());
    shop.until("shift", "watched", seen).await?;
    prometheus.pause()?;
    let held = async {
        // The soak is over, and this is all that holds it.
        let alone = |status: &MigrationPhaseStatus| {
            let reasons: Vec<_> = status.blocked_by.iter().map(|blocker| blocker.reason.as_str()).collect();
            reasons == ["ChecksUnavailable"]
        };
        let first = shop.until("shift", "held by the check alone", alone).await?;
        let again =
            |status: &MigrationPhaseStatus| alone(status) && status.checks[0].last_run != first.checks[0].last_run;
        let status = shop.until("shift", "asking again", again).await?;
        ensure!(status.state == Some(PhaseState::Running) && status.checks[0].consecutive_failures == 0, "{status:#?}");
        ensure!(
            status.checks[0].state == CheckState::Erroring && !reasons(&status).contains(&"RollingBack"),
            "{status:#?}"
        );
        shop.moved(&[0, 50]).await
    };
    let held = held.await;
    prometheus.resume()?;
    held?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}
