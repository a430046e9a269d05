//! Changes of weight, each awaited on its own routes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use cutover_api::v1alpha1::TrafficSplit;
use cutover_testkit::control_plane::ControlPlane;
use futures::{StreamExt, stream};
use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use super::{
    fleet::NAMESPACE,
    forwarder::Forwarder,
    report::{Latency, Run},
    routes::Routes,
};

/// A change that is not seen after this long is missed.
const MISSED: Duration = Duration::from_secs(30);
/// Changes under way at once in the long run.
const AT_ONCE: usize = 8;
/// Changes between two cuts.
pub(super) const BETWEEN_CUTS: usize = 500;

/// Makes changes.
pub(super) struct Changes<'a> {
    client: Client,
    routes: &'a Routes,
    /// The weight that each split was last given.
    weights: HashMap<String, i64>,
}

impl<'a> Changes<'a> {
    pub(super) async fn new(plane: &ControlPlane, routes: &'a Routes) -> Result<Self> {
        Ok(Self { client: plane.admin().await?, routes, weights: HashMap::new() })
    }

    /// From the patch of an Ingress of our own to our own watch event of it: what the API server takes by itself.
    pub(super) async fn floor(&self, count: usize) -> Result<Latency> {
        let api: Api<Ingress> = Api::namespaced(self.client.clone(), NAMESPACE);
        let ingress = json!({
            "metadata": {"name": "floor", "namespace": NAMESPACE},
            "spec": {"defaultBackend": {"service": {"name": "split-0-new", "port": {"number": 80}}}},
        });
        api.create(&PostParams::default(), &serde_json::from_value(ingress)?).await?;
        let config = watcher::Config::default().fields("metadata.name=floor");
        let mut events = watcher(api.clone(), config).default_backoff().applied_objects().boxed();
        let mut times = Vec::new();
        for i in 0..count {
            let started = Instant::now();
            let patch = json!({"metadata": {"annotations": {"count": i.to_string()}}});
            api.patch("floor", &PatchParams::default(), &Patch::Merge(patch)).await?;
            while let Some(event) = events.next().await {
                if event?.annotations().get("count") == Some(&i.to_string()) {
                    break;
                }
            }
            times.push(started.elapsed());
        }
        Ok(Latency::of(times))
    }

    /// Changes one after the other, each from its patch until both routes carry it.
    pub(super) async fn one_by_one(&mut self, splits: &[String], count: usize) -> Result<Latency> {
        let mut times = Vec::new();
        for split in splits.iter().cycle().take(count) {
            let weight = self.next(split);
            let started = Instant::now();
            set(&self.client, split, weight).await?;
            for seen in self.routes.carries(split, weight, MISSED).await? {
                times.push(seen.saturating_duration_since(started));
            }
        }
        Ok(Latency::of(times))
    }

    /// Many changes, several at once, never two of one split; with connections cut now and then if there is a forwarder.
    pub(super) async fn many(&mut self, splits: &[String], count: usize, cut: Option<&Forwarder>) -> Result<Run> {
        let started = Instant::now();
        let planned: Vec<_> =
            splits.iter().cycle().take(count).map(|split| (split.clone(), self.next(split))).collect();
        let (client, routes) = (&self.client, self.routes);
        let mut run = Run::default();
        let numbered: Vec<_> = planned.iter().enumerate().collect();
        // A round has each split once at most.
        for round in numbered.chunks(splits.len().max(1)) {
            let changes = stream::iter(round).map(|(i, (split, weight))| async move {
                if i % BETWEEN_CUTS == BETWEEN_CUTS / 2
                    && let Some(forwarder) = cut
                {
                    forwarder.cut();
                }
                set(client, split, *weight).await?;
                Ok::<_, anyhow::Error>(routes.carries(split, *weight, MISSED).await.is_ok())
            });
            let mut results = changes.buffer_unordered(AT_ONCE);
            while let Some(seen) = results.next().await {
                if seen? { run.seen += 1 } else { run.missed += 1 }
            }
        }
        run.took = started.elapsed();
        Ok(run)
    }

    /// Changes all at once: how long until every one of them is routed.
    pub(super) async fn burst(&mut self, splits: &[String], count: usize) -> Result<Duration> {
        let planned: Vec<_> = splits.iter().take(count).map(|split| (split.clone(), self.next(split))).collect();
        let started = Instant::now();
        let patches = planned.iter().map(|(split, weight)| set(&self.client, split, *weight));
        futures::future::try_join_all(patches).await?;
        let mut last = started;
        for (split, weight) in &planned {
            last = last.max(
                *self.routes.carries(split, *weight, Duration::from_secs(120)).await?.iter().max().unwrap_or(&last),
            );
        }
        Ok(last.saturating_duration_since(started))
    }

    /// Changes one split and does not wait.
    pub(super) async fn set_next(&mut self, splits: &[String]) -> Result<(String, i64)> {
        let split = splits.last().cloned().unwrap_or_default();
        let weight = self.next(&split);
        set(&self.client, &split, weight).await?;
        Ok((split, weight))
    }

    /// The next weight of a split: never the present one, and never an end, at which routes take another shape.
    fn next(&mut self, split: &str) -> i64 {
        let weight = self.weights.entry(split.to_owned()).or_insert(0);
        *weight = *weight % 90 + 1;
        *weight
    }
}

async fn set(client: &Client, split: &str, weight: i64) -> Result<()> {
    let api: Api<TrafficSplit> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"spec": {"newWeight": weight}});
    api.patch(split, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}
