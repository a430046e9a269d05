//! Several splits of one edge: hosts and paths beside each other, and one that claims what another has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cutover_api::v1alpha1::TrafficSplitStatus;
use cutover_testkit::{eventually, tools};
use futures::StreamExt;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::watcher::{Config, Event, watcher},
};
use serde_json::{Value, json};

use super::bed::{Shop, condition};
use crate::routers::Router;

impl Shop {
    /// A split of these hosts and paths, on the three routers that the proxy serves.
    async fn way_in(&self, name: &str, hosts: &[&str], paths: &[&str], new_weight: i32) -> Result<()> {
        let routers = serde_yaml_ng::from_str(&Router::spec(&Router::ALL))?;
        self.way_in_on(name, hosts, paths, new_weight, &routers).await
    }

    /// Of paths, those with a `=` before them are exact.
    async fn way_in_on(
        &self,
        name: &str,
        hosts: &[&str],
        paths: &[&str],
        new_weight: i32,
        routers: &Value,
    ) -> Result<()> {
        let hosts: Vec<String> = hosts.iter().map(|host| format!("{host}.{}", self.host)).collect();
        let path = |path: &&str| match path.strip_prefix('=') {
            Some(path) => json!({"type": "Exact", "value": path}),
            None => json!({"value": path}),
        };
        let paths: Vec<_> = paths.iter().map(path).collect();
        self.apply(
            &json!({
                "apiVersion": "cutover.dev/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": name},
                "spec": {
                    "hosts": hosts, "paths": paths, "newWeight": new_weight, "onDelete": "Delete",
                    "legacy": {"service": {"name": "old", "port": 80}}, "new": {"service": {"name": "new", "port": 80}},
                    "routers": routers,
                },
            })
            .to_string(),
        )
        .await
    }

    /// The status of an answer, and by whom it is, if by a side.
    async fn answer(&self, router: Router, host: &str, path: &str) -> Result<(u16, Option<String>)> {
        let entry = router.entry(&self.bed.entry);
        let answer = cutover_testkit::http::get(entry, &format!("{host}.{}", self.host), path).await?;
        let who = answer.headers().get("x-served-by").map(|who| String::from_utf8_lossy(who.as_bytes()).into_owned());
        Ok((answer.status().as_u16(), who))
    }

    /// Waits until every entry point has a request answered by this side, or by nobody.
    async fn answers(&self, host: &str, path: &str, by: Option<&str>) -> Result<()> {
        for router in Router::ALL {
            self.answers_on(router, host, path, by).await?;
        }
        Ok(())
    }

    async fn answers_on(&self, router: Router, host: &str, path: &str, by: Option<&str>) -> Result<()> {
        eventually(&format!("{host} {path} is answered by {by:?}"), Duration::from_secs(30), || async {
            let (status, who) = self.answer(router, host, path).await?;
            ensure!(who.as_deref() == by, "{router:?}: {status} by {who:?}");
            Ok(())
        })
        .await
    }

    /// Whatever was made for a split.
    async fn made_for(&self, name: &str) -> Result<Vec<String>> {
        let uid = self.splits().get(name).await?.uid().context("no uid")?;
        let ours = ListParams::default().labels(&format!("cutover.dev/owner-uid={uid}"));
        let mut found = Vec::new();
        let of_traefik = |kind| self.objects_of("traefik.io", "v1alpha1", kind);
        let kinds = [
            self.ingresses(),
            self.http_routes(),
            of_traefik("IngressRoute"),
            of_traefik("TraefikService"),
            self.objects("", "Service"),
        ];
        for api in kinds {
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
    shop.way_in("below", &["a"], &["=/shop", "/shop/basket"], 0).await?;
    shop.way_in("deep", &["a"], &["/shop/basket/of", "=/api"], 100).await?;
    for (split, weight) in [("everything", 0), ("some", 100), ("below", 0), ("deep", 100)] {
        shop.carries(split, weight).await?;
    }
    let table = [
        ("a", "/", Some("old")),
        ("a", "/shop/cart", Some("new")),
        ("a", "/shopping", Some("old")),
        ("a", "/api/v2", Some("new")),
        ("a", "/api/v1", Some("old")),
        // Of prefixes the longest comes first.
        ("a", "/shop/basket/1", Some("old")),
        ("a", "/shop/basket/of/mine", Some("new")),
        ("b", "/shop", Some("old")),
        ("c", "/shop", Some("new")),
        ("c", "/", None),
    ];
    for (host, path, by) in table {
        shop.answers(host, path, by).await?;
    }
    // An exact path before any prefix. Not on the Ingresses of this proxy, which ranks them by the length of its expressions.
    let exact = [("a", "/shop", Some("old")), ("a", "/shop/", Some("new")), ("a", "/api", Some("new"))];
    for (host, path, by) in exact {
        for router in [Router::Gateway, Router::Traefik] {
            shop.answers_on(router, host, path, by).await?;
        }
    }
    // And so it stays: of two rules that rank the same, a proxy prefers now the one and now the other.
    for _ in 0..5 {
        for router in Router::ALL {
            let exact = exact.iter().filter(|_| router != Router::Nginx);
            for (host, path, by) in table.iter().chain(exact) {
                let (_, who) = shop.answer(router, host, path).await?;
                ensure!(who.as_deref() == *by, "{host} {path} on {router:?}: {who:?}");
            }
        }
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
    // Three are named.
    let ingresses = "Ingress former, Ingress former-cutover-canary";
    let all = format!("HTTPRoute former, {ingresses} and 1 more: left behind by");
    let all = |status: &TrafficSplitStatus| overlapped(status, &all);
    shop.until("successor", "is told of all", all).await?;
    let status = shop.carries("elsewhere", 0).await?;
    ensure!(condition(&status, "Overlapped").is_none(), "{status:#?}");

    // As the message says, one after the other.
    shop.http_routes().delete("former", &DeleteParams::default()).await?;
    let others = format!("{ingresses}, IngressRoute former: left behind by");
    shop.until("successor", "is told of the others", |status| overlapped(status, &others)).await?;
    for left in ["former", "former-cutover-canary"] {
        shop.ingresses().delete(left, &DeleteParams::default()).await?;
    }
    let last = "IngressRoute former: left behind by";
    shop.until("successor", "is told of the last", |status| overlapped(status, last)).await?;
    let of_traefik = |kind| shop.objects_of("traefik.io", "v1alpha1", kind);
    of_traefik("IngressRoute").delete("former", &DeleteParams::default()).await?;
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

/// Routers that nobody serves here: what is claimed is looked at before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_split_has_is_not_claimed_on_a_mesh_or_a_load_balancer() -> Result<()> {
    let shop = Shop::open().await?;
    shop.bed.plane.install_definitions(tools::definitions("istio")?).await?;
    let host = format!("spec.hosts[0] a.{}", shop.host);
    // Neither goes by the length of paths as the others do, so that there a longer one is in conflict as well.
    for (kind, router, paths) in [
        ("mesh", json!([{"istio": {"gateways": ["infra/edge"]}}]), ["/shop", "/shop"]),
        ("mesh-below", json!([{"istio": {"gateways": ["infra/other"]}}]), ["/shop", "/shop/cart"]),
        ("balancer", json!([{"alb": {"className": "alb"}}]), ["/shop", "/shop"]),
    ] {
        let [elder, younger] = ["elder", "younger"].map(|age| format!("{age}-{kind}"));
        shop.way_in_on(&elder, &["a"], &paths[..1], 20, &router).await?;
        shop.carries(&elder, 20).await?;
        shop.way_in_on(&younger, &["a"], &paths[1..], 70, &router).await?;
        let conflicted = |status: &TrafficSplitStatus| {
            condition(status, "Stalled").is_some_and(|(_, reason, message)| {
                reason == "Conflicted"
                    && message.starts_with(&host)
                    && message.contains(&format!("TrafficSplit {elder}"))
            })
        };
        shop.until(&younger, "is in conflict", conflicted).await?;
        ensure!(shop.status(&younger).await?.applied_weight.is_none(), "it has a weight");
        shop.splits().delete(&elder, &DeleteParams::default()).await?;
        shop.carries(&younger, 70).await?;
    }
    Ok(())
}
