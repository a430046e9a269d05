//! Gates, closed and open: who approves the start, and when the calendar lets traffic move.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::StatusCode;
use cutover_api::v1alpha1::{Environment, MigrationPhase, migration_phase::PhaseState};
use cutover_testkit::in_time;
use jiff::{SignedDuration, Timestamp, Unit};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::{
    bed::{Shop, approved, to},
    http_checks::Server,
};
use crate::installed;

fn start(subject: &str, groups: &[&str]) -> Value {
    json!({"action": "Approve", "subjectHash": subject, "groups": groups})
}

/// What approvals of the phase are about, while it waits for them.
async fn subject(shop: &Shop, given: &str) -> Result<String> {
    let status = shop.blocked("shift", "AwaitingApproval", given).await?;
    status.approval_subject.context("no subject is shown")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_starts_when_enough_people_have_approved_what_is_there() -> Result<()> {
    let shop = Shop::open().await?;
    let gates = json!({"approvals": {"required": 2, "groups": ["owners"]}});
    shop.phase("shift", &json!({"gates": gates, "steps": [approved(to(50)), to(100)]})).await?;

    let seen = subject(&shop, "0 of 2 approvals of the start by members of owners").await?;
    shop.accepted("ana", "shift", start(&seen, &["owners"])).await?;
    let twice = "ana has approved already: each person counts once";
    shop.rejected("ana", "shift", start(&seen, &["owners"]), "NotApplicable", twice).await?;
    let nobody = "only members of owners can approve";
    shop.rejected("ben", "shift", start(&seen, &["guests"]), "NotApplicable", nobody).await?;

    // Other steps are another matter: what was approved counts no more, and cannot be approved.
    shop.edit::<MigrationPhase>("shift", json!({"spec": {"steps": [approved(to(40)), to(100)]}})).await?;
    let now = subject(&shop, "0 of 2 approvals of the start").await?;
    ensure!(now != seen, "the subject is {seen} still");
    let changed = "the steps, the checks or the failure policy are others than those that were approved";
    shop.rejected("ben", "shift", start(&seen, &["owners"]), "SubjectChanged", changed).await?;
    shop.accepted("ben", "shift", start(&now, &["owners"])).await?;
    shop.accepted("ana", "shift", start(&now, &["owners"])).await?;

    // The start is no step, and under way other steps need people again.
    shop.asks("shift", "to-40").await?;
    shop.edit::<MigrationPhase>("shift", json!({"spec": {"steps": [approved(to(40)), to(90)]}})).await?;
    shop.accepted("eva", "shift", json!({"action": "Approve", "step": "to-40"})).await?;
    let now = subject(&shop, "0 of 2 approvals of the steps, checks and failure policy as they are now").await?;
    shop.moved(&[0, 40]).await?;
    shop.accepted("ana", "shift", start(&now, &["owners"])).await?;
    shop.accepted("ben", "shift", start(&now, &["owners"])).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 40, 90]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_moves_when_a_window_opens_and_no_earlier() -> Result<()> {
    let shop = Shop::open().await?;
    let opens = Timestamp::now().round(Unit::Minute)? + SignedDuration::from_mins(1);
    let clocks = |at: Timestamp| at.in_tz("UTC").map(|at| at.strftime("%H:%M").to_string());
    let (from, to_) = (clocks(opens)?, clocks(opens + SignedDuration::from_hours(2))?);
    let window = json!({"from": from, "to": to_, "timeZone": "UTC"});
    shop.phase("shift", &json!({"gates": {"windows": [window]}, "steps": [to(100)]})).await?;

    let status = shop.blocked("shift", "OutsideWindow", "none is open; the way is open").await?;
    let until = status.blocked_by.iter().find_map(|blocked| blocked.until.as_ref()).context("until when?")?;
    ensure!(until.0 == opens, "{} is not {opens}", until.0);
    shop.moved(&[0]).await?;

    let done = |phase: Option<&MigrationPhase>| {
        phase.and_then(|phase| phase.status.as_ref()).is_some_and(|s| s.state == Some(PhaseState::Completed))
    };
    let waits = await_condition(shop.all::<MigrationPhase>(), "shift", done);
    in_time(Duration::from_secs(70), waits).await.context("the window does not open")??;
    ensure!(Timestamp::now() >= opens, "traffic moved before {opens}");
    shop.moved(&[0, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_between_two_steps_holds_the_second_and_not_the_way_back() -> Result<()> {
    let shop = Shop::open().await?;
    shop.phase("shift", &json!({"steps": [approved(to(50)), to(100)]})).await?;
    shop.asks("shift", "to-50").await?;
    let day = |days: i64| {
        let at = Timestamp::now() + SignedDuration::from_hours(24 * days);
        at.strftime("%Y-%m-%d").to_string()
    };
    let freeze = json!({"from": day(-1), "to": day(1), "timeZone": "Europe/Berlin"});
    shop.edit::<MigrationPhase>("shift", json!({"spec": {"gates": {"freezes": [freeze]}}})).await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.blocked("shift", "Freeze", "spec.gates.freezes[0]: nothing moves from").await?;
    shop.accepted("ana", "shift", json!({"action": "Rollback"})).await?;
    shop.state("shift", PhaseState::RolledBack).await?;
    shop.moved(&[0, 50, 0]).await
}

/// An environment whose new component is run from an image, and whose database's version is in the ConfigMap `db-schema`.
async fn environment(shop: &Shop, image: &str) -> Result<()> {
    let api = json!({"name": "api", "system": "New", "source": {"workload": {
        "image": image, "replicas": 1, "ports": [{"name": "http", "containerPort": 8080}],
    }}});
    let schema = json!({"from": {"configMap": {"name": "db-schema", "key": "version"}}});
    let spec = json!({"tier": "Staging", "components": [api], "shared": {"database": {"schema": schema}}});
    shop.apply(&installed::object("Environment", "production", &spec)).await
}

async fn migrated(shop: &Shop, version: &str) -> Result<()> {
    let labels = json!({"cutover.dev/schema-version": "true"});
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db-schema", "labels": labels}, "data": {"version": version},
    });
    shop.apply(&map).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_moves_only_with_a_version_of_the_schema_that_the_phase_works_with() -> Result<()> {
    let shop = Shop::open().await?;
    environment(&shop, "registry.example.com/api:1").await?;
    let gates = json!({"schema": {"min": 42, "max": 45}});
    let spec = json!({"environment": "production", "gates": gates, "steps": [approved(to(50)), to(100)]});
    shop.phase("shift", &spec).await?;
    let closed = "SchemaOutOfRange";
    shop.blocked("shift", closed, "there is no ConfigMap db-schema with the label").await?;
    migrated(&shop, "forty-two").await?;
    shop.blocked("shift", closed, "is no whole number").await?;
    migrated(&shop, "41").await?;
    shop.blocked("shift", closed, "the schema has version 41 and the phase works with 42 to 45").await?;
    shop.moved(&[0]).await?;

    migrated(&shop, "42").await?;
    shop.asks("shift", "to-50").await?;
    migrated(&shop, "46").await?;
    shop.blocked("shift", closed, "the schema has version 46").await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.blocked("shift", closed, "the schema has version 46").await?;
    shop.moved(&[0, 50]).await?;
    migrated(&shop, "45").await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_is_promoted_from_one_of_another_namespace_that_allows_it() -> Result<()> {
    let (staging, shop) = (Shop::open().await?, Shop::open().await?);
    environment(&staging, "registry.example.com/api:2").await?;
    environment(&shop, "registry.example.com/api:1").await?;
    staging.phase("rehearse", &json!({"environment": "production", "steps": [approved(to(100))]})).await?;
    let from = json!({"promotedFrom": {"namespace": staging.namespace, "phase": "rehearse", "within": "1h"}});
    shop.phase("shift", &json!({"environment": "production", "gates": from, "steps": [to(100)]})).await?;
    let unseen = format!("list {} in its spec.visibleTo", shop.namespace);
    shop.blocked("shift", "ReferenceNotFound", &unseen).await?;

    staging.edit::<MigrationPhase>("rehearse", json!({"spec": {"visibleTo": [shop.namespace]}})).await?;
    shop.blocked("shift", "NotPromoted", "it has to be Completed first").await?;
    staging.asks("rehearse", "to-100").await?;
    staging.accepted("ana", "rehearse", json!({"action": "Approve", "step": "to-100"})).await?;
    staging.state("rehearse", PhaseState::Completed).await?;
    let other = "component api has registry.example.com/api:1 here and had registry.example.com/api:2";
    shop.blocked("shift", "NotPromoted", other).await?;
    shop.moved(&[0]).await?;

    environment(&shop, "registry.example.com/api:2").await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_waits_until_its_checklist_is_attested() -> Result<()> {
    let shop = Shop::open().await?;
    environment(&shop, "api:1").await?;
    let spec = json!({
        "environment": "production", "gates": {"checklist": ["LoadTestPassed", "TeamTrained"]},
        "steps": [approved(to(50)), to(100)],
    });
    shop.phase("shift", &spec).await?;
    let closed = "ChecklistIncomplete";
    shop.blocked("shift", closed, "nobody has attested LoadTestPassed, TeamTrained: add it to spec.attestations")
        .await?;
    shop.moved(&[0]).await?;
    let given = |items: &[&str]| {
        let given = items.iter().map(|item| json!({"item": item, "by": "ana", "reference": "ticket 4711"}));
        json!({"spec": {"attestations": given.collect::<Vec<_>>()}})
    };
    shop.edit::<Environment>("production", given(&["LoadTestPassed", "TeamTrained"])).await?;
    shop.asks("shift", "to-50").await?;
    let environment = shop.all::<Environment>().get("production").await?;
    let standing = environment.status.map(|status| status.checklist).unwrap_or_default();
    let attested = standing.iter().filter(|item| item.evidence.as_deref() == Some("ana: ticket 4711"));
    ensure!(standing.len() == 10 && attested.count() == 2, "{standing:#?}");

    // One is taken back: that is said while people think, what is in force stays, and the next step does not begin.
    shop.edit::<Environment>("production", given(&["TeamTrained"])).await?;
    shop.blocked("shift", closed, "nobody has attested LoadTestPassed: add").await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.blocked("shift", closed, "nobody has attested LoadTestPassed: add").await?;
    shop.moved(&[0, 50]).await?;
    shop.edit::<Environment>("production", given(&["TeamTrained", "LoadTestPassed"])).await?;
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

/// What the gate of the schema says while it is closed.
const CLOSED: &str = "SchemaOutOfRange";

/// A phase of two steps that waits for the schema, of which this source says that it has version 41.
async fn too_old(shop: &Shop, mut from: Value) -> Result<()> {
    environment(shop, "api:1").await?;
    from["configMap"] = Value::Null;
    let spec = json!({"shared": {"database": {"schema": {"from": from}}}});
    shop.edit::<Environment>("production", json!({"spec": spec})).await?;
    let gates = json!({"schema": {"min": 42, "max": 45}});
    shop.phase("shift", &json!({"environment": "production", "gates": gates, "steps": [approved(to(50)), to(100)]}))
        .await?;
    shop.blocked("shift", CLOSED, "the schema has version 41 and the phase works with 42 to 45").await?;
    shop.moved(&[0]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_the_version_of_the_schema() -> Result<()> {
    let shop = Shop::open().await?;
    let server = Server::start(StatusCode::OK, &json!({"database": {"version": 41}})).await?;
    too_old(&shop, json!({"http": {"url": server.url(), "pointer": "/database/version", "interval": "1s"}})).await?;
    server.says(StatusCode::OK, &json!({"database": {"version": 43}}));
    shop.asks("shift", "to-50").await?;

    // Without an answer nothing goes on.
    server.says(StatusCode::INTERNAL_SERVER_ERROR, &json!({}));
    shop.blocked("shift", CLOSED, "answers 500").await?;
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    shop.blocked("shift", CLOSED, "answers 500").await?;
    shop.moved(&[0, 50]).await?;
    server.says(StatusCode::OK, &json!({"database": {"version": 44}}));
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_prints_the_version_of_the_schema() -> Result<()> {
    let shop = Shop::open().await?;
    let asked = shop.bed.node.component(&shop.namespace, "ask");
    let prints = |text: &str| _ = asked.update(|script| script.log = text.to_owned());
    prints("connecting to the database\n41\n\n");
    let containers = json!([{"name": "ask", "image": "psql:17"}, {"name": "other", "image": "proxy:1"}]);
    let template = json!({"metadata": {"labels": {"app": "ask"}}, "spec": {"containers": containers}});
    too_old(&shop, json!({"job": {"spec": {"template": template}, "interval": "1s"}})).await?;
    prints("43");
    shop.asks("shift", "to-50").await?;

    // What is no version holds, and leads nowhere back.
    prints("no route to postgres://app:hunter2@db/shop");
    let status = shop.blocked("shift", CLOSED, "has printed is no whole number").await?;
    let told: String = status.blocked_by.iter().map(|blocker| blocker.message.as_str()).collect();
    ensure!(told.contains("postgres://***@db/shop") && !told.contains("hunter2"), "{told}");
    shop.accepted("ana", "shift", json!({"action": "Approve", "step": "to-50"})).await?;
    prints("");
    shop.blocked("shift", CLOSED, "has printed nothing").await?;
    asked.exit_code(3);
    shop.blocked("shift", CLOSED, "failed with exit code 3").await?;
    // That one of them has printed it does not count.
    prints("44");
    shop.blocked("shift", CLOSED, "it said: 44").await?;
    shop.moved(&[0, 50]).await?;
    asked.exit_code(0);
    shop.state("shift", PhaseState::Completed).await?;
    shop.moved(&[0, 50, 100]).await
}
