//! Pins on the three routers of the bed's proxy: whoever is pinned is served by that side at every weight, under load.

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually, http,
    load::{Expect, LoadGenerator, LoadOptions, Stream},
};

use super::bed::{Shop, TAKEN_UP};
use crate::routers::Router;

/// What every one of the three can say: a header and a cookie, and of each a value for either side. Headers come first.
const PINS: &str = "[{to: New, header: {name: x-cutover, value: always}}, {to: Legacy, header: {name: x-cutover, value: never}}, \
                    {to: New, cookie: {name: cutover, value: always}}, {to: Legacy, cookie: {name: cutover, value: never}}]";

type Headers = &'static [(&'static str, &'static str)];

/// Who asks, and which side has to answer.
const PINNED: [(&str, Headers, Expect); 6] = [
    ("header-new", &[("x-cutover", "always")], Expect::New),
    ("header-legacy", &[("x-cutover", "never")], Expect::Legacy),
    ("cookie-new", &[("cookie", "a=b; cutover=always; c=d")], Expect::New),
    ("cookie-legacy", &[("cookie", "cutover=never")], Expect::Legacy),
    ("header-before-cookie", &[("x-cutover", "never"), ("cookie", "cutover=always")], Expect::Legacy),
    ("header-before-other-cookie", &[("x-cutover", "always"), ("cookie", "cutover=never")], Expect::New),
];

/// Who looks like it and goes by the weight.
const NOT_PINNED: [(&str, &str); 4] = [
    ("x-cutover", "other"),
    ("cookie", "cutover=other"),
    ("cookie", "cutover=always2"),
    ("cookie", "not-cutover=always"),
];

#[tokio::test(flavor = "multi_thread")]
async fn who_is_pinned_is_served_by_that_side_at_every_weight_on_every_router() -> Result<()> {
    let shop = Shop::open().await?;
    let more = format!("  newWeight: 0\n  pins: {PINS}\n  routers: {}", Router::spec(&Router::ALL));
    shop.split("storefront", &more).await?;
    shop.carries("storefront", 0).await?;
    let asked = async |router: Router, headers: &[(&str, &str)]| {
        let entry = router.entry(&shop.bed.entry);
        let answer = http::send(entry, &shop.host, http::Method::GET, "/", headers).await?;
        let by = answer.headers().get("x-served-by").with_context(|| format!("{}", answer.status()))?;
        anyhow::Ok(by.to_str()?.to_owned())
    };
    let mut streams = Vec::new();
    for router in Router::ALL {
        for (name, headers, expected) in PINNED {
            let name = format!("{}-{name}", router.name());
            let side = if expected == Expect::New { "new" } else { "old" };
            eventually(&name, TAKEN_UP, || async {
                let by = asked(router, headers).await?;
                ensure!(by == side, "served by {by}");
                Ok(())
            })
            .await?;
            let stream =
                Stream::new(&name, router.entry(&shop.bed.entry), shop.host.clone()).router(router.name()).rate(5);
            let with = |stream: Stream, (key, value): &(&str, &str)| stream.header(*key, *value);
            streams.push(headers.iter().fold(stream, with).expect(expected));
        }
    }
    let load = LoadGenerator::start(LoadOptions::default(), streams)?;
    for weight in [50, 100, 30, 100, 0] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        let side = match weight {
            0 => "old",
            100 => "new",
            _ => continue,
        };
        // Nobody else is.
        for router in Router::ALL {
            for header in NOT_PINNED {
                eventually(&format!("{router:?} at {weight} with {header:?}"), TAKEN_UP, || async {
                    let by = asked(router, &[header]).await?;
                    ensure!(by == side, "served by {by}");
                    Ok(())
                })
                .await?;
            }
        }
    }
    load.stop().await?.check(300)
}
