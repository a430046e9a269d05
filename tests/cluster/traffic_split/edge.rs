//! What a split asks of the edge, seen on the wire.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{eventually, http};
use serde_json::json;

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

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_is_answered_429() -> Result<()> {
    let shop = Shop::open().await?;
    limits(&shop, NGINX, shop.bed.entry.nginx).await
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

/// Answers of both sides bear the headers, each once.
pub(super) async fn hardens(shop: &Shop, router: &str, entry: SocketAddr) -> Result<()> {
    split(shop, router, "{securityHeaders: {strictTransportSecurity: {maxAge: 5m}}}").await?;
    let wanted = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("permissions-policy", "geolocation=(), microphone=(), camera=()"),
        ("strict-transport-security", "max-age=300"),
    ];
    answers(entry, shop, 200).await?;
    shop.of_both_sides(entry, "/", |answer| {
        ensure!(answer.status() == 200, "{}", answer.status());
        for (name, value) in wanted {
            let all: Vec<_> = answer.headers().get_all(name).iter().collect();
            ensure!(all == [value], "{name}: {all:?} in {answer:?}");
        }
        Ok(())
    })
    .await
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
