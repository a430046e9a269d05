//! What is asked over the network: sides, whether they are there, and the way in, who serves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use cutover_api::v1alpha1::{
    MigrationPhase, TrafficSplitStatus,
    migration_phase::PhaseState,
    traffic_split::{ProbeState, Side},
};
use cutover_testkit::eventually;
use kube::Api;
use serde_json::json;
use tokio::net::TcpListener;

use super::bed::{Shop, condition};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_does_not_answer_is_dead_whatever_its_endpoints_say() -> Result<()> {
    let shop = Shop::open().await?;
    let old = shop.address("old");
    let door = TcpListener::bind((old, 9090)).await?;
    shop.managed("storefront", 40).await?;
    let probe = |host: &str| json!({"tcp": {"host": host, "port": 9090}, "interval": "1s"});
    let safety = json!({"legacy": {"probe": probe(&old.to_string())}});
    shop.edit("storefront", json!({"spec": {"failover": "Automatic", "safety": safety}})).await?;
    let said = |status: &TrafficSplitStatus| status.probes.clone().and_then(|probes| probes.legacy);
    let is_up = |status: &TrafficSplitStatus| said(status).is_some_and(|it| it.state == ProbeState::Succeeding);
    let status = shop.until("storefront", "is answered", is_up).await?;
    let probes = status.probes.context("nothing is said of probes")?;
    ensure!(probes.new.is_none() && probes.legacy.is_some_and(|it| it.last_failure.is_none()));
    let status = shop.carries("storefront", 40).await?;
    let legacy = status.endpoints.and_then(|endpoints| endpoints.legacy).context("not counted")?;
    ensure!(legacy.ready == 1, "{legacy:?}");

    drop(door);
    let status = shop.carries("storefront", 100).await?;
    let down = said(&status).context("nothing is said of the probe")?;
    let legacy = status.endpoints.and_then(|endpoints| endpoints.legacy).context("not counted")?;
    ensure!(legacy.ready == 0 && status.failed_over.is_some_and(|over| over.from == Side::Legacy), "{legacy:?}");
    let why = down.last_failure.as_deref().unwrap_or_default();
    ensure!(down.state == ProbeState::Failing && why.contains("refused"), "{down:?}");
    let door = TcpListener::bind((old, 9090)).await?;
    let status = shop.until("storefront", "is answered again", is_up).await?;
    ensure!(said(&status).is_some_and(|it| it.last_failure == down.last_failure), "{status:#?}");
    eventually("probes that change nothing are written down nowhere", LONG, || async {
        let before = shop.splits().get("storefront").await?.metadata.resource_version;
        for _ in 0..5 {
            door.accept().await?;
        }
        let after = shop.splits().get("storefront").await?.metadata.resource_version;
        ensure!(before == after, "{before:?} became {after:?}");
        Ok(())
    })
    .await?;

    // What the operator may not ask says nothing.
    let safety = json!({"legacy": {"probe": probe("203.0.113.1")}});
    shop.edit("storefront", json!({"spec": {"safety": safety}})).await?;
    let status = shop
        .until("storefront", "says that it may not ask", |status| {
            condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "ProbeBlind")
        })
        .await?;
    let (.., message) = condition(&status, "Stalled").unwrap_or_default();
    let blind = said(&status).context("nothing is said of the probe")?;
    ensure!(blind.state == ProbeState::Blind && blind.last_failure != down.last_failure, "{blind:?}");
    ensure!(message.starts_with("spec.safety.legacy.probe: ") && message.contains("--outbound-networks"), "{message}");
    ensure!(status.applied_weight == Some(100), "{status:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_until_its_weight_is_seen_on_the_wire() -> Result<()> {
    let shop = Shop::open().await?;
    let (entry, host) = (shop.bed.entry.gateway, shop.host.clone());
    // A way to the proxy under an address, which at times leads to legacy alone.
    let lies = Arc::new(AtomicBool::new(false));
    let lying = Arc::clone(&lies);
    let forward = move || {
        let (host, lies) = (host.clone(), Arc::clone(&lying));
        async move {
            let answer = cutover_testkit::http::get(entry, &host, "/").await.ok();
            let by = answer.and_then(|answer| answer.headers().get("x-served-by").cloned());
            let by = if lies.load(Ordering::Relaxed) { Some(HeaderValue::from_static("old")) } else { by };
            HeaderMap::from_iter(by.map(|by| (HeaderName::from_static("x-served-by"), by)))
        }
    };
    let listener = TcpListener::bind((shop.address("new"), 9091)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward)).await });
    shop.managed("storefront", 30).await?;
    let http = json!({"url": url, "header": "x-served-by", "newValue": "new", "legacyValue": "old"});
    shop.edit("storefront", json!({"spec": {"verify": {"http": http}}})).await?;
    let status = shop
        .until("storefront", "is seen on the wire", |status| {
            status.verified_weight.as_ref().is_some_and(|seen| seen.confirmed)
        })
        .await?;
    let seen = status.verified_weight.context("nothing was seen")?;
    ensure!((seen.applied_weight, seen.samples) == (30, 200), "{seen:?}");
    ensure!(seen.low <= Some(30) && seen.high >= Some(30), "{seen:?}");

    lies.store(true, Ordering::Relaxed);
    shop.apply(
        &json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "MigrationPhase", "metadata": {"name": "shift"},
            "spec": {"steps": [{"name": "most", "traffic": [{"split": "storefront", "newWeight": 80}], "verified": true}]},
        })
        .to_string(),
    )
    .await?;
    let phases: Api<MigrationPhase> = Api::namespaced(shop.client.clone(), &shop.namespace);
    eventually("the phase says that nothing is seen of it", LONG, || async {
        let status = phases.get("shift").await?.status.context("no status")?;
        let why = status.blocked_by.iter().find(|it| it.message.contains("is not seen on the wire"));
        ensure!(why.is_some_and(|why| why.message.contains("of 200 answers the new side gave 0")), "{status:#?}");
        Ok(())
    })
    .await?;
    lies.store(false, Ordering::Relaxed);
    eventually("the phase completes", LONG, || async {
        let status = phases.get("shift").await?.status.context("no status")?;
        ensure!(status.state == Some(PhaseState::Completed), "{status:#?}");
        Ok(())
    })
    .await?;
    server.abort();
    Ok(())
}
