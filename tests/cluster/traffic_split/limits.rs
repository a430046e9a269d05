//! How many requests a client may send: a whole burst, 429 after it, and each client by itself.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::{Result, ensure};
use cutover_testkit::eventually;
use futures::future::try_join_all;

use super::{
    bed::{NGINX, Shop, TAKEN_UP, TRAEFIK},
    edge::{answers, limits, split},
    traefik_edge::ask,
};

/// Addresses that nobody has asked from.
struct Clients(AtomicU8);

impl Clients {
    fn new() -> Self {
        Self(AtomicU8::new(2))
    }

    fn next(&self) -> [u8; 4] {
        [127, 0, 1, self.0.fetch_add(1, Ordering::Relaxed)]
    }
}

async fn status(client: [u8; 4], entry: SocketAddr, shop: &Shop) -> Result<u16> {
    Ok(ask(client, entry, &format!("GET / HTTP/1.1\r\nhost: {}\r\n", shop.host)).await?.0)
}

/// Each client has this many answers at once, and no more. A proxy that takes up a change of any other route counts from nothing: then
/// somebody else tries again.
async fn keeps_to(burst: usize, router: &str, entry: SocketAddr, edge: &str) -> Result<()> {
    let shop = Shop::open().await?;
    split(&shop, router, edge).await?;
    answers(entry, &shop, 200).await?;
    let clients = Clients::new();
    let expected = [vec![200; burst], vec![429; 2]].concat();
    for _ in 0..2 {
        eventually(&format!("a client has {burst} answers, and 429 after them"), TAKEN_UP, || async {
            let client = clients.next();
            let mut statuses = Vec::new();
            for _ in 0..burst + 2 {
                statuses.push(status(client, entry, &shop).await?);
            }
            ensure!(statuses == expected, "{statuses:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_gives_each_client_its_burst_and_429_after_it() -> Result<()> {
    let entry = super::bed::bed().await?.entry.nginx;
    keeps_to(6, NGINX, entry, "{rateLimit: {requestsPerMinute: 2, burst: 6}}").await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_gives_each_client_its_burst_and_429_after_it() -> Result<()> {
    let entry = super::bed::bed().await?.entry.web;
    keeps_to(6, TRAEFIK, entry, "{rateLimit: {requestsPerMinute: 1, burst: 6}}").await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_keeps_to_what_is_usual_in_production() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    split(&shop, TRAEFIK, "{rateLimit: {tier: Production}}").await?;
    answers(entry, &shop, 200).await?;
    let clients = Clients::new();
    eventually("of 100 requests at once 20 are answered, and what comes back meanwhile", TAKEN_UP, || async {
        let client = clients.next();
        let statuses = try_join_all((0..100).map(|_| status(client, entry, &shop))).await?;
        let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
        let (served, refused) = (count(200), count(429));
        ensure!((20..=60).contains(&served) && served + refused == 100, "{served} served, {refused} refused");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_limits_while_it_is_asked_to() -> Result<()> {
    let shop = Shop::open().await?;
    limits(&shop, NGINX, shop.bed.entry.nginx).await
}
