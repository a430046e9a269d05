//! Prometheus scrapes what the bed serves.

use std::time::Duration;

use anyhow::{Result, ensure};
use cutover_testkit::{Bed, eventually};

#[tokio::test]
async fn traefik_is_scraped_every_second() -> Result<()> {
    let prometheus = Bed::prometheus().await?;
    eventually("ten scrapes in ten seconds", Duration::from_secs(30), || async {
        let samples = prometheus.query("count_over_time(up{job=\"traefik\"}[10s])").await?;
        ensure!(samples.len() == 1 && samples[0].value >= 9.0, "{samples:?}");
        Ok(())
    })
    .await?;
    let wrong = prometheus.query("rate(").await.expect_err("no expression");
    assert!(wrong.to_string().contains("parse error"), "{wrong}");
    assert_eq!(prometheus.query("no_such_metric").await?, []);
    assert!((prometheus.query("1 + 1").await?[0].value - 2.0).abs() < f64::EPSILON);
    Ok(())
}
