//! What the routes carry, as seen by watches of our own.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::sync::watch;

use super::fleet::NAMESPACE;

const CANARY_WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
const CANARY_SUFFIX: &str = "-cutover-canary";
const MANAGED: &str = "app.kubernetes.io/managed-by=cutover";

/// Weight of the new side and when it was seen, per split: by the canary Ingress and by the HTTPRoute.
#[derive(Default)]
struct Seen {
    ingress: HashMap<String, (i64, Instant)>,
    http_route: HashMap<String, (i64, Instant)>,
}

/// A running watch of all routes. It ends with the process.
pub(super) struct Routes(watch::Receiver<Seen>);

impl Routes {
    pub(super) fn watch(client: &Client) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let ingress = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("networking.k8s.io", "v1", "Ingress"),
            "ingresses",
        );
        let route = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
        tokio::spawn(follow(client.clone(), ingress, sender.clone(), |seen, object| {
            if let (Some(split), Some(weight)) = (object.name_any().strip_suffix(CANARY_SUFFIX), canary_weight(object))
            {
                seen.ingress.insert(split.to_owned(), (weight, Instant::now()));
            }
        }));
        tokio::spawn(follow(client.clone(), route, sender, |seen, object| {
            if let Some(weight) = new_weight(object) {
                seen.http_route.insert(object.name_any(), (weight, Instant::now()));
            }
        }));
        Self(seen)
    }

    /// When both routes of a split were seen to carry a weight.
    pub(super) async fn carries(&self, split: &str, weight: i64, within: Duration) -> Result<[Instant; 2]> {
        let mut seen = self.0.clone();
        let both = |seen: &Seen| {
            let at = |routes: &HashMap<String, (i64, Instant)>| {
                routes.get(split).filter(|(now, _)| *now == weight).map(|(_, at)| *at)
            };
            Some([at(&seen.ingress)?, at(&seen.http_route)?])
        };
        let waited = tokio::time::timeout(within, seen.wait_for(|seen| both(seen).is_some())).await;
        let state =
            waited.map_err(|_| anyhow!("{split} does not carry {weight} on both routes after {within:?}"))??;
        both(&state).context("seen and gone")
    }

    /// Waits until all splits carry a weight on both routes.
    pub(super) async fn carried(&self, splits: &[String], weight: i64) -> Result<()> {
        for split in splits {
            self.carries(split, weight, Duration::from_secs(300)).await?;
        }
        Ok(())
    }
}

async fn follow(client: Client, resource: ApiResource, seen: watch::Sender<Seen>, put: fn(&mut Seen, &DynamicObject)) {
    let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
    let config = watcher::Config::default().labels(MANAGED);
    let mut objects = watcher(api, config).default_backoff().applied_objects().boxed();
    loop {
        match objects.try_next().await {
            Ok(Some(object)) => seen.send_modify(|seen| put(seen, &object)),
            Ok(None) => return,
            Err(error) => crate::say::line(format_args!("watch interrupted: {error}")),
        }
    }
}

fn canary_weight(ingress: &DynamicObject) -> Option<i64> {
    ingress.annotations().get(CANARY_WEIGHT)?.parse().ok()
}

/// The weight of the backend that is the new side's in the rule that shares out.
fn new_weight(route: &DynamicObject) -> Option<i64> {
    let rules = route.data.pointer("/spec/rules")?.as_array()?;
    let backends = rules.last()?.get("backendRefs")?.as_array()?;
    let is_new =
        |backend: &&Value| backend.get("name").and_then(Value::as_str).is_some_and(|name| name.ends_with("-new"));
    match backends.iter().find(is_new) {
        Some(backend) => backend.get("weight").map_or(Some(1), Value::as_i64),
        // A side without weight may be left out.
        None => Some(0),
    }
}
