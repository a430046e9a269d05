//! What changes lead to, and what follows a reconcile that failed.

use std::sync::Mutex;

use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::cluster::lease::NotLeader;

/// Fails as it is told to, and keeps a record of what it hears.
#[derive(Default)]
struct Recorder {
    fails: Option<StatusCode>,
    heard: Mutex<Vec<String>>,
}

impl Recorder {
    fn hear(&self, what: &str, key: &Key) {
        self.heard.lock().unwrap().push(format!("{what} {key}"));
    }
}

impl Reconciler for Recorder {
    const NAME: &'static str = "recorder";
    type Kind = ConfigMap;

    async fn reconcile(&self, cached: Arc<ConfigMap>) -> Result<Action, Error> {
        self.hear("reconcile", &Key::of(&*cached));
        self.fails.map_or_else(|| Ok(Action::await_change()), |code| Err(error(code)))
    }

    fn seen(&self, key: &Key, _object: &Arc<ConfigMap>) {
        self.hear("seen", key);
    }

    fn forget(&self, key: &Key) {
        self.hear("forget", key);
    }
}

fn error(code: StatusCode) -> Error {
    let status = kube::core::Status { code: code.as_u16(), ..kube::core::Status::default() };
    Error::Finalizer(kube::Error::Api(Box::new(status)))
}

fn driver(fails: Option<StatusCode>) -> Arc<Driver<Recorder>> {
    let reconciler = Recorder { fails, ..Recorder::default() };
    Arc::new(Driver { reconciler, metrics: Metrics::new().unwrap(), backoffs: Backoffs::default() })
}

fn config(version: u32, label: &str) -> Arc<ConfigMap> {
    let metadata = json!({
        "name": "a", "namespace": "shop", "uid": "u", "resourceVersion": version.to_string(), "labels": {"for": label},
    });
    Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
}

#[test]
fn an_object_is_looked_at_when_it_appears_and_when_more_than_its_status_changes() {
    let driver = driver(None);
    let change = |before, after| Change { key: Key::new("shop", "a"), before, after };
    let (first, status, label) = (config(1, "x"), config(2, "x"), config(3, "y"));
    assert!(driver.take(change(None, Some(Arc::clone(&first)))).is_some());
    assert!(driver.take(change(Some(first), Some(Arc::clone(&status)))).is_none(), "as after a write of the status");
    assert!(driver.take(change(Some(status), Some(Arc::clone(&label)))).is_some());
    assert!(driver.take(change(Some(label), None)).is_none());
    let heard = driver.reconciler.heard.lock().unwrap().clone();
    assert_eq!(heard, ["seen shop/a", "seen shop/a", "seen shop/a", "forget shop/a"]);
}

#[rstest]
#[case::decided_on_an_outdated_copy(StatusCode::CONFLICT, 200, 200)]
#[case::an_outage(StatusCode::SERVICE_UNAVAILABLE, 1_000, 1_250)]
#[case::a_missing_right(StatusCode::FORBIDDEN, 1_000, 1_250)]
#[case::refused_by_a_policy(StatusCode::UNPROCESSABLE_ENTITY, 1_000, 1_250)]
fn what_failed_is_tried_again(#[case] code: StatusCode, #[case] least: u128, #[case] most: u128) {
    let wait = driver(None).wait(Key::new("shop", "a"), &error(code)).unwrap();
    assert!((least..=most).contains(&wait.as_millis()), "{wait:?}");
}

#[test]
fn a_replica_that_leads_no_longer_tries_nothing_again() {
    let refused = Error::Finalizer(kube::Error::Service(Box::new(NotLeader)));
    assert_eq!(driver(None).wait(Key::new("shop", "a"), &refused), None);
}

#[tokio::test]
async fn waits_grow_with_every_failure_and_success_or_deletion_forgets_them() {
    let key = Key::new("shop", "a");
    let failing = driver(Some(StatusCode::SERVICE_UNAVAILABLE));
    let mut waits = Vec::new();
    for _ in 0..3 {
        let error = reconcile(config(1, "x"), Arc::clone(&failing)).await.unwrap_err();
        waits.push(failing.wait(key.clone(), &error).unwrap().as_secs());
    }
    assert!(matches!(waits[..], [1, 2, 4 | 5]), "{waits:?}");
    let shown = String::from_utf8(failing.metrics.render().unwrap()).unwrap();
    let counted = r#"cutover_reconcile_errors_total{controller="recorder",reason="FinalizerFailed"} 3"#;
    assert!(shown.contains(counted), "{shown}");
    failing.take(Change { key: key.clone(), before: Some(config(1, "x")), after: None });
    assert!(failing.backoffs.is_empty());

    let well = driver(None);
    well.backoffs.failed(key);
    reconcile(config(1, "x"), Arc::clone(&well)).await.unwrap();
    assert!(well.backoffs.is_empty());
}
