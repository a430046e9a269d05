//! Copies of requests by Traefik's own kinds: the new side has them, and clients see nothing of what becomes of them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually, http,
    load::{LoadGenerator, LoadOptions, Stream},
};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::DeleteParams};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    bed::{Shop, TAKEN_UP, TRAEFIK},
    edge::answers,
    traefik_edge::counted,
};

const MIRROR: &str = "storefront-cutover-mirror";

impl Shop {
    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Leads the cluster's address of what takes copies to the new side, as a node would.
    async fn taking_copies(&self) -> Result<JoinHandle<()>> {
        let service = self.services().get(MIRROR).await?;
        let address: Ipv4Addr = service.spec.and_then(|it| it.cluster_ip).context("no address")?.parse()?;
        let listener = TcpListener::bind((address, 80)).await?;
        let to = SocketAddr::from((self.address("new"), 8080));
        Ok(tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        drop(copy_bidirectional(&mut from, &mut to).await);
                    }
                });
            }
        }))
    }

    /// Asks until the new side has had a copy.
    async fn copies_arrive(&self) -> Result<()> {
        let [_, new] = &self.backends;
        let before = counted(new, "GET").await?;
        eventually("the new side has copies", TAKEN_UP, || async {
            http::get(self.bed.entry.web, &self.host, "/").await?;
            let had = counted(new, "GET").await?;
            ensure!(had > before, "none");
            Ok(())
        })
        .await
    }

    async fn says_of_copies(&self, what: &str) -> Result<()> {
        let said = |status: &cutover_api::v1alpha1::TrafficSplitStatus| {
            status.routers.iter().any(|it| it.message.as_deref().is_some_and(|it| it.contains(what)))
        };
        self.until("storefront", what, said).await.map(drop)
    }
}

async fn mirroring(shop: &Shop, percent: i32) -> Result<()> {
    let more = format!("  newWeight: 0\n  mirror: {{percent: {percent}}}\n  routers: [{TRAEFIK}]");
    shop.split("storefront", &more).await?;
    shop.carries("storefront", 0).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_copies_as_many_as_the_split_says_and_drops_the_answers() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    mirroring(&shop, 50).await?;
    let node = shop.taking_copies().await?;
    shop.copies_arrive().await?;
    let [_, new] = &shop.backends;
    // Whatever it answers, nobody is told.
    new.script().error_rate(1.0);
    let (before, posts) = (counted(new, "GET").await?, counted(new, "POST").await?);
    for method in [http::Method::GET, http::Method::POST] {
        for _ in 0..100 {
            let answer = http::send(entry, &shop.host, method.clone(), "/", &[]).await?;
            let by = answer.headers().get("x-served-by").context("no x-served-by")?;
            ensure!(answer.status() == 200 && by == "old", "{answer:?}");
        }
    }
    // Copies are sent after the answer. Routes of others may change meanwhile, which begins the count anew.
    eventually("half of what changes nothing is copied", TAKEN_UP, || async {
        let copied = counted(new, "GET").await? - before;
        ensure!((40.0..=60.0).contains(&copied), "{copied} of 100");
        Ok(())
    })
    .await?;
    let copied = counted(new, "POST").await? - posts;
    ensure!(copied.abs() < 0.5, "{copied} of what may change something");
    node.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_whatever_becomes_of_the_copies() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    mirroring(&shop, 100).await?;
    let node = shop.taking_copies().await?;
    shop.copies_arrive().await?;
    let stream = Stream::new("traefik", entry, shop.host.clone()).router("traefik").rate(100);
    let load = LoadGenerator::start(LoadOptions::default(), [stream])?;
    shop.ready("new", false).await?;
    shop.says_of_copies("no ready endpoint").await?;
    shop.ready("new", true).await?;
    shop.copies_arrive().await?;
    // Nobody is at the address any more.
    node.abort();
    let old = shop.services().get("new").await?;
    shop.services().delete("new", &DeleteParams::default()).await?;
    shop.says_of_copies("does not exist").await?;
    let ports = old.spec.context("no spec")?.ports;
    shop.apply(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "new"}, "spec": {"ports": ports}})
            .to_string(),
    )
    .await?;
    shop.carries("storefront", 0).await?;
    shop.edit("storefront", json!({"spec": {"mirror": null}})).await?;
    eventually("what copied is gone", TAKEN_UP, || async {
        let copying = shop.objects_of("traefik.io", "v1alpha1", "TraefikService").get_opt(MIRROR).await?;
        ensure!(copying.is_none() && shop.services().get_opt(MIRROR).await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    load.whole().wait_for(500).await?;
    load.stop().await?.check(500)?;
    answers(entry, &shop, 200).await
}
