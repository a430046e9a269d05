//! Splits of gRPC: calls over HTTP/2 through the proxy, to sides that speak nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually,
    grpc::{self, Channel},
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::bed::{Shop, TAKEN_UP, condition};

const GET: &str = "/shop.Cart/Get";
const PUT: &str = "/shop.Cart/Put";
const PORT: u16 = 9090;

/// A shop whose sides are servers of gRPC.
struct Calls {
    shop: Shop,
    _servers: [grpc::Server; 2],
}

impl Calls {
    async fn open() -> Result<Self> {
        let shop = Shop::open().await?;
        let serve = async |side: &'static str| {
            let address = shop.address(side);
            shop.apply(&format!(
                "
apiVersion: v1
kind: Service
metadata: {{name: {side}-calls}}
spec: {{ports: [{{name: grpc, port: 80, targetPort: {PORT}, appProtocol: kubernetes.io/h2c}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {side}-calls, labels: {{kubernetes.io/service-name: {side}-calls}}}}
addressType: IPv4
ports: [{{name: grpc, port: {PORT}, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]
"
            ))
            .await?;
            grpc::serve((address, PORT).into(), side).await
        };
        let servers = [serve("old").await?, serve("new").await?];
        Ok(Self { shop, _servers: servers })
    }

    /// A split of the shop's host by a router.
    async fn split(&self, name: &str, weight: i32, paths: &str, router: &str) -> Result<()> {
        let host = &self.shop.host;
        self.shop
            .apply(&format!(
                "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: {name}}}
spec:
  hosts: [{host}]
  paths: {paths}
  legacy: {{service: {{name: old-calls, port: 80}}}}
  new: {{service: {{name: new-calls, port: 80}}}}
  newWeight: {weight}
  routers: [{{gatewayApi: {router}}}]
"
            ))
            .await
    }

    fn routes(&self) -> Api<DynamicObject> {
        self.shop.objects("gateway.networking.k8s.io", "GRPCRoute")
    }

    async fn channel(&self) -> Result<Channel> {
        Channel::open(self.shop.bed.entry.gateway, &self.shop.host).await
    }

    /// Waits until so many of a hundred calls are answered by the new side: weighted by turns, give or take one.
    async fn share(&self, path: &str, headers: &[(&str, &str)], percent: usize) -> Result<()> {
        eventually(&format!("{percent} % of {path} {headers:?}"), TAKEN_UP, || self.counts(path, headers, percent))
            .await
    }

    async fn counts(&self, path: &str, headers: &[(&str, &str)], percent: usize) -> Result<()> {
        let ends = [0, 100].contains(&percent);
        let by = self.channel().await?.calls(100, path, headers).await?;
        let new = by.iter().filter(|by| *by == "new").count();
        ensure!(new.abs_diff(percent) <= usize::from(!ends), "{new} of 100 of {path}");
        Ok(())
    }

    /// Calls one after the other until told to stop; not one may fail.
    async fn without_a_loss<T>(&self, meanwhile: impl Future<Output = Result<T>>) -> Result<T> {
        let stop = Arc::new(AtomicBool::new(false));
        let channel = self.channel().await?;
        channel.call(GET, &[]).await.context("it is served before")?;
        let stopped = Arc::clone(&stop);
        let calling = tokio::spawn(async move {
            let mut calls = 0_u32;
            while !stopped.load(Ordering::Relaxed) {
                channel.call(GET, &[]).await.with_context(|| format!("after {calls} calls"))?;
                calls += 1;
            }
            anyhow::Ok(calls)
        });
        let done = meanwhile.await;
        stop.store(true, Ordering::Relaxed);
        let calls = calling.await??;
        ensure!(calls > 0, "nobody called");
        done
    }
}

const MANAGED: &str = "{routeKind: GRPCRoute, parentRefs: [{name: edge, namespace: infra}]}";

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_calls_follow_the_weight_and_pins_stand_above_it() -> Result<()> {
    let calls = Calls::open().await?;
    let shop = &calls.shop;
    calls.split("cart", 0, "[{value: /shop.Cart}]", MANAGED).await?;
    shop.edit("cart", json!({"spec": {"pins": [{"to": "New", "header": {"name": "x-tester", "value": "yes"}}]}}))
        .await?;
    shop.carries("cart", 0).await?;
    calls.share(GET, &[], 0).await?;
    calls.share(GET, &[("x-tester", "yes")], 100).await?;
    calls.share(GET, &[("x-tester", "no")], 0).await?;
    calls
        .without_a_loss(async {
            for (weight, percent) in [(5, 5), (50, 50), (100, 100), (0, 0)] {
                shop.set_weight("cart", weight).await?;
                let status = shop.carries("cart", weight).await?;
                let router = status.routers.first().context("no router")?;
                ensure!(router.object == "GRPCRoute/cart" && router.observed_weight == Some(weight), "{router:?}");
                calls.share(PUT, &[], percent).await?;
            }
            Ok(())
        })
        .await?;
    ensure!(calls.channel().await?.call("/shop.Stock/Get", &[]).await.is_err(), "no other service was split");
    // The split is released with its route, then adopted, then removed with it.
    shop.splits().delete("cart", &DeleteParams::default()).await?;
    eventually("the route is let go", TAKEN_UP, || async {
        let route = calls.routes().get("cart").await?;
        let labels = route.metadata.labels.unwrap_or_default();
        ensure!(!labels.contains_key("cutover.dev/owner-uid"), "{labels:?}");
        Ok(())
    })
    .await?;
    calls.split("cart", 0, "[{value: /shop.Cart}]", MANAGED).await?;
    shop.carries("cart", 0).await?;
    shop.edit("cart", json!({"spec": {"onDelete": "Delete"}})).await?;
    shop.carries("cart", 0).await?;
    shop.splits().delete("cart", &DeleteParams::default()).await?;
    eventually("the route is gone", TAKEN_UP, || async {
        ensure!(calls.routes().get_opt("cart").await?.is_none(), "it is there");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_a_split_of_a_method_comes_before_one_of_its_service() -> Result<()> {
    let calls = Calls::open().await?;
    calls.split("cart", 0, "[{value: /shop.Cart}]", MANAGED).await?;
    // Of six letters or more, since Traefik ranks by the length of its expressions, and the one for any method has five.
    calls.split("checkout", 100, "[{type: Exact, value: /shop.Cart/Checkout}]", MANAGED).await?;
    calls.shop.carries("cart", 0).await?;
    calls.shop.carries("checkout", 100).await?;
    // All of it at the same time: of two rules that say the same, a proxy prefers now the one and now the other.
    eventually("the method is served by its own split", TAKEN_UP, || async {
        for _ in 0..3 {
            calls.counts("/shop.Cart/Checkout", &[], 100).await?;
            calls.counts(GET, &[], 0).await?;
        }
        Ok(())
    })
    .await?;
    // What a split of HTTP asks for on the same listener and host is in the way, whatever its paths.
    calls.split("web", 0, "[{value: /web}]", "{parentRefs: [{name: edge, namespace: infra}]}").await?;
    let status = calls
        .shop
        .until("web", "is in conflict", |status| {
            condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "Conflicted")
        })
        .await?;
    let (.., message) = condition(&status, "Stalled").unwrap_or_default();
    ensure!(message.contains("already belongs to TrafficSplit"), "{message}");
    ensure!(calls.shop.http_routes().get_opt("web").await?.is_none(), "it made its route");
    Ok(())
}

/// The rule's backends, by Service.
async fn backends(calls: &Calls, at: usize) -> Result<Value> {
    let route = calls.routes().get("users").await?;
    let refs = route.data["spec"]["rules"][at]["backendRefs"].as_array().context("no backends")?.clone();
    Ok(refs.iter().map(|it| json!([it["name"], it["weight"]])).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_a_named_rule_of_a_users_route_is_moved_and_given_back() -> Result<()> {
    let calls = Calls::open().await?;
    let shop = &calls.shop;
    let host = &shop.host;
    shop.apply(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: users}}
spec:
  parentRefs: [{{name: edge, namespace: infra}}]
  hostnames: [{host}]
  rules:
  - name: stock
    matches: [{{method: {{service: shop.Stock}}}}]
    backendRefs: [{{name: old-calls, port: 80}}]
  - name: cart
    matches: [{{method: {{service: shop.Cart}}}}]
    backendRefs: [{{name: old-calls, port: 80}}]
"
    ))
    .await?;
    calls.share(GET, &[], 0).await?;
    let before = calls.routes().get("users").await?.data["spec"].clone();
    calls
        .split("cart", 0, "[{value: /shop.Cart}]", "{routeKind: GRPCRoute, attach: {route: users, rule: cart}}")
        .await?;
    shop.carries("cart", 0).await?;
    calls
        .without_a_loss(async {
            for (weight, percent) in [(50, 50), (100, 100), (0, 0)] {
                shop.set_weight("cart", weight).await?;
                shop.carries("cart", weight).await?;
                calls.share(PUT, &[], percent).await?;
                calls.share("/shop.Stock/Get", &[], 0).await?;
            }
            Ok(())
        })
        .await?;
    ensure!(backends(&calls, 1).await? == json!([["old-calls", 100], ["new-calls", 0]]));
    shop.splits().delete("cart", &DeleteParams::default()).await?;
    eventually("the split's entry is gone", TAKEN_UP, || async {
        let left = backends(&calls, 1).await?;
        ensure!(left == json!([["old-calls", 100]]), "{left}");
        Ok(())
    })
    .await?;
    let mut after = calls.routes().get("users").await?.data["spec"].clone();
    after["rules"][1]["backendRefs"] = before["rules"][1]["backendRefs"].clone();
    ensure!(after == before, "{after:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn undisturbed_another_kind_of_route_takes_over_without_a_lost_call() -> Result<()> {
    let calls = Calls::open().await?;
    let shop = &calls.shop;
    let http = "{parentRefs: [{name: edge, namespace: infra}]}";
    // Both kinds carry gRPC, so that nothing but the kind changes.
    calls.split("cart", 50, "[{value: /shop.Cart}]", http).await?;
    shop.carries("cart", 50).await?;
    calls.share(GET, &[], 50).await?;
    let gone = async |route: Api<DynamicObject>| {
        eventually("the route of the other kind is gone", TAKEN_UP, || async {
            ensure!(route.get_opt("cart").await?.is_none(), "it is there");
            Ok(())
        })
        .await
    };
    let to = async |router: Value| shop.edit("cart", json!({"spec": {"routers": [{"gatewayApi": router}]}})).await;
    let parents = json!([{"name": "edge", "namespace": "infra"}]);
    calls
        .without_a_loss(async {
            to(json!({"routeKind": "GRPCRoute", "parentRefs": parents})).await?;
            shop.carries("cart", 50).await?;
            gone(shop.http_routes()).await?;
            calls.share(GET, &[], 50).await?;
            to(json!({"routeKind": "HTTPRoute", "parentRefs": parents})).await?;
            shop.carries("cart", 50).await?;
            gone(calls.routes()).await?;
            calls.share(GET, &[], 50).await
        })
        .await?;
    // A listener that is not there accepts nothing: what serves stays.
    to(json!({"routeKind": "GRPCRoute", "parentRefs": [{"name": "edge", "namespace": "infra", "sectionName": "nowhere"}]}))
        .await?;
    shop.until("cart", "is not accepted", |status| {
        status.routers.iter().any(|router| router.object == "GRPCRoute/cart" && router.accepted == Some(false))
    })
    .await?;
    ensure!(calls.routes().get_opt("cart").await?.is_some(), "the new route was made");
    ensure!(shop.http_routes().get_opt("cart").await?.is_some(), "the route that serves was removed");
    calls.share(GET, &[], 50).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_grpc_route_cannot_say_is_refused_and_its_weights_go_on() -> Result<()> {
    let calls = Calls::open().await?;
    let shop = &calls.shop;
    calls.split("cart", 20, "[{value: /shop.Cart}]", MANAGED).await?;
    shop.carries("cart", 20).await?;
    shop.edit("cart", json!({"spec": {"paths": [{"value": "/cart/items"}], "newWeight": 40}})).await?;
    let status = shop
        .until("cart", "is refused", |status| {
            condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "UnsupportedByRouter")
        })
        .await?;
    let (.., message) = condition(&status, "Stalled").unwrap_or_default();
    ensure!(message.starts_with("spec.paths[0]: a GRPCRoute takes services"), "{message}");
    eventually("the weight goes on", Duration::from_secs(60), || async {
        let route = calls.routes().get("cart").await?;
        let rule = &route.data["spec"]["rules"][0];
        ensure!(rule["backendRefs"][1]["weight"] == 40, "{rule}");
        ensure!(rule["matches"][0]["method"]["service"] == "shop.Cart", "{rule}");
        Ok(())
    })
    .await?;
    shop.edit("cart", json!({"spec": {"paths": [{"value": "/shop.Cart"}]}})).await?;
    shop.carries("cart", 40).await?;
    // A hand that takes the rules' names away, or gives them filters, is put right.
    let by_hand = json!({"spec": {"rules": [{"backendRefs": [{"name": "old-calls", "port": 80}]}]}});
    calls.routes().patch("cart", &PatchParams::default(), &Patch::Merge(by_hand)).await?;
    eventually("the rules are as they were", TAKEN_UP, || async {
        let route = calls.routes().get("cart").await?;
        let rule = &route.data["spec"]["rules"][0];
        ensure!(rule["name"] == "weighted" && rule["backendRefs"][1]["weight"] == 40, "{rule}");
        Ok(())
    })
    .await
}
