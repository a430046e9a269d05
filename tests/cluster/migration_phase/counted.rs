//! Checks against a real Prometheus that scrapes counters: a comparison, a condition over both sides, a dry run; of a system that is as
//! good as legacy and of one that is not.

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::migration_phase::{CheckState, PhaseState};
use serde_json::{Value, json};

use super::bed::{Shop, to, with};

/// The check's query over what one kind of system counts.
fn counted(kind: &str, what: &str) -> String {
    format!(r#"{what}{{system="$system",kind="{kind}"}}"#)
}

fn comparison(kind: &str) -> Value {
    let count = |what: &str| format!("sum(increase({}[$window]))", counted(kind, what));
    let compare =
        json!({"errors": count("test_errors_total"), "requests": count("test_requests_total"), "margin": "0.002"});
    json!({"name": "no-worse", "interval": "1s", "compare": compare, "significance": "0.01", "minSamples": 500})
}

fn condition(kind: &str) -> Value {
    let rate = |what: &str| format!("sum(rate({}[4s]))", counted(kind, what));
    let query = format!("{} / {}", rate("test_errors_total"), rate("test_requests_total"));
    let condition = "value < 0.5 && new <= legacy * 2.0";
    json!({"name": "no-worse", "interval": "1s", "prometheus": {"query": query}, "condition": condition})
}

fn phase(check: &Value, steps: &[Value]) -> Value {
    json!({"environment": "production", "steps": steps, "checks": [check]})
}

/// What is as good as legacy goes all the way; what is not goes back, and says why.
async fn tells(check: fn(&str) -> Value, why: &str) -> Result<()> {
    let shop = Shop::open().await?;
    shop.environment("real").await?;
    let soaking = with(to(20), &json!({"soak": "1h"}));
    shop.phase("bad", &phase(&check("bad"), &[soaking])).await?;
    let status = shop.state("bad", PhaseState::RolledBack).await?;
    let failure = status.failure.context("no failure")?;
    ensure!(failure.reason == "CheckFailed" && failure.message.contains(why), "{failure:#?}");
    shop.free("storefront", 0).await?;
    shop.phase("good", &phase(&check("good"), &[to(50), to(100)])).await?;
    let status = shop.state("good", PhaseState::Completed).await?;
    ensure!(status.checks.iter().all(|check| check.state == CheckState::Passing), "{status:#?}");
    shop.moved(&[0, 20, 0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_tells_a_worse_side_from_one_as_good() -> Result<()> {
    tells(comparison, "more than 0.002 above it, at significance 0.01").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_tells_a_worse_side_from_one_as_good() -> Result<()> {
    tells(condition, "new <= legacy * 2.0 is false").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_it_finds_and_nothing_follows() -> Result<()> {
    let shop = Shop::open().await?;
    shop.environment("real").await?;
    let check = with(comparison("bad"), &json!({"dryRun": true, "failAfter": 1}));
    let soaking = with(to(20), &json!({"soak": "1h"}));
    shop.phase("dry", &phase(&check, &[soaking])).await?;
    let failed = |status: &cutover_api::v1alpha1::MigrationPhaseStatus| {
        status.checks.first().is_some_and(|check| check.consecutive_failures >= 2)
    };
    let status = shop.until("dry", "failing", failed).await?;
    ensure!(status.state == Some(PhaseState::Running) && status.failure.is_none(), "{status:#?}");
    let holds = status.blocked_by.iter().any(|blocker| blocker.message.contains("no-worse"));
    ensure!(!holds, "{status:#?}");
    shop.phase("dry", &phase(&check, &[to(20)])).await?;
    shop.state("dry", PhaseState::Completed).await?;
    shop.moved(&[0, 20]).await
}
