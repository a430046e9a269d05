//! What happens to a phase arrives, signed, at a sink, and is in an audit log that can be checked from end to end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{MigrationPhase, migration_phase::PhaseState};
use cutover_testkit::eventually;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::bed::{Shop, approved, to};

/// The records of one phase as they were logged, each once.
fn records(log: &str, uid: &str) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let known = records.iter().any(|record| record["hash"] == line["hash"]);
        if line["target"] == "audit" && line["uid"] == uid && !known {
            records.push(line);
        }
    }
    records
}

/// A string as JSON has it: what a record may contain needs no other escapes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The hash of a record by the recipe of the documentation, and nothing of ours.
fn hash(record: &Value) -> Result<String> {
    let mut fields = Vec::new();
    for name in "previous namespace phase uid generation attempt sequence at who what why before after".split(' ') {
        let field = match &record[name] {
            Value::String(text) => quoted(text),
            Value::Number(number) => number.to_string(),
            other => anyhow::bail!("{name} is {other}: {record}"),
        };
        fields.push(field);
    }
    Ok(format!("{:x}", Sha256::digest(format!("[{}]", fields.join(",")))))
}

#[tokio::test(flavor = "multi_thread")]
async fn transitions_arrive_signed_at_a_sink_and_the_audit_log_is_a_chain_that_ends_in_the_status() -> Result<()> {
    let shop = Shop::open().await?;
    let expected = [
        "Started",
        "AwaitingApproval",
        "Paused",
        "Resumed",
        "Approved",
        "StepDone",
        "Completed",
        "RollingBack",
        "RolledBack",
    ];
    let notify = json!([{"sink": "releases", "events": expected}, {"sink": "elsewhere", "events": ["Started"]}]);
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)], "notify": notify})).await?;
    let status = shop.asks("shift", "to-50").await?;
    ensure!(status.unknown_sinks == ["elsewhere"], "{status:#?}");
    let reason = "she said \"wait\" \\ and\nleft";
    shop.accepted("ana", "shift", json!({"action": "Pause", "reason": reason})).await?;
    shop.rejected("mallory", "shift", json!({"action": "Retry"}), "NotApplicable", "only one that is rolled back")
        .await?;
    shop.accepted("ana", "shift", json!({"action": "Resume"})).await?;
    shop.accepted("ben", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;

    let told = eventually("all is told", Duration::from_secs(20), || async {
        let told = shop.bed.sinks.of(&shop.namespace)?;
        ensure!(told.last().is_some_and(|last| last.event["data"]["event"] == "RolledBack"), "{told:#?}");
        Ok(told)
    })
    .await?;
    let events: Vec<_> = told.iter().map(|one| one.event["data"]["event"].as_str().unwrap_or_default()).collect();
    ensure!(events == expected, "{events:?}");
    for one in &told {
        let (event, data) = (&one.event, &one.event["data"]);
        ensure!(event["specversion"] == "1.0" && event["id"] == one.id && event["subject"] == "shift", "{event:#}");
        ensure!(data["cluster"] == "bed" && data["phase"] == "shift" && data["audit"]["hash"] == one.id, "{data:#}");
    }
    let paused = &told[2].event["data"];
    ensure!(paused["by"] == "ana" && paused["reason"] == "she said \"wait\" \\ and\\nleft", "{paused:#}");

    let phase = shop.all::<MigrationPhase>().get("shift").await?;
    let end = phase.status.and_then(|status| status.audit).context("no audit in the status")?;
    let uid = phase.metadata.uid.context("no UID")?;
    let records = eventually("the log ends where the status does", Duration::from_secs(10), || async {
        let records = records(&std::fs::read_to_string(shop.bed.operator.process().log())?, &uid);
        ensure!(records.last().is_some_and(|last| last["hash"] == end.hash.as_str()), "{records:#?}");
        Ok(records)
    })
    .await?;
    let mut previous = String::new();
    for (record, sequence) in records.iter().zip(1..) {
        ensure!(record["previous"] == previous.as_str() && record["sequence"] == sequence, "{record:#}");
        previous = hash(record)?;
        ensure!(record["hash"] == previous.as_str(), "{record:#}");
    }
    ensure!((usize::try_from(end.sequence)?, &end.hash) == (records.len(), &previous), "{end:?}");
    for one in &told {
        ensure!(records.iter().any(|record| record["hash"] == one.id.as_str()), "{one:?} has no record");
    }
    let turned_down =
        records.iter().find(|record| record["who"] == "mallory").context("who was turned down is not there")?;
    ensure!(turned_down["what"] == "TurnDown" && turned_down["before"] == turned_down["after"], "{turned_down:#}");

    // The one that never answers has held up nothing.
    let metrics = shop.bed.operator.metrics().await?;
    let value = |series: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.trim().parse::<f64>().ok()).with_context(|| format!("no {series}: {metrics}"))
    };
    ensure!(value(r#"cutover_notifications_total{outcome="delivered",sink="releases"}"#)? >= 9.0, "{metrics}");
    ensure!(value(r#"cutover_notifications_total{outcome="failed",sink="releases"}"#)? == 0.0, "{metrics}");
    ensure!(value(r#"cutover_notifications_total{outcome="delivered",sink="silent"}"#)? == 0.0, "{metrics}");
    ensure!(value(r#"cutover_notifications_waiting{sink="silent"}"#)? >= 1.0, "{metrics}");
    Ok(())
}
