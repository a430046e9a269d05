//! What a split asks of the edge, by Middlewares and ServersTransports of Traefik's.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    eventually, http,
    load::{LoadGenerator, LoadOptions, Stream},
    node::Backend,
};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::{
    bed::{Shop, TAKEN_UP, TRAEFIK, condition},
    edge::{answers, gives_up, hardens, limits, split, status},
};

const OURS: &str = "app.kubernetes.io/managed-by=cutover";

impl Shop {
    fn accessories(&self) -> [Api<DynamicObject>; 2] {
        ["Middleware", "ServersTransport"].map(|kind| self.objects_of("traefik.io", "v1alpha1", kind))
    }

    /// The names of what was made for Traefik's routes to name.
    async fn named(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for api in self.accessories() {
            let found = api.list(&ListParams::default().labels(OURS)).await?;
            names.extend(found.items.into_iter().filter_map(|it| it.metadata.name));
        }
        Ok(names)
    }

    async fn nothing_is_named(&self) -> Result<()> {
        eventually("what nobody asks for is gone", TAKEN_UP, || async {
            let left = self.named().await?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await
    }
}

/// How many requests by this method a side has had.
pub(super) async fn counted(side: &Backend, method: &str) -> Result<f64> {
    let (text, method) = (http::text(side.address(), "/metrics").await?, format!("\"{method}\""));
    let lines = text.lines().filter(|line| line.starts_with("http_requests_total") && line.contains(&method));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// What a client at this address is answered: the status, and all of it in lower case.
pub(super) async fn ask(client: [u8; 4], entry: SocketAddr, head: &str) -> Result<(u16, String)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((client, 0).into())?;
    let mut connection = socket.connect(entry).await?;
    connection.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let code = answer.split(' ').nth(1).context("no answer")?.parse().with_context(|| answer.clone())?;
    Ok((code, answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_answers_429_to_who_asks_too_much() -> Result<()> {
    let shop = Shop::open().await?;
    limits(&shop, TRAEFIK, shop.bed.entry.web).await?;
    shop.nothing_is_named().await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_gives_up_a_side_that_is_silent_for_too_long() -> Result<()> {
    let shop = Shop::open().await?;
    gives_up(&shop, TRAEFIK, shop.bed.entry.web).await?;
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    shop.nothing_is_named().await?;
    answers(shop.bed.entry.web, &shop, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_sets_security_headers_on_both_sides() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    hardens(&shop, TRAEFIK, entry).await?;
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    shop.nothing_is_named().await?;
    let answer = http::get(entry, &shop.host, "/").await?;
    // What the side says itself.
    ensure!(
        answer.status() == 200 && answer.headers().get("x-frame-options").is_some_and(|it| it == "SAMEORIGIN"),
        "{answer:?}"
    );
    Ok(())
}

/// What a route names comes and goes while it is served.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_features_of_the_edge_come_and_go() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    split(&shop, TRAEFIK, "{}").await?;
    answers(entry, &shop, 200).await?;
    let stream = Stream::new("traefik", entry, shop.host.clone()).router("traefik").rate(200);
    let load = LoadGenerator::start(LoadOptions::default(), [stream])?;
    let all = json!({"rateLimit": {"requestsPerMinute": 1_000_000}, "securityHeaders": {}, "timeouts": {"read": "1m"}});
    for weight in [40, 60] {
        shop.edit("storefront", json!({"spec": {"edge": all, "newWeight": weight}})).await?;
        shop.carries("storefront", weight).await?;
        eventually("the headers are set", TAKEN_UP, || async {
            let answer = http::get(entry, &shop.host, "/").await?;
            ensure!(answer.headers().contains_key("x-frame-options"), "{answer:?}");
            Ok(())
        })
        .await?;
        shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
        shop.nothing_is_named().await?;
    }
    load.stop().await?.check(500)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_middleware_of_somebody_elses_is_left_alone_and_weights_go_on() -> Result<()> {
    let shop = Shop::open().await?;
    let name = "storefront-cutover-rate-limit";
    shop.apply(&format!(
        "
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {{name: {name}}}
spec: {{stripPrefix: {{prefixes: [/theirs]}}}}
"
    ))
    .await?;
    let [middlewares, _] = shop.accessories();
    let theirs = middlewares.get(name).await?;
    split(&shop, TRAEFIK, "{}").await?;
    let edge = json!({"rateLimit": {"requestsPerMinute": 600}});
    shop.edit("storefront", json!({"spec": {"edge": edge, "newWeight": 70}})).await?;
    let told = |status: &cutover_api::v1alpha1::TrafficSplitStatus| {
        let stalled = condition(status, "Stalled");
        status.applied_weight == Some(70)
            && stalled.is_some_and(|(_, reason, says)| reason == "RouteExists" && says.contains(name))
    };
    shop.until("storefront", "is refused and moves on", told).await?;
    ensure!(
        middlewares.get(name).await?.metadata.resource_version == theirs.metadata.resource_version,
        "it was written"
    );
    ensure!(status(shop.bed.entry.web, &shop).await? == 200, "the split is not served");

    middlewares.delete(name, &kube::api::DeleteParams::default()).await?;
    shop.carries("storefront", 70).await?;
    eventually("the limit is made", TAKEN_UP, || async {
        let names = shop.named().await?;
        ensure!(names == [name], "{names:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_answers_browsers_that_ask_for_another_origin() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    split(&shop, TRAEFIK, "{cors: {allowOrigins: [\"https://admin.example.com\"], allowMethods: [GET, PUT]}}").await?;
    answers(entry, &shop, 200).await?;
    let asked = async |method: &str, origin: &str, more: &str| {
        let head = format!("{method} / HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\n{more}", shop.host);
        ask([127, 0, 0, 1], entry, &head).await
    };
    let (ours, allowed) = ("https://admin.example.com", "access-control-allow-origin: https://admin.example.com\r\n");
    let preflight = "access-control-request-method: PUT\r\n";
    let (code, answer) = asked("OPTIONS", ours, preflight).await?;
    ensure!(
        code == 200 && answer.contains(allowed) && answer.contains("access-control-allow-methods: get,put\r\n"),
        "{answer}"
    );
    ensure!(!answer.contains("x-served-by"), "a side was asked: {answer}");
    let (code, answer) = asked("GET", ours, "").await?;
    ensure!(code == 200 && answer.contains(allowed) && answer.contains("x-served-by"), "{answer}");
    for (method, more) in [("OPTIONS", preflight), ("GET", "")] {
        let (_, answer) = asked(method, "https://elsewhere.example.com", more).await?;
        ensure!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_sends_again_what_reached_no_side_and_nothing_else() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    // A second endpoint of the legacy side, at which nobody listens.
    shop.apply(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: nobody, labels: {kubernetes.io/service-name: old}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [198.19.211.1], conditions: {ready: true}}]
",
    )
    .await?;
    shop.split("storefront", &format!("  newWeight: 0\n  routers: [{TRAEFIK}]")).await?;
    shop.carries("storefront", 0).await?;
    answers(entry, &shop, 502).await?;
    shop.edit("storefront", json!({"spec": {"edge": {"retries": {"attempts": 3, "backoffMilliseconds": 1}}}})).await?;
    eventually("nobody notices", TAKEN_UP, || async {
        for asked in 0..30 {
            let status = status(entry, &shop).await?;
            ensure!(status == 200, "{status} after {asked}");
        }
        Ok(())
    })
    .await?;
    // What reached a side is its own to answer.
    let [old, _] = &shop.backends;
    old.script().error_rate(1.0);
    let before = counted(old, "POST").await?;
    let head = format!("POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n", shop.host);
    for _ in 0..10 {
        let (code, answer) = ask([127, 0, 0, 1], entry, &head).await?;
        ensure!(code == 500, "{answer}");
    }
    let sent = counted(old, "POST").await? - before;
    ensure!((sent - 10.0).abs() < 0.5, "10 POSTs were sent {sent} times");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_ceases_to_ask_sides_that_fail_and_begins_again() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    split(&shop, TRAEFIK, "{circuitBreaker: {errorPercent: 50, openFor: 2s}}").await?;
    answers(entry, &shop, 200).await?;
    for backend in &shop.backends {
        backend.script().error_rate(1.0);
    }
    eventually("no side is asked", TAKEN_UP, || async {
        let answer = http::get(entry, &shop.host, "/").await?;
        let by = answer.headers().get("x-served-by");
        ensure!(answer.status() == 503 && by.is_none(), "{} by {by:?}", answer.status());
        Ok(())
    })
    .await?;
    for backend in &shop.backends {
        backend.script().clear();
    }
    answers(entry, &shop, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_redirects_from_an_entry_point_and_serves_at_the_other() -> Result<()> {
    let shop = Shop::open().await?;
    // A certificate is no matter of ours, so that neither has TLS.
    let (plain, secure) = (shop.bed.entry.gateway, shop.bed.entry.web);
    split(&shop, "{traefik: {entryPoints: [web, gateway]}}", "{}").await?;
    for entry in [plain, secure] {
        answers(entry, &shop, 200).await?;
    }
    let stream = Stream::new("secure", secure, shop.host.clone()).router("traefik").rate(100);
    let load = LoadGenerator::start(LoadOptions::default(), [stream])?;
    let router = json!([{"traefik": {"entryPoints": ["web"], "redirectFrom": ["gateway"]}}]);
    shop.edit("storefront", json!({"spec": {"routers": router, "edge": {"tlsRedirect": true}}})).await?;
    for (method, wanted) in [("GET", 301), ("POST", 308)] {
        eventually(&format!("a {method} is sent to where there is TLS"), TAKEN_UP, || async {
            let head = format!("{method} /cart?a=b HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n", shop.host);
            let (code, answer) = ask([127, 0, 0, 1], plain, &head).await?;
            // Until it is, the way in answers.
            ensure!([200, wanted].contains(&code), "{answer}");
            let location = format!("location: https://{}/cart?a=b\r\n", shop.host);
            ensure!(code == wanted && answer.contains(&location), "{answer}");
            Ok(())
        })
        .await?;
    }
    answers(secure, &shop, 200).await?;
    // Nothing but the plain way is redirected, whatever else is asked of both.
    shop.edit("storefront", json!({"spec": {"edge": {"tlsRedirect": null, "securityHeaders": {}}, "newWeight": 60}}))
        .await?;
    shop.carries("storefront", 60).await?;
    answers(plain, &shop, 404).await?;
    let redirect = shop.objects_of("traefik.io", "v1alpha1", "IngressRoute");
    ensure!(redirect.get_opt("storefront-cutover-redirect").await?.is_none(), "it is there");
    load.whole().wait_for(500).await?;
    load.stop().await?.check(500)?;
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    shop.nothing_is_named().await?;
    answers(secure, &shop, 200).await
}

/// How 20 requests were answered, one after the other, and by whom.
async fn answered(shop: &Shop) -> Result<BTreeMap<(u16, String), usize>> {
    let mut counts = BTreeMap::new();
    for _ in 0..20 {
        let answer = http::get(shop.bed.entry.web, &shop.host, "/").await?;
        let by = answer.headers().get("x-served-by").map_or(Ok("nobody"), |by| by.to_str())?;
        *counts.entry((answer.status().as_u16(), by.to_owned())).or_default() += 1;
    }
    Ok(counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_ceases_to_ask_the_side_that_fails_and_no_other() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    split(&shop, TRAEFIK, "{circuitBreaker: {errorPercent: 20, openFor: 5s}}").await?;
    answers(entry, &shop, 200).await?;
    let [_, new] = &shop.backends;
    new.script().error_rate(1.0);
    let by = |status: u16, who: &str| (status, who.to_owned());
    eventually("the new side is not asked, and its share is answered in its place", TAKEN_UP, || async {
        let counts = answered(&shop).await?;
        ensure!(counts.keys().all(|it| [by(200, "old"), by(503, "nobody")].contains(it)), "{counts:?}");
        Ok(())
    })
    .await?;
    // Other routes may change at any time, which closes every circuit: the new side may be asked again. Legacy's share is its own.
    for _ in 0..10 {
        let counts = answered(&shop).await?;
        let legacy = counts.get(&by(200, "old")).copied().unwrap_or_default();
        ensure!((8..=12).contains(&legacy), "{counts:?}");
    }
    new.script().clear();
    eventually("both sides are asked", TAKEN_UP, || async {
        let counts = answered(&shop).await?;
        ensure!(
            counts.len() == 2 && counts.keys().all(|it| [by(200, "old"), by(200, "new")].contains(it)),
            "{counts:?}"
        );
        Ok(())
    })
    .await?;
    shop.edit("storefront", json!({"spec": {"edge": null}})).await?;
    shop.nothing_is_named().await?;
    answers(entry, &shop, 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traefik_rewrites_paths_for_both_sides() -> Result<()> {
    let shop = Shop::open().await?;
    let entry = shop.bed.entry.web;
    let with = |to: &str| json!([{"value": "/shop", "rewrite": to}, {"type": "Exact", "value": "/health", "rewrite": "/ok"}, {"value": "/"}]);
    let more = format!("  newWeight: 50\n  paths: {}\n  routers: [{TRAEFIK}]", with("/v1"));
    shop.split("storefront", &more).await?;
    shop.carries("storefront", 50).await?;
    answers(entry, &shop, 200).await?;
    let seen = async |asked: &'static str, by_sides: &'static str| {
        eventually(&format!("{asked} is seen as {by_sides}"), TAKEN_UP, || async {
            let look = |answer: &http::Response| {
                let path = answer.headers().get("x-received-path").context("no x-received-path")?;
                ensure!(path == by_sides, "{path:?}");
                Ok(())
            };
            shop.of_both_sides(entry, asked, look).await
        })
        .await
    };
    for (asked, by_sides) in
        [("/shop/cart?a=b", "/v1/cart?a=b"), ("/shop", "/v1"), ("/health", "/ok"), ("/shopping", "/shopping")]
    {
        seen(asked, by_sides).await?;
    }
    shop.edit("storefront", json!({"spec": {"paths": with("/")}})).await?;
    for (asked, by_sides) in [("/shop/cart", "/cart"), ("/shop", "/")] {
        seen(asked, by_sides).await?;
    }
    shop.edit("storefront", json!({"spec": {"paths": [{"value": "/"}]}})).await?;
    seen("/shop/cart", "/shop/cart").await?;
    shop.nothing_is_named().await
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_with_one_side_do_not_get_what_the_other_says_of_it() -> Result<()> {
    let shop = Shop::open().await?;
    split(&shop, TRAEFIK, "{}").await?;
    let breaker = "{circuitBreaker: {errorPercent: 50}}";
    let vouchers =
        format!("  paths: [{{value: /vouchers}}]\n  newWeight: 0\n  edge: {breaker}\n  routers: [{TRAEFIK}]");
    shop.split("vouchers", &vouchers).await?;
    shop.until("vouchers", "is refused by the name of the other", |status| {
        condition(status, "Stalled").is_some_and(|(_, reason, says)| {
            reason == "Conflicted" && says.starts_with("spec.edge.circuitBreaker: ") && says.contains("storefront")
        })
    })
    .await?;
    ensure!(shop.named().await?.is_empty(), "nothing is said of the side");

    let said = json!({"circuitBreaker": {"errorPercent": 50}});
    shop.edit("storefront", json!({"spec": {"edge": said}})).await?;
    shop.carries("vouchers", 0).await?;
    eventually("both say it", TAKEN_UP, || async {
        let names = shop.named().await?;
        ensure!(names == ["storefront-cutover-circuit-breaker", "vouchers-cutover-circuit-breaker"], "{names:?}");
        Ok(())
    })
    .await
}
