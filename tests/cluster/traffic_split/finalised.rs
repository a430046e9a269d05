//! A complete cutover and the way back from it, while legacy's endpoints come and go: on routes of our own, and on those of somebody else.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::TrafficSplitStatus;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::bed::{Shop, condition};
use crate::routers::Router;

impl Shop {
    /// The main Ingress of `storefront` leads to this Service.
    async fn main_leads_to(&self, service: &str) -> Result<()> {
        let ingress = self.ingresses().get("storefront").await?;
        let paths = ingress.data["spec"]["rules"][0]["http"]["paths"].as_array().context("no paths")?;
        let main = paths.iter().find(|path| path["path"] == "/").context("no main path")?;
        ensure!(main["backend"]["service"]["name"] == service, "{main:#}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_a_complete_cutover_leads_the_main_route_to_new_and_back_and_loses_nothing() -> Result<()> {
    let shop = Shop::open().await?;
    shop.managed_on(&Router::ALL, "storefront", 40).await?;
    shop.carries("storefront", 40).await?;
    shop.served_on(&Router::ALL).await?;
    shop.main_leads_to("storefront-cutover-legacy").await?;
    let load = shop.load_on(&Router::ALL)?;
    shop.set_weight("storefront", 100).await?;
    shop.carries("storefront", 100).await?;
    shop.main_leads_to("storefront-cutover-new").await?;
    // A proxy whose main backend has no endpoint answers every request with an error, the canary's too.
    shop.ready("old", false).await?;
    shop.shares(&load, Instant::now(), 100.0).await?;

    shop.set_weight("storefront", 40).await?;
    let waits = |status: &TrafficSplitStatus| {
        condition(status, "Reconciling").is_some_and(|(_, reason, _)| reason == "InsufficientCapacity")
    };
    let status = shop.until("storefront", "waits for legacy", waits).await?;
    ensure!(status.applied_weight == Some(100), "{status:#?}");
    shop.main_leads_to("storefront-cutover-new").await?;
    shop.ready("old", true).await?;
    shop.carries("storefront", 40).await?;
    shop.main_leads_to("storefront-cutover-legacy").await?;
    shop.shares(&load, Instant::now(), 40.0).await?;
    load.stop().await?.check(6_000)
}

/// Rules of a user's own Ingress.
fn ingress_rules(host: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    json!([{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_users_routes_are_led_to_new_and_back_and_lose_nothing() -> Result<()> {
    let shop = Shop::open().await?;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop}}
spec: {{ingressClassName: nginx, rules: {}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: edge, namespace: infra}}]
  hostnames: [{host}]
  rules: [{{name: all, backendRefs: [{{name: old, port: 80}}]}}]
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {{name: shop}}
spec: {{weighted: {{services: [{{name: old, port: 80, weight: 1}}, {{name: new, port: 80, weight: 0}}]}}}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {{name: shop}}
spec:
  entryPoints: [web]
  routes: [{{kind: Rule, match: Host(`{host}`), services: [{{kind: TraefikService, name: shop}}]}}]
",
        ingress_rules(host, "old")
    ))
    .await?;
    shop.served_on(&Router::ALL).await?;
    let routers = "[{ingressNginx: {attach: {ingress: shop}}}, {gatewayApi: {attach: {route: shop, rule: all}}}, \
                   {traefik: {attach: {service: shop}}}]";
    shop.split("storefront", &format!("  newWeight: 0\n  routers: {routers}")).await?;
    shop.carries("storefront", 0).await?;
    let load = shop.load_on(&Router::ALL)?;
    shop.set_weight("storefront", 100).await?;
    shop.carries("storefront", 100).await?;

    // The Ingress is its user's: only they can lead it away from legacy. Nothing moves at that moment.
    let lead_to = async |service: &str| {
        let rules = json!({"spec": {"rules": ingress_rules(host, service)}});
        shop.ingresses().patch("shop", &PatchParams::default(), &Patch::Merge(rules)).await
    };
    lead_to("new").await?;
    shop.shares(&load, Instant::now(), 100.0).await?;
    shop.ready("old", false).await?;
    shop.shares(&load, Instant::now(), 100.0).await?;
    let status = shop.carries("storefront", 100).await?;
    ensure!(status.routers.iter().all(|router| router.observed_weight == Some(100)), "{status:#?}");

    shop.ready("old", true).await?;
    lead_to("old").await?;
    shop.set_weight("storefront", 40).await?;
    shop.carries("storefront", 40).await?;
    shop.shares(&load, Instant::now(), 40.0).await?;
    load.stop().await?.check(9_000)
}
