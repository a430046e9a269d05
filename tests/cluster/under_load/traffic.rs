//! Load on ways: a stream for each router of each, with the side that must answer it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually,
    load::{Expect, LoadGenerator, LoadOptions, Report, Stream, Window},
};
use futures::future::try_join_all;

use super::bed::{PATIENCE, Shop};
use crate::routers::Router;

/// Requests that a share is told by. A proxy deals them out in turn, so that few tell.
const SAMPLE: u64 = 100;
/// Points by which a share may differ from what is asked for. Nothing and everything are exact.
pub(super) const TOLERANCE: f64 = 3.0;

/// A running load. Legacy must answer all of it, until a way may move.
pub(super) struct Traffic {
    load: LoadGenerator,
    streams: Vec<(usize, Router)>,
}

fn name(way: usize, router: Router) -> String {
    format!("way-{way}-{}", router.name())
}

impl Traffic {
    /// On each router of these ways, this many requests a second.
    pub(super) fn start<'a>(
        shop: &Shop,
        rate: u32,
        ways: impl IntoIterator<Item = (usize, &'a [Router])>,
    ) -> Result<Self> {
        let streams: Vec<_> =
            ways.into_iter().flat_map(|(way, routers)| routers.iter().map(move |router| (way, *router))).collect();
        let stream = |(way, router): &(usize, Router)| {
            let entry = router.entry(&shop.entries());
            let stream = Stream::new(name(*way, *router), entry, shop.host(*way)).router(router.name());
            stream.rate(rate).expect(Expect::Legacy)
        };
        let load = LoadGenerator::start(LoadOptions::default(), streams.iter().map(stream))?;
        Ok(Self { load, streams })
    }

    fn of(&self, way: usize) -> impl Iterator<Item = Router> {
        self.streams.iter().filter(move |(of, _)| *of == way).map(|(_, router)| *router)
    }

    /// From now on either side may answer on this way.
    pub(super) fn may_move(&self, way: usize) -> Result<()> {
        self.of(way).try_for_each(|router| self.load.expect(&name(way, router), Expect::Either, Duration::ZERO))
    }

    /// Requests of a way on one router, started after an instant.
    pub(super) fn window(&self, way: usize, router: Router, from: Instant) -> Window {
        self.load.window_from(from).streams([name(way, router)])
    }

    /// Waits until each router of the ways gives the new side this share. A side that has nothing then must get nothing from then on,
    /// until the way may move again.
    pub(super) async fn come_to(&self, ways: impl IntoIterator<Item = usize>, percent: i32) -> Result<()> {
        let streams = ways.into_iter().flat_map(|way| self.of(way).map(move |router| (way, router)));
        try_join_all(streams.map(|(way, router)| self.comes_to(way, router, percent))).await?;
        Ok(())
    }

    async fn comes_to(&self, way: usize, router: Router, percent: i32) -> Result<()> {
        let (only, tolerance) = match percent {
            0 => (Some(Expect::Legacy), 0.0),
            100 => (Some(Expect::New), 0.0),
            _ => (None, TOLERANCE),
        };
        let what = format!("{} has come to {percent} %", name(way, router));
        eventually(&what, PATIENCE, || async {
            let window = self.window(way, router, Instant::now());
            window.wait_for(SAMPLE).await?;
            let share = window.share_new().context("nothing was answered")? * 100.0;
            ensure!((share - f64::from(percent)).abs() <= tolerance, "{share:.1} %: {}", window.counts());
            Ok(())
        })
        .await?;
        only.map_or(Ok(()), |only| self.load.expect(&name(way, router), only, Duration::ZERO))
    }

    /// Ends the load: of at least `min` requests on each stream all were answered, and by a side that should.
    pub(super) async fn stop(self, min: u64) -> Result<Report> {
        let report = self.load.stop().await?;
        report.check(min)?;
        let few = report.streams.iter().find(|(_, counts)| counts.total < min);
        ensure!(few.is_none(), "{few:?}: {min} are wanted of each stream\n{report}");
        Ok(report)
    }
}
