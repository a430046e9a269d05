//! A legacy side that is named by its host: its addresses are followed under load, and outlast the name server and the operator.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{
    Environment, EnvironmentStatus,
    environment::IpFamily::{self, V4, V6},
};
use cutover_engine::environment::resolve::Answer;
use cutover_operator::outbound::dns::Resolver;
use cutover_testkit::{
    control_plane::{ControlPlane, Mark},
    dns::{NameServer, Reply},
    eventually,
    load::{LoadGenerator, LoadOptions, Stream},
    node::{Backend, System, serve_backend},
    operator::{Operator, Options},
    traefik::{EntryPoints, Traefik},
};
use k8s_openapi::{api::discovery::v1::EndpointSlice, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, Client, api::ListParams};

use crate::{installed, rights::nothing_was_forbidden};

/// Longer than a name server that is silent, and an operator that has to take a Lease over, take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const NAME: &str = "app-01.dc.example.com";
const HOST: &str = "shop.example.com";

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 240, last)
}

struct Shop {
    plane: ControlPlane,
    traefik: Traefik,
    names: NameServer,
    client: Client,
    namespace: String,
}

impl Shop {
    async fn open() -> Result<Self> {
        let plane = ControlPlane::start_named("host-names").await?;
        installed::install(&plane).await?;
        let traefik = Traefik::start(&plane).await?;
        let names = NameServer::start().await?;
        let namespace = plane.unique_namespace().await?;
        let client = plane.admin().await?;
        Ok(Self { plane, traefik, names, client, namespace })
    }

    async fn operator(&self, name: &str) -> Result<Operator> {
        let flags = [
            "--lease-duration=6s".to_owned(),
            "--lease-renew-deadline=4s".to_owned(),
            "--lease-retry-period=500ms".to_owned(),
            "--log-level=info,cutover_operator=debug".to_owned(),
            "--forbidden-external-cidrs=198.51.100.0/24".to_owned(),
            format!("--dns-server={}", self.names.address()),
        ];
        let operator =
            Operator::start(&self.plane, Options { name: name.to_owned(), flags: flags.into(), program: None }).await?;
        operator.ready().await?;
        Ok(operator)
    }

    async fn apply(&self, yaml: &str) -> Result<()> {
        self.plane.apply_yaml(&self.namespace, yaml).await.map(drop)
    }

    /// Waits until the environment's status is as `expected` says.
    async fn until(&self, what: &str, expected: impl Fn(&EnvironmentStatus) -> bool) -> Result<EnvironmentStatus> {
        let environments: Api<Environment> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(what, PATIENCE, || async {
            let status = environments.get("production").await?.status.context("no status yet")?;
            ensure!(expected(&status), "{status:#?}");
            Ok(status)
        })
        .await
    }

    /// The addresses of the legacy side that proxies are told of, and the versions of what tells them.
    async fn published(&self) -> Result<(BTreeSet<String>, Vec<Option<String>>)> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &self.namespace);
        let of_service = ListParams::default().labels("kubernetes.io/service-name=production-monolith");
        let slices = slices.list(&of_service).await?.items;
        let versions = slices.iter().map(|slice| slice.metadata.resource_version.clone()).collect();
        Ok((slices.into_iter().flat_map(|slice| slice.endpoints).flat_map(|it| it.addresses).collect(), versions))
    }

    async fn publishes(&self, addresses: &[&str]) -> Result<()> {
        eventually("the addresses are published", PATIENCE, || async {
            let (now, _) = self.published().await?;
            ensure!(now.iter().eq(addresses), "{now:?} instead of {addresses:?}");
            Ok(())
        })
        .await
    }

    fn entries(&self) -> [(&'static str, std::net::SocketAddr); 3] {
        let EntryPoints { nginx, gateway, web, .. } = self.traefik.entry_points();
        [("nginx", nginx), ("gateway", gateway), ("traefik", web)]
    }

    fn load(&self) -> Result<LoadGenerator> {
        let stream = |(router, entry)| Stream::new(router, entry, HOST).router(router).rate(100);
        LoadGenerator::start(LoadOptions::default(), self.entries().map(stream))
    }
}

fn degraded(status: &EnvironmentStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == "ResolutionDegraded")
}

fn is_ready(status: &EnvironmentStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Waits until nothing but what is behind the second address answers, on every router.
async fn all_moved(shop: &Shop, load: &LoadGenerator) -> Result<()> {
    for (router, _) in shop.entries() {
        eventually("the second address has everything", PATIENCE, || async {
            let window = load.window_from(Instant::now()).router(router);
            window.wait_for(100).await?;
            ensure!(window.share_new() == Some(1.0), "{router}: {}", window.counts());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// What is behind an address. The second one answers as the other system, by which the load tells them apart.
async fn machine(last: u8, system: System) -> Result<Backend> {
    serve_backend((address(last), 8080).into(), system, "monolith").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_followed_under_load_and_its_addresses_outlast_name_server_and_operator() -> Result<()> {
    let shop = Shop::open().await?;
    let first = machine(1, System::Legacy).await?;
    let _second = machine(2, System::New).await?;
    shop.names.addresses(NAME, [address(1)]);
    let operator = shop.operator("first").await?;
    shop.apply(&format!(
        "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {{name: production}}
spec:
  tier: Production
  components:
  - {{name: monolith, system: Legacy, source: {{external: {{host: {NAME}, port: 8080, ipFamilies: [IPv4, IPv6]}}}}}}
  - {{name: storefront, system: New, source: {{external: {{addresses: [{}], port: 8080}}}}}}
---
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: shop}}
spec:
  environment: production
  hosts: [{HOST}]
  legacy: {{component: monolith}}
  new: {{component: storefront}}
  newWeight: 0
  routers:
  - ingressNginx: {{className: nginx}}
  - gatewayApi: {{parentRefs: [{{name: edge, namespace: infra}}]}}
  - traefik: {{entryPoints: [web]}}
",
        address(3)
    ))
    .await?;
    shop.publishes(&["198.19.240.1"]).await?;
    for (router, entry) in shop.entries() {
        eventually("the host is served", PATIENCE, || async {
            let answer = cutover_testkit::http::get(entry, HOST, "/").await?;
            ensure!(answer.status() == 200, "{router}: {}", answer.status());
            Ok(())
        })
        .await?;
    }
    shop.until("is ready", is_ready).await?;
    let load = shop.load()?;
    load.window().wait_for(300).await?;

    // The name moves to another machine. The former one still answers; once nothing reaches it, it goes.
    shop.names.addresses(NAME, [address(2)]);
    shop.publishes(&["198.19.240.2"]).await?;
    all_moved(&shop, &load).await?;
    first.stop().await;
    load.window_from(Instant::now()).wait_for(300).await?;

    // Another order, or an address that may not be used, moves nothing.
    let (_, versions) = shop.published().await?;
    shop.names.addresses(NAME, [Ipv4Addr::new(198, 51, 100, 7), address(2), Ipv4Addr::LOCALHOST]);
    let left_out = "198.51.100.7 is in 198.51.100.0/24";
    let status = shop
        .until("says what is left out", |status| degraded(status).is_some_and(|it| it.message.contains(left_out)))
        .await?;
    ensure!(degraded(&status).is_some_and(|it| it.reason == "AddressesRefused"), "{status:#?}");
    shop.names.addresses(NAME, [address(2)]);
    shop.until("is well", |status| degraded(status).is_none()).await?;

    // Nobody answers any more: neither this operator nor the next one takes anything away.
    shop.names.reply(NAME, Reply::Silence);
    let not_resolved = |status: &EnvironmentStatus| {
        degraded(status).is_some_and(|it| it.reason == "NameNotResolved") && is_ready(status)
    };
    let status = shop.until("says that it is not resolved", not_resolved).await?;
    let message = degraded(&status).map(|it| it.message.clone()).unwrap_or_default();
    ensure!(message.starts_with(&format!("monolith: {NAME} is not resolved (A: ")), "{message}");
    ensure!(message.contains("its address, last seen "), "{message}");
    let seen = |status: &EnvironmentStatus| status.components.first().and_then(|it| it.resolved.clone());
    ensure!(seen(&status).is_some(), "{status:#?}");
    operator.process().kill()?;
    let _next = shop.operator("next").await?;
    shop.names.reply(NAME, Reply::Fails);
    let status = shop
        .until("says what the name server says", |status| {
            not_resolved(status) && degraded(status).is_some_and(|it| it.message.contains("SERVFAIL"))
        })
        .await?;
    let told = status.components.first().context("no component")?;
    ensure!(told.ready && told.message.as_ref().is_some_and(|it| it.contains("SERVFAIL")), "{told:#?}");
    ensure!(shop.published().await?.1 == versions, "something was written");

    shop.names.addresses(NAME, [address(2)]);
    shop.until("is well again", |status| degraded(status).is_none() && is_ready(status)).await?;
    ensure!(shop.published().await?.1 == versions, "something was written");
    load.window_from(Instant::now()).wait_for(300).await?;
    let report = load.stop().await?;
    report.check(1_500)?;

    // Both families; and a name that has moved to the other one.
    let six = Ipv6Addr::new(0xfd12, 0, 0, 0, 0, 0, 0, 2);
    shop.names.addresses(NAME, [IpAddr::from(address(2)), six.into()]);
    shop.publishes(&["198.19.240.2", "fd12::2"]).await?;
    shop.names.addresses(NAME, [six]);
    shop.publishes(&["fd12::2"]).await?;
    shop.until("is well", |status| degraded(status).is_none() && is_ready(status)).await?;
    nothing_was_forbidden(&shop.plane, Mark::default()).map(drop)
}

async fn ask(resolver: &Resolver, family: IpFamily) -> Answer {
    resolver.ask(NAME, family).await
}

fn given(addresses: &[&str], ttl: u64) -> Answer {
    let addresses = addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()).collect();
    Answer::Addresses { addresses, ttl: Duration::from_secs(ttl) }
}

#[tokio::test]
async fn a_name_server_is_understood_in_all_that_it_may_say() -> Result<()> {
    let names = NameServer::start().await?;
    let resolver = Resolver::new(&[names.address()]);
    let both = ["192.0.2.7", "192.0.2.5", "2001:db8::7"].iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    names.reply(NAME, Reply::Addresses(both, 77));
    assert_eq!(ask(&resolver, V4).await, given(&["192.0.2.7", "192.0.2.5"], 77));
    assert_eq!(ask(&resolver, V6).await, given(&["2001:db8::7"], 77));
    // Answers are not kept: the next question has the next one.
    names.reply(NAME, Reply::Addresses(vec![address(9).into()], 300));
    assert_eq!(ask(&resolver, V4).await, given(&["198.19.240.9"], 300));
    assert_eq!(ask(&resolver, V6).await, Answer::Nothing { ttl: Duration::from_secs(300) });
    // How long an alias holds counts, too.
    names.reply("real.example.net", Reply::Addresses(vec![address(8).into()], 300));
    names.reply(NAME, Reply::Alias("real.example.net".into(), 20));
    assert_eq!(ask(&resolver, V4).await, given(&["198.19.240.8"], 20));
    for (reply, why) in
        [(Reply::NoSuchName, "NXDOMAIN"), (Reply::Fails, "SERVFAIL"), (Reply::Silence, "no name server answers")]
    {
        names.reply(NAME, reply.clone());
        let answer = ask(&resolver, V4).await;
        assert!(matches!(&answer, Answer::Failed(said) if said.contains(why)), "{reply:?}: {answer:?}");
    }
    Ok(())
}
