//! Requests of one reconcile, against a scripted API server: which, in which order, and that there are no others.

mod hooks;
mod killed;
mod world;

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use self::world::{PHASE, STATUS, World, action_path, action_status};
use super::*;
use crate::{
    args::PrometheusEndpoint,
    cluster::{
        lease::Skew,
        policies::Enforcement,
        scripted::{Exchange, Scripted},
    },
    controllers::scripted::object,
    outbound,
};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

/// One reconcile of the phase as `cached`, and the server's part in it. Nothing else is asked for.
async fn reconcile<T>(
    context: &Context,
    cached: &World,
    api: &mut Scripted,
    serve: impl AsyncFnOnce(&mut Scripted) -> T,
) -> (Result<Action, Error>, T) {
    let work = context.reconcile(cached.cached());
    tokio::pin!(work);
    let served = tokio::select! {
        biased;
        served = serve(&mut *api) => served,
        result = &mut work => panic!("it ended before what was expected: {result:?}"),
    };
    let result = tokio::select! {
        result = work => result,
        request = api.upcoming() => {
            let request = request.unwrap();
            panic!("unexpected: {} {}", request.method, request.path);
        }
    };
    (result, served)
}

/// One reconcile that asks for nothing.
async fn quiet(context: &Context, cached: &World, api: &mut Scripted) -> Result<Action, Error> {
    let work = context.reconcile(cached.cached());
    tokio::select! {
        result = work => result,
        request = api.upcoming() => {
            let request = request.unwrap();
            panic!("unexpected: {} {} {}", request.method, request.path, request.body);
        }
    }
}

/// Answers a write of the phase's status, and stores it.
async fn write_status(api: &mut Scripted, world: &mut World, version: &str) -> Value {
    let exchange = api.expect(Method::PATCH, STATUS).await;
    is_status_of(&exchange, world);
    let status = exchange.body["status"].clone();
    world.phase["status"] = status.clone();
    world.phase["metadata"]["resourceVersion"] = version.into();
    exchange.ok(&world.phase);
    status
}

fn is_status_of(exchange: &Exchange, world: &World) {
    assert_eq!(exchange.parameter("fieldManager").as_deref(), Some("cutover.dev/migration-phase"));
    assert_eq!(exchange.parameter("force").as_deref(), Some("true"));
    let version = &world.phase["metadata"]["resourceVersion"];
    assert_eq!(exchange.body["metadata"], json!({"name": "30-shift", "resourceVersion": version}));
}

/// Answers a write of an action's status, and returns it.
async fn settle(api: &mut Scripted, world: &World, name: &str) -> Value {
    let exchange = api.expect(Method::PATCH, &action_status(name)).await;
    assert_eq!(exchange.parameter("fieldManager").as_deref(), Some("cutover.dev/phase-action"));
    assert_eq!(exchange.body["metadata"], json!({"name": name, "uid": format!("uid-{name}")}));
    let status = exchange.body["status"].clone();
    exchange.ok(world.action(name));
    status
}

/// The audit log of what runs on this thread while it is held.
fn audit_log() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    crate::telemetry::listen_on_all_threads();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter("audit=info")
        .with_writer(move || Writer(Arc::clone(&written)))
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

fn text(lines: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(lines.lock().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn the_status_is_written_under_our_name_and_in_the_version_that_was_looked_at() {
    let mut world = World::with_approval();
    let (context, mut api, mut events) = world.start();
    let cached = world.clone();
    let (result, status) =
        reconcile(&context, &cached, &mut api, async |api| write_status(api, &mut world, "101").await).await;
    result.unwrap();
    assert_eq!(
        (&status["state"], &status["attempt"], &status["observedGeneration"]),
        (&json!("Running"), &json!(1), &json!(1))
    );
    let told = events.expect(Method::POST, EVENTS).await;
    assert_eq!(told.body["regarding"]["uid"], "p1");
}

#[tokio::test]
async fn a_status_that_is_refused_tells_nobody_anything() {
    let (lines, _guard) = audit_log();
    let mut world = World::soaking().settle().await;
    world.act("stop", "Abort");
    lines.lock().unwrap().clear();
    let (context, mut api, events) = world.start();
    let (result, ()) = reconcile(&context, &world, &mut api, async |api| {
        api.expect(Method::GET, &action_path("stop")).await.ok(world.action("stop"));
        let write = api.expect(Method::PATCH, STATUS).await;
        is_status_of(&write, &world);
        assert_eq!(write.body["status"]["state"], "Aborted");
        write.refuse(StatusCode::CONFLICT, "Conflict");
    })
    .await;
    assert!(result.unwrap_err().is_conflict());
    drop(context);
    events.no_more().await;
    // But for what was decided before, which a process that begins logs again.
    assert!(!text(&lines).contains("ticket 4711"), "{}", text(&lines));
}

#[tokio::test]
async fn an_action_is_settled_and_told_of_after_its_effect_is_written() {
    let (lines, _guard) = audit_log();
    let mut world = World::soaking().settle().await;
    world.act("stop", "Abort");
    lines.lock().unwrap().clear();
    let (context, mut api, mut events) = world.start();
    let cached = world.clone();
    let (result, settled) = reconcile(&context, &cached, &mut api, async |api| {
        api.expect(Method::GET, &action_path("stop")).await.ok(world.action("stop"));
        let status = write_status(api, &mut world, "201").await;
        assert_eq!((&status["state"], &status["appliedActions"]), (&json!("Aborted"), &json!(["uid-stop"])));
        settle(api, &world, "stop").await
    })
    .await;
    result.unwrap();
    assert_eq!((&settled["state"], &settled["attempt"]), (&json!("Accepted"), &json!(1)));
    let told = events.expect(Method::POST, EVENTS).await;
    assert_eq!((&told.body["action"], &told.body["reason"]), (&json!("Abort"), &json!("Aborted")));
    let audit = text(&lines);
    assert!(audit.contains("alice") && audit.contains("ticket 4711") && audit.contains("30-shift"), "{audit}");
}

#[tokio::test]
async fn a_record_is_logged_also_when_the_answer_to_its_write_was_lost() {
    let (lines, _guard) = audit_log();
    let mut world = World::soaking().settle().await;
    world.act("stop", "Abort");
    let (context, mut api, _events) = world.start();
    let cached = world.clone();
    let (result, ()) = reconcile(&context, &cached, &mut api, async |api| {
        api.expect(Method::GET, &action_path("stop")).await.ok(world.action("stop"));
        let write = api.expect(Method::PATCH, STATUS).await;
        world.phase["status"] = write.body["status"].clone();
        world.phase["metadata"]["resourceVersion"] = "201".into();
        write.refuse(StatusCode::GATEWAY_TIMEOUT, "Timeout");
    })
    .await;
    assert!(result.is_err());
    assert!(!text(&lines).contains("ticket 4711"), "{}", text(&lines));
    let later = world.clone();
    let (result, _) = reconcile(&context, &later, &mut api, async |api| {
        let first = api.expect(Method::GET, &action_path("stop")).await;
        // What was decided is in the log before anything else is done.
        assert_eq!(text(&lines).matches("ticket 4711").count(), 1);
        first.ok(world.action("stop"));
        api.expect(Method::GET, PHASE).await.ok(&world.phase);
        settle(api, &world, "stop").await
    })
    .await;
    result.unwrap();
    assert_eq!(text(&lines).matches("ticket 4711").count(), 1);
}

/// As somebody checks who has the log and the status, and nothing else.
#[tokio::test]
async fn the_audit_log_is_a_chain_that_ends_in_the_status() {
    const FIELDS: [&str; 13] = [
        "previous",
        "namespace",
        "phase",
        "uid",
        "generation",
        "attempt",
        "sequence",
        "at",
        "who",
        "what",
        "why",
        "before",
        "after",
    ];
    let (lines, _guard) = audit_log();
    let mut world = World::with_approval().settle().await;
    world.act("yes", "Approve")["spec"]["reason"] = "seen, \"all\" of it\n{\"who\":\"nobody\"}".into();
    let mut world = world.settle().await;
    world.act("back", "Rollback");
    let world = world.settle().await;
    assert_eq!(world.phase["status"]["state"], "RolledBack");

    // A process that begins logs the last decision again.
    let all: Vec<Value> = text(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut records: Vec<Value> = Vec::new();
    for record in all {
        if !records.iter().any(|known| known["hash"] == record["hash"]) {
            records.push(record);
        }
    }
    let mut previous = String::new();
    for (record, sequence) in records.iter().zip(1..) {
        assert_eq!((&record["target"], &record["previous"]), (&json!("audit"), &json!(previous)));
        assert_eq!(record["sequence"], sequence);
        let content = Value::from(FIELDS.map(|field| record[field].clone()).to_vec()).to_string();
        previous = format!("{:x}", Sha256::digest(&content));
        assert_eq!(record["hash"], previous, "{content}");
    }
    let end = &world.phase["status"]["audit"];
    assert_eq!((&end["sequence"], &end["hash"]), (&json!(records.len()), &json!(previous)));
    let decisions: Vec<_> = records.iter().filter(|record| record["who"] == "alice").collect();
    let what: Vec<_> = decisions.iter().map(|record| record["what"].as_str().unwrap()).collect();
    assert!(what.contains(&"Approve") && what.contains(&"Rollback"), "{what:?}");
    assert_eq!(decisions[0]["why"], "seen, \"all\" of it\\n{\"who\":\"nobody\"}");
    assert_ne!(decisions[0]["before"], records.last().unwrap()["after"]);
}

#[tokio::test]
async fn a_cache_that_lags_behind_our_own_write_makes_no_second_one() {
    let mut world = World::with_approval();
    let (context, mut api, _events) = world.start();
    let before = world.clone();
    let (result, _) =
        reconcile(&context, &before, &mut api, async |api| write_status(api, &mut world, "101").await).await;
    result.unwrap();
    quiet(&context, &before, &mut api).await.unwrap();
    quiet(&context, &world, &mut api).await.unwrap();
}

#[tokio::test]
async fn at_rest_nothing_is_asked() {
    let mut waiting = World::with_approval().settle().await;
    assert_eq!(*waiting.stage(), "AwaitingApproval");
    let (context, mut api, _events) = waiting.start();
    assert_eq!(quiet(&context, &waiting, &mut api).await.unwrap(), Action::await_change());

    waiting.act("yes", "Approve");
    let completed = waiting.settle().await;
    assert_eq!(completed.phase["status"]["state"], "Completed");
    let (context, mut api, _events) = completed.start();
    assert_eq!(quiet(&context, &completed, &mut api).await.unwrap(), Action::await_change());
}

#[tokio::test]
async fn a_check_that_is_not_answered_delays_nothing() {
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let http = outbound::http_client(Duration::from_secs(60), None).unwrap();
    let mut world = World::soaking();
    world.servers = outbound::prometheus::servers(&http, &[PrometheusEndpoint { name: "default".to_owned(), url }]);
    world.phase["spec"]["environment"] = "production".into();
    world.phase["spec"]["checks"] = json!([{"name": "errors", "prometheus": {"query": "vector(0)"}, "max": "1"}]);
    let world = world.settle().await;
    assert_eq!(*world.stage(), "Soaking");

    let (mut context, mut api, _events) = world.start();
    quiet(&context, &world, &mut api).await.unwrap();
    let (_asked, _) = tokio::time::timeout(Duration::from_secs(10), silent.accept()).await.unwrap().unwrap();
    let mut acted = world.clone();
    acted.act("back", "Rollback");
    context.sources.kinds = acted.shown().kinds();
    let back = reconcile(&context, &world, &mut api, async |api| {
        api.expect(Method::GET, &action_path("back")).await.ok(acted.action("back"));
        let status = write_status(api, &mut acted, "201").await;
        settle(api, &acted, "back").await;
        status
    });
    let (result, status) = tokio::time::timeout(Duration::from_secs(5), back).await.unwrap();
    result.unwrap();
    assert_eq!(status["state"], "RollingBack");
}

#[tokio::test]
async fn where_nobody_proves_who_asked_an_approval_is_rejected() {
    let mut world = World::with_approval().settle().await;
    world.act("yes", "Approve");
    world.enforcement = Enforcement::Absent;
    let (context, mut api, _events) = world.start();
    let cached = world.clone();
    let (result, settled) = reconcile(&context, &cached, &mut api, async |api| {
        api.expect(Method::GET, &action_path("yes")).await.ok(world.action("yes"));
        let status = write_status(api, &mut world, "201").await;
        assert_eq!(status["audit"]["records"][0]["what"], "TurnDown");
        settle(api, &world, "yes").await
    })
    .await;
    result.unwrap();
    assert_eq!((&settled["state"], &settled["reason"]), (&json!("Rejected"), &json!("PoliciesNotEnforced")));
}

/// As whenever a process begins: an approval that was made while nobody led is not turned down for that.
#[tokio::test]
async fn until_it_is_known_whether_anybody_proves_who_asked_an_approval_waits() {
    let mut world = World::with_approval().settle().await;
    world.act("yes", "Approve");
    world.enforcement = Enforcement::Unknown;
    let (context, mut api, _events) = world.start();
    quiet(&context, &world, &mut api).await.unwrap();
    world.enforcement = Enforcement::Enforced;
    let world = world.settle().await;
    assert_eq!(world.phase["status"]["state"], "Completed");
}

/// A phase that was rolled back and retried, as a cache shows it that has not seen the retry, and as it is.
async fn retried() -> (World, World) {
    let mut stale = World::soaking().settle().await;
    stale.act("back", "Rollback");
    let stale = stale.settle().await;
    assert_eq!(stale.phase["status"]["state"], "RolledBack");
    let mut present = stale.clone();
    present.act("again", "Retry");
    let mut present = present.settle().await;
    assert_eq!(present.phase["status"]["attempt"], 2);
    present.act("stop", "Abort");
    (stale, present)
}

#[tokio::test]
async fn an_old_copy_of_the_phase_turns_down_no_action_on_the_next_attempt() {
    let (mut stale, present) = retried().await;
    stale.actions.clone_from(&present.actions);
    let (context, mut api, events) = stale.start();
    let (result, ()) = reconcile(&context, &stale, &mut api, async |api| {
        api.expect(Method::GET, &action_path("stop")).await.ok(present.action("stop"));
        let write = api.expect(Method::PATCH, STATUS).await;
        is_status_of(&write, &stale);
        write.refuse(StatusCode::CONFLICT, "Conflict");
    })
    .await;
    assert!(result.unwrap_err().is_conflict());
    drop(context);
    events.no_more().await;
}

#[tokio::test]
async fn our_own_retry_is_known_before_the_cache_shows_it() {
    let (stale, present) = retried().await;
    let (mut context, mut api, _events) = stale.start();
    context.newest.put(object(&present.phase));
    context.sources.kinds = present.shown().kinds();
    let mut world = present.clone();
    let (result, settled) = reconcile(&context, &stale, &mut api, async |api| {
        api.expect(Method::GET, &action_path("stop")).await.ok(present.action("stop"));
        let status = write_status(api, &mut world, "999").await;
        assert_eq!((&status["state"], &status["attempt"]), (&json!("Aborted"), &json!(2)));
        settle(api, &world, "stop").await
    })
    .await;
    result.unwrap();
    assert_eq!(settled["state"], "Accepted");
}

#[tokio::test]
async fn what_was_turned_down_once_is_not_carried_out_later() {
    let mut world = World::soaking().settle().await;
    world.act("early", "Approve");
    let (mut context, mut api, _events) = world.start();
    let cached = world.clone();
    let (result, settled) = reconcile(&context, &cached, &mut api, async |api| {
        api.expect(Method::GET, &action_path("early")).await.ok(world.action("early"));
        write_status(api, &mut world, "201").await;
        settle(api, &world, "early").await
    })
    .await;
    result.unwrap();
    assert_eq!((&settled["state"], &settled["reason"]), (&json!("Rejected"), &json!("NotApplicable")));

    // The approval would count now, and the cache still shows the action as open.
    let mut later = World::with_approval().settle().await;
    later.actions.clone_from(&world.actions);
    context.sources.kinds = later.shown().kinds();
    quiet(&context, &later, &mut api).await.unwrap();

    // Nor is it by a process that has just started, whose cache is as old.
    let (context, mut api, _events) = later.start();
    let mut rejected = later.action("early").clone();
    rejected["status"] = settled;
    let (result, ()) = reconcile(&context, &later, &mut api, async |api| {
        api.expect(Method::GET, &action_path("early")).await.ok(&rejected);
    })
    .await;
    result.unwrap();
}

#[tokio::test]
async fn an_action_that_is_withdrawn_in_time_is_not_carried_out() {
    let mut world = World::soaking().settle().await;
    world.act("stop", "Abort");
    let (context, mut api, _events) = world.start();
    let (result, ()) = reconcile(&context, &world, &mut api, async |api| {
        api.expect(Method::GET, &action_path("stop")).await.refuse(StatusCode::NOT_FOUND, "NotFound");
    })
    .await;
    result.unwrap();
}

#[tokio::test]
async fn a_rollback_after_a_lost_status_goes_back_to_what_the_route_remembers() {
    let mut world = World::soaking().settle().await;
    assert_eq!(world.split["status"]["appliedWeight"], 100);
    world.phase.as_object_mut().unwrap().remove("status");
    let route = |phase: &str| {
        json!({
            "metadata": {
                "name": "storefront", "namespace": "shop", "uid": "r1", "resourceVersion": "1",
                "labels": {"cutover.dev/owner-uid": "s1"},
                "annotations": {"cutover.dev/baseline": format!(r#"{{"phaseUid":"{phase}","newWeight":5}}"#)},
            },
            "spec": {"rules": []},
        })
    };

    let mut another = world.clone();
    another.http_route = Some(route("p0"));
    let another = another.settle().await;
    assert_eq!(another.phase["status"]["baseline"], json!(null), "what another phase would go back to is not ours");
    assert_eq!(another.phase["status"]["blockedBy"][0]["reason"], "StatusLost", "the split is still held by it");

    world.http_route = Some(route("p1"));
    let mut world = world.settle().await;
    assert_eq!((&world.phase["status"]["attempt"], &world.split["status"]["appliedWeight"]), (&json!(2), &json!(100)));
    world.act("back", "Rollback");
    let world = world.settle().await;
    assert_eq!(
        (&world.phase["status"]["state"], &world.split["status"]["appliedWeight"]),
        (&json!("RolledBack"), &json!(5))
    );
}

#[tokio::test]
async fn phases_are_looked_at_when_the_clock_ceases_or_begins_to_be_trusted() {
    let world = World::soaking();
    let (mut context, _api, _events) = world.start();
    let off_by = |seconds: i64| Skew {
        offset: SignedDuration::from_secs(seconds),
        uncertainty: Duration::ZERO,
        at: Timestamp::now(),
    };
    let (measured, skew) = watch::channel(Some(off_by(1)));
    (context.sources.skew, context.sources.clock_is_compared) = (skew, true);
    let mut looked_at = triggers::clocks(&context.sources);
    for (seconds, told) in [(2, false), (60, true), (3_600, false), (-1, true)] {
        measured.send_replace(Some(off_by(seconds)));
        let phase = looked_at.next().now_or_never().flatten().map(|phase| phase.name);
        assert_eq!(phase.as_deref(), told.then_some("30-shift"), "off by {seconds} s");
    }
}
