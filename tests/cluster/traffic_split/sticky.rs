//! Clients with jars of cookies, and the sides that serve them. How many are dealt to which side is counted over clients that are new to
//! the proxy, one after the other: it deals in turn.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually, http,
    load::{LoadGenerator, LoadOptions, Stream},
};
use serde_json::json;

use super::bed::{GATEWAY, NGINX, Shop, TAKEN_UP, TRAEFIK};
use crate::routers::Router;

const CLIENTS: usize = 40;

/// A client that keeps its cookies.
#[derive(Default)]
struct Client {
    jar: BTreeMap<String, String>,
    served_by: String,
}

impl Client {
    /// Asks once; says which side it was.
    async fn ask(&mut self, entry: SocketAddr, host: &str) -> Result<&str> {
        let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let header = cookies.join("; ");
        let header = Some(("cookie", header.as_str())).filter(|(_, cookies)| !cookies.is_empty());
        let answer = http::get_with(entry, host, "/", header).await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        for cookie in answer.headers().get_all("set-cookie") {
            let (pair, _) = cookie.to_str()?.split_once(';').context("a cookie without attributes")?;
            let (name, value) = pair.split_once('=').context("a cookie without a value")?;
            self.jar.insert(name.to_owned(), value.to_owned());
        }
        answer.headers()["x-served-by"].to_str()?.clone_into(&mut self.served_by);
        Ok(&self.served_by)
    }
}

/// A split with one router, and where it is asked.
struct Way {
    shop: Shop,
    entry: SocketAddr,
    clients: Vec<Client>,
}

impl Way {
    async fn open(router: &str, entry: impl Fn(&Shop) -> SocketAddr, weight: i32) -> Result<Self> {
        let shop = Shop::open().await?;
        let entry = entry(&shop);
        let more = format!(
            "  newWeight: {weight}\n  stickiness: {{cookie: {{name: side, maxAge: 1h}}}}\n  routers: [{router}]"
        );
        shop.split("storefront", &more).await?;
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let way = Self { shop, entry, clients };
        way.deals(weight).await?;
        Ok(way)
    }

    async fn set(&self, weight: i32) -> Result<()> {
        self.shop.set_weight("storefront", weight).await?;
        self.deals(weight).await
    }

    /// Waits until the proxy deals those who are new to it by the weight, under the name that counts now.
    async fn deals(&self, weight: i32) -> Result<()> {
        let status = self.shop.carries("storefront", weight).await?;
        let epoch = status.stickiness.context("no epoch")?.epoch;
        eventually(&format!("new clients are dealt by {weight}"), TAKEN_UP, || async {
            let mut on_new = 0;
            for _ in 0..20 {
                let mut client = Client::default();
                on_new += i32::from(client.ask(self.entry, &self.shop.host).await? == "new");
                let dealt = client.jar.keys().any(|name| name.starts_with(&format!("side-{epoch}")));
                ensure!(dealt == (1..100).contains(&weight), "{:?}", client.jar);
            }
            ensure!((on_new * 5 - weight).abs() <= 10, "{on_new} of 20");
            Ok(())
        })
        .await
    }

    async fn all_ask(&mut self) -> Result<()> {
        for client in &mut self.clients {
            client.ask(self.entry, &self.shop.host).await?;
        }
        Ok(())
    }

    fn on_new(&self) -> usize {
        self.clients.iter().filter(|client| client.served_by == "new").count()
    }

    /// Everybody asks a few times, and is served by the side that served them before; but for legacy's clients who `go over`.
    async fn stay(&mut self, go_over: bool) -> Result<()> {
        let mut before: Vec<String> = self.clients.iter().map(|client| client.served_by.clone()).collect();
        for round in 0..5 {
            self.all_ask().await?;
            for (client, before) in self.clients.iter().zip(&mut before) {
                let goes = go_over && round == 0 && before == "old" && client.served_by == "new";
                ensure!(client.served_by == *before || goes, "from {before} to {}: {:?}", client.served_by, client.jar);
                before.clone_from(&client.served_by);
            }
        }
        Ok(())
    }

    /// All are served by one side, whatever their cookies say.
    async fn all_on(&mut self, side: &str) -> Result<()> {
        self.all_ask().await?;
        let elsewhere = self.clients.iter().find(|client| client.served_by != side);
        ensure!(elsewhere.is_none(), "served by the other side: {:?}", elsewhere.map(|client| &client.jar));
        Ok(())
    }
}

/// `follows`: legacy's clients go over as the weight grows.
async fn both_sides_are_sticky(router: &str, entry: impl Fn(&Shop) -> SocketAddr, follows: bool) -> Result<()> {
    let mut way = Way::open(router, entry, 30).await?;
    way.all_ask().await?;
    let at_30 = way.on_new();
    ensure!((6..=18).contains(&at_30), "{at_30} of {CLIENTS} at 30 %");
    way.stay(false).await?;

    way.set(60).await?;
    way.stay(follows).await?;
    let at_60 = way.on_new();
    let expected = if follows { 18..=30 } else { at_30..=at_30 };
    ensure!(expected.contains(&at_60), "{at_60} of {CLIENTS} at 60 %, {at_30} before");

    way.set(0).await?;
    way.all_on("old").await?;

    // Whoever was on the new side before is dealt like anybody else.
    way.set(30).await?;
    way.all_ask().await?;
    let again = way.on_new();
    ensure!((6..=18).contains(&again), "{again} of {CLIENTS} at 30 % again");
    way.stay(false).await?;

    way.set(100).await?;
    way.all_on("new").await
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_who_was_served_by_a_side_stays_with_it_on_http_routes() -> Result<()> {
    both_sides_are_sticky(GATEWAY, |shop| shop.bed.entry.gateway, true).await
}

/// Traefik keeps a backend's filters by its Service, for every route of a namespace.
#[tokio::test(flavor = "multi_thread")]
async fn splits_that_share_their_services_deal_cookies_of_their_own() -> Result<()> {
    let shop = Shop::open().await?;
    let of = |path: &str, name: &str, more: &str| {
        format!(
            "  newWeight: 50\n  paths: [{{value: {path}}}]\n  stickiness: {{cookie: {{name: {name}, maxAge: 1h}}}}\n{more}\n  routers: [{GATEWAY}]"
        )
    };
    let pin = "  pins: [{to: New, header: {name: x-cutover, value: new}}]";
    shop.split("storefront", &of("/", "first", pin)).await?;
    shop.split("checkout", &of("/checkout", "second", "")).await?;
    let first = shop.carries("storefront", 50).await?.stickiness.context("no epoch")?.epoch;
    let second = shop.carries("checkout", 50).await?.stickiness.context("no epoch")?.epoch;
    let pinned = Some(("x-cutover", "new"));
    for (path, header, dealt) in [
        ("/", None, Some(format!("first-{first}"))),
        ("/checkout", None, Some(format!("second-{second}"))),
        ("/", pinned, None),
    ] {
        eventually(&format!("{path} with {header:?} deals {dealt:?}"), TAKEN_UP, || async {
            for _ in 0..6 {
                let answer = http::get_with(shop.bed.entry.gateway, &shop.host, path, header).await?;
                ensure!(answer.status() == 200, "{}", answer.status());
                let cookies = answer.headers().get_all("set-cookie").iter().filter_map(|it| it.to_str().ok());
                let names: Vec<_> = cookies.filter_map(|it| Some(it.split_once('=')?.0.to_owned())).collect();
                ensure!(names == dealt.iter().cloned().collect::<Vec<_>>(), "{names:?}");
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_who_was_served_by_a_side_stays_with_it_on_ingresses() -> Result<()> {
    both_sides_are_sticky(NGINX, |shop| shop.bed.entry.nginx, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_who_was_served_by_a_side_stays_with_it_on_traefiks_own_kinds() -> Result<()> {
    both_sides_are_sticky(TRAEFIK, |shop| shop.bed.entry.web, false).await
}

/// Cookies, the rules that go by them and the Services that deal them come and go with the weight.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_clients_stick_and_are_let_go_on_every_router() -> Result<()> {
    let shop = Shop::open().await?;
    let sticky = "stickiness: {cookie: {name: side, maxAge: 1h}}";
    shop.split("storefront", &format!("  newWeight: 30\n  {sticky}\n  routers: [{GATEWAY}, {NGINX}, {TRAEFIK}]"))
        .await?;
    shop.carries("storefront", 30).await?;
    let mut streams = Vec::new();
    for (router, entry) in Router::ALL.map(|router| (router.name(), router.entry(&shop.bed.entry))) {
        // Cookies of either side, of an epoch that is over before long.
        let cookies = eventually(&format!("{router} deals cookies of both sides"), TAKEN_UP, || async {
            let mut cookies = BTreeMap::new();
            for _ in 0..10 {
                let mut client = Client::default();
                let side = client.ask(entry, &shop.host).await?.to_owned();
                let (name, value) = client.jar.first_key_value().context("no cookie")?;
                cookies.insert(side, format!("{name}={value}"));
            }
            ensure!(cookies.len() == 2, "{cookies:?}");
            Ok(cookies)
        })
        .await?;
        let stream =
            |who: &str| Stream::new(format!("{router}-{who}"), entry, shop.host.clone()).router(router).rate(15);
        streams.extend(cookies.iter().map(|(side, cookie)| stream(side).header("cookie", cookie)));
        streams.push(stream("nobody"));
    }
    let load = LoadGenerator::start(LoadOptions::default(), streams)?;
    for weight in [60, 0, 40, 100, 20] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
    }
    // So does what is asked of the spec.
    shop.edit("storefront", json!({"spec": {"stickiness": null}})).await?;
    shop.carries("storefront", 20).await?;
    for router in Router::ALL {
        eventually(&format!("{router:?} deals no cookie"), TAKEN_UP, || async {
            let mut client = Client::default();
            client.ask(router.entry(&shop.bed.entry), &shop.host).await?;
            ensure!(client.jar.is_empty(), "{:?}", client.jar);
            Ok(())
        })
        .await?;
    }
    load.stop().await?.check(500)
}
