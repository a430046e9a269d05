//! How weights move on real routes: in the steps of a ramp, and by themselves when a side dies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_testkit::{eventually, in_time};
use futures::StreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::json;

use super::bed::{Shop, condition};
use crate::routers::Router;

const LONG: Duration = Duration::from_secs(60);

impl Shop {
    /// Every weight in force with its instant, until `last`.
    async fn applied_until(&self, last: i32) -> Result<Vec<(i64, i32)>> {
        let mut events = std::pin::pin!(watcher(self.splits(), Config::default()));
        let mut seen: Vec<(i64, i32)> = Vec::new();
        while seen.last().is_none_or(|(_, weight)| *weight != last) {
            let event = in_time(LONG, events.next()).await.with_context(|| format!("only {seen:?}"))?;
            let (Event::Apply(split) | Event::InitApply(split)) = event.context("the watch ended")?? else { continue };
            let Some(status) = split.status else { continue };
            let Some((weight, at)) = status.applied_weight.zip(status.last_transition_time) else { continue };
            if seen.last().is_none_or(|(_, before)| *before != weight) {
                seen.push((at.0.as_second(), weight));
            }
        }
        Ok(seen)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_is_walked_there_and_back() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed_on(&Router::ALL, "storefront", 0).await?;
    shop.carries("storefront", 0).await?;
    shop.edit("storefront", json!({"spec": {"ramp": {"maxStep": 40, "interval": "3s"}}})).await?;
    for (to, way) in [(100, [0, 40, 80, 100]), (0, [100, 60, 20, 0])] {
        let (seen, ()) = tokio::try_join!(shop.applied_until(to), shop.set_weight("storefront", to))?;
        let weights: Vec<i32> = seen.iter().map(|(_, weight)| *weight).collect();
        ensure!(weights == way, "{seen:?}");
        // From step to step; how long it was at rest before is no matter.
        let pauses: Vec<i64> = seen.windows(2).skip(1).map(|pair| pair[1].0 - pair[0].0).collect();
        ensure!(pauses.iter().all(|pause| *pause >= 3), "{seen:?}");
        shop.carries("storefront", to).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_dies_without_a_phase_gives_its_share_to_the_other() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed_on(&Router::ALL, "storefront", 40).await?;
    shop.edit("storefront", json!({"spec": {"failover": "Automatic"}})).await?;
    shop.carries("storefront", 40).await?;
    shop.ready("new", false).await?;
    let status = shop.carries("storefront", 0).await?;
    let over = status.failed_over.context("it does not say why")?;
    ensure!(over.new_weight == 40, "{over:?}");
    let died = status.died.first().context("nobody died")?;
    let took = over.at.0.duration_since(died.since.0).as_secs();
    ensure!(took >= 5, "after {took} s: a moment is no death");
    ensure!(shop.canary_weight("storefront").await?.as_deref() == Some("0"), "the canary has weight");

    // It comes back, and nothing moves: that is for people to say.
    shop.ready("new", true).await?;
    let status = shop.until("storefront", "sees the endpoint", |status| status.died.is_empty()).await?;
    let ready = condition(&status, "Ready").map(|(is, reason, _)| (is, reason));
    ensure!(status.applied_weight == Some(0) && ready == Some(("True", "FailedOver")), "{status:#?}");
    shop.set_weight("storefront", 20).await?;
    let status = shop.carries("storefront", 20).await?;
    ensure!(status.failed_over.is_none(), "{status:#?}");

    // The other way round, whatever capacity is asked for.
    shop.edit("storefront", json!({"spec": {"safety": {"new": {"fullCapacityEndpoints": 5}}}})).await?;
    shop.carries("storefront", 20).await?;
    shop.ready("old", false).await?;
    shop.carries("storefront", 100).await?;
    eventually("the way in leads to the new side", LONG, || async {
        for router in Router::ALL {
            let answer = cutover_testkit::http::get(router.entry(&shop.bed.entry), &shop.host, "/").await?;
            let by = answer.headers().get("x-served-by").context("by nobody")?.clone();
            ensure!(by == "new", "{by:?}");
        }
        Ok(())
    })
    .await
}
