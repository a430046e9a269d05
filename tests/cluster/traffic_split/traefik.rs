//! Splits on Traefik's own kinds: made by the operator, and a TraefikService that belongs to somebody else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{eventually, http};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::bed::{Shop, condition, weights_are};
use crate::routers::Router;

const PATIENCE: Duration = Duration::from_secs(60);
const MANAGED: &str = "[{traefik: {entryPoints: [web]}}]";

impl Shop {
    fn traefik_services(&self) -> Api<DynamicObject> {
        self.objects_of("traefik.io", "v1alpha1", "TraefikService")
    }

    fn ingress_routes(&self) -> Api<DynamicObject> {
        self.objects_of("traefik.io", "v1alpha1", "IngressRoute")
    }

    /// The weights of a TraefikService, by Service.
    async fn weights(&self, service: &str) -> Result<Vec<(String, i64)>> {
        let service = self.traefik_services().get(service).await?;
        let members = service.data["spec"]["weighted"]["services"].as_array().context("no members")?.clone();
        let read = |it: &Value| Some((it["name"].as_str()?.to_owned(), it["weight"].as_i64()?));
        members.iter().map(|it| read(it).context("no weight")).collect()
    }

    async fn weights_are(&self, service: &str, expected: &[(&str, i64)]) -> Result<()> {
        weights_are(service, expected, || self.weights(service)).await
    }

    async fn on_traefik(&self, name: &str, more: &str) -> Result<()> {
        self.split(name, &format!("  routers: {MANAGED}\n{more}")).await
    }

    /// Who answers for a path of the host.
    async fn system_at(&self, path: &str, header: Option<(&str, &str)>) -> Result<String> {
        let answer = http::get_with(self.bed.entry.web, &self.host, path, header).await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(answer.headers()["x-served-by"].to_str()?.to_owned())
    }

    async fn is_served_by(&self, path: &str, header: Option<(&str, &str)>, system: &str) -> Result<()> {
        eventually(&format!("{path} with {header:?} is served by {system}"), PATIENCE, || async {
            // More than once: a share of a weighted rule would show.
            for _ in 0..8 {
                let by = self.system_at(path, header).await?;
                ensure!(by == system, "served by {by}");
            }
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_and_longer_paths_come_first_on_traefik() -> Result<()> {
    let shop = Shop::open().await?;
    let pins = "[{to: New, header: {name: x-cutover, value: new}}, {to: New, cookie: {name: cutover, value: always}}]";
    shop.on_traefik("storefront", &format!("  pins: {pins}\n  newWeight: 0")).await?;
    shop.on_traefik("storefront-v2", "  paths: [{value: /v2}]\n  newWeight: 100").await?;
    shop.carries("storefront", 0).await?;
    shop.carries("storefront-v2", 100).await?;
    let pinned = Some(("x-cutover", "new"));
    shop.is_served_by("/", None, "old").await?;
    shop.is_served_by("/", pinned, "new").await?;
    shop.is_served_by("/", Some(("cookie", "a=b; cutover=always")), "new").await?;
    shop.is_served_by("/", Some(("cookie", "a=b; cutover=always2")), "old").await?;
    shop.is_served_by("/v2/cart", None, "new").await?;
    shop.is_served_by("/v20", None, "old").await?;
    // The longer path's split knows no pins, and keeps its requests at any weight.
    shop.set_weight("storefront-v2", 0).await?;
    shop.carries("storefront-v2", 0).await?;
    shop.is_served_by("/v2", pinned, "old").await?;

    // A user's own rule for a longer path, of which nobody told the operator.
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {{name: blog}}
spec:
  entryPoints: [web]
  routes:
  - kind: Rule
    match: Host(`{host}`) && PathPrefix(`/blog`)
    services: [{{name: new, port: 80}}]
"
    ))
    .await?;
    shop.is_served_by("/blog", None, "new").await?;
    shop.is_served_by("/", None, "old").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_of_traefiks_kinds_is_put_right() -> Result<()> {
    let shop = Shop::open().await?;
    shop.on_traefik("storefront", "  newWeight: 20").await?;
    shop.carries("storefront", 20).await?;
    let weighted = "storefront-cutover-weighted";
    let members = json!([{"name": "old", "port": 80, "weight": 1}, {"name": "new", "port": 80, "weight": 1}]);
    let by_hand = json!({"spec": {"weighted": {"services": members, "sticky": {"cookie": {"name": "theirs"}}}}});
    shop.traefik_services().patch(weighted, &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    shop.weights_are(weighted, &[("old", 80), ("new", 20)]).await?;
    eventually("the stickiness of others is gone", PATIENCE, || async {
        let service = shop.traefik_services().get(weighted).await?;
        ensure!(service.data["spec"]["weighted"].get("sticky").is_none(), "{:#}", service.data);
        Ok(())
    })
    .await?;

    let by_hand = json!({"spec": {"routes": [], "tls": {"secretName": "theirs"}}});
    shop.ingress_routes().patch("storefront", &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    eventually("the rules are back", PATIENCE, || async {
        let route = shop.ingress_routes().get("storefront").await?;
        let rules = route.data["spec"]["routes"].as_array().map_or(0, Vec::len);
        ensure!(rules == 1 && route.data["spec"].get("tls").is_none(), "{:#}", route.data);
        Ok(())
    })
    .await?;
    shop.traefik_services().delete(weighted, &DeleteParams::default()).await?;
    shop.weights_are(weighted, &[("old", 80), ("new", 20)]).await?;
    shop.carries("storefront", 20).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traefiks_kinds_are_hidden_released_adopted_and_removed() -> Result<()> {
    let shop = Shop::open().await?;
    let weighted = "storefront-cutover-weighted";
    shop.on_traefik("storefront", "  newWeight: 30\n  exposure: Hidden").await?;
    shop.until("storefront", "is hidden", |status| condition(status, "Ready").is_some_and(|(is, ..)| is == "True"))
        .await?;
    ensure!(shop.ingress_routes().get_opt("storefront").await?.is_none(), "a hidden split has a route");

    shop.edit("storefront", json!({"spec": {"exposure": "Exposed"}})).await?;
    shop.carries("storefront", 30).await?;
    shop.weights_are(weighted, &[("old", 70), ("new", 30)]).await?;
    let gone = async || {
        shop.splits().delete("storefront", &DeleteParams::default()).await?;
        eventually("the split is gone", PATIENCE, || async {
            ensure!(shop.splits().get_opt("storefront").await?.is_none(), "it is there");
            Ok(())
        })
        .await
    };
    gone().await?;
    shop.weights_are(weighted, &[("old", 70), ("new", 30)]).await?;
    ensure!(shop.ingress_routes().get_opt("storefront").await?.is_some(), "the route was not released");

    shop.on_traefik("storefront", "  newWeight: 0\n  onDelete: Delete").await?;
    let status = shop.carries("storefront", 30).await?;
    ensure!(condition(&status, "SpecDiverged").is_some_and(|(is, ..)| is == "True"), "{status:#?}");
    shop.set_weight("storefront", 100).await?;
    shop.carries("storefront", 100).await?;
    // Who has no share is not listed, and so cannot take the other side down.
    shop.weights_are(weighted, &[("new", 100)]).await?;
    gone().await?;
    ensure!(shop.traefik_services().get_opt(weighted).await?.is_none(), "it is still there");
    ensure!(shop.ingress_routes().get_opt("storefront").await?.is_none(), "it is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_an_attached_traefik_service_is_moved_in_its_weights_alone() -> Result<()> {
    let shop = Shop::open().await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {{name: shop}}
spec:
  weighted:
    services:
    - {{name: old, port: http, passHostHeader: true}}
    - {{name: new, port: 80, weight: 0, responseForwarding: {{flushInterval: 1ms}}}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {{name: shop}}
spec:
  entryPoints: [web]
  routes:
  - {{kind: Rule, match: Host(`{host}`), services: [{{kind: TraefikService, name: shop}}]}}
"
    ))
    .await?;
    shop.is_served_by("/", None, "old").await?;
    let without_weights = |mut spec: Value| {
        for member in spec["spec"]["weighted"]["services"].as_array_mut().into_iter().flatten() {
            member.as_object_mut().map(|fields| fields.remove("weight"));
        }
        spec["spec"].take()
    };
    let before = without_weights(shop.traefik_services().get("shop").await?.data);
    let route = shop.ingress_routes().get("shop").await?;
    shop.split("storefront", "  newWeight: 0\n  routers: [{traefik: {attach: {service: shop}}}]").await?;
    shop.carries("storefront", 0).await?;
    let load = shop.load_on(&[Router::Traefik])?;
    for weight in [20, 100, 30] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        shop.shares(&load, Instant::now(), f64::from(weight)).await?;
    }
    load.stop().await?.check(3_000)?;
    // What somebody else changes at the same time is not lost, but for weights.
    let labelled =
        json!({"metadata": {"labels": {"team": "shop"}}, "spec": {"weighted": {"sticky": {"cookie": {"name": "s"}}}}});
    shop.traefik_services().patch("shop", &PatchParams::default(), &Patch::Merge(labelled)).await?;
    shop.set_weight("storefront", 60).await?;
    shop.carries("storefront", 60).await?;
    let now = shop.traefik_services().get("shop").await?;
    ensure!(now.metadata.labels.as_ref().is_some_and(|labels| labels["team"] == "shop"), "{now:#?}");
    let mut after = without_weights(now.data.clone());
    let sticky = after["weighted"].as_object_mut().and_then(|weighted| weighted.remove("sticky"));
    ensure!(sticky.is_some_and(|sticky| sticky["cookie"]["name"] == "s"), "{:#}", now.data);
    ensure!(after == before, "{after:#}\ninstead of {before:#}");
    let same = shop.ingress_routes().get("shop").await?.metadata.resource_version == route.metadata.resource_version;
    ensure!(same, "the user's route was written");

    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    eventually("the split is gone", PATIENCE, || async {
        ensure!(shop.splits().get_opt("storefront").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    shop.weights_are("shop", &[("old", 40), ("new", 60)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traefik_service_that_cannot_be_attached_to_is_named_with_a_remedy() -> Result<()> {
    let shop = Shop::open().await?;
    let router = "  newWeight: 20\n  routers: [{traefik: {attach: {service: shop}}}]";
    shop.split("storefront", router).await?;
    let stalled = async |reason: &'static str, parts: [&'static str; 2]| {
        let told = |status: &cutover_api::v1alpha1::TrafficSplitStatus| {
            let stalled = condition(status, "Stalled");
            stalled.is_some_and(|(_, is, says)| is == reason && parts.iter().all(|part| says.contains(part)))
        };
        shop.until("storefront", reason, told).await.map(drop)
    };
    stalled("ReferenceNotFound", ["spec.routers[0].traefik.attach.service", "there is no TraefikService shop"]).await?;
    let with = async |members: &str| {
        shop.apply(&format!(
            "
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {{name: shop}}
spec: {{weighted: {{services: [{members}]}}}}
"
        ))
        .await
    };
    with("{name: old, port: 80}").await?;
    stalled("ReferenceNotFound", ["does not list Service new with port 80", "with weight 0"]).await?;
    with("{name: old, port: 80}, {name: new, port: 80, weight: 0}, {name: blog, port: 80}").await?;
    stalled("Conflicted", ["also leads to Service blog:80", "take it out"]).await?;
    with("{name: old, port: 80}, {name: new, port: 80, weight: 0}").await?;
    shop.set_weight("storefront", 25).await?;
    shop.carries("storefront", 25).await?;
    Ok(())
}
