//! What the routes and flags of a namespace showed, one after the other, as a watch saw it: every write, not only those that somebody
//! happened to look at.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cutover_api::v1alpha1::traffic_split::Side;
use cutover_engine::router::{alias_name, canary_name};
use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{core::v1::ConfigMap, networking::v1::Ingress},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

/// The number of the API server's write, which all kinds of objects share, and what it made of a split's weight or a flag's percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: u64,
    pub(super) value: i64,
}

type Histories = Arc<Mutex<BTreeMap<String, Vec<Seen>>>>;

/// The record of one namespace. It ends with the test's runtime.
pub(super) struct Record {
    histories: Histories,
}

impl Record {
    /// Begins with what is now.
    pub(super) async fn start(client: &Client, namespace: &str) -> Self {
        let histories = Histories::default();
        let (ingresses, config_maps) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        follow::<Ingress>(client, namespace, Arc::clone(&histories), Arc::clone(&ingresses), weights);
        follow::<ConfigMap>(client, namespace, Arc::clone(&histories), Arc::clone(&config_maps), percentages);
        ingresses.notified().await;
        config_maps.notified().await;
        Self { histories }
    }

    /// The weights of a split's routes, or the percentages of a flag, each once for as long as it stayed.
    pub(super) fn of(&self, name: &str) -> Vec<Seen> {
        lock(&self.histories).get(name).cloned().unwrap_or_default()
    }
}

fn lock(histories: &Histories) -> MutexGuard<'_, BTreeMap<String, Vec<Seen>>> {
    histories.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the objects of one kind, and notes what `read` makes of them after each change.
fn follow<K>(
    client: &Client,
    namespace: &str,
    histories: Histories,
    listed: Arc<Notify>,
    read: fn(&BTreeMap<String, K>) -> BTreeMap<String, i64>,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    tokio::spawn(async move {
        let mut objects = BTreeMap::new();
        let mut events = watcher(api, watcher::Config::default()).boxed();
        let mut latest = 0;
        while let Some(event) = events.next().await {
            let complete = match event {
                Ok(Event::InitDone) => true,
                Ok(Event::InitApply(object)) => {
                    latest = latest.max(version(&object));
                    objects.insert(object.name_any(), object);
                    false
                }
                Ok(Event::Apply(object)) => {
                    latest = version(&object);
                    objects.insert(object.name_any(), object);
                    true
                }
                Ok(Event::Delete(object)) => {
                    latest = version(&object);
                    objects.remove(&object.name_any());
                    true
                }
                Ok(Event::Init) | Err(_) => false,
            };
            if complete {
                note(&histories, &read(&objects), latest);
                listed.notify_one();
            }
        }
    });
}

fn note(histories: &Histories, now: &BTreeMap<String, i64>, version: u64) {
    let mut histories = lock(histories);
    for (name, value) in now {
        let history = histories.entry(name.clone()).or_default();
        if history.last().is_none_or(|last| last.value != *value) {
            history.push(Seen { version, value: *value });
        }
    }
}

fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// By split: where the main Ingress leads, or the canary's share beside it.
fn weights(ingresses: &BTreeMap<String, Ingress>) -> BTreeMap<String, i64> {
    let annotation = |ingress: &Ingress, key: &str| {
        ingress.annotations().get(&format!("nginx.ingress.kubernetes.io/{key}")).cloned().unwrap_or_default()
    };
    let mains = ingresses.values().filter(|ingress| annotation(ingress, "canary").is_empty());
    let weight = |main: &Ingress| {
        let split = main.name_any();
        let canary = ingresses.get(&canary_name(&split)).filter(|canary| annotation(canary, "canary") == "true");
        let share = canary.and_then(|canary| annotation(canary, "canary-weight").parse().ok()).unwrap_or(0);
        let leads_to_new = backends(main).all(|service| service == alias_name(&split, Side::New));
        (split, if leads_to_new { 100 } else { share })
    };
    mains.map(weight).collect()
}

/// The Services that users' paths lead to; those that only keep a backend known to the proxy begin with `/-/`.
fn backends(ingress: &Ingress) -> impl Iterator<Item = String> {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let paths = rules.flat_map(|rule| rule.http.iter().flat_map(|http| &http.paths));
    let paths = paths.filter(|path| !path.path.as_deref().unwrap_or_default().starts_with("/-/"));
    paths.map(|path| path.backend.service.as_ref().map(|service| service.name.clone()).unwrap_or_default())
}

/// By flag: the percentage of the variant `on` that applications read.
fn percentages(config_maps: &BTreeMap<String, ConfigMap>) -> BTreeMap<String, i64> {
    let files = config_maps.values().filter_map(|config_map| config_map.data.as_ref()?.get("flags.json"));
    let documents = files.filter_map(|file| serde_json::from_str::<Value>(file).ok());
    let flags = documents.filter_map(|document| document["flags"].as_object().cloned()).flatten();
    let percent = |(name, flag): (String, Value)| {
        let shares = flag["targeting"]["fractional"].as_array()?.clone();
        Some((name, shares.iter().find(|share| share[0] == "on")?[1].as_i64()?))
    };
    flags.filter_map(percent).collect()
}
