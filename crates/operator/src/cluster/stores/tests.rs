//! Stores over watches that are written, cut and resumed by the test.

mod watches;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::{core::v1::ConfigMap, discovery::v1::EndpointSlice, networking::v1::IngressClass};
use prometheus::{IntCounterVec, Opts};
use serde_json::{Value, json};

use self::watches::{Watches, added, deleted, gone, listed};
use super::*;
use crate::cluster::backoff::LONGEST_WATCH_PAUSE;

fn config(namespace: &str, name: &str, version: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("uid-{name}"), "resourceVersion": version,
            "managedFields": [{"manager": "someone", "operation": "Apply", "time": "2026-01-01T00:00:00Z"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"},
        },
        "data": {"value": value},
    })
}

fn slice(name: &str, service: &str, ready: &[bool], version: &str) -> Value {
    let endpoints: Vec<_> =
        ready.iter().map(|ready| json!({"addresses": ["198.18.0.1"], "conditions": {"ready": ready}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints,
    })
}

#[derive(Debug, PartialEq)]
struct Ready {
    service: String,
    ready: usize,
}

impl View for Ready {
    type Object = EndpointSlice;

    fn of(slice: EndpointSlice) -> Option<Self> {
        let service = slice.metadata.labels?.get("kubernetes.io/service-name")?.clone();
        let ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
            endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
        };
        Some(Self { ready: slice.endpoints.iter().filter(ready).count(), service })
            .filter(|ready| !ready.service.starts_with("foreign"))
    }

    fn group(&self) -> Option<&str> {
        Some(&self.service)
    }
}

const CONFIGS: &str = "/api/v1/configmaps";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

fn counter() -> IntCounterVec {
    IntCounterVec::new(Opts::new("invalid", "invalid"), &["kind"]).unwrap()
}

fn stores(watches: &Watches, namespaces: &[&str]) -> Stores {
    let namespaces = namespaces.iter().map(|namespace| (*namespace).to_owned()).collect();
    Stores::new(watches.client(), namespaces, counter(), CancellationToken::new())
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("did not happen")
}

/// `before -> after` of the next change, by `show`.
async fn next<V>(changes: &mut Subscription<V>, show: fn(&V) -> String) -> String {
    let change = soon(changes.next()).await.unwrap();
    let text = |value: &Option<Arc<V>>| value.as_ref().map_or("-".to_owned(), |value| show(value));
    format!("{}: {} -> {}", change.key, text(&change.before), text(&change.after))
}

fn value(config: &ConfigMap) -> String {
    config.data.as_ref().unwrap()["value"].clone()
}

#[tokio::test]
async fn objects_are_stripped_and_the_store_is_ready_only_when_listed() {
    let watches = Watches::default();
    let mut stores = stores(&watches, &[]);
    let configs = stores.objects::<ConfigMap>();
    let readiness = stores.readiness();
    assert_eq!((configs.presence(), readiness.pending()), (Presence::Unknown, vec!["configmaps"]));
    watches.write(CONFIGS, &[added(&config("shop", "a", "1", "one"))]).await;
    let mut changes = configs.changes();
    assert!(readiness.wait().now_or_never().is_none(), "half a list is no list");
    watches.write(CONFIGS, &[listed("5")]).await;
    soon(readiness.wait()).await;
    assert!(readiness.pending().is_empty());
    assert_eq!(next(&mut changes, value).await, "shop/a: - -> one");
    let kept = configs.get("shop", "a").unwrap();
    assert_eq!(kept.metadata.managed_fields, None);
    assert_eq!(kept.annotations().keys().collect::<Vec<_>>(), ["kept"]);
    assert!(watches.requests()[0].contains("sendInitialEvents=true"), "lists are streamed");
}

#[tokio::test]
async fn changes_not_taken_yet_are_merged_and_none_is_lost() {
    let watches = Watches::default();
    let mut stores = stores(&watches, &[]);
    let configs = stores.objects::<ConfigMap>();
    watches.write(CONFIGS, &[added(&config("shop", "a", "1", "one")), listed("5")]).await;
    soon(stores.readiness().wait()).await;
    let (mut slow, mut fast) = (configs.later_changes(), configs.later_changes());
    let b = config("shop", "b", "7", "two");
    watches
        .write(CONFIGS, &[added(&config("shop", "a", "6", "2nd")), added(&b), added(&config("shop", "a", "8", "3rd"))])
        .await;
    watches.write(CONFIGS, &[deleted(&b), added(&config("shop", "c", "9", "last"))]).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last: &String| last != "shop/c: - -> last") {
        seen.push(next(&mut fast, value).await);
    }
    // By now everything has happened; the slow one hears of each object once.
    let merged = [next(&mut slow, value).await, next(&mut slow, value).await, next(&mut slow, value).await];
    assert_eq!(merged, ["shop/a: one -> 3rd", "shop/b: - -> -", "shop/c: - -> last"]);
    assert!(slow.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_watch_that_starts_over_repeats_nothing_and_finds_what_was_missed() {
    let watches = Watches::default();
    let mut stores = stores(&watches, &[]);
    let configs = stores.objects::<ConfigMap>();
    let (a, b, c) =
        (config("shop", "a", "1", "one"), config("shop", "b", "2", "two"), config("shop", "c", "3", "three"));
    watches.write(CONFIGS, &[added(&a), added(&b), added(&c), listed("5")]).await;
    soon(stores.readiness().wait()).await;
    let mut changes = configs.later_changes();
    watches.write(CONFIGS, &[gone()]).await;
    watches.cut(CONFIGS);
    // While it was away: b changed, c was deleted, d is new.
    watches
        .write(CONFIGS, &[added(&a), added(&config("shop", "b", "6", "new")), added(&config("shop", "d", "7", "four"))])
        .await;
    assert_eq!(next(&mut changes, value).await, "shop/b: two -> new");
    assert_eq!(next(&mut changes, value).await, "shop/d: - -> four");
    assert!(configs.get("shop", "c").is_some(), "not in half a list is not deleted");
    watches.write(CONFIGS, &[listed("8")]).await;
    assert_eq!(next(&mut changes, value).await, "shop/c: three -> -");
    assert!(changes.next().now_or_never().is_none(), "a has not changed");
    assert!(configs.get("shop", "c").is_none());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_counted_and_its_last_good_version_stays() {
    let watches = Watches::default();
    let invalid = counter();
    let mut stores = Stores::new(watches.client(), Vec::new(), invalid.clone(), CancellationToken::new());
    let configs = stores.objects::<ConfigMap>();
    let mut broken = config("shop", "a", "6", "one");
    broken["data"] = json!("not a map");
    let mut strange = config("shop", "never-good", "2", "x");
    strange["data"] = json!(7);
    watches.write(CONFIGS, &[added(&config("shop", "a", "1", "one")), added(&strange), listed("5")]).await;
    soon(stores.readiness().wait()).await;
    let mut changes = configs.later_changes();
    watches.write(CONFIGS, &[added(&broken), added(&config("shop", "b", "7", "two"))]).await;
    assert_eq!(next(&mut changes, value).await, "shop/b: - -> two", "the watch goes on");
    assert_eq!(value(&configs.get("shop", "a").unwrap()), "one");
    assert_eq!(invalid.with_label_values(&["ConfigMap"]).get(), 2);
    // Broken in a list, too, it is not deleted.
    watches.write(CONFIGS, &[gone()]).await;
    watches.cut(CONFIGS);
    watches.write(CONFIGS, &[added(&broken), listed("9")]).await;
    assert_eq!(next(&mut changes, value).await, "shop/b: two -> -");
    assert_eq!(value(&configs.get("shop", "a").unwrap()), "one");
}

#[tokio::test]
async fn several_namespaces_fill_one_store_and_all_must_be_listed() {
    let watches = Watches::default();
    let mut stores = stores(&watches, &["shop", "shop-staging"]);
    let configs = stores.objects::<ConfigMap>();
    let path = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    let readiness = stores.readiness();
    watches.write(&path("shop"), &[added(&config("shop", "a", "1", "one")), listed("5")]).await;
    watches.write(&path("shop"), &[added(&config("shop", "a", "6", "two"))]).await;
    watches.write(&path("shop-staging"), &[added(&config("shop-staging", "a", "2", "staging"))]).await;
    assert!(readiness.wait().now_or_never().is_none());
    watches.write(&path("shop-staging"), &[listed("7")]).await;
    soon(readiness.wait()).await;
    let mut changes = configs.later_changes();
    assert_eq!(value(&configs.get("shop-staging", "a").unwrap()), "staging");
    // A new list of one namespace says nothing about the other.
    watches.write(&path("shop-staging"), &[gone()]).await;
    watches.cut(&path("shop-staging"));
    watches.write(&path("shop-staging"), &[listed("9")]).await;
    assert_eq!(next(&mut changes, value).await, "shop-staging/a: staging -> -");
    assert!(configs.get("shop", "a").is_some());
}

fn ready(view: &Ready) -> String {
    format!("{}={}", view.service, view.ready)
}

#[tokio::test]
async fn views_are_grouped_foreign_ones_are_dropped_and_equal_ones_are_silent() {
    let watches = Watches::default();
    let mut stores = stores(&watches, &[]);
    let slices = stores.index::<Ready>(Some("endpointslice.kubernetes.io/managed-by"));
    let foreign: Vec<_> =
        (0..100).map(|n| added(&slice(&format!("f-{n}"), &format!("foreign-{n}"), &[true], "1"))).collect();
    watches.write(SLICES, &foreign).await;
    watches
        .write(
            SLICES,
            &[added(&slice("a-1", "a", &[true, false], "1")), added(&slice("a-2", "a", &[true], "1")), listed("5")],
        )
        .await;
    soon(stores.readiness().wait()).await;
    assert_eq!(slices.len(), 2);
    assert_eq!(slices.group("shop", "a").iter().map(|(_, view)| view.ready).sum::<usize>(), 2);
    assert!(watches.requests()[0].contains("labelSelector=endpointslice.kubernetes.io%2Fmanaged-by"));
    let mut changes = slices.changes();
    let same = slice("a-1", "a", &[false, true], "6");
    watches.write(SLICES, &[added(&same), added(&slice("a-2", "b", &[true], "7"))]).await;
    assert_eq!(next(&mut changes, ready).await, "shop/a-2: a=1 -> b=1", "a-1 still has one ready");
    assert_eq!((slices.group("shop", "a").len(), slices.group("shop", "b").len()), (1, 1));
    // It becomes foreign: for us it is gone.
    watches.write(SLICES, &[added(&slice("a-2", "foreign", &[true], "8")), deleted(&same)]).await;
    assert_eq!(next(&mut changes, ready).await, "shop/a-2: b=1 -> -");
    assert_eq!(next(&mut changes, ready).await, "shop/a-1: a=1 -> -");
    assert!(slices.is_empty() && slices.group("shop", "a").is_empty() && slices.group("shop", "b").is_empty());
}

#[derive(Debug, PartialEq)]
struct Class(String);

impl View for Class {
    type Object = IngressClass;

    fn of(class: IngressClass) -> Option<Self> {
        class.spec?.controller.map(Self)
    }
}

#[tokio::test]
async fn a_kind_that_comes_and_goes_is_missing_then_listed_then_missing_and_empty() {
    let watches = Watches::default();
    let mut stores = stores(&watches, &["shop"]);
    let (served, says) = watch::channel(None);
    let classes = stores.optional_cluster::<Class>(says, None);
    let readiness = stores.readiness();
    assert!(readiness.wait().now_or_never().is_none(), "not known is not missing");
    served.send_replace(Some(false));
    soon(readiness.wait()).await;
    assert_eq!((classes.presence(), watches.requests().len()), (Presence::Missing, 0), "nothing is asked for it");
    let mut presence = classes.presence_changes();
    let mut changes = classes.changes();
    served.send_replace(Some(true));
    let path = "/apis/networking.k8s.io/v1/ingressclasses";
    let class =
        json!({"metadata": {"name": "nginx", "resourceVersion": "1"}, "spec": {"controller": "k8s.io/ingress-nginx"}});
    watches.write(path, &[added(&class), listed("5")]).await;
    soon(presence.wait_for(|presence| *presence == Presence::Listed)).await.unwrap();
    assert_eq!(classes.get("", "nginx").unwrap().0, "k8s.io/ingress-nginx");
    assert_eq!(next(&mut changes, |class| class.0.clone()).await, "nginx: - -> k8s.io/ingress-nginx");
    served.send_replace(Some(false));
    assert_eq!(next(&mut changes, |class| class.0.clone()).await, "nginx: k8s.io/ingress-nginx -> -");
    soon(presence.wait_for(|presence| *presence == Presence::Missing)).await.unwrap();
    assert!(classes.is_empty());
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_keeps_nobody_waiting_and_is_known_to_be_unknown() {
    let watches = Watches::default();
    let path = "/apis/networking.k8s.io/v1/ingressclasses";
    watches.forbid(path, true);
    let mut stores = stores(&watches, &[]);
    let (_served, says) = watch::channel(Some(true));
    let classes = stores.optional_cluster::<Class>(says, None);
    soon(stores.readiness().wait()).await;
    assert_eq!((classes.presence(), stores.readiness().pending()), (Presence::Forbidden, Vec::new()));
    // The right is given: it is tried again, and from then on it is as if nothing had been.
    watches.forbid(path, false);
    let mut presence = classes.presence_changes();
    watches.write(path, &[listed("5")]).await;
    soon(presence.wait_for(|presence| *presence == Presence::Listed)).await.unwrap();
}

#[tokio::test]
async fn a_kind_that_all_need_is_waited_for_though_it_may_not_be_listed() {
    let watches = Watches::default();
    watches.forbid(CONFIGS, true);
    let mut stores = stores(&watches, &[]);
    let configs = stores.objects::<ConfigMap>();
    soon(watches.asked(2)).await;
    assert_eq!((configs.presence(), stores.readiness().pending()), (Presence::Unknown, vec!["configmaps"]));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_any_length_every_watch_is_back_within_seconds() {
    for outage in [5, 30, 600] {
        let watches = Watches::default();
        for path in [CONFIGS, SLICES] {
            watches.forbid(path, true);
        }
        let mut stores = stores(&watches, &[]);
        let _configs = stores.objects::<ConfigMap>();
        let _slices = stores.index::<Ready>(None);
        tokio::time::sleep(Duration::from_secs(outage)).await;
        let asked = watches.requests().len();
        // Two watches, each at most once in 2.5 s, but for the first few times.
        assert!(asked <= 2 * (4 + usize::try_from(outage).unwrap() * 2 / 5), "{asked} requests in {outage} s");
        for path in [CONFIGS, SLICES] {
            watches.forbid(path, false);
        }
        let served = async {
            watches.write(CONFIGS, &[listed("5")]).await;
            watches.write(SLICES, &[listed("5")]).await;
            stores.readiness().wait().await;
        };
        let back = tokio::time::timeout(LONGEST_WATCH_PAUSE, served).await;
        assert!(back.is_ok(), "{:?} still unknown after an outage of {outage} s", stores.readiness().pending());
    }
}

#[tokio::test]
async fn where_lists_are_not_streamed_pages_are_read() {
    let watches = Watches::default();
    {
        let mut state = watches.state.lock().unwrap();
        state.streaming_refused = true;
        let page = |items: &[Value], more: &str| json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "5", "continue": more}, "items": items});
        state.pages =
            vec![page(&[config("shop", "a", "1", "one")], "more"), page(&[config("shop", "b", "2", "two")], "")];
    }
    let mut stores = stores(&watches, &[]);
    let configs = stores.objects::<ConfigMap>();
    soon(stores.readiness().wait()).await;
    assert_eq!(configs.filter(|_| true).len(), 2);
    let mut changes = configs.later_changes();
    watches.write(CONFIGS, &[added(&config("shop", "c", "6", "three"))]).await;
    assert_eq!(next(&mut changes, value).await, "shop/c: - -> three");
    assert!(
        watches.requests().iter().any(|request| request.contains("limit=100") && request.contains("continue=more"))
    );
}
