//! Nobody has an API server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::migration_phase::{PhaseState, Stage};
use cutover_testkit::eventually;

use super::{
    bed::{PATIENCE, Shop},
    traffic::{TOLERANCE, Traffic},
};
use crate::routers::Router;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_without_an_api_server_for_half_a_minute_no_weight_changes() -> Result<()> {
    let shop = Shop::open("outage-under-load").await?;
    let _replicas = [shop.replica(0).await?, shop.replica(1).await?];
    shop.way(0, &Router::ALL).await?;
    let traffic = Traffic::start(&shop, 60, [(0, &Router::ALL[..])])?;
    traffic.may_move(0)?;
    shop.phase(0, &[10, 30, 50, 80, 100], "soak: 1s").await?;
    eventually("it is on its way to 50", PATIENCE, || async {
        let step = shop.status(0).await?.step.context("no step")?;
        ensure!(step.name == "to-50" && step.stage == Stage::Shifting, "{step:?}");
        Ok(())
    })
    .await?;
    shop.plane.stop_apiserver()?;
    let stopped = Instant::now();
    // What was written before may still be on its way in the proxy.
    let long = Duration::from_secs(6);
    tokio::time::sleep_until((stopped + Duration::from_secs(30)).into()).await;
    for router in Router::ALL {
        let share = |from| {
            let from = stopped + Duration::from_secs(from);
            let share = traffic.window(0, router, from).until(from + long).share_new();
            Ok(share.context("nothing was answered")? * 100.0)
        };
        let shares = [10, 16, 22].map(share).into_iter().collect::<Result<Vec<f64>>>()?;
        println!("new side's share on {router:?} while the API server is away: {shares:.1?} %");
        let held = |weight: f64| shares.iter().all(|share| (share - weight).abs() <= TOLERANCE);
        ensure!(held(30.0) || held(50.0), "it moved on {router:?}: {shares:?}");
    }
    shop.plane.start_apiserver().await?;
    let back = Instant::now();
    eventually("the phase is completed", PATIENCE, || async {
        let status = shop.status(0).await?;
        ensure!(status.state == Some(PhaseState::Completed), "{:?} {:?}", status.state, status.blocked_by);
        Ok(())
    })
    .await?;
    println!("completed {:.1?} after the API server was back", back.elapsed());
    let (phase, split) = (shop.status(0).await?, shop.split(0).await?);
    ensure!(split.applied_weight == Some(100) && phase.attempt == Some(1) && phase.failure.is_none(), "{phase:#?}");
    // The proxy had no API server either, and asks for it again at intervals of its own.
    traffic.come_to([0], 100).await?;
    println!("{}", traffic.stop(1_500).await?);
    Ok(())
}
