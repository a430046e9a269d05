//! What becomes of requests at the edge, seen on the wire: redirects, rewritten paths, other origins, and requests that are sent again.
//! What nobody serves here is looked at by its own definitions in the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually,
    http::{self, Response},
    tools,
};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::bed::{GATEWAY, NGINX, Shop, TAKEN_UP, condition};

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

async fn answers(entry: SocketAddr, shop: &Shop, path: &str, wanted: u16) -> Result<Response> {
    eventually(&format!("{path} is answered with {wanted}"), TAKEN_UP, || async {
        let answer = http::get(entry, &shop.host, path).await?;
        ensure!(answer.status() == wanted, "{}", answer.status());
        Ok(answer)
    })
    .await
}

async fn refused(shop: &Shop, reason: &str) -> Result<String> {
    let status = shop
        .until("storefront", "is refused", |status| {
            condition(status, "Stalled").is_some_and(|(is, why, _)| is == "True" && why == reason)
        })
        .await?;
    Ok(condition(&status, "Stalled").context("not stalled")?.2.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_see_the_rewritten_path_on_either_router() -> Result<()> {
    let shop = Shop::open().await?;
    let split = format!("  newWeight: 50\n  paths: [{{value: /shop, rewrite: /v1}}]\n  routers: [{NGINX}, {GATEWAY}]");
    shop.split("storefront", &split).await?;
    shop.carries("storefront", 50).await?;
    for entry in [shop.bed.entry.nginx, shop.bed.entry.gateway] {
        for (asked, seen) in [("/shop/cart?a=b", "/v1/cart?a=b"), ("/shop", "/v1")] {
            answers(entry, &shop, asked, 200).await?;
            let mut sides = BTreeSet::new();
            // Weighted by turns: a few answers are of both sides.
            for _ in 0..20 {
                let answer = answers(entry, &shop, asked, 200).await?;
                ensure!(header(&answer, "x-received-path") == Some(seen), "{asked}: {:?}", answer.headers());
                sides.extend(header(&answer, "x-served-by").map(str::to_owned));
            }
            ensure!(sides.len() == 2, "{sides:?}");
        }
        answers(entry, &shop, "/shopping", 404).await?;
    }
    // Without it the same paths are asked for as they are.
    shop.edit("storefront", json!({"spec": {"paths": [{"value": "/shop"}]}})).await?;
    shop.carries("storefront", 50).await?;
    for entry in [shop.bed.entry.nginx, shop.bed.entry.gateway] {
        eventually("the path is as it was asked for", TAKEN_UP, || async {
            let answer = http::get(entry, &shop.host, "/shop/cart").await?;
            ensure!(header(&answer, "x-received-path") == Some("/shop/cart"), "{:?}", answer.headers());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_ask_and_no_others() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.nginx;
    let cors = "{cors: {allowOrigins: ['https://admin.example.com'], allowMethods: [GET, PUT], allowHeaders: [X-Token], allowCredentials: true}}";
    shop.split("storefront", &format!("  newWeight: 50\n  edge: {cors}\n  routers: [{NGINX}]")).await?;
    shop.carries("storefront", 50).await?;
    let asked = async |method: http::Method, origin: &str| {
        let more = [("origin", origin), ("access-control-request-method", "PUT")];
        http::send(entry, &shop.host, method, "/", &more).await
    };
    eventually("a preflight is answered", TAKEN_UP, || async {
        let answer = asked(http::Method::OPTIONS, "https://admin.example.com").await?;
        let said = |name: &str| header(&answer, name).unwrap_or_default().replace(' ', "").to_ascii_lowercase();
        ensure!(answer.status().is_success(), "{}", answer.status());
        ensure!(said("access-control-allow-origin") == "https://admin.example.com", "{:?}", answer.headers());
        ensure!(said("access-control-allow-methods") == "get,put", "{:?}", answer.headers());
        ensure!(said("access-control-allow-headers") == "x-token", "{:?}", answer.headers());
        ensure!(said("access-control-allow-credentials") == "true", "{:?}", answer.headers());
        ensure!(said("access-control-max-age") == "600", "{:?}", answer.headers());
        ensure!(header(&answer, "x-served-by").is_none(), "a side was asked");
        Ok(())
    })
    .await?;
    let mut sides = BTreeSet::new();
    for _ in 0..20 {
        let answer = asked(http::Method::GET, "https://admin.example.com").await?;
        ensure!(header(&answer, "access-control-allow-origin") == Some("https://admin.example.com"));
        sides.extend(header(&answer, "x-served-by").map(str::to_owned));
        let other = asked(http::Method::GET, "https://elsewhere.example.com").await?;
        sides.extend(header(&other, "x-served-by").map(str::to_owned));
        ensure!(header(&other, "access-control-allow-origin") != Some("https://elsewhere.example.com"));
        ensure!(header(&other, "access-control-allow-origin") != Some("*"));
    }
    ensure!(sides.len() == 2, "{sides:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_tls_are_sent_to_https_as_long_as_the_split_says_so() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.nginx;
    shop.split("storefront", &format!("  newWeight: 50\n  edge: {{tlsRedirect: true}}\n  routers: [{NGINX}]")).await?;
    shop.carries("storefront", 50).await?;
    let answer = answers(entry, &shop, "/cart?a=b", 308).await?;
    let location = header(&answer, "location").context("no location")?;
    ensure!(location == format!("https://{}/cart?a=b", shop.host), "{location}");
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    answers(entry, &shop, "/cart?a=b", 200).await.map(drop)
}

/// Two listeners of a Gateway of the shop's own. A certificate is no matter of ours, so that neither has TLS.
pub(super) async fn two_listeners(shop: &Shop) -> Result<[SocketAddr; 2]> {
    let [plain, secure] = [shop.bed.entry.gateway, shop.bed.entry.web];
    shop.apply(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: front}}
spec:
  gatewayClassName: traefik
  listeners:
  - {{name: plain, protocol: HTTP, port: {}}}
  - {{name: secure, protocol: HTTP, port: {}}}
",
        plain.port(),
        secure.port()
    ))
    .await?;
    Ok([plain, secure])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_tls_redirects_and_the_other_serves() -> Result<()> {
    let shop = Shop::open().await?;
    let [plain, secure] = two_listeners(&shop).await?;
    let router = "{gatewayApi: {parentRefs: [{name: front, sectionName: secure, redirectFrom: plain}]}}";
    shop.split("storefront", &format!("  newWeight: 50\n  edge: {{tlsRedirect: true}}\n  routers: [{router}]")).await?;
    shop.carries("storefront", 50).await?;
    answers(secure, &shop, "/cart", 200).await?;
    let answer = answers(plain, &shop, "/cart?a=b", 301).await?;
    let location = header(&answer, "location").context("no location")?;
    ensure!(location.starts_with(&format!("https://{}", shop.host)) && location.ends_with("/cart?a=b"), "{location}");
    // A listener that is not there is named.
    let wrong = json!([{"gatewayApi": {"parentRefs": [{"name": "front", "sectionName": "secure", "redirectFrom": "elsewhere"}]}}]);
    shop.edit("storefront", json!({"spec": {"routers": wrong}})).await?;
    let said = refused(&shop, "RouteNotAccepted").await?;
    ensure!(said.starts_with("spec.routers[0].gatewayApi.parentRefs[0].redirectFrom: "), "{said}");
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    shop.carries("storefront", 50).await?;
    eventually("the redirect is gone", TAKEN_UP, || async {
        ensure!(shop.http_routes().get_opt("storefront-cutover-redirect").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    answers(plain, &shop, "/cart", 404).await?;
    answers(secure, &shop, "/cart", 200).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_repeated_is_sent_again_and_a_post_is_not() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.nginx;
    // Of the two endpoints of one side, one answers 503 where it is asked for its health.
    let [good, bad] = [shop.address("old"), shop.address("new")];
    shop.apply(&format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: old, labels: {{kubernetes.io/service-name: old}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{good}], conditions: {{ready: true}}}}, {{addresses: [{bad}], conditions: {{ready: true}}}}]
"
    ))
    .await?;
    shop.backends[1].script().not_ready(true);
    shop.split("storefront", &format!("  newWeight: 0\n  edge: {{retries: {{attempts: 2}}}}\n  routers: [{NGINX}]"))
        .await?;
    shop.carries("storefront", 0).await?;
    // Two in a row are of both endpoints.
    let statuses = async |method: http::Method| {
        let mut statuses = BTreeMap::new();
        for _ in 0..20 {
            let answer = http::send(entry, &shop.host, method.clone(), "/api/health", &[]).await?;
            *statuses.entry(answer.status().as_u16()).or_insert(0) += 1;
        }
        anyhow::Ok(statuses)
    };
    eventually("what may be repeated is sent again, and a POST is not", TAKEN_UP, || async {
        let (read, sent) = (statuses(http::Method::GET).await?, statuses(http::Method::POST).await?);
        ensure!(read == BTreeMap::from([(200, 20)]) && sent.get(&503).is_some_and(|bad| *bad > 0), "{read:?} {sent:?}");
        Ok(())
    })
    .await?;
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    eventually("nothing is sent again", TAKEN_UP, || async {
        let read = statuses(http::Method::GET).await?;
        ensure!(read.get(&503).is_some_and(|bad| *bad > 0), "{read:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_lists_no_copies_is_not_asked_for_them() -> Result<()> {
    let shop = Shop::open().await?;
    shop.split("storefront", &format!("  newWeight: 50\n  mirror: {{percent: 10}}\n  routers: [{GATEWAY}]")).await?;
    let said = refused(&shop, "UnsupportedByRouter").await?;
    ensure!(
        said.starts_with("spec.mirror: GatewayClass traefik does not list the feature HTTPRouteRequestMirror"),
        "{said}"
    );
    ensure!(shop.http_routes().get_opt("storefront").await?.is_none(), "nothing is left out silently");
    shop.edit("storefront", json!({"spec": {"mirror": null}})).await?;
    shop.carries("storefront", 50).await?;
    answers(shop.bed.entry.gateway, &shop, "/", 200).await.map(drop)
}

/// The entries of the VirtualService that bear weights.
async fn weighted(shop: &Shop) -> Result<Vec<Value>> {
    let made: DynamicObject = shop.objects("networking.istio.io", "VirtualService").get("storefront").await?;
    let entries = made.data["spec"]["http"].as_array().context("no entries")?.clone();
    Ok(entries.into_iter().filter(|it| it["name"].as_str().is_some_and(|name| name.starts_with("weighted"))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_takes_all_of_it_and_every_entry_bears_the_weights() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    shop.split(
        "storefront",
        "
  newWeight: 20
  paths: [{value: /}, {value: /shop, rewrite: /v1}, {type: Exact, value: /ping, rewrite: /health}]
  mirror: {percent: 10}
  edge:
    cors: {allowOrigins: ['https://admin.example.com'], exposeHeaders: [X-Total]}
    retries: {attempts: 2, backoffMilliseconds: 50, perTryTimeout: 3s}
    securityHeaders: {}
  routers: [{istio: {gateways: [infra/edge]}}]
",
    )
    .await?;
    shop.carries("storefront", 20).await?;
    for weight in [60, 20] {
        shop.set_weight("storefront", weight).await?;
        shop.carries("storefront", weight).await?;
        let entries = weighted(&shop).await?;
        ensure!(entries.len() == 12, "{entries:#?}");
        for entry in &entries {
            ensure!(entry["route"][1]["weight"] == weight && entry["route"][0]["weight"] == 100 - weight, "{entry:#}");
            let method = entry["match"][0]["method"]["regex"].as_str();
            ensure!(entry["mirror"].is_null() == (method != Some("GET|HEAD")), "{entry:#}");
            ensure!(entry["corsPolicy"]["allowOrigins"][0]["exact"] == "https://admin.example.com", "{entry:#}");
        }
    }
    // Nobody is there to take copies.
    shop.ready("new", false).await?;
    eventually("nothing is copied", TAKEN_UP, || async {
        ensure!(weighted(&shop).await?.iter().all(|entry| entry["mirror"].is_null()), "it is");
        let status = shop.status("storefront").await?;
        let said = status.routers[0].message.as_deref().unwrap_or_default();
        ensure!(said == "spec.mirror: nothing is copied while the new side has no ready endpoint", "{said}");
        Ok(())
    })
    .await?;
    shop.ready("new", true).await?;
    eventually("something is copied", TAKEN_UP, || async {
        ensure!(weighted(&shop).await?.iter().any(|entry| !entry["mirror"].is_null()), "nothing is");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_is_told_the_port_with_tls() -> Result<()> {
    let shop = Shop::open().await?;
    let edge = "edge: {tlsRedirect: true}";
    shop.split("storefront", &format!("  newWeight: 50\n  {edge}\n  routers: [{{alb: {{className: alb}}}}]")).await?;
    let said = refused(&shop, "UnsupportedByRouter").await?;
    ensure!(said.starts_with("spec.edge.tlsRedirect: alb ") && said.contains("listen-ports"), "{said}");
    let ports = json!({"alb.ingress.kubernetes.io/listen-ports": r#"[{"HTTP": 80}, {"HTTPS": 443}]"#});
    shop.edit("storefront", json!({"spec": {"routers": [{"alb": {"className": "alb", "annotations": ports}}]}}))
        .await?;
    shop.carries("storefront", 50).await?;
    let made = shop.ingresses().get("storefront-cutover-alb").await?;
    let said = made.metadata.annotations.context("no annotations")?;
    ensure!(said.get("alb.ingress.kubernetes.io/ssl-redirect").map(String::as_str) == Some("443"), "{said:?}");
    Ok(())
}
