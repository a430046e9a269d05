//! Every cell of the table of features in docs/routers.md, on the real API server: what a router does not carry is refused by name, and what
//! it carries is taken, and seen on the wire where the proxy of these tests serves that router and a single answer shows it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cutover_engine::router::features::{COLUMNS, Carried, Feature};
use cutover_testkit::{eventually, http, tls::TlsFront, tools, traefik::ALLOWED_RESPONSE_HEADERS};
use futures::future::try_join_all;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{
    bed::{Shop, condition},
    requests::two_listeners,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// One router in one mode, with a host of its own.
struct Column {
    name: &'static str,
    split: String,
    host: String,
    /// What the split attaches to, of which a user of that router would say the same.
    users: Option<&'static str>,
    /// `spec.routers[0]`.
    router: Value,
    /// Where the proxy serves it.
    entry: Option<SocketAddr>,
    /// Where it redirects from, if it does.
    redirects: Option<SocketAddr>,
}

impl Column {
    /// `listeners` are of the Gateway `front`: one without TLS, and the one that it redirects to.
    fn new(name: &'static str, shop: &Shop, [plain, secure]: [SocketAddr; 2]) -> Result<Self> {
        let entry = shop.bed.entry;
        let (router, entry, users) = match name {
            "ingressNginx" => {
                let router = json!({"className": "nginx", "allowedResponseHeaders": ALLOWED_RESPONSE_HEADERS});
                (json!({"ingressNginx": router}), Some(entry.nginx), None)
            }
            "ingressNginx.attach" => {
                let users = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: users}
spec:
  ingressClassName: nginx
  rules:
  - host: HOST
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: old, port: {number: 80}}}}]}
";
                (json!({"ingressNginx": {"attach": {"ingress": "users"}}}), Some(entry.nginx), Some(users))
            }
            "gatewayApi" => {
                let parents = json!([{"name": "front", "sectionName": "secure", "redirectFrom": "plain"}]);
                (json!({"gatewayApi": {"parentRefs": parents}}), Some(secure), None)
            }
            "gatewayApi.attach" => {
                let users = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users}
spec:
  parentRefs: [{name: edge, namespace: infra}]
  hostnames: [HOST]
  rules: [{name: all, backendRefs: [{name: old, port: 80}]}]
";
                let attach = json!({"route": "users", "rule": "all"});
                (json!({"gatewayApi": {"attach": attach}}), Some(entry.gateway), Some(users))
            }
            // What is asked here is HTTP: calls are looked at by tests of their own.
            "gatewayApi (GRPCRoute)" => {
                let parents = json!([{"name": "edge", "namespace": "infra"}]);
                (json!({"gatewayApi": {"routeKind": "GRPCRoute", "parentRefs": parents}}), None, None)
            }
            "gatewayApi.attach (GRPCRoute)" => {
                let users = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: users}
spec:
  parentRefs: [{name: edge, namespace: infra}]
  hostnames: [HOST]
  rules: [{name: all, backendRefs: [{name: old, port: 80}]}]
";
                let attach = json!({"route": "users", "rule": "all"});
                (json!({"gatewayApi": {"routeKind": "GRPCRoute", "attach": attach}}), None, Some(users))
            }
            "traefik" => {
                let router = json!({"entryPoints": ["web"], "redirectFrom": ["gateway"]});
                (json!({"traefik": router}), Some(entry.web), None)
            }
            "traefik.attach" => {
                let users = "
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: users}
spec: {weighted: {services: [{name: old, port: 80, weight: 1}, {name: new, port: 80, weight: 0}]}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: users}
spec:
  entryPoints: [web]
  routes: [{kind: Rule, match: Host(`HOST`), services: [{kind: TraefikService, name: users}]}]
";
                (json!({"traefik": {"attach": {"service": "users"}}}), Some(entry.web), Some(users))
            }
            "istio" => (json!({"istio": {"gateways": ["infra/edge"]}}), None, None),
            "istio.attach" => {
                let users = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users}
spec:
  hosts: [HOST]
  gateways: [infra/edge]
  http: [{name: all, route: [{destination: {host: old}}]}]
";
                (json!({"istio": {"attach": {"virtualService": "users", "http": "all"}}}), None, Some(users))
            }
            "alb" => {
                let ports = r#"[{"HTTP": 80}, {"HTTPS": 443}]"#;
                let annotations = json!({"alb.ingress.kubernetes.io/listen-ports": ports});
                (json!({"alb": {"className": "alb", "annotations": annotations}}), None, None)
            }
            other => bail!("these tests know no router {other}: say here how it is set up"),
        };
        let split = name.to_lowercase().replace(['.', ' '], "-").replace(['(', ')'], "");
        let host = format!("{split}.{}", shop.host);
        let redirects = if ["gatewayApi", "traefik"].contains(&name) { Some(plain) } else { entry };
        Ok(Self { name, split, host, users, router, entry, redirects })
    }

    async fn set_up(&self, shop: &Shop) -> Result<()> {
        if let Some(users) = self.users {
            shop.apply(&users.replace("HOST", &self.host)).await?;
        }
        let split = json!({
            "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": self.split},
            "spec": {
                "hosts": [self.host], "routers": [self.router],
                "legacy": {"service": {"name": "old", "port": 80}}, "new": {"service": {"name": "new", "port": 80}},
            },
        });
        shop.apply(&split.to_string()).await
    }

    /// Asks for one feature after the other, each instead of the one before.
    async fn tries_every_feature(&self, shop: &Shop, carries: fn(Feature) -> Carried, listed: &[String]) -> Result<()> {
        for feature in Feature::ALL {
            let what = format!("{feature:?} on {}", self.name);
            let plain =
                json!({"newWeight": 0, "pins": null, "stickiness": null, "paths": null, "edge": null, "mirror": null});
            shop.edit(&self.split, json!({"spec": plain})).await?;
            let asked = asking(feature);
            let weight = asked["newWeight"].as_i64().unwrap_or_default().try_into()?;
            shop.edit(&self.split, json!({"spec": asked})).await?;
            if let (Feature::BackendTls, Some(users)) = (feature, self.users) {
                // A user's own route names the sides that the split has now, and no other Service.
                let users = users.replace("name: new, port: 80", "name: production-new, port: 8443");
                shop.apply(&users.replace("HOST", &self.host)).await?;
            }
            // In the words of the table, or by the name that the class would have to list.
            let refused = match carries(feature) {
                Carried::Not { why, remedy } => Some(vec![why, remedy]),
                Carried::WhereListed(feature) => Some(vec![feature]).filter(|_| !listed.iter().any(|it| it == feature)),
                Carried::Wholly | Carried::Within(_) => None,
            };
            if let Some(words) = refused {
                let field = feature.field().split("[]").next().unwrap_or_default();
                let is_refused = |(is, reason, message): (&str, &str, &str)| {
                    let says = |words: &&str| message.contains(*words);
                    is == "True" && reason == "UnsupportedByRouter" && says(&field) && words.iter().all(says)
                };
                shop.until(&self.split, &what, |status| condition(status, "Stalled").is_some_and(is_refused)).await?;
            } else {
                shop.carries(&self.split, weight).await.context(what.clone())?;
                let redirect = feature == Feature::TlsRedirect;
                if let Some(entry) = if redirect { self.redirects } else { self.entry } {
                    self.is_served(feature, entry).await.context(what)?;
                }
            }
        }
        Ok(())
    }

    /// An answer shows the feature.
    async fn is_served(&self, feature: Feature, entry: SocketAddr) -> Result<()> {
        let (path, header) = match feature {
            Feature::HeaderPins => ("/", Some(("x-a", "new"))),
            Feature::CookiePins => ("/", Some(("cookie", "b=c; a=always"))),
            Feature::Cors => ("/", Some(("origin", "https://a.example.com"))),
            Feature::Rewrite => ("/shop/cart", None),
            Feature::Stickiness
            | Feature::RateLimit
            | Feature::Timeouts
            | Feature::SecurityHeaders
            | Feature::Retries
            | Feature::RetryBackoff
            | Feature::TryTimeout
            | Feature::CircuitBreaker
            | Feature::TlsRedirect
            | Feature::Mirror
            | Feature::BackendTls => ("/", None),
        };
        eventually("an answer shows it", PATIENCE, || async {
            let answer = http::get_with(entry, &self.host, path, header).await?;
            let status = answer.status().as_u16();
            let said = |name: &str| answer.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
            match feature {
                Feature::HeaderPins | Feature::CookiePins | Feature::BackendTls => {
                    ensure!(said("x-served-by") == "new", "{answer:?}");
                }
                Feature::Stickiness => ensure!(said("set-cookie").starts_with("side-"), "{answer:?}"),
                Feature::RateLimit => ensure!(status == 429, "{answer:?}"),
                Feature::SecurityHeaders => ensure!(said("x-content-type-options") == "nosniff", "{answer:?}"),
                Feature::Cors => {
                    ensure!(said("access-control-allow-origin") == "https://a.example.com", "{answer:?}");
                }
                Feature::TlsRedirect => {
                    let is_redirect = matches!(status, 301 | 302 | 307 | 308);
                    ensure!(is_redirect && said("location").starts_with("https://"), "{answer:?}");
                }
                // What becomes of requests that fail, and of copies, is not in one answer: tests of their own look at it.
                Feature::Timeouts
                | Feature::Retries
                | Feature::RetryBackoff
                | Feature::TryTimeout
                | Feature::CircuitBreaker
                | Feature::Rewrite
                | Feature::Mirror => ensure!(status == 200, "{answer:?}"),
            }
            Ok(())
        })
        .await
    }
}

/// The least of a spec that asks for a feature.
fn asking(feature: Feature) -> Value {
    match feature {
        Feature::HeaderPins => json!({"pins": [{"to": "New", "header": {"name": "x-a", "value": "new"}}]}),
        Feature::CookiePins => json!({"pins": [{"to": "New", "cookie": {"name": "a", "value": "always"}}]}),
        // Only between the ends there is anything to stick to.
        Feature::Stickiness => json!({"newWeight": 50, "stickiness": {"cookie": {"name": "side", "maxAge": "1h"}}}),
        Feature::RateLimit => json!({"edge": {"rateLimit": {"requestsPerMinute": 2}}}),
        Feature::Timeouts => json!({"edge": {"timeouts": {"read": "2m"}}}),
        Feature::SecurityHeaders => json!({"edge": {"securityHeaders": {}}}),
        Feature::Cors => json!({"edge": {"cors": {"allowOrigins": ["https://a.example.com"]}}}),
        Feature::Retries => json!({"edge": {"retries": {"attempts": 2}}}),
        Feature::RetryBackoff => json!({"edge": {"retries": {"attempts": 2, "backoffMilliseconds": 50}}}),
        Feature::TryTimeout => json!({"edge": {"retries": {"attempts": 2, "perTryTimeout": "3s"}}}),
        Feature::CircuitBreaker => json!({"edge": {"circuitBreaker": {"errorPercent": 50}}}),
        Feature::TlsRedirect => json!({"edge": {"tlsRedirect": true}}),
        Feature::Rewrite => json!({"paths": [{"value": "/shop", "rewrite": "/v1"}]}),
        Feature::Mirror => json!({"mirror": {"percent": 100}}),
        Feature::BackendTls => {
            json!({"newWeight": 100, "new": {"service": {"name": "production-new", "port": 8443}}})
        }
    }
}

/// The new side once more, at a port that speaks TLS.
async fn speak_tls(shop: &Shop) -> Result<TlsFront> {
    let address = shop.address("new");
    let front = TlsFront::start((address, 8443).into(), "new.dc.example.com", (address, 8080).into()).await?;
    let authority = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new-ca", "labels": {"cutover.dev/ca": "true"}},
        "data": {"ca.crt": front.authority()},
    });
    shop.apply(&authority.to_string()).await?;
    let external = json!({
        "addresses": [address], "port": 8443, "tls": {"serverName": "new.dc.example.com", "caConfigMap": "new-ca"},
    });
    let environment = json!({
        "apiVersion": "cutover.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "production"},
        "spec": {"tier": "Production", "components": [{"name": "new", "system": "New", "source": {"external": external}}]},
    });
    shop.apply(&environment.to_string()).await?;
    Ok(front)
}

/// What the GatewayClass of these tests lists.
async fn listed(shop: &Shop) -> Result<Vec<String>> {
    let class = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass");
    let classes = Api::<DynamicObject>::all_with(shop.client.clone(), &ApiResource::from_gvk(&class));
    let found = classes.list(&ListParams::default()).await?;
    let class = found.items.first().context("no GatewayClass")?;
    let features = class.data["status"]["supportedFeatures"].as_array().context("it lists nothing")?;
    Ok(features.iter().filter_map(|it| Some(it["name"].as_str()?.to_owned())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feature_is_carried_or_refused_by_name_on_every_router() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    let listed = listed(&shop).await?;
    let listeners = two_listeners(&shop).await?;
    let _front = speak_tls(&shop).await?;
    let columns = COLUMNS.map(|(name, carries)| (Column::new(name, &shop, listeners), carries));
    try_join_all(columns.map(|(column, carries)| {
        let (shop, listed) = (&shop, &listed);
        async move {
            let column = column?;
            column.set_up(shop).await?;
            column.tries_every_feature(shop, carries, listed).await
        }
    }))
    .await
    .map(drop)
}
