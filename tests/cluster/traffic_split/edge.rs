//! What a split asks of the edge, seen on the wire.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use cutover_testkit::{
    eventually,
    http::{self, Response},
    load::{LoadGenerator, LoadOptions, Stream},
    traefik::ALLOWED_RESPONSE_HEADERS,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use tokio::net::TcpListener;

use super::bed::{GATEWAY, NGINX, Shop, TAKEN_UP, condition};

pub(super) async fn split(shop: &Shop, router: &str, edge: &str) -> Result<()> {
    shop.split("storefront", &format!("  newWeight: 50\n  edge: {edge}\n  routers: [{router}]")).await?;
    shop.carries("storefront", 50).await.map(drop)
}

pub(super) async fn status(entry: SocketAddr, shop: &Shop) -> Result<u16> {
    Ok(http::get(entry, &shop.host, "/").await?.status().as_u16())
}

pub(super) async fn answers(entry: SocketAddr, shop: &Shop, wanted: u16) -> Result<()> {
    eventually(&format!("the answer is {wanted}"), TAKEN_UP, || async {
        let status = status(entry, shop).await?;
        ensure!(status == wanted, "{status}");
        Ok(())
    })
    .await
}

/// A limit is in force while it is asked for, and not before or after.
pub(super) async fn limits(shop: &Shop, router: &str, entry: SocketAddr) -> Result<()> {
    split(shop, router, "{}").await?;
    answers(entry, shop, 200).await?;
    for _ in 0..30 {
        ensure!(status(entry, shop).await? == 200, "nobody has asked for a limit");
    }
    // One comes back every half a minute: asked without a pause, the two at once are soon used up.
    shop.edit("storefront", json!({"spec": {"edge": {"rateLimit": {"requestsPerMinute": 2}}}})).await?;
    answers(entry, shop, 429).await?;
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    // A few answers prove nothing: a proxy that takes up a change of any other route counts from nothing.
    eventually("the limit is gone", TAKEN_UP, || async {
        for asked in 0..30 {
            ensure!(status(entry, shop).await? == 200, "after {asked} requests it is still there");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_is_silent_for_too_long_is_given_up_whichever_it_is() -> Result<()> {
    let shop = Shop::open().await?;
    gives_up(&shop, NGINX, shop.bed.entry.nginx).await
}

/// No side is waited for longer than the spec says.
pub(super) async fn gives_up(shop: &Shop, router: &str, entry: SocketAddr) -> Result<()> {
    split(shop, router, "{timeouts: {read: 1s}}").await?;
    answers(entry, shop, 200).await?;
    for (backend, weight) in shop.backends.iter().zip([0, 100]) {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        // Longer than its client waits, who would see no answer at all.
        backend.script().delay(Duration::from_secs(30));
        answers(entry, shop, 504).await?;
        backend.script().clear();
        answers(entry, shop, 200).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn security_headers_are_on_every_answer_of_both_sides() -> Result<()> {
    let shop = Shop::open().await?;
    hardens(&shop, GATEWAY, shop.bed.entry.gateway).await
}

/// A router that is told what the controller allows.
fn nginx_allowing() -> String {
    json!({"ingressNginx": {"className": "nginx", "allowedResponseHeaders": ALLOWED_RESPONSE_HEADERS}}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn ingresses_set_the_security_headers_that_are_allowed_on_every_answer_of_both_sides() -> Result<()> {
    let shop = Shop::open().await?;
    hardens(&shop, &nginx_allowing(), shop.bed.entry.nginx).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_an_ingress_names_other_headers() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.nginx;
    split(&shop, &nginx_allowing(), "{}").await?;
    answers(entry, &shop, 200).await?;
    // A host whose ConfigMap is not known would be answered with 503.
    let load = LoadGenerator::start(
        LoadOptions::default(),
        [Stream::new("nginx", entry, shop.host.clone()).router("nginx").rate(40)],
    )?;
    let same_origin = json!({"frameOptions": "SameOrigin"});
    for (headers, wanted) in [
        (json!({}), Some("DENY")),
        (same_origin.clone(), Some("SAMEORIGIN")),
        (json!(null), None),
        (same_origin, Some("SAMEORIGIN")),
    ] {
        shop.edit("storefront", json!({"spec": {"edge": {"securityHeaders": headers}}})).await?;
        eventually("the headers are as they are asked for", TAKEN_UP, || async {
            let answer = http::get(entry, &shop.host, "/").await?;
            let frames = answer.headers().get("x-frame-options").and_then(|it| it.to_str().ok());
            ensure!(frames == wanted, "{answer:?}");
            Ok(())
        })
        .await?;
    }
    load.stop().await?.check(100)?;
    let config_maps: Api<ConfigMap> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let ours = ListParams::default().labels("cutover.dev/owner-kind=TrafficSplit");
    eventually("what nobody names any more is gone", TAKEN_UP, || async {
        let left = config_maps.list(&ours).await?.items;
        ensure!(left.len() == 1, "{left:#?}");
        Ok(())
    })
    .await?;
    shop.edit("storefront", json!({"spec": {"onDelete": "Delete"}})).await?;
    shop.splits().delete("storefront", &DeleteParams::default()).await?;
    eventually("it goes with its split", TAKEN_UP, || async {
        let left = config_maps.list(&ours).await?.items;
        ensure!(left.is_empty(), "{left:#?}");
        Ok(())
    })
    .await
}

/// A side that sets some of the headers itself, and otherwise.
async fn sets_its_own(shop: &Shop, side: &'static str) -> Result<()> {
    let address = shop.address(side);
    let listener = TcpListener::bind((address, 8081)).await?;
    let answer = move || async move {
        let said = [
            ("x-served-by", side),
            ("x-frame-options", "SAMEORIGIN"),
            ("strict-transport-security", "max-age=1"),
            ("content-security-policy", "default-src *"),
        ];
        HeaderMap::from_iter(said.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))))
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    shop.apply(&format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {side}, labels: {{kubernetes.io/service-name: {side}}}}}
addressType: IPv4
ports: [{{name: http, port: 8081, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]
"
    ))
    .await
}

/// Answers of both sides bear the headers, each once, whatever the side says and whoever asks.
pub(super) async fn hardens(shop: &Shop, router: &str, entry: SocketAddr) -> Result<()> {
    for side in ["old", "new"] {
        sets_its_own(shop, side).await?;
    }
    let edge =
        "{securityHeaders: {contentSecurityPolicy: \"default-src 'self'\", strictTransportSecurity: {maxAge: 5m}}}";
    split(shop, router, edge).await?;
    let pin = json!({"to": "New", "header": {"name": "x-cutover", "value": "new"}});
    shop.edit("storefront", json!({"spec": {"pins": [pin]}})).await?;
    shop.carries("storefront", 50).await?;
    let wanted = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("permissions-policy", "geolocation=(), microphone=(), camera=()"),
        ("content-security-policy", "default-src 'self'"),
        ("strict-transport-security", "max-age=300"),
    ];
    let bears_them = |answer: &Response| {
        ensure!(answer.status() == 200, "{}", answer.status());
        for (name, value) in wanted {
            let all: Vec<_> = answer.headers().get_all(name).iter().collect();
            ensure!(all == [value], "{name}: {all:?} in {answer:?}");
        }
        Ok(())
    };
    eventually("who is pinned is answered with them", TAKEN_UP, || async {
        // By turns the weight alone would have legacy answer some.
        for _ in 0..6 {
            let answer = http::get_with(entry, &shop.host, "/", Some(("x-cutover", "new"))).await?;
            ensure!(answer.headers().get("x-served-by").is_some_and(|by| by == "new"), "{answer:?}");
            bears_them(&answer)?;
        }
        Ok(())
    })
    .await?;
    shop.of_both_sides(entry, "/", bears_them).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_router_cannot_carry_is_refused_by_name_and_the_other_goes_on() -> Result<()> {
    let shop = Shop::open().await?;
    let edge = "{rateLimit: {requestsPerMinute: 600}}";
    shop.split("storefront", &format!("  newWeight: 50\n  edge: {edge}\n  routers: [{NGINX}, {GATEWAY}]")).await?;
    let status = shop
        .until("storefront", "is refused", |status| {
            condition(status, "Stalled").is_some_and(|(is, reason, _)| is == "True" && reason == "UnsupportedByRouter")
        })
        .await?;
    let (.., message) = condition(&status, "Stalled").context("not stalled")?;
    assert!(message.starts_with("spec.edge.rateLimit: gatewayApi has no rate limit"), "{message}");
    answers(shop.bed.entry.nginx, &shop, 200).await?;
    assert_eq!(
        shop.http_routes().get_opt("storefront").await?.map(|route| route.data),
        None,
        "nothing is left out silently"
    );
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    shop.carries("storefront", 50).await?;
    answers(shop.bed.entry.gateway, &shop, 200).await
}

/// What a route says besides its weights comes and goes while it is served; so do weights.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_what_is_asked_of_ingresses_and_http_routes_comes_and_goes() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry;
    let limit = json!({"requestsPerMinute": 1_000_000});
    let ingress = json!({"rateLimit": limit, "timeouts": {"read": "1m"}, "retries": {"attempts": 1}, "cors": {"allowOrigins": ["*"]}});
    let splits =
        [("ingress", NGINX, entry.nginx, ingress), ("route", GATEWAY, entry.gateway, json!({"securityHeaders": {}}))];
    for (name, router, entry, _) in &splits {
        shop.split(name, &format!("  newWeight: 50\n  routers: [{router}]")).await?;
        shop.carries(name, 50).await?;
        answers(*entry, &shop, 200).await?;
    }
    let streams = splits.iter().map(|(name, _, entry, _)| Stream::new(*name, *entry, shop.host.clone()).rate(40));
    let load = LoadGenerator::start(LoadOptions::default(), streams)?;
    let pins = json!([{"to": "New", "header": {"name": "x-cutover", "value": "new"}}]);
    let rewritten = json!([{"value": "/", "rewrite": "/v1"}]);
    for (weight, seen) in [(40, "/v1/cart"), (60, "/cart"), (100, "/v1/cart"), (30, "/cart")] {
        for (name, _, entry, edge) in &splits {
            let asked = if seen == "/cart" {
                json!({"edge": null, "pins": null, "paths": [{"value": "/"}], "newWeight": weight})
            } else {
                json!({"edge": edge, "pins": pins, "paths": rewritten, "newWeight": weight})
            };
            shop.edit(name, json!({"spec": asked})).await?;
            shop.carries(name, weight).await?;
            eventually(&format!("{name}: /cart is seen as {seen}"), TAKEN_UP, || async {
                let answer = http::get(*entry, &shop.host, "/cart").await?;
                let path = answer.headers().get("x-received-path").with_context(|| format!("{answer:?}"))?;
                ensure!(path == seen, "{path:?}");
                Ok(())
            })
            .await?;
        }
    }
    let report = load.stop().await?;
    // What sides see of a path is no matter of this: a rewritten one counts as misrouted.
    ensure!(report.counts.lost == 0 && report.counts.total >= 300, "{report}");
    Ok(())
}
