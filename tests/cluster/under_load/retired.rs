//! Legacy goes for good.

use std::time::Instant;

use anyhow::{Result, ensure};
use cutover_testkit::eventually;

use super::{
    bed::{PATIENCE, Shop},
    traffic::Traffic,
};
use crate::{
    migration_phase::prometheus::{Answer, Prometheus},
    routers::Router,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_legacy_is_retired_on_every_router_and_can_be_switched_off() -> Result<()> {
    let shop = Shop::open("retired-under-load").await?;
    let prometheus = Prometheus::start().await?;
    prometheus.says(&shop.namespace, &[Answer::Value(0.0)]);
    let _replica = shop.replica_with(0, Some(format!("--prometheus=scripted={}", prometheus.url()))).await?;
    shop.apply(
        "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Production
  components: [{name: api, system: New, source: {service: {name: new, port: 80}}}]
  monitoring: {prometheus: scripted}
",
    )
    .await?;
    shop.way(0, &Router::ALL).await?;
    let traffic = Traffic::start(&shop, 150, [(0, &Router::ALL[..])])?;
    traffic.may_move(0)?;
    shop.apply(
        "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: move-0}
spec:
  environment: production
  defaultChecks: false
  steps:
  - {name: half, traffic: [{split: way-0, newWeight: 50}], soak: 1s}
  - {name: all, traffic: [{split: way-0, newWeight: 100}]}
  finish:
    retireLegacy:
      after: 3s
      requests: sum(increase(requests{namespace=\"$namespace\",system=\"$system\"}[$window]))
      window: 4s
      interval: 1s
",
    )
    .await?;
    eventually("legacy is quiet", PATIENCE, || async {
        let status = shop.status(0).await?;
        ensure!(status.blocked_by.iter().any(|hold| hold.reason == "AwaitingRetirement"), "{:?}", status.blocked_by);
        Ok(())
    })
    .await?;
    traffic.come_to([0], 100).await?;
    shop.ask(0, "Promote", None).await?;
    eventually("legacy is retired", PATIENCE, || async {
        let status = shop.split(0).await?;
        let ready = status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        ensure!(status.legacy_retired.is_some() && ready, "{status:#?}");
        Ok(())
    })
    .await?;
    let at = Instant::now();
    let [legacy, _] = shop.sides;
    legacy.stop().await;
    for router in Router::ALL {
        traffic.window(0, router, at).wait_for(1_000).await?;
    }
    println!("{}", traffic.stop(1_000).await?);
    Ok(())
}
