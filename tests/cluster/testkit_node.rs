//! The node simulator under a real control plane: pods live, fail and go as a kubelet's would.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use cutover_testkit::{
    Bed,
    control_plane::{ControlPlane, Identity},
    eventually,
    node::{NodeOptions, NodeSimulator, System, serve_backend},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::Pod,
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(20);

/// A namespace of the shared control plane, and the simulator that runs its pods.
struct Site {
    plane: &'static ControlPlane,
    node: &'static NodeSimulator,
    client: Client,
    namespace: String,
}

impl Site {
    async fn new() -> Result<Self> {
        let (plane, node) = (Bed::control_plane().await?, Bed::node().await?);
        Ok(Self { plane, node, client: plane.admin().await?, namespace: plane.unique_namespace().await? })
    }

    async fn apply(&self, yaml: &str) -> Result<()> {
        self.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn pods(&self) -> Result<Vec<Pod>> {
        Ok(self.api::<Pod>().list(&ListParams::default()).await?.items)
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let slices = self.api::<EndpointSlice>().list(&ListParams::default()).await?;
        Ok(slices.items.into_iter().flat_map(|slice| slice.endpoints).collect())
    }

    async fn ready_endpoints(&self) -> Result<BTreeSet<Ipv4Addr>> {
        let ready = |endpoint: &Endpoint| endpoint.conditions.as_ref().and_then(|all| all.ready) == Some(true);
        let endpoints = self.endpoints().await?;
        Ok(endpoints
            .iter()
            .filter(|one| ready(one))
            .flat_map(|one| &one.addresses)
            .map(|a| a.parse())
            .collect::<Result<_, _>>()?)
    }

    async fn until_ready(&self, count: usize) -> Result<BTreeSet<Ipv4Addr>> {
        eventually(&format!("{count} ready endpoints"), SOON, || async {
            let ready = self.ready_endpoints().await?;
            ensure!(ready.len() == count, "{:?}", self.endpoints().await?);
            Ok(ready)
        })
        .await
    }
}

fn deployment(replicas: u32, probe: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: storefront}}
spec: {{selector: {{app: storefront}}, ports: [{{port: 80, targetPort: http}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: storefront}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: storefront}}}}
  template:
    metadata:
      labels: {{app: storefront, cutover.dev/component: storefront, cutover.dev/system: New}}
    spec:
      containers:
      - name: web
        image: registry.example.com:5000/shop/storefront:1.4.2
        ports: [{{name: http, containerPort: 8080}}, {{name: admin, containerPort: 9000}}]
        readinessProbe: {probe}
"
    )
}

const HEALTHY: &str = "{httpGet: {path: /api/health, port: http}, periodSeconds: 1, failureThreshold: 2}";

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

async fn get(address: impl Into<SocketAddr>, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address.into()).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: shop.example.com\r\nx-request-id: r1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    Ok(Answer { status, headers, body: body.to_owned() })
}

#[tokio::test]
async fn node_pods_serve_at_addresses_of_their_own_and_become_endpoints() -> Result<()> {
    let site = Site::new().await?;
    site.apply(&deployment(3, HEALTHY)).await?;
    let addresses = site.until_ready(3).await?;
    let pods = site.pods().await?;
    for address in addresses {
        assert_eq!((address.octets()[0], address.octets()[1]), (198, 18));
        let answer = get((address, 8080), "/v2/cart?page=2").await?;
        assert_eq!(answer.status, 200);
        let pod = pods.iter().find(|pod| pod.name_any() == answer.headers["x-pod"]).context("x-pod names no pod")?;
        assert_eq!(pod.status.as_ref().and_then(|status| status.pod_ip.clone()), Some(address.to_string()));
        for (name, value) in [
            ("x-served-by", "storefront"),
            ("x-system", "new"),
            ("x-image-tag", "1.4.2"),
            ("x-request-id", "r1"),
            ("x-received-host", "shop.example.com"),
            ("x-received-path", "/v2/cart?page=2"),
        ] {
            assert_eq!(answer.headers[name], value);
        }
        let body: serde_json::Value = serde_json::from_str(&answer.body)?;
        assert_eq!((&body["system"], &body["requestId"]), (&json!("new"), &json!("r1")));
        assert_eq!(get((address, 9000), "/").await?.status, 200, "every declared port is served");
        assert!(get((address, 8081), "/").await.is_err(), "and no other");

        let metrics = get((address, 8080), "/metrics").await?.body;
        let line =
            r#"http_requests_total{method="GET",path="/v2/cart",status="200",system="new",component="storefront"} 1"#;
        assert!(metrics.lines().any(|known| known == line), "{metrics}");
        assert!(
            metrics.contains(r#"http_request_duration_seconds_count{system="new",component="storefront"} 2"#),
            "{metrics}"
        );
    }
    let deployment = site.api::<Deployment>().get("storefront").await?;
    assert_eq!(deployment.status.and_then(|status| status.available_replicas), Some(3));

    let listed: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(site.node.targets().path().context("path")?)?)?;
    let mine = listed.iter().filter(|group| group["labels"]["namespace"] == site.namespace.as_str());
    assert_eq!(mine.count(), 3, "each pod is scraped at one port: {listed:?}");
    Ok(())
}

#[tokio::test]
async fn node_faults_are_scripted_by_component_and_by_annotation() -> Result<()> {
    let site = Site::new().await?;
    site.apply(&deployment(1, HEALTHY)).await?;
    let address = (*site.until_ready(1).await?.first().context("one")?, 8080);
    let script = site.node.component(&site.namespace, "storefront");

    let before = Instant::now();
    script.error_rate(0.25);
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(get(address, "/").await?.status);
    }
    assert_eq!(statuses, [200, 200, 200, 500, 200, 200, 200, 500]);
    assert_eq!(get(address, "/api/health").await?.status, 200);
    assert!(script.failing_since().context("failing")? >= before);

    script.clear().delay(Duration::from_millis(300));
    let began = Instant::now();
    get(address, "/").await?;
    assert!(began.elapsed() >= Duration::from_millis(300));
    script.clear();
    assert_eq!(script.failing_since(), None);
    let spans: Vec<_> = site.node.faults().into_iter().filter(|span| span.namespace == site.namespace).collect();
    assert!(spans.len() == 2 && spans.iter().all(|span| span.to.is_some()), "{spans:?}");

    let pod = site.pods().await?.remove(0).name_any();
    let annotate = async |value: Option<&str>| {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"sim.cutover.dev/error-rate": value}}}));
        site.api::<Pod>().patch(&pod, &PatchParams::default(), &patch).await
    };
    for (value, status) in [(Some("1"), 500), (Some("a lot"), 200), (Some("1.0"), 500), (None, 200)] {
        annotate(value).await?;
        eventually(&format!("{status} with {value:?}"), SOON, || async {
            let seen = get(address, "/").await?.status;
            ensure!(seen == status, "{seen}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn node_readiness_follows_probes_gates_and_scripts() -> Result<()> {
    let site = Site::new().await?;
    site.apply(&deployment(2, HEALTHY)).await?;
    let addresses = site.until_ready(2).await?;
    let address = (*addresses.first().context("one")?, 8080);
    let script = site.node.component(&site.namespace, "storefront");

    script.not_ready(true);
    assert_eq!(get(address, "/api/health").await?.status, 503);
    site.until_ready(0).await?;
    assert_eq!(get(address, "/").await?.status, 200, "not ready is not down");
    script.clear();
    assert_eq!(site.until_ready(2).await?, addresses);

    let began = Instant::now();
    script.refuse_connections(true);
    eventually("refused", SOON, || async {
        let refused = get(address, "/").await.err().context("still answers")?;
        let kind = refused.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        ensure!(kind == Some(std::io::ErrorKind::ConnectionRefused), "{refused:#}");
        Ok(())
    })
    .await?;
    assert!(!site.ready_endpoints().await?.is_empty() || began.elapsed() > Duration::from_secs(2));
    site.until_ready(0).await?;
    assert!(began.elapsed() >= Duration::from_secs(2), "two failures, a second apart, come before");
    script.clear();
    site.until_ready(2).await?;
    assert_eq!(get(address, "/").await?.status, 200);

    // A probe of a port that no container declares.
    let wrong = Site::new().await?;
    wrong.apply(&deployment(1, "{httpGet: {path: /api/health, port: 8081}, periodSeconds: 1}")).await?;
    eventually("an endpoint that is not ready", SOON, || async {
        ensure!(wrong.endpoints().await?.len() == 1 && wrong.ready_endpoints().await?.is_empty());
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn node_gated_pods_wait() -> Result<()> {
    let site = Site::new().await?;
    site.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: gated, labels: {app: gated}}
spec:
  schedulingGates: [{name: example.com/quota}]
  readinessGates: [{conditionType: example.com/warm}]
  containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: free}
spec: {containers: [{name: web, image: web}]}
",
    )
    .await?;
    let condition = |pod: &Pod, kind: &str| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        conditions.into_iter().find(|one| one.type_ == kind).map(|one| one.status)
    };
    let until = async |name: &str, kind: &str, wanted: &str| {
        eventually(&format!("{name}: {kind}={wanted}"), SOON, || async {
            let pod = site.api::<Pod>().get(name).await?;
            ensure!(condition(&pod, kind).as_deref() == Some(wanted), "{:?}", pod.status);
            Ok(pod)
        })
        .await
    };
    until("free", "Ready", "True").await?;
    let gated = site.api::<Pod>().get("gated").await?;
    assert_eq!(gated.spec.and_then(|spec| spec.node_name), None);

    let open = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    site.api::<Pod>().patch("gated", &PatchParams::default(), &open).await?;
    let waiting = until("gated", "ContainersReady", "True").await?;
    assert_eq!(condition(&waiting, "Ready").as_deref(), Some("False"));
    let warm = Patch::Strategic(json!({"status": {"conditions": [{"type": "example.com/warm", "status": "True"}]}}));
    site.api::<Pod>().patch_status("gated", &PatchParams::default(), &warm).await?;
    let ready = until("gated", "Ready", "True").await?;
    assert_eq!(condition(&ready, "example.com/warm").as_deref(), Some("True"), "another's condition is kept");
    Ok(())
}

#[tokio::test]
async fn node_stuck_pods_stay_pending_and_say_why() -> Result<()> {
    let site = Site::new().await?;
    let script = site.node.component(&site.namespace, "storefront");
    script.stuck("ImagePullBackOff");
    site.apply(&deployment(1, HEALTHY)).await?;
    eventually("the reason is shown", SOON, || async {
        let pods = site.pods().await?;
        let status = pods.first().and_then(|pod| pod.status.clone()).context("no pod")?;
        let containers = status.container_statuses.unwrap_or_default();
        let state = containers.first().and_then(|one| one.state.clone()).context("no container")?;
        let reason = state.waiting.and_then(|waiting| waiting.reason);
        ensure!(
            reason.as_deref() == Some("ImagePullBackOff") && status.phase.as_deref() == Some("Pending"),
            "{reason:?}"
        );
        Ok(())
    })
    .await?;
    assert!(site.ready_endpoints().await?.is_empty());
    script.clear();
    site.until_ready(1).await?;
    Ok(())
}

#[tokio::test]
async fn node_deleted_pods_serve_on_until_drained_and_finish_what_is_under_way() -> Result<()> {
    let site = Site::new().await?;
    let script = site.node.component(&site.namespace, "storefront");
    let drain = Duration::from_secs(8);
    script.drain(drain);
    site.apply(&deployment(1, HEALTHY)).await?;
    let address = *site.until_ready(1).await?.first().context("one")?;
    let pod = site.pods().await?.remove(0).name_any();

    let deleted = Instant::now();
    site.api::<Pod>().delete(&pod, &DeleteParams::default()).await?;
    eventually("a terminating endpoint, and a successor", SOON, || async {
        let endpoints = site.endpoints().await?;
        let old = endpoints.iter().find(|one| one.addresses == [address.to_string()]).context("gone already")?;
        let conditions = old.conditions.clone().context("conditions")?;
        ensure!(conditions.ready == Some(false) && conditions.terminating == Some(true), "{conditions:?}");
        ensure!(conditions.serving == Some(true), "{conditions:?}");
        ensure!(site.ready_endpoints().await?.len() == 1);
        Ok(())
    })
    .await?;
    assert!(deleted.elapsed() < drain, "too slow to see it drain: {:?}", deleted.elapsed());
    assert_eq!(get((address, 8080), "/").await?.status, 200, "it serves while proxies learn");

    // Asked a little before the drain ends, answered after it.
    tokio::time::sleep_until((deleted + Duration::from_millis(6000)).into()).await;
    script.update(|script| script.delay = Duration::from_millis(4000));
    let slow = get((address, 8080), "/").await?;
    assert_eq!((slow.status, slow.headers["x-pod"].as_str()), (200, pod.as_str()));
    assert!(deleted.elapsed() > drain);
    script.update(|script| script.delay = Duration::ZERO);

    eventually("the pod is gone", SOON, || async {
        ensure!(site.api::<Pod>().get_opt(&pod).await?.is_none());
        Ok(())
    })
    .await?;
    assert!(get((address, 8080), "/").await.is_err(), "nobody listens at its address");
    assert!(!site.until_ready(1).await?.contains(&address), "nor does another pod");
    Ok(())
}

#[tokio::test]
async fn node_a_pod_deleted_by_force_is_gone_at_once() -> Result<()> {
    let site = Site::new().await?;
    site.apply(&deployment(1, HEALTHY)).await?;
    let address = *site.until_ready(1).await?.first().context("one")?;
    let pod = site.pods().await?.remove(0).name_any();
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    site.api::<Pod>().delete(&pod, &now).await?;
    eventually("its server is cut", SOON, || async {
        ensure!(get((address, 8080), "/").await.is_err());
        Ok(())
    })
    .await?;
    assert!(site.node.pods().iter().all(|known| known.address != address));
    Ok(())
}

fn job(name: &str, restart: &str, backoff_limit: u32) -> String {
    format!(
        "
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: {backoff_limit}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      restartPolicy: {restart}
      containers: [{{name: task, image: task:1}}]
"
    )
}

#[tokio::test]
async fn node_jobs_end_as_told() -> Result<()> {
    let site = Site::new().await?;
    let node = site.node;
    node.component(&site.namespace, "fails").exit_code(3);
    let recovers = node.component(&site.namespace, "recovers");
    recovers.exit_code(1);
    for yaml in [job("works", "Never", 0), job("fails", "Never", 0), job("recovers", "OnFailure", 20)] {
        site.apply(&yaml).await?;
    }
    let until = async |name: &str, condition: &str| {
        eventually(&format!("{name} is {condition}"), SOON, || async {
            let status = site.api::<Job>().get(name).await?.status.context("no status")?;
            let holds =
                |one: &k8s_openapi::api::batch::v1::JobCondition| one.type_ == condition && one.status == "True";
            ensure!(status.conditions.iter().flatten().any(holds), "{status:?}");
            Ok(())
        })
        .await
    };
    until("works", "Complete").await?;
    until("fails", "Failed").await?;
    let restarts = async || {
        let pods =
            site.pods().await?.into_iter().filter(|pod| pod.labels().get("app").is_some_and(|app| app == "recovers"));
        let statuses = pods.flat_map(|pod| pod.status.and_then(|status| status.container_statuses).unwrap_or_default());
        anyhow::Ok(statuses.map(|status| status.restart_count).sum::<i32>())
    };
    eventually("a restart", SOON, || async {
        ensure!(restarts().await? >= 1);
        Ok(())
    })
    .await?;
    recovers.clear();
    until("recovers", "Complete").await?;
    let failed = site.pods().await?.into_iter().filter_map(|pod| {
        let state = pod.status?.container_statuses?.first()?.state.clone()?.terminated?;
        Some((pod.metadata.labels?.get("app")?.clone(), state.exit_code))
    });
    let codes: BTreeMap<_, _> = failed.collect();
    assert_eq!(codes, BTreeMap::from([("works".into(), 0), ("fails".into(), 3), ("recovers".into(), 0)]));
    Ok(())
}

#[tokio::test]
async fn node_what_containers_print_is_read_through_the_api_server() -> Result<()> {
    let site = Site::new().await?;
    let talks = site.node.component(&site.namespace, "talks");
    talks.update(|script| script.log = "one\ntwo\nthree\n".into());
    site.apply(&job("talks", "Never", 0)).await?;
    let ended = || async {
        let ended = site
            .pods()
            .await?
            .into_iter()
            .find(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded"));
        ended.context("no pod has ended")
    };
    let pod = eventually("an end", SOON, ended).await?.name_any();
    let logs = async |params: LogParams| site.api::<Pod>().logs(&pod, &params).await;
    assert_eq!(logs(LogParams::default()).await?, "one\ntwo\nthree\n");
    assert_eq!(logs(LogParams { tail_lines: Some(2), ..LogParams::default() }).await?, "two\nthree\n");
    assert_eq!(logs(LogParams { limit_bytes: Some(5), ..LogParams::default() }).await?, "one\nt");
    let other = logs(LogParams { container: Some("other".into()), ..LogParams::default() }).await;
    assert!(other.is_err(), "it has no such container: {other:?}");
    Ok(())
}

#[tokio::test]
async fn node_pods_outlive_an_api_outage_and_a_new_simulator_adopts_them() -> Result<()> {
    let plane = ControlPlane::start_named("node-outage").await?;
    let (config, client) = (plane.config(&Identity::Admin).await?, plane.admin().await?);
    let namespace = plane.unique_namespace().await?;
    let first = NodeSimulator::start(config.clone(), NodeOptions::default()).await?;
    plane.apply_yaml(&namespace, &deployment(1, HEALTHY)).await?;
    let pods = async |node: &NodeSimulator, count: usize| {
        eventually(&format!("{count} pods run"), SOON, || async {
            let ready: Vec<_> = node.pods().into_iter().filter(|pod| pod.ready && pod.namespace == namespace).collect();
            ensure!(ready.len() == count, "{ready:?}");
            Ok(ready)
        })
        .await
    };
    let before = pods(&first, 1).await?;
    let address = (before[0].address, 8080);
    plane.stop_apiserver()?;
    assert_eq!(get(address, "/").await?.status, 200);
    plane.start_apiserver().await?;
    let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let deployments = Api::<Deployment>::namespaced(client, &namespace);
    deployments.patch("storefront", &PatchParams::default(), &two).await?;
    let both = pods(&first, 2).await?;
    assert!(both.contains(&before[0]));

    drop(first);
    assert!(get(address, "/").await.is_err(), "a simulator takes its servers along");
    let second = NodeSimulator::start(config, NodeOptions::default()).await?;
    assert_eq!(pods(&second, 2).await?, both);
    assert_eq!(get(address, "/").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn node_backends_outside_the_cluster_fail_as_told_and_end_in_order() -> Result<()> {
    let site = Site::new().await?;
    let address: SocketAddr = "198.19.128.7:8080".parse()?;
    let backend = serve_backend(address, System::Legacy, "monolith").await?.listed_in(site.node.targets());
    let answer = get(address, "/").await?;
    assert_eq!((answer.headers["x-served-by"].as_str(), answer.headers["x-system"].as_str()), ("monolith", "legacy"));
    let listed = || std::fs::read_to_string(site.node.targets().path().expect("a path"));
    assert!(listed()?.contains("198.19.128.7:8080"));
    assert!(serve_backend(address, System::Legacy, "monolith").await.is_err(), "the address is taken");

    backend.script().delay(Duration::from_millis(400));
    let slow = tokio::spawn(get(address, "/"));
    let metrics = async || anyhow::Ok(get(address, "/metrics").await?.body);
    assert!(metrics().await?.contains(r#"system="legacy",component="monolith""#));
    tokio::time::sleep(Duration::from_millis(100)).await;
    backend.stop().await;
    assert_eq!(slow.await??.status, 200, "what was under way is answered");
    assert!(get(address, "/").await.is_err());
    assert!(!listed()?.contains("198.19.128.7:8080"));
    Ok(())
}
