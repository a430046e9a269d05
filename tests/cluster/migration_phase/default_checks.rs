//! The checks of a phase that names none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::migration_phase::PhaseState;
use cutover_engine::migration_phase::defaults;
use cutover_testkit::eventually;
use serde_json::json;

use super::{
    bed::{Shop, to},
    prometheus::Answer,
};

/// What a real Prometheus answers to each of them, about a system of a namespace.
async fn answers(shop: &Shop, namespace: &str, system: &str) -> Result<Vec<Option<f64>>> {
    let mut found = Vec::new();
    for check in defaults() {
        let query =
            check.prometheus.context("no query")?.query.replace("$namespace", namespace).replace("$system", system);
        let samples = shop.bed.real_prometheus.query(&query).await.with_context(|| query.clone())?;
        ensure!(samples.len() <= 1, "{query}: {samples:?}");
        found.push(samples.first().map(|sample| sample.value).filter(|value| !value.is_nan()));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_queries_say_what_happens() -> Result<()> {
    let shop = Shop::open().await?;
    eventually("both sides counted", Duration::from_secs(40), || async {
        let (new, legacy) = (answers(&shop, "counted", "new").await?, answers(&shop, "counted", "legacy").await?);
        let near = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 0.005);
        // No series of errors is no error.
        ensure!(near(new[0], 0.0) && near(new[1], 0.05) && near(new[2], 0.095), "{new:?}");
        ensure!(near(legacy[0], 0.1) && near(legacy[1], 3.0) && near(legacy[2], 3.9), "{legacy:?}");
        Ok(())
    })
    .await?;
    // Where there are no requests there is no rate of errors.
    ensure!(answers(&shop, "elsewhere", "new").await? == [None, None, None]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_without_checks_is_watched_where_its_environment_is_measured() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.prometheus.says(&shop.namespace, &[Answer::Value(5.0)]);
    shop.environment("scripted").await?;
    shop.phase("shift", &json!({"environment": "production", "steps": [to(50), to(100)]})).await?;
    let status = shop.blocked("shift", "CheckFailing", "check default-error-rate: 5 is above max 0.05").await?;
    ensure!(status.state == Some(PhaseState::Running) && status.checks.len() == 3, "{status:#?}");
    shop.moved(&[0, 50]).await?;
    shop.phase("shift", &json!({"environment": "production", "defaultChecks": false, "steps": [to(50), to(100)]}))
        .await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}
