//! Load through the real proxy to simulated pods: rolling both sides loses nothing, and what breaks is seen to.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    Bed, eventually,
    load::{Expect, LoadGenerator, LoadOptions, Loss, Stream},
    traefik::{GATEWAY, GATEWAY_NAMESPACE},
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(40);

fn side(name: &str, system: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: http}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, cutover.dev/component: {name}, cutover.dev/system: {system}}}}}
    spec:
      containers:
      - name: web
        image: {name}:1.0.0
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /api/health, port: http}}, periodSeconds: 1}}
---
"
    )
}

fn routes(host: &str, new_percent: u32) -> String {
    let legacy_percent = 100 - new_percent;
    let backend = |name: &str| {
        format!(
            "http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]}}"
        )
    };
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: shop}}
spec:
  ingressClassName: nginx
  rules: [{{host: {host}, {old}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-canary
  annotations:
    nginx.ingress.kubernetes.io/canary: \"true\"
    nginx.ingress.kubernetes.io/canary-weight: \"{new_percent}\"
spec:
  ingressClassName: nginx
  rules: [{{host: {host}, {new}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: {GATEWAY}, namespace: {GATEWAY_NAMESPACE}}}]
  hostnames: [{host}]
  rules:
  - backendRefs: [{{name: old, port: 80, weight: {legacy_percent}}}, {{name: new, port: 80, weight: {new_percent}}}]
",
        old = backend("old"),
        new = backend("new"),
    )
}

async fn rolled_out(api: &Api<Deployment>, name: &str) -> Result<()> {
    eventually(&format!("{name} is rolled out"), SOON, || async {
        let deployment = api.get(name).await?;
        let status = deployment.status.context("no status")?;
        ensure!(status.observed_generation == deployment.metadata.generation, "not seen yet");
        ensure!(status.updated_replicas == Some(3) && status.available_replicas == Some(3), "{status:?}");
        ensure!(status.replicas == Some(3) && status.terminating_replicas.unwrap_or(0) == 0, "{status:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn load_through_the_proxy_survives_rolling_pods_and_sees_what_breaks() -> Result<()> {
    let plane = Bed::control_plane().await?;
    let entry = Bed::traefik().await?.entry_points();
    let node = Box::pin(Bed::node()).await?;
    let namespace = plane.unique_namespace().await?;
    let host = format!("{namespace}.example.com");
    plane.apply_yaml(&namespace, &(side("old", "Legacy") + &side("new", "New") + &routes(&host, 40))).await?;
    let deployments: Api<Deployment> = Api::namespaced(plane.admin().await?, &namespace);
    for name in ["old", "new"] {
        rolled_out(&deployments, name).await?;
    }

    let routers = BTreeMap::from([("ingressNginx", entry.nginx), ("gatewayApi", entry.gateway)]);
    for (router, entry) in &routers {
        let sides = || async {
            let probe = Stream::new(*router, *entry, &host).rate(100);
            let load = LoadGenerator::start(LoadOptions { max_requests: 20, ..LoadOptions::default() }, [probe])?;
            let counts = load.whole().wait_for(20).await?;
            ensure!(counts.lost == 0 && counts.new > 0 && counts.legacy > 0, "{counts}");
            Ok(())
        };
        eventually(&format!("{router} serves both sides"), SOON, sides).await?;
    }

    let streams = routers.iter().flat_map(|(router, entry)| {
        let get = Stream::new(format!("{router}-get"), *entry, &host).rate(150).router(*router);
        let post = Stream::new(format!("{router}-post"), *entry, &host).rate(50).router(*router).post();
        [get.path("/cart?page=2"), post.path("/orders")]
    });
    let load = LoadGenerator::start(LoadOptions { fresh_percent: 30, ..LoadOptions::default() }, streams)?;
    let rolling = load.window();
    for name in ["old", "new"] {
        let template = json!({"spec": {"template": {"metadata": {"annotations": {"example.com/rolled": "yes"}}}}});
        deployments.patch(name, &PatchParams::default(), &Patch::Merge(template)).await?;
    }
    for name in ["old", "new"] {
        rolled_out(&deployments, name).await?;
    }
    for router in routers.keys() {
        let counts = rolling.clone().router(*router).wait_for(2_000).await?;
        assert_eq!((counts.lost, counts.misrouted), (0, 0), "{router}: {}", load.report());
        let share = counts.share_new().context("no answers")? * 100.0;
        assert!((share - 40.0).abs() < 2.0, "{router}: {share} % instead of 40 %");
    }

    // Errors of one side are seen, by their number and by their time.
    let fault = load.exclude("errors of the new side");
    node.component(&namespace, "new").error_rate(1.0);
    let until_seen = || async {
        let excluded = load.whole().excluded();
        ensure!(excluded.by_loss.get(&Loss::ServerError).is_some_and(|lost| *lost >= 100), "{excluded}");
        Ok(())
    };
    eventually("errors are seen", SOON, until_seen).await?;
    let rate = |more: &str| format!("sum(rate(http_requests_total{{namespace=\"{namespace}\"{more}}}[10s]))");
    let errors = format!("{} / {}", rate(r#",system="new",status="500""#), rate(r#",system="new""#));
    let legacy_errors = rate(r#",system="legacy",status="500""#);
    eventually("Prometheus has scraped them, and the other side's health", SOON, || async {
        let new = Bed::prometheus().await?.query(&errors).await?;
        ensure!(new.len() == 1 && new[0].value > 0.3, "{new:?}");
        let legacy = Bed::prometheus().await?.query(&legacy_errors).await?;
        ensure!(legacy.len() == 1 && legacy[0].value.abs() < f64::EPSILON, "{legacy:?}");
        Ok(())
    })
    .await?;
    node.component(&namespace, "new").clear();
    fault.end();

    // Everything to legacy: from then on the new side's answers are wrong.
    plane.apply_yaml(&namespace, &routes(&host, 0)).await?;
    eventually("all traffic is with legacy", SOON, || async {
        let counts = load.window().wait_for(200).await?;
        ensure!(counts.new == 0, "{counts}");
        Ok(())
    })
    .await?;
    for stream in load.whole().by_stream().keys() {
        load.expect(stream, Expect::Legacy, Duration::ZERO)?;
    }
    load.window().wait_for(400).await?;
    let report = load.stop().await?;
    report.check(4_000)?;
    assert!(report.excluded.lost >= 100);
    println!("{report}");
    Ok(())
}
