//! The process's metrics, in a registry of their own. No I/O.
//!
//! Labels are bounded: request metrics name no objects, reasons are constants. Gauges per object exist only for our own
//! kinds and go with the object ([`ObjectGauges`]).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector, process_collector::ProcessCollector,
};

use crate::cluster::stores::Key;

/// All metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconcile_duration: HistogramVec,
    reconcile_errors: IntCounterVec,
    /// Requests to the API server by `client`, `verb`, `code`.
    pub api_requests: IntCounterVec,
    /// Objects of our kinds that could not be read, by `kind`.
    pub invalid_objects: IntCounterVec,
    /// What becomes of notifications.
    pub notifications: Deliveries,
    leader: IntGauge,
    skew: Gauge,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When a name is used twice or not allowed, which is a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let duration =
            HistogramOpts::new("cutover_reconcile_duration_seconds", "How long one reconcile of an object took.")
                .buckets(vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]);
        Ok(Self {
            reconcile_duration: register(&registry, HistogramVec::new(duration, &["controller"])?)?,
            reconcile_errors: register(
                &registry,
                counters(
                    "cutover_reconcile_errors_total",
                    "Reconciles that failed, by the reason that status and Events show.",
                    &["controller", "reason"],
                )?,
            )?,
            api_requests: register(
                &registry,
                counters(
                    "cutover_api_requests_total",
                    "Requests to the API server; code is the HTTP status, error or timeout.",
                    &["client", "verb", "code"],
                )?,
            )?,
            invalid_objects: register(
                &registry,
                counters("cutover_invalid_objects_total", "Objects of our kinds that could not be read.", &["kind"])?,
            )?,
            notifications: Deliveries::new(&registry)?,
            leader: register(
                &registry,
                IntGauge::new("cutover_leader", "Whether this replica leads and may write: yes is 1, no is 0.")?,
            )?,
            skew: register(
                &registry,
                Gauge::new(
                    "cutover_clock_skew_seconds",
                    "The API server's clock minus ours, within about half a second.",
                )?,
            )?,
            registry,
        })
    }

    /// Records a reconcile that ended after `took`, with the reason of its error if it failed.
    pub fn reconciled(&self, controller: &'static str, took: Duration, error: Option<&'static str>) {
        self.reconcile_duration.with_label_values(&[controller]).observe(took.as_secs_f64());
        if let Some(reason) = error {
            self.reconcile_errors.with_label_values(&[controller, reason]).inc();
        }
    }

    /// Sets what is measured at the moment of a scrape.
    pub fn observe(&self, leads: bool, skew: Option<f64>) {
        self.leader.set(i64::from(leads));
        if let Some(skew) = skew {
            self.skew.set(skew);
        }
    }

    /// A family of gauges with one or more values per object of ours. `labels` come after `namespace` and `name`.
    ///
    /// # Errors
    /// When the name is taken or not allowed.
    pub fn object_gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<ObjectGauges> {
        let labels: Vec<&str> = ["namespace", "name"].into_iter().chain(labels.iter().copied()).collect();
        let gauges = register(&self.registry, GaugeVec::new(Opts::new(name, help), &labels)?)?;
        Ok(ObjectGauges { gauges, series: Arc::default() })
    }

    /// All metrics in Prometheus's text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// What becomes of notifications, by sink. Cheap to clone.
#[derive(Clone)]
pub struct Deliveries {
    outcomes: IntCounterVec,
    retries: IntCounterVec,
    waiting: IntGaugeVec,
}

impl Deliveries {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let outcomes = counters(
            "cutover_notifications_total",
            "Notifications that were delivered, failed (were refused or given up), or dropped (too many waited).",
            &["sink", "outcome"],
        )?;
        let retries =
            counters("cutover_notification_retries_total", "Attempts at a notification after the first.", &["sink"])?;
        let waiting = IntGaugeVec::new(
            Opts::new("cutover_notifications_waiting", "Notifications that wait or are being delivered."),
            &["sink"],
        )?;
        Ok(Self {
            outcomes: register(registry, outcomes)?,
            retries: register(registry, retries)?,
            waiting: register(registry, waiting)?,
        })
    }

    /// A sink is there: its series begin at zero.
    pub fn begin(&self, sink: &str) {
        for outcome in ["delivered", "failed", "dropped"] {
            self.outcomes.with_label_values(&[sink, outcome]);
        }
        self.retries.with_label_values(&[sink]);
        self.waiting.with_label_values(&[sink]).set(0);
    }

    /// A notification is handed over.
    pub fn waits(&self, sink: &str) {
        self.waiting.with_label_values(&[sink]).inc();
    }

    /// A notification is tried again.
    pub fn retried(&self, sink: &str) {
        self.retries.with_label_values(&[sink]).inc();
    }

    /// A notification has come to an end.
    pub fn done(&self, sink: &str, outcome: &str) {
        self.waiting.with_label_values(&[sink]).dec();
        self.outcomes.with_label_values(&[sink, outcome]).inc();
    }

    /// How many notifications ended so.
    #[cfg(test)]
    #[must_use]
    pub fn ended(&self, sink: &str, outcome: &str) -> u64 {
        self.outcomes.with_label_values(&[sink, outcome]).get()
    }

    /// How many attempts were not the first.
    #[cfg(test)]
    #[must_use]
    pub fn retries(&self, sink: &str) -> u64 {
        self.retries.with_label_values(&[sink]).get()
    }

    /// How many wait.
    #[cfg(test)]
    #[must_use]
    pub fn waiting(&self, sink: &str) -> i64 {
        self.waiting.with_label_values(&[sink]).get()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

/// Gauges per object of ours. Cheap to clone.
#[derive(Clone)]
pub struct ObjectGauges {
    gauges: GaugeVec,
    series: Arc<Mutex<HashMap<Key, HashSet<Vec<String>>>>>,
}

impl ObjectGauges {
    /// Sets the values of an object; those it had with other labels before are removed.
    pub fn set(&self, object: &Key, values: &[(&[&str], f64)]) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashSet::new();
        for (labels, value) in values {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            if let Ok(gauge) = self.gauges.get_metric_with_label_values(&Self::all(object, &labels)) {
                gauge.set(*value);
                kept.insert(labels);
            }
        }
        let before = series.insert(object.clone(), kept.clone()).unwrap_or_default();
        for labels in before.difference(&kept) {
            self.drop_series(object, labels);
        }
    }

    /// Removes the object's values: it was deleted.
    pub fn remove(&self, object: &Key) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
        for labels in series.unwrap_or_default() {
            self.drop_series(object, &labels);
        }
    }

    fn drop_series(&self, object: &Key, labels: &[String]) {
        if let Err(error) = self.gauges.remove_label_values(&Self::all(object, labels)) {
            tracing::debug!(%error, %object, "no such series");
        }
    }

    fn all<'a>(object: &'a Key, labels: &'a [String]) -> Vec<&'a str> {
        [&*object.namespace, &*object.name].into_iter().chain(labels.iter().map(String::as_str)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render().unwrap()).unwrap()
    }

    #[test]
    fn an_objects_gauges_follow_its_labels_and_go_with_it() {
        let metrics = Metrics::new().unwrap();
        let weights = metrics.object_gauges("cutover_split_weight", "Weight.", &["router"]).unwrap();
        let (storefront, checkout) = (Key::new("shop", "storefront"), Key::new("shop", "checkout"));
        weights.set(&storefront, &[(&["ingressNginx"], 25.0), (&["gatewayApi"], 25.0)]);
        weights.set(&checkout, &[(&["gatewayApi"], 5.0)]);
        weights.set(&storefront, &[(&["gatewayApi"], 50.0)]);
        let shown = text(&metrics);
        assert!(!shown.contains("ingressNginx"), "{shown}");
        assert!(shown.contains(r#"cutover_split_weight{name="storefront",namespace="shop",router="gatewayApi"} 50"#));
        weights.remove(&storefront);
        let shown = text(&metrics);
        assert!(!shown.contains("storefront") && shown.contains("checkout"), "{shown}");
        weights.remove(&checkout);
        assert!(!text(&metrics).contains("cutover_split_weight"));
    }

    #[test]
    fn reconciles_errors_and_the_process_are_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciled("traffic-split", Duration::from_millis(3), None);
        metrics.reconciled("traffic-split", Duration::from_millis(30), Some("ApplyFailed"));
        metrics.observe(true, Some(-1.5));
        let shown = text(&metrics);
        for line in [
            r#"cutover_reconcile_duration_seconds_bucket{controller="traffic-split",le="0.005"} 1"#,
            r#"cutover_reconcile_duration_seconds_count{controller="traffic-split"} 2"#,
            r#"cutover_reconcile_errors_total{controller="traffic-split",reason="ApplyFailed"} 1"#,
            "cutover_leader 1",
            "cutover_clock_skew_seconds -1.5",
            "process_resident_memory_bytes",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
    }
}
