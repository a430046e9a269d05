//! Several splits of one edge: hosts and paths beside each other, and one that claims what another has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::TrafficSplitStatus;
use cutover_testkit::eventually;
use futures::StreamExt;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::watcher::{Config, Event, watcher},
};
use serde_json::json;

use super::bed::{Shop, condition};

impl Shop {
    /// A split of these hosts and paths, on both routers.
    async fn way_in(&self, name: &str, hosts: &[&str], paths: &[&str], new_weight: i32) -> Result<()> {
        let hosts: Vec<String> = hosts.iter().map(|host| format!("{host}.{}", self.host)).collect();
        let paths: Vec<_> = paths.iter().map(|path| json!({"value": path})).collect();
        self.apply(
            &json!({
                "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": name},
                "spec": {
                    "hosts": hosts, "paths": paths, "newWeight": new_weight, "onDelete": "Delete",
                    "legacy": {"service": {"name": "old", "port": 80}}, "new": {"service": {"name": "new", "port": 80}},
                    "routers": [
                        {"ingressNginx": {"className": "nginx"}},
                        {"gatewayApi": {"parentRefs": [{"name": "edge", "namespace": "infra"}]}},
                    ],
                },
            })
            .to_string(),
        )
        .await
    }

    /// Waits until both entry points have a request answered by this side, or by nobody.
    async fn answers(&self, host: &str, path: &str, by: Option<&str>) -> Result<()> {
        for entry in [self.bed.entry.nginx, self.bed.entry.gateway] {
            eventually(&format!("{host} {path} is answered by {by:?}"), Duration::from_secs(30), || async {
                let answer = cutover_testkit::http::get(entry, &format!("{host}.{}", self.host), path).await?;
                let who = answer.headers().get("x-served-by").map(|who| String::from_utf8_lossy(who.as_bytes()));
                ensure!(who.as_deref() == by, "{} by {who:?}", answer.status());
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Whatever was made for a split.
    async fn made_for(&self, name: &str) -> Result<Vec<String>> {
        let uid = self.splits().get(name).await?.uid().context("no uid")?;
        let ours = ListParams::default().labels(&format!("cutover.dev/owner-uid={uid}"));
        let mut found = Vec::new();
        for api in [self.ingresses(), self.http_routes(), self.objects("", "Service")] {
            found.extend(api.list(&ours).await?.iter().map(ResourceExt::name_any));
        }
        Ok(found)
    }

    async fn is_conflicted(&self, name: &str, expected: &str) -> Result<()> {
        let status = self
            .until(name, "is in conflict", |status| {
                condition(status, "Stalled").is_some_and(|(_, reason, _)| reason == "Conflicted")
            })
            .await?;
        let (.., message) = condition(&status, "Stalled").unwrap_or_default();
        ensure!(message == expected, "{message}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_beside_each_other_serve_their_own_hosts_and_paths() -> Result<()> {
    let shop = Shop::open().await?;
    shop.way_in("everything", &["a", "b"], &["/"], 0).await?;
    shop.way_in("some", &["a", "c"], &["/shop", "/api/v2"], 100).await?;
    shop.carries("everything", 0).await?;
    shop.carries("some", 100).await?;
    for (host, path, by) in [
        ("a", "/", Some("old")),
        ("a", "/shop/cart", Some("new")),
        ("a", "/shopping", Some("old")),
        ("a", "/api/v2", Some("new")),
        ("a", "/api", Some("old")),
        ("b", "/shop", Some("old")),
        ("c", "/shop", Some("new")),
        ("c", "/", None),
    ] {
        shop.answers(host, path, by).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_splits_that_claim_the_same_the_older_has_it_until_it_goes() -> Result<()> {
    let shop = Shop::open().await?;
    shop.way_in("elder", &["a", "b"], &["/shop", "/api"], 0).await?;
    let before = shop.carries("elder", 0).await?;
    shop.way_in("younger", &["c", "b"], &["/new", "/api/"], 100).await?;
    let contested = format!(
        "spec.hosts[1] b.{} with spec.paths[1] /api/ already belongs to TrafficSplit elder: change it in one of the two",
        shop.host
    );
    shop.is_conflicted("younger", &contested).await?;
    ensure!(shop.made_for("younger").await?.is_empty(), "{:?}", shop.made_for("younger").await?);
    shop.answers("b", "/api", Some("old")).await?;
    shop.answers("c", "/new", None).await?;
    let now = shop.status("elder").await?;
    ensure!(now == before, "the older one takes no notice: {now:#?}");

    // What is no longer claimed twice is carried, and no longer a matter of the other.
    let hosts = [format!("c.{}", shop.host)];
    shop.edit("younger", json!({"spec": {"hosts": hosts}})).await?;
    shop.carries("younger", 100).await?;
    shop.answers("c", "/api", Some("new")).await?;
    let hosts = [format!("a.{}", shop.host)];
    shop.edit("younger", json!({"spec": {"hosts": hosts}})).await?;
    let contested = contested.replace("hosts[1] b", "hosts[0] a");
    shop.is_conflicted("younger", &contested).await?;
    shop.answers("a", "/api", Some("old")).await?;
    shop.answers("c", "/api", Some("new")).await?;

    // The older one goes: the other takes its place once, and is not in conflict again.
    let conflicted = std::sync::Mutex::new(Vec::new());
    let watched: std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>> = Box::pin(async {
        let config = Config::default().fields("metadata.name=younger");
        let mut events = std::pin::pin!(watcher(shop.splits(), config));
        while let Some(event) = events.next().await {
            let (Event::Apply(split) | Event::InitApply(split)) = event? else { continue };
            let Some(status) = split.status else { continue };
            let is = condition(&status, "Stalled").is_some_and(|(is, ..)| is == "True");
            conflicted.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.push(is);
        }
        anyhow::bail!("the watch ended")
    });
    let goes = async {
        shop.splits().delete("elder", &DeleteParams::default()).await?;
        shop.carries("younger", 100).await?;
        shop.answers("a", "/api", Some("new")).await?;
        shop.answers("a", "/shop", None).await
    };
    tokio::select! {
        result = watched => result?,
        result = goes => result?,
    }
    let conflicted = conflicted.into_inner()?;
    ensure!(conflicted.windows(2).all(|pair| pair[0] || !pair[1]), "{conflicted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_a_deleted_split_left_behind_is_told_of_until_it_is_gone() -> Result<()> {
    let shop = Shop::open().await?;
    shop.way_in("former", &["a"], &["/"], 0).await?;
    shop.edit("former", json!({"spec": {"onDelete": "Release"}})).await?;
    shop.carries("former", 0).await?;
    shop.way_in("elsewhere", &["b"], &["/"], 0).await?;
    shop.splits().delete("former", &DeleteParams::default()).await?;
    eventually("the split is gone", Duration::from_secs(30), || async {
        ensure!(shop.splits().get_opt("former").await?.is_none(), "it is still there");
        Ok(())
    })
    .await?;

    shop.way_in("successor", &["a"], &["/"], 0).await?;
    let overlapped = |status: &TrafficSplitStatus, with: &str| {
        condition(status, "Overlapped").is_some_and(|(is, reason, message)| {
            (is, reason) == ("True", "RouteLeftBehind") && message.starts_with(with)
        })
    };
    let ingresses = "Ingress former, Ingress former-cutover-canary: left behind by";
    let all = |status: &TrafficSplitStatus| overlapped(status, &format!("HTTPRoute former, {ingresses}"));
    shop.until("successor", "is told of all", all).await?;
    let status = shop.carries("elsewhere", 0).await?;
    ensure!(condition(&status, "Overlapped").is_none(), "{status:#?}");

    // As the message says, one after the other.
    shop.http_routes().delete("former", &DeleteParams::default()).await?;
    shop.until("successor", "is told of the others", |status| overlapped(status, ingresses)).await?;
    for left in ["former", "former-cutover-canary"] {
        shop.ingresses().delete(left, &DeleteParams::default()).await?;
    }
    shop.until("successor", "is alone", |status| condition(status, "Overlapped").is_none()).await?;
    shop.answers("a", "/", Some("old")).await?;

    // A split of the name takes up what is its own: nobody is told of that.
    shop.edit("successor", json!({"spec": {"onDelete": "Release"}})).await?;
    shop.carries("successor", 0).await?;
    shop.splits().delete("successor", &DeleteParams::default()).await?;
    eventually("the split is gone", Duration::from_secs(30), || async {
        ensure!(shop.splits().get_opt("successor").await?.is_none(), "it is still there");
        Ok(())
    })
    .await?;
    shop.way_in("successor", &["a"], &["/"], 0).await?;
    let status = shop.carries("successor", 0).await?;
    ensure!(condition(&status, "Overlapped").is_none(), "{status:#?}");
    Ok(())
}
