//! Splits beside routes that belong to somebody else.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cutover_testkit::tools;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::bed::{BOTH, Shop, condition};

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
    shop.served_on(&BOTH).await?;
    let (ingress, route) = (shop.ingresses().get("shop").await?, shop.http_routes().get("shop").await?);
    shop.attached_to("shop").await?;
    let load = shop.load_on(&BOTH)?;
    for weight in [20, 100, 30] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        shop.shares(&load, Instant::now(), f64::from(weight)).await?;
    }
    load.stop().await?.check(6_000)?;

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

/// Whatever says a weight taken out.
fn without_weights(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("weight");
            fields.values_mut().for_each(|field| *field = without_weights(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_weights(item.take())),
        _ => {}
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_a_split_leaves_by_an_edit_is_as_it_was_found_but_for_weights() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
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
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: edge, namespace: infra}}]
  hostnames: [{host}]
  rules:
  - {{name: all, backendRefs: [{{name: old, port: 80}}]}}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {{name: shop}}
spec: {{weighted: {{services: [{{name: old, port: http}}, {{name: new, port: http, weight: 0}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: [{host}]
  gateways: [infra/edge]
  http: [{{name: all, timeout: 3s, route: [{{destination: {{host: old}}}}]}}]
"
    ))
    .await?;
    let routes = [
        shop.http_routes(),
        shop.objects_of("traefik.io", "v1alpha1", "TraefikService"),
        shop.objects("networking.istio.io", "VirtualService"),
    ];
    let found = async || {
        let mut specs = Vec::new();
        for route in &routes {
            specs.push(without_weights(route.get("shop").await?.data["spec"].take()));
        }
        anyhow::Ok(specs)
    };
    let (before, ingress) = (found().await?, shop.ingresses().get("shop").await?);
    let (beside, rule) = (
        json!({"ingressNginx": {"attach": {"ingress": "shop"}}}),
        json!({"gatewayApi": {"attach": {"route": "shop", "rule": "all"}}}),
    );
    let service = json!({"traefik": {"attach": {"service": "shop"}}});
    let entry = json!({"istio": {"attach": {"virtualService": "shop", "http": "all"}}});
    shop.split("storefront", &format!("\n  newWeight: 0\n  routers: {}", json!([beside, rule, service, entry])))
        .await?;
    for weight in [0, 20, 0] {
        shop.set_weight("storefront", weight).await?;
        let status = shop.carries("storefront", weight).await?;
        ensure!(status.added.len() == 2, "{status:#?}");
    }
    ensure!(found().await? != before, "nothing was added to what is to be restored");

    let leave_to = async |routers: Value| shop.edit("storefront", json!({"spec": {"routers": routers}})).await;
    leave_to(json!([beside])).await?;
    shop.until("storefront", "has left three of its routers", |status| status.added.is_empty()).await?;
    ensure!(found().await? == before, "not as it was found: {:#?}", found().await?);
    let served = shop.route_weights("shop").await?;
    ensure!(served == [("old".to_owned(), 100)], "{served:?}");

    // What bears weight when it is left goes on bearing it.
    leave_to(json!([rule])).await?;
    shop.set_weight("storefront", 30).await?;
    shop.carries("storefront", 30).await?;
    ensure!(shop.canary_weight("storefront").await?.is_none(), "the canary beside the Ingress is still there");
    leave_to(json!([beside])).await?;
    let status = shop.until("storefront", "has left the rule", |status| status.added.is_empty()).await?;
    ensure!(status.routers.len() == 1, "{status:#?}");
    let served = shop.route_weights("shop").await?;
    ensure!(served == [("old".to_owned(), 70), ("new".to_owned(), 30)], "{served:?}");
    let now = shop.ingresses().get("shop").await?;
    ensure!(now.metadata.resource_version == ingress.metadata.resource_version, "the Ingress was written");
    Ok(())
}
