//! Components that are named by their hosts, in both families of addresses.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::TrafficSplit;
use cutover_testkit::{dns::Reply, eventually};
use k8s_openapi::api::{discovery::v1::EndpointSlice, networking::v1::Ingress};
use kube::{Api, ResourceExt, api::ListParams};

use super::bed::{PATIENCE, Space, is};

/// Name and version of each slice, and the addresses in it.
type Published = Vec<(String, Option<String>, Vec<String>)>;

async fn published(space: &Space) -> Result<Published> {
    let slices: Api<EndpointSlice> = space.all();
    let of_service = ListParams::default().labels("kubernetes.io/service-name=production-monolith");
    let slices = slices.list(&of_service).await?.items.into_iter();
    let addresses = |slice: &EndpointSlice| slice.endpoints.iter().flat_map(|it| it.addresses.clone()).collect();
    Ok(slices.map(|slice| (slice.name_any(), slice.resource_version(), addresses(&slice))).collect())
}

async fn publishes(space: &Space, wanted: &[(&str, &[&str])]) -> Result<Published> {
    eventually("the addresses are published", PATIENCE, || async {
        let now = published(space).await?;
        let wanted = wanted.iter().map(|(name, addresses)| (*name, addresses.to_vec()));
        let same =
            now.iter().map(|(name, _, addresses)| (name.as_str(), addresses.iter().map(String::as_str).collect()));
        ensure!(same.eq(wanted), "{now:?}");
        Ok(now)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_ready_once_it_is_resolved_and_its_families_change_independently() -> Result<()> {
    let space = Space::open().await?;
    let names = &space.bed.names;
    let name = format!("app.{}.example.com", space.namespace);
    let addresses = |all: &[&str]| -> Result<()> {
        let parsed: Vec<IpAddr> = all.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        names.addresses(&name, parsed);
        Ok(())
    };
    names.reply(&name, Reply::NoSuchName);
    space
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
    source: {{external: {{host: {name}, ipFamilies: [IPv4, IPv6], port: 8080}}}}
"
        ))
        .await?;
    let status = space
        .until("production", "says that there is no such name", |status| {
            is(&status.conditions, "Ready", "False").is_some_and(|(reason, message)| {
                reason == "NameNotResolved"
                    && message.contains("NXDOMAIN")
                    && message.contains("no address of it is known")
            })
        })
        .await?;
    ensure!(is(&status.conditions, "ResolutionDegraded", "True").is_some(), "{status:#?}");
    ensure!(published(&space).await?.is_empty(), "an empty slice is no address");

    addresses(&["203.0.113.9", "2001:db8::9", "203.0.113.8"])?;
    let four = ["203.0.113.8", "203.0.113.9"];
    let both =
        publishes(&space, &[("production-monolith-ipv4", &four), ("production-monolith-ipv6", &["2001:db8::9"])])
            .await?;
    let status = space.ready("production").await?;
    ensure!(is(&status.conditions, "ResolutionDegraded", "True").is_none(), "{status:#?}");

    addresses(&["2001:db8::7", "203.0.113.8", "203.0.113.9"])?;
    let moved =
        publishes(&space, &[("production-monolith-ipv4", &four), ("production-monolith-ipv6", &["2001:db8::7"])])
            .await?;
    addresses(&["203.0.113.9", "203.0.113.8"])?;
    let left = publishes(&space, &[("production-monolith-ipv4", &four)]).await?;
    ensure!(both.first() == moved.first() && both.first() == left.first(), "{both:?} {moved:?} {left:?}");
    space.ready("production").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_a_host_is_for_pods_alone() -> Result<()> {
    let space = Space::open().await?;
    let names = &space.bed.names;
    let name = format!("db.{}.example.com", space.namespace);
    names.reply(&name, Reply::NoSuchName);
    let environment = |via: &str| {
        format!(
            "
apiVersion: cutover.dev/v1alpha1
kind: Environment
metadata: {{name: production}}
spec:
  tier: Production
  components:
  - name: monolith
    system: Legacy
    source: {{external: {{host: {name}, port: 8080, via: {via}}}}}
"
        )
    };
    space.apply(&environment("ExternalName")).await?;
    space
        .until("production", "says that there is no such name", |status| {
            is(&status.conditions, "Ready", "False").is_some_and(|(reason, _)| reason == "NameNotResolved")
        })
        .await?;
    names.addresses(&name, [IpAddr::from([203, 0, 113, 9])]);
    space.ready("production").await?;
    let service = space.services().get("production-monolith").await?.spec.unwrap_or_default();
    ensure!(
        service.type_.as_deref() == Some("ExternalName") && service.external_name == Some(name.clone()),
        "{service:#?}"
    );
    ensure!(published(&space).await?.is_empty(), "its addresses are for callers to ask for");

    let split = "
apiVersion: cutover.dev/v1alpha1
kind: TrafficSplit
metadata: {name: shop}
spec:
  environment: production
  hosts: [another-name.example.com]
  new: {component: monolith}
  newWeight: 100
  routers: [{ingressNginx: {className: nginx}}]
";
    space.apply(split).await?;
    let splits: Api<TrafficSplit> = space.all();
    eventually("no split leads to it", PATIENCE, || async {
        let status = splits.get("shop").await?.status.unwrap_or_default();
        let refused = is(&status.conditions, "Stalled", "True");
        let (reason, message) = refused.context("not refused yet")?;
        ensure!(reason == "UnsupportedByRouter" && message.contains("is of type ExternalName"), "{message}");
        Ok(())
    })
    .await?;
    let routes: Api<Ingress> = space.all();
    ensure!(routes.list(&ListParams::default()).await?.items.is_empty(), "nothing leads there");

    // Callers that were sent to the host are not sent elsewhere from one moment to the next.
    space.apply(&environment("Addresses")).await?;
    space
        .until("production", "says what to do instead", |status| {
            is(&status.conditions, "Stalled", "True").is_some_and(|(_, message)| message.contains("under another name"))
        })
        .await?;
    ensure!(published(&space).await?.is_empty(), "it is found by its name only");
    Ok(())
}
