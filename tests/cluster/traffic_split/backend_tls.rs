//! TLS to a component outside the cluster, as its Environment says: under a name, judged by an authority, and never left out.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::{Environment, environment::ComponentStatus};
use cutover_testkit::{
    eventually, http,
    load::{LoadGenerator, LoadOptions, Stream},
    tls::TlsFront,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::bed::{GATEWAY, NGINX, Shop, TRAEFIK, condition};

const NAME: &str = "app-01.dc.example.com";
const PATIENCE: Duration = Duration::from_secs(60);

/// A shop whose legacy side speaks TLS at its address, in an Environment, judged by what is in the ConfigMap `monolith-ca`.
struct Vault {
    shop: Shop,
    front: TlsFront,
}

impl Vault {
    async fn open() -> Result<Self> {
        let shop = Shop::open().await?;
        let address = shop.address("old");
        let front = TlsFront::start((address, 8443).into(), NAME, (address, 8080).into()).await?;
        Ok(Self { shop, front })
    }

    /// Its Environment, in which the legacy side speaks TLS under this name, or none.
    async fn environment(&self, name: Option<&str>) -> Result<()> {
        let address = self.shop.address("old");
        let tls =
            name.map(|name| format!(", tls: {{serverName: {name}, caConfigMap: monolith-ca}}")).unwrap_or_default();
        self.shop
            .apply(&format!(
                "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {{name: production}}
spec:
  tier: Production
  components:
  - name: monolith
    system: Legacy
    source: {{external: {{addresses: [{address}], port: 8443{tls}}}}}
"
            ))
            .await
    }

    /// The ConfigMap with an authority's certificate.
    async fn believe(&self, authority: &str) -> Result<()> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "monolith-ca", "labels": {"cutover.dev/ca": "true"}}, "data": {"ca.crt": authority},
        });
        self.shop.apply(&map.to_string()).await
    }

    async fn split(&self, name: &str, routers: &[&str], more: &str) -> Result<()> {
        let (host, routers) = (&self.shop.host, routers.join(", "));
        self.shop
            .apply(&format!(
                "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {{name: {name}}}
spec:
  environment: production
  hosts: [{name}.{host}]
  legacy: {{component: monolith}}
  new: {{service: {{name: new, port: 80}}}}
  newWeight: 0
  onDelete: Delete
  routers: [{routers}]
{more}
"
            ))
            .await
    }

    fn entry(&self, router: &str) -> SocketAddr {
        let entry = &self.shop.bed.entry;
        if router == GATEWAY { entry.gateway } else { entry.web }
    }

    /// The legacy side is reached, or nobody is. Never is anything but TLS spoken to it, which it would not understand.
    async fn answers(&self, router: &str, wanted: u16) -> Result<()> {
        let host = format!("shop.{}", self.shop.host);
        eventually(&format!("the proxy answers {wanted}"), PATIENCE, || async {
            let status = http::get(self.entry(router), &host, "/").await?.status();
            ensure!(status == wanted, "{status}");
            Ok(())
        })
        .await
    }

    async fn component(&self, what: &str, expected: impl Fn(&ComponentStatus) -> bool) -> Result<ComponentStatus> {
        let environments: Api<Environment> = Api::namespaced(self.shop.client.clone(), &self.shop.namespace);
        eventually(what, PATIENCE, || async {
            let status = environments.get("production").await?.status.context("no status yet")?;
            let monolith =
                status.components.into_iter().find(|it| it.name == "monolith").context("no component yet")?;
            ensure!(expected(&monolith), "{monolith:#?}");
            Ok(monolith)
        })
        .await
    }

    fn policies(&self) -> Api<kube::api::DynamicObject> {
        self.shop.objects("gateway.networking.k8s.io", "BackendTLSPolicy")
    }

    fn transports(&self) -> Api<kube::api::DynamicObject> {
        self.shop.objects_of("traefik.io", "v1alpha1", "ServersTransport")
    }
}

fn says(component: &ComponentStatus, part: &str) -> bool {
    component.message.as_deref().is_some_and(|message| message.contains(part))
}

/// `unsaid`: what it answers before anybody may be led to the side.
#[rstest]
#[case::gateway(GATEWAY, 500)]
#[case::traefik(TRAEFIK, 404)]
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_to_one_side_under_a_name_and_judged_by_its_authority(
    #[case] router: &str,
    #[case] unsaid: u16,
) -> Result<()> {
    let vault = Vault::open().await?;
    let shop = &vault.shop;
    vault.environment(Some(NAME)).await?;
    let missing =
        vault.component("without its authority it is not ready", |it| !it.ready && it.message.is_some()).await?;
    ensure!(says(&missing, "there is no ConfigMap monolith-ca with the label cutover.dev/ca=true"), "{missing:#?}");
    vault.split("shop", &[router], "").await?;
    // By nobody rather than unjudged.
    vault.answers(router, unsaid).await?;
    let other = TlsFront::start((shop.address("new"), 8443).into(), NAME, (shop.address("new"), 8080).into()).await?;
    vault.believe(other.authority()).await?;
    vault.component("it has an authority", |it| it.ready).await?;
    shop.carries("shop", 0).await?;
    vault.answers(router, 500).await?;
    vault.believe(vault.front.authority()).await?;
    vault.answers(router, 200).await?;

    // Side by side with one that speaks none.
    let load = LoadGenerator::start(
        LoadOptions::default(),
        [Stream::new("way", vault.entry(router), format!("shop.{}", shop.host)).router("way").rate(100)],
    )?;
    shop.set_weight("shop", 50).await?;
    shop.carries("shop", 50).await?;
    eventually("both sides answer", PATIENCE, || async {
        let counts = load.window().wait_for(300).await?;
        ensure!(counts.legacy > 0 && counts.new > 0, "{counts}");
        Ok(())
    })
    .await?;
    load.stop().await?.check(300)?;

    // Whoever has another name is not spoken to.
    shop.set_weight("shop", 0).await?;
    shop.carries("shop", 0).await?;
    vault.environment(Some("app-02.dc.example.com")).await?;
    vault.answers(router, 500).await?;

    // What is in use does not cease to speak TLS; what goes takes along what said how.
    vault.environment(None).await?;
    vault.component("it is told why not", |it| says(it, "would have to speak otherwise at once")).await?;
    let policy = vault.policies().get("production-monolith").await?;
    ensure!(policy.data["spec"]["validation"]["hostname"] == "app-02.dc.example.com", "{policy:#?}");
    let transport = vault.transports().get("production-monolith").await?;
    ensure!(transport.data["spec"]["serverName"] == "app-02.dc.example.com", "{transport:#?}");
    shop.splits().delete("shop", &DeleteParams::default()).await?;
    eventually("nothing that says how is left", PATIENCE, || async {
        for kind in [vault.policies(), vault.transports()] {
            let left = kind.get_opt("production-monolith").await?;
            ensure!(left.is_none(), "{left:#?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_would_speak_plain_http_are_refused_by_name_and_lead_nowhere() -> Result<()> {
    let vault = Vault::open().await?;
    vault.believe(vault.front.authority()).await?;
    vault.environment(Some(NAME)).await?;
    vault.component("it has an authority", |it| it.ready).await?;
    vault.split("nginx", &[NGINX], "").await?;
    vault
        .shop
        .until("nginx", "is refused", |status| {
            condition(status, "Stalled").is_some_and(|(is, reason, message)| {
                is == "True"
                    && reason == "UnsupportedByRouter"
                    && message
                        .starts_with("source.external.tls (of Service production-monolith, which spec.legacy leads to)")
            })
        })
        .await?;
    // Cookies are dealt by Services that no policy is about.
    let sticky = "  stickiness: {cookie: {name: side, maxAge: 1h}}";
    vault.split("sticky", &[GATEWAY], sticky).await?;
    vault
        .shop
        .until("sticky", "is refused", |status| {
            condition(status, "Stalled").is_some_and(|(_, _, message)| message.starts_with("spec.stickiness: "))
        })
        .await?;
    let ingresses = vault.shop.ingresses().list(&ListParams::default()).await?.items;
    let routes = vault.shop.http_routes().list(&ListParams::default()).await?.items;
    ensure!(ingresses.is_empty() && routes.is_empty(), "{ingresses:#?} {routes:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_somebody_elses_is_left_alone_and_nothing_is_published_before_it_is_out_of_the_way() -> Result<()> {
    let vault = Vault::open().await?;
    let shop = &vault.shop;
    let theirs: Value = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": {"name": "production-monolith"},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "production-monolith"}],
            "validation": {"hostname": "theirs.example.com", "wellKnownCACertificates": "System"},
        },
    });
    shop.apply(&theirs.to_string()).await?;
    vault.believe(vault.front.authority()).await?;
    vault.environment(Some(NAME)).await?;
    let told = vault.component("it is told of", |it| says(it, "was not made for this Environment")).await?;
    ensure!(
        says(&told, "BackendTLSPolicy production-monolith exists") && says(&told, "delete or rename it"),
        "{told:#?}"
    );
    ensure!(told.service.is_none() && !told.ready, "{told:#?}");
    let slices: Api<EndpointSlice> = Api::namespaced(shop.client.clone(), &shop.namespace);
    let of_service = ListParams::default().labels("kubernetes.io/service-name=production-monolith");
    ensure!(slices.list(&of_service).await?.items.is_empty(), "addresses without a policy");
    let found = vault.policies().get("production-monolith").await?;
    ensure!(found.data["spec"] == theirs["spec"], "{found:#?}");

    vault.policies().delete("production-monolith", &DeleteParams::default()).await?;
    vault.component("it is made", |it| it.ready).await?;
    vault.split("shop", &[GATEWAY], "").await?;
    shop.carries("shop", 0).await?;
    vault.answers(GATEWAY, 200).await
}
