//! Phases that move traffic through a proxy under load while what carries them out is killed, or has no API server, or legacy goes for
//! good: nothing is lost, and the end is the same.

use std::{
    env, fs,
    net::Ipv4Addr,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use cutover_api::v1alpha1::{
    MigrationPhase, MigrationPhaseStatus, TrafficSplit,
    migration_phase::{PhaseState, Stage},
};
use cutover_testkit::{
    control_plane::{ControlPlane, Identity},
    eventually,
    load::{LoadGenerator, LoadOptions, Stream},
    node::{Backend, System, serve_backend},
    operator::{self, NAMESPACE, Operator, Options},
    tools,
    traefik::Traefik,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, from_value, json};
use tokio::time::sleep;

use crate::{
    installed,
    migration_phase::prometheus::{Answer, Prometheus},
};

const FLAGS: [&str; 5] = [
    "--lease-duration=6s",
    "--lease-renew-deadline=4s",
    "--lease-retry-period=500ms",
    // These tests are about leaders; who may decide is shown elsewhere.
    "--trust-unenforced-policies=true",
    "--log-level=info,cutover_operator=debug",
];
/// Longer than anything takes on a busy machine. Whoever lost the API server for half a minute asks for it again at intervals that have
/// grown to as much.
const PATIENCE: Duration = Duration::from_secs(240);
/// Splits that move at the same time, each by a phase of its own.
const WAYS: usize = 4;
const NGINX: &str = "{ingressNginx: {className: nginx}}";
const GATEWAY: &str = "{gatewayApi: {parentRefs: [{name: edge, namespace: infra}]}}";
const TRAEFIK: &str = "{traefik: {entryPoints: [web]}}";
/// A shift each, of every way.
const STEPS: [i32; 5] = [10, 30, 50, 80, 100];
/// A shift takes as long as proxies may take to follow, which is 2 s, and some.
const SHIFT_MILLIS: u64 = 2_500;
const SHIFTS: usize = WAYS * STEPS.len();

/// A control plane with a proxy, one legacy and one new side outside the cluster, and ways that lead to them.
struct Shop {
    plane: ControlPlane,
    traefik: Traefik,
    client: Client,
    namespace: String,
    sides: [Backend; 2],
}

impl Shop {
    async fn open(name: &str) -> Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let plane = ControlPlane::start_named(name).await?;
        let definitions = fs::read_dir(tools::repository().join("crds"))?;
        plane
            .install_definitions(definitions.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?)
            .await?;
        let own: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        let client = plane.admin().await?;
        Api::all(client.clone()).create(&PostParams::default(), &own).await?;
        let traefik = Traefik::start(&plane).await?;
        let namespace = plane.unique_namespace().await?;
        let next = || Ipv4Addr::new(198, 19, 230, NEXT.fetch_add(1, Ordering::Relaxed));
        let addresses = [next(), next()];
        let sides = [
            serve_backend((addresses[0], 8080).into(), System::Legacy, "old").await?,
            serve_backend((addresses[1], 8080).into(), System::New, "new").await?,
        ];
        let shop = Self { plane, traefik, client, namespace, sides };
        for (side, address) in ["old", "new"].into_iter().zip(addresses) {
            shop.apply(&installed::side(side, &address.to_string())).await?;
        }
        Ok(shop)
    }

    async fn apply(&self, yaml: &str) -> Result<()> {
        self.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    async fn replica(&self, number: usize) -> Result<Operator> {
        self.replica_with(number, None).await
    }

    async fn replica_with(&self, number: usize, flag: Option<String>) -> Result<Operator> {
        let name = format!("replica-{number}");
        let identity = Identity::User { name: name.clone(), groups: vec!["system:masters".to_owned()] };
        let flags = FLAGS.iter().map(|flag| (*flag).to_owned()).chain(flag).collect();
        let replica = Operator::start_as(&self.plane, &identity, Options { name, flags, program: None }).await?;
        replica.ready().await?;
        Ok(replica)
    }

    fn host(&self, way: usize) -> String {
        format!("way-{way}.{}.example.com", self.namespace)
    }

    /// A way that carries everything to the legacy side and is served.
    async fn way(&self, way: usize) -> Result<()> {
        self.way_on(way, &[NGINX]).await
    }

    async fn way_on(&self, way: usize, routers: &[&str]) -> Result<()> {
        let host = self.host(way);
        self.apply(&format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: way-{way}}}
spec:
  hosts: [{host}]
  legacy: {{service: {{name: old, port: 80}}}}
  new: {{service: {{name: new, port: 80}}}}
  newWeight: 0
  routers: [{}]
",
            routers.join(", ")
        ))
        .await?;
        let entries = self.traefik.entry_points();
        for entry in [entries.nginx, entries.gateway, entries.web].into_iter().take(routers.len()) {
            eventually("the way is served", PATIENCE, || async {
                let answer = cutover_testkit::http::get(entry, &host, "/").await?;
                ensure!(answer.status() == 200, "{}", answer.status());
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// A phase that takes the way to the new side; `more` of each step.
    async fn phase(&self, way: usize, more: &str) -> Result<()> {
        let steps = STEPS.map(|weight| {
            format!("  - {{name: to-{weight}, traffic: [{{split: way-{way}, newWeight: {weight}}}], {more}}}\n")
        });
        let steps = steps.concat();
        self.apply(&format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {{name: move-{way}}}
spec:
  steps:
{steps}"
        ))
        .await
    }

    fn load(&self, ways: usize) -> Result<LoadGenerator> {
        let entry = self.traefik.entry_points().nginx;
        let stream = |way| Stream::new(format!("way-{way}"), entry, self.host(way)).router("nginx").rate(60);
        LoadGenerator::start(LoadOptions::default(), (0..ways).map(stream))
    }

    /// Load on one way through every router.
    fn load_on_all(&self, way: usize) -> Result<LoadGenerator> {
        let entries = self.traefik.entry_points();
        let stream = |router, entry| Stream::new(router, entry, self.host(way)).router(router).rate(200);
        LoadGenerator::start(
            LoadOptions::default(),
            [stream("nginx", entries.nginx), stream("gateway", entries.gateway), stream("traefik", entries.web)],
        )
    }

    fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn status(&self, way: usize) -> Result<MigrationPhaseStatus> {
        self.all::<MigrationPhase>().get(&format!("move-{way}")).await?.status.context("no status")
    }

    /// Waits until the phases of these ways ask people about the step, or are completed.
    async fn rest_at(&self, ways: std::ops::Range<usize>, step: Option<&str>) -> Result<()> {
        eventually(&format!("{ways:?} rest at {step:?}"), PATIENCE, || async {
            for way in ways.clone() {
                let status = self.status(way).await?;
                let at = status.step.as_ref().map(|step| (step.name.as_str(), step.stage));
                let there = match step {
                    Some(step) => at == Some((step, Stage::AwaitingApproval)),
                    None => status.state == Some(PhaseState::Completed),
                };
                ensure!(there, "way {way}: {:?} {at:?} {:?}", status.state, status.blocked_by);
            }
            Ok(())
        })
        .await
    }

    async fn approve(&self, way: usize, step: &str) -> Result<()> {
        self.ask(way, "Approve", Some(step)).await
    }

    async fn ask(&self, way: usize, action: &str, step: Option<&str>) -> Result<()> {
        let phase = self.all::<MigrationPhase>().get(&format!("move-{way}")).await?;
        let mut asked = json!({"action": action});
        if let Some(step) = step {
            asked["step"] = step.into();
        }
        let action = installed::decision(&phase, "ana", &asked);
        installed::create(&self.client, &self.namespace, &action, false).await?;
        Ok(())
    }

    /// What is left of a way when its phase is done, instants aside.
    async fn end(&self, way: usize) -> Result<Value> {
        let status = self.status(way).await?;
        let split: TrafficSplit = self.all().get(&format!("way-{way}")).await?;
        let split = split.status.context("no status")?;
        let told: Vec<_> = status.history.iter().map(|entry| (&entry.reason, &entry.step, &entry.by)).collect();
        Ok(json!({
            "state": status.state, "attempt": status.attempt, "revision": status.request_revision,
            "requests": status.requests, "failure": status.failure.is_some(), "told": told,
            "approvals": status.approvals.len(), "applied": status.applied_actions.len(),
            "desired": split.desired_weight, "weight": split.applied_weight, "holder": split.holder, "epoch": split.epoch,
            "routers": split.routers.iter().map(|router| router.observed_weight).collect::<Vec<_>>(),
        }))
    }
}

/// Waits until the proxy has followed, and gives everything to the new side.
async fn all_new(load: &LoadGenerator) -> Result<()> {
    eventually("the new side has everything", PATIENCE, || async {
        let window = load.window_from(Instant::now());
        window.wait_for(100).await?;
        ensure!(window.share_new() == Some(1.0), "{}", window.counts());
        Ok(())
    })
    .await
}

/// Moments that look random and can be had again.
struct Moments(u64);

impl Moments {
    fn new() -> Result<Self> {
        let seed = match env::var("CUTOVER_SEED") {
            Ok(seed) => seed.parse().context("CUTOVER_SEED")?,
            Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()) | 1,
        };
        Ok(Self(seed.max(1)))
    }

    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % SHIFT_MILLIS)
    }
}

/// The name of the replica that leads. Until its Lease has expired, one that was killed still holds it.
async fn leader(shop: &Shop, replicas: &[Operator]) -> Result<String> {
    eventually("one of the replicas leads", PATIENCE, || async {
        Ok(operator::leader(&shop.client, replicas).await?.context("none does")?.name().to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_a_leader_killed_in_twenty_shifts_loses_no_request() -> Result<()> {
    let mut moments = Moments::new()?;
    println!("CUTOVER_SEED={}", moments.0);
    let shop = Shop::open("killed-under-load").await?;
    let mut replicas = vec![shop.replica(0).await?, shop.replica(1).await?];
    for way in 0..=WAYS {
        shop.way(way).await?;
    }
    let load = shop.load(WAYS + 1)?;
    let mut killed = Vec::new();
    for (round, weight) in STEPS.into_iter().enumerate() {
        let step = format!("to-{weight}");
        leader(&shop, &replicas).await?;
        for way in 0..WAYS {
            match round.checked_sub(1).and_then(|before| STEPS.get(before)) {
                Some(before) => shop.approve(way, &format!("to-{before}")).await?,
                None => shop.phase(way, "approval: {required: 1}").await?,
            }
        }
        let moment = moments.next();
        sleep(moment).await;
        let leader = leader(&shop, &replicas).await?;
        let at = replicas.iter().position(|replica| replica.name() == leader).ok_or_else(|| anyhow!("no {leader}"))?;
        replicas.remove(at).process().kill()?;
        let mut on_the_way = 0;
        for way in 0..WAYS {
            let status = shop.status(way).await;
            let at = status.ok().and_then(|status| status.step).map(|step| (step.name, step.stage));
            on_the_way += usize::from(at != Some((step.clone(), Stage::AwaitingApproval)));
        }
        killed.push((leader, moment, on_the_way));
        replicas.push(shop.replica(round + 2).await?);
        shop.rest_at(0..WAYS, Some(&step)).await?;
    }
    println!("killed, after which time, shifts that were on their way: {killed:?}");
    let last = format!("to-{}", STEPS.last().context("no steps")?);
    for way in 0..WAYS {
        shop.approve(way, &last).await?;
    }
    shop.rest_at(0..WAYS, None).await?;

    // The same way once more, and nobody is killed.
    shop.phase(WAYS, "approval: {required: 1}").await?;
    for weight in STEPS {
        shop.rest_at(WAYS..WAYS + 1, Some(&format!("to-{weight}"))).await?;
        shop.approve(WAYS, &format!("to-{weight}")).await?;
    }
    shop.rest_at(WAYS..WAYS + 1, None).await?;
    eventually("every way has come to the same end", PATIENCE, || async {
        let expected = shop.end(WAYS).await?;
        ensure!(expected["weight"] == 100 && expected["holder"].is_null(), "{expected:#}");
        for way in 0..WAYS {
            let end = shop.end(way).await?;
            ensure!(end == expected, "way {way}: {end:#}\ninstead of {expected:#}");
        }
        Ok(())
    })
    .await?;
    all_new(&load).await?;
    let report = load.stop().await?;
    println!("{SHIFTS} shifts:\n{report}");
    let disturbed: usize = killed.iter().map(|(_, _, on_the_way)| on_the_way).sum();
    ensure!(disturbed > 0, "no shift was on its way when its leader was killed: {killed:?}");
    report.check(10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_without_an_api_server_for_half_a_minute_no_weight_changes() -> Result<()> {
    let shop = Shop::open("outage-under-load").await?;
    let _replicas = [shop.replica(0).await?, shop.replica(1).await?];
    shop.way(0).await?;
    let load = shop.load(1)?;
    shop.phase(0, "soak: 1s").await?;
    eventually("it is on its way to 50", PATIENCE, || async {
        let status = shop.status(0).await?;
        let step = status.step.context("no step")?;
        ensure!(step.name == "to-50" && step.stage == Stage::Shifting, "{step:?}");
        Ok(())
    })
    .await?;
    shop.plane.stop_apiserver()?;
    let stopped = Instant::now();
    // What was written before may still be on its way in the proxy.
    let mut shares = Vec::new();
    let long = Duration::from_secs(6);
    for from in [10, 16, 22] {
        let from = stopped + Duration::from_secs(from);
        tokio::time::sleep_until((from + long).into()).await;
        let window = load.window_from(from).until(from + long);
        shares.push(window.share_new().context("nothing was answered")? * 100.0);
    }
    tokio::time::sleep_until((stopped + Duration::from_secs(30)).into()).await;
    println!("new side's share while the API server is away: {shares:.1?} %");
    let held = |weight: f64| shares.iter().all(|share| (share - weight).abs() <= 3.0);
    ensure!(held(30.0) || held(50.0), "it moved: {shares:?}");
    shop.plane.start_apiserver().await?;
    let back = Instant::now();
    eventually("the phase is completed", PATIENCE, || async {
        let status = shop.status(0).await?;
        ensure!(status.state == Some(PhaseState::Completed), "{:?} {:?}", status.state, status.blocked_by);
        Ok(())
    })
    .await?;
    println!("completed {:.1?} after the API server was back", back.elapsed());
    let end = shop.end(0).await?;
    ensure!(end["weight"] == 100 && end["attempt"] == 1 && end["failure"] == false, "{end:#}");
    // The proxy had no API server either, and asks for it again at intervals of its own.
    all_new(&load).await?;
    let report = load.stop().await?;
    println!("{report}");
    report.check(1_500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undisturbed_legacy_is_retired_on_every_router_and_can_be_switched_off() -> Result<()> {
    let shop = Shop::open("retired-under-load").await?;
    let prometheus = Prometheus::start().await?;
    prometheus.says(&shop.namespace, &[Answer::Value(0.0)]);
    let _replica = shop.replica_with(0, Some(format!("--prometheus=scripted={}", prometheus.url()))).await?;
    shop.apply(
        "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {name: production}
spec:
  tier: Production
  components: [{name: api, system: New, source: {service: {name: new, port: 80}}}]
  monitoring: {prometheus: scripted}
",
    )
    .await?;
    shop.way_on(0, &[NGINX, GATEWAY, TRAEFIK]).await?;
    let load = shop.load_on_all(0)?;
    shop.apply(
        "
apiVersion: cutover.dev/v1alpha1
kind: MigrationPhase
metadata: {name: move-0}
spec:
  environment: production
  defaultChecks: false
  steps:
  - {name: half, traffic: [{split: way-0, newWeight: 50}], soak: 1s}
  - {name: all, traffic: [{split: way-0, newWeight: 100}]}
  finish:
    retireLegacy:
      after: 3s
      requests: sum(increase(requests{namespace=\"$namespace\",system=\"$system\"}[$window]))
      window: 4s
      interval: 1s
",
    )
    .await?;
    eventually("legacy is quiet", PATIENCE, || async {
        let status = shop.status(0).await?;
        ensure!(status.blocked_by.iter().any(|hold| hold.reason == "AwaitingRetirement"), "{:?}", status.blocked_by);
        Ok(())
    })
    .await?;
    shop.ask(0, "Promote", None).await?;
    eventually("legacy is retired", PATIENCE, || async {
        let status = shop.all::<TrafficSplit>().get("way-0").await?.status.context("no status")?;
        let ready = status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        ensure!(status.legacy_retired.is_some() && ready, "{status:#?}");
        Ok(())
    })
    .await?;
    let at = Instant::now();
    let [legacy, _] = shop.sides;
    legacy.stop().await;
    for router in ["nginx", "gateway", "traefik"] {
        let window = load.window_from(at).router(router);
        window.wait_for(1_500).await?;
        ensure!(window.share_new() == Some(1.0), "{router}: {}", window.counts());
    }
    let report = load.stop().await?;
    println!("{report}");
    report.check(4_000)
}
