//! The demo's story as a test: `make demo` shows the same, at a higher rate.
//!
//! It measures shares and counts losses of a proxy under load, so `cargo xtask test` runs it alone, after the others.

use anyhow::{Result, ensure};
use cutover_testkit::scenario::{self, Event, Options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_the_shop_migrates_under_load_and_loses_nothing() -> Result<()> {
    let tell = |event: Event| println!("{event:?}");
    let (_cluster, outcome) = scenario::run(&Options::quiet(), &tell).await?;
    println!("{outcome}");
    let problems = outcome.problems();
    ensure!(problems.is_empty(), "{}\n{outcome}\n{}", problems.join("\n"), outcome.report);
    Ok(())
}
