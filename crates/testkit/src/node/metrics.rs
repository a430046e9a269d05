//! Request metrics of one simulated backend in the Prometheus text format. No I/O.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Upper bounds of the duration histogram, in seconds.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Paths told apart; all further ones are counted as `other`.
const MAX_PATHS: usize = 64;
const OTHER_PATH: &str = "other";

/// Counters and a histogram.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By path, then method and status.
    requests: BTreeMap<String, BTreeMap<(String, u16), u64>>,
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Metrics {
    pub(super) fn observe(&self, method: &str, path: &str, status: u16, took: Duration) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let path =
            if inner.requests.contains_key(path) || inner.requests.len() < MAX_PATHS { path } else { OTHER_PATH };
        let by_status = inner.requests.entry(path.to_owned()).or_default();
        // A rate needs two samples: the errors' counter exists before the first error.
        by_status.entry((method.to_owned(), 500)).or_default();
        *by_status.entry((method.to_owned(), status)).or_default() += 1;
        let seconds = took.as_secs_f64();
        for (bucket, bound) in inner.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        inner.count += 1;
        inner.sum += took;
    }

    pub(super) fn render(&self, system: &str, component: &str) -> String {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let side = format!("system=\"{}\",component=\"{}\"", escape(system), escape(component));
        let mut text = String::from(
            "# HELP http_requests_total Requests answered.\n\
             # TYPE http_requests_total counter\n",
        );
        for (path, by_status) in &inner.requests {
            for ((method, status), count) in by_status {
                let (method, path) = (escape(method), escape(path));
                line(
                    &mut text,
                    format_args!(
                        "http_requests_total{{method=\"{method}\",path=\"{path}\",status=\"{status}\",{side}}} {count}"
                    ),
                );
            }
        }
        text.push_str(
            "# HELP http_request_duration_seconds Time to answer.\n\
             # TYPE http_request_duration_seconds histogram\n",
        );
        let name = "http_request_duration_seconds";
        for (bound, count) in BOUNDS.iter().zip(inner.buckets) {
            line(&mut text, format_args!("{name}_bucket{{{side},le=\"{bound}\"}} {count}"));
        }
        line(&mut text, format_args!("{name}_bucket{{{side},le=\"+Inf\"}} {}", inner.count));
        line(&mut text, format_args!("{name}_sum{{{side}}} {}", inner.sum.as_secs_f64()));
        line(&mut text, format_args!("{name}_count{{{side}}} {}", inner.count));
        text
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
