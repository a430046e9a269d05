//! The load on the shop: per router, one stream for each way in, each with the side that must answer it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    load::{Exclusion, Expect, LoadGenerator, LoadOptions, Report, Stream, Window},
    traefik::EntryPoints,
};

/// The shop's host.
const HOST: &str = "shop.example.com";
/// The testers' own.
const TESTERS_HOST: &str = "new.shop.example.com";

/// The routers, as status names them, and their label in the load.
pub const ROUTERS: [&str; 3] = ["ingressNginx", "gatewayApi", "traefik"];

/// For how long after status says that a weight is applied an answer of the side before is still right: requests under way, and
/// the proxy's own reload.
const GRACE: Duration = Duration::from_secs(1);

/// How long the testers' host may take from the phase's creation until it is routed.
const OPENING: Duration = Duration::from_secs(30);

/// The ways into the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Everybody.
    Main,
    /// `/v2`.
    Path,
    /// The testers' host.
    Subdomain,
}

impl Way {
    /// All streams that share the way's weights. A proxy deals requests out in turn: whoever counts only some of them counts at the turns
    /// that the others leave.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Main => &["main", "orders"],
            Self::Path => &["path"],
            Self::Subdomain => &["subdomain"],
        }
    }

    fn streams(self, router: &str) -> impl Iterator<Item = String> {
        self.names().iter().map(move |name| format!("{name}-{router}"))
    }
}

/// The running load.
pub(super) struct Traffic(LoadGenerator);

impl Traffic {
    /// Starts `rate` requests per second and router on the main way in, and a few on each of the others.
    pub(super) fn start(at: EntryPoints, rate: u32) -> Result<Self> {
        let mut streams = Vec::new();
        for (router, entry) in ROUTERS.into_iter().zip([at.nginx, at.gateway, at.web]) {
            let stream = |name: &str, host: &str| Stream::new(format!("{name}-{router}"), entry, host).router(router);
            streams.push(stream("main", HOST).rate(rate).expect(Expect::Legacy));
            streams.push(stream("orders", HOST).path("/orders").post().rate(20).expect(Expect::Legacy));
            streams.push(stream("path", HOST).path("/v2/items").rate(rate * 3 / 4).expect(Expect::Legacy));
            streams.push(stream("pinned", HOST).header("x-cutover", "new").rate(20).expect(Expect::New));
            streams.push(stream("subdomain", TESTERS_HOST).rate(rate * 3 / 4).expect(Expect::NotRouted));
        }
        Ok(Self(LoadGenerator::start(LoadOptions::default(), streams)?))
    }

    /// From now on either side may answer this way in.
    pub(super) fn may_move(&self, way: Way) -> Result<()> {
        self.expect(way, Expect::Either, Duration::ZERO)
    }

    /// The testers' host is about to be routed: meanwhile the proxy may still say that it knows no such host.
    pub(super) fn opens(&self) -> Result<()> {
        self.expect(Way::Subdomain, Expect::New, OPENING)
    }

    /// Only the new side may answer this way in, as status says.
    pub(super) fn is_new(&self, way: Way) -> Result<()> {
        self.expect(way, Expect::New, GRACE)
    }

    /// Only the legacy side may answer this way in, as status says.
    pub(super) fn is_legacy(&self, way: Way) -> Result<()> {
        self.expect(way, Expect::Legacy, GRACE)
    }

    fn expect(&self, way: Way, to: Expect, grace: Duration) -> Result<()> {
        let mut streams = ROUTERS.into_iter().flat_map(|router| way.streams(router));
        streams.try_for_each(|stream| self.0.expect(&stream, to, grace))
    }

    /// The way's requests on one router from an instant on.
    pub(super) fn window(&self, way: Way, router: &str, from: Instant) -> Window {
        self.0.window_from(from).streams(way.streams(router))
    }

    /// Waits, inside an excluded span, until no request of the main way in is answered by the new side any more, on any router.
    /// Returns the instant since when that is so.
    pub(super) async fn left_new(&self, within: Duration) -> Result<Instant> {
        const QUIET: u64 = 100;
        crate::wait::eventually("no request reaches the new side", within, || async {
            let from = Instant::now();
            loop {
                let counts = ROUTERS.map(|router| self.window(Way::Main, router, from).excluded());
                let new: u64 = counts.iter().map(|counts| counts.new).sum();
                ensure!(new == 0, "{new} requests reached the new side");
                if counts.iter().all(|counts| counts.total >= QUIET) {
                    return Ok(from);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// From now on requests are counted apart.
    pub(super) fn exclude(&self, label: &str) -> Exclusion {
        self.0.exclude(label)
    }

    /// Sums so far, and the first failures.
    pub(super) fn report(&self) -> Report {
        self.0.report()
    }

    /// Ends the load.
    pub(super) async fn stop(self) -> Result<Report> {
        self.0.stop().await
    }
}
