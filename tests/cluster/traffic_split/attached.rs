//! Splits beside routes that belong to somebody else.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kube::api::DeleteParams;

use super::bed::{Shop, condition};

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_an_attached_split_moves_traffic_and_leaves_the_rest_byte_for_byte() -> Result<()> {
    let shop = Shop::open().await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop, annotations: {{example.com/owner: somebody}}}}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: edge, namespace: infra}}]
  hostnames: [{host}]
  rules:
  - name: other
    matches: [{{path: {{type: PathPrefix, value: /other}}}}]
    backendRefs: [{{name: old, port: 80}}]
  - name: all
    backendRefs: [{{name: old, port: 80}}]
"
    ))
    .await?;
    shop.served().await?;
    let (ingress, route) = (shop.ingresses().get("shop").await?, shop.http_routes().get("shop").await?);
    shop.attached_to("shop").await?;
    let load = shop.load()?;
    for weight in [20, 100, 30] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        shop.shares(&load, Instant::now(), f64::from(weight)).await?;
    }
    load.stop().await?.check(12_000)?;

    let now = shop.ingresses().get("shop").await?;
    ensure!(now.metadata.resource_version == ingress.metadata.resource_version, "the Ingress was written");
    let now = shop.http_routes().get("shop").await?;
    ensure!(now.data["spec"]["rules"][0] == route.data["spec"]["rules"][0], "{:#}", now.data["spec"]);
    ensure!(now.data["spec"]["hostnames"] == route.data["spec"]["hostnames"]);

    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    let name = shop.http_routes().get("shop").await?.metadata.name.context("no name")?;
    ensure!(name == "shop");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_service_that_two_paths_share_cannot_be_attached_to() -> Result<()> {
    let shop = Shop::open().await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop}}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http:
      paths:
      - {{path: /, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}
      - {{path: /v2, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}
"
    ))
    .await?;
    shop.split(
        "storefront",
        "
  newWeight: 20
  paths: [{value: /v2}]
  routers:
  - ingressNginx: {attach: {ingress: shop}}
",
    )
    .await?;
    let status = shop
        .until("storefront", "is refused", |status| {
            condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "Conflicted")
        })
        .await?;
    let (.., message) = condition(&status, "Stalled").unwrap_or_default();
    ensure!(message.contains("spec.routers[0].ingressNginx.attach"), "{message}");
    ensure!(shop.canary_weight("storefront").await?.is_none(), "a canary was made");
    Ok(())
}
