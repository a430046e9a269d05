//! Traefik serves routes written by hand, each router on its own entry point, with the shares they ask for.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    Bed, eventually, http,
    node::{Backend, System, serve_backend},
    traefik::{GATEWAY, GATEWAY_NAMESPACE},
};
use futures::{StreamExt, TryStreamExt, stream};

const REQUESTS: u32 = 1_000;

/// Addresses outside of the pods' range, different for each test.
fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(198, 19, 200, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A backend, and the Service that leads to it.
async fn backend(name: &str, system: System) -> Result<(Backend, String)> {
    let address = next_address();
    let backend = serve_backend((address, 8080).into(), system, name).await?;
    let yaml = format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]
---
"
    );
    Ok((backend, yaml))
}

async fn served_by(entry: SocketAddr, host: &str) -> Result<String> {
    let answer = http::get(entry, host, "/").await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let by = answer.headers().get("x-served-by").context("no x-served-by")?;
    Ok(by.to_str()?.to_owned())
}

/// The share of `new`, in percent, over many requests. Each must be answered.
async fn share_of_new(entry: SocketAddr, host: &str) -> Result<f64> {
    let new = stream::iter(0..REQUESTS)
        .map(|_| served_by(entry, host))
        .buffer_unordered(8)
        .try_fold(0_u32, |new, by| async move { Ok(new + u32::from(by == "new")) })
        .await?;
    Ok(f64::from(new) * 100.0 / f64::from(REQUESTS))
}

/// Waits until both sides are served, then measures. A route arrives as a whole: what is asked for after its first
/// answer by the new side is subject to its weights.
async fn assert_share(entry: SocketAddr, host: &str, wanted: f64) -> Result<()> {
    eventually(&format!("{host} is served by the new side"), Duration::from_secs(15), || async {
        let by = served_by(entry, host).await?;
        ensure!(by == "new", "served by {by}");
        Ok(())
    })
    .await?;
    let share = share_of_new(entry, host).await?;
    assert!((share - wanted).abs() < 2.0, "{share} % instead of {wanted} %");
    Ok(())
}

#[tokio::test]
async fn every_router_serves_the_share_it_is_told() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let entry = Bed::traefik().await?.entry_points();
    let namespace = plane.unique_namespace().await?;
    let (_old, old_service) = backend("old", System::Legacy).await?;
    let (_new, new_service) = backend("new", System::New).await?;
    // One host for all routers: each has its own entry point.
    let host = format!("{namespace}.example.com");
    let routes = format!(
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
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-canary
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-weight: \"25\"
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: new, port: {{number: 80}}}}}}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: {GATEWAY}, namespace: {GATEWAY_NAMESPACE}}}]
  hostnames: [{host}]
  rules:
  - backendRefs: [{{name: old, port: 80, weight: 60}}, {{name: new, port: 80, weight: 40}}]
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {{name: shop}}
spec:
  weighted:
    services: [{{name: old, port: 80, weight: 90}}, {{name: new, port: 80, weight: 10}}]
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {{name: shop}}
spec:
  routes:
  - kind: Rule
    match: Host(`{host}`)
    services: [{{kind: TraefikService, name: shop}}]
"
    );
    plane.apply_yaml(&namespace, &(old_service + &new_service + &routes)).await?;
    assert_share(entry.nginx, &host, 25.0).await?;
    assert_share(entry.gateway, &host, 40.0).await?;
    assert_share(entry.web, &host, 10.0).await
}

#[tokio::test]
async fn a_refused_connection_is_not_retried() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let traefik = Bed::traefik().await?;
    let namespace = plane.unique_namespace().await?;
    let (one, service) = backend("old", System::Legacy).await?;
    let host = format!("{namespace}.example.com");
    // A second endpoint at which nobody listens.
    let nobody = next_address();
    let endpoints = format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: nobody, labels: {{kubernetes.io/service-name: old}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [{nobody}], conditions: {{ready: true}}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop}}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: old, port: {{number: 80}}}}}}}}]}}
"
    );
    plane.apply_yaml(&namespace, &(service + &endpoints)).await?;
    let entry = traefik.entry_points().nginx;
    eventually("the route is served", Duration::from_secs(15), || served_by(entry, &host)).await?;
    let answers = stream::iter(0..100).map(|_| http::get(entry, &host, "/")).buffer_unordered(4);
    let codes: Vec<_> = answers.map_ok(|answer| answer.status().as_u16()).try_collect().await?;
    let lost = codes.iter().filter(|code| **code == 502).count();
    // A retry would find the other endpoint. A reload of the proxy's configuration starts its round robin anew.
    assert!((45..=55).contains(&lost), "every second request goes to nobody: {codes:?}");
    one.stop().await;
    Ok(())
}
