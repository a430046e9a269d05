//! Splits on Istio: what is written is looked at by Istio's own definitions in the API server. Nobody serves it here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_testkit::{eventually, tools};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::bed::{Shop, condition};

const PATIENCE: Duration = Duration::from_secs(60);

impl Shop {
    fn virtual_services(&self) -> Api<DynamicObject> {
        self.objects("networking.istio.io", "VirtualService")
    }

    /// The share of the new side in an entry of a VirtualService, as Istio computes it: its weight of the sum of all.
    async fn entry_share(&self, service: &str, entry: &str) -> Result<f64> {
        let service = self.virtual_services().get(service).await?;
        let entries = service.data["spec"]["http"].as_array().context("no entries")?.clone();
        let found = entries.iter().find(|it| it["name"] == entry).context("no such entry")?;
        let routes = found["route"].as_array().context("no destinations")?;
        let weight = |it: &Value| it["weight"].as_i64().unwrap_or_default();
        let sum: i64 = routes.iter().map(weight).sum();
        ensure!(sum > 0, "all-zero: {found:#}");
        let new: i64 = routes.iter().filter(|it| it["destination"]["host"] == "new").map(weight).sum();
        Ok(f64::from(u32::try_from(new)?) * 100.0 / f64::from(u32::try_from(sum)?))
    }

    async fn entry_has(&self, service: &str, entry: &str, percent: f64) -> Result<()> {
        eventually(&format!("{service} has {percent} %"), PATIENCE, || async {
            let share = self.entry_share(service, entry).await?;
            ensure!((share - percent).abs() < 0.01, "{share} %");
            Ok(())
        })
        .await
    }
}

async fn open() -> Result<Shop> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    Ok(shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_carries_each_weight_and_its_pins() -> Result<()> {
    let shop = open().await?;
    shop.split(
        "storefront",
        "
  newWeight: 0
  weightTotal: 1000
  paths: [{value: /shop}, {type: Exact, value: /health}]
  pins: [{to: New, header: {name: X-Cutover, value: new}}, {to: Legacy, cookie: {name: cutover, value: never}}]
  routers: [{istio: {gateways: [infra/edge]}}]
",
    )
    .await?;
    shop.carries("storefront", 0).await?;
    for weight in [25, 500, 1000, 1] {
        shop.set_weight("storefront", weight).await?;
        let status = shop.carries("storefront", weight).await?;
        ensure!(status.routers[0].observed_weight == Some(weight), "{status:#?}");
        shop.entry_has("storefront", "weighted", f64::from(weight) / 10.0).await?;
    }
    let made = shop.virtual_services().get("storefront").await?;
    let entries = made.data["spec"]["http"].as_array().context("no entries")?;
    let names: Vec<_> = entries.iter().map(|it| it["name"].as_str().unwrap_or_default()).collect();
    ensure!(names == ["pin-1", "pin-2", "weighted"], "{names:?}");
    ensure!(entries[0]["match"][0]["headers"] == json!({"x-cutover": {"exact": "new"}}), "{:#}", entries[0]);
    ensure!(made.data["spec"]["gateways"] == json!(["infra/edge"]) && made.data["spec"]["hosts"] == json!([shop.host]));

    // What others change is put right, and what they add is taken out.
    let by_hand = json!({"spec": {"http": [{"route": [{"destination": {"host": "elsewhere"}}]}], "exportTo": ["."]}});
    shop.virtual_services().patch("storefront", &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    shop.entry_has("storefront", "weighted", 0.1).await?;
    eventually("what others added is gone", PATIENCE, || async {
        let service = shop.virtual_services().get("storefront").await?;
        ensure!(service.data["spec"].get("exportTo").is_none(), "{:#}", service.data);
        Ok(())
    })
    .await?;

    shop.edit("storefront", json!({"spec": {"onDelete": "Delete"}})).await?;
    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    eventually("the VirtualService is gone", PATIENCE, || async {
        ensure!(shop.virtual_services().get_opt("storefront").await?.is_none(), "it is there");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_entry_of_a_virtual_service_is_moved_and_nothing_else() -> Result<()> {
    let shop = open().await?;
    let (host, namespace) = (&shop.host, &shop.namespace);
    shop.split(
        "storefront",
        "
  newWeight: 20
  routers: [{istio: {attach: {virtualService: shop, http: all}}}]
",
    )
    .await?;
    shop.until("storefront", "says what is missing", |status| {
        condition(status, "Stalled").is_some_and(|(_, reason, message)| {
            reason == "ReferenceNotFound" && message.contains("there is no VirtualService shop")
        })
    })
    .await?;
    shop.apply(&format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: [{host}]
  gateways: [infra/edge]
  http:
  - name: other
    match: [{{uri: {{prefix: /other}}}}]
    timeout: 3s
    route: [{{destination: {{host: old}}}}]
  - name: all
    retries: {{attempts: 2}}
    route: [{{destination: {{host: old.{namespace}.svc.cluster.local}}, headers: {{request: {{set: {{x-a: b}}}}}}}}]
"
    ))
    .await?;
    for weight in [20, 100, 30] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        shop.entry_has("shop", "all", f64::from(weight)).await?;
    }
    let now = shop.virtual_services().get("shop").await?;
    let http = &now.data["spec"]["http"];
    ensure!(
        http[0]
            == json!({
                "name": "other", "match": [{"uri": {"prefix": "/other"}}], "timeout": "3s", "route": [{"destination": {"host": "old"}}],
            }),
        "{http:#}"
    );
    ensure!(http[1]["retries"] == json!({"attempts": 2}), "{http:#}");
    ensure!(http[1]["route"][0]["headers"]["request"]["set"]["x-a"] == "b", "{http:#}");

    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    eventually("the split is gone", PATIENCE, || async {
        ensure!(shop.splits().get_opt("storefront").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    shop.entry_has("shop", "all", 30.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_keeps_clients_with_their_sides_while_both_have_a_share() -> Result<()> {
    let shop = open().await?;
    shop.split(
        "storefront",
        "
  newWeight: 30
  pins: [{to: Legacy, header: {name: x-cutover, value: old}}]
  stickiness: {cookie: {name: side, maxAge: 24h}}
  routers: [{istio: {gateways: [infra/edge]}}]
",
    )
    .await?;
    let names = async || {
        let made = shop.virtual_services().get("storefront").await?;
        let entries = made.data["spec"]["http"].as_array().context("no entries")?.clone();
        anyhow::Ok(entries.iter().filter_map(|it| Some(it["name"].as_str()?.to_owned())).collect::<Vec<_>>().join(" "))
    };
    let first = shop.carries("storefront", 30).await?.stickiness.context("no epoch")?;
    ensure!(names().await? == "pin-1 sticky-new sticky-legacy weighted", "{}", names().await?);
    shop.set_weight("storefront", 60).await?;
    let second = shop.carries("storefront", 60).await?.stickiness.context("no epoch")?;
    ensure!((second.epoch, second.dealt) == (first.epoch, vec![30, 60]), "another epoch");
    ensure!(names().await? == "pin-1 sticky-new sticky-legacy sticky-older weighted", "{}", names().await?);
    // 30 of 70, so that 60 of 100 are on the new side.
    let share = shop.entry_share("storefront", "sticky-older").await?;
    ensure!((share - 300.0 / 7.0).abs() < 0.01, "{share} %");
    shop.set_weight("storefront", 10).await?;
    let third = shop.carries("storefront", 10).await?.stickiness.context("no epoch")?;
    ensure!(third.epoch > first.epoch && third.dealt == [10], "{third:?}");
    let service = shop.virtual_services().get("storefront").await?;
    let written = service.data.to_string();
    let names_of = |epoch| written.contains(&format!("side-{epoch}="));
    ensure!(names_of(third.epoch) && !names_of(first.epoch), "{written}");
    for weight in [0, 100] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        ensure!(names().await? == "pin-1 weighted", "{}", names().await?);
    }
    Ok(())
}
